//! The columns that the goal itself names. The planner often gives the first one the name of what the texts are.

use super::Table;
use crate::checks::words;
use crate::choice::named_columns;
use crate::plan::{AnswerIs, Column};
use crate::topic::{content_words, share_a_word};

/// Words of columns that hold numbers.
const NUMBERS: &[&str] = &[
    "price", "amount", "number", "cost", "costs", "total", "sum", "years", "months", "days", "hours",
    "minutes", "km", "metres", "rent", "fee", "salary", "weight", "height", "length", "size", "rooms",
    "seats", "berths", "mileage", "age", "score", "rating", "percent", "gb", "mb", "eur", "capacity",
];
const DATES: &[&str] = &["date", "day", "deadline", "until", "since", "built"];

/// Gives a table the columns that the goal names, in its order and under its names. A column of the planner's that is
/// none of them stays if a condition or an order needs it, or if it says what a row is about and no other does.
pub(super) fn settle_columns(table: &mut Table, goal: &str) {
    let named = named_columns(goal);
    if named.is_empty() || named.len() > super::COLUMNS_MAX {
        return;
    }
    // Items that the planner knows nothing of were hardly meant as columns.
    let is_known = |name: &&String| {
        let wanted = words(name);
        table.columns.iter().any(|column| share_a_word(&words(&column.name), &wanted))
    };
    if 2 * named.iter().filter(is_known).count() < named.len() {
        return;
    }
    let mut left: Vec<Column> = std::mem::take(&mut table.columns);
    let mut take = |is: &dyn Fn(&Column) -> bool| left.iter().position(is).map(|at| left.remove(at));
    let mut found: Vec<Option<Column>> =
        named.iter().map(|name| take(&|column| words(&column.name) == words(name))).collect();
    for (name, slot) in named.iter().zip(&mut found) {
        if slot.is_none() {
            let wanted = content_words(name);
            *slot = take(&|column| share_a_word(&content_words(&column.name), &wanted));
        }
    }
    let mut renamed: Vec<(String, String)> = Vec::new();
    let columns = named.iter().zip(found).map(|(name, column)| {
        let kind = match &column {
            Some(column) => column.kind,
            None if name == &named[0] => AnswerIs::Name,
            None => kind_of(name),
        };
        renamed.extend(column.map(|column| (column.name, name.clone())));
        Column { name: name.clone(), kind }
    });
    let mut columns: Vec<Column> = columns.collect();
    for (old, new) in renamed {
        let is = |name: &str| name.eq_ignore_ascii_case(&old);
        table.only_if.iter_mut().filter(|one| is(&one.column)).for_each(|one| one.column.clone_from(&new));
        if table.of.as_deref().is_some_and(is) {
            table.of = Some(new);
        }
    }
    let is_named = columns.iter().any(|column| column.kind == AnswerIs::Name);
    for (at, column) in left.into_iter().enumerate() {
        let is_used = table.only_if.iter().any(|one| one.column.eq_ignore_ascii_case(&column.name))
            || table.of.as_deref().is_some_and(|of| of.eq_ignore_ascii_case(&column.name));
        if is_used {
            columns.push(column);
        } else if at == 0 && column.kind == AnswerIs::Name && !is_named {
            columns.insert(0, column);
        }
    }
    table.columns = columns;
}

fn kind_of(name: &str) -> AnswerIs {
    let said = words(name);
    let has = |list: &[&str]| said.iter().any(|word| list.contains(&word.as_str()));
    match () {
        () if has(DATES) && !has(&["days"]) => AnswerIs::Date,
        () if has(NUMBERS) => AnswerIs::Number,
        () => AnswerIs::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_the_goal() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let planned = |columns| {
            let mut table = Table::of(columns);
            table.of = Some("application".to_owned());
            table
        };
        let goal = "A table of the applications with name, town and years of experience, one row each.";
        let mut table = planned(vec![
            column("application", AnswerIs::Name),
            column("town", AnswerIs::Name),
            column("years of experience", AnswerIs::Number),
        ]);
        table.of = None;
        settle_columns(&mut table, goal);
        assert_eq!(table.named(), "name, town, years of experience");
        let goal = "A table with invoice number, supplier and amount.";
        let mut table = planned(vec![column("invoice", AnswerIs::Name), column("amount", AnswerIs::Number)]);
        table.of = Some("amount".to_owned());
        settle_columns(&mut table, goal);
        let kinds: Vec<AnswerIs> = table.columns.iter().map(|column| column.kind).collect();
        assert_eq!(table.named(), "invoice number, supplier, amount");
        assert_eq!(kinds, [AnswerIs::Name, AnswerIs::Text, AnswerIs::Number]);
        let goal = "Table of the offers please: price and warranty in months.";
        let mut table = planned(vec![
            column("offer", AnswerIs::Name),
            column("price", AnswerIs::Number),
            column("warranty", AnswerIs::Number),
        ]);
        table.of = Some("price".to_owned());
        settle_columns(&mut table, goal);
        assert_eq!(table.named(), "offer, price, warranty in months");
        let mut table = planned(vec![column("application", AnswerIs::Name)]);
        settle_columns(&mut table, "Which application is the best?");
        assert_eq!(table.named(), "application");
    }
}
