//! The list of runs. Of each run only the first events and the last one are read, because those in between may be long.

use std::collections::HashSet;

use rusqlite::params;

use super::{DAMAGED, Event, Journal, JournalError, RecordedRun, RunRow};

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

/// A run in a list, with its first events and the last one, or why it can't be read.
#[derive(Debug)]
pub struct Listed {
    pub row: RunRow,
    pub run: Result<RecordedRun, JournalError>,
}

impl Journal {
    /// At most `limit` runs, latest first, and whether there are more. With `after`, only runs that began before that
    /// one. Of each only the first events and the last one are read.
    ///
    /// # Errors
    /// When there is no run `after`, or the list of runs cannot be read.
    pub fn listed(&self, after: Option<&str>, limit: usize) -> Result<(Vec<Listed>, bool), JournalError> {
        let mut rows = self.runs()?;
        if let Some(after) = after {
            let at = rows.iter().position(|row| row.id == after);
            let at = at.ok_or_else(|| JournalError::UnknownRun { id: after.to_owned() })?;
            rows.drain(..=at);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let mut listed = Vec::new();
        for row in rows {
            match self.outline(&row) {
                Err(error @ (JournalError::Busy { .. } | JournalError::NoAnswer { .. })) => {
                    return Err(error);
                }
                run => listed.push(Listed { row, run }),
            }
        }
        Ok((listed, more))
    }

    /// How many tasks a run has had.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn task_count(&self, run: &str) -> Result<TaskCount, JournalError> {
        // Read before the file: see `events`.
        let waiting = self.file.unwritten.lines(run, 0, &self.viewer);
        let mut events = self.shared_events(run, 0)?;
        events.retain(|event| TASK_BEGINS.contains(&event.kind.as_str()) || event.kind == DAMAGED);
        let own: Vec<Event> = self.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT seq, ms, type, body FROM events WHERE run = ?1 AND type IN (?2, ?3) ORDER BY seq",
            )?;
            let [ready, started] = TASK_BEGINS;
            query.query_map(params![run, ready, started], |row| Ok(Event::of_row(row)))?.collect()
        })?;
        events.extend(own);
        let waiting = waiting.into_iter().filter(|line| TASK_BEGINS.contains(&line.kind.as_str()));
        events.extend(waiting.map(|line| Event::read(line.seq, line.ms, line.kind, &line.body)));
        let tasks: HashSet<&str> = events.iter().filter_map(|event| event.body["task"].as_str()).collect();
        Ok(TaskCount { tasks: tasks.len() as u64, damaged: events.iter().filter_map(damage).collect() })
    }

    fn outline(&self, row: &RunRow) -> Result<RecordedRun, JournalError> {
        let run = row.id.as_str();
        // Asked before its events are read, so that a run that ends in between does not seem interrupted.
        let left = self.was_left(run);
        // Read before the file: see `events`.
        let waiting = self.file.unwritten.lines(run, 0, &self.viewer);
        let mut events = self.shared_events(run, 0)?;
        events.retain(|event| event.seq <= FIRST_EVENTS);
        let own: Vec<Event> = self.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT seq, ms, type, body FROM events WHERE run = ?1 AND seq <= ?2
                 UNION ALL
                 SELECT * FROM (SELECT seq, ms, type, body FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT 1)",
            )?;
            query.query_map(params![run, FIRST_EVENTS as i64], |row| Ok(Event::of_row(row)))?.collect()
        })?;
        events.extend(own);
        let written = events.last().map_or(0, |event| event.seq);
        let (from, to) = (waiting.iter(), waiting.last().map_or(0, |line| line.seq));
        let shown = from.filter(|line| line.seq > written && (line.seq <= FIRST_EVENTS || line.seq == to));
        events.extend(shown.map(|line| Event::read(line.seq, line.ms, line.kind.clone(), &line.body)));
        Ok(RecordedRun { row: row.clone(), left, events })
    }
}

/// What a [`DAMAGED`] event stands for and why it can't be read; `None` for all others.
fn damage(event: &Event) -> Option<String> {
    let text = |field: &str| event.body[field].as_str().unwrap_or_default();
    let (kind, why) = (text("event"), text("why"));
    (event.kind == DAMAGED).then(|| format!("event {} ({kind}), whose record is damaged: {why}", event.seq))
}
