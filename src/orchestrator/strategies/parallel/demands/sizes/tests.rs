use super::super::marks::marks;
use super::*;

type Expected = (Option<u32>, Option<u32>, Scope);

fn check(goal: &str, expected: &[Expected]) {
    let titles = ["Arrival", "Storage", "Contacts"];
    let found = sizes(&marks(goal, &titles), titles.len());
    let found: Vec<_> = found.into_iter().map(|size| (size.least, size.most, size.scope)).collect();
    assert_eq!(found, expected, "{goal}");
}

fn most(most: u32, scope: Scope) -> [Expected; 1] {
    [(None, Some(most), scope)]
}

#[test]
fn sizes_are_read_with_what_they_hold_for() {
    check("headings Arrival, Storage, Contacts; no section longer than 100 words.", &most(100, Scope::Each));
    check(
        "Arrival, Storage, Contacts, each as a heading, at most 60 words below each",
        &most(60, Scope::Each),
    );
    check("Sections (Arrival, Storage, Contacts), each up to 60 words", &most(60, Scope::Each));
    check("Keep every section under 80 words.", &most(79, Scope::Each));
    check("headings Arrival, Storage, Contacts, max 80 words per section, please", &most(80, Scope::Each));
    check("Arrival, Storage, Contacts: 50 words or less each", &most(50, Scope::Each));
    check("don't go over 40 words in any part", &most(40, Scope::Each));
    check("Write a 300-word guide with Arrival, Storage, Contacts", &[(Some(150), Some(300), Scope::Whole)]);
    check("three 40-word sections", &[(None, Some(40), Scope::Each)]);
    check("The whole thing must not exceed 250 words.", &most(250, Scope::Whole));
    check("40-60 words per heading", &[(Some(40), Some(60), Scope::Each)]);
    check("between forty and sixty words each", &[(Some(40), Some(60), Scope::Each)]);
    check("at least 30 words per section", &[(Some(30), None, Scope::Each)]);
    check("two sentences per section", &[(Some(2), Some(2), Scope::Each)]);
    check(
        "- Arrival (max 40 words)\n- Storage: up to 50 words\n- Contacts",
        &[(None, Some(40), Scope::One(0)), (None, Some(50), Scope::One(1))],
    );
    check("about 200 words in total", &[(Some(140), Some(260), Scope::Whole)]);
    check("in other words, the key words are given", &[]);
    check("our team of 12, words kept simple", &[]);
    check("each under 60\nWords to use: Arrival - badge", &[]);
    check("No more than one hundred and twenty words each", &most(120, Scope::Each));
    check("Two hundred words in total", &most(200, Scope::Whole));
    check("at most 1,500 words in total", &most(1500, Scope::Whole));
    check("fifty-five words at most per section", &most(55, Scope::Each));
    check("no headings longer than 3 words", &[]);
    check("about 4000000000 words each", &[]);
    check(
        "Arrival 40 words, Storage 60 words, Contacts 20 words",
        &[(None, Some(40), Scope::One(0)), (None, Some(60), Scope::One(1)), (None, Some(20), Scope::One(2))],
    );
    check(
        "Each section must be at least 30 and at most 60 words",
        &[(Some(30), None, Scope::Each), (None, Some(60), Scope::Each)],
    );
}

#[test]
fn points_and_their_lengths_are_told_apart() {
    let points = (Some(5), Some(5), Scope::One(1));
    let words = (None, Some(12), Scope::One(1));
    check(
        "\"Arrival\": at most 40 words. Under \"Storage\": exactly five bullet points, each of at most 12 words.",
        &[(None, Some(40), Scope::One(0)), points.clone(), words.clone()],
    );
    check(
        "\"Storage\" consists of five bullet points, no more, no less, none longer than 12 words.",
        &[points, words],
    );
}

#[test]
fn a_size_that_leaves_out_its_unit_has_that_of_another() {
    check(
        "150 words max for Arrival and Storage, 50 for Contacts",
        &[(None, Some(150), Scope::These(vec![0, 1])), (None, Some(50), Scope::These(vec![2]))],
    );
    check(
        "Arrival: 40 words, Storage: 60, Contacts: 20",
        &[
            (None, Some(40), Scope::One(0)),
            (None, Some(60), Scope::These(vec![1])),
            (None, Some(20), Scope::These(vec![2])),
        ],
    );
    check(
        "the first section at most 40 words, the others 60",
        &[(None, Some(40), Scope::One(0)), (None, Some(60), Scope::These(vec![1, 2]))],
    );
    check("Sections of at most 60 words for the 12 volunteers of the season 2024", &most(60, Scope::Each));
    check(
        "No section may be shorter than 50 words or longer than 80 words",
        &[(Some(50), None, Scope::Each), (None, Some(80), Scope::Each)],
    );
    check(
        "exactly five bullet points for Arrival, 3 for Storage",
        &[(Some(5), Some(5), Scope::One(0)), (Some(3), Some(3), Scope::These(vec![1]))],
    );
    check(
        "60 words for Arrival, Storage 80 words",
        &[(None, Some(60), Scope::One(0)), (None, Some(80), Scope::One(1))],
    );
    check("At most 100 words for Arrival and Storage together", &most(100, Scope::Whole));
    check("Keep to 15-word sentences.", &[]);
    let told = marks("Keep to 15-word sentences.", &["Arrival"]);
    assert_eq!(unread(&told, &sizes(&told, 1)).len(), 1);
}
