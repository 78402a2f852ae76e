//! The tables of one FROM, and the columns that may be named with them.

use super::super::schema::{Column, Table};
use super::super::types::Kind;
use super::joins::{Join, Joins};
use super::{Node, all, text, words};

/// Most FROMs of a grammar. Each has its own rules, and a grammar has to compile within two seconds.
const SCOPES_MAX: usize = 16;

/// A column as a statement names it.
#[derive(Debug, Clone)]
pub(super) struct Named<'t> {
    /// `amount` if there is one table, else `orders.amount`.
    pub(super) name: String,
    /// Number of the table and of the column.
    pub(super) at: (usize, usize),
    pub(super) column: &'t Column,
}

pub(super) struct Scope<'t> {
    pub(super) tables: Vec<usize>,
    pub(super) from: Node,
    pub(super) columns: Vec<Named<'t>>,
}

impl<'t> Scope<'t> {
    /// Columns of these kinds.
    pub(super) fn of(&self, kinds: &[Kind]) -> Vec<&Named<'t>> {
        self.columns.iter().filter(|named| kinds.contains(&named.column.kind)).collect()
    }

    fn new(tables: &'t [Table], numbers: &[usize], from: Node) -> Self {
        let columns = numbers.iter().flat_map(|number| {
            let table = &tables[*number];
            table.columns.iter().enumerate().map(move |(at, column)| Named {
                name: match numbers.len() {
                    1 => column.name.clone(),
                    _ => format!("{}.{}", table.name, column.name),
                },
                at: (*number, at),
                column,
            })
        });
        Self { tables: numbers.to_vec(), from, columns: columns.collect() }
    }
}

/// Every table alone, then pairs and threes that can be joined.
pub(super) fn scopes<'t>(tables: &'t [Table], joins: &Joins) -> Vec<Scope<'t>> {
    let mut scopes: Vec<Scope<'t>> = Vec::new();
    let count = tables.len();
    for number in 0..count {
        scopes.push(Scope::new(tables, &[number], text(tables[number].name.clone())));
    }
    for right in 0..count {
        for left in 0..right {
            let ways: Vec<Node> = joins.between(left, right).map(|join| pair(tables, join)).collect();
            if !ways.is_empty() {
                scopes.push(Scope::new(tables, &[left, right], Node::One(ways)));
            }
        }
    }
    for third in 0..count {
        for second in 0..third {
            for first in 0..second {
                let ways = threes(tables, joins, [first, second, third]);
                if !ways.is_empty() {
                    scopes.push(Scope::new(tables, &[first, second, third], Node::One(ways)));
                }
            }
        }
    }
    scopes.truncate(SCOPES_MAX.max(count));
    scopes
}

fn pair(tables: &[Table], join: &Join) -> Node {
    let (left, right) = (&tables[join.left].name, &tables[join.right].name);
    let on = format!(" ON {} = {}", join.left_column, join.right_column);
    let orders = [(left, right), (right, left)].map(|(first, second)| {
        all([text(first.as_str()), words(&[" JOIN ", " LEFT JOIN "]), text(second.as_str())])
    });
    all([Node::One(orders.into()), text(on)])
}

/// Three tables of which one is joined to both others, once for each choice of that one.
fn threes(tables: &[Table], joins: &Joins, numbers: [usize; 3]) -> Vec<Node> {
    let mut ways = Vec::new();
    for middle in numbers {
        let others: Vec<usize> = numbers.into_iter().filter(|number| *number != middle).collect();
        for first in joins.between(middle, others[0]) {
            for second in joins.between(middle, others[1]) {
                let name = |number: usize| text(tables[number].name.as_str());
                let on = |join: &Join| text(format!(" ON {} = {}", join.left_column, join.right_column));
                ways.push(all([
                    name(middle),
                    text(" JOIN "),
                    name(others[0]),
                    on(first),
                    text(" JOIN "),
                    name(others[1]),
                    on(second),
                ]));
            }
        }
    }
    ways
}
