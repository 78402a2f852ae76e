//! The words that must or must not occur, as a goal says it.

use super::marks::{Mark, is_listed};
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
const CUES: &str = "\
word words term terms keyword keywords phrase phrases mention mentions mentioning mentioned contain \
contains containing include includes including use uses using appear appears occur occurs feature say \
says name names work speaks speak mentionne enthalten vorkommen";
/// Those of them that stand directly before the word.
const VERBS: &str = "\
mention mentions mentioning contain contains containing include includes including name names say says \
speaks speak";
/// Those that do so only behind the title and a colon or a bracket. "Storage should use plain language" names no word.
const VERBS_IN_PAIRS: &str = "use uses using with has have needs";
const DENIALS: &str = "\
not no never avoid avoiding without don't doesn't mustn't shouldn't can't cannot neither nor omit exclude";
/// Words that may stand before a word that must occur, and are no part of it.
const LEADING: &str = "\
the a an word term keyword phrase words terms keywords our your of about namely these entirely as \
following";
/// What stands where no word is demanded.
const FREE: &str = "anything any free nothing none whatever up open";
/// Words that may stand directly before a title.
const BEFORE_TITLE: &str = "the section part heading";
/// More words than these describe what a section is about.
const TERM_WORDS_MAX: usize = 3;

/// The words that a goal names.
pub(super) fn terms(marks: &[Mark]) -> Vec<Demand> {
    let mut found: Vec<Demand> = (0..marks.len()).flat_map(|at| quoted(marks, at)).collect();
    for at in 0..marks.len() {
        found.extend(unquoted(marks, at));
        found.extend(unquoted_before(marks, at));
        found.extend(unwanted(marks, at));
    }
    found
}

/// A quotation that a cue or the title of a section makes a word that must or must not occur.
fn quoted(marks: &[Mark], at: usize) -> Vec<Demand> {
    let Mark::Quote(text) = &marks[at] else { return Vec::new() };
    let (from, to) = sentence(marks, at);
    let owner = paired_title(marks, from, at);
    let has_cue = marks[from..to].iter().any(|mark| mark.is_in(CUES)) || introduced(marks, from);
    if owner.is_none() && !has_cue {
        return Vec::new();
    }
    let (start, _) = stretch(marks, at);
    let is_wanted = !is_denied(&marks[start..at]) && !is_denied_behind(&marks[at + 1..to]);
    let scope = owner.or_else(|| title_behind(marks, at)).or_else(|| title_before(marks, from, at));
    let scope = scope.map_or_else(|| shared_scope(&marks[from..to]), Scope::One);
    let term = Term { text: text.clone(), is_exact: true };
    let unwanted = excepted(&marks[at + 1..to]).into_iter().filter(|_| is_wanted);
    let unwanted: Vec<Demand> = unwanted
        .map(|title| Demand { term: term.clone(), is_wanted: false, scope: Scope::One(title) })
        .collect();
    std::iter::once(Demand { term, is_wanted, scope }).chain(unwanted).collect()
}

/// The titles in "but not in Honey" behind a word that must occur.
fn excepted(behind: &[Mark]) -> Vec<usize> {
    // What follows another quotation is said of that.
    let other = behind.iter().position(|mark| matches!(mark, Mark::Quote(_)));
    let behind = &behind[..other.unwrap_or(behind.len())];
    let Some(but) = behind.iter().position(|mark| mark.is_one_of(&["but", "not", "never"])) else {
        return Vec::new();
    };
    let skipped =
        behind[but..].iter().take_while(|mark| mark.is_one_of(&["but", "not", "never", "in", "under"]));
    let at = but + skipped.count();
    let is_denied = behind[but..at].iter().any(|mark| mark.is_in(DENIALS));
    let row = behind[at..].iter().take_while(|mark| {
        mark.title().is_some() || mark.is_in(BEFORE_TITLE) || mark.is_one_of(&["and", "or", "nor"])
    });
    if is_denied { row.filter_map(Mark::title).collect() } else { Vec::new() }
}

/// Whether a denial belongs to the word behind it: "do not use the word", but not "no section without the word".
fn is_denied(before: &[Mark]) -> bool {
    // "Neither" and "nor" are one denial.
    let denials = before.iter().filter(|mark| mark.is_in(DENIALS) && !mark.is_one_of(&["nor"])).count();
    let cue = before.iter().rposition(|mark| mark.is_in(CUES) || mark.is_one_of(&["without"]));
    let near = cue.unwrap_or(before.len());
    let is_near = before[near.saturating_sub(4)..].iter().any(|mark| mark.is_in(DENIALS));
    is_near && denials % 2 == 1
}

/// As in "the word must not occur".
fn is_denied_behind(behind: &[Mark]) -> bool {
    const MUST: &str = "must may should shall can is are to";
    const OCCUR: &str = "occur appear stand be used mentioned said";
    let own = behind.iter().take_while(|mark| !matches!(mark, Mark::Semicolon | Mark::Title(_)));
    let own: Vec<&Mark> = own.skip_while(|mark| joins_quotes(mark)).collect();
    let occurs = |mark: Option<&&Mark>| mark.is_some_and(|mark| mark.is_in(OCCUR));
    match own[..] {
        [must, denial, ref rest @ ..] if must.is_in(MUST) && denial.is_in(DENIALS) => {
            occurs(rest.iter().find(|mark| !mark.is_one_of(&["be"])))
        }
        [denial, ref rest @ ..] if denial.is_one_of(&["mustn't", "shouldn't", "can't", "cannot"]) => {
            occurs(rest.iter().find(|mark| !mark.is_one_of(&["be"])))
        }
        _ => false,
    }
}

/// Whether it stands between the quotations of an enumeration, or is one of them.
fn joins_quotes(mark: &Mark) -> bool {
    matches!(mark, Mark::Quote(_) | Mark::Comma) || mark.is_one_of(&["and", "or"])
}

/// The title in `Parking: "barrier" and "gate"`.
fn paired_title(marks: &[Mark], from: usize, at: usize) -> Option<usize> {
    let before = marks[from..at].iter().rposition(|mark| !joins_quotes(mark))? + from;
    match marks[before] {
        Mark::Colon | Mark::Open => marks[from..before].last().and_then(Mark::title),
        _ => None,
    }
}

/// The title in `"barrier" in the section Parking`, `"barrier" has to appear under Parking` and `"barrier" (Parking)`.
fn title_behind(marks: &[Mark], at: usize) -> Option<usize> {
    const MUST: &str = "has have must should needs to be appear occur used mentioned said stand";
    let joined = marks[at + 1..].iter().take_while(|mark| joins_quotes(mark)).count();
    let behind = &marks[at + 1 + joined..];
    let joint = behind.iter().position(|mark| !mark.is_in(MUST))?;
    if !(behind[joint].is_one_of(&["in", "under", "for", "within"]) || behind[joint] == Mark::Open) {
        return None;
    }
    behind[joint + 1..].iter().find(|mark| !mark.is_in(BEFORE_TITLE)).and_then(Mark::title)
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

/// Whether the line or sentence before has a cue and leads to this one: it ends with a colon, as in "Words to use:", or is
/// the head of a table.
fn introduced(marks: &[Mark], mut from: usize) -> bool {
    loop {
        let Some(end) = from.checked_sub(2) else { return false };
        let start = sentence(marks, end).0;
        if list_goes_on(marks, end) {
            from = start;
            continue;
        }
        let before = &marks[start..=end];
        let leads = |mark: &Mark| {
            *mark == Mark::Colon || mark.is_one_of(&["below", "following", "follows", "colon", "behind"])
        };
        return before.iter().any(leads) && before.iter().any(|mark| mark.is_in(CUES));
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
            || mark.is_one_of(&["section", "part", "must", "should", "to", "shall", "please", "not", "never"])
    };
    let behind = &marks[at + 1..to];
    let skipped = behind.iter().take_while(filler).count();
    let Some(first) = behind.get(skipped) else { return Vec::new() };
    let is_pair = matches!(behind.first(), Some(Mark::Colon | Mark::Open));
    let is_wanted = !behind[..skipped].iter().any(|mark| mark.is_in(DENIALS));
    let has_verb = first.is_in(VERBS) || (is_pair && first.is_in(VERBS_IN_PAIRS));
    let has_cue = || marks[from..at].iter().any(|mark| mark.is_in(CUES)) || introduced(marks, from);
    if !(has_verb || (is_pair && has_cue())) {
        return Vec::new();
    }
    let rest = &behind[skipped + usize::from(has_verb)..];
    let again = rest.iter().take_while(|mark| {
        **mark == Mark::Colon || mark.is_in(VERBS) || mark.is_in(VERBS_IN_PAIRS) || mark.is_one_of(&["to"])
    });
    let rest = &rest[again.count()..];
    let ends = |mark: &Mark| {
        matches!(mark, Mark::Semicolon | Mark::Close | Mark::End | Mark::Colon | Mark::Title(_) | Mark::Open)
    };
    let named = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
    listed(named).into_iter().map(|term| Demand { term, is_wanted, scope: Scope::One(title) }).collect()
}

/// What stands without quotation marks before a title: "voles and blog in the part Communication" after a cue.
fn unquoted_before(marks: &[Mark], at: usize) -> Vec<Demand> {
    let Some(title) = marks[at].title() else { return Vec::new() };
    let (from, _) = stretch(marks, at);
    let joint = marks[from..at].iter().rposition(|mark| !mark.is_in(BEFORE_TITLE));
    let Some(joint) =
        joint.map(|joint| from + joint).filter(|joint| marks[*joint].is_one_of(&["in", "under"]))
    else {
        return Vec::new();
    };
    let (sentence_from, _) = sentence(marks, at);
    if !marks[sentence_from..joint].iter().any(|mark| mark.is_in(CUES)) {
        return Vec::new();
    }
    let first = marks[from..joint].iter().rposition(|mark| mark.is_in(CUES) || mark.is_in(LEADING));
    let first = first.map_or(from, |cue| from + cue + 1);
    let is_wanted = !is_denied(&marks[from..first]);
    let demand = |term| Demand { term, is_wanted, scope: Scope::One(title) };
    listed(&marks[first..joint]).into_iter().map(demand).collect()
}

/// What must not occur, without quotation marks: "avoid the words a and b", "the words a and b must not occur".
fn unwanted(marks: &[Mark], at: usize) -> Vec<Demand> {
    const COLON_WITHIN: usize = 4;
    const NOUNS: &[&str] = &["word", "words", "term", "terms", "phrase", "phrases"];
    if !marks[at].is_one_of(NOUNS) {
        return Vec::new();
    }
    let (from, to) = stretch(marks, at);
    let behind = &marks[at + 1..to];
    let must = behind.iter().position(|mark| mark.is_one_of(&["must", "should", "may", "shall"]));
    let denied_behind = must.filter(|at| behind[at + 1..].iter().take(2).any(|mark| mark.is_in(DENIALS)));
    let denied_before = marks[at.saturating_sub(4).max(from)..at].iter().any(|mark| mark.is_in(DENIALS));
    let named = match denied_behind {
        Some(place) => &behind[..place],
        None if denied_before => behind,
        None => return Vec::new(),
    };
    let colon = named.iter().take(COLON_WITHIN).rposition(|mark| *mark == Mark::Colon);
    let named = &named[colon.map_or(0, |at| at + 1)..];
    let named = &named[named.iter().take_while(|mark| mark.is_in(LEADING)).count()..];
    let demand = |term| Demand { term, is_wanted: false, scope: Scope::Whole };
    listed(named).into_iter().map(demand).collect()
}

/// The short items of an enumeration, up to the first one that is none.
fn listed(marks: &[Mark]) -> Vec<Term> {
    let mut found = Vec::new();
    for part in marks.split(|mark| *mark == Mark::Comma || mark.is_one_of(&["and", "or"])) {
        if part.is_empty() {
            continue;
        }
        let told: Vec<&str> =
            part.iter().filter_map(Mark::word).skip_while(|word| is_listed(LEADING, word)).collect();
        let is_size = told.iter().any(|word| unit_named(word).is_some() || value(word).is_some());
        let is_free = told.first().is_some_and(|word| is_listed(FREE, word));
        let is_about_parts =
            |mark: &Mark| is_part_noun(mark) || mark.is_one_of(&["each", "every", "only", "in", "not"]);
        let has_other = part.iter().any(|mark| mark.word().is_none() || is_about_parts(mark));
        if is_size || is_free || has_other || !(1..=TERM_WORDS_MAX).contains(&told.len()) {
            break;
        }
        found.push(Term { text: told.join(" "), is_exact: false });
    }
    found
}

#[cfg(test)]
mod tests;
