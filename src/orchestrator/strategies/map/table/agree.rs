//! Makes a planner's table agree with itself and with the words of the goal: every number of the goal is used, what
//! limits a number says so in the goal, and what the goal orders by is a column.

use bandmaster_tools::calculator::{Aggregate, Decimal};

use super::columns::settle_columns;
use super::conditions::Comparison;
use super::demanded::{add_condition, demand_yes, without_condition};
use super::kinds::settle_kinds;
use super::limits::{Limit, limits};
use super::{COLUMNS_MAX, Combine, Table};
use crate::checks::{numbers_in, stands_in, words};
use crate::plan::{AnswerIs, Column};
use crate::strategies::map::orders::{Field, Relation, orders};
use crate::strategies::map::settle::{self, figures_said};
use crate::strategies::map::slots::Slots;
use crate::topic::{Foreign, Topic, content_words, is_english, share_a_word};

/// Corrects what can be corrected by rule. What no rule can check and a sentence tells better than a cell, such as what
/// a house looks like, is a single fact and no table.
pub(in super::super) fn settle(table: Table, goal: &str) -> Slots {
    let table = agreeing(table, goal);
    let is_told = |column: &Column| matches!(column.kind, AnswerIs::Text | AnswerIs::List | AnswerIs::YesNo);
    let fact = match &table.columns[..] {
        [only] => is_told(only).then_some(only),
        [first, only] => (first.kind == AnswerIs::Name && is_told(only)).then_some(only),
        _ => None,
    };
    match fact.filter(|_| table.only_if.is_empty() && table.limit.is_none()) {
        Some(only) => {
            let orders = |combine: &Combine| matches!(combine, Combine::Ascending | Combine::Descending);
            let combine: Vec<Combine> = table.combine.iter().copied().filter(|one| !orders(one)).collect();
            let combine = if combine.is_empty() { vec![Combine::List] } else { combine };
            let slots = Slots { find: only.name.clone(), answer_is: only.kind, combine, table: None };
            settle::settle(slots, goal)
        }
        None => {
            // A summary of a table is the table.
            let mut table = table;
            table.combine.retain(|combine| *combine != Combine::Summary);
            if table.combine.is_empty() {
                table.combine.push(Combine::List);
            }
            Slots::of_table(table)
        }
    }
}

fn agreeing(mut table: Table, goal: &str) -> Table {
    settle_columns(&mut table, goal);
    let mut seen: Vec<String> = Vec::new();
    table.columns.retain(|column| {
        let name = words(&column.name).join(" ");
        let is_new = !name.is_empty() && !seen.contains(&name);
        seen.push(name);
        is_new
    });
    for column in &mut table.columns {
        column.name = column.name.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    settle_kinds(&mut table, goal);
    settle_conditions(&mut table, goal);
    settle_order(&mut table, goal);
    settle_figures(&mut table, goal);
    demand_yes(&mut table, goal);
    add_condition(&mut table, goal);
    table.columns.truncate(COLUMNS_MAX);
    if table.combine.is_empty() {
        table.combine.push(Combine::List);
    }
    let mut seen: Vec<Combine> = Vec::new();
    table.combine.retain(|combine| {
        let is_new = !seen.contains(combine);
        seen.push(*combine);
        is_new
    });
    table
}

/// A condition names a column, and its value stands in the goal. The comparison is the one that the goal's words say.
fn settle_conditions(table: &mut Table, goal: &str) {
    let limits = limits(goal);
    let columns = &mut table.columns;
    table.only_if.retain_mut(|condition| {
        let said = match condition.number() {
            Some(number) => numbers_in(goal).contains(&number),
            None => condition.value.as_str().is_some_and(|text| is_said(goal, text)),
        };
        if !said {
            return false;
        }
        let dated = condition.value.as_str().map(numbers_in).unwrap_or_default();
        let meant =
            |limit: &&Limit| Some(limit.number) == condition.number() || dated.contains(&limit.number);
        let is = limits.iter().filter(meant).find_map(|limit| limit.is);
        if !matches!(condition.is, Comparison::Unequal) {
            condition.is = is.unwrap_or(condition.is);
        }
        let kind = match condition.value.as_str() {
            Some("yes" | "no") => AnswerIs::YesNo,
            _ if condition.number().is_some() => AnswerIs::Number,
            _ => AnswerIs::Name,
        };
        match column_of(columns, &condition.column) {
            Some(place) => condition.column.clone_from(&columns[place].name),
            None => columns.push(Column { name: condition.column.clone(), kind }),
        }
        true
    });
}

/// Whether the goal says a text, or the numbers of a date.
fn is_said(goal: &str, text: &str) -> bool {
    let numbers = numbers_in(text);
    let dated = !numbers.is_empty() && numbers.iter().any(|number| numbers_in(goal).contains(number));
    stands_in(goal, text) || dated || matches!(text, "yes" | "no")
}

/// The column with a name, or else the only one that shares a word with it.
fn column_of(columns: &[Column], name: &str) -> Option<usize> {
    let same = |column: &Column| words(&column.name) == words(name);
    let wanted = content_words(name);
    let near = |column: &&Column| share_a_word(&content_words(&column.name), &wanted);
    columns.iter().position(same).or_else(|| match columns.iter().filter(near).count() {
        1 => columns.iter().position(|column| near(&column)),
        _ => None,
    })
}

fn is_order(combine: &Combine) -> bool {
    matches!(combine, Combine::Figure(Aggregate::Most | Aggregate::Least))
}

/// Whether the goal has a word for the best of something, if it is English.
fn may_order(goal: &str) -> bool {
    const BEST: [&str; 8] = ["best", "worst", "top", "first", "last", "max", "min", "better"];
    let is_best = |word: &String| BEST.contains(&word.as_str()) || (word.len() > 5 && word.ends_with("est"));
    !is_english(goal) || !orders(goal).is_empty() || words(goal).iter().any(is_best)
}

fn is_ordered(column: &Column) -> bool {
    matches!(column.kind, AnswerIs::Number | AnswerIs::Date)
}

/// What the goal orders by, as far as its words say: a column and the end that is wanted.
fn ordered_by(table: &Table, goal: &str) -> Option<(usize, Aggregate)> {
    let asked = orders(goal);
    let mut found = asked.iter().flat_map(|order| {
        let applies =
            |(place, column): (usize, &Column)| match order.relation(&Field::of(&column.name), column.kind) {
                Relation::Applies(aggregate) => Some((place, aggregate)),
                _ => None,
            };
        let columns: Vec<_> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| is_ordered(column))
            .filter_map(applies)
            .collect();
        columns
    });
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

fn settle_order(table: &mut Table, goal: &str) {
    table.of = table
        .of
        .take()
        .and_then(|name| column_of(&table.columns, &name))
        .map(|place| table.columns[place].name.clone());
    match ordered_by(table, goal) {
        Some((place, aggregate)) if table.combine.iter().any(is_order) || table.of_place().is_none() => {
            table.of = Some(table.columns[place].name.clone());
            // A planner that lists all where the goal asks for the best forgot it. One that names both means both.
            let forgot = !table.combine.iter().any(is_order);
            table.combine.retain(|combine| !(is_order(combine) || (forgot && *combine == Combine::List)));
            table.combine.push(Combine::Figure(aggregate));
        }
        _ => {}
    }
    turn_order(table, goal);
    if table.of.is_none() {
        // The only column that can be ordered and decides nothing else.
        let is_free = |column: &&Column| {
            is_ordered(column) && !table.only_if.iter().any(|one| one.column == column.name)
        };
        let mut free = table.columns.iter().filter(is_free);
        table.of = match (free.next(), free.next()) {
            (Some(only), None) => Some(only.name.clone()),
            _ => None,
        };
    }
    let can_order =
        table.of_place().is_some_and(|place| is_ordered(&table.columns[place])) && may_order(goal);
    table.combine.retain(|combine| can_order || !is_order(combine));
    let numbers = numbers_in(goal);
    table.limit = table.limit.filter(|limit| numbers.contains(&Decimal::from(*limit as i64)));
    if !table
        .combine
        .iter()
        .any(|one| is_order(one) || matches!(one, Combine::Ascending | Combine::Descending))
    {
        table.limit = None;
    }
}

/// "The higher the better" says which end comes first, whatever the planner took it for.
fn turn_order(table: &mut Table, goal: &str) {
    const MORE: &[&str] = &["higher", "more", "longer", "larger", "bigger"];
    const LESS: &[&str] = &["lower", "less", "fewer", "shorter", "smaller"];
    let said = words(goal);
    let end = said.windows(3).find(|three| three[1] == "the" && three[2] == "better").map(|three| &three[0]);
    let is_in = |list: &[&str]| end.is_some_and(|word| list.contains(&word.as_str()));
    let turned = |combine: &Combine| match (combine, is_in(MORE), is_in(LESS)) {
        (Combine::Ascending, true, _) => Combine::Descending,
        (Combine::Descending, _, true) => Combine::Ascending,
        (Combine::Figure(Aggregate::Least), true, _) => Combine::Figure(Aggregate::Most),
        (Combine::Figure(Aggregate::Most), _, true) => Combine::Figure(Aggregate::Least),
        (other, ..) => *other,
    };
    table.combine.iter_mut().for_each(|combine| *combine = turned(combine));
}

/// A figure needs a word in the goal and a column of numbers. One that the goal asks for is calculated of the only
/// column of numbers, if there is but one.
fn settle_figures(table: &mut Table, goal: &str) {
    let of = table.of_place().map(|place| table.columns[place].clone());
    let number = of.as_ref().is_some_and(|column| column.kind == AnswerIs::Number);
    let find = of.map_or_else(String::new, |column| column.name);
    figures_said(&mut table.combine, goal, &find, number);
}

/// What the goal asks for that the table does without. `inputs` is how many texts there are.
pub(in super::super) fn misses(table: &Table, goal: &str, inputs: usize) -> Option<String> {
    let mut used: Vec<Decimal> = vec![Decimal::from(inputs as i64)];
    used.extend(table.limit.map(|limit| Decimal::from(limit as i64)));
    for column in &table.columns {
        used.extend(numbers_in(&column.name));
    }
    for condition in &table.only_if {
        used.extend(condition.number());
        used.extend(condition.value.as_str().map(numbers_in).into_iter().flatten());
    }
    if let Some(limit) = limits(goal).iter().find(|limit| !used.contains(&limit.number)) {
        return Some(format!("the number {}", limit.number));
    }
    if let Some(condition) = without_condition(table, goal) {
        return Some(format!("the condition \"{condition}\""));
    }
    let orders = orders(goal).iter().any(|order| {
        let relation = |column: &Column| order.relation(&Field::of(&column.name), column.kind);
        table
            .columns
            .iter()
            .filter(|column| is_ordered(column))
            .all(|column| matches!(relation(column), Relation::Other(_)))
    });
    (orders && !table.combine.iter().any(is_order)).then(|| "what the goal orders by".to_owned())
}

/// A number of the goal that a plan for a single fact does not use.
pub(in super::super) fn unused(goal: &str, inputs: usize, find: &str) -> Option<Decimal> {
    let used = numbers_in(find);
    let is_used = |number: &Decimal| used.contains(number) || *number == Decimal::from(inputs as i64);
    limits(goal).into_iter().map(|limit| limit.number).find(|number| !is_used(number))
}

/// Why the columns are not about the goal.
pub(in super::super) fn foreign(table: &Table, topic: &Topic) -> Option<String> {
    let of_example = |column: &&Column| topic.foreign(&column.name) == Some(Foreign::Example);
    if let Some(column) = table.columns.iter().find(of_example) {
        return Some(format!("\"{}\" comes from a worked example", column.name));
    }
    // A single column may say what the goal only means: the capacity of the largest hall.
    let named = table.named();
    (topic.foreign(&named) == Some(Foreign::Nobody))
        .then(|| format!("\"{named}\" has nothing to do with the goal"))
}
