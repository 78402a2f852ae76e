//! The list of runs. Of each run only the first events and the last one are read, because those in between may be long.

use std::collections::HashSet;

use rusqlite::params;

use super::fold::damage;
use super::{Event, Journal, JournalError, RunRow, RunState, fold};

/// Events at the beginning of a run, which contain its goal and its strategy.
const FIRST_EVENTS: u64 = 4;

/// Each task begins with an event of one of these types, and their bodies are short.
const TASK_BEGINS: [&str; 2] = ["task.ready", "task.started"];

/// How many tasks a run has had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskCount {
    pub tasks: u64,
    /// Events that could not be read, and so were not counted.
    pub damaged: Vec<String>,
}

impl Journal {
    /// The states of at most `limit` runs, latest first, and whether there are more. With `after`, only runs that began
    /// before that one. The states lack tasks and the answer so far of an unfinished run. A run that can't be read has
    /// the status `damaged` and says why; the others are still listed.
    ///
    /// # Errors
    /// When there is no run `after`, or the list of runs cannot be read.
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

    /// How many tasks a run has had.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn task_count(&self, run: &str) -> Result<TaskCount, JournalError> {
        // Read before the file: see `events`.
        let waiting = self.file.unwritten.lines(run, 0, &self.viewer);
        let mut events: Vec<Event> = self.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT seq, ms, type, body FROM events WHERE run = ?1 AND type IN (?2, ?3) ORDER BY seq",
            )?;
            let [ready, started] = TASK_BEGINS;
            query.query_map(params![run, ready, started], |row| Ok(Event::of_row(row)))?.collect()
        })?;
        let waiting = waiting.into_iter().filter(|line| TASK_BEGINS.contains(&line.kind.as_str()));
        events.extend(waiting.map(|line| Event::read(line.seq, line.ms, line.kind, &line.body)));
        let tasks: HashSet<&str> = events.iter().filter_map(|event| event.body["task"].as_str()).collect();
        Ok(TaskCount { tasks: tasks.len() as u64, damaged: events.iter().filter_map(damage).collect() })
    }

    fn outline(&self, run: &str, created_ms: u64) -> Result<RunState, JournalError> {
        // Asked before its events are read, so that a run that ends in between does not seem interrupted.
        let left = self.was_left(run);
        // Read before the file: see `events`.
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
