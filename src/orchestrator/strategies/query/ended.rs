//! Which statement the answer comes from, and what of the answer no rule has checked.

use bandmaster_tools::tables::Answer;

use super::answer::{with_ties, worded};
use super::compose::statements;
use super::draws::{meant, run, statement_in};
use super::literals::absent;
use super::question::question;
use super::read_goal;
use super::reading::{Read, Reading, read, stem};
use crate::attached::Attached;
use crate::band::Finish;
use crate::checks::words;
use crate::event::CallEnd;
use crate::goal::Goal;
use crate::plan::{Job, Task};
use crate::state::{Attempt, RunState};
use crate::strategy::Ended;

/// A statement with what it gives.
pub(super) struct Chosen {
    pub sql: String,
    answer: Answer,
    /// The reading that it was compared with, if its rows are those that the reading means.
    reading: Option<Reading>,
    /// Whether a statement of the planner gives what the rules have read.
    is_agreed: bool,
    /// What no rule has checked.
    pub unchecked: Vec<String>,
}

impl Chosen {
    pub(super) fn worded(&self, goal: &Goal) -> String {
        worded(&self.sql, &self.answer, self.reading.as_ref(), goal.attached())
    }
}

/// The task that runs the accepted statement and gives its rows.
pub(super) fn task(goal: &Goal) -> Task {
    Task {
        id: "t1".to_owned(),
        job: Job::Calculate,
        worker: goal.band.calculator().to_owned(),
        instruction: "run the statement".to_owned(),
        needs: vec!["plan".to_owned()],
        with_gaps: true,
        ..Task::default()
    }
}

/// The statement to use: one whose rows the planner and the rules agree on, else the one that the rules read in the
/// goal, else the planner's, else the one of the rules though they had doubts.
pub(super) fn chosen(goal: &Goal, state: &RunState) -> Option<Chosen> {
    let attached = goal.attached();
    let read = read_goal(goal, state);
    let plan = state.task("plan")?;
    let numbered = plan.attempts.iter().enumerate().filter(|(_, attempt)| is_whole(attempt));
    let drawn = numbered.filter_map(|(at, attempt)| Some((at, run(&attempt.output, attached).ok()?)));
    let drawn: Vec<(usize, (String, Answer))> = drawn.collect();
    if let Some(reading) = &read.reading {
        let agreed =
            drawn.iter().find_map(|(at, planned)| Some((at, planned, meant(reading, &planned.1, attached)?)));
        if let Some((at, (own, answer), sql)) = agreed {
            let mut unchecked = reading.doubts.clone();
            // A planner that has to write several statements may have left out what such a word means.
            if *at > 0 {
                let unknown = reading.unknown.iter();
                unchecked.extend(unknown.map(|word| format!("\"{word}\" is no word of the tables")));
            }
            unchecked.extend(reading.rank.and_then(|rank| other_limit(own, rank.rows)));
            let more = attached
                .query(&sql)
                .ok()
                .filter(|_| reading.rank.is_none())
                .and_then(|meant| told_beside(answer, &meant, question(goal, state)));
            if let Some(beside) = more {
                unchecked.push(format!("whether {beside} belongs to the rest, which no rule has read"));
                return Some(Chosen {
                    sql: own.clone(),
                    answer: answer.clone(),
                    reading: None,
                    unchecked,
                    is_agreed: true,
                });
            }
            return by_reading(sql, reading, unchecked, attached);
        }
        if reading.doubts.is_empty() && reading.unknown.is_empty() {
            let unchecked = vec!["no statement of the planner gives the same".to_owned()];
            let composed = statements(reading, attached).into_iter().next();
            if let Some(chosen) = composed.and_then(|sql| by_reading(sql, reading, unchecked, attached)) {
                return Some(chosen);
            }
        }
    }
    let accepted = plan.accepted().and_then(|sql| run(sql, attached).ok());
    if let Some((sql, answer)) = accepted.or_else(|| drawn.into_iter().next().map(|(_, drawn)| drawn)) {
        return Some(Chosen { sql, answer, reading: None, unchecked: doubts(&read), is_agreed: false });
    }
    // A doubtful reading is better than nothing.
    let reading = read.reading.as_ref()?;
    let unknown = reading.unknown.iter().map(|word| format!("\"{word}\" is no word of the tables"));
    let unchecked = reading.doubts.iter().cloned().chain(unknown).collect();
    by_reading(statements(reading, attached).into_iter().next()?, reading, unchecked, attached)
}

/// What is doubtful if the planner's statement gives another number of rows than the rules have read.
fn other_limit(sql: &str, rows: usize) -> Option<String> {
    let lower = sql.to_lowercase();
    let (_, limit) = lower.rsplit_once("limit ")?;
    let limit: usize = limit.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    (limit != rows).then(|| format!("whether {rows} or {limit} rows are asked for"))
}

/// The columns of the planner's rows that the goal names, beside those that the rules have read: the call sign beside the
/// largest distance. None if there are others.
fn told_beside(planned: &Answer, meant: &Answer, question: &str) -> Option<String> {
    let asked: Vec<String> = words(question).iter().map(|word| stem(word)).collect();
    let is_asked = |name: &&String| {
        let own = words(&name.replace('_', " "));
        !own.is_empty() && own.iter().all(|word| asked.contains(&stem(word)))
    };
    let is_value =
        |name: &String| name.contains('(') || meant.columns.iter().any(|own| own.ends_with(name.as_str()));
    let new: Vec<&String> = planned.columns.iter().filter(|name| !is_value(name)).collect();
    let fits = planned.rows.len() == meant.rows.len() && !new.is_empty() && new.iter().all(is_asked);
    fits.then(|| new.into_iter().cloned().collect::<Vec<_>>().join(", "))
}

fn by_reading(sql: String, reading: &Reading, unchecked: Vec<String>, attached: &Attached) -> Option<Chosen> {
    let ties = reading.rank.and_then(|rank| with_ties(&sql, rank.rows, attached));
    let answer = ties.map_or_else(|| attached.query(&sql), Ok).ok()?;
    Some(Chosen { sql, answer, reading: Some(reading.clone()), unchecked, is_agreed: true })
}

fn doubts(read: &Read) -> Vec<String> {
    let doubts = read.reading.as_ref().map(|reading| reading.doubts.clone()).unwrap_or_default();
    if doubts.is_empty() { vec!["whether the statement asks what the goal asks".to_owned()] } else { doubts }
}

pub(super) fn ended(goal: &Goal, state: &RunState) -> Ended {
    let result = state.task("t1").and_then(|task| task.accepted());
    let Some((answer, chosen)) = result.zip(chosen(goal, state)) else {
        let error = Some("no statement that the planner wrote could be run".to_owned());
        return Ended { error: error.filter(|_| !state.is_stopped()), ..Ended::default() };
    };
    Ended { answer: answer.to_owned(), unchecked: chosen.unchecked, ..Ended::default() }
}

/// The answer to a goal whose first statement compares a column with words of the goal that no row has, or asks for a
/// column that there isn't. Statements drawn after it would only ask for something else.
pub(super) fn not_there(goal: &Goal, state: &RunState) -> Option<Ended> {
    if chosen(goal, state).is_some_and(|chosen| chosen.is_agreed) {
        return None;
    }
    let attached = goal.attached();
    let question = words(question(goal, state));
    let is_asked = |text: &str| {
        let said = words(&text.replace('_', " "));
        !said.is_empty() && said.iter().all(|word| question.contains(word))
    };
    let first = state.task("plan")?.attempts.first().filter(|attempt| is_whole(attempt))?;
    let sql = statement_in(&first.output)?;
    // Rows without something that no row has are all of them.
    let denies = words(sql).iter().any(|word| word == "not") || sql.contains("<>") || sql.contains("!=");
    let stands_elsewhere = |text: &str| {
        let of_table =
            |table: usize| (0..attached.tables[table].columns.len()).map(move |column| (table, column));
        let mut columns = (0..attached.tables.len()).flat_map(of_table);
        columns.any(|at| attached.values(at).iter().any(|value| words(value) == words(text)))
    };
    let missing =
        absent(sql, attached).filter(|(text, _)| is_asked(text) && !denies && !stands_elsewhere(text));
    if let Some((text, column)) = missing {
        let answer = format!("No row of {} has the {column} \"{text}\".", files(goal));
        return Some(Ended {
            answer,
            failed_tasks: 1,
            missing: vec![format!("{text}, which no row has as its {column}")],
            ..Ended::default()
        });
    }
    let error = attached.query(sql).err()?.to_string();
    let (_, named) = error.split_once("no such column: ")?;
    let named = named.split_whitespace().next()?.rsplit('.').next()?;
    let is_there = attached
        .tables
        .iter()
        .flat_map(|table| &table.columns)
        .any(|one| one.name.eq_ignore_ascii_case(named));
    let has_reading = read_goal(goal, state).reading.is_some();
    (!has_reading && !is_there && is_asked(named)).then(|| no_column(goal, &named.replace('_', " ")))
}

fn is_whole(attempt: &Attempt) -> bool {
    attempt.end == Some(CallEnd::Reply(Finish::Stop))
}

/// The answer to a goal that names something that stands in no table.
pub(super) fn without(goal: &Goal, strangers: &[String]) -> Ended {
    let (files, names) = (files(goal), strangers.join(", "));
    let missing = vec![format!("{names}, which stands nowhere in {files}")];
    Ended {
        answer: format!("{names} does not occur in {files}."),
        failed_tasks: 1,
        missing,
        ..Ended::default()
    }
}

/// The answer to a goal that asks for something that no column holds.
pub(super) fn unnamed(goal: &Goal, state: &RunState) -> Ended {
    let attached = goal.attached();
    no_column(goal, &read(question(goal, state), attached, None).unnamed.unwrap_or_default())
}

fn no_column(goal: &Goal, phrase: &str) -> Ended {
    let attached = goal.attached();
    let columns: Vec<&str> =
        attached.tables.iter().flat_map(|table| &table.columns).map(|column| column.title.as_str()).collect();
    let answer =
        format!("No column of {} holds \"{phrase}\". The columns are {}.", files(goal), columns.join(", "));
    let missing = vec![format!("\"{phrase}\", which no column holds")];
    Ended { answer, failed_tasks: 1, missing, ..Ended::default() }
}

fn files(goal: &Goal) -> String {
    let mut files: Vec<&str> = goal.attached().tables.iter().map(|table| table.file.as_str()).collect();
    files.dedup();
    files.join(", ")
}
