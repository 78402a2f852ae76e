use super::*;

/// The statements of a text: the quoted words and the label.
fn check(text: &str, expected: &[(&str, &str)]) {
    let found = statements(0, text);
    let told: Vec<(&str, String)> =
        found.iter().map(|one| (&text[one.quote.clone()], one.label.join(" "))).collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(quote, label)| (*quote, label.as_str())).collect();
    assert_eq!(told, expected, "{text}");
}

#[test]
fn each_value_is_quoted_with_the_words_that_are_about_it() {
    check(
        "The school begins on 20 September 2026 and takes 414 participants.",
        &[("The school begins on 20 September 2026", ""), ("takes 414 participants", "participants")],
    );
    check(
        "as promised: queries time out after 90 seconds, and we keep backups for 60 days.",
        &[("as promised: queries time out after 90 seconds", ""), ("we keep backups for 60 days", "")],
    );
    check(
        "64 guests, hall B348, tables of eight",
        &[("64 guests", "guests"), ("hall B348", "hall"), ("tables of eight", "")],
    );
    check("[backup]\nkeep_days = 60\n", &[("keep_days = 60", "keep days")]);
    check(
        "| item | value |\n|---|---|\n| total price | EUR 3,650 |",
        &[("| total price | EUR 3,650 |", "total price")],
    );
    check("place: old mill\n", &[("place: old mill", "place")]);
}

#[test]
fn the_unit_of_a_number_may_stand_in_its_key() {
    let found = statements(0, "timeout_seconds = 90");
    assert!(
        matches!(found[0].value, Value::Number { unit: Unit::Measure("time"), times: 1000, .. }),
        "{found:?}"
    );
}

#[test]
fn names_of_titles_dates_and_signatures_state_nothing() {
    let names = |text: &str| -> Vec<String> {
        let found = statements(0, text).into_iter().filter(|one| matches!(one.value, Value::Name(_)));
        found.map(|one| text[one.bytes].to_owned()).collect()
    };
    let letter = "Stour Vale Society: minutes\n\nTHE HONEY FAIR\n\nUntil May 7 we meet at the Wool Market.\n\nBest\nNoor";
    assert_eq!(names(letter), ["Wool Market"]);
    assert_eq!(names("Roofer: Sandovia\nOffer: 9,000 euros\n"), ["Sandovia"]);
    assert_eq!(names("Venue: Drill Hall\n\nContact: Theresa May\n"), ["Drill Hall", "Theresa May"]);
    assert_eq!(names("We meet in the old\nand cold Drill\nHall at noon."), ["Drill\nHall"]);
    assert_eq!(names("The fair is held at the Drill Hall.\n\nMore follows."), ["Drill Hall"]);
}
