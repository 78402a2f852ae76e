//! Runs that begin with the events of another run. The events are shared, not copied, as long as the other run is kept.
//! When that is removed, its forks get copies of their own.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Event, Holder, Journal, JournalError, NewRun, Viewer, enter, new_run_id, number, unix_ms};

impl Journal {
    /// Adds a run that begins with the events of `parent` up to event `at`, and locks it. Returns its id and its number
    /// among the runs of this process.
    pub(super) fn fork(&self, parent: &str, at: u64) -> Result<(String, u64), JournalError> {
        self.created_ms(parent)?.ok_or_else(|| JournalError::UnknownRun { id: parent.to_owned() })?;
        let created_ms = unix_ms();
        let id = new_run_id(created_ms);
        let owner = self.viewer.name().map(str::to_owned);
        let hold = if self.file.in_memory { None } else { self.hold(&id)? };
        if hold.is_none() && !self.file.in_memory {
            return Err(JournalError::GoesOn { id, holder: Holder { pid: None } });
        }
        let new = NewRun { id: id.clone(), created_ms, owner: owner.clone(), inputs: Default::default() };
        self.write(|db| {
            enter(db, &new)?;
            db.execute(
                "UPDATE runs SET parent = ?2, parent_seq = ?3 WHERE id = ?1",
                params![id, parent, at as i64],
            )
        })?;
        let number = self.file.unwritten.reopen(&id, owner, at, hold);
        Ok((id, number))
    }

    /// The run that a run was forked from, and the last event that they share.
    fn parent(&self, run: &str) -> Result<Option<(String, u64)>, JournalError> {
        let query = "SELECT parent_seq, parent FROM runs WHERE id = ?1 AND parent IS NOT NULL
                     AND (?2 IS NULL OR owner = ?2)";
        self.with(|db| {
            let found = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, number(row, 0)));
            db.query_row(query, params![run, self.viewer.only()], found).optional()
        })
    }

    /// The run whose inputs a run has: itself, or the first of those that it was forked from.
    pub(super) fn origin(&self, run: &str) -> Result<String, JournalError> {
        let Some((mut origin, _)) = self.parent(run)? else { return Ok(run.to_owned()) };
        // Whoever sees a fork sees what it shares, whoever owns the other run.
        let everybody = self.seen_by(&Viewer::everybody());
        while let Some((parent, _)) = everybody.parent(&origin)? {
            origin = parent;
        }
        Ok(origin)
    }

    /// The events after `after_seq` that a run shares with the one that it was forked from.
    pub(super) fn shared_events(&self, run: &str, after_seq: u64) -> Result<Vec<Event>, JournalError> {
        match self.parent(run)? {
            Some((parent, last)) if last > after_seq => {
                // Whoever sees a fork sees what it shares, whoever owns the other run.
                let mut events = self.seen_by(&Viewer::everybody()).events(&parent, after_seq)?;
                events.retain(|event| event.seq <= last);
                Ok(events)
            }
            _ => Ok(Vec::new()),
        }
    }
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
