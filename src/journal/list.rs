//! The list of runs. Of each run only the events are read that say how it began, was resumed and ended, and the last one,
//! because those in between may be long.

use std::collections::HashSet;

use super::read::TURNS;
use super::unwritten::Line;
use super::{DAMAGED, Event, Journal, JournalError, RecordedRun, RunRow};

/// Each task begins with an event of one of these types, and their bodies are short.
const TASK_BEGINS: [&str; 2] = ["task.ready", "task.started"];

/// How many tasks a run has had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskCount {
    pub tasks: u64,
    /// Events that could not be read, and so were not counted.
    pub damaged: Vec<String>,
}

/// A run in a list, with some of its events, or why it can't be read.
#[derive(Debug)]
pub struct Listed {
    pub row: RunRow,
    pub run: Result<RecordedRun, JournalError>,
}

impl Journal {
    /// At most `limit` runs, latest first, and whether there are more. With `after`, only runs that began before that
    /// one. Of each only the events are read that say how it began, how it was last resumed and ended, and its last one.
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
        let [ready, started] = TASK_BEGINS;
        let begins = format!("type IN ('{ready}', '{started}')");
        let mut events = self.read(run, |reader| reader.events(0, &begins))?.unwrap_or_default();
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
        let mut events = self.read(run, |reader| reader.outline())?.unwrap_or_default();
        let written = events.last().map_or(0, |event| event.seq);
        let last = waiting.last().map_or(0, |line| line.seq);
        let is_shown = |line: &&Line| TURNS.contains(&line.kind.as_str()) || line.seq == last;
        let shown = waiting.iter().filter(|line| line.seq > written).filter(is_shown);
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
