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
use bandmaster_journal::{AsyncJournal, Journal, JournalError, StoredItem, StoredResponse};
use bandmaster_text::{LoadedModel, Message};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{parsed_query, read, write};
use crate::answer::{Answers, Update};
use crate::error::{ApiError, ErrorResponse};
use crate::layers::RequestContext;
use crate::sse::EventWriter;
use crate::tracker::AnswerTracker;
use crate::wire::body::{BODY_BYTES_MAX, Json};
use crate::wire::chat_response::token_logprobs;
use crate::wire::refusals::{BadBody, BadQuery, Busy, NoResponse};
use crate::wire::responses::events::{ResponseBuilder, ResponseEvent};
use crate::wire::responses::items::{InputItem, Item, ItemList, Paging, messages};
use crate::wire::responses::object::{Deleted, Response as Answer};
use crate::wire::responses::request::{CheckedRequest, Continuation, CreateResponse};
use crate::{App, sse};

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
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(request): Json<CreateResponse>,
) -> Result<Response, ApiError> {
    app.check_ready()?;
    let is_stream = request.own.stream == Some(true);
    let id = app.model_id(&context, request.own.model.as_deref(), false)?;
    let CheckedRequest { continues, input, mut question, response, ignored } = request.check(id.clone())?;
    context.add_ignored(ignored.into_iter().map(str::to_owned));
    app.report_ignored(&context, &id, &question);
    let (instructions, known) = (response.instructions.clone(), continues.clone());
    let prepared =
        read(&app, &context, move |journal| prepare(journal, known, input, instructions.as_deref()));
    let (messages, input) = prepared.await?;
    question.messages = messages;
    let is_scored = question.params.top_logprobs.is_some();
    let arrived = Instant::now();
    let store = ResponseStore { journal: app.runs.journal(&context.viewer()), continues, input };
    let mut writer = Writer { builder: ResponseBuilder::new(response), model: None, store };
    let opening = writer.builder.opening().into_iter().map(named).collect();
    let mut unstarted = writer.builder.clone();
    let started = {
        let (app, context) = (Arc::clone(&app), context.clone());
        async move {
            let (answers, model) = app.ask(&context, &id, question).await.map_err(renamed)?;
            let tracker = AnswerTracker::new(&app, context, &id, 1, arrived).streaming(is_stream);
            Ok((tracker.follow(answers), Writer { model: model.filter(|_| is_scored), ..writer }))
        }
    };
    if is_stream {
        let failed = move |error: &ApiError| fail(&mut unstarted, error);
        return sse::stream_answers(&app, context, opening, started, failed).await;
    }
    let (answers, writer) = started.await?;
    Ok(Body(writer.whole(answers).await?).into_response())
}

/// Ends a response with an error. Returns its last events.
fn fail(builder: &mut ResponseBuilder, error: &ApiError) -> Vec<Event> {
    let mut events = builder.fail(&renamed(error.clone()));
    events.extend(builder.final_event());
    events.into_iter().map(named).collect()
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
    continues: Continuation,
    input: Vec<InputItem>,
    instructions: Option<&str>,
) -> Result<(Vec<Message>, Vec<Item>), ApiError> {
    let input = resolve_references(journal, "input", input)?;
    let mut used_ids = HashSet::new();
    let history = match continues {
        Continuation::Nothing => Vec::new(),
        Continuation::Response(id) => history(journal, &id)?,
        Continuation::Conversation(id) => {
            check_conversation(journal, &id)
                .map_err(|error| ApiError { param: Some("conversation".into()), ..error })?;
            let items = journal.items(&id)?;
            used_ids.extend(items.iter().map(|item| item.id.clone()));
            items
        }
    };
    let mut items = history.into_iter().map(input_item).collect::<Result<Vec<_>, _>>()?;
    items.extend(input.iter().cloned());
    let messages = messages(instructions, &items)?;
    Ok((messages, input.into_iter().filter_map(|item| item.into_item(&mut used_ids)).collect()))
}

/// Refuses a conversation that isn't there.
pub(super) fn check_conversation(journal: &Journal, id: &str) -> Result<(), ApiError> {
    match journal.has_conversation(id)? {
        true => Ok(()),
        false => Err(ApiError::not_found(format!("no conversation {id}"))),
    }
}

fn history(journal: &Journal, id: &str) -> Result<Vec<StoredItem>, ApiError> {
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

fn input_item(record: StoredItem) -> Result<InputItem, ApiError> {
    let StoredItem { id, body } = record;
    serde_json::from_value(body)
        .map_err(|error| ApiError::internal(format!("the stored item {id} can't be read: {error}")))
}

/// Replaces references to stored items by the items.
pub(super) fn resolve_references(
    journal: &Journal,
    field: &str,
    items: Vec<InputItem>,
) -> Result<Vec<InputItem>, ApiError> {
    let mut bytes = 0;
    let resolve = |(at, item): (usize, InputItem)| match item {
        InputItem::ItemReference { id } => {
            let place = format!("{field}[{at}].id");
            let record = journal.item(&id)?.ok_or_else(|| {
                ApiError::invalid(&place, format!("no item {id:?} is stored here: send the whole item"))
            })?;
            bytes += record.body.to_string().len();
            if bytes > BODY_BYTES_MAX {
                let message = format!(
                    "the items that are referenced have more than {} MiB together",
                    BODY_BYTES_MAX >> 20
                );
                return Err(ApiError::invalid(place, message));
            }
            input_item(record)
        }
        item => Ok(item),
    };
    items.into_iter().enumerate().map(resolve).collect()
}

/// Stores answers in the record.
struct ResponseStore {
    journal: AsyncJournal,
    continues: Continuation,
    input: Vec<Item>,
}

impl ResponseStore {
    /// Stores an answer if `store` is true, and appends it to its conversation.
    async fn save(&self, answer: &Answer) -> Saved {
        let conversation = match &self.continues {
            Continuation::Conversation(id) => Some(id.clone()),
            Continuation::Response(_) | Continuation::Nothing => None,
        };
        let store = answer.store;
        if !store && conversation.is_none() {
            return Saved { stored: false, appended: false };
        }
        let record = StoredResponse {
            id: answer.id.clone(),
            previous: answer.previous_response_id.clone(),
            conversation: conversation.clone(),
            created_s: answer.created_at,
            body: serde_json::to_value(answer).expect("a response has string keys"),
            input: self.input.iter().map(Item::document).collect(),
            output: answer.output.iter().map(Item::document).collect(),
        };
        let done = self.journal.write(move |journal| {
            // The client gets the finished answer in any case, with a note of what could not be stored.
            let stored = store && succeeded(&record.id, journal.keep_response(&record).map(|()| true));
            let appended = conversation.is_some_and(|conversation| {
                let items = [record.input, record.output].concat();
                succeeded(&record.id, journal.extend_conversation(&conversation, &items))
            });
            Ok::<_, JournalError>(Saved { stored, appended })
        });
        match done.await {
            Ok(saved) => saved,
            Err(error) => {
                tracing::warn!(response = answer.id, "an answer could not be stored: {error}");
                Saved { stored: false, appended: false }
            }
        }
    }
}

struct Saved {
    stored: bool,
    appended: bool,
}

fn succeeded(id: &str, done: Result<bool, JournalError>) -> bool {
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
    builder: ResponseBuilder,
    /// The model that answers, if the client wants log-probabilities.
    model: Option<Arc<LoadedModel>>,
    store: ResponseStore,
}

impl Writer {
    async fn whole(mut self, mut answers: Answers) -> Result<Answer, ApiError> {
        while let Some((_, update)) = answers.next().await {
            if let Update::Failed(error) = update {
                return Err(renamed(error));
            }
            self.add(update).await;
        }
        Ok(self.builder.into_response())
    }

    /// Adds an update to the response, and stores the response at its end. Returns the events.
    async fn add(&mut self, update: Update) -> Vec<ResponseEvent> {
        match update {
            Update::Prompt(_) | Update::PrefillStarted | Update::PromptScores(_) | Update::Failed(_) => {
                Vec::new()
            }
            Update::Parts(parts, scores) => {
                let scores = self.model.as_ref().map(|model| token_logprobs(model, &scores, false));
                self.builder.push(parts, scores.unwrap_or_default())
            }
            Update::End(finish, usage) => {
                let mut events = self.builder.end(finish, usage);
                let Saved { stored, appended } = self.store.save(self.builder.response()).await;
                if !stored {
                    self.builder.mark_not_stored();
                }
                if !appended {
                    self.builder.mark_not_appended();
                }
                events.extend(self.builder.final_event());
                events
            }
        }
    }
}

impl EventWriter for Writer {
    async fn update(&mut self, _: u32, update: Update) -> Vec<Event> {
        self.add(update).await.into_iter().map(named).collect()
    }

    fn finish(&mut self) -> Vec<Event> {
        Vec::new()
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        fail(&mut self.builder, error)
    }
}

/// Query parameters for a stored response.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Showing {
    /// Must be false or absent, because stored responses can't be streamed.
    stream: Option<bool>,
}

/// Returns a stored response.
#[utoipa::path(get, path = "/v1/responses/{id}", tag = "responses",
    params(("id" = String, Path, description = "The response's id"), Showing),
    responses(
        (status = 200, description = "The response", body = Answer),
        NoResponse,
        BadQuery,
    ))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
    showing: Result<Query<Showing>, QueryRejection>,
) -> Result<Body<Value>, ApiError> {
    if parsed_query(showing)?.stream == Some(true) {
        return Err(ApiError::unsupported(
            "stream",
            "stream is not supported: this route returns the whole response",
        ));
    }
    find(&app, &context, id).await.map(Body)
}

async fn find(app: &App, context: &RequestContext, id: String) -> Result<Value, ApiError> {
    read(app, context, move |journal| journal.response(&id)?.ok_or_else(|| unknown(&id))).await
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("no response {id}: it was not stored, or it was removed"))
}

/// Deletes a stored response.
///
/// Responses that continue from it stay, but can no longer be continued.
#[utoipa::path(delete, path = "/v1/responses/{id}", tag = "responses",
    params(("id" = String, Path, description = "The response's id")),
    responses(
        (status = 200, description = "The response was deleted", body = Deleted),
        NoResponse,
    ))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Body<Deleted>, ApiError> {
    write(&app, &context, move |journal| match journal.delete_response(&id)? {
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
        NoResponse,
        BadQuery,
    ))]
pub(crate) async fn input_items(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Body<ItemList>, ApiError> {
    let paging = parsed_query(paging)?;
    read(&app, &context, move |journal| {
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
        NoResponse,
    ))]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Body<Answer>, ApiError> {
    find(&app, &context, id).await?;
    Err(ApiError::unreadable("only an answer in the background can be cancelled: this one has ended"))
}
