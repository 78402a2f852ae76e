//! The words that must or must not occur, as a goal says it.

use super::marks::Mark;
use super::{Scope, Term, is_part_noun, sentence, stretch};
use crate::strategies::limit::{unit_named, value};

/// A word that a goal names, and what it demands of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Demand {
    pub term: Term,
    pub is_wanted: bool,
    pub scope: Scope,
}

/// Words that make a word beside them one that must occur.
const CUES: &[&str] = &[
    "word",
    "words",
    "term",
    "terms",
    "keyword",
    "keywords",
    "phrase",
    "phrases",
    "mention",
    "mentions",
    "mentioning",
    "mentioned",
    "contain",
    "contains",
    "containing",
    "include",
    "includes",
    "including",
    "use",
    "uses",
    "using",
    "appear",
    "appears",
    "occur",
    "occurs",
    "feature",
    "say",
    "says",
    "name",
    "names",
    "work",
    "mentionne",
    "enthalten",
    "vorkommen",
];
/// Those of them that stand directly before the word.
const VERBS: &[&str] = &[
    "mention",
    "mentions",
    "mentioning",
    "contain",
    "contains",
    "containing",
    "include",
    "includes",
    "including",
    "use",
    "uses",
    "using",
    "name",
    "names",
    "say",
    "says",
];
const DENIALS: &[&str] = &[
    "not",
    "no",
    "never",
    "avoid",
    "avoiding",
    "without",
    "don't",
    "doesn't",
    "mustn't",
    "shouldn't",
    "omit",
    "exclude",
];
/// Words that may stand before a word that must occur, and are no part of it.
const LEADING: &[&str] = &["the", "a", "an", "word", "term", "keyword", "phrase", "words", "our", "your"];
/// More words than these describe what a section is about.
const TERM_WORDS_MAX: usize = 3;

/// The words that a goal names.
pub(super) fn terms(marks: &[Mark]) -> Vec<Demand> {
    let mut found: Vec<Demand> = (0..marks.len()).filter_map(|at| quoted(marks, at)).collect();
    found.extend((0..marks.len()).flat_map(|at| unquoted(marks, at)));
    found
}

/// A quotation that a cue or the title of a section makes a word that must or must not occur.
fn quoted(marks: &[Mark], at: usize) -> Option<Demand> {
    let Mark::Quote(text) = &marks[at] else { return None };
    let (from, to) = sentence(marks, at);
    let owner = paired_title(marks, from, at);
    let has_cue = marks[from..to].iter().any(|mark| mark.is_one_of(CUES)) || introduced(marks, from);
    if owner.is_none() && !has_cue {
        return None;
    }
    let (start, _) = stretch(marks, at);
    let is_wanted = !is_denied(&marks[start..at]);
    let scope = owner.or_else(|| title_behind(marks, at)).or_else(|| title_before(marks, from, at));
    let scope = scope.map_or_else(|| shared_scope(&marks[from..to]), Scope::One);
    let term = Term { text: text.clone(), is_exact: true };
    Some(Demand { term, is_wanted, scope })
}

/// Whether a denial belongs to the word behind it: "do not use the word", but not "no section without the word".
fn is_denied(before: &[Mark]) -> bool {
    let denials = before.iter().filter(|mark| mark.is_one_of(DENIALS)).count();
    let cue = before.iter().rposition(|mark| mark.is_one_of(CUES) || mark.is_one_of(&["without"]));
    let near = cue.unwrap_or(before.len());
    let is_near = before[near.saturating_sub(4)..].iter().any(|mark| mark.is_one_of(DENIALS));
    is_near && denials % 2 == 1
}

/// The title in `Parking: "barrier" and "gate"`.
fn paired_title(marks: &[Mark], from: usize, at: usize) -> Option<usize> {
    let joins = |mark: &Mark| matches!(mark, Mark::Quote(_) | Mark::Comma) || mark.is_one_of(&["and", "or"]);
    let before = marks[from..at].iter().rposition(|mark| !joins(mark))? + from;
    match marks[before] {
        Mark::Colon | Mark::Open => marks[from..before].last().and_then(Mark::title),
        _ => None,
    }
}

/// The title in `"barrier" in the section Parking`, `"barrier" has to appear under Parking` and `"barrier" (Parking)`.
fn title_behind(marks: &[Mark], at: usize) -> Option<usize> {
    const MUST: &[&str] = &[
        "has",
        "have",
        "must",
        "should",
        "needs",
        "to",
        "be",
        "appear",
        "occur",
        "used",
        "mentioned",
        "said",
        "stand",
    ];
    const NOUNS: &[&str] = &["the", "section", "part", "heading"];
    let behind = &marks[at + 1..];
    let joint = behind.iter().position(|mark| !mark.is_one_of(MUST))?;
    if !(behind[joint].is_one_of(&["in", "under", "for", "within"]) || behind[joint] == Mark::Open) {
        return None;
    }
    behind[joint + 1..].iter().find(|mark| !mark.is_one_of(NOUNS)).and_then(Mark::title)
}

/// The title in `Parking must mention the word "barrier"`. One among others is no such title.
fn title_before(marks: &[Mark], from: usize, at: usize) -> Option<usize> {
    let place = marks[from..at].iter().rposition(|mark| mark.title().is_some())? + from;
    let is_listed = marks[from..place].iter().rev().take(2).any(|mark| mark.title().is_some());
    marks[place].title().filter(|_| !is_listed)
}

fn shared_scope(sentence: &[Mark]) -> Scope {
    let each = sentence
        .windows(2)
        .any(|pair| pair[0].is_one_of(&["each", "every", "all"]) && is_part_noun(&pair[1]));
    if each { Scope::Each } else { Scope::Whole }
}

/// Whether the line or sentence before ends with a colon and has a cue, as in "Words to use:".
fn introduced(marks: &[Mark], from: usize) -> bool {
    let Some(end) = from.checked_sub(2).filter(|end| marks[*end] == Mark::Colon || list_goes_on(marks, *end))
    else {
        return false;
    };
    let (start, _) = sentence(marks, end);
    match marks[end] {
        Mark::Colon => marks[start..end].iter().any(|mark| mark.is_one_of(CUES)),
        _ => introduced(marks, start),
    }
}

/// Whether a sentence that ends at a place is a line of a list: it begins with a title.
fn list_goes_on(marks: &[Mark], end: usize) -> bool {
    let (start, _) = sentence(marks, end);
    marks[start].title().is_some()
}

/// What stands without quotation marks behind a title: "Parking: barrier" after a cue, "Parking must mention the gate".
fn unquoted(marks: &[Mark], at: usize) -> Vec<Demand> {
    let Some(title) = marks[at].title() else { return Vec::new() };
    let (from, to) = sentence(marks, at);
    let filler = |mark: &&Mark| {
        matches!(mark, Mark::Colon | Mark::Open)
            || mark.is_one_of(&["section", "must", "should", "has", "needs", "to", "shall", "please"])
    };
    let behind = &marks[at + 1..to];
    let skipped = behind.iter().take_while(filler).count();
    let Some(first) = behind.get(skipped) else { return Vec::new() };
    let is_pair = matches!(behind.first(), Some(Mark::Colon | Mark::Open));
    let has_verb = first.is_one_of(VERBS);
    let has_cue = || marks[from..at].iter().any(|mark| mark.is_one_of(CUES)) || introduced(marks, from);
    if !has_verb && !(is_pair && has_cue()) {
        return Vec::new();
    }
    let rest = &behind[skipped + usize::from(has_verb)..];
    let ends = |mark: &&Mark| {
        !matches!(mark, Mark::Semicolon | Mark::Close | Mark::End | Mark::Colon | Mark::Title(_))
    };
    let named: Vec<&Mark> = rest.iter().take_while(ends).collect();
    let mut found = Vec::new();
    for part in named.split(|mark| **mark == Mark::Comma || mark.is_one_of(&["and", "or"])) {
        let told: Vec<&str> =
            part.iter().filter_map(|mark| mark.word()).skip_while(|word| LEADING.contains(word)).collect();
        let is_size = told.iter().any(|word| unit_named(word).is_some() || value(word).is_some());
        if told.len() != part.iter().filter(|mark| !mark.is_one_of(LEADING)).count() || is_size {
            break;
        }
        if !(1..=TERM_WORDS_MAX).contains(&told.len()) {
            break;
        }
        let term = Term { text: told.join(" "), is_exact: false };
        found.push(Demand { term, is_wanted: true, scope: Scope::One(title) });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::marks::marks;
    use super::*;

    fn told(goal: &str) -> Vec<String> {
        let titles = ["Arrival", "Storage", "Contacts"];
        let scope = |scope| match scope {
            Scope::One(section) => titles[section].to_owned(),
            other => format!("{other:?}"),
        };
        let sign = |demand: &Demand| if demand.is_wanted { "" } else { "not " };
        let found = terms(&marks(goal, &titles));
        found.iter().map(|one| format!("{}{} in {}", sign(one), one.term.text, scope(one.scope))).collect()
    }

    #[test]
    fn words_that_must_occur_are_read_with_their_sections() {
        let three = ["badge in Arrival", "coordinator in Contacts", "freezer in Storage"];
        for goal in [
            "Mention in each the word given here: Arrival: \"badge\"; Storage: \"freezer\"; Contacts: \"coordinator\".",
            "and work in these words - Arrival: \"badge\"; Storage: \"freezer\"; Contacts: \"coordinator\"",
            "must mention Arrival: “badge”, Storage: “freezer”, Contacts: “coordinator”",
            "Keywords: Arrival - badge, Storage - freezer, Contacts - coordinator.",
            "Use \"badge\" in Arrival, \"freezer\" under Storage and \"coordinator\" in the section Contacts.",
            "Arrival must mention \"badge\", Storage \"freezer\", and Contacts \"coordinator\".",
            "Each has a word to use:\n- Arrival: badge\n- Storage: freezer\n- Contacts: coordinator\nThanks!",
            "- Arrival (mention the badge)\n- Storage (mention the freezer)\n- Contacts (mention the coordinator)",
            "Arrival should mention the badge. Storage must include the freezer. Contacts: say coordinator.",
            "the word 'badge' has to appear under Arrival, 'freezer' under Storage, 'coordinator' under Contacts",
        ] {
            let mut found = told(goal);
            found.sort();
            assert_eq!(found, three, "{goal}");
        }
        assert_eq!(
            told("Arrival: \"badge\" and \"gate\"; max 50 words"),
            ["badge in Arrival", "gate in Arrival"]
        );
        assert_eq!(
            told("sections Arrival, Storage, Contacts. Do not use the word \"cheap\"."),
            ["not cheap in Whole"]
        );
        assert_eq!(told("Every section must contain the word \"team\"."), ["team in Each"]);
        assert_eq!(told("sections Arrival, Storage and Contacts, and mention \"soup\""), ["soup in Whole"]);
        for goal in [
            "Write a leaflet \"Welcome\" with the sections Arrival, Storage, Contacts.",
            "Arrival: what to do on the first day; Storage: where things are; Contacts: whom to call",
            "Arrival (max 40 words), Storage (60 words), Contacts",
        ] {
            assert_eq!(told(goal), [""; 0], "{goal}");
        }
    }
}
