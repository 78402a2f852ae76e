//! The answer from the rows of a table, worded by rule: an even table, the best with the values it was chosen by, or a
//! figure.

use bandmaster_tools::calculator::Aggregate;

use super::cells::{Basis, Cell, has_name, names_itself};
use super::conditions::plain;
use super::demanded::without_condition;
use super::rows::{Record, extremes, numbers, records, that_count};
use super::{Combine, Table};
use crate::goal::Goal;
use crate::missing::with_missing;
use crate::plan::{AnswerIs, Slice};
use crate::state::TaskState;
use crate::strategies::map::missing_of;
use crate::strategy::Ended;

/// The end of a run, from the readings that count.
pub(in super::super) fn end(goal: &Goal, table: &Table, readings: &[(&Slice, &TaskState)]) -> Ended {
    let records = records(goal, table, readings);
    let mut missing: Vec<String> =
        readings.iter().filter_map(|(slice, task)| missing_of(slice, task)).collect();
    let deciding = deciding(table, &records);
    missing.extend(gaps(goal, &deciding));
    let without_result = readings.iter().filter(|(_, task)| task.accepted().is_none() || task.cut).count();
    let failed = deciding.iter().filter(|one| one.cell.basis == Basis::Failed).count();
    let mut unchecked = doubts(goal, &deciding);
    let is_none = !table.only_if.is_empty() && that_count(table, &records).is_empty();
    if is_none && deciding.iter().any(|one| one.cell.value.is_null()) {
        unchecked.push(format!("whether those that do not say it have {}", conditions(table)));
    }
    let ignored = without_condition(table, &goal.text);
    unchecked.extend(ignored.map(|condition| format!("whether this is met: {condition}")));
    let answer = with_missing(told(table, &records), &missing);
    Ended { answer, missing, unchecked, failed_tasks: without_result + failed, ..Ended::default() }
}

/// A cell that the answer depends on.
struct Deciding<'a> {
    record: &'a Record,
    column: &'a str,
    cell: &'a Cell,
}

/// The cells that decide the answer: those that a condition is about, unless another condition rules the record out
/// anyway, and those of the records that count that are told or calculated with.
fn deciding<'a>(table: &'a Table, records: &'a [Record]) -> Vec<Deciding<'a>> {
    let lists =
        |combine: &Combine| matches!(combine, Combine::List | Combine::Ascending | Combine::Descending);
    let tells_all = table.combine.iter().any(lists);
    let counted: Vec<usize> = that_count(table, records).iter().map(|record| record.input).collect();
    let mut deciding = Vec::new();
    for record in records {
        let asks =
            |place: usize| table.only_if.iter().filter(move |one| table.place(&one.column) == Some(place));
        let fails = |place: usize| {
            let cell = &record.cells[place];
            cell.basis != Basis::Doubtful && asks(place).any(|one| one.holds(&cell.value) == Some(false))
        };
        if (0..table.columns.len()).any(fails) {
            continue;
        }
        for (place, column) in table.columns.iter().enumerate() {
            let is_told = tells_all || table.of_place() == Some(place);
            if asks(place).next().is_some() || (is_told && counted.contains(&record.input)) {
                deciding.push(Deciding { record, column: &column.name, cell: &record.cells[place] });
            }
        }
    }
    deciding
}

/// What the inputs don't say, or what could not be read in them.
fn gaps(goal: &Goal, deciding: &[Deciding<'_>]) -> Vec<String> {
    let absent = deciding.iter().filter(|one| one.cell.value.is_null());
    let told = |one: &Deciding<'_>| {
        let (named, column) = (named(goal, one.record), one.column);
        match one.cell.basis {
            Basis::Failed => format!("the {column} of {named} could not be read"),
            _ => format!("{named} does not say the {column}"),
        }
    };
    absent.map(told).collect()
}

/// What a record is about, with its file.
fn named(goal: &Goal, record: &Record) -> String {
    let file = &goal.inputs[record.input].name;
    if file.contains(&record.subject) { file.clone() } else { format!("{} ({file})", record.subject) }
}

/// The cells behind the answer that neither a quote nor a second reading bears out.
fn doubts(goal: &Goal, deciding: &[Deciding<'_>]) -> Vec<String> {
    let doubtful = deciding.iter().filter(|one| one.cell.basis == Basis::Doubtful);
    let told = |one: &Deciding<'_>| {
        let value = if one.cell.value.is_null() { "not stated".to_owned() } else { plain(&one.cell.value) };
        format!("{}: {} {value}", named(goal, one.record), one.column)
    };
    doubtful.map(told).collect()
}

fn told(table: &Table, records: &[Record]) -> String {
    let count = that_count(table, records);
    if records.is_empty() {
        return "No input was read to its end, so there is no answer.".to_owned();
    }
    if count.is_empty() {
        return format!("None of the {} has {}.", records.len(), conditions(table));
    }
    let mut parts: Vec<String> = Vec::new();
    for combine in &table.combine {
        parts.push(match (combine, table.of_place()) {
            (Combine::Figure(aggregate @ (Aggregate::Most | Aggregate::Least)), Some(place)) => {
                best(table, records.len(), &count, place, *aggregate)
            }
            (Combine::Figure(Aggregate::Count), _) => counted(table, records.len(), &count),
            (Combine::Figure(aggregate), Some(place)) => figure(table, &count, place, *aggregate),
            _ => markdown(table, &count),
        });
    }
    parts.dedup();
    parts.join("\n\n")
}

fn conditions(table: &Table) -> String {
    let said: Vec<String> = table.only_if.iter().map(super::Condition::in_words).collect();
    joined(&said)
}

/// "a", "a and b", "a, b and c".
fn joined(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// The best with the values it was chosen by, and how many it was chosen from.
fn best(table: &Table, all: usize, count: &[&Record], place: usize, aggregate: Aggregate) -> String {
    let chosen = extremes(count, place, aggregate, table.limit);
    let of = &table.columns[place].name;
    if chosen.is_empty() {
        return format!("None of the {} says the {of}.", count.len());
    }
    let date = table.columns[place].kind == AnswerIs::Date;
    let degree = match (aggregate, date) {
        (Aggregate::Most, false) => "highest",
        (Aggregate::Most, true) => "latest",
        (_, false) => "lowest",
        (_, true) => "earliest",
    };
    let from = match (table.only_if.is_empty(), count.len()) {
        (true, many) => format!("Chosen from {many}."),
        (false, 1) => format!("It is the only one of {all} with {}.", conditions(table)),
        (false, many) => format!("Chosen from the {many} of {all} with {}.", conditions(table)),
    };
    if table.limit.is_some_and(|limit| limit > 1) {
        return format!("{}\n\n{from}", markdown(table, &chosen));
    }
    let value = plain(chosen[0].value(place));
    let told = match &chosen[..] {
        [one] => format!("{} has the {degree} {of}: {value}{}.", one.subject, others(table, one, place)),
        many => {
            let names = many.iter().map(|one| format!("{}{}", one.subject, others(table, one, place)));
            format!("{} share the {degree} {of}: {value}.", joined(&names.collect::<Vec<_>>()))
        }
    };
    format!("{told} {from}")
}

/// The other values of a record in brackets.
fn others(table: &Table, record: &Record, place: usize) -> String {
    let first = usize::from(names_itself(&table.columns));
    let shown = (first..table.columns.len()).filter(|at| *at != place && !record.value(*at).is_null());
    let shown: Vec<String> =
        shown.map(|at| format!("{} {}", table.columns[at].name, plain(record.value(at)))).collect();
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

fn counted(table: &Table, all: usize, count: &[&Record]) -> String {
    let names: Vec<String> = count.iter().map(|record| record.subject.clone()).collect();
    match table.only_if.is_empty() {
        true => format!("{all}: {}.", joined(&names)),
        false => format!("{} of {all} with {}: {}.", count.len(), conditions(table), joined(&names)),
    }
}

fn figure(table: &Table, count: &[&Record], place: usize, aggregate: Aggregate) -> String {
    let of = &table.columns[place].name;
    let values = numbers(count, place);
    let name = match aggregate {
        Aggregate::Total => format!("The total {of}"),
        Aggregate::Average => format!("The average {of}"),
        _ => format!("The difference between the highest and the lowest {of}"),
    };
    let whose = match table.only_if.is_empty() {
        true => format!("of {}", values.len()),
        false => format!("of the {} with {}", values.len(), conditions(table)),
    };
    match aggregate.of(&values) {
        Ok(value) => format!("{name} {whose} is {value}."),
        Err(error) => format!("{name} {whose} can't be calculated: {error}."),
    }
}

/// A cell as the table shows it; a dash if there is nothing.
fn shown(cell: &Cell) -> String {
    if cell.value.is_null() { "–".to_owned() } else { plain(&cell.value).replace('|', "\\|") }
}

/// One heading and a line for each record, in columns of even width.
fn markdown(table: &Table, count: &[&Record]) -> String {
    let named = has_name(&table.columns);
    let head = table.columns.iter().map(|column| column.name.clone());
    let mut lines: Vec<Vec<String>> = vec![head.collect()];
    for record in count {
        lines.push(record.cells.iter().map(shown).collect());
    }
    if !named {
        let subjects = count.iter().map(|record| record.subject.replace('|', "\\|"));
        let first = std::iter::once(String::new()).chain(subjects);
        lines.iter_mut().zip(first).for_each(|(line, subject)| line.insert(0, subject));
    }
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let even = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule =
        format!("| {} |", widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join(" | "));
    let mut told: Vec<String> = lines.iter().map(even).collect();
    told.insert(1, rule);
    told.join("\n")
}
