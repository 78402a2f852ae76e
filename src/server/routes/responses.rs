//! `/v1/responses`: answers that are stored and can be continued.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Json as Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use bandmaster_journal::{Desk, Journal, JournalError, KeptItem, KeptResponse};
use bandmaster_text::{LoadedModel, Message};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{read, write};
use crate::answer::{Answers, Update, failing};
use crate::error::{ApiError, ErrorResponse};
use crate::track::Track;
use crate::wire::body::{BODY_BYTES_MAX, Json};
use crate::wire::chat_response::token_logprobs;
use crate::wire::refusals::{BadBody, BadQuery, Busy, NoAnswer};
use crate::wire::responses::events::{Progress, ResponseEvent};
use crate::wire::responses::items::{Item, ItemGiven, ItemList, Paging, messages};
use crate::wire::responses::object::{Deleted, Response as Answer};
use crate::wire::responses::request::{Asked, Before, CreateResponse};
use crate::{App, Asker, sse};

/// Generates an answer and stores it unless `store` is false.
///
/// An answer that fails, or whose client disconnects before its end, is not stored.
#[utoipa::path(post, path = "/v1/responses", tag = "responses", request_body = CreateResponse, responses(
    (status = 200, description = "The answer, or a stream of events with `stream`", content(
        (Answer = "application/json"), (ResponseEvent = "text/event-stream"))),
    (status = 404, description = "No such model or conversation", body = ErrorResponse),
    BadBody,
    Busy,
))]
pub async fn create(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(request): Json<CreateResponse>,
) -> Result<Response, ApiError> {
    let streams = request.asked.stream == Some(true);
    app.check_ready()?;
    let id = app.id(&asker.notes, request.asked.model.as_deref(), false)?;
    let Asked { before, input, mut question, response, ignored } = request.understood(id.clone())?;
    asker.notes.ignored(ignored.into_iter().map(str::to_owned));
    app.name_unused(&asker.notes, &id, &question);
    let (instructions, known) = (response.instructions.clone(), before.clone());
    let prepared = read(&app, &asker, move |journal| prepare(journal, known, input, instructions.as_deref()));
    let (messages, input) = prepared.await?;
    question.messages = messages;
    let scored = question.draws.top_logprobs.is_some();
    let started = Instant::now();
    let desk = app.runs.desk(&asker.notes.viewer());
    let keeper = Keeper { desk, before, input };
    let mut writer = Writer { progress: Progress::new(response), model: None, keeper };
    let (app_asked, notes) = (Arc::clone(&app), asker.notes.clone());
    let asked = async move {
        let (answers, model) = app_asked.ask(&asker.notes, &id, question).await.map_err(renamed)?;
        let track = Track::new(&app_asked, asker.notes, &id, 1, started).streaming(streams);
        Ok((track.follow(answers), model.filter(|_| scored)))
    };
    if !streams {
        let (answers, model) = asked.await?;
        return Ok(Body(Writer { model, ..writer }.whole(answers).await?).into_response());
    }
    let opening = writer.progress.opening().into_iter().map(named).collect();
    let write = move |asked| match asked {
        Ok((answers, model)) => Writer { model, ..writer }.stream(answers),
        Err(error) => writer.stream(failing(error)),
    };
    sse::begin(&app, notes, opening, asked, write).await
}

fn named(event: ResponseEvent) -> Event {
    sse::named(event.name, &event)
}

/// Translates the field that an error names from the chat route's name to this route's.
fn renamed(error: ApiError) -> ApiError {
    let param = error.param.map(|param| match param.as_str() {
        "messages" => "input".to_owned(),
        "response_format" => "text.format".to_owned(),
        "logprobs" => "include".to_owned(),
        "max_tokens" => "max_output_tokens".to_owned(),
        _ => param,
    });
    ApiError { param, ..error }
}

/// Builds the conversation for the model. Also returns its new items in the form in which they are stored.
fn prepare(
    journal: &Journal,
    before: Before,
    input: Vec<ItemGiven>,
    instructions: Option<&str>,
) -> Result<(Vec<Message>, Vec<Item>), ApiError> {
    let input = looked_up(journal, "input", input)?;
    let mut taken = HashSet::new();
    let history = match before {
        Before::Nothing => Vec::new(),
        Before::Answer(id) => history(journal, &id)?,
        Before::Conversation(id) => {
            check_conversation(journal, &id)
                .map_err(|error| ApiError { param: Some("conversation".into()), ..error })?;
            let items = journal.items(&id)?;
            taken.extend(items.iter().map(|item| item.id.clone()));
            items
        }
    };
    let mut items = history.into_iter().map(read_back).collect::<Result<Vec<_>, _>>()?;
    items.extend(input.iter().cloned());
    let messages = messages(instructions, &items)?;
    Ok((messages, input.into_iter().filter_map(|item| item.kept(&mut taken)).collect()))
}

/// Refuses a conversation that isn't there.
pub(super) fn check_conversation(journal: &Journal, id: &str) -> Result<(), ApiError> {
    match journal.has_conversation(id)? {
        true => Ok(()),
        false => Err(ApiError::not_found(format!("no conversation {id}"))),
    }
}

fn history(journal: &Journal, id: &str) -> Result<Vec<KeptItem>, ApiError> {
    let refuse = |message: String| ApiError::invalid("previous_response_id", message);
    let history = journal.history(id)?.ok_or_else(|| {
        refuse(format!("previous response {id:?} not found: it was not stored, or it was removed"))
            .code("previous_response_not_found")
    })?;
    if let Some(missing) = history.missing {
        let message = format!("{id} continues {missing}, which was removed: send the conversation as input");
        return Err(refuse(message).code("previous_response_not_found"));
    }
    if let Some(conversation) = history.conversation {
        return Err(refuse(format!(
            "{id} belongs to {conversation}: continue it with the field conversation"
        )));
    }
    Ok(history.items)
}

fn read_back(kept: KeptItem) -> Result<ItemGiven, ApiError> {
    let KeptItem { id, body } = kept;
    serde_json::from_value(body)
        .map_err(|error| ApiError::internal(format!("the stored item {id} can't be read: {error}")))
}

/// Replaces references to stored items by the items.
pub(super) fn looked_up(
    journal: &Journal,
    field: &str,
    items: Vec<ItemGiven>,
) -> Result<Vec<ItemGiven>, ApiError> {
    let mut bytes = 0;
    let look = |(at, item): (usize, ItemGiven)| match item {
        ItemGiven::ItemReference { id } => {
            let place = format!("{field}[{at}].id");
            let kept = journal.item(&id)?.ok_or_else(|| {
                ApiError::invalid(&place, format!("no item {id:?} is stored here: send the whole item"))
            })?;
            bytes += kept.body.to_string().len();
            if bytes > BODY_BYTES_MAX {
                let message = format!(
                    "the items that are referenced have more than {} MiB together",
                    BODY_BYTES_MAX >> 20
                );
                return Err(ApiError::invalid(place, message));
            }
            read_back(kept)
        }
        item => Ok(item),
    };
    items.into_iter().enumerate().map(look).collect()
}

/// Stores answers in the record.
struct Keeper {
    desk: Desk,
    before: Before,
    input: Vec<Item>,
}

impl Keeper {
    /// Stores an answer if `store` is true, and appends it to its conversation.
    async fn keep(&self, answer: &Answer) -> Kept {
        let conversation = match &self.before {
            Before::Conversation(id) => Some(id.clone()),
            Before::Answer(_) | Before::Nothing => None,
        };
        let store = answer.store;
        if !store && conversation.is_none() {
            return Kept { stored: false, appended: false };
        }
        let kept = KeptResponse {
            id: answer.id.clone(),
            previous: answer.previous_response_id.clone(),
            conversation: conversation.clone(),
            created_s: answer.created_at,
            body: serde_json::to_value(answer).expect("a response has string keys"),
            input: self.input.iter().map(Item::document).collect(),
            output: answer.output.iter().map(Item::document).collect(),
        };
        let done = self.desk.write(move |journal| {
            // The client gets the finished answer in any case, with a note of what could not be stored.
            let stored = store && written(&kept.id, journal.keep_response(&kept).map(|()| true));
            let appended = conversation.is_some_and(|conversation| {
                let said = [kept.input, kept.output].concat();
                written(&kept.id, journal.extend_conversation(&conversation, &said))
            });
            Ok::<_, JournalError>(Kept { stored, appended })
        });
        match done.await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(response = answer.id, "an answer could not be stored: {error}");
                Kept { stored: false, appended: false }
            }
        }
    }
}

struct Kept {
    stored: bool,
    appended: bool,
}

fn written(id: &str, done: Result<bool, JournalError>) -> bool {
    match done {
        Ok(true) => true,
        Ok(false) => {
            tracing::warn!(response = id, "its conversation was removed meanwhile");
            false
        }
        Err(error) => {
            tracing::warn!(response = id, "an answer could not be stored: {error}");
            false
        }
    }
}

/// Formats an answer as a response object or as its events.
struct Writer {
    progress: Progress,
    /// The model that answers, if the client wants log-probabilities.
    model: Option<Arc<LoadedModel>>,
    keeper: Keeper,
}

impl Writer {
    /// Records an update and returns its events.
    async fn take(&mut self, update: Update) -> Vec<ResponseEvent> {
        match update {
            Update::Prompt(_) | Update::Begun | Update::PromptScores(_) => Vec::new(),
            Update::Parts(parts, scores) => {
                let scores = self.model.as_ref().map(|model| token_logprobs(model, &scores, false));
                self.progress.take(parts, scores.unwrap_or_default())
            }
            Update::End(finish, spent) => {
                let mut events = self.progress.end(finish, spent);
                let Kept { stored, appended } = self.keeper.keep(self.progress.response()).await;
                if !stored {
                    self.progress.unkept();
                }
                if !appended {
                    self.progress.left_out();
                }
                events.extend(self.progress.last());
                events
            }
            Update::Failed(error) => {
                let mut events = self.progress.fail(&renamed(error));
                events.extend(self.progress.last());
                events
            }
        }
    }

    async fn whole(mut self, mut answers: Answers) -> Result<Answer, ApiError> {
        while !self.progress.has_ended() {
            let update = next(&mut answers).await;
            if let Update::Failed(error) = update {
                return Err(renamed(error));
            }
            self.take(update).await;
        }
        Ok(self.progress.into_response())
    }

    /// The events after the opening ones, which are sent before the model is loaded and the prompt is computed.
    fn stream(self, answers: Answers) -> impl Stream<Item = Event> + Send + 'static {
        let events = stream::unfold((self, answers), |(mut writer, mut answers)| async move {
            if writer.progress.has_ended() {
                return None;
            }
            let update = next(&mut answers).await;
            Some((writer.take(update).await, (writer, answers)))
        });
        events.flat_map(stream::iter).map(named)
    }
}

/// The next update of an answer; a failure if the stream ends without one.
async fn next(answers: &mut Answers) -> Update {
    let broken = || Update::Failed(ApiError::internal("the answer ended unexpectedly"));
    answers.next().await.map_or_else(broken, |(_, update)| update)
}

/// Query parameters for a stored response.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Showing {
    /// Must be false or absent, because stored responses can't be streamed.
    stream: Option<bool>,
}

/// Returns a stored response.
#[utoipa::path(get, path = "/v1/responses/{id}", tag = "responses",
    params(("id" = String, Path, description = "The response's id"), Showing),
    responses(
        (status = 200, description = "The response", body = Answer),
        NoAnswer,
        BadQuery,
    ))]
pub async fn show(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    showing: Result<Query<Showing>, QueryRejection>,
) -> Result<Body<Value>, ApiError> {
    if asked(showing)?.stream == Some(true) {
        return Err(ApiError::unsupported(
            "stream",
            "stream is not supported: this route returns the whole response",
        ));
    }
    find(&app, &asker, id).await.map(Body)
}

async fn find(app: &App, asker: &Asker, id: String) -> Result<Value, ApiError> {
    read(app, asker, move |journal| journal.response(&id)?.ok_or_else(|| unknown(&id))).await
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("no response {id}: it was not stored, or it was removed"))
}

/// Unwraps the query parameters of a request.
///
/// # Errors
/// 400 if they could not be parsed.
pub(super) fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|error| ApiError::unreadable(error.body_text()))
}

/// Deletes a stored response.
///
/// Responses that continue from it stay, but can no longer be continued.
#[utoipa::path(delete, path = "/v1/responses/{id}", tag = "responses",
    params(("id" = String, Path, description = "The response's id")),
    responses(
        (status = 200, description = "The response was deleted", body = Deleted),
        NoAnswer,
    ))]
pub async fn remove(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Body<Deleted>, ApiError> {
    write(&app, &asker, move |journal| match journal.delete_response(&id)? {
        true => Ok(Body(Deleted { id, object: "response", deleted: true })),
        false => Err(unknown(&id)),
    })
    .await
}

/// Lists the input items of a stored response, without the earlier items of its conversation.
///
/// An item that can no longer be read is listed with the type `record.damaged` and a `message` that says why.
#[utoipa::path(get, path = "/v1/responses/{id}/input_items", tag = "responses",
    params(("id" = String, Path, description = "The response's id"), Paging),
    responses(
        (status = 200, description = "The items", body = ItemList),
        NoAnswer,
        BadQuery,
    ))]
pub async fn input_items(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Body<ItemList>, ApiError> {
    let paging = asked(paging)?;
    read(&app, &asker, move |journal| {
        if !journal.has_response(&id)? {
            return Err(unknown(&id));
        }
        ItemList::page(journal.listed_items(&id)?, &paging).map(Body)
    })
    .await
}

/// Always refused, since no response runs in the background.
///
/// A client cancels a response in progress by disconnecting.
#[utoipa::path(post, path = "/v1/responses/{id}/cancel", tag = "responses",
    params(("id" = String, Path, description = "The response's id")),
    responses(
        (status = 400, description = "The response has already ended", body = ErrorResponse),
        NoAnswer,
    ))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Body<Answer>, ApiError> {
    find(&app, &asker, id).await?;
    Err(ApiError::unreadable("only an answer in the background can be cancelled: this one has ended"))
}
