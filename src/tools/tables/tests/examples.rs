use super::super::{Kind, Limits, Place, SourcedRow, TableError, Tables, Value};
use super::{CUSTOMERS, LIMITS, ORDERS, all_tables, tables};

/// The rows of a result as `value|value <- file:line file:line`.
fn check(tables: &Tables, sql: &str, expected: &[&str]) {
    let answer = tables.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows: Vec<String> = answer
        .rows
        .iter()
        .map(|row| {
            let values: Vec<String> = row.values.iter().map(ToString::to_string).collect();
            let sources: Vec<String> =
                row.sources.iter().map(|place| format!(" {}:{}", place.file, place.line)).collect();
            format!("{} <-{}", values.join("|"), sources.concat())
        })
        .collect();
    assert_eq!(rows, expected, "{sql}");
}

#[test]
fn answers_name_the_lines_that_they_come_from() {
    let tables = all_tables();
    check(
        &tables,
        "SELECT order_id, amount FROM orders WHERE amount < 1 ORDER BY amount DESC",
        &["O-3|0.2 <- orders.csv:4", "O-2|0.1 <- orders.csv:3"],
    );
    check(&tables, "SELECT SUM(amount) FROM orders WHERE amount < 1", &["0.3 <- orders.csv:3 orders.csv:4"]);
    check(
        &tables,
        "SELECT name, SUM(amount) FROM orders JOIN customers ON orders.customer_id = customers.customer_id \
        WHERE status = 'paid' GROUP BY 1",
        &["Farnaby & Co|1104.72 <- orders.csv:2 orders.csv:4 customers.csv:2"],
    );
    check(&tables, "SELECT order_id, MAX(amount) FROM orders", &["O-1|1104.52 <- orders.csv:2"]);
    check(
        &tables,
        "SELECT source, COUNT(*) FROM service WHERE level = 'ERROR' GROUP BY 1 ORDER BY 1",
        &["node-28g|1 <- service.log:4", "node-28h|1 <- service.log:2"],
    );
    check(&tables, "SELECT COUNT(*) FROM orders WHERE amount > 5000", &["0 <-"]);
    check(&tables, "SELECT DISTINCT status FROM orders WHERE amount > 50", &["paid <-", "it's late <-"]);
    check(
        &tables,
        "SELECT name FROM customers LEFT JOIN orders ON orders.customer_id = customers.customer_id \
        WHERE order_id IS NULL",
        &["Äpfel AG <- customers.csv:4"],
    );
}

#[test]
fn dates_compare_and_differ() {
    let tables = all_tables();
    check(
        &tables,
        "SELECT order_id FROM orders WHERE order_date BETWEEN '2025-04-01' AND '2025-07-31' ORDER BY 1",
        &["O-2 <- orders.csv:3", "O-3 <- orders.csv:4"],
    );
    check(
        &tables,
        "SELECT days_between(MIN(order_date), MAX(order_date)) FROM orders",
        &["350 <- orders.csv:2 orders.csv:3 orders.csv:4 orders.csv:5"],
    );
    check(&tables, "SELECT COUNT(*) FROM service WHERE date(time) = '2025-03-05'", &["1 <- service.log:2"]);
    let answer = tables.query("SELECT order_date, time FROM orders, service LIMIT 1").unwrap();
    assert_eq!(
        answer.rows[0].values,
        [Value::Date("2025-01-08".into()), Value::DateTime("2025-03-01 14:52:07".into())]
    );
}

#[test]
fn tables_are_described_in_few_words() {
    let tables = all_tables();
    assert_eq!(
        tables.describe(),
        "\
orders (4 rows, from orders.csv):
  order_id text, values 'O-1', 'O-2', 'O-3', 'O-4'
  customer_id text, values 'C1', 'C2', 'C9'
  order_date date, 2025-01-08 to 2025-12-24, such as '2025-01-08', '2025-07-13', '2025-04-02'
  amount decimal, 0.1 to 1104.52, such as 1104.52, 0.1, 0.2
  status text, values 'paid', 'open', 'it''s late'
customers (3 rows, from customers.csv):
  customer_id text, values 'C1', 'C2', 'C3'
  name text, values 'Farnaby & Co', '\"Ember\" Quarrybank', 'Äpfel AG'
  since integer, 2019 to 2021, such as 2019, 2021, 2020
  rating decimal, 3.25 to 4.5, such as 4.5, 3.25, sometimes empty
  active boolean, such as true, false
service (4 rows, from service.log):
  time date and time, 2025-03-01 14:52:07 to 2025-03-07 11:13:07, such as '2025-03-01 14:52:07', \
'2025-03-05 11:13:07', '2025-03-06 11:13:07'
  level text, values 'INFO', 'ERROR', 'WARN'
  source text, values 'node-28g', 'node-28h'
  message text, values 'node-28g retry req-1', 'node-28h disk full req-2', 'node-28g slow query req-3', \
'node-28g disk full req-4'
hosts (2 rows, from hosts.md):
  host text, values 'node-28g', 'node-28h'
  select_ integer, called \"Select\", 1 to 2, such as 1, 2
  team_lead text, values 'Ann', 'Bo'
"
    );
}

#[test]
fn names_are_valid_and_differ() {
    let text = "Order,order, ,2nd,Größe (cm),rowid,ORDER\n1,2,3,4,5,6,7\n";
    let tables = tables(&[("select.csv", text), ("dir/select.csv", text)]);
    let names = |at: usize| tables.tables()[at].columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(0), ["order_", "order_2", "c3", "c_2nd", "größe_cm", "rowid_", "order_3"]);
    assert_eq!(tables.tables()[0].name, "select_");
    assert_eq!(tables.tables()[1].name, "select_2");
    check(&tables, "SELECT größe_cm, rowid_ FROM select_", &["5|6 <- select.csv:2"]);
}

#[test]
fn a_row_of_totals_is_no_row() {
    let text = "| item | n |\n|---|---|\n| a | 1 |\n| total | 2 |\n| b | 3 |\n| **Total** | 6 |\n";
    let tables = tables(&[("a.md", text)]);
    check(&tables, "SELECT SUM(n) FROM a", &["6 <- a.md:3 a.md:4 a.md:5"]);
    let irregular = &tables.tables()[0].irregular;
    assert_eq!((irregular.count, irregular.first[0].0), (1, 6));
    assert!(irregular.first[0].1.contains("adds up"), "{irregular:?}");
}

#[test]
fn collected_rows_are_a_table_too() {
    let mut tables = Tables::new(LIMITS).unwrap();
    let row = |file: &str, line, cells: [&str; 2]| SourcedRow {
        place: Place { file: file.into(), line },
        cells: cells.map(str::to_owned).into(),
    };
    let rows = [row("a.txt", 3, ["Vesper", "EUR 430"]), row("b.txt", 7, ["Alder", "EUR 342"])];
    tables.add_rows("Offers", &["Name".into(), "Price".into()], &rows).unwrap();
    check(&tables, "SELECT name, price FROM offers ORDER BY price LIMIT 1", &["Alder|342 <- b.txt:7"]);
    assert_eq!(tables.tables()[0].columns[1].unit, "EUR");
}

#[test]
fn results_print_evenly() {
    let tables = all_tables();
    let answer = tables.query("SELECT customer_id AS \"the | id\", rating FROM customers").unwrap();
    assert_eq!(
        answer.markdown(),
        "\
| the \\| id | rating |
| --------- | -----: |
| C1        |    4.5 |
| C2        |   3.25 |
| C3        |        |
"
    );
    let mut few = Tables::new(Limits { rows: 1, ..LIMITS }).unwrap();
    few.add("customers.csv", CUSTOMERS).unwrap();
    let answer = few.query("SELECT since FROM customers").unwrap();
    assert!(answer.has_more && answer.markdown().ends_with("More rows than these 1 were found.\n"));
}

#[test]
fn errors_say_what_and_where() {
    let tables = tables(&[("orders.csv", ORDERS)]);
    let check = |sql: &str, expected: &str| {
        let error = tables.query(sql).unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}: {error}");
    };
    check(
        "SELECT amont FROM orders",
        "at character 8: no such column: amont (there are: orders(order_id, customer_id",
    );
    check("SELECT * FROM order_s", "no such table: order_s (there are: orders)");
    check("SELECT \"paid\" FROM orders", "no such column: \"paid\"");
    check("SELECT FROM orders", "near \"FROM\": syntax error");
    check("SELECT SUM(status) FROM orders", "\"paid\" is no number");
    check("DELETE FROM orders", "it doesn't begin with SELECT");
    check("SELECT 1; SELECT 2", "more than one statement");
    check("SELECT load_extension('x')", "load_extension is not available");
    check("SELECT name FROM sqlite_master", "it reads sqlite_master");
    check("SELECT ?", "it has parameters");
    check(
        "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT * FROM t",
        "it is recursive",
    );
    check(
        "SELECT replace(replace(replace(hex_, 'a', 'aaaa'), 'a', 'aaaaaaaa'), 'a', 'aaaaaaaaaa') FROM \
        (SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' AS hex_)",
        "longer than 16384 bytes",
    );
    let long = format!("SELECT {}1", "1 + ".repeat(5000));
    check(&long, "20008 bytes");
    let error = Tables::new(LIMITS).unwrap().add("a.txt", "Dear Sir").unwrap_err();
    assert!(matches!(error, TableError::NoTable { .. }), "{error}");
}

#[test]
fn a_statement_ends_at_its_limits() {
    let big = format!("n\n{}", (0..2000).map(|n| format!("{n}\n")).collect::<String>());
    let cross = "SELECT COUNT(*) FROM a AS a, a AS b, a AS c, a AS d WHERE a.n + b.n + c.n < d.n";
    let mut tables = Tables::new(LIMITS).unwrap();
    tables.add("a.csv", &big).unwrap();
    assert_eq!(tables.query(cross).unwrap_err(), TableError::TooManySteps { most: 2_600_000 });
    check(&tables, "SELECT COUNT(*) FROM a WHERE n < 2", &["2 <- a.csv:2 a.csv:3"]);
    let mut slow = Tables::new(Limits { steps: u64::MAX / 2, time_ms: 50, ..LIMITS }).unwrap();
    slow.add("a.csv", &big).unwrap();
    assert_eq!(slow.query(cross).unwrap_err(), TableError::TooSlow { most_ms: 50 });
}

#[test]
fn many_sources_are_cut_and_said() {
    let big = format!("n\n{}", (0..500).map(|n| format!("{n}\n")).collect::<String>());
    let tables = tables(&[("a.csv", &big)]);
    let answer = tables.query("SELECT SUM(n) FROM a").unwrap();
    assert_eq!((answer.rows[0].sources.len(), answer.rows[0].has_more_sources), (200, true));
    assert_eq!(tables.tables()[0].columns[0].kind, Kind::Integer);
}

/// A large file: one megabyte, or as many as `BANDMASTER_TABLE_MEGABYTES` says. Then the test must run alone, because it
/// prints the seconds and checks the memory of the whole process.
#[test]
fn megabytes_are_loaded_and_grouped() {
    let asked: Option<usize> = std::env::var("BANDMASTER_TABLE_MEGABYTES").ok().map(|mb| mb.parse().unwrap());
    let mut text = String::from("order_id,customer,order_date,amount,quantity,status,note\n");
    let mut row = 0_u64;
    while text.len() < asked.unwrap_or(1) << 20 {
        let (day, month) = (row % 28 + 1, row % 12 + 1);
        let (whole, cents) = (row * 7919 % 5000, row * 31 % 100);
        text.push_str(&format!(
            "O-{row:06},C{:04},2025-{month:02}-{day:02},\"{whole}.{cents:02}\",{},{},note {}\n",
            row * 17 % 3000,
            row % 9,
            ["paid", "open", "cancelled"][(row % 3) as usize],
            row * 101 % 7919
        ));
        row += 1;
    }
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).unwrap_or(0)
        };
        (of("VmRSS"), of("VmHWM"))
    };
    let before = memory();
    let begin = std::time::Instant::now();
    let mut tables = Tables::new(Limits { time_ms: 60_000, ..LIMITS }).unwrap();
    tables.add("orders.csv", &text).unwrap();
    let loaded = begin.elapsed();
    let sql = "SELECT status, SUM(amount), COUNT(*) FROM orders GROUP BY 1 ORDER BY 1";
    let answer = tables.query(sql).unwrap();
    let answered = begin.elapsed();
    let after = memory();
    tables.grammar().unwrap();
    println!(
        "{row} rows, loaded {loaded:?}, first answer {answered:?}, kB before {before:?} after {after:?}, with grammar {:?}",
        begin.elapsed()
    );
    if asked.is_some() {
        let with_text = after.1 - before.0 + text.len() / 1024;
        assert!(with_text < 4 * text.len() / 1024, "{with_text} kB");
    }
    assert_eq!(answer.rows.len(), 3);
}
