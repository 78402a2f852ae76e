//! Makes the texts of a statement those that stand in their columns. A model writes "Paid" where the column has
//! "paid", or a surname where it has the whole name.

use super::reading::is_typo;
use crate::attached::{Attached, ColumnAt};
use crate::checks::words;
use bandmaster_tools::tables::Kind;

/// The statement with each text that no row has replaced by the one value that it can mean.
///
/// # Errors
/// Which text stands in no row.
pub(super) fn fitted(sql: &str, attached: &Attached) -> Result<String, String> {
    let mut fitted = sql.to_owned();
    // From the end, so that earlier places stay where they are.
    for compared in attached.compared(sql).into_iter().rev() {
        let is_text = attached.column(compared.column).kind == Kind::Text;
        let values = attached.values(compared.column);
        if !is_text || compared.is_pattern || values.is_empty() {
            continue;
        }
        match value_of(&compared.text, values) {
            Some(value) => fitted.replace_range(compared.bytes, &format!("'{}'", value.replace('\'', "''"))),
            None => {
                let (text, column) = (&compared.text, attached.qualified(compared.column));
                return Err(format!("no row of {column} has '{text}'"));
            }
        }
    }
    Ok(fitted)
}

/// The first text of a statement that no row of its column has, with the column's name.
pub(super) fn absent(sql: &str, attached: &Attached) -> Option<(String, String)> {
    attached.compared(sql).into_iter().find_map(|compared| {
        let column = attached.column(compared.column);
        let values = attached.values(compared.column);
        let is_text = column.kind == Kind::Text && !compared.is_pattern && !values.is_empty();
        let is_absent = is_text && value_of(&compared.text, values).is_none();
        is_absent.then(|| (compared.text, column.title.clone()))
    })
}

/// The value that a text means: the same, the same but for its form, or the only one that it is a part of or a typing
/// mistake for.
fn value_of<'v>(text: &str, values: &'v [String]) -> Option<&'v String> {
    if let Some(same) = values.iter().find(|value| *value == text) {
        return Some(same);
    }
    let written = words(text);
    let only = |is: &dyn Fn(&[String]) -> bool| {
        let mut found = values.iter().filter(|value| is(&words(value)));
        found.next().filter(|_| found.next().is_none())
    };
    let is_near = |own: &[String]| {
        own.len() == written.len()
            && own.iter().zip(&written).all(|(own, word)| own == word || is_typo(own, word))
    };
    let is_part = |own: &[String]| !written.is_empty() && written.iter().all(|word| own.contains(word));
    only(&|own| own == written).or_else(|| only(&is_near)).or_else(|| only(&is_part))
}

/// Whether a statement has every text and date of the hints.
pub(super) fn has_all(sql: &str, hints: &[String]) -> Result<(), String> {
    let lower = sql.to_lowercase();
    for hint in hints {
        let quoted: Vec<&str> = hint.split('\'').skip(1).step_by(2).collect();
        let is_date = |text: &&str| text.len() == 10 && text.as_bytes()[4] == b'-';
        // A day can be written in many ways, its month in few.
        let written = |text: &str| {
            lower.contains(&text.to_lowercase()) || (is_date(&text) && lower.contains(&text[..7]))
        };
        if !quoted.is_empty() && !quoted.iter().any(|text| written(text)) {
            return Err(format!("it lacks the condition {hint}"));
        }
    }
    Ok(())
}

/// The column of a name that the planner wrote, such as `orders.amount`.
pub(super) fn column_named(name: &str, attached: &Attached) -> Option<ColumnAt> {
    let all = attached
        .tables
        .iter()
        .enumerate()
        .flat_map(|(table, of)| (0..of.columns.len()).map(move |column| (table, column)));
    all.into_iter().find(|at| attached.qualified(*at) == name.trim())
}
