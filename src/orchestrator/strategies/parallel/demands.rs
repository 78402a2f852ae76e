//! What a goal demands of the sections that it names: most and least words, and words that must or must not occur. It
//! is read by rule, so that each section can be checked by rule.

mod marks;
mod sizes;
mod terms;

use super::super::limit::{self, Limit, Unit};
use crate::checks::{sentences, words};
use crate::choice::PART_NOUNS;
use crate::topic::is_same_word;
use marks::{Mark, marks};

/// What one section has to keep to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Demands {
    pub at_most: Vec<Limit>,
    pub at_least: Vec<Limit>,
    /// What must occur.
    pub terms: Vec<Term>,
    /// What must not occur.
    pub without: Vec<Term>,
}

/// A word or phrase that a goal names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub text: String,
    /// Whether it must occur as it is written, because it stands in quotation marks.
    pub is_exact: bool,
}

/// Which sections something holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    One(usize),
    /// Those that the goal names with it.
    These(Vec<usize>),
    Each,
    /// The text as a whole.
    Whole,
}

/// What the goal demands of each of the sections with these titles. Of a limit for the whole text each gets its share,
/// and a word that may occur anywhere falls to the first.
pub(super) fn demands(goal: &str, titles: &[&str]) -> Vec<Demands> {
    let mut found = vec![Demands::default(); titles.len()];
    let marks = marks(goal, titles);
    let heading_words: usize = titles.iter().map(|title| words(title).len()).sum();
    for size in sizes::sizes(&marks, titles.len()) {
        let taken = if size.of == Unit::Words { heading_words as u32 } else { 0 };
        for (at, demands) in found.iter_mut().enumerate() {
            let own = |limit: Limit, is_least: bool| match &size.scope {
                Scope::One(section) => (*section == at).then_some(limit),
                Scope::These(sections) => sections.contains(&at).then_some(limit),
                Scope::Each => Some(limit),
                Scope::Whole => {
                    let all = limit.most.saturating_sub(taken);
                    let count = titles.len() as u32;
                    if limit.of == Unit::PointWords {
                        return Some(limit);
                    }
                    // Shares of the least are rounded up, so that together they are enough.
                    let share = if is_least { all.div_ceil(count) } else { all / count };
                    Some(Limit { most: share.max(1), ..limit })
                }
            };
            demands.at_most.extend(size.at_most().and_then(|limit| own(limit, false)));
            demands.at_least.extend(size.at_least().and_then(|limit| own(limit, true)));
        }
    }
    for demand in terms::terms(&marks) {
        for (at, demands) in found.iter_mut().enumerate() {
            let is_meant = match &demand.scope {
                Scope::One(section) => *section == at,
                Scope::These(sections) => sections.contains(&at),
                Scope::Whole if demand.is_wanted => at == 0,
                Scope::Each | Scope::Whole => true,
            };
            let list = if demand.is_wanted { &mut demands.terms } else { &mut demands.without };
            if is_meant && !list.contains(&demand.term) {
                list.push(demand.term.clone());
            }
        }
    }
    found
}

/// The numbers of a goal that stand as sizes do, but of which no rule knows what they demand.
pub(super) fn unread(goal: &str, titles: &[&str]) -> Vec<String> {
    let marks = marks(goal, titles);
    let found = sizes::unread(&marks, &sizes::sizes(&marks, titles.len()));
    found.into_iter().filter_map(|at| marks[at].word().map(str::to_owned)).collect()
}

impl Demands {
    /// What a section does not keep to, as the answer says it; `None` if it keeps to everything.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        let too_much = |limit: &&Limit| limit::count(**limit, text) > limit.most as usize;
        let too_little = |limit: &&Limit| limit::count(**limit, text) < limit.most as usize;
        if let Some(limit) = self.at_most.iter().find(too_much) {
            return Some(format!("it has more than {}", limit.told()));
        }
        if let Some(limit) = self.at_least.iter().find(too_little) {
            return Some(format!("it has fewer than {}", limit.told()));
        }
        if let Some(term) = self.terms.iter().find(|term| !term.stands_in(text)) {
            return Some(format!("it lacks \"{}\"", term.text));
        }
        let unwanted = self.without.iter().find(|term| term.stands_in(text))?;
        Some(format!("it has \"{}\"", unwanted.text))
    }

    /// How long a section is to be, and which words it needs, for a model. Models write more than they are asked for, so
    /// later attempts ask for less.
    pub(super) fn told(&self, attempts_before: usize) -> (String, String) {
        let percent = [85, 70, 55][attempts_before.min(2)];
        let least = |of: Unit| self.at_least.iter().find(|limit| limit.of == of).map(|limit| limit.most);
        let sizes = self.at_most.iter().map(|limit| {
            let most = match limit.of {
                Unit::Words | Unit::Characters => {
                    Limit { most: (limit.most * percent / 100).max(1), ..*limit }
                }
                Unit::Sentences | Unit::Points | Unit::PointWords => *limit,
            };
            match least(limit.of) {
                Some(least) if least >= most.most => format!("exactly {}", limit.told()),
                Some(least) => format!("{least} to {}", most.told()),
                // Told only the most, small models write a few words.
                None if most.most >= 20 => format!("{} to {}", most.most / 2, most.told()),
                None => format!("at most {}", most.told()),
            }
        });
        let mut sizes: Vec<String> = sizes.collect();
        if sizes.is_empty() {
            sizes.extend(self.at_least.iter().map(|limit| format!("at least {}", limit.told())));
        }
        let how = match sizes.is_empty() {
            true => "three to six plain sentences".to_owned(),
            false => format!("{} in plain sentences", sizes.join(", ")),
        };
        let quoted = |terms: &[Term]| {
            let quoted: Vec<String> = terms.iter().map(|term| format!("\"{}\"", term.text)).collect();
            quoted.join(" and ")
        };
        let mut terms = String::new();
        if !self.terms.is_empty() {
            terms += &format!(" It must contain {}.", quoted(&self.terms));
            // A section that is too long is cut at its end.
            if attempts_before > 0 {
                terms += " Say that in the first sentences.";
            }
        }
        if !self.without.is_empty() {
            terms += &format!(" It must not contain {}.", quoted(&self.without));
        }
        (how, terms)
    }

    /// A grammar of so many points as the goal demands, if it demands a number of them. How long each is, the check says: a
    /// grammar would end it in the middle.
    pub(super) fn grammar(&self) -> Option<String> {
        const POINTS_MAX: u32 = 20;
        let points =
            |limits: &[Limit]| limits.iter().find(|limit| limit.of == Unit::Points).map(|limit| limit.most);
        let count = points(&self.at_most).filter(|most| points(&self.at_least) == Some(*most))?;
        if !(1..=POINTS_MAX).contains(&count) {
            return None;
        }
        let lines = vec!["point"; count as usize].join(" \"\\n\" ");
        Some(format!("start: {lines}\npoint: /- [^ \\n]+( [^ \\n]+){{1,30}}/\n"))
    }

    /// Whether a section says far less than it may. It is drawn again, but there is nothing wrong with it.
    pub(super) fn is_very_short(&self, text: &str) -> bool {
        let is_short =
            |limit: &Limit| limit.most >= 20 && 5 * limit::count(*limit, text) < limit.most as usize;
        self.at_most.iter().any(is_short)
    }

    /// The first whole sentences of a section that keep to everything, if there are any.
    pub(super) fn within<'a>(&self, text: &'a str) -> Option<&'a str> {
        // A line of a list is whole without a full stop. The number of an item alone is not.
        let is_whole = |sentence: &&str| {
            let is_item =
                sentence.starts_with(['-', '*', '•']) || sentence.starts_with(|c: char| c.is_ascii_digit());
            let ends = sentence.ends_with(['.', '!', '?', '。', '"', '”', ')']);
            (ends || is_item) && sentence.contains(char::is_alphabetic)
        };
        let ends = sentences(text).into_iter().filter(is_whole).map(|sentence| {
            // A sentence is a slice of the text.
            sentence.as_ptr() as usize - text.as_ptr() as usize + sentence.len()
        });
        let kept = |end: usize| Some(&text[..end]).filter(|text| self.fault(text).is_none());
        ends.rev().find_map(kept)
    }
}

impl Term {
    fn stands_in(&self, text: &str) -> bool {
        let (wanted, has) = (words(&self.text), words(text));
        let same = |a: &String, b: &String| a == b || (!self.is_exact && is_same_word(a, b));
        !wanted.is_empty()
            && has.windows(wanted.len()).any(|found| found.iter().zip(&wanted).all(|(a, b)| same(a, b)))
    }
}

fn is_part_noun(mark: &Mark) -> bool {
    mark.is_one_of(PART_NOUNS)
}

/// The row of marks around a place, up to the next mark on each side that ends it.
fn around(marks: &[Mark], at: usize, ends: impl Fn(&Mark) -> bool) -> (usize, usize) {
    let from = marks[..at].iter().rposition(&ends).map_or(0, |before| before + 1);
    let to = marks[at..].iter().position(&ends).map_or(marks.len(), |behind| at + behind);
    (from, to)
}

/// The sentence or line around a place.
fn sentence(marks: &[Mark], at: usize) -> (usize, usize) {
    around(marks, at, |mark| *mark == Mark::End)
}

/// The part of a sentence around a place, between semicolons.
fn stretch(marks: &[Mark], at: usize) -> (usize, usize) {
    around(marks, at, |mark| matches!(mark, Mark::End | Mark::Semicolon))
}

/// The smallest part of a sentence around a place, between commas and parentheses.
fn piece(marks: &[Mark], at: usize) -> (usize, usize) {
    let ends =
        |mark: &Mark| matches!(mark, Mark::End | Mark::Semicolon | Mark::Comma | Mark::Open | Mark::Close);
    around(marks, at, ends)
}
