//! The numbers of a goal, and what the words around each say: "at least 24", "seven or more", "within 12 minutes".

use bandmaster_tools::calculator::Decimal;

use super::conditions::Comparison;
use crate::checks::numbers_in;

/// A number of the goal, and how it limits something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub number: Decimal,
    pub is: Option<Comparison>,
}

/// The numbers of a goal. "One" counts nothing, and a number within a name, such as "Falcon-200", is none.
pub(super) fn limits(goal: &str) -> Vec<Limit> {
    let all: Vec<&str> = goal.split_whitespace().collect();
    let clean = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let mut found = Vec::new();
    for (at, word) in all.iter().enumerate() {
        let bare = clean(word);
        let starts_as_name =
            |word: &str| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
        // "The Falcon-200" and "the Orion 5" are names.
        let is_name = (bare.starts_with(char::is_alphabetic) && bare.contains(|c: char| c.is_ascii_digit()))
            || (at > 1 && starts_as_name(all[at - 1]));
        let numbers = numbers_in(word);
        let number = numbers.iter().copied().max_by_key(|number| number.magnitude());
        if let Some(number) = number.filter(|_| !is_name && bare != "one") {
            let before: Vec<String> = all[at.saturating_sub(5)..at].iter().map(|word| clean(word)).collect();
            let after: Vec<String> = all[at + 1..].iter().take(5).map(|word| clean(word)).collect();
            found.push(Limit { number, is: comparison(&before, &after) });
        }
    }
    found
}

/// How the words around a number limit it: "at least" before it, or "or more" after it.
fn comparison(before: &[String], after: &[String]) -> Option<Comparison> {
    const MORE: [&str; 13] = [
        "more",
        "over",
        "above",
        "longer",
        "higher",
        "greater",
        "larger",
        "bigger",
        "older",
        "later",
        "heavier",
        "exceeding",
        "beyond",
    ];
    const LESS: [&str; 13] = [
        "less", "under", "below", "fewer", "shorter", "lower", "smaller", "cheaper", "younger", "earlier",
        "lighter", "before", "nearer",
    ];
    let is = |word: &String, all: &[&str]| all.contains(&word.as_str());
    if let Some(at) = after.iter().position(|word| matches!(word.as_str(), "or" | "and"))
        && let Some(word) = after.get(at + 1)
    {
        match word.as_str() {
            "up" | "upwards" | "better" => return Some(Comparison::AtLeast),
            _ if is(word, &MORE) => return Some(Comparison::AtLeast),
            _ if is(word, &LESS) => return Some(Comparison::AtMost),
            _ => {}
        }
    }
    for (at, word) in before.iter().enumerate().rev() {
        let previous = |back: usize| at.checked_sub(back).map_or("", |at| before[at].as_str());
        let denied = matches!(previous(1), "no" | "not" | "never");
        match (word.as_str(), previous(1)) {
            ("least", "at") | ("minimum" | "min", _) => return Some(Comparison::AtLeast),
            ("most", "at") | ("maximum" | "max" | "within", _) | ("to", "up") => {
                return Some(Comparison::AtMost);
            }
            _ if is(word, &MORE) => {
                return Some(if denied { Comparison::AtMost } else { Comparison::Above });
            }
            _ if is(word, &LESS) => {
                return Some(if denied { Comparison::AtLeast } else { Comparison::Below });
            }
            _ => {}
        }
    }
    None
}
