//! `/v1/conversations`: what requests say, and a conversation as it is written.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Metadata;
use super::items::ItemGiven;
use crate::journal::KeptConversation;

/// Items of one request. A body with more is refused before it is read.
pub const ITEMS_MAX: usize = 20;

/// A conversation to be begun.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ConversationAsked {
    /// What was said before.
    #[schema(max_items = 20)]
    pub items: Option<Vec<ItemGiven>>,
    /// The client's notes.
    pub metadata: Option<Metadata>,
}

/// A conversation's new notes.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ConversationNoted {
    /// The client's notes; they replace those there were.
    pub metadata: Option<Metadata>,
}

/// What is to be appended to a conversation.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ItemsGiven {
    /// The items.
    #[schema(max_items = 20)]
    pub items: Vec<ItemGiven>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conversation {
    /// `conv_…`.
    pub id: String,
    /// `conversation`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    /// The client's notes.
    #[schema(value_type = Metadata)]
    pub metadata: Value,
}

impl From<KeptConversation> for Conversation {
    fn from(kept: KeptConversation) -> Self {
        Self { id: kept.id, object: "conversation", created_at: kept.created_s, metadata: kept.metadata }
    }
}
