//! The planner's statements: what it is asked, and which of its replies is used.

use bandmaster_tools::tables::{Answer, Value};

use super::agree::agree;
use super::compose::statements;
use super::literals::{fitted, has_all};
use super::question::question;
use super::reading::{Key, Read, Reading};
use crate::attached::Attached;
use crate::band::{Finish, Reply};
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::RunState;
use crate::strategy::{Prompt, Verdict};

const STATEMENT_TOKENS_MAX: u32 = 256;
/// Most statements that the planner writes.
const DRAWS: usize = 4;
/// Most columns of a statement whose table is corrected.
const RENAMINGS_MAX: usize = 4;
/// The first of them without a grammar: models write SQL best so.
const FREE_DRAWS: usize = 2;

pub(super) fn task() -> Task {
    Task {
        id: "plan".to_owned(),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); DRAWS],
        instruction: "write the statement".to_owned(),
        tokens_max: STATEMENT_TOKENS_MAX,
        ..Task::default()
    }
}

pub(super) fn prompt(goal: &Goal, state: &RunState, read: &Read) -> Prompt {
    let attached = goal.attached();
    let attempt = state.task("plan").map_or(1, |plan| plan.attempts_now().len());
    let hints: String = read.hints.iter().map(|hint| format!("- {hint}\n")).collect();
    let hints = match hints.is_empty() {
        true => String::new(),
        false => format!("Conditions that the question names:\n{hints}"),
    };
    let tables = attached.described();
    let prompt = prompts::QUERY_PLAN.prompt(&[
        ("tables", tables.trim_end()),
        ("hints", &hints),
        ("goal", question(goal, state)),
    ]);
    match attached.grammar().filter(|_| attempt > FREE_DRAWS) {
        Some(grammar) => prompt.with_grammar(grammar),
        None => prompt,
    }
}

/// The statement in a reply, without what models write around it.
pub(super) fn statement_in(reply: &str) -> Option<&str> {
    let lower = reply.to_ascii_lowercase();
    let from = lower.find("select").into_iter().chain(lower.find("with ")).min()?;
    let rest = &reply[from..];
    let end = rest.find([';', '`']).unwrap_or(rest.len());
    Some(rest[..end].trim()).filter(|sql| !sql.is_empty())
}

/// Accepts a statement whose rows are those that the goal means.
pub(super) fn check(goal: &Goal, read: &Read, reply: &Reply) -> Verdict {
    let attached = goal.attached();
    if reply.finish == Finish::Length {
        return Verdict::reject("it was cut off at its limit");
    }
    let (sql, answer) = match run(&reply.text, attached) {
        Ok(run) => run,
        Err(why) => return Verdict::reject(why),
    };
    let kept = |why: String| Verdict::Reject { why, kept: Some(sql.clone()) };
    match &read.reading {
        Some(reading) if meant(reading, &answer, attached).is_some() => Verdict::Accept(sql),
        Some(_) => kept("it does not give what the goal names".to_owned()),
        None => match has_all(&sql, &read.hints) {
            Ok(()) => Verdict::Accept(sql),
            Err(why) => kept(why),
        },
    }
}

/// The statement in a reply, with the texts of its columns, and what it gives.
pub(super) fn run(reply: &str, attached: &Attached) -> Result<(String, Answer), String> {
    let sql = statement_in(reply).ok_or("it has no SELECT")?;
    let sql = &renamed(sql, attached);
    let sql = fitted(sql, attached)?;
    let answer = attached.query(&sql).map_err(|error| error.to_string())?;
    let is_empty = answer.rows.iter().all(|row| row.values.iter().all(|value| *value == Value::Empty));
    if is_empty { Err("it gives no rows".to_owned()) } else { Ok((sql, answer)) }
}

/// The statement with the columns of the right table, where it asks one table for a column that only another of its
/// tables has: small models mix up `T1` and `T2`.
fn renamed(sql: &str, attached: &Attached) -> String {
    let mut sql = sql.to_owned();
    for _ in 0..RENAMINGS_MAX {
        let Err(error) = attached.query(&sql) else { break };
        let error = error.to_string();
        let Some((_, rest)) = error.split_once("no such column: ") else { break };
        let Some((alias, column)) = rest.split_whitespace().next().and_then(|name| name.split_once('.'))
        else {
            break;
        };
        let has = |(_, table): &&(String, String)| {
            let table = attached.tables.iter().find(|one| one.name.eq_ignore_ascii_case(table));
            table.is_some_and(|table| table.columns.iter().any(|one| one.name.eq_ignore_ascii_case(column)))
        };
        let named = aliases(&sql);
        let mut having = named.iter().filter(has);
        let (Some((other, _)), None) = (having.next(), having.next()) else { break };
        sql = with_table(&sql, &format!("{alias}.{column}"), &format!("{other}.{column}"));
    }
    sql
}

/// The statement with one column in place of another, where the name is whole.
fn with_table(sql: &str, old: &str, new: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut written = String::new();
    let mut rest = sql;
    while let Some(at) = rest.find(old) {
        let (before, behind) = (&rest[..at], &rest[at + old.len()..]);
        let is_whole = !is_part(before.chars().next_back()) && !is_part(behind.chars().next());
        written.push_str(before);
        written.push_str(if is_whole { new } else { old });
        rest = behind;
    }
    written + rest
}

/// The names by which a statement calls its tables, each with the table.
fn aliases(sql: &str) -> Vec<(String, String)> {
    const WORDS: &[&str] =
        &["on", "where", "join", "inner", "left", "group", "order", "limit", "using", "natural", "cross"];
    let words: Vec<&str> = sql
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ','))
        .filter(|word| !word.is_empty())
        .collect();
    let is_source = |word: &str| word.eq_ignore_ascii_case("from") || word.eq_ignore_ascii_case("join");
    let named = words.iter().enumerate().filter(|(_, word)| is_source(word)).filter_map(|(at, _)| {
        let table = words.get(at + 1)?;
        let after =
            words.get(at + 2).filter(|word| word.eq_ignore_ascii_case("as")).map_or(at + 2, |_| at + 3);
        let is_alias = |word: &&&str| !WORDS.contains(&word.to_lowercase().as_str());
        let alias = words.get(after).filter(is_alias).unwrap_or(table);
        Some(((*alias).to_owned(), (*table).to_owned()))
    });
    named.collect()
}

/// The statement that the goal means, of those whose rows the planner's rows agree with.
pub(super) fn meant(reading: &Reading, planned: &Answer, attached: &Attached) -> Option<String> {
    let is_ranked = reading.rank.is_some();
    let planned = &named(planned, reading, attached);
    statements(reading, attached)
        .into_iter()
        .find(|sql| attached.query(sql).is_ok_and(|meant| agree(&meant, planned, is_ranked)))
}

/// The planner's rows with the names that belong to the keys in them: "C17" may stand for the customer's name.
fn named(planned: &Answer, reading: &Reading, attached: &Attached) -> Answer {
    let mut planned = planned.clone();
    for key in &reading.keys {
        let Key::Column(label) = *key else { continue };
        let table = &attached.tables[label.0].name;
        let ends = attached.joins.iter().flatten().filter(|end| end.0 == label.0 && **end != label);
        for end in ends.filter(|end| attached.is_unique(**end)) {
            let (own, label) = (&attached.column(*end).name, &attached.column(label).name);
            let Ok(names) = attached.query(&format!("SELECT {own}, {label} FROM {table}")) else { continue };
            for row in &mut planned.rows {
                let name = names.rows.iter().find(|name| row.values.contains(&name.values[0]));
                row.values.extend(name.map(|name| name.values[1].clone()));
            }
        }
    }
    planned
}
