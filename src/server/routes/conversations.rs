//! `/v1/conversations`: stored conversations, which `/v1/responses` continues.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bandmaster_journal::{Journal, StoredConversation, StoredItem};
use serde_json::{Value, json};

use super::responses::{check_conversation, resolve_references};
use super::{parsed_query, read, write};
use crate::App;
use crate::error::ApiError;
use crate::layers::RequestContext;
use crate::wire::body::Json;
use crate::wire::fields::WithoutGeneration;
use crate::wire::refusals::{BadBody, BadQuery, NoConversation, NoItem};
use crate::wire::responses::check_metadata;
use crate::wire::responses::conversation::{
    AppendItems, Conversation, CreateConversation, UpdateConversation,
};
use crate::wire::responses::items::{InputItem, Item, ItemList, Paging};
use crate::wire::responses::object::Deleted;
use crate::wire::{new_id, unix_seconds};

/// Creates a conversation.
#[utoipa::path(post, path = "/v1/conversations", tag = "conversations", request_body = CreateConversation, responses(
    (status = 200, description = "The conversation", body = Conversation),
    BadBody,
))]
pub(crate) async fn begin(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(WithoutGeneration(given)): Json<WithoutGeneration<CreateConversation>>,
) -> Result<Body<Conversation>, ApiError> {
    let items = given.items.unwrap_or_default();
    let conversation = StoredConversation {
        id: new_id("conv_"),
        created_s: unix_seconds(),
        metadata: json!(check_metadata(given.metadata)?),
    };
    write(&app, &context, move |journal| {
        let items = stored_items(journal, items, HashSet::new())?;
        journal.create_conversation(&conversation, &items)?;
        Ok(Body(conversation.into()))
    })
    .await
}

/// Items in the form in which they are stored, with ids that are not in `used_ids`.
fn stored_items(
    journal: &Journal,
    items: Vec<InputItem>,
    mut used_ids: HashSet<String>,
) -> Result<Vec<StoredItem>, ApiError> {
    let items = resolve_references(journal, "items", items)?.into_iter();
    Ok(items.filter_map(|item| item.into_item(&mut used_ids)).map(|item| item.document()).collect())
}

/// Returns a conversation.
#[utoipa::path(get, path = "/v1/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "The conversation's id")),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        NoConversation,
    ))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Body<Conversation>, ApiError> {
    read(&app, &context, move |journal| find(journal, &id)).await
}

fn find(journal: &Journal, id: &str) -> Result<Body<Conversation>, ApiError> {
    let conversation = journal.conversation(id)?.ok_or_else(|| unknown(id))?;
    Ok(Body(conversation.into()))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!(
        "no conversation {id}: it was never created, or it was removed; POST /v1/conversations creates one"
    ))
}

/// Replaces a conversation's metadata. Without `metadata` they stay as they are.
#[utoipa::path(post, path = "/v1/conversations/{id}", operation_id = "note", tag = "conversations",
    request_body = UpdateConversation,
    params(("id" = String, Path, description = "The conversation's id")),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        NoConversation,
        BadBody,
    ))]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
    Json(WithoutGeneration(given)): Json<WithoutGeneration<UpdateConversation>>,
) -> Result<Body<Conversation>, ApiError> {
    let metadata = given.metadata.map(|given| check_metadata(Some(given))).transpose()?;
    write(&app, &context, move |journal| {
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
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Body<Deleted>, ApiError> {
    write(&app, &context, move |journal| match journal.delete_conversation(&id)? {
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
pub(crate) async fn items(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Body<ItemList>, ApiError> {
    let paging = parsed_query(paging)?;
    read(&app, &context, move |journal| {
        check_conversation(journal, &id)?;
        ItemList::page(journal.listed_items(&id)?, &paging).map(Body)
    })
    .await
}

/// Appends items to a conversation.
#[utoipa::path(post, path = "/v1/conversations/{id}/items", tag = "conversations", request_body = AppendItems,
    params(("id" = String, Path, description = "The conversation's id")),
    responses(
        (status = 200, description = "The items that were appended", body = ItemList),
        NoConversation,
        BadBody,
    ))]
pub(crate) async fn append(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
    Json(WithoutGeneration(given)): Json<WithoutGeneration<AppendItems>>,
) -> Result<Body<ItemList>, ApiError> {
    let items = given.items;
    write(&app, &context, move |journal| {
        check_conversation(journal, &id)?;
        let used_ids = journal.listed_items(&id)?.into_iter().map(|item| item.id).collect();
        let items = stored_items(journal, items, used_ids)?;
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
pub(crate) async fn item(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path((id, item)): Path<(String, String)>,
) -> Result<Body<Value>, ApiError> {
    read(&app, &context, move |journal| {
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
pub(crate) async fn remove_item(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path((id, item)): Path<(String, String)>,
) -> Result<Body<Conversation>, ApiError> {
    write(&app, &context, move |journal| {
        let conversation = find(journal, &id)?;
        match journal.remove_item(&id, &item)? {
            true => Ok(conversation),
            false => Err(unknown_item(&id, &item)),
        }
    })
    .await
}
