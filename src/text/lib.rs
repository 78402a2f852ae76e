//! Text to token ids and back: tokenizers, chat templates, grammars, and sessions with a loaded model.
//!
//! Tasks, plans and HTTP are not known here. Of the models crate, only GGUF metadata and the trait `Model` are used.

pub mod decode;
pub mod embedder;
pub mod grammar;
mod jinja;
pub mod session;
pub mod template;
pub mod tokenizer;
pub mod tool_calls;
pub mod waited;

pub use decode::{StopFilter, StreamDecoder, TokenOffsets};
pub use embedder::{EmbedError, Forward, TextEmbedder};
pub use grammar::{GrammarError, GrammarFactory, Written, at_least};
pub use session::{
    Completion, FillIn, Generation, Held, LoadedModel, Output, Piece, Prompt, Rendering, Score, SessionError,
    Terms, WeightsLoader,
};
pub use template::{Allowance, ChatTemplate, Message, Role, TemplateError, Tool, ToolCall};
pub use tokenizer::{Tokenizer, TokenizerError};
pub use tool_calls::{OutputParser, Part, ToolChoice, ToolFormat, reasoning_open};
pub use waited::Waited;

/// What callers need to make a request and to read its result, so that they do not import the engine.
pub use bandmaster_engine::{
    Class, ConstraintError, EngineHandle, Failure, FinishReason, ModelStats as EngineModelStats, Priority,
    Rejected, RunId, Sampling, Stats as EngineStats, Usage,
};
