//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as Body;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use bandmaster_text::{LoadedModel, Score};
use futures_util::stream::{self, Stream, StreamExt};

use crate::answer::{Answers, Finish, Spent, Update};
use crate::error::ApiError;
use crate::track::{Track, whole};
use crate::wire::body::Json;
use crate::wire::chat::ChatRequest;
use crate::wire::chat_response::{
    ChatChoice, ChatChunk, ChatLogprobs, ChatResponse, ChunkChoice, Delta, FINGERPRINT, Said, TokenLogprob,
    token_logprobs,
};
use crate::wire::common::{Telling, Timings};
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::wire::{Usage, new_id, unix_seconds};
use crate::{App, Asker, sse};

/// Generates answers to a conversation.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat", request_body = ChatRequest, responses(
    (status = 200, description = "The answers, or a stream of chunks with `stream`", content(
        (ChatResponse = "application/json"), (ChatChunk = "text/event-stream"))),
    NoModel,
    BadBody,
    Busy,
))]
pub async fn chat(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(request): Json<ChatRequest>,
) -> Result<Response, ApiError> {
    let streams = request.common.streams();
    app.check_ready()?;
    let id = app.id(&asker.notes, request.common.model.as_deref(), false)?;
    let (question, telling) = request.question()?;
    app.name_unused(&asker.notes, &id, &question);
    let choices = question.choices;
    let started = Instant::now();
    let name = id.clone();
    let (app_asked, notes) = (Arc::clone(&app), asker.notes.clone());
    let asked = async move {
        let (answers, model) = app_asked.ask(&asker.notes, &id, question).await?;
        let track = Track::new(&app_asked, asker.notes, &id, choices, started).streaming(streams.is_some());
        Ok((track.follow(answers), model))
    };
    let (id, created) = (new_id("chatcmpl-"), unix_seconds());
    let writer = Writer { id, created, name, model: None, telling };
    if streams.is_none() {
        let (answers, model) = asked.await?;
        return Ok(Body(Writer { model, ..writer }.whole(answers, choices).await?).into_response());
    }
    let opening = (0..choices).map(|index| writer.opening(index)).collect();
    let write = move |asked| match asked {
        Ok((answers, model)) => Writer { model, ..writer }.stream(answers).boxed(),
        Err(error) => stream::iter(sse::failed(&error)).boxed(),
    };
    sse::begin(&app, notes, opening, asked, write).await
}

/// Formats answers as chat completions.
struct Writer {
    id: String,
    created: u64,
    name: String,
    /// `None` if the band answers, and until the model is loaded.
    model: Option<Arc<LoadedModel>>,
    telling: Telling,
}

#[derive(Default)]
struct Gathered {
    said: Said,
    scores: Vec<Score>,
    prompt: Option<Arc<[u32]>>,
}

impl Writer {
    fn scores(&self, scores: &[Score]) -> Option<ChatLogprobs> {
        let model = self.model.as_ref().filter(|_| self.telling.scores)?;
        let content: Vec<TokenLogprob> = token_logprobs(model, scores, self.telling.tokens_as_ids);
        Some(ChatLogprobs { content: Some(content), refusal: None })
    }

    fn token_ids(&self, scores: &[Score]) -> Option<Vec<u32>> {
        self.telling.token_ids.then(|| scores.iter().map(|score| score.id).collect())
    }

    async fn whole(self, answers: Answers, choices: u32) -> Result<ChatResponse, ApiError> {
        let take = |gathered: &mut Gathered, update| match update {
            Update::Prompt(ids) => gathered.prompt = Some(ids),
            Update::Parts(parts, scores) => {
                parts.into_iter().for_each(|part| gathered.said.add(part));
                gathered.scores.extend(scores);
            }
            _ => {}
        };
        let all = whole::<Gathered>(answers, choices, take).await?;
        let prompt = all.answers.first().and_then(|(gathered, _)| gathered.prompt.clone());
        let choice = |(index, (gathered, finish_reason)): (u32, (Gathered, _))| {
            let mut message = Said { role: "assistant", ..gathered.said };
            if message.tool_calls.is_empty() {
                message.content.get_or_insert_default();
            }
            let (logprobs, token_ids) = (self.scores(&gathered.scores), self.token_ids(&gathered.scores));
            ChatChoice { index, message, logprobs, finish_reason, token_ids }
        };
        Ok(ChatResponse {
            choices: (0..).zip(all.answers).map(choice).collect(),
            usage: Usage::from(all.spent),
            timings: self.telling.timings.then(|| Timings::from(all.spent)),
            prompt_token_ids: prompt.filter(|_| self.telling.token_ids).map(|ids| ids.to_vec()),
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.name,
            system_fingerprint: FINGERPRINT,
        })
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> ChatChunk {
        let usage = self.telling.usage.then_some(usage);
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

    /// The chunks after the opening ones. If the client wants usage, the last chunk reports it.
    fn stream(self, answers: Answers) -> impl Stream<Item = Event> + Send + 'static {
        let state = (self, answers, Spent::default(), false);
        let events = stream::unfold(state, move |(writer, mut answers, mut spent, ended)| async move {
            if ended {
                return None;
            }
            let Some((index, update)) = answers.next().await else {
                let mut last: Vec<Event> = Vec::new();
                if writer.telling.usage {
                    let chunk = writer.chunk(Vec::new(), Some(Usage::from(spent)));
                    let timings = writer.telling.timings.then(|| Timings::from(spent));
                    last.push(sse::data(&ChatChunk { timings, ..chunk }));
                }
                last.push(sse::done());
                return Some((last, (writer, answers, spent, true)));
            };
            let events = match update {
                Update::Parts(parts, scores) => {
                    let delta = Delta::of(parts);
                    vec![sse::data(&writer.of_choice(index, delta, &scores, None))]
                }
                Update::Prompt(ids) if writer.telling.token_ids && index == 0 => {
                    let empty = writer.of_choice(index, Delta::default(), &[], None);
                    vec![sse::data(&ChatChunk { prompt_token_ids: Some(ids.to_vec()), ..empty })]
                }
                Update::Prompt(_) | Update::Begun | Update::PromptScores(_) => Vec::new(),
                Update::End(finish, cost) => {
                    spent.add_choice(cost);
                    let end = writer.of_choice(index, Delta::default(), &[], Some(finish));
                    let timings = writer.telling.timings.then(|| Timings::from(cost));
                    vec![sse::data(&ChatChunk { timings, ..end })]
                }
                Update::Failed(error) => {
                    return Some((sse::failed(&error).into(), (writer, answers, spent, true)));
                }
            };
            Some((events, (writer, answers, spent, false)))
        });
        events.flat_map(stream::iter)
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
