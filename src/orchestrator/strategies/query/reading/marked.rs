//! A goal with everything in it that has a meaning for the tables.

use super::dates::{Times, times};
use super::names::{Name, names, row_word};
use super::ops::{Op, Said, operations};
use super::values::{Mention, mentions};
use super::words::{Word, is_glue, stem, words_of};
use crate::attached::{Attached, ColumnAt};
use bandmaster_tools::tables::Kind;

pub(super) struct Marked<'a> {
    pub text: &'a str,
    pub attached: &'a Attached,
    pub words: Vec<Word>,
    pub times: Times,
    pub mentions: Vec<Mention>,
    pub names: Vec<Name>,
    pub said: Vec<Said>,
    /// Numbers of the names that only say to which column a value beside them belongs.
    pub qualifiers: Vec<usize>,
}

/// What stands behind an operation, up to the next word that only holds the sentence together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Phrase {
    /// Indexes of the names of tables and columns that the phrase has.
    pub names: Vec<usize>,
    /// Words without a meaning for the tables.
    pub unknown: Vec<String>,
    pub to: usize,
}

impl<'a> Marked<'a> {
    pub(super) fn of(text: &'a str, attached: &'a Attached) -> Self {
        let words = words_of(text);
        let times = times(text, &words, only_year(attached));
        let mut claimed = vec![false; words.len()];
        times.claimed.iter().for_each(|at| claimed[*at] = true);
        let mentions = mentions(&words, &claimed, attached);
        mentions.iter().for_each(|mention| claimed[mention.from..mention.to].fill(true));
        let said: Vec<Said> = operations(&words).into_iter().filter(|said| !claimed[said.from]).collect();
        for said in &said {
            // A column may well be called "share" or "name", but not "how many".
            let is_column = matches!(said.op, Op::Which | Op::Share | Op::Different);
            claimed[said.from..said.to].fill(!is_column);
        }
        let names = names(&words, &claimed, attached);
        let mut marked = Self { text, attached, words, times, mentions, names, said, qualifiers: Vec::new() };
        marked.qualify();
        marked
    }

    /// A value beside the name of its column is of that column: "region East", "high priority".
    fn qualify(&mut self) {
        for (number, name) in self.names.iter().enumerate() {
            for mention in &mut self.mentions {
                let gap = if name.to <= mention.from { name.to..mention.from } else { mention.to..name.from };
                let is_after = name.from >= mention.to;
                let joins = |word: &Word| {
                    ["is", "of", "the", "was", "are", "a"].contains(&word.text.as_str()) && !word.ends
                };
                let is_near = gap.start <= gap.end
                    && gap.len() <= if is_after { 0 } else { 2 }
                    && self.words[gap].iter().all(joins);
                if !is_near {
                    continue;
                }
                let own: Vec<_> =
                    mention.meant.iter().filter(|(at, _)| name.columns.contains(at)).cloned().collect();
                if !own.is_empty() {
                    mention.meant = own;
                    self.qualifiers.push(number);
                } else if let Some(table) = name.table.filter(|_| is_after) {
                    let own: Vec<_> = mention.meant.iter().filter(|(at, _)| at.0 == table).cloned().collect();
                    mention.meant = if own.is_empty() { mention.meant.clone() } else { own };
                }
            }
        }
    }

    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |word| word.text.as_str())
    }

    pub(super) fn has(&self, op: Op) -> bool {
        self.said.iter().any(|said| said.op == op)
    }

    pub(super) fn first(&self, is: impl Fn(Op) -> bool) -> Option<&Said> {
        self.said.iter().find(|said| is(said.op))
    }

    pub(super) fn name_at(&self, at: usize) -> Option<usize> {
        self.names.iter().position(|name| (name.from..name.to).contains(&at))
    }

    pub(super) fn mention_at(&self, at: usize) -> Option<&Mention> {
        self.mentions.iter().find(|mention| (mention.from..mention.to).contains(&at))
    }

    pub(super) fn is_time(&self, at: usize) -> bool {
        self.times.claimed.contains(&at)
    }

    pub(super) fn operation_at(&self, at: usize) -> Option<&Said> {
        self.said.iter().find(|said| (said.from..said.to).contains(&at))
    }

    /// The phrase that begins with the word `from`.
    pub(super) fn phrase(&self, from: usize) -> Phrase {
        let mut phrase = Phrase { to: from, ..Phrase::default() };
        let mut at = from;
        // "of all our", "the number of".
        while at == phrase.to
            && at > 0
            && !self.words[at - 1].ends
            && ([
                "of",
                "the",
                "all",
                "our",
                "my",
                "their",
                "a",
                "an",
                "single",
                "individual",
                "different",
                "distinct",
                "unique",
                "in",
            ]
            .contains(&self.word(at))
                || self.operation_at(at).is_some_and(|said| {
                    matches!(said.op, Op::Sum | Op::Different | Op::HowMany | Op::Average)
                }))
            && self.name_at(at).is_none()
        {
            at += 1;
            phrase.to = at;
        }
        while at < self.words.len() && (at == 0 || !self.words[at - 1].ends || at == from) {
            if let Some(name) = self.name_at(at) {
                // "Which customer ordered": what follows is no part of the name.
                let is_date =
                    |at: &ColumnAt| matches!(self.attached.column(*at).kind, Kind::Date | Kind::DateTime);
                let of_dates =
                    !self.names[name].columns.is_empty() && self.names[name].columns.iter().all(is_date);
                let is_verb = self.word(at).ends_with("ed") || of_dates;
                if is_verb && !phrase.names.is_empty() {
                    break;
                }
                phrase.names.push(name);
                at = self.names[name].to;
            } else if let Some(mention) = self.mention_at(at) {
                at = mention.to;
            } else if is_glue(self.word(at))
                || self.operation_at(at).is_some()
                || self.is_time(at)
                || !phrase.names.is_empty()
            {
                break;
            } else {
                phrase.unknown.push(self.word(at).to_owned());
                at += 1;
            }
        }
        phrase.to = at;
        phrase
    }

    /// Columns of numbers in which something is counted or measured: no keys, no years, nothing that tells rows apart.
    pub(super) fn measures(&self, table: usize) -> Vec<ColumnAt> {
        let columns = self.attached.tables[table].columns.iter().enumerate();
        let is_key = |at: ColumnAt| self.attached.joins.iter().any(|pair| pair.contains(&at));
        // A column `loan` of a table of loans with another number in every row numbers the loans.
        let rows = stem(&row_word(&self.attached.tables[table].name));
        let numbers_rows =
            |at: ColumnAt| stem(&self.attached.column(at).name) == rows && self.attached.is_unique(at);
        let found = columns.filter(|(column, of)| {
            let at = (table, *column);
            let is_name = |ending: &str| of.name == ending || of.name.ends_with(&format!("_{ending}"));
            let is_label = ["id", "no", "nr", "number", "code", "zip", "postcode", "year", "key"]
                .iter()
                .any(|ending| is_name(ending));
            match of.kind {
                Kind::Decimal => !is_label,
                Kind::Integer => !is_label && !is_key(at) && !numbers_rows(at),
                _ => false,
            }
        });
        found.map(|(column, _)| (table, column)).collect()
    }

    pub(super) fn is_measure(&self, at: ColumnAt) -> bool {
        self.measures(at.0).contains(&at)
    }
}

/// The year of all dates of the tables, if they have only one.
fn only_year(attached: &Attached) -> Option<i32> {
    let columns = attached.tables.iter().flat_map(|table| &table.columns);
    let dated = columns.filter(|column| matches!(column.kind, Kind::Date | Kind::DateTime));
    let mut years = dated.filter_map(|column| column.range.as_ref()).flat_map(|(first, last)| [first, last]);
    let year = |text: &String| text.get(..4).and_then(|year| year.parse::<i32>().ok());
    let first = year(years.next()?)?;
    years.all(|other| year(other) == Some(first)).then_some(first)
}
