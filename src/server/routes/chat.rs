//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as Body;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use bandmaster_text::{LoadedModel, Score};

use crate::answer::{Answers, Finish, Update};
use crate::error::ApiError;
use crate::layers::RequestContext;
use crate::sse::EventWriter;
use crate::tracker::{AnswerTracker, collect};
use crate::usage::Usage;
use crate::wire::body::Json;
use crate::wire::chat::ChatRequest;
use crate::wire::chat_response::{
    AssistantMessage, ChatChoice, ChatChunk, ChatLogprobs, ChatResponse, ChunkChoice, Delta, FINGERPRINT,
    TokenLogprob, token_logprobs,
};
use crate::wire::common::{OutputOptions, Timings};
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::wire::{CompletionUsage, new_id, unix_seconds};
use crate::{App, sse};

/// Generates answers to a conversation.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat", request_body = ChatRequest, responses(
    (status = 200, description = "The answers, or a stream of chunks with `stream`", content(
        (ChatResponse = "application/json"), (ChatChunk = "text/event-stream"))),
    NoModel,
    BadBody,
    Busy,
))]
pub(crate) async fn chat(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(request): Json<ChatRequest>,
) -> Result<Response, ApiError> {
    app.check_ready()?;
    let is_stream = request.common.is_streamed();
    let name = app.model_id(&context, request.common.model.as_deref(), false)?;
    let (question, options) = request.question()?;
    app.report_ignored(&context, &name, &question);
    let choices = question.choices;
    let arrived = Instant::now();
    let (id, created) = (new_id("chatcmpl-"), unix_seconds());
    let writer = Writer { id, created, name, model: None, options, usage: Usage::default() };
    let opening = (0..choices).map(|index| writer.opening(index)).collect();
    let started = {
        let (app, context) = (Arc::clone(&app), context.clone());
        async move {
            let (answers, model) = app.ask(&context, &writer.name, question).await?;
            let tracker =
                AnswerTracker::new(&app, context, &writer.name, choices, arrived).streaming(is_stream);
            Ok((tracker.follow(answers), Writer { model, ..writer }))
        }
    };
    if is_stream {
        return sse::stream_answers(&app, context, opening, started, sse::failed).await;
    }
    let (answers, writer) = started.await?;
    Ok(Body(writer.whole(answers, choices).await?).into_response())
}

/// Formats answers as chat completions.
struct Writer {
    id: String,
    created: u64,
    name: String,
    /// `None` if the band answers, and until the model is loaded.
    model: Option<Arc<LoadedModel>>,
    options: OutputOptions,
    /// Usage of the choices that have ended.
    usage: Usage,
}

#[derive(Default)]
struct Gathered {
    message: AssistantMessage,
    scores: Vec<Score>,
    prompt: Option<Arc<[u32]>>,
}

impl Writer {
    fn scores(&self, scores: &[Score]) -> Option<ChatLogprobs> {
        let model = self.model.as_ref().filter(|_| self.options.scores)?;
        let content: Vec<TokenLogprob> = token_logprobs(model, scores, self.options.tokens_as_ids);
        Some(ChatLogprobs { content: Some(content), refusal: None })
    }

    fn token_ids(&self, scores: &[Score]) -> Option<Vec<u32>> {
        self.options.token_ids.then(|| scores.iter().map(|score| score.id).collect())
    }

    async fn whole(self, answers: Answers, choices: u32) -> Result<ChatResponse, ApiError> {
        let take = |gathered: &mut Gathered, update| match update {
            Update::Prompt(ids) => gathered.prompt = Some(ids),
            Update::Parts(parts, scores) => {
                parts.into_iter().for_each(|part| gathered.message.add(part));
                gathered.scores.extend(scores);
            }
            _ => {}
        };
        let all = collect::<Gathered>(answers, choices, take).await?;
        let prompt = all.answers.first().and_then(|(gathered, _)| gathered.prompt.clone());
        let choice = |(index, (gathered, finish_reason)): (u32, (Gathered, _))| {
            let mut message = AssistantMessage { role: "assistant", ..gathered.message };
            if message.tool_calls.is_empty() {
                message.content.get_or_insert_default();
            }
            let (logprobs, token_ids) = (self.scores(&gathered.scores), self.token_ids(&gathered.scores));
            ChatChoice { index, message, logprobs, finish_reason, token_ids }
        };
        Ok(ChatResponse {
            choices: (0..).zip(all.answers).map(choice).collect(),
            usage: CompletionUsage::from(all.usage),
            timings: self.options.timings.then(|| Timings::from(all.usage)),
            prompt_token_ids: prompt.filter(|_| self.options.token_ids).map(|ids| ids.to_vec()),
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.name,
            system_fingerprint: FINGERPRINT,
        })
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<CompletionUsage>) -> ChatChunk {
        let usage = self.options.usage.then_some(usage);
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.name.clone(),
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
            timings: None,
            prompt_token_ids: None,
        }
    }

    /// The first chunk of an answer, with its role. It is sent before the model is loaded and the prompt is computed.
    fn opening(&self, index: u32) -> Event {
        let delta = Delta { role: Some("assistant"), content: Some(String::new()), ..Delta::default() };
        sse::data(&self.of_choice(index, delta, &[], None))
    }

    fn of_choice(
        &self,
        index: u32,
        delta: Delta,
        scores: &[Score],
        finish_reason: Option<Finish>,
    ) -> ChatChunk {
        let scored = Some(scores).filter(|scores| !scores.is_empty());
        let logprobs = scored.and_then(|scores| self.scores(scores));
        let token_ids = scored.and_then(|scores| self.token_ids(scores));
        self.chunk(vec![ChunkChoice { index, delta, logprobs, finish_reason, token_ids }], None)
    }
}

impl EventWriter for Writer {
    async fn update(&mut self, index: u32, update: Update) -> Vec<Event> {
        let chunk = match update {
            Update::Parts(parts, scores) => self.of_choice(index, Delta::of(parts), &scores, None),
            Update::Prompt(ids) if self.options.token_ids && index == 0 => {
                let empty = self.of_choice(index, Delta::default(), &[], None);
                ChatChunk { prompt_token_ids: Some(ids.to_vec()), ..empty }
            }
            Update::End(finish, usage) => {
                self.usage.add_choice(usage);
                let end = self.of_choice(index, Delta::default(), &[], Some(finish));
                ChatChunk { timings: self.options.timings.then(|| Timings::from(usage)), ..end }
            }
            Update::Prompt(_) | Update::PrefillStarted | Update::PromptScores(_) | Update::Failed(_) => {
                return Vec::new();
            }
        };
        vec![sse::data(&chunk)]
    }

    fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.options.usage {
            let chunk = self.chunk(Vec::new(), Some(CompletionUsage::from(self.usage)));
            let timings = self.options.timings.then(|| Timings::from(self.usage));
            events.push(sse::data(&ChatChunk { timings, ..chunk }));
        }
        events.push(sse::done());
        events
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        sse::failed(error)
    }
}
