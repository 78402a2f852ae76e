//! Which tables can be joined on which columns.

use super::super::error::TableError;
use super::super::schema::{Column, Table};
use super::super::types::Kind;

/// Asks whether two columns, each given as table and column, have a value in common.
pub(in super::super) type ShareValues<'f> =
    &'f dyn Fn((&str, &str), (&str, &str)) -> Result<bool, TableError>;

/// Columns of a table that are tried.
const TRIED_MAX: usize = 30;
/// Pairs of columns between two tables.
const PAIRS_MAX: usize = 4;

/// Two columns of the same kind that join two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Join {
    /// Numbers of the tables.
    pub(super) left: usize,
    pub(super) right: usize,
    /// The columns with their tables, such as `orders.customer_id`.
    pub(super) left_column: String,
    pub(super) right_column: String,
}

#[derive(Debug, Default)]
pub(super) struct Joins {
    pub(super) all: Vec<Join>,
}

impl Joins {
    pub(super) fn of(tables: &[Table], share_values: ShareValues<'_>) -> Result<Self, TableError> {
        let mut joins = Self::default();
        for right in 0..tables.len() {
            for left in 0..right {
                joins.all.extend(between(tables, left, right, share_values)?);
            }
        }
        Ok(joins)
    }

    /// The joins between two tables, in either direction.
    pub(super) fn between(&self, one: usize, other: usize) -> impl Iterator<Item = &Join> {
        self.all.iter().filter(move |join| {
            (join.left, join.right) == (one, other) || (join.left, join.right) == (other, one)
        })
    }
}

fn candidates(table: &Table) -> impl Iterator<Item = &Column> {
    let can_join = |column: &&Column| matches!(column.kind, Kind::Integer | Kind::Text | Kind::Date);
    table.columns.iter().filter(can_join).take(TRIED_MAX)
}

fn between(
    tables: &[Table],
    left: usize,
    right: usize,
    share_values: ShareValues<'_>,
) -> Result<Vec<Join>, TableError> {
    let (left_table, right_table) = (&tables[left], &tables[right]);
    let mut found = Vec::new();
    for one in candidates(left_table) {
        for other in candidates(right_table).filter(|other| other.kind == one.kind) {
            let likeness = likeness(one, other);
            if share_values((&left_table.name, &one.name), (&right_table.name, &other.name))? {
                let left_column = format!("{}.{}", left_table.name, one.name);
                let right_column = format!("{}.{}", right_table.name, other.name);
                found.push((likeness, Join { left, right, left_column, right_column }));
            }
        }
    }
    found.sort_by_key(|(likeness, _)| std::cmp::Reverse(*likeness));
    // Small numbers are equal by chance.
    let is_meant = found.iter().any(|(likeness, _)| *likeness > 0);
    let joins = found.into_iter().filter(|(likeness, _)| *likeness > 0 || !is_meant);
    Ok(joins.map(|(_, join)| join).take(PAIRS_MAX).collect())
}

/// How much two columns seem to be meant for each other: by their names most, by being texts a little.
fn likeness(one: &Column, other: &Column) -> u8 {
    let ends = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('_'));
    if one.name == other.name {
        3
    } else if ends(&one.name, &other.name) || ends(&other.name, &one.name) {
        2
    } else {
        u8::from(one.kind == Kind::Text)
    }
}
