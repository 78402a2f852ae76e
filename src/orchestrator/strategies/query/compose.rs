//! Writes the statement that a reading of the goal means.

use super::reading::{Compute, Condition, Key, Reading, Test};
use crate::attached::{Attached, ColumnAt};

/// Readings that are tried where a value stands in several columns.
const WAYS_MAX: usize = 8;
/// Tables that a join may lead over.
const STEPS_MAX: usize = 3;

/// The statements that a reading may mean: several if a value stands in several columns. The likeliest comes first.
pub(super) fn statements(reading: &Reading, attached: &Attached) -> Vec<String> {
    let mut ways: Vec<Vec<ColumnAt>> = vec![Vec::new()];
    for condition in &reading.conditions {
        let longer =
            ways.iter().flat_map(|way| condition.columns.iter().map(move |at| [&way[..], &[*at]].concat()));
        ways = longer.take(WAYS_MAX).collect();
    }
    ways.iter().filter_map(|way| statement(reading, way, attached)).collect()
}

fn statement(reading: &Reading, columns: &[ColumnAt], attached: &Attached) -> Option<String> {
    let conditions = reading.conditions.iter().zip(columns);
    let (parts, filters): (Vec<_>, Vec<_>) =
        conditions.partition(|(condition, _)| condition.is_part && reading.compute == Compute::Share);
    let all = |conditions: &[(&Condition, &ColumnAt)]| {
        let each: Option<Vec<String>> = conditions
            .iter()
            .map(|(condition, at)| within(reading.base, **at, condition, attached))
            .collect();
        each.map(|each| each.join(" AND "))
    };
    let filter = all(&filters)?;
    let filter = if filter.is_empty() { String::new() } else { format!(" WHERE {filter}") };
    let from = from(reading, attached)?;
    let computed = computed(reading, &all(&parts)?, attached);
    let keys: Vec<String> = reading.keys.iter().map(|key| key_sql(key, attached)).collect();
    if reading.compute == Compute::Nothing {
        return Some(format!("SELECT DISTINCT {} FROM {from}{filter}", keys.join(", ")));
    }
    if keys.is_empty() {
        return Some(format!("SELECT {computed} FROM {from}{filter}"));
    }
    let order = reading.rank.map(|rank| (if rank.largest { "DESC" } else { "ASC" }, rank.rows));
    if let Some((column, (order, rows))) = reading.rank.and_then(|rank| rank.of_rows).zip(order) {
        let column = attached.qualified(column);
        let shown = keys.iter().chain([&column]).cloned().collect::<Vec<_>>().join(", ");
        let filled = if filter.is_empty() { " WHERE ".to_owned() } else { format!("{filter} AND ") };
        return Some(format!(
            "SELECT {shown} FROM {from}{filled}{column} IS NOT NULL ORDER BY {column} {order} LIMIT {rows}"
        ));
    }
    let group = keys.join(", ");
    let tail = order.map_or(format!(" ORDER BY {group}"), |(order, rows)| {
        format!(" ORDER BY {} {order} LIMIT {rows}", keys.len() + 1)
    });
    Some(format!("SELECT {group}, {computed} FROM {from}{filter} GROUP BY {group}{tail}"))
}

fn key_sql(key: &Key, attached: &Attached) -> String {
    match key {
        Key::Column(at) => attached.qualified(*at),
        Key::Time(function, at) => format!("{function}({})", attached.qualified(*at)),
    }
}

fn computed(reading: &Reading, part: &str, attached: &Attached) -> String {
    let of = |function: &str, at: ColumnAt| format!("{function}({})", attached.qualified(at));
    match reading.compute {
        Compute::Nothing => String::new(),
        Compute::Count => "COUNT(*)".to_owned(),
        Compute::Distinct(at) => format!("COUNT(DISTINCT {})", attached.qualified(at)),
        Compute::Sum(at) => of("SUM", at),
        Compute::Average(at) => of("AVG", at),
        Compute::Median(at) => of("MEDIAN", at),
        Compute::Largest(at) => of("MAX", at),
        Compute::Smallest(at) => of("MIN", at),
        Compute::Share if part.is_empty() => "NULL".to_owned(),
        Compute::Share => format!("100.0 * SUM(CASE WHEN {part} THEN 1 ELSE 0 END) / COUNT(*)"),
    }
}

/// The table whose rows are counted, and those that its groups are named by. Each of these has at most one row for a
/// row of it; otherwise rows would count twice, and there is no statement.
fn from(reading: &Reading, attached: &Attached) -> Option<String> {
    let mut from = attached.tables[reading.base].name.clone();
    let mut joined = vec![reading.base];
    let keyed = reading.keys.iter().map(|key| match key {
        Key::Column(at) | Key::Time(_, at) => at.0,
    });
    for table in keyed {
        if joined.contains(&table) {
            continue;
        }
        let path = path(reading.base, table, attached)?;
        for [own, other] in path {
            if joined.contains(&other.0) {
                continue;
            }
            if !attached.is_unique(other) {
                return None;
            }
            let (name, left, right) =
                (&attached.tables[other.0].name, attached.qualified(own), attached.qualified(other));
            from.push_str(&format!(" JOIN {name} ON {left} = {right}"));
            joined.push(other.0);
        }
    }
    Some(from)
}

/// The shortest way of joins from one table to another. Each step is a column of the nearer table and one of the next.
fn path(from: usize, to: usize, attached: &Attached) -> Option<Vec<[ColumnAt; 2]>> {
    let mut ways: Vec<Vec<[ColumnAt; 2]>> = vec![Vec::new()];
    for _ in 0..STEPS_MAX {
        let mut longer = Vec::new();
        for way in &ways {
            let end = way.last().map_or(from, |step| step[1].0);
            for [one, other] in &attached.joins {
                for step in [[*one, *other], [*other, *one]] {
                    let is_new = step[1].0 != from && way.iter().all(|before| before[1].0 != step[1].0);
                    if step[0].0 == end && is_new {
                        let way: Vec<[ColumnAt; 2]> = way.iter().copied().chain([step]).collect();
                        if step[1].0 == to {
                            return Some(way);
                        }
                        longer.push(way);
                    }
                }
            }
        }
        ways = longer;
    }
    None
}

/// A condition on a row of the table that is counted. One on another table is asked through the columns that join
/// them, so that no row counts twice.
fn within(base: usize, at: ColumnAt, condition: &Condition, attached: &Attached) -> Option<String> {
    let sql = condition.sql(at, attached);
    if at.0 == base {
        return Some(sql);
    }
    // A row without something in another table is not the same as one that has a row without it there.
    let is_negated = matches!(condition.test, Test::OneOf { negated: true, .. });
    let mut path = path(base, at.0, attached)?;
    let mut inner = sql;
    while let Some([own, other]) = path.pop() {
        if is_negated && !attached.is_unique(other) {
            return None;
        }
        let (key, table) = (attached.qualified(other), &attached.tables[other.0].name);
        inner = format!("{} IN (SELECT {key} FROM {table} WHERE {inner})", attached.qualified(own));
    }
    Some(inner)
}
