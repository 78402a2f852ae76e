//! How long the sections may be, as a goal says it.

use super::marks::Mark;
use super::{Scope, is_part_noun, piece, stretch};
use crate::checks::spelled_numbers;
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

/// More of anything is no size of a section.
const SIZE_MAX: u32 = 100_000;

/// The size whose unit stands at a place, such as "words" in "at most 60 words".
fn size(marks: &[Mark], unit: usize, sections: usize) -> Option<Size> {
    let of = unit_named(marks[unit].word()?)?;
    let (first, numbers) = numbers_before(marks, unit)?;
    let is_size = |number: &u32| (*number > 1 || of != Unit::Words) && *number <= SIZE_MAX;
    if numbers.is_empty() || !numbers.iter().all(is_size) || is_of_headings(marks, first, numbers[0]) {
        return None;
    }
    let (least, most) = match numbers[..] {
        [low, high] if low < high => (Some(low), Some(high)),
        [.., number] => range(marks, first, unit, number, of),
        [] => return None,
    };
    let number = most.or(least)?;
    Some(Size { least, most, of, scope: scope(marks, first, unit, sections, number, of) })
}

/// The number before a unit, or both of a range, and where it begins: "60 words", "60 short words", "40 to 60 words",
/// "one hundred and twenty words".
fn numbers_before(marks: &[Mark], unit: usize) -> Option<(usize, Vec<u32>)> {
    const JOINTS: &[&str] = &["to", "and", "or", "bis"];
    let digits =
        |at: usize| marks[at].word().and_then(|word| word.replace([',', '.'], "").parse::<u32>().ok());
    let spelled = |at: usize| {
        marks[at].word().is_some_and(|word| {
            value(word).is_some()
                || matches!(word, "hundred" | "thousand")
                || !spelled_numbers(word).is_empty()
        })
    };
    let last = (unit.saturating_sub(2)..unit).rev().find(|at| digits(*at).is_some() || spelled(*at))?;
    if marks[last..unit].iter().any(|mark| mark.word().is_none()) {
        return None;
    }
    if let Some(number) = digits(last) {
        let low = last
            .checked_sub(2)
            .filter(|_| marks[last - 1].is_one_of(JOINTS))
            .and_then(|at| Some((at, digits(at)?)));
        return Some(match low.filter(|(_, low)| *low < number) {
            Some((at, low)) => (at, vec![low, number]),
            None => (last, vec![number]),
        });
    }
    let mut first = last;
    while first > 0
        && (spelled(first - 1) || (marks[first - 1].is_one_of(JOINTS) && first > 1 && spelled(first - 2)))
    {
        first -= 1;
    }
    let said: Vec<&str> = marks[first..=last].iter().filter_map(Mark::word).collect();
    let numbers =
        spelled_numbers(&said.join(" ")).into_iter().filter_map(|number| number.to_string().parse().ok());
    let numbers: Vec<u32> = numbers.collect();
    let numbers = if numbers.is_empty() { value(said.last()?).into_iter().collect() } else { numbers };
    Some((first, numbers))
}

/// Whether a size is of the headings themselves: "no headings longer than 3 words".
fn is_of_headings(marks: &[Mark], number_at: usize, number: u32) -> bool {
    const HEADING_WORDS: u32 = 8;
    let (start, _) = piece(marks, number_at);
    let nouns = ["heading", "headings", "title", "titles"];
    number <= HEADING_WORDS && marks[start..number_at].iter().any(|mark| mark.is_one_of(&nouns))
}

/// What the words before and behind a number make of it.
fn range(marks: &[Mark], number_at: usize, unit: usize, number: u32, of: Unit) -> (Option<u32>, Option<u32>) {
    let (from, to) = piece(marks, unit);
    let (piece_from, from) = (from, from.max(number_at.saturating_sub(5)).min(number_at));
    // What belongs to another number is no word of this one: "at least 30 and at most 60 words".
    let other = marks[from..number_at].iter().rposition(|mark| {
        mark.is_one_of(&["and", "or", "but"])
            || mark.word().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()))
    });
    let own = other.map_or(from, |at| from + at + 1);
    let before = &marks[own..number_at];
    let between = &marks[number_at + 1..unit];
    let behind = &marks[(unit + 1).min(to)..to.min(unit + 4)];
    // "Or longer than" begins what is said of the next number.
    let next = behind.windows(2).any(|pair| pair[1].is_one_of(&["than"]));
    let behind = if next { &behind[..0] } else { behind };
    let has = |list: &[&str]| {
        before.iter().chain(between).any(|mark| mark.is_one_of(list))
            || behind.iter().take(2).any(|mark| mark.is_one_of(list))
    };
    // "No section may be shorter than 50 words or longer than 80 words": the denial holds for both.
    let is_denied = marks[piece_from.min(number_at)..number_at]
        .iter()
        .any(|mark| mark.is_one_of(&["no", "not", "never", "nothing", "none", "don't"]));
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
    let mut titles = here.iter().filter_map(Mark::title);
    if let (Some(only), None) = (titles.next(), titles.next())
        && !here.iter().any(|mark| mark.is_one_of(EACH))
    {
        return Scope::One(only);
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
            &[
                (None, Some(40), Scope::One(0)),
                (None, Some(60), Scope::One(1)),
                (None, Some(20), Scope::One(2)),
            ],
        );
        check("Each section must be at least 30 and at most 60 words", &[(None, Some(60), Scope::Each)]);
        check(
            "No section may be shorter than 50 words or longer than 80 words",
            &[(Some(50), None, Scope::Each), (None, Some(80), Scope::Each)],
        );
    }
}
