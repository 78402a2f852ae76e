//! How long the sections may be, as a goal says it.

mod scope;
mod shortened;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::marks::Mark;
use super::{Scope, piece, sentence};
use crate::checks::spelled_numbers;
use crate::strategies::limit::{Limit, Unit, unit_named, value};

use scope::{WHOLE, scope};
use shortened::{ordinals_before, shortened, titles_behind};

/// The least and the most of something, and where the goal says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    pub least: Option<u32>,
    pub most: Option<u32>,
    pub of: Unit,
    pub scope: Scope,
    /// The marks of its number or range.
    pub said: Range<usize>,
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
    // "Bullet points" is one unit.
    let is_unit = |at: usize| marks.get(at).and_then(Mark::word).and_then(unit_named);
    let last = |at: &usize| is_unit(*at).is_none() || is_unit(at + 1) != is_unit(*at);
    let mut found: Vec<Size> =
        (0..marks.len()).filter(last).filter_map(|at| size(marks, at, sections)).collect();
    of_points(marks, &mut found);
    let short = unread(marks, &found).into_iter().filter_map(|at| shortened(marks, at, sections, &found));
    let short: Vec<Size> = short.collect();
    found.extend(short);
    found.sort_by_key(|size| size.said.start);
    found
}

/// The words of each point, as in "five points, none longer than 12 words", are no size of the section.
fn of_points(marks: &[Mark], found: &mut [Size]) {
    for at in 1..found.len() {
        let (before, words) = (&found[at - 1], &found[at]);
        let Some(between) = marks.get(before.said.end..words.said.start) else { continue };
        let goes_on = between.iter().all(|mark| *mark != Mark::End && mark.title().is_none());
        let of_each = between.iter().any(|mark| mark.is_one_of(&["each", "every", "none", "per"]));
        if before.of == Unit::Points && words.of == Unit::Words && goes_on && of_each {
            (found[at].of, found[at].scope) = (Unit::PointWords, before.scope.clone());
        }
    }
}

/// The numbers that stand as sizes do, in a sentence with a size, and are read as none.
pub(super) fn unread(marks: &[Mark], sizes: &[Size]) -> Vec<usize> {
    let is_bare = |at: usize| {
        let next = &marks[at + 1];
        next.word().is_none() || next.is_in(BEHIND_BARE) || is_of_other_unit(marks, at + 1)
    };
    let in_sentence = |at: usize| {
        if is_of_other_unit(marks, at + 1) {
            return true;
        }
        let (from, to) = sentence(marks, at);
        sizes.iter().any(|size| (from..to).contains(&size.said.start))
    };
    // A year is no size.
    let is_size = |number: u32| (2..=SIZE_MAX).contains(&number) && !(1900..2100).contains(&number);
    let numbers = (0..marks.len()).filter(|at| digits(marks, *at).is_some_and(is_size));
    numbers
        .filter(|at| !sizes.iter().any(|size| size.said.contains(at)) && is_bare(*at) && in_sentence(*at))
        .collect()
}

/// Words that may stand behind the number of a size without its unit: "50 for Threats", "30 and at most 60 words".
const BEHIND_BARE: &str = "for in under and or but to at each max most least";
/// More of anything is no size of a section.
const SIZE_MAX: u32 = 100_000;

/// The size whose unit stands at a place, such as "words" in "at most 60 words".
fn size(marks: &[Mark], unit: usize, sections: usize) -> Option<Size> {
    let of = unit_named(marks[unit].word()?)?;
    if is_of_other_unit(marks, unit)
        || unit.checked_sub(1).is_some_and(|before| is_of_other_unit(marks, before))
    {
        return None;
    }
    let (first, numbers) = numbers_before(marks, unit)?;
    let is_size = |number: &u32| (*number > 1 || of != Unit::Words) && *number <= SIZE_MAX;
    if numbers.is_empty() || !numbers.iter().all(is_size) || is_of_headings(marks, first, numbers[0]) {
        return None;
    }
    let (least, most) = match numbers[..] {
        [low, high] if low < high => (Some(low), Some(high)),
        [.., number] => range(&Surroundings::of(marks, first, unit), number, of),
        [] => return None,
    };
    let number = most.or(least)?;
    let named = titles_behind(marks, unit + 1).or_else(|| ordinals_before(marks, first, sections));
    let (start, end) = piece(marks, first);
    let is_whole = marks[start..end].iter().any(|mark| mark.is_one_of(WHOLE));
    let scope = match named.filter(|_| !is_compound(&marks[unit]) && !is_whole) {
        Some(titles) if titles.len() == 1 => Scope::One(titles[0]),
        Some(titles) => Scope::These(titles),
        None => scope(marks, first, unit, sections, number, of),
    };
    Some(Size { least, most, of, scope, said: first..unit })
}

/// The number before a unit, or both of a range, and where it begins: "60 words", "60 short words", "40 to 60 words",
/// "one hundred and twenty words".
fn numbers_before(marks: &[Mark], unit: usize) -> Option<(usize, Vec<u32>)> {
    const JOINTS: &[&str] = &["to", "and", "or", "bis"];
    let digits = |at: usize| digits(marks, at);
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

fn digits(marks: &[Mark], at: usize) -> Option<u32> {
    marks[at].word().and_then(|word| word.replace([',', '.'], "").parse().ok())
}

/// Whether a unit is part of a compound, as in "a 300-word guide".
fn is_compound(unit: &Mark) -> bool {
    unit.is_one_of(&["word", "sentence", "character"])
}

/// As "word" in "15-word sentences", which is no size of a section.
fn is_of_other_unit(marks: &[Mark], unit: usize) -> bool {
    let next = marks.get(unit + 1).and_then(Mark::word).and_then(unit_named);
    marks.get(unit).is_some_and(is_compound) && next.is_some()
}

/// Whether a size is of the headings themselves: "no headings longer than 3 words".
fn is_of_headings(marks: &[Mark], number_at: usize, number: u32) -> bool {
    const HEADING_WORDS: u32 = 8;
    let (start, _) = piece(marks, number_at);
    let nouns = ["heading", "headings", "title", "titles"];
    number <= HEADING_WORDS && marks[start..number_at].iter().any(|mark| mark.is_one_of(&nouns))
}

/// The words around a number.
struct Surroundings<'a> {
    before: &'a [Mark],
    between: &'a [Mark],
    behind: &'a [Mark],
    /// Whether a denial stands before it, perhaps farther away.
    is_denied: bool,
}

impl<'a> Surroundings<'a> {
    /// Those of a number with its unit.
    fn of(marks: &'a [Mark], number_at: usize, unit: usize) -> Self {
        let (from, to) = piece(marks, unit);
        let behind = &marks[(unit + 1).min(to)..to.min(unit + 4)];
        // "Or longer than" begins what is said of the next number.
        let next = behind.windows(2).any(|pair| pair[1].is_one_of(&["than"]));
        let behind = if next { &behind[..0] } else { behind };
        Self { between: &marks[number_at + 1..unit], behind, ..Self::before(marks, from, number_at) }
    }

    /// Those before a number alone.
    fn before(marks: &'a [Mark], piece_from: usize, number_at: usize) -> Self {
        let from = piece_from.max(number_at.saturating_sub(5)).min(number_at);
        // "Under Storage: five points" has nothing to do with fewer.
        let title =
            marks[from..number_at].iter().rposition(|mark| mark.title().is_some() || *mark == Mark::Colon);
        let from = title.map_or(from, |at| from + at + 1);
        // What belongs to another number is no word of this one: "at least 30 and at most 60 words".
        let other = marks[from..number_at].iter().rposition(|mark| {
            mark.is_one_of(&["and", "or", "but"])
                || mark.word().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        });
        let own = other.map_or(from, |at| from + at + 1);
        // "No section may be shorter than 50 words or longer than 80 words": the denial holds for both.
        let is_denied = marks[piece_from.min(number_at)..number_at]
            .iter()
            .any(|mark| mark.is_one_of(&["no", "not", "never", "nothing", "none", "don't"]));
        Self { before: &marks[own..number_at], between: &[], behind: &[], is_denied }
    }
}

/// The least and the most that the words around a number make of it.
fn range(around: &Surroundings<'_>, number: u32, of: Unit) -> (Option<u32>, Option<u32>) {
    let Surroundings { before, between, behind, is_denied } = *around;
    let has = |list: &[&str]| {
        before.iter().chain(between).any(|mark| mark.is_one_of(list))
            || behind.iter().take(2).any(|mark| mark.is_one_of(list))
    };
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
