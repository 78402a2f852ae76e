//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as Body;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};

use crate::server::answer::{Answers, Draws, Spent, Update};
use crate::server::error::ApiError;
use crate::server::track::{Track, whole};
use crate::server::wire::body::Json;
use crate::server::wire::chat::ChatRequest;
use crate::server::wire::chat_response::{
    ChatChoice, ChatChunk, ChatLogprobs, ChatResponse, ChunkChoice, Delta, FINGERPRINT, Said, TokenLogprob,
    token_logprobs,
};
use crate::server::wire::refusals::{BadBody, Busy, NoModel};
use crate::server::wire::{Usage, new_id, unix_seconds};
use crate::server::{App, Asker, sse};
use crate::text::{LoadedModel, Score};

/// Answers a conversation.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat", request_body = ChatRequest, responses(
    (status = 200, description = "The answers; a stream of chunks with `stream`", content(
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
    let streams = request.streams();
    app.check_ready()?;
    let id = app.shelf.id(request.model.as_deref(), false)?;
    let question = request.question()?;
    let (choices, scored) = (question.choices, scores(&question.draws));
    let started = Instant::now();
    let name = id.clone();
    let (app_asked, notes) = (Arc::clone(&app), asker.notes.clone());
    let asked = async move {
        let (answers, model) = app_asked.ask(&asker.notes, &id, question).await?;
        let track = Track::new(&app_asked, asker.notes, &id, choices, started).streaming(streams.is_some());
        Ok((track.follow(answers), model))
    };
    let tells_usage = streams == Some(true);
    let (id, created) = (new_id("chatcmpl-"), unix_seconds());
    let writer = Writer { id, created, name, model: None, scored, tells_usage };
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

fn scores(draws: &Draws) -> bool {
    draws.top_logprobs.is_some()
}

/// Writes answers as chat completions.
struct Writer {
    id: String,
    created: u64,
    name: String,
    /// None where the band answers, and until it is loaded.
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

    /// The chunks after the first; the last, where asked for, tells the tokens.
    fn stream(self, answers: Answers) -> impl Stream<Item = Event> + Send + 'static {
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
                    return Some((sse::failed(&error).into(), (writer, answers, spent, true)));
                }
            };
            Some((events, (writer, answers, spent, false)))
        });
        events.flat_map(stream::iter)
    }

    /// The first chunk of an answer says who speaks, before a model is loaded or a prompt computed.
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
