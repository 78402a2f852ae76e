//! Conditions that a goal puts into words: "given a fire-fighting course", "they must have a cab".

use bandmaster_tools::calculator::Aggregate;
use serde_json::json;

use super::conditions::{Comparison, Condition};
use super::{COLUMNS_MAX, Combine, Table};
use crate::checks::{numbers_in, words};
use crate::choice::named_columns;
use crate::plan::{AnswerIs, Column};
use crate::topic::{content_words, share_a_word};

/// Words that lead a condition in, each with the words of which one must follow; none if any may.
const LEADS: &[(&str, &[&str])] = &[
    ("if", HAS),
    ("must", &["have", "be"]),
    ("given", &["a", "an"]),
    ("provided", HAS),
    ("assuming", HAS),
    ("condition", &[]),
    ("conditions", &[]),
    ("without", &[]),
    ("except", &[]),
    ("excluding", &[]),
];
const HAS: &[&str] = &["it", "they", "he", "she", "that", "there"];
/// Words with which a clause demands the opposite, or speaks of a part of what is measured: "the price without delivery".
const DENYING: &[&str] = &["without", "except", "excluding", "no", "not", "never"];
/// Words before what is demanded.
const FILLERS: &[&str] = &[
    "a", "an", "the", "it", "they", "he", "she", "that", "must", "have", "has", "be", "is", "are", "there",
    "with", "any",
];
/// A demand of more words is no name for a column.
const NAME_WORDS_MAX: usize = 4;
/// Words at which the condition ends.
const ENDS: &[&str] = &["and", "but", "which", "what", "who", "tell", "list", "show", "give"];
/// Words of conditions that say nothing of what is demanded.
const EMPTY: &[&str] = &[
    "least", "less", "more", "most", "than", "under", "over", "below", "above", "up", "have", "has", "be",
    "must", "only",
];

/// A condition of the goal of which no column and no condition of the table has a word. A table that only lists may
/// leave such words to its columns.
pub(in super::super) fn without_condition(table: &Table, goal: &str) -> Option<String> {
    lacking(table, goal).map(|demand| demand.clause)
}

/// Adds a column for what the planner has left out, if a yes can say it: a cab, a fire-fighting course.
pub(super) fn add_condition(table: &mut Table, goal: &str) {
    let Some(demand) = lacking(table, goal) else { return };
    let words: Vec<&str> = demand.clause.split_whitespace().collect();
    let name = words.iter().skip_while(|word| FILLERS.contains(&word.to_lowercase().as_str()));
    let name: Vec<&str> = name.copied().collect();
    // What is denied can be meant in two ways, and a number needs a column of its own kind.
    let is_plain = !demand.is_denied && numbers_in(&demand.clause).is_empty();
    if !is_plain || !(1..=NAME_WORDS_MAX).contains(&name.len()) || table.columns.len() >= COLUMNS_MAX {
        return;
    }
    let name = name.join(" ");
    table.columns.push(Column { name: name.clone(), kind: AnswerIs::YesNo });
    table.only_if.push(Condition { column: name, is: Comparison::Equal, value: json!("yes") });
}

/// Where the best is chosen, a column of yes and no can only be a condition: "the cheapest room that offers a piano".
pub(super) fn demand_yes(table: &mut Table, goal: &str) {
    let chooses = table.limit.is_some()
        || table.combine.iter().any(|one| matches!(one, Combine::Figure(Aggregate::Most | Aggregate::Least)));
    if !chooses || !named_columns(goal).is_empty() {
        return;
    }
    let said = words(goal);
    let is_denied = |name: &str| {
        let first = words(name).into_iter().next().unwrap_or_default();
        let at = said.iter().position(|word| *word == first).unwrap_or(0);
        said[at.saturating_sub(2)..at].iter().any(|word| DENYING.contains(&word.as_str()))
    };
    for column in table.columns.iter().filter(|column| column.kind == AnswerIs::YesNo) {
        let is_asked = table.only_if.iter().any(|one| one.column.eq_ignore_ascii_case(&column.name));
        if !is_asked {
            let value = json!(if is_denied(&column.name) { "no" } else { "yes" });
            table.only_if.push(Condition { column: column.name.clone(), is: Comparison::Equal, value });
        }
    }
}

fn lacking(table: &Table, goal: &str) -> Option<Demand> {
    let chooses = !table.only_if.is_empty()
        || table.limit.is_some()
        || table.combine.iter().any(|combine| matches!(combine, Combine::Figure(_)));
    if !chooses || !named_columns(goal).is_empty() {
        return None;
    }
    let mut known: Vec<String> =
        table.columns.iter().flat_map(|column| content_words(&column.name)).collect();
    known.extend(table.only_if.iter().filter_map(|one| one.value.as_str()).flat_map(content_words));
    demanded(goal).into_iter().find(|demand| {
        let words: Vec<String> = content_words(&demand.clause)
            .into_iter()
            .filter(|word| !EMPTY.contains(&word.as_str()))
            .collect();
        let says_something = words.iter().any(|word| word.chars().all(char::is_alphabetic) && word.len() > 3);
        says_something && !share_a_word(&words, &known)
    })
}

/// A condition of a goal, in its words.
struct Demand {
    clause: String,
    is_denied: bool,
}

/// What follows the words that lead a condition in, up to the end of its clause.
fn demanded(goal: &str) -> Vec<Demand> {
    let words: Vec<&str> = goal.split_whitespace().collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let is_end = |word: &str| word.ends_with([',', '.', '?', '!', ';', ':']);
        let lead = bare(word);
        let Some((_, behind)) = LEADS.iter().find(|(own, _)| *own == lead) else { continue };
        let follows =
            words.get(at + 1).is_some_and(|next| behind.is_empty() || behind.contains(&bare(next).as_str()));
        if !follows || (is_end(word) && !word.ends_with(':')) {
            continue;
        }
        let mut clause: Vec<&str> = Vec::new();
        for next in &words[at + 1..] {
            if ENDS.contains(&bare(next).as_str()) {
                break;
            }
            clause.push(next);
            if is_end(next) {
                break;
            }
        }
        let clause = clause.join(" ").trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
        let denies = |word: &str| DENYING.contains(&bare(word).as_str());
        let is_denied = denies(word) || clause.split_whitespace().any(denies);
        found.push(Demand { clause, is_denied });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_no_column_is_about_is_noticed() {
        let check = |goal: &str, columns: &[&str], expected: Option<&str>| {
            let columns =
                columns.iter().map(|name| Column { name: (*name).to_owned(), kind: AnswerIs::Number });
            let mut table = Table::of(columns.collect());
            table.combine = vec![Combine::Figure(Aggregate::Most)];
            assert_eq!(without_condition(&table, goal).as_deref(), expected, "{goal}");
        };
        let goal = "Who has the longest time at sea, given a fire-fighting course? Name is enough.";
        check(goal, &["applicant", "time at sea"], Some("a fire-fighting course"));
        check(goal, &["applicant", "time at sea", "fire-fighting course"], None);
        let goal = "Which room is cheapest, if it must have no less than 86 m² of floor space?";
        check(goal, &["room", "rent", "floor space"], None);
        check(goal, &["room", "rent"], Some("it must have no less than 86 m² of floor space"));
        check("List the three best tractors. They must have a cab.", &["tractor", "price", "cab"], None);
        check(
            "The first three by age; conditions: a radio certificate. Only names.",
            &["age"],
            Some("a radio certificate"),
        );
        for goal in [
            "Which offer is the cheapest? Only the name, please.",
            "Which offer is the cheapest? Reply only with the company.",
            "Which offer is the cheapest? If possible, name the street.",
            "I must decide today: which offer is the cheapest?",
            "Of the offers given in the files, which is the cheapest?",
        ] {
            check(goal, &["offer", "price"], None);
        }
    }

    #[test]
    fn a_condition_that_a_yes_or_no_meets_gets_a_column() {
        let column = |name: &str| Column { name: name.to_owned(), kind: AnswerIs::Number };
        let mut table = Table::of(vec![column("applicant"), column("time at sea")]);
        table.combine = vec![Combine::Figure(Aggregate::Most)];
        add_condition(
            &mut table,
            "Who has the longest time at sea, given a fire-fighting course? Name is enough.",
        );
        assert_eq!(table.named(), "applicant, time at sea, fire-fighting course");
        assert_eq!(table.only_if[0].value, json!("yes"));
        let mut table = Table::of(vec![column("applicant"), column("years at sea")]);
        (table.combine, table.limit) = (vec![Combine::List, Combine::Descending], Some(3));
        add_condition(
            &mut table,
            "The first three by years at sea; conditions: a radio certificate. Only names.",
        );
        assert_eq!(table.only_if[0].in_words(), "radio certificate yes");
        let mut table =
            Table::of(vec![column("room"), Column { name: "piano".to_owned(), kind: AnswerIs::YesNo }]);
        table.combine = vec![Combine::Figure(Aggregate::Least)];
        let mut other = table.clone();
        demand_yes(&mut table, "What is the cheapest room that offers a piano?");
        assert_eq!(table.only_if[0].in_words(), "piano yes");
        demand_yes(&mut other, "What is the cheapest room without a piano?");
        assert_eq!(other.only_if[0].in_words(), "piano no");
        // The price without delivery, or an offer without it?
        let mut table = Table::of(vec![column("offer"), column("price")]);
        table.combine = vec![Combine::Figure(Aggregate::Least)];
        let goal = "What is the lowest price, excluding delivery?";
        add_condition(&mut table, goal);
        assert!(table.only_if.is_empty() && without_condition(&table, goal).is_some());
    }
}
