//! Text to token ids and back: tokenizers, chat templates, grammars, sessions.
//!
//! Tasks, plans and HTTP are not known here; of the models crate, only GGUF metadata and the loader's name.

pub mod decode;
pub mod template;
pub mod tokenizer;

pub use decode::StreamDecoder;
pub use template::{ChatTemplate, Message, Role, TemplateError};
pub use tokenizer::{Tokenizer, TokenizerError};
