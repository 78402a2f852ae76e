//! Reads the events and inputs of runs. A fork begins with the events of another run, which may be a fork itself. All of
//! them are read in one transaction, so that what is read was true at one moment.

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::packed::{DICTIONARY, Source, copy_from, in_json, literals, unpack};
use super::{Event, Journal, JournalError, RecordedRun, RunRow, forgets, number};

/// Most forks of forks that are followed. Only a damaged file has more.
const FORKS_MAX: u32 = 100_000;

/// Events of these types say how a run began and ended. An index finds them.
pub(super) const TURNS: [&str; 5] =
    ["run.started", "strategy.chosen", "run.forked", "run.resumed", "run.finished"];

/// The events after `after` up to `upto`, which are stored with a run.
#[derive(Debug)]
struct Part {
    run: String,
    after: u64,
    upto: u64,
}

/// Texts that packed bodies of one run referred to. Whoever reads a run's events bit by bit keeps them, so that its
/// inputs are not read again for each event.
#[derive(Debug, Default)]
pub struct Sources {
    texts: HashMap<Source, Vec<u8>>,
    bytes: usize,
}

/// Most bytes of [`Sources`] that are kept from one reading to the next.
const SOURCES_BYTES_MAX: usize = 32 << 20;

impl Sources {
    fn put(&mut self, source: Source, text: Vec<u8>) {
        self.bytes += text.len();
        self.texts.insert(source, text);
    }

    /// Drops what is too much, the texts of events first: those of inputs are referred to most.
    fn trim(&mut self) {
        for is_input in [false, true] {
            while self.bytes > SOURCES_BYTES_MAX
                && let Some(source) =
                    self.texts.keys().copied().find(|source| matches!(source, Source::Input(_)) == is_input)
            {
                self.bytes -= self.texts.remove(&source).map_or(0, |text| text.len());
            }
        }
    }
}

/// Reads a run's events, whichever runs they are shared with, and keeps the texts that they refer to.
pub(super) struct Reader<'a> {
    db: &'a Connection,
    /// Where its events are stored, the first ones first.
    parts: Vec<Part>,
    sources: Sources,
}

impl<'a> Reader<'a> {
    /// `None` if there is no such run, or somebody else than `owner` owns it.
    pub(super) fn new(db: &'a Connection, run: &str, owner: Option<&str>) -> rusqlite::Result<Option<Self>> {
        let mut query = db.prepare_cached(
            "WITH RECURSIVE up(depth, id, parent, parent_seq) AS (
                 SELECT 0, id, parent, parent_seq FROM runs WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)
                 UNION ALL
                 SELECT depth + 1, runs.id, runs.parent, runs.parent_seq FROM runs JOIN up ON runs.id = up.parent
                 LIMIT ?3)
             SELECT id, parent_seq FROM up ORDER BY depth",
        )?;
        let ups = query.query_map(params![run, owner, FORKS_MAX], |row| Ok((row.get(0)?, number(row, 1))))?;
        let ups: Vec<(String, u64)> = ups.collect::<rusqlite::Result<_>>()?;
        let mut upto = u64::MAX;
        let part = |(run, after)| {
            let part = Part { run, after, upto };
            upto = upto.min(after);
            part
        };
        let mut parts: Vec<Part> = ups.into_iter().map(part).collect();
        parts.reverse();
        Ok((!parts.is_empty()).then(|| Self { db, parts, sources: Sources::default() }))
    }

    /// The run whose inputs the run has: itself, or the first of those that it was forked from.
    pub(super) fn origin(&self) -> &str {
        &self.parts[0].run
    }

    /// The run with which an event is stored.
    pub(super) fn keeper(&self, seq: u64) -> Option<&str> {
        let part = self.parts.iter().find(|part| (part.after + 1..=part.upto).contains(&seq));
        part.map(|part| part.run.as_str())
    }

    /// Number of the last event, 0 without any.
    pub(super) fn last_seq(&self) -> rusqlite::Result<u64> {
        for Part { run, after, upto } in self.parts.iter().rev() {
            let query = "SELECT max(seq) FROM events WHERE run = ?1 AND seq > ?2 AND seq <= ?3";
            let last =
                self.db.query_row(query, params![run, as_i64(*after), as_i64(*upto)], |row| row.get(0))?;
            if let Some::<i64>(last) = last {
                return Ok(last as u64);
            }
        }
        Ok(0)
    }

    /// The events after `after` for which the condition `which` in SQL is true.
    pub(super) fn events(&mut self, after: u64, which: &str) -> rusqlite::Result<Vec<Event>> {
        let db = self.db;
        let mut query = db.prepare_cached(&format!(
            "SELECT seq, ms, type, body FROM events WHERE run = ?1 AND seq > ?2 AND seq <= ?3 AND {which} ORDER BY seq"
        ))?;
        let mut events = Vec::new();
        for at in 0..self.parts.len() {
            let Part { run, after: before, upto } = &self.parts[at];
            let mut rows = query.query(params![run, as_i64(after.max(*before)), as_i64(*upto)])?;
            while let Some(row) = rows.next()? {
                events.push(self.event(row));
            }
        }
        Ok(events)
    }

    /// The events that say how the run began, how it was last resumed and ended, and its last event.
    pub(super) fn outline(&mut self) -> rusqlite::Result<Vec<Event>> {
        let db = self.db;
        let mut query = db.prepare_cached(&format!(
            "SELECT seq, type FROM events INDEXED BY events_of_turns
             WHERE run = ?1 AND type IN ({}) AND seq > ?2 AND seq <= ?3",
            turns()
        ))?;
        let mut wanted = vec![self.last_seq()?];
        let (mut resumed, mut finished) = (0, 0);
        for Part { run, after, upto } in &self.parts {
            let mut rows = query.query(params![run, as_i64(*after), as_i64(*upto)])?;
            while let Some(row) = rows.next()? {
                match (number(row, 0), row.get_ref(1)?.as_str().unwrap_or_default()) {
                    (seq, "run.resumed") => resumed = seq.max(resumed),
                    (seq, "run.finished") => finished = seq.max(finished),
                    (seq, _) => wanted.push(seq),
                }
            }
        }
        wanted.extend([resumed, finished]);
        wanted.sort_unstable();
        wanted.dedup();
        let mut events = Vec::new();
        for seq in wanted.into_iter().filter(|seq| *seq > 0) {
            events.extend(self.events(seq - 1, &format!("seq = {seq}"))?);
        }
        Ok(events)
    }

    /// From a row that has number, time, type and body.
    fn event(&mut self, row: &Row<'_>) -> Event {
        let (seq, ms) = (number(row, 0), number(row, 1));
        let kind = match row.get::<_, String>(2) {
            Ok(kind) => kind,
            Err(error) => return Event::damaged(seq, ms, "", &error.to_string()),
        };
        let body = row.get_ref(3).map_err(|error| error.to_string()).and_then(|body| self.text(seq, body));
        match body {
            Ok(body) => Event::read(seq, ms, kind, &body),
            Err(why) => Event::damaged(seq, ms, &kind, &why),
        }
    }

    /// The text of an event's stored body.
    fn text(&mut self, seq: u64, stored: ValueRef<'_>) -> Result<String, String> {
        match stored {
            ValueRef::Text(text) => String::from_utf8(text.to_vec()).map_err(|error| error.to_string()),
            ValueRef::Blob(packed) => unpack(packed, |reference, to| match reference.source {
                Source::Dictionary => copy_from(DICTIONARY.as_bytes(), reference, to),
                Source::Event(own) if own == seq => copy_from(literals(packed)?, reference, to),
                source => copy_from(self.source(source)?, reference, to),
            }),
            other => Err(format!("it is {}", other.data_type())),
        }
    }

    fn source(&mut self, source: Source) -> Result<&[u8], String> {
        if !self.sources.texts.contains_key(&source) {
            let text = self.load(source)?;
            self.sources.put(source, text);
        }
        Ok(&self.sources.texts[&source])
    }

    fn load(&self, source: Source) -> Result<Vec<u8>, String> {
        let (what, found) = match source {
            Source::Dictionary => return Ok(DICTIONARY.as_bytes().to_vec()),
            Source::Event(seq) => {
                let query = "SELECT body FROM events WHERE run = ?1 AND seq = ?2";
                let at = params![self.keeper(seq), as_i64(seq)];
                let found = self.db.query_row(query, at, |row| Ok(stored_literally(row.get_ref(0)?)));
                (format!("event {seq}"), found)
            }
            Source::Input(position) => {
                let query = "SELECT text FROM inputs WHERE run = ?1 AND position = ?2";
                let at = params![self.origin(), as_i64(position)];
                let found =
                    self.db.query_row(query, at, |row| Ok(Ok(in_json(row.get_ref(0)?.as_str()?).into())));
                (format!("input {}", position + 1), found)
            }
        };
        let found = found.optional().map_err(|error| error.to_string());
        let found = found.and_then(|found| found.unwrap_or_else(|| Err("it is missing".to_owned())));
        found.map_err(|why| format!("it shares text with {what}, which can't be read: {why}"))
    }

    /// Calls `take` with each text of the run that bodies may refer to.
    pub(super) fn each_source(&self, mut take: impl FnMut(Source, &[u8])) -> rusqlite::Result<()> {
        let mut query =
            self.db.prepare_cached("SELECT position, text FROM inputs WHERE run = ?1 ORDER BY position")?;
        let mut rows = query.query([self.origin()])?;
        while let Some(row) = rows.next()? {
            // What is damaged is not referred to.
            if let Ok(text) = row.get_ref(1)?.as_str() {
                take(Source::Input(number(row, 0)), in_json(text).as_bytes());
            }
        }
        let mut query = self.db.prepare_cached(
            "SELECT seq, body FROM events WHERE run = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq",
        )?;
        for Part { run, after, upto } in &self.parts {
            let mut rows = query.query(params![run, as_i64(*after), as_i64(*upto)])?;
            while let Some(row) = rows.next()? {
                if let Ok(text) = stored_literally(row.get_ref(1)?) {
                    take(Source::Event(number(row, 0)), &text);
                }
            }
        }
        Ok(())
    }
}

/// The types in [`TURNS`] as a list in SQL.
fn turns() -> String {
    TURNS.map(|kind| format!("'{kind}'")).join(", ")
}

fn stored_literally(body: ValueRef<'_>) -> Result<Vec<u8>, String> {
    match body {
        ValueRef::Text(text) => Ok(text.to_vec()),
        ValueRef::Blob(packed) => literals(packed).map(<[u8]>::to_vec),
        other => Err(format!("it is {}", other.data_type())),
    }
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Journal {
    /// Reads a run in one transaction; `None` if the viewer sees no such run in the file.
    pub(super) fn read<T>(
        &self,
        run: &str,
        work: impl FnOnce(&mut Reader<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, JournalError> {
        self.with(|db| {
            let transaction = db.transaction()?;
            let reader = Reader::new(&transaction, run, self.viewer.only())?;
            reader.map(|mut reader| work(&mut reader)).transpose()
        })
    }

    /// The events of a run that come after `after_seq` (0 for all). In place of one that can't be read any more stands
    /// a [`super::DAMAGED`] event, which says so.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn events(&self, run: &str, after_seq: u64) -> Result<Vec<Event>, JournalError> {
        self.events_with(run, after_seq, &mut Sources::default())
    }

    /// The same for whoever reads the events of one run again and again as they are added, and keeps `sources`.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn events_with(
        &self,
        run: &str,
        after_seq: u64,
        sources: &mut Sources,
    ) -> Result<Vec<Event>, JournalError> {
        // Read before the file: an event that is written in between is found there, so none is missed.
        let waiting = self.file.unwritten.lines(run, after_seq, &self.viewer);
        let read = self.read(run, |reader| {
            reader.sources = std::mem::take(sources);
            let events = reader.events(after_seq, "true");
            *sources = std::mem::take(&mut reader.sources);
            events
        });
        sources.trim();
        let mut events = read?.unwrap_or_default();
        let written = events.last().map_or(after_seq, |event| event.seq);
        let waiting = waiting.into_iter().filter(|line| line.seq > written);
        events.extend(waiting.map(|line| Event::read(line.seq, line.ms, line.kind, &line.body)));
        Ok(events)
    }

    /// The inputs of a run as `(name, text)`, in order.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn inputs(&self, run: &str) -> Result<Vec<(String, String)>, JournalError> {
        if let Some(new) = self.file.unwritten.new_run(run, &self.viewer) {
            return Ok(new.inputs.to_vec());
        }
        let read = self.read(run, |reader| {
            let mut query =
                reader.db.prepare_cached("SELECT name, text FROM inputs WHERE run = ?1 ORDER BY position")?;
            let input = |row: &Row<'_>| Ok(row.get(0).and_then(|name| Ok((name, row.get(1)?))));
            query.query_map([reader.origin()], input)?.collect()
        })?;
        let inputs: Vec<rusqlite::Result<(String, String)>> = read.unwrap_or_default();
        let read = |(at, input): (usize, rusqlite::Result<_>)| {
            let what = || format!("input {} of run {run}", at + 1);
            input.map_err(|error| self.damaged(what(), &error.to_string(), forgets(run)))
        };
        inputs.into_iter().enumerate().map(read).collect()
    }

    /// A run's events and whether a process still runs it.
    ///
    /// # Errors
    /// When there is no such run or the record cannot be read.
    pub fn recorded(&self, run: &str) -> Result<RecordedRun, JournalError> {
        let unknown = || JournalError::UnknownRun { id: run.to_owned() };
        let created_ms = self.created_ms(run)?.ok_or_else(unknown)?;
        // Asked before its events are read, so that a run that ends in between does not seem interrupted.
        let left = self.was_left(run);
        let row = RunRow { id: run.to_owned(), created_ms };
        Ok(RecordedRun { row, left, events: self.events(run, 0)? })
    }
}
