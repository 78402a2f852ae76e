//! The conditions that a goal names: values, dates, limits, flags, and what rows are without.

use super::marked::Marked;
use super::numbers::limits;
use super::{Condition, Test};
use crate::attached::ColumnAt;
use bandmaster_tools::tables::Kind;

/// Words that leave out what stands behind them.
const WITHOUT: &[&str] = &[
    "without",
    "except",
    "excluding",
    "exclude",
    "not",
    "no",
    "ignoring",
    "ignore",
    "but",
    "minus",
    "non",
    "never",
    "omit",
    "omitting",
    "isn",
    "aren",
    "wasn",
    "weren",
    "didn",
    "neither",
    "nor",
    "lacking",
    "skip",
    "skipping",
    "exclusive",
];
/// Words that leave out together with "out" or "from".
const LEAVE: &[&str] = &["leave", "leaving", "left", "apart", "aside", "other", "besides"];

/// All conditions. `base` is the table whose rows are counted, if it is known.
pub(super) fn conditions(marked: &Marked<'_>, base: Option<usize>) -> Vec<Condition> {
    let mut conditions = of_values(marked, base);
    if !marked.times.spans.is_empty() {
        let columns = date_columns(marked, base);
        if !columns.is_empty() {
            conditions.push(Condition {
                columns,
                test: Test::Within(marked.times.spans.clone()),
                is_part: false,
            });
        }
    }
    for limit in limits(marked) {
        let table = base.unwrap_or(0);
        let columns = limit.column.map_or_else(|| marked.measures(table), |column| vec![column]);
        conditions.push(Condition { columns, test: Test::Compare(limit.comparison), is_part: false });
    }
    conditions.extend(of_names(marked));
    conditions
}

/// Values that are named, those of one column together.
fn of_values(marked: &Marked<'_>, base: Option<usize>) -> Vec<Condition> {
    let part = part_from(marked);
    let mut conditions: Vec<Condition> = Vec::new();
    let mut negated_before: Option<(usize, bool)> = None;
    for mention in &marked.mentions {
        let joined =
            negated_before.filter(|(to, _)| is_joined(marked, *to, mention.from)).map(|(_, negated)| negated);
        let negated = is_left_out(marked, mention.from, mention.to) || joined == Some(true);
        negated_before = Some((mention.to, negated));
        let is_part = part.is_some_and(|(from, to)| (from..to).contains(&mention.from));
        let value = mention.meant[0].1.clone();
        let columns = columns_of(marked, base, &mention.meant);
        let same = conditions.iter_mut().find(|one| {
            one.columns == columns
                && one.is_part == is_part
                && matches!(&one.test, Test::OneOf { negated: other, .. } if *other == negated)
        });
        match same {
            Some(Condition { test: Test::OneOf { values, .. }, .. }) => {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            _ => conditions.push(Condition {
                columns,
                test: Test::OneOf { values: vec![value], negated },
                is_part,
            }),
        }
    }
    conditions
}

/// The columns that have a value, those of the table whose rows are counted first. Keys are least likely meant.
fn columns_of(marked: &Marked<'_>, base: Option<usize>, meant: &[(ColumnAt, String)]) -> Vec<ColumnAt> {
    let mut columns: Vec<ColumnAt> = meant.iter().map(|(at, _)| *at).collect();
    columns.sort();
    columns.dedup();
    // The same key in two tables joins them: a condition on either is one on both.
    let joined = |one: ColumnAt, other: ColumnAt| {
        marked.attached.joins.iter().any(|pair| pair.contains(&one) && pair.contains(&other))
    };
    columns.sort_by_key(|at| (Some(at.0) != base, *at));
    let first = columns[0];
    columns.retain(|at| *at == first || !joined(first, *at));
    columns
}

/// Whether two mentions are listed: "paid or open", "East, West".
fn is_joined(marked: &Marked<'_>, to: usize, from: usize) -> bool {
    from >= to
        && (to..from).all(|at| ["and", "or", "nor", "the"].contains(&marked.word(at)))
        && from - to <= 2
}

/// Whether the words around a mention leave it out.
fn is_left_out(marked: &Marked<'_>, from: usize, to: usize) -> bool {
    let mut at = from;
    let mut steps = 0;
    while at > 0 && steps < 4 {
        at -= 1;
        let word = marked.word(at);
        if marked.words[at].ends && steps > 0 {
            break;
        }
        if word == "but" {
            // "all but cancelled" leaves out, "but only cancelled" does not.
            return at > 0 && ["all", "everything", "any", "anything"].contains(&marked.word(at - 1))
                || marked.word(at + 1) == "not";
        }
        if WITHOUT.contains(&word) {
            return !(word == "not" && marked.word(at + 1) == "only");
        }
        if LEAVE.contains(&word) && ["out", "from", "than", "aside"].contains(&marked.word(at + 1)) {
            return true;
        }
        if word == "out"
            || word == "from"
            || word == "counting"
            || word == "including"
            || word == "count"
            || word == "than"
        {
            steps += 1;
            continue;
        }
        let is_light = [
            "the", "any", "ones", "those", "that", "are", "were", "is", "was", "been", "be", "t", "of",
            "with", "all", "a",
        ]
        .contains(&word);
        if !is_light || marked.words[at].ends {
            break;
        }
        steps += 1;
    }
    let behind: Vec<&str> = (to..marked.words.len().min(to + 5)).map(|at| marked.word(at)).collect();
    let at = behind.iter().position(|word| ["excluded", "omitted", "aside", "ignored", "out"].contains(word));
    at.is_some_and(|at| {
        behind[..at].iter().enumerate().all(|(place, word)| {
            ["ones", "orders", "are", "being", "left", "is", "to", "be"].contains(word)
                || (place == 0 && marked.name_at(to).is_some())
        })
    })
}

/// The words of the part of which a share is asked: those behind the verb in "what percentage of the orders were
/// paid", or those before the second "of" in "the share of paid orders among all".
fn part_from(marked: &Marked<'_>) -> Option<(usize, usize)> {
    let said = marked.first(|op| op == super::ops::Op::Share)?;
    let verb = (said.to..marked.words.len()).find(|at| {
        let verbs =
            ["were", "was", "are", "is", "have", "has", "had", "got", "came", "come", "went", "go", "made"];
        let is_past = marked.word(*at).ends_with("ed") && marked.mention_at(*at).is_none();
        verbs.contains(&marked.word(*at)) || is_past
    })?;
    let end =
        (verb..marked.words.len()).find(|at| marked.words[*at].ends).map_or(marked.words.len(), |at| at + 1);
    Some((verb, end))
}

/// The date columns that may be meant: the one that is named, else those of the table whose rows are counted, else all.
fn date_columns(marked: &Marked<'_>, base: Option<usize>) -> Vec<ColumnAt> {
    let tables = &marked.attached.tables;
    let all: Vec<ColumnAt> = tables
        .iter()
        .enumerate()
        .flat_map(|(table, of)| {
            let dated = of
                .columns
                .iter()
                .enumerate()
                .filter(|(_, column)| matches!(column.kind, Kind::Date | Kind::DateTime));
            dated.map(move |(column, _)| (table, column))
        })
        .collect();
    let of_base: Vec<ColumnAt> = all.iter().copied().filter(|at| Some(at.0) == base).collect();
    let found = if of_base.is_empty() { all } else { of_base };
    let is_named = |at: &ColumnAt| marked.names.iter().any(|name| name.columns.contains(at));
    let named: Vec<ColumnAt> = found.iter().copied().filter(is_named).collect();
    if named.is_empty() { found } else { named }
}

/// Flags ("active customers"), and what rows are without ("tickets without an owner", "customers without orders").
fn of_names(marked: &Marked<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (number, name) in marked.names.iter().enumerate() {
        let is_without = is_left_out(marked, name.from, name.from);
        let flag = name.columns.iter().copied().find(|at| marked.attached.column(*at).kind == Kind::Boolean);
        if let Some(at) = flag {
            conditions.push(Condition { columns: vec![at], test: Test::Is(!is_without), is_part: false });
            continue;
        }
        if !is_without || marked.qualifiers.contains(&number) {
            continue;
        }
        let empty = name.columns.iter().copied().find(|at| marked.attached.column(*at).has_empty);
        if let Some(at) = empty {
            conditions.push(Condition { columns: vec![at], test: Test::Empty, is_part: false });
        } else if let Some(other) = name.table {
            let pairs = marked.attached.joins.iter().filter(|pair| pair.iter().any(|end| end.0 == other));
            let columns: Vec<ColumnAt> =
                pairs.flatten().copied().filter(|end| end.0 != other).take(1).collect();
            if !columns.is_empty() {
                conditions.push(Condition { columns, test: Test::Without(other), is_part: false });
            }
        }
    }
    conditions
}
