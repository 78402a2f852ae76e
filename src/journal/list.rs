//! The runs as a list shows them. What a run began with and how it ended is read; what lies between, and may be long, is not.

use rusqlite::params;

use super::{Event, Journal, JournalError, RunRow, RunState, fold};

/// Events at a run's beginning, which say what it is for and how it is gone about.
const FIRST_EVENTS: u64 = 4;

impl Journal {
    /// The states of at most `limit` runs, latest first: those that began before the run `after`, or all. They lack tasks and
    /// what an unfinished run has said. One that can't be read has the status `damaged` and says why: the others are listed
    /// all the same. Whether there are more than these comes with them.
    ///
    /// # Errors
    /// When there is no run `after`, or it cannot be read which runs there are.
    pub fn listed(&self, after: Option<&str>, limit: usize) -> Result<(Vec<RunState>, bool), JournalError> {
        let mut rows = self.runs()?;
        if let Some(after) = after {
            let at = rows.iter().position(|row| row.id == after);
            let at = at.ok_or_else(|| JournalError::UnknownRun { id: after.to_owned() })?;
            rows.drain(..=at);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let mut states = Vec::new();
        for RunRow { id, created_ms } in rows {
            match self.outline(&id, created_ms) {
                Ok(state) => states.push(state),
                Err(error @ (JournalError::Busy { .. } | JournalError::NoAnswer { .. })) => {
                    return Err(error);
                }
                Err(error) => states.push(RunState::unreadable(id, created_ms, &error.to_string())),
            }
        }
        Ok((states, more))
    }

    /// How many tasks a run has had, those of other processes' desks that are not written left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn task_count(&self, run: &str) -> Result<u64, JournalError> {
        // These two say little, and each task begins with one of them.
        const COUNT: &str = "SELECT count(DISTINCT json_extract(body, '$.task')) FROM events
            WHERE run = ?1 AND type IN ('task.ready', 'task.started') AND json_valid(body)";
        self.with(|db| db.query_row(COUNT, [run], |row| row.get::<_, i64>(0))).map(|count| count as u64)
    }

    fn outline(&self, run: &str, created_ms: u64) -> Result<RunState, JournalError> {
        // Asked before what it said: a run that ends in between has not been left.
        let left = self.was_left(run);
        // Before the file: see `events`.
        let waiting = self.file.unwritten.lines(run, 0, &self.viewer);
        let mut events: Vec<Event> = self.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT seq, ms, type, body FROM events WHERE run = ?1 AND seq <= ?2
                 UNION ALL
                 SELECT * FROM (SELECT seq, ms, type, body FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT 1)",
            )?;
            query.query_map(params![run, FIRST_EVENTS as i64], |row| Ok(Event::of_row(row)))?.collect()
        })?;
        let written = events.last().map_or(0, |event| event.seq);
        let (from, to) = (waiting.iter(), waiting.last().map_or(0, |line| line.seq));
        let shown = from.filter(|line| line.seq > written && (line.seq <= FIRST_EVENTS || line.seq == to));
        events.extend(shown.map(|line| Event::read(line.seq, line.ms, line.kind.clone(), &line.body)));
        let mut state = fold(run, created_ms, &events);
        if left {
            state.leave();
        }
        Ok(state)
    }
}
