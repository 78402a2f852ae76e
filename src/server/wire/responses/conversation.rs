//! `/v1/conversations`: request bodies, and the conversation object.

use bandmaster_journal::StoredConversation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Metadata;
use super::items::InputItem;

/// Items of one request. A body with more is refused before it is parsed.
pub(crate) const ITEMS_MAX: usize = 20;

/// A request to create a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ConversationAsked)]
pub(crate) struct CreateConversation {
    /// Items that the conversation starts with.
    #[schema(max_items = 20)]
    pub items: Option<Vec<InputItem>>,
    /// Metadata to attach to the conversation.
    pub metadata: Option<Metadata>,
}

/// New metadata for a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ConversationNoted)]
pub(crate) struct UpdateConversation {
    /// New metadata, which replaces all of the old. Without it the old stays.
    pub metadata: Option<Metadata>,
}

/// Items to append to a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ItemsGiven)]
pub(crate) struct AppendItems {
    /// The items, in order.
    #[schema(max_items = 20)]
    pub items: Vec<InputItem>,
}

/// A conversation, without its items.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Conversation {
    /// Id of the conversation, `conv_…`.
    pub id: String,
    /// Object type, always `conversation`.
    pub object: &'static str,
    /// Creation time, in seconds since 1970.
    pub created_at: u64,
    /// Metadata that the client attached.
    #[schema(value_type = Metadata)]
    pub metadata: Value,
}

impl From<StoredConversation> for Conversation {
    fn from(kept: StoredConversation) -> Self {
        Self { id: kept.id, object: "conversation", created_at: kept.created_s, metadata: kept.metadata }
    }
}
