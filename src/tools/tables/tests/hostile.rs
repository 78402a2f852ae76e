use std::time::{Duration, Instant};

use super::super::{Limits, Tables};
use super::{CUSTOMERS, LIMITS, ORDERS};

/// One statement a line; empty lines and lines with `#` are no statements.
const STATEMENTS: &str = include_str!("hostile.txt");

fn statements() -> Vec<&'static str> {
    STATEMENTS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn hostile_statements_neither_write_nor_open_nor_outlive_their_limit() {
    let folder = std::env::temp_dir().join(format!("bandmaster-tables-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut tables = Tables::new(Limits { steps: 1_000_000, time_ms: 1000, ..LIMITS }).unwrap();
    tables.add("orders.csv", ORDERS).unwrap();
    tables.add("customers.csv", CUSTOMERS).unwrap();
    let contents = |tables: &Tables| {
        let read = |sql| tables.query(sql).unwrap().markdown();
        (read("SELECT * FROM orders"), read("SELECT * FROM customers"), tables.describe())
    };
    let before = contents(&tables);
    let statements = statements();
    assert!(statements.len() >= 200, "{}", statements.len());
    for statement in statements {
        let statement = statement.replace("FOLDER", &folder.to_string_lossy());
        // A line may be refused or harmless, as its first character says.
        let (may_run, sql) = match statement.split_at(1) {
            ("+", sql) => (true, sql),
            (_, sql) => (false, sql),
        };
        let begin = Instant::now();
        let outcome = tables.query(sql.trim_start());
        assert!(begin.elapsed() < Duration::from_secs(10), "{sql}: {:?}", begin.elapsed());
        assert!(may_run || outcome.is_err(), "{sql}: {outcome:?}");
        if let Ok(answer) = &outcome {
            let bytes: usize =
                answer.rows.iter().flat_map(|row| &row.values).map(|v| v.to_string().len()).sum();
            assert!(bytes <= LIMITS.bytes && answer.rows.len() <= LIMITS.rows, "{sql}");
        }
        assert_eq!(contents(&tables), before, "{sql}");
    }
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir(&folder).unwrap();
}
