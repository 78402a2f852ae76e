//! One call to a server, and one that was recorded.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::bench::client::Prompt;

/// Tokens that one answer may have.
pub const OUTPUT_TOKENS_MAX: u32 = 1 << 20;
/// Milliseconds behind the first call at which a recorded one may be made: a day.
pub const AT_MS_MAX: u64 = 86_400_000;

/// A question to a server, as it will be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The text, the messages or the token ids that the model reads.
    pub prompt: Prompt,
    /// Tokens generated at most.
    pub output_tokens: u32,
    /// Whether the answer goes on to `output_tokens` where the model would end. Not where its form has an end of its own.
    pub ignores_end: bool,
    /// Further fields of the request's body.
    pub more: Map<String, Value>,
    /// Since the start, where a recording says so.
    pub at: Option<Duration>,
}

impl Call {
    /// One that writes exactly so many tokens.
    #[must_use]
    pub fn plain(prompt: Prompt, output_tokens: u32, at: Option<Duration>) -> Self {
        Self { prompt, output_tokens, ignores_end: true, more: Map::new(), at }
    }
}

/// A call of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// As it was made; the prompt of a trace without texts is empty.
    pub call: Call,
    /// What stands for its text: so many words from each seed. They are drawn when the call is made, since a trace's
    /// prompts would fill the memory.
    pub words: Vec<(u64, usize)>,
}

impl From<Call> for Recorded {
    fn from(call: Call) -> Self {
        Self { call, words: Vec::new() }
    }
}

/// What a file came to.
#[derive(Debug, Default)]
pub struct Read {
    /// In the order of the file.
    pub calls: Vec<Recorded>,
    /// What is not as it was recorded, a sentence each.
    pub notes: Vec<String>,
}

/// A line, and what is wrong with it.
pub type Fault = (usize, String);
