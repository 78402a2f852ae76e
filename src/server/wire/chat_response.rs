//! Response bodies of `/v1/chat/completions`, whole and as chunks of a stream.

use bandmaster_text::{LoadedModel, Part, Score};
use serde::Serialize;
use utoipa::ToSchema;

use super::CompletionUsage;
use super::common::Timings;
use crate::answer::Finish;

/// Program and version, for OpenAI's `system_fingerprint`, which names what may change answers.
pub(crate) const FINGERPRINT: &str = concat!("bandmaster-", env!("CARGO_PKG_VERSION"));

/// A whole chat completion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatResponse {
    /// Id of the completion, `chatcmpl-…`.
    pub id: String,
    /// Object type, always `chat.completion`.
    pub object: &'static str,
    /// Creation time, in seconds since 1970.
    pub created: u64,
    /// Id of the model that answered.
    pub model: String,
    /// Name and version of the program.
    pub system_fingerprint: &'static str,
    /// Generated answers, `n` of them.
    pub choices: Vec<ChatChoice>,
    /// Token counts of the request.
    pub usage: CompletionUsage,
    /// Durations and rates, only with `timings_per_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// Token ids of the prompt, only with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// One of the generated answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    /// Position among the choices, from 0.
    pub index: u32,
    /// Message that the model wrote.
    pub message: AssistantMessage,
    /// Log-probabilities of the tokens, if requested.
    pub logprobs: Option<ChatLogprobs>,
    /// Why the answer ended.
    pub finish_reason: Finish,
    /// Token ids of the answer, only with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// A message that the model wrote.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Said)]
pub(crate) struct AssistantMessage {
    /// Role of the author, always `assistant`.
    pub role: &'static str,
    /// Text of the answer; null if it only calls tools.
    pub content: Option<String>,
    /// Always null: models here refuse in `content`.
    pub refusal: Option<String>,
    /// Reasoning, if the model's template marks it. If the band answers, the progress of its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Tool calls of the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AssistantToolCall>,
}

/// A tool call of an answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CallSaid)]
pub(crate) struct AssistantToolCall {
    /// Id of the call, `call_…`.
    pub id: String,
    /// Type of the tool, always `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Function that is called.
    pub function: AssistantFunction,
}

/// A called function and its arguments.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = FunctionSaid)]
pub(crate) struct AssistantFunction {
    /// Name of the function.
    pub name: String,
    /// Arguments, a JSON object as a string.
    pub arguments: String,
}

/// Log-probabilities of an answer's tokens.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct ChatLogprobs {
    /// One entry per token.
    pub content: Option<Vec<TokenLogprob>>,
    /// Always null: models here refuse in `content`.
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// Log-probability of a token.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// Text of the token, or `token_id:ID` if requested.
    pub token: String,
    /// Log-probability; -9999 stands for minus infinity.
    pub logprob: f32,
    /// Bytes of the token, which may end inside a character.
    pub bytes: Option<Vec<u8>>,
    /// Most likely tokens at this position.
    pub top_logprobs: Vec<TopLogprob>,
}

/// Log-probability of an alternative token.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TopLogprob {
    /// Text of the token, or `token_id:ID` if requested.
    pub token: String,
    /// Log-probability; -9999 stands for minus infinity.
    pub logprob: f32,
    /// Bytes of the token, which may end inside a character.
    pub bytes: Option<Vec<u8>>,
}

/// Scores in OpenAI's form; with `as_ids`, tokens are written as `token_id:ID`.
#[must_use]
pub(crate) fn token_logprobs(model: &LoadedModel, scores: &[Score], as_ids: bool) -> Vec<TokenLogprob> {
    let text = |id: u32| {
        let bytes = model.tokenizer().decode_bytes(id).to_vec();
        let token =
            if as_ids { format!("token_id:{id}") } else { String::from_utf8_lossy(&bytes).into_owned() };
        (token, Some(bytes))
    };
    // JSON has no infinity; OpenAI writes this for it.
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

/// A chunk of a streamed chat completion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChunk {
    /// Id of the completion, the same in all chunks.
    pub id: String,
    /// Object type, always `chat.completion.chunk`.
    pub object: &'static str,
    /// Creation time, in seconds since 1970.
    pub created: u64,
    /// Id of the model that answers.
    pub model: String,
    /// Name and version of the program.
    pub system_fingerprint: &'static str,
    /// New pieces of the answers; empty in the chunk with the token counts.
    pub choices: Vec<ChunkChoice>,
    /// Token counts, only with `stream_options.include_usage`: in the last chunk, null before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CompletionUsage>)]
    pub usage: Option<Option<CompletionUsage>>,
    /// Durations and rates, only with `timings_per_token`: in an answer's last chunk and beside the token counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// Token ids of the prompt, sent once, only with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// New piece of one answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChunkChoice {
    /// Position among the choices, from 0.
    pub index: u32,
    /// New piece of the message.
    pub delta: Delta,
    /// Log-probabilities of the new tokens, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<ChatLogprobs>,
    /// Why the answer ended; null before its last chunk.
    pub finish_reason: Option<Finish>,
    /// Ids of the new tokens, only with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// New piece of a message.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Delta {
    /// Role of the author, `assistant`, in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of the reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// New tool calls, and more of their arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallChunk>,
}

/// New piece of a tool call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallChunk {
    /// Position among the answer's calls, from 0.
    pub index: u32,
    /// Id of the call, in its first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Type of the tool, `function`, in the first piece.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// New piece of the called function.
    pub function: FunctionChunk,
}

/// New piece of a called function.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FunctionChunk {
    /// Name of the function, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of the arguments, as text.
    pub arguments: String,
}

impl AssistantMessage {
    /// Appends a part of the answer.
    pub(crate) fn add(&mut self, part: Part) {
        match part {
            Part::Content(text) => self.content.get_or_insert_default().push_str(&text),
            Part::Reasoning(text) => self.reasoning_content.get_or_insert_default().push_str(&text),
            Part::CallBegin { name, .. } => self.tool_calls.push(AssistantToolCall {
                id: super::new_id("call_"),
                kind: "function",
                function: AssistantFunction { name, arguments: String::new() },
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
    /// Joins parts that arrived together.
    #[must_use]
    pub(crate) fn of(parts: Vec<Part>) -> Self {
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
