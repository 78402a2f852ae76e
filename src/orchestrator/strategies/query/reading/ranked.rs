//! What is measured, what is the most or the least of it, and for which groups.

use super::marked::Phrase;
use super::ops::{Op, small_number};
use super::wanted::{Find, MONEY, PRICED, Wanted};
use super::{Compute, Key, Rank};
use crate::attached::ColumnAt;

impl Find<'_, '_> {
    /// The column of numbers that a phrase names, or else the goal, or else the only one that there is. `Err` holds the
    /// phrase if none fits.
    pub(super) fn measure(&self, phrase: &Phrase) -> Result<ColumnAt, Option<String>> {
        let in_phrase = phrase.names.iter().rev().map(|number| &self.marked.names[*number]);
        for name in in_phrase {
            match self.measures_of(&name.columns)[..] {
                [] => {}
                [only] => return Ok(only),
                _ => return Err(Some(self.written(name.from, name.to))),
            }
        }
        let unnamed: Vec<&str> =
            phrase.unknown.iter().map(String::as_str).filter(|word| !MONEY.contains(word)).collect();
        if !unnamed.is_empty() {
            return self.measured.ok_or_else(|| Some(unnamed.join(" ")));
        }
        let limited: Vec<ColumnAt> =
            super::numbers::limits(self.marked).iter().filter_map(|limit| limit.column).collect();
        let mut named: Vec<ColumnAt> = self
            .marked
            .names
            .iter()
            .flat_map(|name| self.measures_of(&name.columns))
            .filter(|at| !limited.contains(at))
            .collect();
        named.sort();
        named.dedup();
        if let [only] = named[..] {
            return Ok(only);
        }
        let tables = 0..self.marked.attached.tables.len();
        let all: Vec<ColumnAt> = tables.flat_map(|table| self.marked.measures(table)).collect();
        if let [only] = all[..] {
            return Ok(only);
        }
        let priced = |at: &ColumnAt| {
            let column = self.marked.attached.column(*at);
            PRICED.iter().any(|part| column.name.split('_').any(|word| word == *part))
                || ["€", "$", "£"].contains(&column.unit.as_str())
        };
        let of_money: Vec<ColumnAt> = all.iter().copied().filter(priced).collect();
        match of_money[..] {
            [only] if self.speaks_of_money() || self.marked.has(Op::Sum) => Ok(only),
            _ => self.measured.ok_or_else(|| Some("what is measured".to_owned())),
        }
    }

    fn measures_of(&self, columns: &[ColumnAt]) -> Vec<ColumnAt> {
        columns.iter().copied().filter(|at| self.marked.is_measure(*at)).collect()
    }

    fn written(&self, from: usize, to: usize) -> String {
        let words = &self.marked.words;
        self.marked.text[words[from].from..words[to - 1].to].to_owned()
    }

    fn speaks_of_money(&self) -> bool {
        const VERBS: &[&str] = &[
            "spend",
            "spent",
            "paid",
            "pay",
            "cost",
            "costs",
            "sold",
            "earn",
            "earned",
            "expensive",
            "money",
            "invoiced",
            "billed",
        ];
        let is_money = |at: usize| {
            let word = self.marked.word(at);
            VERBS.contains(&word) || MONEY.contains(&word)
        };
        self.marked.has(Op::HowMuch) || (0..self.marked.words.len()).any(is_money)
    }

    /// The most or least of something: of groups, of single rows, or of all.
    pub(super) fn extreme(&self, op: Op, behind: usize) -> Result<Wanted, Option<String>> {
        let Op::Extreme { largest, counts } = op else { return Err(None) };
        let counted = small_number(self.marked.word(behind));
        let before = behind.checked_sub(2).and_then(|at| small_number(self.marked.word(at)));
        let which = self.marked.first(|op| matches!(op, Op::Which | Op::Who));
        let mut rows = counted.or(before).unwrap_or(1);
        let mut keys = which.and_then(|said| self.asked(said.op, said.to));
        let mut phrase = self.marked.phrase(if counted.is_some() { behind + 1 } else { behind });
        // "Which three customers", "list the three customers".
        let number = which.and_then(|said| {
            let the = usize::from(self.marked.word(said.to) == "the");
            small_number(self.marked.word(said.to + the))
        });
        rows = number.unwrap_or(rows);
        // "the top 3 carriers by weight", "the five regions with the most orders".
        if keys.is_none()
            && (counted.is_some() || before.is_some() || self.marked.word(behind.wrapping_sub(1)) == "top")
        {
            keys = self.asked(Op::Which, phrase_start(&phrase, self));
            phrase = self.marked.first(|op| op == Op::By).map_or(phrase, |said| self.marked.phrase(said.to));
        }
        if keys.is_none() && which.is_none() {
            keys = before.and_then(|_| self.asked(Op::Which, behind));
        }
        let (compute, base, mut doubts) = self.ranked(&phrase, counts, largest, keys.as_deref())?;
        let Some(keys) = keys else {
            return Ok(Wanted { doubts, ..self.of_all(compute, base, largest) });
        };
        let rank = Rank { largest, rows, of_rows: self.single_row(&keys, compute) };
        if rank.of_rows.is_none() && !counts && matches!(compute, Compute::Sum(_)) && !self.says_sum() {
            doubts.push("it may be the largest single value or the largest sum".to_owned());
        }
        let attached = self.marked.attached;
        let is_shared =
            |key: &Key| matches!(key, Key::Column(at) if at.0 != base && !attached.is_unique(*at));
        let names_rows = keys.iter().any(|key| matches!(key, Key::Column(at) if self.label(at.0) == *at));
        if names_rows && keys.iter().any(is_shared) {
            doubts.push("several rows have the same name".to_owned());
        }
        Ok(Wanted { keys, rank: Some(rank), doubts, ..Wanted::new(base, compute) })
    }

    fn says_sum(&self) -> bool {
        self.marked.has(Op::Sum) || self.marked.has(Op::HowMuch) || self.marked.has(Op::HowMany)
    }

    /// What groups or rows are ranked by.
    fn ranked(
        &self,
        phrase: &Phrase,
        counts: bool,
        largest: bool,
        keys: Option<&[Key]>,
    ) -> Result<(Compute, usize, Vec<String>), Option<String>> {
        let mut doubts: Vec<String> = Vec::new();
        let head = phrase.names.last().map(|number| &self.marked.names[*number]);
        let is_key = |table: usize| {
            keys.is_some_and(|keys| {
                keys.iter()
                    .any(|key| matches!(key, Key::Column(at) if at.0 == table && self.label(table) == *at))
            })
        };
        if let Some(table) =
            head.and_then(|name| name.table).filter(|table| !is_key(*table) || self.single(*table))
        {
            let has_measure = head.is_some_and(|name| !self.measures_of(&name.columns).is_empty());
            if counts && !has_measure {
                return Ok((Compute::Count, table, doubts));
            }
        }
        let is_often = matches!(
            phrase.unknown.first().map(String::as_str),
            Some("often" | "frequently" | "frequent" | "common")
        );
        if counts && is_often {
            let of_key = keys.and_then(|keys| keys.first()).map(|key| match key {
                Key::Column(at) | Key::Time(_, at) => at.0,
            });
            return Ok((Compute::Count, of_key.or_else(|| self.only_table()).ok_or(None)?, doubts));
        }
        let is_vague = phrase.names.is_empty() && phrase.unknown.is_empty();
        if counts && is_vague && self.marked.has(Op::HowMany) {
            let table = self.counted_table().or_else(|| self.only_table()).ok_or(None)?;
            return Ok((Compute::Count, table, doubts));
        }
        if counts && is_vague && !self.speaks_of_money() && !self.marked.has(Op::Sum) {
            doubts.push("it isn't clear what there is the most of".to_owned());
        }
        let column = self.measure(phrase)?;
        let compute = match (self.marked.has(Op::Average), keys) {
            (true, _) => Compute::Average(column),
            (false, None) if largest => Compute::Largest(column),
            (false, None) => Compute::Smallest(column),
            _ => Compute::Sum(column),
        };
        Ok((compute, column.0, doubts))
    }

    fn single(&self, table: usize) -> bool {
        self.only_table() == Some(table)
    }

    fn of_all(&self, compute: Compute, base: usize, largest: bool) -> Wanted {
        let mut wanted = Wanted::new(base, compute);
        if let Compute::Count | Compute::Average(_) = compute {
            let what = if largest { "most" } else { "least" };
            wanted.doubts.push(format!("it isn't clear of what there is the {what}"));
        }
        wanted
    }

    /// The column by which single rows are ranked, if each row is its own group.
    fn single_row(&self, keys: &[Key], compute: Compute) -> Option<ColumnAt> {
        let (Compute::Sum(column) | Compute::Average(column)) = compute else { return None };
        match keys {
            [Key::Column(key)] if key.0 == column.0 && self.marked.attached.is_unique(*key) => Some(column),
            _ => None,
        }
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

    /// "per X", "by X", "each X" make groups, if X is a column and not the rows themselves.
    pub(super) fn groups(&self, wanted: &mut Wanted) {
        for said in self.marked.said.iter().filter(|said| said.op == Op::By) {
            let Some(number) = self.marked.name_at(said.to) else {
                let time = self.time(said.to);
                let is_group = self.marked.word(said.from) != "by" || time.is_some();
                if let Some(key) =
                    time.filter(|_| wanted.compute != Compute::Nothing && wanted.rank.is_none())
                {
                    wanted.keys.push(key);
                } else if is_group && self.marked.mention_at(said.to).is_none() {
                    wanted.doubts.push(format!("no column is called \"{}\"", self.marked.word(said.to)));
                }
                continue;
            };
            let name = &self.marked.names[number];
            let is_measure =
                self.measures_of(&name.columns).len() == name.columns.len() && name.table.is_none();
            if is_measure || self.marked.qualifiers.contains(&number) || wanted.compute == Compute::Nothing {
                continue;
            }
            let key = match name.table {
                Some(table) if table == wanted.base => continue,
                Some(table) => Key::Column(self.label(table)),
                None => Key::Column(self.in_table(&name.columns, wanted.base).unwrap_or(name.columns[0])),
            };
            if wanted.rank.is_some() && !wanted.keys.contains(&key) {
                wanted.doubts.push("the most of each group is asked for".to_owned());
            } else if !wanted.keys.contains(&key) {
                wanted.keys.push(key);
            }
        }
        if wanted.rank.is_none() && wanted.compute != Compute::Nothing && wanted.keys.is_empty() {
            self.asked_groups(wanted);
        }
    }

    /// "Which regions have how many orders".
    fn asked_groups(&self, wanted: &mut Wanted) {
        let said = self.marked.first(|op| matches!(op, Op::Which | Op::Who));
        let keys = said.and_then(|said| self.asked(said.op, said.to)).unwrap_or_default();
        let is_measure = |key: &Key| matches!(key, Key::Column(at) if self.marked.is_measure(*at));
        if !keys.is_empty() && !keys.iter().any(is_measure) {
            wanted.doubts.push("it isn't clear whether groups are asked for".to_owned());
            wanted.keys = keys;
        }
    }
}

/// The first word of a phrase.
fn phrase_start(phrase: &Phrase, find: &Find<'_, '_>) -> usize {
    phrase.names.first().map_or(phrase.to, |number| find.marked.names[*number].from)
}
