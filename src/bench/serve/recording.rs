//! Recorded calls: a JSONL file of OpenAI requests, or one of the public traces of `traces.rs`. A call is sent as it
//! was recorded; what can't be sent is refused or reported.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bandmaster_client::Prompt;
use bandmaster_orchestrator::{Message, Role};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::call::{AT_MS_MAX, Call, LineError, OUTPUT_TOKENS_MAX, RecordedCall, RecordedCalls};
use super::traces;
use crate::origin::hex;
use crate::random::{WordSource, with_random_opening};

/// Fields of a request that affect the answer; each is sent with the call.
const SENT: &[&str] = &[
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "stop",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "seed",
    "min_tokens",
    "reasoning_effort",
    "chat_template_kwargs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "grammar",
    "json_schema",
];
/// Fields that define an end of the answer, so that the end-of-sequence token must not be ignored.
const ENDS: &[&str] = &[
    "tools",
    "response_format",
    "stop",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "grammar",
    "json_schema",
];
/// Fields that the measurement sets itself.
const SET_BY_MEASUREMENT: &[&str] = &["model", "stream", "stream_options", "ignore_eos"];

/// The calls of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// File name without its folder.
    pub file: String,
    /// SHA-256 of the file in hex: two loads are the same work only if it is equal.
    pub sha256: String,
    /// Sentences on what differs from how it was recorded.
    pub notes: Vec<String>,
    /// At least one; ordered by time if all have one.
    calls: Vec<RecordedCall>,
    /// Time from the first call to the last, and the mean gap between calls. Computed once: there may be millions.
    length: Duration,
    between: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// No such kind or file.
    #[error(
        "no workload `{name}`: chat, fanout, mixed, or a file of calls (JSONL, ShareGPT, BurstGPT, Mooncake)"
    )]
    Unknown { name: String },
    #[error("{file}: {reason}")]
    Unreadable { file: String, reason: String },
    /// A line that is not a call.
    #[error(
        "{file} line {line}: {reason}; expected {{\"messages\": [..]}} or {{\"prompt\": \"..\"}} with \"max_tokens\", or a trace of \
         ShareGPT, BurstGPT or Mooncake"
    )]
    Broken {
        file: String,
        /// Line number, counted from 1.
        line: usize,
        reason: String,
    },
    #[error("{file} holds no calls")]
    Empty { file: String },
}

impl Recording {
    /// Reads a file of calls in any of the supported formats.
    ///
    /// # Errors
    /// [`WorkloadError`] with the file and the line.
    pub fn open(name: &str) -> Result<Self, WorkloadError> {
        if !Path::new(name).exists() {
            return Err(WorkloadError::Unknown { name: name.into() });
        }
        let text = std::fs::read_to_string(name)
            .map_err(|error| WorkloadError::Unreadable { file: name.into(), reason: error.to_string() })?;
        let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = match traces::read(&text) {
            Some(trace) => trace,
            None => requests(&text),
        };
        let broken = |(line, reason)| WorkloadError::Broken { file: name.into(), line, reason };
        let RecordedCalls { mut calls, notes } = read.map_err(broken)?;
        if calls.is_empty() {
            return Err(WorkloadError::Empty { file: name.into() });
        }
        let notes = notes.into_iter().map(|note| format!("{file}: {note}")).collect();
        if calls.iter().all(|recorded| recorded.call.at.is_some()) {
            // The sort is stable: calls made at the same time keep the order of the file.
            calls.sort_by_key(|recorded| recorded.call.at);
        }
        let length = calls.iter().filter_map(|recorded| recorded.call.at).max().unwrap_or_default();
        let between = length / u32::try_from(calls.len().max(2) - 1).unwrap_or(u32::MAX);
        Ok(Self { sha256: hex(&Sha256::digest(&text)), file, notes, calls, length, between })
    }

    /// The call at an index. After the last, the recording starts again with other opening
    /// words, and its times continue.
    #[must_use]
    pub fn call(&self, index: usize, seed: u64) -> Call {
        let (pass, index) = (index / self.calls.len(), index % self.calls.len());
        let RecordedCall { mut call, words } = self.calls[index].clone();
        if !words.is_empty() {
            let text =
                words.iter().map(|(seed, count)| WordSource::new(*seed).take(*count)).collect::<String>();
            call.prompt = Prompt::chat(&[Message::new(Role::User, text)]);
        }
        open_randomly(&mut call.prompt, seed.wrapping_add((pass as u64) << 20));
        let pass_began = (self.length + self.between) * u32::try_from(pass).unwrap_or(u32::MAX);
        call.at = call.at.map(|at| at + pass_began);
        call
    }

    /// Whether every call has a time.
    #[must_use]
    pub fn has_times(&self) -> bool {
        self.calls.iter().all(|recorded| recorded.call.at.is_some())
    }
}

/// Puts a few random words first, so that a server's prefix cache from an earlier load doesn't apply.
fn open_randomly(prompt: &mut Prompt, seed: u64) {
    let texts = match prompt {
        Prompt::Text(text) => return *text = with_random_opening(text, seed),
        Prompt::Chat(messages) => messages.iter_mut().filter_map(|message| message.get_mut("content")),
    };
    for content in texts {
        let text = match content {
            Value::Array(parts) => parts.iter_mut().find_map(|part| part.get_mut("text")),
            content => Some(content),
        };
        if let Some(Value::String(text)) = text {
            *text = with_random_opening(text, seed);
            return;
        }
    }
}

/// Reads one OpenAI request per line.
fn requests(text: &str) -> Result<RecordedCalls, LineError> {
    let mut read = RecordedCalls::default();
    let mut not_sent = BTreeSet::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |reason: String| (at + 1, reason);
        let parsed: Line = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
        read.calls.push(parsed.call(&mut not_sent).map_err(fault)?.into());
    }
    if !not_sent.is_empty() {
        let names = not_sent.into_iter().collect::<Vec<_>>().join(", ");
        read.notes.push(format!("fields that are not sent: {names}"));
    }
    Ok(read)
}

#[derive(Deserialize)]
struct Line {
    messages: Option<Vec<Map<String, Value>>>,
    prompt: Option<String>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    at_ms: Option<u64>,
    n: Option<u32>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Line {
    fn call(mut self, not_sent: &mut BTreeSet<String>) -> Result<Call, String> {
        let prompt = match (self.messages, self.prompt) {
            (Some(messages), None) => {
                messages.iter().try_for_each(check_message)?;
                Prompt::Chat(messages.into_iter().map(Value::Object).collect())
            }
            (None, Some(text)) => Prompt::Text(text),
            _ => return Err("either `messages` or `prompt`".to_owned()),
        };
        let output_tokens = self.max_completion_tokens.or(self.max_tokens).ok_or("no `max_tokens`")?;
        if !(1..=OUTPUT_TOKENS_MAX).contains(&output_tokens) {
            return Err(format!("max_tokens must be between 1 and {OUTPUT_TOKENS_MAX}"));
        }
        if self.at_ms.is_some_and(|at| at > AT_MS_MAX) {
            return Err(format!("at_ms must be at most {AT_MS_MAX}, a day"));
        }
        if self.n.is_some_and(|n| n != 1) {
            return Err("n: a call has one answer; record each as a call of its own".to_owned());
        }
        self.extra.retain(|name, value| {
            let sent = SENT.contains(&name.as_str());
            if !sent && !value.is_null() && !SET_BY_MEASUREMENT.contains(&name.as_str()) {
                not_sent.insert(name.clone());
            }
            sent && !value.is_null()
        });
        let at = self.at_ms.map(Duration::from_millis);
        let ignore_eos = !ENDS.iter().any(|name| self.extra.contains_key(*name));
        Ok(Call { prompt, output_tokens, ignore_eos, extra: self.extra, at })
    }
}

fn check_message(message: &Map<String, Value>) -> Result<(), String> {
    let role = message.get("role").and_then(Value::as_str).ok_or("a message without `role`")?;
    match role {
        "system" | "developer" | "user" | "assistant" | "tool" | "function" => Ok(()),
        other => Err(format!("unknown role `{other}`")),
    }
}
