//! Whether two statements, written in different ways, give the same rows.

use bandmaster_tools::tables::{Answer, Row, Value};

/// Whether the planner's rows say what the rows that the goal means say. Columns may stand in another order, there
/// may be more or fewer of them, and the rows of a ranking may be followed by others. `is_ranked` says that the order
/// matters.
pub(super) fn agree(meant: &Answer, planned: &Answer, is_ranked: bool) -> bool {
    if meant.has_more || planned.has_more || meant.rows.is_empty() || planned.rows.is_empty() {
        return false;
    }
    if is_ranked {
        let has_enough = planned.rows.len() >= meant.rows.len();
        return has_enough
            && meant.rows.iter().zip(&planned.rows).all(|(meant, planned)| says(meant, planned));
    }
    if meant.rows.len() != planned.rows.len() {
        return false;
    }
    let mut left: Vec<&Row> = planned.rows.iter().collect();
    meant.rows.iter().all(|row| match left.iter().position(|other| says(row, other)) {
        Some(at) => {
            left.remove(at);
            true
        }
        None => false,
    })
}

fn says(meant: &Row, planned: &Row) -> bool {
    holds(&planned.values, &meant.values) || holds(&meant.values, &planned.values)
}

/// Whether each of the values is among others.
fn holds(all: &[Value], values: &[Value]) -> bool {
    values.iter().all(|value| all.iter().any(|other| is_same(value, other)))
}

fn is_same(one: &Value, other: &Value) -> bool {
    let number =
        |value: &Value| matches!(value, Value::Integer(_) | Value::Decimal(_)).then(|| value.to_string());
    match (number(one), number(other)) {
        (Some(one), Some(other)) => is_near(&one, &other),
        (None, None) => one.to_string() == other.to_string(),
        _ => false,
    }
}

/// Whether two numbers are equal, or one is the other rounded to two decimals or more.
fn is_near(one: &str, other: &str) -> bool {
    let decimals = |text: &str| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let fewer = decimals(one).min(decimals(other));
    let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) else { return false };
    let unit = if fewer >= 1 { 0.501 * 10_f64.powi(-i32::try_from(fewer).unwrap_or(9)) } else { 1e-9 };
    (one - other).abs() <= unit.max(1e-9 * one.abs())
}
