use super::super::super::value::{Bound, Unit};
use super::super::tokens::tokens;
use super::*;

/// The values of a sentence as text, and the nouns of the numbers.
fn check(text: &str, expected: &[(&str, &str)]) {
    let tokens = tokens(text, 0..text.len());
    let found = values(&tokens);
    let told: Vec<(&str, String)> =
        found.iter().map(|one| (&text[one.bytes.clone()], joined(&tokens[one.noun.clone()]))).collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(value, noun)| (*value, noun.as_str())).collect();
    assert_eq!(told, expected, "{text}");
}

fn only(text: &str) -> Value {
    let found = values(&tokens(text, 0..text.len()));
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found.into_iter().next().map(|one| one.value).expect("one value")
}

#[test]
fn values_are_found_by_their_forms() {
    check(
        "begins on 20 September 2026 and takes 414 participants",
        &[("20 September 2026", ""), ("414", "participants")],
    );
    check("on Mon 3 Feb, at 9:30 am, in hall B348", &[("Mon 3 Feb", ""), ("9:30 am", ""), ("B348", "")]);
    check("322 units at EUR 3,650 in total", &[("322", "units"), ("EUR 3,650", "")]);
    check("The fee is 38 euros a month.", &[("38 euros", "")]);
    check("founded in 1823, has 65 members", &[("1823", ""), ("65", "members")]);
    check("timeout is 90s, do not raise it", &[("90s", "")]);
    check(
        "Ciara Jessop leads; write to ciara@example.org",
        &[("Ciara Jessop", ""), ("ciara@example.org", "")],
    );
    check("version v2.4.1 and order PO-1234", &[("v2.4.1", ""), ("PO-1234", "")]);
    check(
        "tables of eight, two thousand four hundred sheep",
        &[("eight", ""), ("two thousand four hundred", "sheep")],
    );
    check("1 200 seats and 2.5 million visitors", &[("1 200", "seats"), ("2.5 million", "visitors")]);
    check("We will come back to one thing. Please ignore it.", &[]);
    check("humidity 51 %, 4 GB of memory", &[("51 %", ""), ("4 GB", "")]);
}

#[test]
fn spellings_of_a_value_are_the_same() {
    use super::super::super::value::{Relation, relation};
    let check = |a: &str, b: &str, expected: Relation| {
        assert_eq!(relation(&only(a), &only(b)), expected, "{a}, {b}");
    };
    check("1,200 seats", "1200 seats", Relation::Same);
    check("1,200 seats", "twelve hundred seats", Relation::Same);
    check("EUR 1.200", "1200 euros", Relation::Same);
    check("EUR 1,200.50", "1.200,50 €", Relation::Same);
    check("60 s", "1 minute", Relation::Same);
    check("60 s", "60 minutes", Relation::Differ);
    check("24 months", "2 years", Relation::Same);
    check("Mon 3 Feb", "2025-02-03", Relation::Same);
    check("20 September 2026", "2026-09-20", Relation::Same);
    check("20 September 2026", "21.09.2026", Relation::Differ);
    check("2:30 pm", "14:30", Relation::Same);
    check("2.30 pm", "14:45", Relation::Differ);
    check("hall B348", "hall b-348", Relation::Same);
    check("8,450 euros", "8,540 euros", Relation::Differ);
    check("38 euros a month", "456 euros a year", Relation::Apart);
    check("at least 20 rooms", "26 rooms", Relation::Same);
    check("36 kg", "36 rooms", Relation::Apart);
}

#[test]
fn a_number_knows_its_unit_and_how_exact_it_is() {
    let bound = |text: &str| match only(text) {
        Value::Number { bound, .. } => bound,
        other => panic!("{other:?}"),
    };
    assert_eq!(bound("at most 31 connections"), Bound::AtMost);
    assert_eq!(bound("about 400 guests"), Bound::About);
    assert_eq!(bound("exactly 400 guests"), Bound::Exact);
    assert!(
        matches!(only("38 euros a month"), Value::Number { unit: Unit::Money("EUR"), per, .. } if per == "month")
    );
}
