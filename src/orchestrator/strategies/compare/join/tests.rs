use super::super::scan::statements;
use super::*;

/// The pairs of values that may contradict each other.
fn check(texts: &[&str], expected: &[(&str, &str)]) {
    let all: Vec<Statement> =
        texts.iter().enumerate().flat_map(|(input, text)| statements(input, text)).collect();
    let shown = |one: usize| &texts[all[one].input][all[one].bytes.clone()];
    let found: Vec<(&str, &str)> =
        joined(&all).facts.iter().map(|fact| (shown(fact.pair.0), shown(fact.pair.1))).collect();
    assert_eq!(found, expected, "{texts:?}");
}

#[test]
fn values_of_one_thing_that_differ_are_found_and_others_are_not() {
    check(&["We have 414 guests on 20 May 2026.", "The 441 guests come on 2026-05-20."], &[("414", "441")]);
    check(&["We have 414 guests and 26 rooms.", "26 rooms for 414 guests."], &[]);
    // The 26 rooms have their like in the other text, so that the guests are not compared with them.
    check(&["26 rooms for guests.", "26 rooms and 12 guests' cars."], &[]);
    check(
        &["warranty: 37 months", "| item | is |\n|---|---|\n| warranty | 49 months |"],
        &[("37 months", "49 months")],
    );
    check(&["warranty: 24 months", "warranty: 2 years"], &[]);
    check(&["hall: B348", "seats in hall C456"], &[("B348", "C456")]);
    check(&["keep_days = 60", "Backups: keep for 67 days."], &[("60", "67 days")]);
    // Both texts agree about 13 June. The other day of each, however it is told, may be the same occasion's.
    check(
        &[
            "Entries close on 13 June. Founded in 1932. Put 21 July in your diary.",
            "Jars must be entered by 13.06.2023. We hold the fair on July 12, whatever the weather.",
        ],
        &[("21 July", "July 12")],
    );
    check(
        &["The chair is Greta Farnaby.", "Our chair Leila Zander spoke."],
        &[("Greta Farnaby", "Leila Zander")],
    );
}

#[test]
fn words_show_that_two_statements_speak_of_one_thing_or_they_leave_it_to_the_planner() {
    let check = |texts: [&str; 2], expected: bool| {
        let all: Vec<Statement> =
            texts.iter().enumerate().flat_map(|(input, text)| statements(input, text)).collect();
        assert_eq!(joined(&all).facts[0].is_sure, expected, "{texts:?}");
    };
    check(["takes 414 participants", "Jo Marwick confirms 444 participants"], true);
    check(["warranty: 37 months", "warranty: 49 months from delivery"], true);
    check(["The race has 400 runners.", "Last year 310 runners finished."], false);
    check(["The budget for 2025 was 900 euros.", "The budget for 2026 is 800 euros."], false);
    check(["# Budget 2025\n\n12 projects.", "# Budget 2026\n\n15 projects."], false);
    check(["The walk is 14 km long.", "It is 41 km with a climb."], false);
}

#[test]
fn texts_that_agree_stand_together() {
    let texts = ["port: 80", "port: 80", "port 81"];
    let all: Vec<Statement> =
        texts.iter().enumerate().flat_map(|(input, text)| statements(input, text)).collect();
    assert_eq!(joined(&all).facts[0].sides, [vec![0, 1], vec![2]]);
}
