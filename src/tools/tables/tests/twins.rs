//! Statements beside the same in plain Rust, over random tables.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::Value;
use super::tables;

#[derive(Debug, Clone)]
struct Sale {
    region: String,
    /// In hundredths, so that the twin adds whole numbers.
    amount: Option<i64>,
    count: i64,
    /// Days after 2024-01-01.
    day: i64,
}

fn sale() -> impl Strategy<Value = Sale> {
    ("[A-D]", proptest::option::weighted(0.8, -10_000_000_i64..10_000_000), -50_i64..50, 0_i64..700)
        .prop_map(|(region, amount, count, day)| Sale { region, amount, count, day })
}

fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100)
}

fn date(day: i64) -> String {
    let first = jiff::civil::Date::constant(2024, 1, 1);
    first.checked_add(jiff::Span::new().days(day)).unwrap().to_string()
}

/// Without the zeros that a result doesn't show.
fn shown(hundredths: i64) -> String {
    decimal(hundredths).trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn csv(sales: &[Sale]) -> String {
    let mut text = String::from("region,amount,count,day\n");
    for sale in sales {
        let amount = sale.amount.map(decimal).unwrap_or_default();
        text.push_str(&format!("{},{amount},{},{}\n", sale.region, sale.count, date(sale.day)));
    }
    // Two rows that make the types the same for every table.
    text + "Z,0.01,1,2024-01-01\nZ,-0.01,-1,2024-01-01\n"
}

fn rows(files: &[(&str, &str)], sql: &str) -> Vec<String> {
    let answer = tables(files).query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let line = |values: &[Value]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join("|");
    answer.rows.iter().map(|row| line(&row.values)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn groups_have_the_exact_sums(sales in proptest::collection::vec(sale(), 0..60)) {
        let mut expected: BTreeMap<&str, (Option<i64>, i64, usize, i64)> = BTreeMap::new();
        for sale in &sales {
            let group = expected.entry(&sale.region).or_insert((None, 0, 0, sale.day));
            group.0 = match (group.0, sale.amount) {
                (sum, None) => sum,
                (sum, Some(amount)) => Some(sum.unwrap_or(0) + amount),
            };
            group.1 += sale.count;
            group.2 += 1;
            group.3 = group.3.max(sale.day);
        }
        let expected: Vec<String> = expected
            .iter()
            .map(|(region, (sum, count, rows, last))| {
                format!("{region}|{}|{count}|{rows}|{}", sum.map(shown).unwrap_or_default(), date(*last))
            })
            .collect();
        let sql = "SELECT region, SUM(amount), SUM(count), COUNT(*), MAX(day) FROM t WHERE region <> 'Z' GROUP BY region";
        prop_assert_eq!(rows(&[("t.csv", &csv(&sales))], sql), expected);
    }

    #[test]
    fn filters_compare_numbers_and_dates(
        sales in proptest::collection::vec(sale(), 0..60),
        least in -10_000_000_i64..10_000_000,
        from in 0_i64..700,
    ) {
        let fits = |sale: &&Sale| sale.amount.is_some_and(|amount| amount >= least) && sale.day > from;
        let days: i64 = sales.iter().filter(fits).map(|sale| sale.day - from).sum();
        let expected = format!("{}|{days}", sales.iter().filter(fits).count());
        let sql = format!(
            "SELECT COUNT(*), TOTAL(days_between('{0}', day)) FROM t \
             WHERE region <> 'Z' AND amount >= {1} AND day > '{0}'",
            date(from), decimal(least)
        );
        prop_assert_eq!(rows(&[("t.csv", &csv(&sales))], &sql), vec![expected]);
    }

    #[test]
    fn joins_pair_equal_keys(
        sales in proptest::collection::vec(sale(), 0..40),
        heads in proptest::collection::vec(("[A-D]", "[a-c]x"), 1..6),
    ) {
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        for (region, name) in &heads {
            for sale in sales.iter().filter(|sale| sale.region == *region) {
                *expected.entry(name).or_default() += sale.count;
            }
        }
        let expected: Vec<String> = expected.iter().map(|(name, sum)| format!("{name}|{sum}")).collect();
        let other = heads.iter().fold(String::from("area,head,n\n"), |t, (area, head)| t + &format!("{area},{head},1\n"));
        let sql = "SELECT head, SUM(count) FROM t JOIN heads ON t.region = heads.area GROUP BY head ORDER BY head";
        prop_assert_eq!(rows(&[("t.csv", &csv(&sales)), ("heads.csv", &other)], sql), expected);
    }
}
