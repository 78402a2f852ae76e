//! Whether the work was done, by rule: the language of a translation, what of the text has to stay, what must not be
//! added, and the limits. Whether a result is well written no rule can say.

mod kept;
pub(super) mod language;
#[cfg(test)]
mod tests;
mod tidy;

use super::slots::{Slots, Work};
use crate::checks::{check_text, sentences, words};
use crate::strategies::limit::{self, Unit};
use crate::topic::{content_words, is_same_word, is_unspaced};

pub(super) use tidy::tidied;

/// What is wrong with a result.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// In words that follow the name of the text.
    pub why: String,
    /// Whether the work was done, though not quite as asked.
    pub is_usable: bool,
}

/// What is wrong with a result of a text; `None` if it passes every check there is.
pub(super) fn fault(slots: &Slots, source: &str, result: &str) -> Option<Fault> {
    let undone = |why: String| Some(Fault { why, is_usable: false });
    let flawed = |why: String| Some(Fault { why, is_usable: true });
    if let Err(why) = check_text(result) {
        return undone(why);
    }
    if let Some(why) = not_done(slots, source, result) {
        return undone(why);
    }
    if slots.work.keeps_all()
        && let Some(lost) = kept::lost(slots.work, source, result)
    {
        return flawed(format!("{lost} of the text is missing in it"));
    }
    if slots.work != Work::Other
        && let Some(number) = kept::invented(&format!("{source} {}", slots.instruction), result)
    {
        return flawed(format!("{number} does not stand in the text"));
    }
    let limit = slots.limit.filter(|limit| limit::count(*limit, result) > limit.most as usize)?;
    flawed(format!("it has more than {}", limit.told()))
}

/// Why a result is not the work that was asked for.
fn not_done(slots: &Slots, source: &str, result: &str) -> Option<String> {
    let wanted = slots.language.as_deref().and_then(language::named);
    if let Some(why) = wanted.and_then(|wanted| language::misses(wanted, source, result)) {
        return Some(why);
    }
    let from = language::of(source);
    let stays = wanted.is_none_or(|wanted| from == Some(wanted));
    let is_copy = words(source) == words(result);
    if is_copy && words(source).len() > 3 && slots.work != Work::Points {
        let is_there = slots.work == Work::Translate && stays && wanted.is_some();
        return (!is_there).then(|| "it is a copy of the text".to_owned());
    }
    match slots.work {
        Work::Translate => return too_short(source, result, 4),
        Work::Rewrite => {
            if let Some(why) = too_short(source, result, 2) {
                return Some(why);
            }
        }
        Work::Shorten if size(result) >= size(source) => {
            return Some("it is not shorter than the text".to_owned());
        }
        // What a short text says may take as many words.
        Work::SumUp if size(source) >= 60 && 10 * size(result) >= 9 * size(source) => {
            return Some("it is as long as the text".to_owned());
        }
        _ => {}
    }
    let changes_language = language::of(result).is_some_and(|into| from != Some(into));
    if slots.work == Work::Classify || !stays || changes_language {
        return None;
    }
    match slots.work {
        Work::Points => {
            let other = result.lines().find(|point| !is_about(source, point, 3));
            other.map(|point| format!("\"{point}\" does not come from the text"))
        }
        // A reply to a text, or a headline, may use few of its words.
        Work::Other => (!is_about(source, result, usize::MAX)).then(|| UNRELATED.to_owned()),
        _ => (!is_about(source, result, 5)).then(|| UNRELATED.to_owned()),
    }
}

const UNRELATED: &str = "it has nothing to do with the text";

/// Whether at least one of so many of a result's content words stands in the text, and at least one at all.
fn is_about(source: &str, result: &str, one_of: usize) -> bool {
    let has = content_words(source);
    let told = content_words(result);
    let shared = told.iter().filter(|word| has.iter().any(|other| is_same_word(word, other))).count();
    told.is_empty() || has.is_empty() || (shared > 0 && shared >= told.len() / one_of)
}

/// How long a text is in words. Two characters of a script without spaces count as a word.
fn size(text: &str) -> usize {
    let unspaced = text.chars().filter(|c| is_unspaced(*c)).count();
    let spaced: String = text.chars().map(|c| if is_unspaced(c) { ' ' } else { c }).collect();
    words(&spaced).len() + unspaced.div_ceil(2)
}

/// Why a result that is to hold everything can't: it is less than so many tenths as long as the text.
fn too_short(source: &str, result: &str, tenths: usize) -> Option<String> {
    let is_short = 10 * size(result) < tenths * size(source);
    is_short.then(|| "most of the text is missing in it".to_owned())
}

/// The first whole sentences of a shortened text or summary that keep to the limit, if they are at least half of what
/// the limit allows: to leave out more is what was asked for.
pub(super) fn within_limit<'a>(slots: &Slots, result: &'a str) -> Option<&'a str> {
    let limit = slots.limit.filter(|limit| limit.of != Unit::Points)?;
    if !matches!(slots.work, Work::Shorten | Work::SumUp) {
        return None;
    }
    let ends = sentences(result).into_iter().map(|sentence| {
        // A sentence is a slice of the text.
        sentence.as_ptr() as usize - result.as_ptr() as usize + sentence.len()
    });
    let fits = |end: &usize| limit::count(limit, &result[..*end]) <= limit.most as usize;
    let end = ends.take_while(fits).last()?;
    (2 * limit::count(limit, &result[..end]) >= limit.most as usize).then(|| &result[..end])
}
