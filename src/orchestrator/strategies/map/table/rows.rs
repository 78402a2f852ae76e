//! The rows of a table: one for each input, put together from the readings of its parts, and which of them count.

use std::cmp::Ordering;

use bandmaster_tools::calculator::{Aggregate, Decimal};
use serde_json::Value;

use super::cells::{Basis, Cell, Row, names_itself};
use super::conditions::{number, plain};
use super::{Combine, Table};
use crate::goal::Goal;
use crate::plan::Slice;
use crate::state::TaskState;
use crate::strategies::map::reduce::{Source, subject_of};

/// What is known of one input.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Index of the input.
    pub input: usize,
    /// Who or what it is about.
    pub subject: String,
    /// One for each column.
    pub cells: Vec<Cell>,
}

impl Record {
    pub(super) fn value(&self, place: usize) -> &Value {
        &self.cells[place].value
    }
}

/// One record for each input that was read, in order.
pub(super) fn records(goal: &Goal, table: &Table, readings: &[(&Slice, &TaskState)]) -> Vec<Record> {
    let sources: Vec<Source> = goal.inputs.iter().map(Source::of).collect();
    let mut records: Vec<Record> = Vec::new();
    for (slice, task) in readings {
        let row = task.accepted().and_then(|json| serde_json::from_str::<Row>(json).ok());
        let Some(row) = row.filter(|row| row.cells.len() == table.columns.len()) else { continue };
        match records.last_mut().filter(|last| last.input == slice.index) {
            Some(record) => add(record, row),
            None => records.push(Record { input: slice.index, subject: row.subject, cells: row.cells }),
        }
    }
    for record in &mut records {
        let named =
            names_itself(&table.columns).then(|| plain(record.value(0))).filter(|name| !name.is_empty());
        let said = std::mem::take(&mut record.subject);
        record.subject = named.unwrap_or_else(|| subject_of(&sources, record.input, [said.as_str()]));
    }
    records
}

/// Adds what another part of the same input says. Parts that say different things leave a doubt.
fn add(record: &mut Record, row: Row) {
    for (cell, new) in record.cells.iter_mut().zip(row.cells) {
        match (cell.value.is_null(), new.value.is_null()) {
            (true, false) => *cell = new,
            (false, false) if cell.value != new.value => match (cell.basis, new.basis) {
                (Basis::Quote, Basis::Quote) => cell.basis = Basis::Doubtful,
                (_, Basis::Quote) => *cell = new,
                _ => {}
            },
            (true, true) if new.basis == Basis::Failed => cell.basis = Basis::Failed,
            _ => {}
        }
    }
    if record.subject.is_empty() {
        record.subject = row.subject;
    }
}

/// The records that meet every condition, in the order that is wanted.
pub(super) fn that_count<'a>(table: &Table, records: &'a [Record]) -> Vec<&'a Record> {
    let meets = |record: &&Record| {
        table.only_if.iter().all(|condition| {
            let place = table.place(&condition.column);
            place.and_then(|place| condition.holds(record.value(place))) == Some(true)
        })
    };
    let mut count: Vec<&Record> = records.iter().filter(meets).collect();
    let sorts = |combine: &Combine| matches!(combine, Combine::Ascending | Combine::Descending);
    if let Some(place) = table.of_place()
        && let Some(direction) = table.combine.iter().find(|combine| sorts(combine))
    {
        count.sort_by(|a, b| ordered(a.value(place), b.value(place), *direction == Combine::Descending));
        if let Some(limit) = table.limit {
            count.truncate(limit);
        }
    }
    count
}

/// The order of two values. What is not stated comes last either way.
fn ordered(a: &Value, b: &Value, descending: bool) -> Ordering {
    if a.is_null() || b.is_null() {
        return a.is_null().cmp(&b.is_null());
    }
    let order = match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => plain(a).to_lowercase().cmp(&plain(b).to_lowercase()),
    };
    if descending { order.reverse() } else { order }
}

/// The records with the largest or smallest values of a column, best first: the best and its ties, or as many as are
/// wanted.
pub(super) fn extremes<'a>(
    records: &[&'a Record],
    place: usize,
    aggregate: Aggregate,
    limit: Option<usize>,
) -> Vec<&'a Record> {
    let descending = aggregate == Aggregate::Most;
    let mut best: Vec<&Record> =
        records.iter().copied().filter(|record| !record.value(place).is_null()).collect();
    best.sort_by(|a, b| ordered(a.value(place), b.value(place), descending));
    let wanted = limit.unwrap_or(1).max(1);
    let Some(last) = best.get(wanted.min(best.len()).wrapping_sub(1)).copied() else { return best };
    // Whoever ties with the last that is wanted is told as well.
    best.retain(|one| ordered(one.value(place), last.value(place), descending).is_le());
    best
}

/// The numbers of a column.
pub(super) fn numbers(records: &[&Record], place: usize) -> Vec<Decimal> {
    records.iter().filter_map(|record| number(record.value(place))).collect()
}
