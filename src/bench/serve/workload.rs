//! What servers are asked: calls of known lengths, made up from a seed, or recorded in a file.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::bench::client::Prompt;
use crate::bench::words::WordSource;
use crate::bench::workload::TokenSource;
use crate::orchestrator::{Message, Role};

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is read.
    pub prompt: Prompt,
    /// Tokens generated; where the model would end is ignored.
    pub output_tokens: u32,
    /// Since the start, where a recording says so.
    pub at: Option<Duration>,
}

/// A kind of load.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// Short conversations: a common system prompt of 60 words, 40 to 199 of each its own, 32 to 95 tokens out.
    Chat,
    /// Tasks of one plan: 1,000 words in common, 60 of each its own, 48 tokens out.
    Fanout,
    /// Long among short: of five, one of 2,000 words in and 64 tokens out, four of 64 to 127 words in and 48 out.
    Mixed,
    /// As recorded.
    Recorded(Vec<Call>),
}

/// Words of the system prompt that all chats have.
const CHAT_SYSTEM_WORDS: usize = 60;
const FANOUT_SHARED_WORDS: usize = 1000;
const FANOUT_OWN_WORDS: usize = 60;
const LONG_WORDS: usize = 2000;
/// Every so many-th call of `mixed` is long.
const LONG_EVERY: usize = 5;

/// A recording that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// No such kind or file.
    #[error("no workload `{name}`: chat, fanout, mixed, or a JSONL file of calls")]
    Unknown {
        /// As asked for.
        name: String,
    },
    /// A file that can't be read.
    #[error("{file}: {reason}")]
    Unreadable {
        /// As asked for.
        file: String,
        /// The system's.
        reason: String,
    },
    /// A line that is no call.
    #[error(
        "{file} line {line}: {reason}; expected {{\"messages\": [..]}} or {{\"prompt\": \"..\"}} with \"max_tokens\""
    )]
    Broken {
        /// As asked for.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file without calls.
    #[error("{file} holds no calls")]
    Empty {
        /// As asked for.
        file: String,
    },
}

/// A line of a recording. Fields of other programs' logs are passed over.
#[derive(Deserialize)]
struct Line {
    messages: Option<Vec<LineMessage>>,
    prompt: Option<String>,
    max_tokens: u32,
    at_ms: Option<u64>,
}

#[derive(Deserialize)]
struct LineMessage {
    role: String,
    content: String,
}

impl Workload {
    /// A kind by name, or a file.
    ///
    /// # Errors
    /// [`WorkloadError`] with the file and the line.
    pub fn find(name: &str) -> Result<Self, WorkloadError> {
        match name {
            "chat" => return Ok(Self::Chat),
            "fanout" => return Ok(Self::Fanout),
            "mixed" => return Ok(Self::Mixed),
            _ => {}
        }
        if !Path::new(name).exists() {
            return Err(WorkloadError::Unknown { name: name.into() });
        }
        let text = std::fs::read_to_string(name)
            .map_err(|error| WorkloadError::Unreadable { file: name.into(), reason: error.to_string() })?;
        Ok(Self::Recorded(recorded(name, &text)?))
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Fanout => "fanout",
            Self::Mixed => "mixed",
            Self::Recorded(_) => "recorded",
        }
    }

    /// `count` calls, the same for the same seed. A recording is gone through from its start as often as it takes.
    #[must_use]
    pub fn calls(&self, count: usize, seed: u64) -> Vec<Call> {
        let mut words = WordSource::new(seed);
        let mut sizes = TokenSource::new(seed.wrapping_add(1), 1 << 30);
        let mut between = |low: usize, high: usize| low + sizes.take(1)[0] as usize % (high - low);
        let chat = |messages| Prompt::Chat(messages);
        let user = |text: String| Message::new(Role::User, text);
        let (system, shared) = (words.take(CHAT_SYSTEM_WORDS), words.take(FANOUT_SHARED_WORDS));
        let call =
            |prompt, output_tokens: usize| Call { prompt, output_tokens: output_tokens as u32, at: None };
        (0..count)
            .map(|place| match self {
                Self::Chat => {
                    let own = words.take(between(40, 200));
                    let messages = vec![Message::new(Role::System, system.clone()), user(own)];
                    call(chat(messages), between(32, 96))
                }
                Self::Fanout => call(chat(vec![user(shared.clone() + &words.take(FANOUT_OWN_WORDS))]), 48),
                Self::Mixed if place % LONG_EVERY == LONG_EVERY - 1 => {
                    call(chat(vec![user(words.take(LONG_WORDS))]), 64)
                }
                Self::Mixed => call(chat(vec![user(words.take(between(64, 128)))]), 48),
                Self::Recorded(calls) => calls[place % calls.len()].clone(),
            })
            .collect()
    }
}

fn recorded(file: &str, text: &str) -> Result<Vec<Call>, WorkloadError> {
    let broken = |line: usize, reason: String| WorkloadError::Broken { file: file.into(), line, reason };
    let mut calls = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let parsed: Line = serde_json::from_str(line).map_err(|error| broken(at + 1, error.to_string()))?;
        calls.push(parsed.call().map_err(|reason| broken(at + 1, reason))?);
    }
    if calls.is_empty() { Err(WorkloadError::Empty { file: file.into() }) } else { Ok(calls) }
}

impl Line {
    fn call(self) -> Result<Call, String> {
        let prompt = match (self.messages, self.prompt) {
            (Some(messages), None) => {
                Prompt::Chat(messages.into_iter().map(LineMessage::message).collect::<Result<_, _>>()?)
            }
            (None, Some(text)) => Prompt::Text(text),
            _ => return Err("either `messages` or `prompt`".to_owned()),
        };
        if self.max_tokens == 0 {
            return Err("max_tokens must be at least 1".to_owned());
        }
        Ok(Call { prompt, output_tokens: self.max_tokens, at: self.at_ms.map(Duration::from_millis) })
    }
}

impl LineMessage {
    fn message(self) -> Result<Message, String> {
        let role = match self.role.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            other => return Err(format!("no role `{other}`")),
        };
        Ok(Message::new(role, self.content))
    }
}
