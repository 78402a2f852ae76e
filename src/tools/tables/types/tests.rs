use super::column::{Cell, ColumnFacts, Kind};
use super::dates::{DateOrder, Moment, months_between};
use super::numbers::DecimalMark;

/// Decides the type of a column and reads its values.
fn decided(values: &[&str]) -> (Kind, String, Vec<String>, String) {
    let mut facts = ColumnFacts::default();
    for (at, value) in values.iter().enumerate() {
        facts.see(at + 2, value);
    }
    let mut notes = Vec::new();
    let decided = facts.decide(None, None, &mut notes);
    let cells = values.iter().map(|value| match decided.cell(value) {
        Cell::Empty => String::new(),
        Cell::Integer(value) => value.to_string(),
        Cell::Real(value) => value.to_string(),
        Cell::Text(text) => text.into_owned(),
    });
    (decided.kind, decided.unit.clone(), cells.collect(), notes.join("; "))
}

/// `note` is a part of what is said; if it is empty, nothing may be said.
fn check(values: &[&str], kind: Kind, unit: &str, cells: &[&str], note: &str) {
    let (found, found_unit, found_cells, notes) = decided(values);
    assert_eq!((found, found_unit.as_str()), (kind, unit), "{values:?}: {notes}");
    assert_eq!(found_cells, cells, "{values:?}: {notes}");
    assert!(if note.is_empty() { notes.is_empty() } else { notes.contains(note) }, "{values:?}: {notes:?}");
}

#[test]
fn numbers_are_read_as_the_whole_column_writes_them() {
    check(&["1", "-20", "+3"], Kind::Integer, "", &["1", "-20", "3"], "");
    check(&["1,104.52", "7.5"], Kind::Decimal, "", &["1104.52", "7.5"], "");
    check(&["1.104,52", "7,5"], Kind::Decimal, "", &["1104.52", "7.5"], "");
    check(&["1.234", "0,5"], Kind::Decimal, "", &["1234", "0.5"], "");
    check(&["1,234", "0.5"], Kind::Decimal, "", &["1234", "0.5"], "");
    check(&["1,234", "2,345"], Kind::Integer, "", &["1234", "2345"], "taken to be a point");
    check(&["1.234", "2.345"], Kind::Decimal, "", &["1.234", "2.345"], "taken to be a point");
    check(&["1.234.567"], Kind::Integer, "", &["1234567"], "");
    check(&["1'234.5", "12 345,0"], Kind::Text, "", &["1'234.5", "12 345,0"], "");
    check(&["1 234,50", "12\u{a0}345,00"], Kind::Decimal, "", &["1234.5", "12345"], "");
    check(&["(1,200.50)", "−3.5"], Kind::Decimal, "", &["-1200.5", "-3.5"], "");
    check(&["1.5e3", "2.5E-2"], Kind::Decimal, "", &["1500", "0.025"], "");
    check(&["0.125", "0.250"], Kind::Decimal, "", &["0.125", "0.25"], "");
}

#[test]
fn units_are_taken_off_if_all_values_have_the_same() {
    check(&["12 kg", "7 kg"], Kind::Integer, "kg", &["12", "7"], "");
    check(&["€ 1,200.50", "€3.10"], Kind::Decimal, "€", &["1200.5", "3.1"], "");
    check(&["1.200,50 EUR", "3,10 EUR"], Kind::Decimal, "EUR", &["1200.5", "3.1"], "");
    check(&["-$5.00", "$7.25"], Kind::Decimal, "$", &["-5", "7.25"], "");
    check(&["$.50"], Kind::Decimal, "$", &["0.5"], "");
    check(&["12%", "7.5 %"], Kind::Decimal, "%", &["12", "7.5"], "");
    check(&["10 GB", "500 MB"], Kind::Text, "", &["10 GB", "500 MB"], "units differ: \"500 MB\" in line 3");
    check(&["12a", "14b"], Kind::Text, "", &["12a", "14b"], "");
    check(
        &["36 Ashcombe Road", "2 Carrowe Road"],
        Kind::Text,
        "",
        &["36 Ashcombe Road", "2 Carrowe Road"],
        "",
    );
}

#[test]
fn codes_and_long_numbers_stay_texts() {
    check(&["007", "12"], Kind::Text, "", &["007", "12"], "\"007\" in line 2 begin with a zero");
    check(&["12345678901234567890"], Kind::Text, "", &["12345678901234567890"], "20 digits");
    check(&["0.1234567890123456"], Kind::Text, "", &["0.1234567890123456"], "16 digits");
    check(&["INV-5089", "INV-5090"], Kind::Text, "", &["INV-5089", "INV-5090"], "");
    check(&["1.2.3", "10.0.0.1"], Kind::Text, "", &["1.2.3", "10.0.0.1"], "");
}

#[test]
fn one_value_among_many_decides() {
    let mut values = vec!["5"; 5000];
    values.push("five");
    let (kind, _, _, notes) = decided(&values);
    assert_eq!(kind, Kind::Text);
    assert_eq!(notes, "kept as text: 5000 of 5001 values are numbers, but not \"five\" in line 5002");
    values[5000] = "5.25";
    assert_eq!(decided(&values).0, Kind::Decimal);
    values[5000] = "n/a";
    let (kind, _, cells, notes) = decided(&values);
    assert_eq!((kind, cells[5000].as_str()), (Kind::Integer, ""));
    assert_eq!(notes, "taken as empty: \"n/a\" in line 5002");
}

#[test]
fn dates_are_read_in_many_forms() {
    let mixed = ["2025-12-01", "08.01.2025", "2 Apr 2025", "March 3, 2025", "1/5/25", "31/12/2024"];
    let read = ["2025-12-01", "2025-01-08", "2025-04-02", "2025-03-03", "2025-05-01", "2024-12-31"];
    check(&mixed, Kind::Date, "", &read, "two digits");
    check(&["3. März 2025", "1. Mai 2024"], Kind::Date, "", &["2025-03-03", "2024-05-01"], "");
    check(&["Mon, 5 May 2025", "05-Mar-2025"], Kind::Date, "", &["2025-05-05", "2025-03-05"], "");
    check(&["2025-02-30"], Kind::Text, "", &["2025-02-30"], "");
    check(&["2025/1/2", "20250102"], Kind::Text, "", &["2025/1/2", "20250102"], "");
    check(&["marketing 1 2025"], Kind::Text, "", &["marketing 1 2025"], "");
}

#[test]
fn the_column_says_which_number_is_the_month() {
    check(&["01/02/2025", "13/02/2025"], Kind::Date, "", &["2025-02-01", "2025-02-13"], "");
    check(&["01/02/2025", "02/13/2025"], Kind::Date, "", &["2025-01-02", "2025-02-13"], "");
    check(
        &["01/02/2025"],
        Kind::Date,
        "",
        &["2025-02-01"],
        "are read as day, month, year, which the file doesn't prove",
    );
    check(&["02/02/2025"], Kind::Date, "", &["2025-02-02"], "");
    let (kind, _, _, notes) = decided(&["13/02/2025", "02/13/2025"]);
    assert_eq!(kind, Kind::Text);
    assert!(notes.contains("day comes first in line 2, but the month comes first in line 3"), "{notes}");
}

#[test]
fn times_keep_their_order() {
    check(&["2025-01-07T01:12:44Z"], Kind::DateTime, "", &["2025-01-07 01:12:44"], "");
    check(
        &["2025-01-07 01:12:44,120", "2025-01-07"],
        Kind::DateTime,
        "",
        &["2025-01-07 01:12:44.12", "2025-01-07 00:00:00"],
        "1 values have no time",
    );
    check(
        &["7 Jan 2025 1:05 pm", "7 Jan 2025 12:05am"],
        Kind::DateTime,
        "",
        &["2025-01-07 13:05:00", "2025-01-07 00:05:00"],
        "",
    );
    check(
        &["2025-01-07T01:00:00+02:00", "2025-01-07T01:00:00Z"],
        Kind::DateTime,
        "",
        &["2025-01-06 23:00:00", "2025-01-07 01:00:00"],
        "moved to UTC",
    );
    check(&["2025-01-07T01:00:00+02:00"], Kind::DateTime, "", &["2025-01-07 01:00:00"], "+2.0 hours");
    check(&["10 Oct 2000 13:55:36 -0700"], Kind::DateTime, "", &["2000-10-10 13:55:36"], "-7.0 hours");
}

#[test]
fn words_for_yes_and_no_are_booleans() {
    check(&["yes", "No", ""], Kind::Boolean, "", &["1", "0", ""], "");
    check(&["true", "FALSE"], Kind::Boolean, "", &["1", "0"], "");
    check(&["yes", "maybe"], Kind::Text, "", &["yes", "maybe"], "");
    check(&["0", "1"], Kind::Integer, "", &["0", "1"], "");
}

#[test]
fn other_columns_decide_what_a_column_leaves_open() {
    let mut facts = ColumnFacts::default();
    facts.see(1, "1.234");
    facts.see(2, "");
    let mut notes = Vec::new();
    let decided = facts.decide(Some(DecimalMark::Comma), None, &mut notes);
    assert_eq!((decided.kind, decided.cell("1.234")), (Kind::Integer, Cell::Integer(1234)));
    assert!(notes[0].contains("as in the file's other columns"), "{notes:?}");
    let mut facts = ColumnFacts::default();
    facts.see(1, "01/02/2025");
    let decided = facts.decide(None, Some(DateOrder::MonthFirst), &mut Vec::new());
    assert_eq!(decided.cell("01/02/2025"), Cell::Text("2025-01-02".into()));
}

#[test]
fn months_between_counts_whole_months() {
    let date = |text: &str| text.parse().unwrap();
    let check = |from, to, months| assert_eq!(months_between(date(from), date(to)), months, "{from} {to}");
    check("2025-01-15", "2025-02-14", 0);
    check("2025-01-15", "2025-02-15", 1);
    check("2025-01-31", "2025-02-28", 1);
    check("2025-03-15", "2025-01-16", -1);
    check("2024-01-01", "2025-01-01", 12);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,30}") {
        let _ = decided(&[&text]);
    }

    #[test]
    fn texts_like_dates_and_numbers_make_nothing_panic(text in "[-+0-9eE.,:/ TZapmJanMär€$%()']{0,24}") {
        let _ = decided(&[&text, "1"]);
        let _ = Moment::read(&text);
    }

    #[test]
    fn every_number_is_read_back(units in -999_999_999_999_i64..999_999_999_999, decimals in 1_usize..5) {
        let sign = if units < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", units.abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let grouped = whole.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap()).collect::<Vec<_>>();
        let plain: f64 = format!("{sign}{whole}.{fraction}").parse().unwrap();
        for (group, point) in [(",", "."), (".", ","), (" ", ","), ("'", ".")] {
            let text = format!("{sign}{}{point}{fraction}", grouped.join(group));
            // A second value proves the decimal mark.
            let (kind, _, cells, notes) = decided(&[&text, &format!("0{point}5")]);
            proptest::prop_assert_eq!(kind, Kind::Decimal, "{}: {}", text, notes);
            proptest::prop_assert_eq!(cells[0].parse::<f64>().unwrap(), plain, "{}", text);
        }
    }
}

#[test]
fn a_date_that_may_be_read_in_two_ways_has_two_readings() {
    let check = |text: &str, expected: &[(i16, i8, i8)]| {
        assert_eq!(super::days_meant(text), expected, "{text}");
    };
    check("20 September 2026", &[(2026, 9, 20)]);
    check("Sat, Sep 20th, 2026", &[(2026, 9, 20)]);
    check("01/02/2025", &[(2025, 2, 1), (2025, 1, 2)]);
    check("13/02/2025", &[(2025, 2, 13)]);
    check("05/05/2025", &[(2025, 5, 5)]);
    check("30 February 2025", &[]);
    check("hall B348", &[]);
}
