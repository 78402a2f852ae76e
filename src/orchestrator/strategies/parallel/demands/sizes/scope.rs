//! Which sections a size holds for.

use super::super::marks::Mark;
use super::super::{Scope, is_part_noun, piece, stretch};
use super::is_compound;
use crate::strategies::limit::Unit;

/// Words that make a size one of the whole text.
pub(super) const WHOLE: &[&str] =
    &["total", "overall", "altogether", "whole", "entire", "together", "combined"];

pub(super) fn scope(
    marks: &[Mark],
    from: usize,
    unit: usize,
    sections: usize,
    number: u32,
    of: Unit,
) -> Scope {
    const EACH: &[&str] = &["each", "every", "per", "apiece", "all", "any", "below", "beneath"];
    let (start, end) = piece(marks, from);
    let here = &marks[start..end];
    // "A 300-word guide", but "four 60-word sections".
    if is_compound(&marks[unit]) && number > 1 {
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
