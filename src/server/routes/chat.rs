//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json as Body;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};

use crate::server::answer::{Answers, Draws, Spent, Update};
use crate::server::error::{ApiError, ErrorResponse};
use crate::server::track::{Track, whole};
use crate::server::wire::body::Json;
use crate::server::wire::chat::ChatRequest;
use crate::server::wire::chat_response::{
    ChatChoice, ChatChunk, ChatLogprobs, ChatResponse, ChunkChoice, Delta, FINGERPRINT, Said, TokenLogprob,
    token_logprobs,
};
use crate::server::wire::{Usage, new_id, unix_seconds};
use crate::server::{App, Asker, sse};
use crate::text::{LoadedModel, Score};

/// Answers a conversation.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat", request_body = ChatRequest, responses(
    (status = 200, description = "The answers; a stream of chunks with `stream`", content(
        (ChatResponse = "application/json"), (ChatChunk = "text/event-stream"))),
    (status = 400, description = "What was sent can't be done", body = ErrorResponse),
    (status = 404, description = "No such model", body = ErrorResponse),
    (status = 413, description = "The body is too large", body = ErrorResponse),
    (status = 415, description = "The body is no JSON", body = ErrorResponse),
    (status = 429, description = "Too many wait", body = ErrorResponse),
    (status = 503, description = "The server is loading or ending", body = ErrorResponse),
))]
pub async fn chat(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(request): Json<ChatRequest>,
) -> Result<Response, ApiError> {
    let streams = request.streams();
    app.check_ready()?;
    let id = app.shelf.id(request.model.as_deref(), false)?;
    let question = request.question()?;
    let (choices, scored) = (question.choices, scores(&question.draws));
    let started = Instant::now();
    let name = id.clone();
    let mut asked = Box::pin(async move {
        let (answers, model) = app.ask(&asker.notes, &id, question).await?;
        let track = Track::new(&app, asker.notes, &id, choices, started).streaming(streams.is_some());
        Ok::<_, ApiError>((track.follow(answers), model))
    });
    let tells_usage = streams == Some(true);
    let (id, created) = (new_id("chatcmpl-"), unix_seconds());
    let writer = move |model| Writer { id, created, name, model, scored, tells_usage };
    if streams.is_none() {
        let (answers, model) = asked.await?;
        return Ok(Body(writer(model).whole(answers, choices).await?).into_response());
    }
    // A model that must be loaded first takes longer: then the answer begins, and errors come within it.
    match tokio::time::timeout(SILENCE_MAX, &mut asked).await {
        Ok(asked) => {
            let (answers, model) = asked?;
            Ok(sse::respond(writer(model).stream(answers, choices)))
        }
        Err(_) => Ok(sse::respond(stream::once(asked).flat_map(move |asked| match asked {
            Ok((answers, model)) => writer.clone()(model).stream(answers, choices).boxed(),
            Err(error) => stream::iter([sse::data(&error.object()), sse::done()]).boxed(),
        }))),
    }
}

/// A stream begins after this long, whatever must be loaded before.
const SILENCE_MAX: Duration = Duration::from_millis(700);

fn scores(draws: &Draws) -> bool {
    draws.top_logprobs.is_some()
}

/// Writes answers as chat completions.
struct Writer {
    id: String,
    created: u64,
    name: String,
    /// None where the band answers.
    model: Option<Arc<LoadedModel>>,
    scored: bool,
    /// Whether a stream's last chunk tells the tokens.
    tells_usage: bool,
}

/// What is gathered of an answer.
#[derive(Default)]
struct Gathered {
    said: Said,
    scores: Vec<Score>,
}

impl Writer {
    fn scores(&self, scores: &[Score]) -> Option<ChatLogprobs> {
        let model = self.model.as_ref().filter(|_| self.scored)?;
        let content: Vec<TokenLogprob> = token_logprobs(model, scores);
        Some(ChatLogprobs { content: Some(content), refusal: None })
    }

    async fn whole(self, answers: Answers, choices: u32) -> Result<ChatResponse, ApiError> {
        let take = |gathered: &mut Gathered, update| {
            if let Update::Parts(parts, scores) = update {
                parts.into_iter().for_each(|part| gathered.said.add(part));
                gathered.scores.extend(scores);
            }
        };
        let all = whole::<Gathered>(answers, choices, take).await?;
        let choice = |(index, (gathered, finish_reason)): (u32, (Gathered, _))| {
            let mut message = Said { role: "assistant", ..gathered.said };
            if message.tool_calls.is_empty() {
                message.content.get_or_insert_default();
            }
            ChatChoice { index, message, logprobs: self.scores(&gathered.scores), finish_reason }
        };
        Ok(ChatResponse {
            choices: (0..).zip(all.answers).map(choice).collect(),
            usage: Usage::from(all.spent),
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.name,
            system_fingerprint: FINGERPRINT,
        })
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> Event {
        let usage = self.tells_usage.then_some(usage);
        sse::data(&ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.name.clone(),
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        })
    }

    /// The first chunks say who speaks, before a prompt is computed; the last, where asked for, tells the tokens.
    fn stream(self, answers: Answers, choices: u32) -> impl Stream<Item = Event> + Send + 'static {
        let opening: Vec<Event> = (0..choices).map(|index| self.opening(index)).collect();
        let state = (self, answers, Spent::default(), false);
        let events = stream::unfold(state, move |(writer, mut answers, mut spent, ended)| async move {
            if ended {
                return None;
            }
            let Some((index, update)) = answers.next().await else {
                let mut last: Vec<Event> = Vec::new();
                if writer.tells_usage {
                    last.push(writer.chunk(Vec::new(), Some(Usage::from(spent))));
                }
                last.push(sse::done());
                return Some((last, (writer, answers, spent, true)));
            };
            let events = match update {
                Update::Parts(parts, scores) => {
                    let delta = Delta::of(parts);
                    vec![writer.of_choice(index, delta, &scores, None)]
                }
                Update::Begun | Update::PromptScores(_) => Vec::new(),
                Update::End(finish, cost) => {
                    spent.add_choice(cost);
                    vec![writer.of_choice(index, Delta::default(), &[], Some(finish))]
                }
                Update::Failed(error) => {
                    return Some((
                        vec![sse::data(&error.object()), sse::done()],
                        (writer, answers, spent, true),
                    ));
                }
            };
            Some((events, (writer, answers, spent, false)))
        });
        stream::iter(opening).chain(events.flat_map(stream::iter))
    }

    fn opening(&self, index: u32) -> Event {
        let delta = Delta { role: Some("assistant"), content: Some(String::new()), ..Delta::default() };
        self.of_choice(index, delta, &[], None)
    }

    fn of_choice(
        &self,
        index: u32,
        delta: Delta,
        scores: &[Score],
        finish_reason: Option<crate::server::answer::Finish>,
    ) -> Event {
        let logprobs = if scores.is_empty() { None } else { self.scores(scores) };
        self.chunk(vec![ChunkChoice { index, delta, logprobs, finish_reason }], None)
    }
}
