//! Responses and conversations that clients may refer back to: documents, and their items in order. What a document
//! contains is not known here.

#[cfg(test)]
mod tests;

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::{Value, json};

use super::{DAMAGED, Journal, JournalError, object_in, unix_ms};

/// Tables of version 2. An item's owner is a response or a conversation; the same item may be in several.
pub(super) const SCHEMA_2: &str = "
    CREATE TABLE responses (id TEXT PRIMARY KEY, previous TEXT, conversation TEXT, created_s INTEGER NOT NULL,
                            body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE conversations (id TEXT PRIMARY KEY, created_s INTEGER NOT NULL, metadata TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE items (owner TEXT NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, output INTEGER NOT NULL,
                        body TEXT NOT NULL, PRIMARY KEY (owner, position)) WITHOUT ROWID;
    CREATE INDEX items_by_id ON items (id);
    PRAGMA user_version = 2;";

/// Most responses that are removed for their age in one call.
const PRUNE_MAX: i64 = 256;

/// A response, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResponse {
    pub id: String,
    /// Id of the response that it continues.
    pub previous: Option<String>,
    /// Id of the conversation that it belongs to.
    pub conversation: Option<String>,
    /// When it was created, in seconds since 1970.
    pub created_s: u64,
    /// The document that clients get.
    pub body: Value,
    /// Items of the request, without those of earlier responses.
    pub input: Vec<StoredItem>,
    /// Items of the answer.
    pub output: Vec<StoredItem>,
}

/// A part of a conversation, such as a message.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredItem {
    /// Unique within its owner.
    pub id: String,
    pub body: Value,
}

/// A conversation without its items.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConversation {
    pub id: String,
    /// When it was created, in seconds since 1970.
    pub created_s: u64,
    pub metadata: Value,
}

/// Everything said up to and including a response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Inputs and outputs, oldest first.
    pub items: Vec<StoredItem>,
    /// Id of the response before the oldest, if that was removed.
    pub missing: Option<String>,
    /// The conversation that one of the responses belongs to. Its own items are not among `items`.
    pub conversation: Option<String>,
}

impl Journal {
    /// Stores a response with its items.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn keep_response(&self, response: &StoredResponse) -> Result<(), JournalError> {
        self.write(|db| {
            db.execute(
                "INSERT INTO responses (id, previous, conversation, created_s, body, owner)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    response.id,
                    response.previous,
                    response.conversation,
                    response.created_s as i64,
                    response.body.to_string(),
                    self.viewer.name()
                ],
            )?;
            add_items(db, &response.id, false, &response.input)?;
            add_items(db, &response.id, true, &response.output)
        })
    }

    /// The document of a response.
    ///
    /// # Errors
    /// When the record or the document cannot be read.
    pub fn response(&self, id: &str) -> Result<Option<Value>, JournalError> {
        let found = self.with(|db| {
            let query = "SELECT body FROM responses WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)";
            db.query_row(query, params![id, self.viewer.only()], |row| Ok(object_in(row, 0))).optional()
        })?;
        let what = || format!("the body of response {id}");
        found.transpose().map_err(|why| self.damaged(what(), &why, removes_response(id)))
    }

    /// Whether there is a response, which may be damaged.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn has_response(&self, id: &str) -> Result<bool, JournalError> {
        const THERE: &str =
            "SELECT EXISTS (SELECT 1 FROM responses WHERE id = ?1 AND (?2 IS NULL OR owner = ?2))";
        self.with(|db| db.query_row(THERE, params![id, self.viewer.only()], |row| row.get(0)))
    }

    /// Removes a response and its items. Returns `false` if there is none.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn delete_response(&self, id: &str) -> Result<bool, JournalError> {
        self.remove("DELETE FROM responses WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)", id)
    }

    /// Removes responses older than `age` with their items, and returns how many. One call removes at most some
    /// hundreds, so that others can write in between; 0 means that no more are left. Responses that a younger one
    /// continues are kept, so that its history stays whole. Conversations are kept too.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn prune_responses(&self, age: Duration) -> Result<usize, JournalError> {
        const PRUNE: &str = "WITH RECURSIVE needed (id) AS (
                SELECT previous FROM responses WHERE created_s >= ?1 AND previous IS NOT NULL
                UNION
                SELECT previous FROM needed JOIN responses USING (id) WHERE previous IS NOT NULL)
            DELETE FROM responses WHERE id IN (
                SELECT id FROM responses WHERE created_s < ?1 AND id NOT IN needed LIMIT ?2) RETURNING id";
        let before_s = (unix_ms() / 1000).saturating_sub(age.as_secs());
        self.remove_rows(|db| {
            let removed: Vec<String> = db
                .prepare_cached(PRUNE)?
                .query_map([before_s as i64, PRUNE_MAX], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for id in &removed {
                db.prepare_cached("DELETE FROM items WHERE owner = ?1")?.execute([id])?;
            }
            Ok(removed.len())
        })
    }

    /// When the youngest response, conversation or run was created, in seconds since 1970; `None` for an empty record.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn newest_s(&self) -> Result<Option<u64>, JournalError> {
        const NEWEST: &str = "SELECT max(s) FROM (SELECT max(created_s) AS s FROM responses
            UNION ALL SELECT max(created_s) FROM conversations UNION ALL SELECT max(created_ms) / 1000 FROM runs)";
        self.with(|db| db.query_row(NEWEST, [], |row| row.get::<_, Option<i64>>(0)))
            .map(|newest| newest.and_then(|newest| u64::try_from(newest).ok()))
    }

    /// Everything said up to and including the response `id`; `None` if there is none.
    ///
    /// # Errors
    /// When the record or one of the items cannot be read.
    pub fn history(&self, id: &str) -> Result<Option<History>, JournalError> {
        // A response is stored after the one it continues, so the chain has no cycle.
        const CHAIN: &str = "WITH RECURSIVE chain (id, previous, conversation, depth) AS (
                SELECT id, previous, conversation, 0 FROM responses WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)
                UNION ALL
                SELECT before.id, before.previous, before.conversation, depth + 1
                FROM chain JOIN responses before ON before.id = chain.previous
                WHERE ?2 IS NULL OR before.owner = ?2)
            SELECT id, previous, conversation FROM chain ORDER BY depth DESC";
        let read = self.with(|db| {
            let mut query = db.prepare_cached(CHAIN)?;
            let answers: Vec<(String, Option<String>, Option<String>)> = query
                .query_map(params![id, self.viewer.only()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect::<Result<_, _>>()?;
            let mut items = Vec::new();
            let mut query =
                db.prepare_cached(&format!("SELECT {ITEM} FROM items WHERE owner = ?1 ORDER BY position"))?;
            for (answer, ..) in &answers {
                for item in query.query_map([answer], ItemRow::read)? {
                    items.push(item?);
                }
            }
            Ok((answers, items))
        });
        let (answers, items) = read?;
        let Some((_, missing, _)) = answers.first() else { return Ok(None) };
        let missing = missing.clone();
        let items = items.into_iter().map(|item| item.whole(self)).collect::<Result<_, _>>()?;
        let conversation = answers.into_iter().find_map(|(.., conversation)| conversation);
        Ok(Some(History { items, missing, conversation }))
    }

    /// The items of a conversation, or the input items of a response, in order.
    ///
    /// # Errors
    /// When the record or one of the items cannot be read.
    pub fn items(&self, owner: &str) -> Result<Vec<StoredItem>, JournalError> {
        self.item_rows(owner)?.into_iter().map(|item| item.whole(self)).collect()
    }

    /// The same for a list: an item that can't be read is in it as an object of type [`DAMAGED`], which says why.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn listed_items(&self, owner: &str) -> Result<Vec<StoredItem>, JournalError> {
        let rows = self.item_rows(owner)?.into_iter();
        let listed = rows.map(|item| {
            let id = item.id.clone();
            item.whole(self).unwrap_or_else(|error| {
                let body = json!({"id": id, "type": DAMAGED, "message": error.to_string()});
                StoredItem { id, body }
            })
        });
        Ok(listed.collect())
    }

    fn item_rows(&self, owner: &str) -> Result<Vec<ItemRow>, JournalError> {
        self.with(|db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {ITEM} FROM items WHERE owner = ?1 AND output = 0 AND {SEEN} ORDER BY position"
            ))?;
            query.query_map(params![owner, self.viewer.only()], ItemRow::read)?.collect()
        })
    }

    /// An item, whichever response or conversation it is in; of several with this id, the first found.
    ///
    /// # Errors
    /// When the record or the item cannot be read.
    pub fn item(&self, id: &str) -> Result<Option<StoredItem>, JournalError> {
        let found = self.with(|db| {
            let query = format!("SELECT {ITEM} FROM items WHERE id = ?1 AND {SEEN} LIMIT 1");
            db.query_row(&query, params![id, self.viewer.only()], ItemRow::read).optional()
        })?;
        found.map(|item| item.whole(self)).transpose()
    }

    /// An item of a conversation.
    ///
    /// # Errors
    /// When the record or the item cannot be read.
    pub fn item_of(&self, conversation: &str, id: &str) -> Result<Option<StoredItem>, JournalError> {
        let mut rows = self.item_rows(conversation)?.into_iter();
        rows.find(|item| item.id == id).map(|item| item.whole(self)).transpose()
    }

    /// Stores a new conversation with its first items.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn create_conversation(
        &self,
        conversation: &StoredConversation,
        items: &[StoredItem],
    ) -> Result<(), JournalError> {
        let StoredConversation { id, created_s, metadata } = conversation;
        self.write(|db| {
            db.execute(
                "INSERT INTO conversations (id, created_s, metadata, owner) VALUES (?1, ?2, ?3, ?4)",
                params![id, *created_s as i64, metadata.to_string(), self.viewer.name()],
            )?;
            add_items(db, id, false, items)
        })
    }

    /// A conversation; `None` if there is none with this id.
    ///
    /// # Errors
    /// When the record or the conversation's metadata cannot be read.
    pub fn conversation(&self, id: &str) -> Result<Option<StoredConversation>, JournalError> {
        let found = self.with(|db| {
            let query =
                "SELECT created_s, metadata FROM conversations WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)";
            let conversation = |row: &Row<'_>| Ok((row.get::<_, i64>(0)? as u64, object_in(row, 1)));
            db.query_row(query, params![id, self.viewer.only()], conversation).optional()
        })?;
        let Some((created_s, metadata)) = found else { return Ok(None) };
        let metadata = metadata.map_err(|why| {
            let now = format!("`POST /v1/conversations/{id}` with new metadata replaces it");
            self.damaged(format!("the metadata of conversation {id}"), &why, now)
        })?;
        Ok(Some(StoredConversation { id: id.to_owned(), created_s, metadata }))
    }

    /// Whether there is a conversation, which may be damaged.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn has_conversation(&self, id: &str) -> Result<bool, JournalError> {
        self.with(|db| db.query_row(HAS_CONVERSATION, params![id, self.viewer.only()], |row| row.get(0)))
    }

    /// Replaces a conversation's metadata. Returns `false` if there is no such conversation.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn note_conversation(&self, id: &str, metadata: &Value) -> Result<bool, JournalError> {
        let note = "UPDATE conversations SET metadata = ?3 WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)";
        self.write(|db| Ok(db.execute(note, params![id, self.viewer.only(), metadata.to_string()])? == 1))
    }

    /// Removes a conversation and its items. Returns `false` if there is none. Responses that belong to it are kept.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn delete_conversation(&self, id: &str) -> Result<bool, JournalError> {
        self.remove("DELETE FROM conversations WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)", id)
    }

    /// Appends items to a conversation. Returns `false` if there is none.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn extend_conversation(&self, id: &str, items: &[StoredItem]) -> Result<bool, JournalError> {
        self.write(|db| {
            let there = db.query_row(HAS_CONVERSATION, params![id, self.viewer.only()], |row| row.get(0))?;
            if there {
                add_items(db, id, false, items)?;
            }
            Ok(there)
        })
    }

    /// Removes an item from a conversation. Returns `false` if it is not in it.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn remove_item(&self, conversation: &str, id: &str) -> Result<bool, JournalError> {
        let delete = format!("DELETE FROM items WHERE owner = ?1 AND id = ?3 AND {SEEN}");
        let removed =
            self.remove_rows(|db| db.execute(&delete, params![conversation, self.viewer.only(), id]));
        Ok(removed? > 0)
    }

    /// Removes a response or conversation by `statement`, and its items.
    fn remove(&self, statement: &str, id: &str) -> Result<bool, JournalError> {
        let removed = self.remove_rows(|db| {
            let removed = db.execute(statement, params![id, self.viewer.only()])?;
            if removed > 0 {
                db.execute("DELETE FROM items WHERE owner = ?1", [id])?;
            }
            Ok(removed)
        });
        Ok(removed? > 0)
    }
}

/// Whether there is a conversation `?1` that the viewer `?2` sees.
const HAS_CONVERSATION: &str =
    "SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1 AND (?2 IS NULL OR owner = ?2))";

/// Condition on an item: the viewer `?2` sees the response or conversation that owns it.
const SEEN: &str = "(?2 IS NULL OR EXISTS (
        SELECT 1 FROM responses WHERE responses.id = items.owner AND responses.owner = ?2
        UNION ALL
        SELECT 1 FROM conversations WHERE conversations.id = items.owner AND conversations.owner = ?2))";

fn add_items(db: &Transaction, owner: &str, output: bool, items: &[StoredItem]) -> rusqlite::Result<()> {
    let mut add = db.prepare_cached(
        "INSERT INTO items SELECT ?1, coalesce(max(position), 0) + 1, ?2, ?3, ?4 FROM items WHERE owner = ?1",
    )?;
    for item in items {
        add.execute(params![owner, item.id, output, item.body.to_string()])?;
    }
    Ok(())
}

/// The columns of an [`ItemRow`].
const ITEM: &str =
    "id, body, owner, EXISTS (SELECT 1 FROM conversations WHERE conversations.id = items.owner)";

/// An item as it was found, perhaps damaged.
struct ItemRow {
    id: String,
    body: Result<Value, String>,
    owner: String,
    /// Whether the owner is a conversation, and not a response.
    in_conversation: bool,
}

impl ItemRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let body = object_in(row, 1);
        Ok(Self { id: row.get(0)?, body, owner: row.get(2)?, in_conversation: row.get(3)? })
    }

    /// The item, or the error that it is damaged.
    fn whole(self, journal: &Journal) -> Result<StoredItem, JournalError> {
        let Self { id, body, owner, in_conversation } = self;
        match body {
            Ok(body) => Ok(StoredItem { id, body }),
            Err(why) if in_conversation => {
                let now = format!("`DELETE /v1/conversations/{owner}/items/{id}` removes it");
                Err(journal.damaged(format!("the body of item {id} of conversation {owner}"), &why, now))
            }
            Err(why) => {
                let what = format!("the body of item {id} of response {owner}");
                Err(journal.damaged(what, &why, removes_response(&owner)))
            }
        }
    }
}

fn removes_response(id: &str) -> String {
    format!("`DELETE /v1/responses/{id}` removes the response")
}
