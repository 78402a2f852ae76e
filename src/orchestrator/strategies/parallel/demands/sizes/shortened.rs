//! Sizes that leave something out: those that share a unit, such as "150 words for Life, 50 for Threats", and sections
//! that are named by their place, such as "the first 40, the others 60".

use super::super::marks::Mark;
use super::super::{Scope, is_part_noun, piece, sentence};
use super::{Size, Surroundings, digits, range};

/// Words between the two numbers of a range: "at least 30 and at most 60 words".
const IN_RANGE: &str =
    "and or but to at most least no not more less fewer than over up maximum minimum max min";

/// A size that leaves its unit to another one of its sentence: "150 words for Life, 50 for Threats".
pub(super) fn shortened(marks: &[Mark], at: usize, sections: usize, found: &[Size]) -> Option<Size> {
    let number = digits(marks, at)?;
    // Both ends of "30 to 50" without a unit are left to the person who reads what is unchecked.
    if marks[at + 1].is_one_of(&["to"])
        || at.checked_sub(1).is_some_and(|before| marks[before].is_one_of(&["to"]))
    {
        return None;
    }
    let (from, to) = sentence(marks, at);
    let here = |size: &&Size| (from..to).contains(&size.said.start);
    let next = found.iter().filter(here).find(|size| size.said.start > at);
    if let Some(next) = next
        && marks[at + 1..next.said.start].iter().all(|mark| mark.is_in(IN_RANGE))
    {
        let (start, _) = piece(marks, at);
        let (least, most) = range(&Surroundings::before(marks, start, at), number, next.of);
        return Some(Size { least, most, said: at..at + 1, ..next.clone() });
    }
    let model = found.iter().filter(here).rev().find(|size| size.said.start < at).or(next)?;
    let sections_here = titles_behind(marks, at + 1)
        .or_else(|| titles_before(marks, at))
        .or_else(|| ordinals_before(marks, at, sections))?;
    let is_exact = model.least == model.most;
    Some(Size {
        least: model.least.map(|_| if is_exact || model.most.is_none() { number } else { number / 2 }),
        most: model.most.map(|_| number),
        of: model.of,
        scope: Scope::These(sections_here),
        said: at..at + 1,
    })
}

/// The sections in "for Life and Honey" behind a size.
pub(super) fn titles_behind(marks: &[Mark], at: usize) -> Option<Vec<usize>> {
    const AT_MOST: &str = "max maximum each tops or less at most long";
    let skipped = marks[at..].iter().take_while(|mark| mark.is_in(AT_MOST)).count();
    let joint = at + skipped;
    if !marks.get(joint)?.is_one_of(&["for", "in", "under"]) {
        return None;
    }
    let is_row = |mark: &&Mark| {
        matches!(mark, Mark::Title(_) | Mark::Comma)
            || mark.is_one_of(&["and", "the", "section", "sections", "part", "parts", "both"])
    };
    let row: Vec<&Mark> = marks[joint + 1..].iter().take_while(is_row).collect();
    // Behind a comma, a title belongs to the row only if "and" ends it: not in "for Sun, Rain 80 words".
    let ends = match row.iter().any(|mark| mark.is_one_of(&["and"])) {
        true => row.len(),
        false => row.iter().position(|mark| **mark == Mark::Comma).unwrap_or(row.len()),
    };
    let found: Vec<usize> = row[..ends].iter().filter_map(|mark| mark.title()).collect();
    (!found.is_empty()).then_some(found)
}

/// The sections in "Life and Honey: 150" before a size.
fn titles_before(marks: &[Mark], at: usize) -> Option<Vec<usize>> {
    let before = &marks[..before_fillers(marks, at)];
    let titles = before.iter().rev().take_while(|mark| mark.title().is_some() || mark.is_one_of(&["and"]));
    let titles: Vec<usize> = titles.filter_map(Mark::title).collect();
    (!titles.is_empty()).then_some(titles)
}

/// Where the words begin that may stand between the name of a section and its size.
fn before_fillers(marks: &[Mark], at: usize) -> usize {
    let is_filler = |mark: &&Mark| {
        matches!(mark, Mark::Colon | Mark::Open)
            || mark.is_in(IN_RANGE)
            || is_part_noun(mark)
            || mark.is_one_of(&["has", "have", "gets", "get", "may", "should", "must", "be"])
    };
    at - marks[..at].iter().rev().take_while(is_filler).count()
}

/// The sections in "the first 40, the others 60" before a size.
pub(super) fn ordinals_before(marks: &[Mark], at: usize, sections: usize) -> Option<Vec<usize>> {
    let last = before_fillers(marks, at).checked_sub(1)?;
    let one = |last: usize| ordinal(&marks[last], sections).map(|section| vec![section]);
    one(last).or_else(|| {
        let is_rest = marks[last].is_one_of(&["other", "others", "rest", "remaining"]);
        let (from, to) = sentence(marks, at);
        let named = marks[from..to].iter().filter_map(|mark| ordinal(mark, sections).or(mark.title()));
        let named: Vec<usize> = named.collect();
        (is_rest && !named.is_empty()).then(|| (0..sections).filter(|at| !named.contains(at)).collect())
    })
}

/// The section in "the first" or "the last".
fn ordinal(mark: &Mark, sections: usize) -> Option<usize> {
    let place =
        ["first", "second", "third", "fourth", "fifth"].iter().position(|word| mark.is_one_of(&[word]));
    let place = place.or_else(|| mark.is_one_of(&["last"]).then(|| sections.saturating_sub(1)));
    place.filter(|at| *at < sections)
}
