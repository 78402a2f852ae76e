//! The kinds of a table's columns, as far as rules know them.

use bandmaster_tools::calculator::{Aggregate, Decimal};

use super::{Combine, Table};
use crate::checks::words;
use crate::choice::named_columns;
use crate::plan::AnswerIs;

/// The first of several columns names what a row is about. What is compared with a number is one.
pub(super) fn settle_kinds(table: &mut Table, goal: &str) {
    /// Words for the inputs themselves, which have no other name than their file's.
    const INPUTS: [&str; 8] =
        ["report", "document", "file", "text", "input", "attachment", "page", "message"];
    let several = table.columns.len() > 1;
    if let Some(first) = table.columns.first_mut().filter(|first| several && first.kind == AnswerIs::Text) {
        first.kind = AnswerIs::Name;
    }
    if let [first, second, ..] = &table.columns[..]
        && second.kind == AnswerIs::Name
        && INPUTS.contains(&first.name.to_lowercase().as_str())
        && !named_columns(goal).contains(&first.name)
    {
        table.columns.remove(0);
    }
    let figure =
        |combine: &Combine| matches!(combine, Combine::Figure(figure) if *figure != Aggregate::Count);
    let calculates = table.combine.iter().any(figure);
    let compared = |name: &str| {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        table.only_if.iter().any(|one| one.number().is_some() && is(&one.column))
            || (calculates && table.of.as_deref().is_some_and(is))
    };
    for column in &mut table.columns {
        // What is compared with a number holds numbers, unless that may be a year: then it may hold dates.
        let is_dated = column.kind == AnswerIs::Date
            && !table.only_if.iter().any(|one| {
                one.column.eq_ignore_ascii_case(&column.name)
                    && one.number().is_some_and(|number| number < Decimal::from(1000))
            });
        if compared(&column.name) && !is_dated {
            column.kind = AnswerIs::Number;
        } else if column.kind == AnswerIs::Number && is_code(&column.name) {
            column.kind = AnswerIs::Name;
        }
    }
}

/// Whether a column holds codes, which have digits and are no numbers: a version, a telephone or invoice number.
fn is_code(column: &str) -> bool {
    const CODES: &[&str] =
        &["version", "telephone", "phone", "mobile", "fax", "code", "id", "iban", "postcode", "zip", "isbn"];
    const NUMBERED: &[&str] = &[
        "invoice",
        "order",
        "ticket",
        "serial",
        "account",
        "customer",
        "room",
        "flight",
        "contract",
        "reference",
        "article",
        "part",
        "plate",
        "registration",
        "case",
        "file",
        "item",
        "model",
    ];
    let said = words(column);
    let has = |list: &[&str]| said.iter().any(|word| list.contains(&word.as_str()));
    has(CODES)
        || (has(NUMBERED)
            && said.iter().any(|word| matches!(word.as_str(), "number" | "no" | "nr"))
            && said.len() == 2)
}
