//! The calls to send: generated from a seed with known lengths, or recorded in a file.

use std::sync::Arc;

use bandmaster_client::Prompt;
use bandmaster_orchestrator::{Message, Role};

use super::call::Call;
use super::recording::{Recording, WorkloadError};
use crate::random::TokenSource;
use crate::random::WordSource;

/// A kind of load.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// Short conversations: a common system prompt of 60 words, 40 to 199 words of their own, 32 to 95 output tokens.
    Chat,
    /// Tasks of one plan: 1,000 words in common, 60 of their own, 48 output tokens.
    Fanout,
    /// Long prompts among short ones: of five calls, one has 2,000 words and 64 output tokens, four have 64
    /// to 127 words and 48.
    Mixed,
    Recorded(Arc<Recording>),
}

/// Length of the system prompt that all chats share.
const CHAT_SYSTEM_WORDS: usize = 60;
const FANOUT_SHARED_WORDS: usize = 1000;
const FANOUT_OWN_WORDS: usize = 60;
const LONG_WORDS: usize = 2000;
/// One call of `mixed` in this many is long.
const LONG_EVERY: usize = 5;

impl Workload {
    /// A kind by name, or else a file.
    ///
    /// # Errors
    /// `WorkloadError` with the file and the line.
    pub fn find(name: &str) -> Result<Self, WorkloadError> {
        match name {
            "chat" => return Ok(Self::Chat),
            "fanout" => return Ok(Self::Fanout),
            "mixed" => return Ok(Self::Mixed),
            _ => {}
        }
        Recording::open(name).map(Arc::new).map(Self::Recorded)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Chat => "chat",
            Self::Fanout => "fanout",
            Self::Mixed => "mixed",
            Self::Recorded(recording) => &recording.file,
        }
    }

    /// Checksum of the recording's file.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        match self {
            Self::Recorded(recording) => Some(&recording.sha256),
            _ => None,
        }
    }

    /// Sentences on what is measured differently from how it was recorded.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Recorded(recording) => &recording.notes,
            _ => &[],
        }
    }

    /// Yields `count` calls, the same for the same seed. Each is generated when it is taken, because all prompts
    /// together may not fit into memory. A recording is repeated from its start as often as needed, each time after
    /// other opening words, and `at` continues from pass to pass.
    pub fn calls(&self, count: usize, seed: u64) -> impl ExactSizeIterator<Item = Call> + Send + use<> {
        let workload = self.clone();
        let mut words = WordSource::new(seed);
        let mut sizes = TokenSource::new(seed.wrapping_add(1), 1 << 30);
        let mut between = move |low: usize, high: usize| low + sizes.take(1)[0] as usize % (high - low);
        let chat = |messages: Vec<Message>| Prompt::chat(&messages);
        let user = |text: String| Message::new(Role::User, text);
        let (system, shared) = (words.take(CHAT_SYSTEM_WORDS), words.take(FANOUT_SHARED_WORDS));
        let call = |prompt, output_tokens: usize| Call::with_length(prompt, output_tokens as u32, None);
        (0..count).map(move |index| match &workload {
            Self::Chat => {
                let own = words.take(between(40, 200));
                let messages = vec![Message::new(Role::System, system.clone()), user(own)];
                call(chat(messages), between(32, 96))
            }
            Self::Fanout => call(chat(vec![user(shared.clone() + &words.take(FANOUT_OWN_WORDS))]), 48),
            Self::Mixed if index % LONG_EVERY == LONG_EVERY - 1 => {
                call(chat(vec![user(words.take(LONG_WORDS))]), 64)
            }
            Self::Mixed => call(chat(vec![user(words.take(between(64, 128)))]), 48),
            Self::Recorded(recording) => recording.call(index, seed),
        })
    }
}
