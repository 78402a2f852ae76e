//! What a goal wants computed, of which table, and for what.

use super::marked::Marked;
use super::names::Name;
use super::ops::{Op, small_number};
use super::{Compute, Condition, Key, Rank, Reading, Test};
use crate::attached::ColumnAt;

/// Words for money, of which any column of amounts may be meant.
pub(super) const MONEY: &[&str] = &[
    "money", "cash", "revenue", "turnover", "income", "spending", "sum", "amount", "amounts", "value",
    "worth",
];
/// Names of columns that say how many things a row stands for.
const COUNTS: &[&str] =
    &["units", "quantity", "qty", "pieces", "items", "count", "copies", "number", "amount"];
/// Parts of the names of columns that hold money.
pub(super) const PRICED: &[&str] = &[
    "amount", "eur", "usd", "gbp", "price", "cost", "total", "sum", "value", "fee", "revenue", "paid", "net",
    "gross", "sales",
];

/// A reading without its conditions.
pub(super) struct Wanted {
    pub base: usize,
    pub compute: Compute,
    pub keys: Vec<Key>,
    pub rank: Option<Rank>,
    pub doubts: Vec<String>,
}

impl Wanted {
    pub(super) fn new(base: usize, compute: Compute) -> Self {
        Self { base, compute, keys: Vec::new(), rank: None, doubts: Vec::new() }
    }

    pub(super) fn with(mut self, conditions: Vec<Condition>, marked: &Marked<'_>) -> Reading {
        if self.compute == Compute::Count {
            self.of_another_table(&conditions, marked);
        }
        if self.compute == Compute::Share && !conditions.iter().any(|condition| condition.is_part) {
            self.doubts.push("it isn't clear of what the share is asked".to_owned());
        }
        if let Some(condition) = conditions.iter().find(|condition| condition.columns.is_empty()) {
            self.doubts.push(format!("no column fits {:?}", condition.test));
        }
        let Self { base, compute, keys, rank, doubts } = self;
        Reading { base, compute, keys, rank, conditions, doubts, unknown: Vec::new() }
    }

    /// "How many customers ordered in May" counts different customers of the orders, not rows.
    fn of_another_table(&mut self, conditions: &[Condition], marked: &Marked<'_>) {
        let is_own = |condition: &Condition| {
            condition.columns.iter().any(|at| at.0 == self.base) || matches!(condition.test, Test::Without(_))
        };
        let Some(other) =
            conditions.iter().find(|condition| !is_own(condition)).and_then(|one| one.columns.first())
        else {
            return;
        };
        let pairs = marked.attached.joins.iter().filter(|pair| {
            pair.iter().any(|end| end.0 == other.0) && pair.iter().any(|end| end.0 == self.base)
        });
        let Some(own) = pairs.flat_map(|pair| pair.iter()).find(|end| end.0 == self.base) else { return };
        if marked.attached.is_unique(*own) {
            let pair = marked
                .attached
                .joins
                .iter()
                .find(|pair| pair.contains(own) && pair.iter().any(|end| end.0 == other.0));
            if let Some(key) = pair.and_then(|pair| pair.iter().find(|end| end.0 == other.0)) {
                (self.base, self.compute) = (other.0, Compute::Distinct(*key));
            }
        }
    }
}

/// `Err` holds the words for what is measured, if no column fits them.
pub(super) fn wanted(marked: &Marked<'_>, measured: Option<ColumnAt>) -> Result<Wanted, Option<String>> {
    let find = Find { marked, measured };
    if marked.has(Op::Share) {
        return find.share();
    }
    let mut wanted = match marked.first(|op| matches!(op, Op::Extreme { .. })) {
        Some(said) => find.extreme(said.op, said.to)?,
        None => find.aggregate()?,
    };
    find.groups(&mut wanted);
    Ok(wanted)
}

pub(super) struct Find<'m, 'a> {
    pub marked: &'m Marked<'a>,
    pub measured: Option<ColumnAt>,
}

impl Find<'_, '_> {
    fn share(&self) -> Result<Wanted, Option<String>> {
        let base = self.counted_table().or_else(|| self.only_table()).ok_or(None)?;
        Ok(Wanted::new(base, Compute::Share))
    }

    /// A number of all rows, or of each group; or the rows themselves.
    fn aggregate(&self) -> Result<Wanted, Option<String>> {
        let first = |op: Op| self.marked.first(|other| other == op);
        if let Some(said) = first(Op::Average).or_else(|| first(Op::Median)) {
            let column = self.measure(&self.marked.phrase(said.to))?;
            let compute =
                if said.op == Op::Average { Compute::Average(column) } else { Compute::Median(column) };
            return Ok(Wanted::new(column.0, compute));
        }
        if let Some(said) = first(Op::HowMany) {
            return self.count(said.to);
        }
        if let Some(said) = first(Op::HowMuch).or_else(|| first(Op::Sum)) {
            let column = self.measure(&self.marked.phrase(said.to))?;
            let name = &self.marked.attached.column(column).name;
            let is_rate =
                name.contains("unit_price") || name.split('_').any(|part| ["rate", "per"].contains(&part));
            let doubts = is_rate.then(|| format!("a sum of {name} may not be what is meant"));
            return Ok(Wanted {
                doubts: doubts.into_iter().collect(),
                ..Wanted::new(column.0, Compute::Sum(column))
            });
        }
        self.rows()
    }

    /// "How many X": a sum of a column of numbers, different values of another column, or rows.
    fn count(&self, from: usize) -> Result<Wanted, Option<String>> {
        let phrase = self.marked.phrase(from);
        let named = || phrase.names.iter().map(|number| &self.marked.names[*number]);
        // "How many trips cost more than 750" counts trips.
        let is_rows =
            |name: &Name| name.table.is_some() && !name.columns.iter().any(|at| self.marked.is_measure(*at));
        let head = match named().position(is_rows) {
            Some(at) if at + 1 < phrase.names.len() => named().nth(at),
            _ => named().next_back(),
        };
        let mut doubts: Vec<String> =
            phrase.unknown.iter().map(|word| format!("nothing is called \"{word}\"")).collect();
        if let Some(name) = head {
            let measures: Vec<ColumnAt> =
                name.columns.iter().copied().filter(|at| self.marked.is_measure(*at)).collect();
            // "How many visitors" of a table `visitors` with a column `visitors` is a sum.
            if let Some(table) = name.table.filter(|_| measures.len() != 1) {
                return Ok(Wanted { doubts, ..Wanted::new(table, Compute::Count) });
            }
            match (&measures[..], &name.columns[..]) {
                ([column], _) => {
                    return Ok(Wanted { doubts, ..Wanted::new(column.0, Compute::Sum(*column)) });
                }
                ([], [column, ..]) => {
                    let base = self.only_table().unwrap_or(column.0);
                    let column = self.in_table(&name.columns, base).unwrap_or(*column);
                    return Ok(Wanted { doubts, ..Wanted::new(column.0, Compute::Distinct(column)) });
                }
                _ => {
                    return Err(Some(
                        self.marked.text
                            [self.marked.words[name.from].from..self.marked.words[name.to - 1].to]
                            .to_owned(),
                    ));
                }
            }
        }
        if let Some(column) = self.measured.filter(|_| !phrase.unknown.is_empty()) {
            return Ok(Wanted { doubts, ..Wanted::new(column.0, Compute::Sum(column)) });
        }
        if phrase.unknown.is_empty() {
            // "How many were late": rows, of whatever there is. "How many kettles" may be in a column, though.
            let table = self.only_table().or_else(|| self.counted_table()).ok_or(None)?;
            let counts = |at: &ColumnAt| COUNTS.contains(&self.marked.attached.column(*at).name.as_str());
            let column = self.marked.measures(table).into_iter().find(counts).filter(|_| phrase.to > from);
            return Ok(match column {
                Some(column) => {
                    let doubts = vec!["it isn't clear whether rows are counted".to_owned()];
                    Wanted { doubts, ..Wanted::new(table, Compute::Sum(column)) }
                }
                None => Wanted::new(table, Compute::Count),
            });
        }
        let table = self.only_table().ok_or(None)?;
        doubts.push("it isn't clear what is counted".to_owned());
        Ok(Wanted { doubts, ..Wanted::new(table, Compute::Count) })
    }

    /// "Which X …": the different values of columns.
    fn rows(&self) -> Result<Wanted, Option<String>> {
        let said = self.marked.first(|op| matches!(op, Op::Which | Op::Who | Op::When)).ok_or(None)?;
        // "What is the status of …".
        let mut from = said.to;
        while ["is", "are", "was", "were", "the", "s"].contains(&self.marked.word(from)) {
            from += 1;
        }
        let keys = self.asked(said.op, from).ok_or(None)?;
        let base = match keys[0] {
            Key::Column(at) | Key::Time(_, at) => at.0,
        };
        Ok(Wanted { keys, ..Wanted::new(base, Compute::Nothing) })
    }

    /// What stands behind "which" or "who", as columns.
    pub(super) fn asked(&self, op: Op, from: usize) -> Option<Vec<Key>> {
        match op {
            Op::Who => self.people().map(|at| vec![Key::Column(at)]),
            Op::When => self.dates().map(|at| vec![Key::Column(at)]),
            _ => {
                let from = if small_number(self.marked.word(from)).is_some() { from + 1 } else { from };
                let phrase = self.marked.phrase(from);
                let mut names = phrase.names.iter().filter(|number| !self.marked.qualifiers.contains(number));
                let name = names.next_back().map(|number| &self.marked.names[*number]);
                match name {
                    Some(name) => match name.table {
                        Some(table) => Some(vec![Key::Column(self.label(table))]),
                        None => self
                            .named_rows(&name.columns)
                            .or_else(|| self.key(&name.columns))
                            .map(|key| vec![key]),
                    },
                    None => self.time(from).map(|key| vec![key]),
                }
            }
        }
    }
}
