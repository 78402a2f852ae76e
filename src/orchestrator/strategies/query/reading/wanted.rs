//! What a goal wants computed, of which table, and for what.

use super::marked::Marked;
use super::ops::{Op, small_number};
use super::{Compute, Condition, Key, Rank, Reading, Test};
use crate::attached::ColumnAt;
use bandmaster_tools::tables::Kind;

/// Words for money, of which any column of amounts may be meant.
pub(super) const MONEY: &[&str] = &[
    "money", "cash", "revenue", "turnover", "income", "spending", "sum", "amount", "amounts", "value",
    "worth",
];
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
            return Ok(Wanted::new(column.0, Compute::Sum(column)));
        }
        self.rows()
    }

    /// "How many X": a sum of a column of numbers, different values of another column, or rows.
    fn count(&self, from: usize) -> Result<Wanted, Option<String>> {
        let phrase = self.marked.phrase(from);
        let head = phrase.names.last().map(|number| &self.marked.names[*number]);
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
            // "How many were late": rows, of whatever there is.
            let table = self.only_table().or_else(|| self.counted_table()).ok_or(None)?;
            return Ok(Wanted::new(table, Compute::Count));
        }
        let table = self.only_table().ok_or_else(|| Some(phrase.unknown.join(" ")))?;
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
                        None => self.key(&name.columns).map(|key| vec![key]),
                    },
                    None => self.time(from).map(|key| vec![key]),
                }
            }
        }
    }

    fn key(&self, columns: &[ColumnAt]) -> Option<Key> {
        let base = self.counted_table().or_else(|| self.only_table());
        let column =
            base.and_then(|base| self.in_table(columns, base)).or_else(|| columns.first().copied())?;
        Some(Key::Column(column))
    }

    /// "month", "weekday" and the like, of the only date column.
    pub(super) fn time(&self, at: usize) -> Option<Key> {
        let function = match self.marked.word(at) {
            "month" | "months" => "month",
            "year" | "years" => "year",
            "quarter" | "quarters" => "quarter",
            "weekday" | "weekdays" => "weekday",
            "day" | "days" | "date" => "date",
            _ => return None,
        };
        self.dates().map(|at| Key::Time(function, at))
    }

    fn dates(&self) -> Option<ColumnAt> {
        self.only(|column| matches!(column.kind, Kind::Date | Kind::DateTime))
    }

    fn people(&self) -> Option<ColumnAt> {
        const PEOPLE: &[&str] = &[
            "person",
            "employee",
            "name",
            "member",
            "author",
            "driver",
            "customer",
            "teacher",
            "student",
            "staff",
            "worker",
            "seller",
            "salesperson",
            "rep",
            "owner",
            "assignee",
            "agent",
            "player",
            "user",
            "doctor",
            "guide",
            "volunteer",
        ];
        self.only(|column| {
            column.kind == Kind::Text
                && PEOPLE
                    .iter()
                    .any(|people| column.name == *people || column.name.ends_with(&format!("_{people}")))
        })
    }

    fn only(&self, is: impl Fn(&bandmaster_tools::tables::Column) -> bool) -> Option<ColumnAt> {
        let tables = self.marked.attached.tables.iter().enumerate();
        let mut all = tables.flat_map(|(table, of)| (0..of.columns.len()).map(move |column| (table, column)));
        let first = all.by_ref().find(|at| is(self.marked.attached.column(*at)))?;
        all.all(|at| !is(self.marked.attached.column(at))).then_some(first)
    }

    pub(super) fn in_table(&self, columns: &[ColumnAt], table: usize) -> Option<ColumnAt> {
        columns.iter().copied().find(|at| at.0 == table)
    }

    /// The column that tells the rows of a table apart for people.
    pub(super) fn label(&self, table: usize) -> ColumnAt {
        let columns = &self.marked.attached.tables[table].columns;
        let named = columns.iter().position(|column| {
            ["name", "title", "label"]
                .iter()
                .any(|name| column.name == *name || column.name.ends_with(&format!("_{name}")))
        });
        let is_key = |at: ColumnAt| self.marked.attached.joins.iter().any(|pair| pair.contains(&at));
        let unique = |text: bool| {
            (0..columns.len()).find(|at| {
                let own = (table, *at);
                (columns[*at].kind == Kind::Text) == text
                    && is_key(own) != text
                    && self.marked.attached.is_unique(own)
            })
        };
        (
            table,
            named
                .or_else(|| unique(true))
                .or_else(|| unique(false))
                .or_else(|| (0..columns.len()).find(|at| self.marked.attached.is_unique((table, *at))))
                .unwrap_or(0),
        )
    }

    pub(super) fn only_table(&self) -> Option<usize> {
        (self.marked.attached.tables.len() == 1).then_some(0)
    }

    /// The first table that the goal names.
    pub(super) fn counted_table(&self) -> Option<usize> {
        self.marked.names.iter().find_map(|name| name.table)
    }
}
