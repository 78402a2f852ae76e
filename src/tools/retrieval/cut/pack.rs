//! Joins units into parts. A part ends at the best border within reach, and a section is cut into parts of about equal
//! length.

use std::ops::Range;

use super::outline::Unit;
use super::{PART_BYTES_MAX, PART_BYTES_MIN};

/// How far ahead the end of a section is looked for.
const AHEAD_BYTES: usize = 4 * PART_BYTES_MAX;

/// The units of each part.
pub(super) fn pack(units: &[Unit]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    while begin < units.len() {
        let end = begin + units_of_part(&units[begin..]);
        parts.push(begin..end);
        begin = end;
    }
    parts
}

/// How many of the units make the first part.
fn units_of_part(units: &[Unit]) -> usize {
    let length = |count: usize| bytes(&units[..count]);
    let fit = units.partition_point(|unit| unit.span.end - units[0].span.start <= PART_BYTES_MAX).max(1);
    let begins_section = |&at: &usize| at < units.len() && units[at].is_heading && !units[at - 1].is_heading;
    for at in (1..=fit).filter(begins_section) {
        let section = at + section_units(&units[at..]);
        if length(at) >= PART_BYTES_MIN || length(section) > PART_BYTES_MAX {
            return at;
        }
    }
    if fit == units.len() {
        return fit;
    }
    let rest = bytes(&units[..section_units(units)]);
    let even = rest / rest.div_ceil(PART_BYTES_MAX).max(1);
    // A heading stays with what it heads.
    let ends = (1..=fit).filter(|&at| length(at) >= even / 2 && !units[at - 1].is_heading);
    ends.max_by_key(|&at| (units[at].border, std::cmp::Reverse(length(at).abs_diff(even)))).unwrap_or(fit)
}

/// Units before the next section, as far as is looked ahead. A heading right under another one begins none.
fn section_units(units: &[Unit]) -> usize {
    let mut at = 1;
    while at < units.len() && units[at].span.end - units[0].span.start <= AHEAD_BYTES {
        if units[at].is_heading && !units[at - 1].is_heading {
            break;
        }
        at += 1;
    }
    at
}

fn bytes(units: &[Unit]) -> usize {
    units.last().map_or(0, |last| last.span.end - units[0].span.start)
}
