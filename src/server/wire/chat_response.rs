//! How chat completions are written, whole and in chunks.

use serde::Serialize;
use utoipa::ToSchema;

use super::Usage;
use super::common::Timings;
use crate::server::answer::Finish;
use crate::text::{LoadedModel, Part, Score};

/// The program and its version, as OpenAI's field for what may change answers.
pub const FINGERPRINT: &str = concat!("bandmaster-", env!("CARGO_PKG_VERSION"));

/// A chat completion.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatResponse {
    /// `chatcmpl-…`.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's id.
    pub model: String,
    /// The program and its version.
    pub system_fingerprint: &'static str,
    /// The answers.
    pub choices: Vec<ChatChoice>,
    /// What they cost.
    pub usage: Usage,
    /// How long they took, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// Ids of the prompt's tokens, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatChoice {
    /// Its number.
    pub index: u32,
    /// What was said.
    pub message: Said,
    /// Scores of the tokens, where asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// Why it ended.
    pub finish_reason: Finish,
    /// Ids of its tokens, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// What the model said.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Said {
    /// `assistant`.
    pub role: &'static str,
    /// The text; none where it only calls.
    pub content: Option<String>,
    /// Never: models here say in the content what they don't want to do.
    pub refusal: Option<String>,
    /// What it thought, of a model whose template marks that; the progress of a band.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// What it calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallSaid>,
}

/// A call.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallSaid {
    /// Its id.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The function.
    pub function: FunctionSaid,
}

/// A function with its arguments.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct FunctionSaid {
    /// Its name.
    pub name: String,
    /// A JSON object, as a string.
    pub arguments: String,
}

/// Scores of an answer's tokens.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct ChatLogprobs {
    /// One a token.
    pub content: Option<Vec<TokenLogprob>>,
    /// Never.
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// The score of a token.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// Its text.
    pub token: String,
    /// Its log-probability.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Option<Vec<u8>>,
    /// The most likely tokens in its place.
    pub top_logprobs: Vec<TopLogprob>,
}

/// The score of a token that could have been.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Its log-probability.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Option<Vec<u8>>,
}

/// Scores as they are written.
#[must_use]
pub fn token_logprobs(model: &LoadedModel, scores: &[Score], as_ids: bool) -> Vec<TokenLogprob> {
    let text = |id: u32| {
        let bytes = model.tokenizer().decode_bytes(id).to_vec();
        let token =
            if as_ids { format!("token_id:{id}") } else { String::from_utf8_lossy(&bytes).into_owned() };
        (token, Some(bytes))
    };
    // JSON has no infinity, and OpenAI's word for "never" is this.
    let finite = |logprob: f32| if logprob.is_finite() { logprob } else { -9999.0 };
    let top = |&(id, logprob): &(u32, f32)| {
        let (token, bytes) = text(id);
        TopLogprob { token, logprob: finite(logprob), bytes }
    };
    let one = |score: &Score| {
        let (token, bytes) = text(score.id);
        TokenLogprob {
            token,
            logprob: finite(score.logprob.unwrap_or_default()),
            bytes,
            top_logprobs: score.top.iter().map(top).collect(),
        }
    };
    scores.iter().map(one).collect()
}

/// A chunk of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatChunk {
    /// `chatcmpl-…`, of all chunks the same.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's id.
    pub model: String,
    /// The program and its version.
    pub system_fingerprint: &'static str,
    /// What is new; none in the chunk that tells the tokens.
    pub choices: Vec<ChunkChoice>,
    /// Where asked for: what all cost in the last chunk, null before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
    /// How long it took, where asked for: in an answer's last chunk, and in the one that tells the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// Ids of the prompt's tokens, where asked for: once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// What is new of one answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChunkChoice {
    /// Its number.
    pub index: u32,
    /// What is new.
    pub delta: Delta,
    /// Scores of the tokens that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<ChatLogprobs>,
    /// Why it ended, in its last chunk.
    pub finish_reason: Option<Finish>,
    /// Ids of the tokens that came, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// What is new.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Delta {
    /// `assistant`, in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of what it thinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// More of what it calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallChunk>,
}

/// More of a call.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallChunk {
    /// Its number.
    pub index: u32,
    /// Its id, when it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`, when it begins.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The function.
    pub function: FunctionChunk,
}

/// More of a function's arguments.
#[derive(Debug, Serialize, ToSchema)]
pub struct FunctionChunk {
    /// Its name, when it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of its arguments.
    pub arguments: String,
}

impl Said {
    /// Takes more of the answer.
    pub fn add(&mut self, part: Part) {
        match part {
            Part::Content(text) => self.content.get_or_insert_default().push_str(&text),
            Part::Reasoning(text) => self.reasoning_content.get_or_insert_default().push_str(&text),
            Part::CallBegin { name, .. } => self.tool_calls.push(CallSaid {
                id: super::new_id("call_"),
                kind: "function",
                function: FunctionSaid { name, arguments: String::new() },
            }),
            Part::CallArguments { index, text } => {
                if let Some(call) = self.tool_calls.get_mut(index as usize) {
                    call.function.arguments.push_str(&text);
                }
            }
        }
    }
}

impl Delta {
    /// Of parts that came together.
    #[must_use]
    pub fn of(parts: Vec<Part>) -> Self {
        let mut delta = Self::default();
        for part in parts {
            match part {
                Part::Content(text) => delta.content.get_or_insert_default().push_str(&text),
                Part::Reasoning(text) => delta.reasoning_content.get_or_insert_default().push_str(&text),
                Part::CallBegin { index, name } => delta.tool_calls.push(CallChunk {
                    index,
                    id: Some(super::new_id("call_")),
                    kind: Some("function"),
                    function: FunctionChunk { name: Some(name), arguments: String::new() },
                }),
                Part::CallArguments { index, text } => match delta.tool_calls.last_mut() {
                    Some(call) if call.index == index => call.function.arguments.push_str(&text),
                    _ => delta.tool_calls.push(CallChunk {
                        index,
                        id: None,
                        kind: None,
                        function: FunctionChunk { name: None, arguments: text },
                    }),
                },
            }
        }
        delta
    }
}
