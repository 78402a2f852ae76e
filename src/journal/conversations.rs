//! Responses and conversations that clients may refer back to: documents, and their items in order. What a document
//! contains is not known here.

#[cfg(test)]
mod tests;

use std::time::Duration;

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use super::{Journal, JournalError, unix_ms};

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
pub struct KeptResponse {
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
    pub input: Vec<KeptItem>,
    /// Items of the answer.
    pub output: Vec<KeptItem>,
}

/// A part of a conversation, such as a message.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptItem {
    /// Unique within its owner.
    pub id: String,
    pub body: Value,
}

/// A conversation without its items.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptConversation {
    pub id: String,
    /// When it was created, in seconds since 1970.
    pub created_s: u64,
    pub metadata: Value,
}

/// Everything said up to and including a response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Inputs and outputs, oldest first.
    pub items: Vec<Value>,
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
    pub fn keep_response(&self, response: &KeptResponse) -> Result<(), JournalError> {
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
    /// When the record cannot be read.
    pub fn response(&self, id: &str) -> Result<Option<Value>, JournalError> {
        self.with(|db| {
            let query = "SELECT body FROM responses WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)";
            db.query_row(query, params![id, self.viewer.only()], |row| json(row, 0)).optional()
        })
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
    /// When the record cannot be read.
    pub fn history(&self, id: &str) -> Result<Option<History>, JournalError> {
        // A response is stored after the one it continues, so the chain has no cycle.
        const CHAIN: &str = "WITH RECURSIVE chain (id, previous, conversation, depth) AS (
                SELECT id, previous, conversation, 0 FROM responses WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)
                UNION ALL
                SELECT before.id, before.previous, before.conversation, depth + 1
                FROM chain JOIN responses before ON before.id = chain.previous
                WHERE ?2 IS NULL OR before.owner = ?2)
            SELECT id, previous, conversation FROM chain ORDER BY depth DESC";
        self.with(|db| {
            let mut query = db.prepare_cached(CHAIN)?;
            let answers: Vec<(String, Option<String>, Option<String>)> = query
                .query_map(params![id, self.viewer.only()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect::<Result<_, _>>()?;
            let Some((_, missing, _)) = answers.first() else { return Ok(None) };
            let mut history = History { missing: missing.clone(), ..History::default() };
            let mut query = db.prepare_cached("SELECT body FROM items WHERE owner = ?1 ORDER BY position")?;
            for (answer, _, conversation) in &answers {
                for body in query.query_map([answer], |row| json(row, 0))? {
                    history.items.push(body?);
                }
                history.conversation = history.conversation.or_else(|| conversation.clone());
            }
            Ok(Some(history))
        })
    }

    /// The items of a conversation, or the input items of a response, in order.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn items(&self, owner: &str) -> Result<Vec<KeptItem>, JournalError> {
        self.with(|db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT id, body FROM items WHERE owner = ?1 AND output = 0 AND {SEEN} ORDER BY position"
            ))?;
            let item = |row: &rusqlite::Row<'_>| Ok(KeptItem { id: row.get(0)?, body: json(row, 1)? });
            query.query_map(params![owner, self.viewer.only()], item)?.collect()
        })
    }

    /// An item, whichever response or conversation it is in; of several with this id, the first found.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn item(&self, id: &str) -> Result<Option<Value>, JournalError> {
        self.with(|db| {
            let query = format!("SELECT body FROM items WHERE id = ?1 AND {SEEN} LIMIT 1");
            db.query_row(&query, params![id, self.viewer.only()], |row| json(row, 0)).optional()
        })
    }

    /// Stores a new conversation with its first items.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn create_conversation(
        &self,
        conversation: &KeptConversation,
        items: &[KeptItem],
    ) -> Result<(), JournalError> {
        let KeptConversation { id, created_s, metadata } = conversation;
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
    /// When the record cannot be read.
    pub fn conversation(&self, id: &str) -> Result<Option<KeptConversation>, JournalError> {
        self.with(|db| {
            let query =
                "SELECT created_s, metadata FROM conversations WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)";
            db.query_row(query, params![id, self.viewer.only()], |row| {
                let created_s = row.get::<_, i64>(0)? as u64;
                Ok(KeptConversation { id: id.to_owned(), created_s, metadata: json(row, 1)? })
            })
            .optional()
        })
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
    pub fn extend_conversation(&self, id: &str, items: &[KeptItem]) -> Result<bool, JournalError> {
        let count = "SELECT count(*) FROM conversations WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)";
        self.write(|db| {
            let there = db.query_row(count, params![id, self.viewer.only()], |row| row.get::<_, i64>(0))? > 0;
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

/// Condition on an item: the viewer `?2` sees the response or conversation that owns it.
const SEEN: &str = "(?2 IS NULL OR EXISTS (
        SELECT 1 FROM responses WHERE responses.id = items.owner AND responses.owner = ?2
        UNION ALL
        SELECT 1 FROM conversations WHERE conversations.id = items.owner AND conversations.owner = ?2))";

fn add_items(db: &Transaction, owner: &str, output: bool, items: &[KeptItem]) -> rusqlite::Result<()> {
    let mut add = db.prepare_cached(
        "INSERT INTO items SELECT ?1, coalesce(max(position), 0) + 1, ?2, ?3, ?4 FROM items WHERE owner = ?1",
    )?;
    for item in items {
        add.execute(params![owner, item.id, output, item.body.to_string()])?;
    }
    Ok(())
}

fn json(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
