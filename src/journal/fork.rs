//! Runs that begin with the events of another run. The events are shared, not copied, as long as the other run is kept.
//! When that is removed, its forks get copies of their own.

use rusqlite::{Transaction, params};
use serde_json::Value;

use super::in_progress::TakenUp;
use super::unwritten::Line;
use super::{Journal, JournalError, NewRun, Reader, add_events, enter, new_run_id, unix_ms};

impl Journal {
    /// Adds a run that begins with the events of `parent` up to event `at`, and locks it. `first` gives type and body of
    /// the fork's own first event, `ms` milliseconds into the run, for the fork's id. It is written together with the
    /// run, because a fork without it would be a copy of the other run.
    pub(super) fn fork(
        &self,
        parent: &str,
        at: u64,
        ms: u64,
        first: impl FnOnce(&str) -> (String, Value),
    ) -> Result<TakenUp, JournalError> {
        let created_ms = unix_ms();
        let id = new_run_id(created_ms);
        let owner = self.viewer.name().map(str::to_owned);
        let hold = self.hold_alone(&id)?;
        let new = NewRun { id: id.clone(), created_ms, owner: owner.clone(), inputs: Default::default() };
        let (kind, body) = first(&id);
        let line = Line { seq: at + 1, ms, kind, body: body.to_string().into() };
        let made = self.write(|db| {
            let Some(reader) = Reader::new(db, parent, self.viewer.only())? else {
                return Ok(Err(JournalError::UnknownRun { id: parent.to_owned() }));
            };
            // The run that has the event, so that a chain of forks grows only with what each of them adds.
            let Some(keeper) = reader.keeper(at).filter(|keeper| is_recorded(db, keeper, at)) else {
                return Ok(Err(JournalError::Behind { path: self.path().to_owned() }));
            };
            enter(db, &new)?;
            let share = "UPDATE runs SET parent = ?2, parent_seq = ?3 WHERE id = ?1";
            db.execute(share, params![id, keeper, at as i64])?;
            add_events(db, &id, &[line], None).map(Ok)
        });
        let index = made??;
        let last_seq = index.last_seq;
        self.file.indexes.put(&id, index);
        let number = self.file.unwritten.reopen(&id, owner, last_seq, hold);
        Ok(TakenUp { id, number, last_seq })
    }
}

fn is_recorded(db: &Transaction<'_>, run: &str, seq: u64) -> bool {
    let query = "SELECT 1 FROM events WHERE run = ?1 AND seq = ?2";
    db.query_row(query, params![run, seq as i64], |_| Ok(())).is_ok()
}

/// Gives the forks of a run that is about to be removed copies of what they share with it.
pub(super) fn let_go(db: &Transaction<'_>, run: &str) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO events (run, seq, ms, type, body)
         SELECT runs.id, events.seq, events.ms, events.type, events.body FROM runs
         JOIN events ON events.run = runs.parent AND events.seq <= runs.parent_seq WHERE runs.parent = ?1",
        [run],
    )?;
    db.execute(
        "INSERT INTO inputs (run, position, name, text)
         SELECT runs.id, inputs.position, inputs.name, inputs.text FROM runs
         JOIN inputs ON inputs.run = runs.parent WHERE runs.parent = ?1",
        [run],
    )?;
    // What the run itself shares with another, its forks share with that one now.
    db.execute(
        "UPDATE runs SET parent_seq = CASE WHEN up.parent IS NULL THEN NULL ELSE min(runs.parent_seq, up.parent_seq) END,
                         parent = up.parent
         FROM runs AS up WHERE runs.parent = ?1 AND up.id = ?1",
        [run],
    )
    .map(drop)
}
