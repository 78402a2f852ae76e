//! What servers are asked: calls of known lengths, made up from a seed, or recorded in a file.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::bench::client::Prompt;
use crate::bench::words::{WordSource, opened};
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
    Recorded(Recording),
}

/// Calls of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its name, without the folder.
    pub file: String,
    /// Of its bytes, in hex: two loads are the same work only if this is the same.
    pub sha256: String,
    /// At least one.
    calls: Vec<Call>,
}

/// Words of the system prompt that all chats have.
const CHAT_SYSTEM_WORDS: usize = 60;
const FANOUT_SHARED_WORDS: usize = 1000;
const FANOUT_OWN_WORDS: usize = 60;
const LONG_WORDS: usize = 2000;
/// Of one call.
const OUTPUT_TOKENS_MAX: u32 = 1 << 20;
/// A day.
const AT_MS_MAX: u64 = 86_400_000;
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
        let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sha256 = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self::Recorded(Recording { file, sha256, calls: recorded(name, &text)? }))
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Chat => "chat",
            Self::Fanout => "fanout",
            Self::Mixed => "mixed",
            Self::Recorded(recording) => &recording.file,
        }
    }

    /// Of the file it is from.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        match self {
            Self::Recorded(recording) => Some(&recording.sha256),
            _ => None,
        }
    }

    /// `count` calls, the same for the same seed. A recording is gone through from its start as often as it takes, each time
    /// behind other opening words, and `at` goes on from pass to pass.
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
                Self::Recorded(recording) => recording.call(place, seed),
            })
            .collect()
    }
}

impl Recording {
    fn call(&self, place: usize, seed: u64) -> Call {
        let (pass, place) = (place / self.calls.len(), place % self.calls.len());
        let mut call = self.calls[place].clone();
        let seed = seed.wrapping_add((pass as u64) << 20);
        match &mut call.prompt {
            Prompt::Text(text) => *text = opened(text, seed),
            Prompt::Chat(messages) => {
                if let Some(first) = messages.first_mut() {
                    first.content = opened(&first.content, seed);
                }
            }
        }
        let length = self.calls.iter().filter_map(|call| call.at).max().unwrap_or_default();
        let between = length / u32::try_from(self.calls.len().max(2) - 1).unwrap_or(u32::MAX);
        call.at = call.at.map(|at| at + (length + between) * u32::try_from(pass).unwrap_or(u32::MAX));
        call
    }

    /// Whether every call says when it was made.
    #[must_use]
    pub fn has_times(&self) -> bool {
        self.calls.iter().all(|call| call.at.is_some())
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
        if !(1..=OUTPUT_TOKENS_MAX).contains(&self.max_tokens) {
            return Err(format!("max_tokens is between 1 and {OUTPUT_TOKENS_MAX}"));
        }
        if self.at_ms.is_some_and(|at| at > AT_MS_MAX) {
            return Err(format!("at_ms is at most {AT_MS_MAX}, a day"));
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
