use rusqlite::Connection;
use rusqlite::types::Value;

use super::exact::{decimal_of, rounded};
use super::functions::add_functions;
use super::trace::traced;

fn evaluate(expression: &str) -> Result<Value, String> {
    let connection = Connection::open_in_memory().unwrap();
    add_functions(&connection).unwrap();
    connection
        .query_row(&format!("SELECT {expression}"), [], |row| row.get(0))
        .map_err(|error| error.to_string())
}

fn check(expression: &str, expected: &str) {
    let shown = match evaluate(expression) {
        Ok(Value::Null) => "NULL".into(),
        Ok(Value::Integer(value)) => value.to_string(),
        Ok(Value::Real(value)) => format!("{value:?}"),
        Ok(Value::Text(text)) => text,
        Ok(Value::Blob(_)) => "blob".into(),
        Err(error) => error,
    };
    assert_eq!(shown, expected, "{expression}");
}

#[test]
fn sums_are_exact() {
    let rows = |values: &str| format!("FROM (SELECT column1 AS x FROM (VALUES {values}))");
    check(&format!("sum(x) {}", rows("(0.1), (0.2)")), "0.3");
    check(&format!("sum(x) = 0.3 {}", rows("(0.1), (0.2)")), "1");
    check(&format!("sum(x) {}", rows("(1), (2), (NULL)")), "3");
    check(&format!("sum(x) {}", rows("(NULL)")), "NULL");
    check(&format!("total(x) {}", rows("(NULL)")), "0");
    check(&format!("avg(x) {}", rows("(0.1), (0.2), (0.6)")), "0.3");
    check(&format!("avg(x) {}", rows("(1), (2)")), "1.5");
    check(&format!("median(x) {}", rows("(5), (1), (2), (NULL)")), "2.0");
    check(&format!("sum(x) {}", rows("('12 kg')")), "\"12 kg\" is no number");
    check(&format!("sum(x) {}", rows("(9223372036854775807), (1)")), "the sum has too many digits");
    check(
        &format!(
            "group_concat(s) FROM (SELECT sum(x) OVER (ORDER BY x ROWS 1 PRECEDING) AS s {})",
            rows("(0.1), (0.2), (0.7)")
        ),
        "0.1,0.3,0.9",
    );
}

#[test]
fn rounding_is_that_of_everyday_life() {
    let rounds = |number, decimals, expected| assert_eq!(rounded(number, decimals), Ok(expected), "{number}");
    rounds(2.675, 2, 2.68);
    rounds(1.005, 2, 1.01);
    rounds(-2.5, 0, -3.0);
    rounds(1250.0, -2, 1300.0);
    rounds(0.004, 2, 0.0);
    check("round(2.5)", "3.0");
    check("round(7)", "7");
    check("round(NULL, 2)", "NULL");
    check("round('x')", "\"x\" is no number");
}

#[test]
fn functions_of_dates_compute_with_days() {
    check("days_between('2024-02-28', '2024-03-01')", "2");
    check("days_between('2025-03-01 23:59:00', '2025-02-28')", "-1");
    check("months_between('2025-01-31', '2025-02-28')", "0".replace('0', "1").as_str());
    check(
        "year('2025-03-01') || quarter('2025-03-01') || month('2025-03-01') || day('2025-03-01')",
        "2025131",
    );
    check("weekday('2025-03-01')", "Saturday");
    check("hour('2025-03-01 14:52:07')", "14");
    check("strftime('%Y-%m', '2025-03-01 14:52:07.5')", "2025-03");
    check("date('2025-03-01 14:52:07')", "2025-03-01");
    check("date(NULL)", "NULL");
    check("julianday('2000-01-01 12:00:00')", "2451545.0");
    check("julianday('2025-01-02') - julianday('2025-01-01')", "1.0");
    check("date('now')", "\"now\" is no date: write it as 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'");
    assert!(evaluate("date()").is_err() && evaluate("date('2025-01-01', '+1 day')").is_err());
    assert!(evaluate("strftime('%Q', '2025-01-01')").is_err());
    check("upper('müller') || lower('ÄB')", "MÜLLERäb");
}

fn check_trace(sql: &str, expected: Option<&str>) {
    let names = ["orders".to_owned(), "customers".to_owned()];
    assert_eq!(traced(sql, &names).map(|traced| traced.sql).as_deref(), expected, "{sql}");
}

#[test]
fn statements_are_given_columns_for_their_sources() {
    check_trace("SELECT a FROM orders", Some("SELECT a, orders.rowid FROM orders"));
    check_trace(
        "select a from Orders o where x in (select max(b) from customers)",
        Some("select a, o.rowid from Orders o where x in (select max(b) from customers)"),
    );
    check_trace(
        "SELECT COUNT(*) FROM orders WHERE a = ' FROM x'",
        Some("SELECT COUNT(*), source_rows(orders.rowid) FROM orders WHERE a = ' FROM x'"),
    );
    check_trace(
        "SELECT a, SUM(b) -- c\n FROM orders JOIN customers AS c ON a = c.id GROUP BY 1",
        Some(
            "SELECT a, SUM(b), source_rows(orders.rowid), source_rows(c.rowid) FROM orders JOIN customers AS c ON a = c.id GROUP BY 1",
        ),
    );
    check_trace("SELECT a, MAX(b) FROM orders", Some("SELECT a, MAX(b), orders.rowid FROM orders"));
    check_trace("SELECT max(a, 1) FROM orders", Some("SELECT max(a, 1), orders.rowid FROM orders"));
    check_trace(
        "SELECT SUM(b) OVER (ORDER BY a) FROM orders",
        Some("SELECT SUM(b) OVER (ORDER BY a), orders.rowid FROM orders"),
    );
    check_trace(
        "SELECT (SELECT MAX(b) FROM customers) FROM orders",
        Some("SELECT (SELECT MAX(b) FROM customers), orders.rowid FROM orders"),
    );
    check_trace(
        "SELECT a FROM orders, customers WHERE 1",
        Some("SELECT a, orders.rowid, customers.rowid FROM orders, customers WHERE 1"),
    );
    for none in [
        "SELECT DISTINCT a FROM orders",
        "SELECT a FROM orders UNION SELECT a FROM customers",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "SELECT a FROM (SELECT a FROM orders)",
        "SELECT 1",
        "SELECT a FROM orders WHERE (a",
        "SELECT a FROM orders WHERE 'a",
        "",
    ] {
        check_trace(none, None);
    }
}

proptest::proptest! {
    #[test]
    fn a_number_leads_back_to_its_decimal(units in -999_999_999_999_999_i64..=999_999_999_999_999, scale in 0_u32..12) {
        let text = format!("{units}e-{scale}");
        let decimal: crate::calculator::Decimal = text.parse().unwrap();
        proptest::prop_assert_eq!(decimal_of(text.parse().unwrap()).unwrap(), decimal);
    }

    #[test]
    fn no_statement_makes_tracing_panic(sql in "(SELECT|FROM|orders|max|\\(|\\)|,|'|\"|--|/\\*|;|é| |as|x|\\[){0,20}") {
        let _ = traced(&sql, &["orders".to_owned()]);
    }
}
