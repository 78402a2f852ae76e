//! How long the sections may be, as a goal says it.

use super::marks::Mark;
use super::{Scope, is_part_noun, piece, stretch};
use crate::strategies::limit::{Limit, Unit, unit_named, value};

/// The least and the most of something, and where the goal says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub least: Option<u32>,
    pub most: Option<u32>,
    pub of: Unit,
    pub scope: Scope,
}

impl Size {
    pub(super) fn at_least(&self) -> Option<Limit> {
        self.least.map(|most| Limit { most, of: self.of })
    }

    pub(super) fn at_most(&self) -> Option<Limit> {
        self.most.map(|most| Limit { most, of: self.of })
    }
}

/// The sizes that a goal names.
pub(super) fn sizes(marks: &[Mark], sections: usize) -> Vec<Size> {
    let found = (0..marks.len()).filter_map(|at| size(marks, at, sections));
    found.collect()
}

/// The size whose unit stands at a place, such as "words" in "at most 60 words".
fn size(marks: &[Mark], unit: usize, sections: usize) -> Option<Size> {
    let of = unit_named(marks[unit].word()?)?;
    let number_at = |at: usize| marks.get(at)?.word().and_then(value);
    // "60 words", "60 short words", "60 words or less".
    let last = (unit.saturating_sub(2)..unit).rev().find(|at| number_at(*at).is_some())?;
    let number = number_at(last).filter(|number| *number > 1 || of != Unit::Words)?;
    let joined = last.checked_sub(2).filter(|_| marks[last - 1].is_one_of(&["to", "and", "or", "bis"]));
    if let Some((first, low)) =
        joined.and_then(|at| Some((at, number_at(at)?))).filter(|(_, low)| *low < number)
    {
        let scope = scope(marks, first, unit, sections, number, of);
        return Some(Size { least: Some(low), most: Some(number), of, scope });
    }
    let (least, most) = range(marks, last, unit, number, of);
    Some(Size { least, most, of, scope: scope(marks, last, unit, sections, number, of) })
}

/// What the words before and behind a number make of it.
fn range(marks: &[Mark], number_at: usize, unit: usize, number: u32, of: Unit) -> (Option<u32>, Option<u32>) {
    let (from, to) = piece(marks, number_at);
    let before = &marks[from.max(number_at.saturating_sub(5))..number_at];
    let between = &marks[number_at + 1..unit];
    let behind = &marks[unit + 1..to.min(unit + 4)];
    let has = |list: &[&str]| {
        before.iter().chain(between).any(|mark| mark.is_one_of(list))
            || behind.iter().take(2).any(|mark| mark.is_one_of(list))
    };
    let is_denied =
        before.iter().any(|mark| mark.is_one_of(&["no", "not", "never", "nothing", "none", "don't"]));
    let more = has(&["more", "longer", "over", "above", "exceed", "exceeds", "exceeding", "beyond"]);
    let fewer = has(&["less", "fewer", "under", "below", "shorter"]);
    // "60 words or less" allows 60, "under 60 words" does not.
    let inclusive = u32::from(behind.first().is_none_or(|mark| !mark.is_one_of(&["or"])));
    match () {
        () if has(&["least", "minimum", "min", "mindestens"]) => (Some(number), None),
        () if has(&[
            "most",
            "max",
            "maximum",
            "limit",
            "limited",
            "within",
            "tops",
            "höchstens",
            "maximal",
        ]) =>
        {
            (None, Some(number))
        }
        () if is_denied && more => (None, Some(number)),
        () if is_denied && fewer => (Some(number), None),
        () if fewer => (None, Some(number.saturating_sub(inclusive).max(1))),
        () if more => (Some(number + inclusive), None),
        () if has(&["to"]) => (None, Some(number)),
        () if has(&["about", "around", "roughly", "approximately", "circa", "ca", "some"]) => {
            (Some(number * 7 / 10), Some(number * 13 / 10))
        }
        () if has(&["exactly", "precisely"]) || of != Unit::Words => (Some(number), Some(number)),
        // "In 60 words": not many more, and not a few only.
        () if before.last().is_some_and(|mark| mark.is_one_of(&["in", "of", "with", "a", "an"])) => {
            (Some(number / 2), Some(number))
        }
        () => (None, Some(number)),
    }
}

fn scope(marks: &[Mark], from: usize, unit: usize, sections: usize, number: u32, of: Unit) -> Scope {
    const EACH: &[&str] = &["each", "every", "per", "apiece", "all", "any", "below", "beneath"];
    const WHOLE: &[&str] = &["total", "overall", "altogether", "whole", "entire", "together", "combined"];
    let (start, end) = piece(marks, from);
    let here = &marks[start..end];
    // "A 300-word guide", but "four 60-word sections".
    if marks[unit].is_one_of(&["word", "sentence", "character"]) && number > 1 {
        let noun = marks[unit + 1..].iter().take(3).any(is_part_noun);
        return if noun { Scope::Each } else { Scope::Whole };
    }
    if here.iter().any(|mark| mark.is_one_of(WHOLE)) {
        return Scope::Whole;
    }
    let part_before = marks[start..from].iter().any(is_part_noun);
    let is_singular =
        |mark: &Mark| is_part_noun(mark) && mark.word().is_some_and(|word| !word.ends_with('s'));
    if part_before || here.iter().any(|mark| is_singular(mark) || mark.is_one_of(EACH)) {
        return Scope::Each;
    }
    // "Parking (max 40 words)", or a line or clause with one title.
    let opened = start.checked_sub(2).filter(|_| marks[start - 1] == Mark::Open);
    if let Some(title) = opened.and_then(|at| marks[at].title()) {
        return Scope::One(title);
    }
    let (start, end) = stretch(marks, from);
    let mut titles = marks[start..end].iter().filter_map(Mark::title);
    if let (Some(only), None) = (titles.next(), titles.next()) {
        return Scope::One(only);
    }
    let is_large = of == Unit::Words && number as usize >= 60 * sections;
    if is_large { Scope::Whole } else { Scope::Each }
}

#[cfg(test)]
mod tests {
    use super::super::marks::marks;
    use super::*;

    #[test]
    fn sizes_are_read_with_what_they_hold_for() {
        let titles = ["Arrival", "Storage", "Contacts"];
        let check = |goal: &str, expected: &[(Option<u32>, Option<u32>, Scope)]| {
            let found = sizes(&marks(goal, &titles), titles.len());
            let found: Vec<_> = found.iter().map(|size| (size.least, size.most, size.scope)).collect();
            assert_eq!(found, expected, "{goal}");
        };
        let most = |most, scope| [(None, Some(most), scope)];
        check(
            "headings Arrival, Storage, Contacts; no section longer than 100 words.",
            &most(100, Scope::Each),
        );
        check(
            "Arrival, Storage, Contacts, each as a heading, at most 60 words below each",
            &most(60, Scope::Each),
        );
        check("Sections (Arrival, Storage, Contacts), each up to 60 words", &most(60, Scope::Each));
        check("Keep every section under 80 words.", &most(79, Scope::Each));
        check(
            "headings Arrival, Storage, Contacts, max 80 words per section, please",
            &most(80, Scope::Each),
        );
        check("Arrival, Storage, Contacts: 50 words or less each", &most(50, Scope::Each));
        check("don't go over 40 words in any part", &most(40, Scope::Each));
        check(
            "Write a 300-word guide with Arrival, Storage, Contacts",
            &[(Some(150), Some(300), Scope::Whole)],
        );
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
    }
}
