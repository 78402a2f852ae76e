//! A call to a server, and a recorded one.

use std::time::Duration;

use bandmaster_client::Prompt;
use serde_json::{Map, Value};

/// Most tokens that one answer may have.
pub(super) const OUTPUT_TOKENS_MAX: u32 = 1 << 20;
/// Latest time of a recorded call, in milliseconds after the first one: a day.
pub(super) const AT_MS_MAX: u64 = 86_400_000;

/// A request as it will be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub prompt: Prompt,
    /// Most tokens that are generated.
    pub output_tokens: u32,
    /// Whether to generate all `output_tokens`, ignoring the end-of-sequence token. Not set if the
    /// request itself defines an end.
    pub ignore_eos: bool,
    /// Further fields for the request's body.
    pub extra: Map<String, Value>,
    /// Time after the start, if the recording has times.
    pub at: Option<Duration>,
}

impl Call {
    /// A call that generates exactly `output_tokens` tokens.
    #[must_use]
    pub fn with_length(prompt: Prompt, output_tokens: u32, at: Option<Duration>) -> Self {
        Self { prompt, output_tokens, ignore_eos: true, extra: Map::new(), at }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct RecordedCall {
    /// The call; its prompt is empty if the trace has no texts.
    pub call: Call,
    /// Random words used as its text: how many of each seed. They are generated when the call is made, because all
    /// prompts of a trace together may not fit into memory.
    pub words: Vec<(u64, usize)>,
}

impl From<Call> for RecordedCall {
    fn from(call: Call) -> Self {
        Self { call, words: Vec::new() }
    }
}

/// The content of a recording.
#[derive(Debug, Default)]
pub(super) struct RecordedCalls {
    /// In the order of the file.
    pub calls: Vec<RecordedCall>,
    /// Sentences on what differs from how it was recorded.
    pub notes: Vec<String>,
}

/// A line number, and what is wrong with the line.
pub(super) type LineError = (usize, String);
