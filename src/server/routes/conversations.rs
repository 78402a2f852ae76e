//! `/v1/conversations`: stored conversations, which `/v1/responses` continues.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bandmaster_journal::{Journal, KeptConversation, KeptItem};
use serde_json::{Value, json};

use super::responses::{asked, check_conversation, looked_up};
use super::{read, write};
use crate::error::ApiError;
use crate::wire::body::Json;
use crate::wire::fields::Unanswered;
use crate::wire::refusals::{BadBody, BadQuery, NoConversation, NoItem};
use crate::wire::responses::check_metadata;
use crate::wire::responses::conversation::{Conversation, ConversationAsked, ConversationNoted, ItemsGiven};
use crate::wire::responses::items::{Item, ItemGiven, ItemList, Paging};
use crate::wire::responses::object::Deleted;
use crate::wire::{new_id, unix_seconds};
use crate::{App, Asker};

/// Creates a conversation.
#[utoipa::path(post, path = "/v1/conversations", tag = "conversations", request_body = ConversationAsked, responses(
    (status = 200, description = "The conversation", body = Conversation),
    BadBody,
))]
pub async fn begin(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(Unanswered(given)): Json<Unanswered<ConversationAsked>>,
) -> Result<Body<Conversation>, ApiError> {
    let items = given.items.unwrap_or_default();
    let conversation = KeptConversation {
        id: new_id("conv_"),
        created_s: unix_seconds(),
        metadata: json!(check_metadata(given.metadata)?),
    };
    write(&app, &asker, move |journal| {
        let items = kept(journal, items, HashSet::new())?;
        journal.create_conversation(&conversation, &items)?;
        Ok(Body(conversation.into()))
    })
    .await
}

/// Items in the form in which they are stored, with ids that are not `taken`.
fn kept(
    journal: &Journal,
    items: Vec<ItemGiven>,
    mut taken: HashSet<String>,
) -> Result<Vec<KeptItem>, ApiError> {
    let items = looked_up(journal, "items", items)?.into_iter();
    Ok(items.filter_map(|item| item.kept(&mut taken)).map(|item| item.document()).collect())
}

/// Returns a conversation.
#[utoipa::path(get, path = "/v1/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "The conversation's id")),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        NoConversation,
    ))]
pub async fn show(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Body<Conversation>, ApiError> {
    read(&app, &asker, move |journal| find(journal, &id)).await
}

fn find(journal: &Journal, id: &str) -> Result<Body<Conversation>, ApiError> {
    let kept = journal.conversation(id)?.ok_or_else(|| unknown(id))?;
    Ok(Body(kept.into()))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!(
        "no conversation {id}: it was never created, or it was removed; POST /v1/conversations creates one"
    ))
}

/// Replaces a conversation's metadata. Without `metadata` they stay as they are.
#[utoipa::path(post, path = "/v1/conversations/{id}", tag = "conversations", request_body = ConversationNoted,
    params(("id" = String, Path, description = "The conversation's id")),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        NoConversation,
        BadBody,
    ))]
pub async fn note(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    Json(Unanswered(given)): Json<Unanswered<ConversationNoted>>,
) -> Result<Body<Conversation>, ApiError> {
    let metadata = given.metadata.map(|given| check_metadata(Some(given))).transpose()?;
    write(&app, &asker, move |journal| {
        if let Some(metadata) = metadata {
            journal.note_conversation(&id, &json!(metadata))?;
        }
        find(journal, &id)
    })
    .await
}

/// Deletes a conversation. Responses that were generated in it stay.
#[utoipa::path(delete, path = "/v1/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "The conversation's id")),
    responses(
        (status = 200, description = "The conversation was deleted", body = Deleted),
        NoConversation,
    ))]
pub async fn remove(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Body<Deleted>, ApiError> {
    write(&app, &asker, move |journal| match journal.delete_conversation(&id)? {
        true => Ok(Body(Deleted { id, object: "conversation.deleted", deleted: true })),
        false => Err(unknown(&id)),
    })
    .await
}

/// Lists the items of a conversation.
///
/// An item that can no longer be read is listed with the type `record.damaged` and a `message` that says why.
#[utoipa::path(get, path = "/v1/conversations/{id}/items", tag = "conversations",
    params(("id" = String, Path, description = "The conversation's id"), Paging),
    responses(
        (status = 200, description = "The items", body = ItemList),
        NoConversation,
        BadQuery,
    ))]
pub async fn items(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Body<ItemList>, ApiError> {
    let paging = asked(paging)?;
    read(&app, &asker, move |journal| {
        check_conversation(journal, &id)?;
        ItemList::page(journal.listed_items(&id)?, &paging).map(Body)
    })
    .await
}

/// Appends items to a conversation.
#[utoipa::path(post, path = "/v1/conversations/{id}/items", tag = "conversations", request_body = ItemsGiven,
    params(("id" = String, Path, description = "The conversation's id")),
    responses(
        (status = 200, description = "The items that were appended", body = ItemList),
        NoConversation,
        BadBody,
    ))]
pub async fn append(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    Json(Unanswered(given)): Json<Unanswered<ItemsGiven>>,
) -> Result<Body<ItemList>, ApiError> {
    let items = given.items;
    write(&app, &asker, move |journal| {
        check_conversation(journal, &id)?;
        let taken = journal.listed_items(&id)?.into_iter().map(|item| item.id).collect();
        let items = kept(journal, items, taken)?;
        match journal.extend_conversation(&id, &items)? {
            true => Ok(Body(ItemList::all(items))),
            false => Err(unknown(&id)),
        }
    })
    .await
}

/// Returns an item of a conversation.
#[utoipa::path(get, path = "/v1/conversations/{id}/items/{item}", tag = "conversations",
    params(("id" = String, Path, description = "The conversation's id"),
           ("item" = String, Path, description = "The item's id")),
    responses(
        (status = 200, description = "The item", body = Item),
        NoItem,
    ))]
pub async fn item(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path((id, item)): Path<(String, String)>,
) -> Result<Body<Value>, ApiError> {
    read(&app, &asker, move |journal| {
        check_conversation(journal, &id)?;
        let found = journal.item_of(&id, &item)?;
        found.map(|found| Body(found.body)).ok_or_else(|| unknown_item(&id, &item))
    })
    .await
}

fn unknown_item(id: &str, item: &str) -> ApiError {
    ApiError::not_found(format!("no item {item} in conversation {id}"))
}

/// Deletes an item of a conversation.
#[utoipa::path(delete, path = "/v1/conversations/{id}/items/{item}", tag = "conversations",
    params(("id" = String, Path, description = "The conversation's id"),
           ("item" = String, Path, description = "The item's id")),
    responses(
        (status = 200, description = "The conversation without it", body = Conversation),
        NoItem,
    ))]
pub async fn remove_item(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path((id, item)): Path<(String, String)>,
) -> Result<Body<Conversation>, ApiError> {
    write(&app, &asker, move |journal| {
        let conversation = find(journal, &id)?;
        match journal.remove_item(&id, &item)? {
            true => Ok(conversation),
            false => Err(unknown_item(&id, &item)),
        }
    })
    .await
}
