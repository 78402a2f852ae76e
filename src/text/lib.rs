//! Text to token ids and back: tokenizers, chat templates, grammars, and sessions with a loaded model.
//!
//! Tasks, plans and HTTP are not known here. Of the models crate, only GGUF metadata and the trait `Model` are used.
#![warn(unreachable_pub)]

mod cancellation;
mod decode;
mod embedder;
mod grammar;
mod jinja;
mod session;
mod template;
mod tokenizer;
mod tool_calls;

pub use cancellation::Cancellation;
pub use decode::{StopFilter, TokenOffsets};
pub use embedder::{EmbedError, Forward, TextEmbedder};
pub use grammar::{ClientGrammar, GrammarError, GrammarFactory};
#[cfg(any(test, feature = "fixtures"))]
pub use session::fixtures;
pub use session::{
    Completion, FillIn, Generation, GenerationOptions, LoadedModel, Output, OutputConstraint, Piece, Prompt,
    RenderOptions, Score, SessionError, WeightsLoader,
};
pub use template::{ChatTemplate, Message, RenderLimits, Role, TemplateError, Tool, ToolCall};
pub use tokenizer::{Tokenizer, TokenizerError, Tokenizers};
pub use tool_calls::{OutputParser, Part, ToolChoice, ToolFormat};

/// What callers need to make a request and to read its result, so that they do not import the engine.
pub use bandmaster_engine::{
    Class, ConstraintError, EngineHandle, Failure, FinishReason, ModelStats as EngineModelStats, Priority,
    Rejected, RunId, Sampling, Stats as EngineStats, Usage,
};
