//! The tables in words, for a model's prompt: short, and the same for the same tables.

use std::fmt::Write;

use super::schema::{Column, Table};
use super::types::Kind;

/// Example values of a column.
const EXAMPLES: usize = 3;
/// A text column with no more different values is described by all of them.
const ALL_VALUES_MAX: usize = 8;
const VALUE_CHARS_MAX: usize = 40;

/// One paragraph for each table, one line for each column.
pub(super) fn describe(tables: &[Table]) -> String {
    let mut text = String::new();
    for table in tables {
        let rows = if table.rows == 1 { "row" } else { "rows" };
        let _ = writeln!(text, "{} ({} {rows}, from {}):", table.name, table.rows, table.file);
        for column in &table.columns {
            let _ = writeln!(text, "  {}", column_line(column));
        }
    }
    text
}

fn column_line(column: &Column) -> String {
    let mut line = format!("{} {}", column.name, column.kind.name());
    if !column.unit.is_empty() {
        let _ = write!(line, " in {}", column.unit);
    }
    if column.title.to_lowercase().replace([' ', '-'], "_") != column.name {
        let _ = write!(line, ", called {:?}", column.title);
    }
    if let Some((least, most)) = &column.range {
        let _ = write!(line, ", {least} to {most}");
    }
    let is_closed =
        column.kind == Kind::Text && !column.has_more_values && column.values.len() <= ALL_VALUES_MAX;
    let shown = if is_closed { column.values.len() } else { EXAMPLES };
    let values: Vec<String> =
        column.values.iter().take(shown).map(|value| shortened(value, column.kind)).collect();
    if !values.is_empty() {
        let word = if is_closed { "values" } else { "such as" };
        let _ = write!(line, ", {word} {}", values.join(", "));
    }
    if column.has_empty {
        line.push_str(", sometimes empty");
    }
    line
}

/// A value as SQL writes it.
fn shortened(value: &str, kind: Kind) -> String {
    if matches!(kind, Kind::Integer | Kind::Decimal | Kind::Boolean) {
        return value.to_owned();
    }
    let one_line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = one_line.chars().take(VALUE_CHARS_MAX).collect();
    if short.len() < one_line.len() {
        short.push('…');
    }
    format!("'{}'", short.replace('\'', "''"))
}
