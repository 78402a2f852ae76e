//! The ways through the records that are reached.

use std::collections::HashSet;

use super::link::{Link, Reached, Sentence, Source};

/// With more ways than these, nobody can choose among them.
const CHAINS_MAX: usize = 8;
/// Ways that are looked at.
const WAYS_MAX: usize = 200;

/// A way from the goal to a record that leads nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The sentence that names the first record; `None` if the goal does.
    pub begins: Option<Sentence>,
    /// One or more records, each named by the one before it, and each of another file.
    pub links: Vec<Link>,
}

impl Chain {
    /// All that stands on the way.
    pub(super) fn text(&self) -> String {
        let begins = self.begins.iter().map(|sentence| sentence.text.as_str());
        let records = self.links.iter().map(|link| link.record.text.as_str());
        begins.chain(records).collect::<Vec<_>>().join("\n")
    }
}

/// The ways through the most records. Where the goal itself names the first record of some of them, it is about those.
/// `None` if there are too many.
pub(super) fn chains(reached: &[Reached], sentences: &[Sentence]) -> Option<Vec<Chain>> {
    let mut open: Vec<(Source, Vec<usize>)> = Vec::new();
    for (at, record) in reached.iter().enumerate() {
        let begins = record.from.iter().filter(|source| !matches!(source, Source::Reached(_)));
        // What the goal names needs no sentence that names it too.
        let by_goal = record.from.contains(&Source::Goal);
        open.extend(
            begins.filter(|source| !by_goal || **source == Source::Goal).map(|source| (*source, vec![at])),
        );
    }
    let mut done: Vec<(Source, Vec<usize>)> = Vec::new();
    while let Some((begins, way)) = open.pop() {
        let last = *way.last()?;
        let is_new = |at: usize| way.iter().all(|taken| reached[*taken].link.file != reached[at].link.file);
        let next = (0..reached.len()).filter(|at| reached[*at].from.contains(&Source::Reached(last)));
        let next: Vec<usize> = next.filter(|at| is_new(*at)).collect();
        if next.is_empty() {
            done.push((begins, way));
        } else {
            open.extend(next.into_iter().map(|at| (begins, [&way[..], &[at]].concat())));
        }
        if open.len() + done.len() > WAYS_MAX {
            return None;
        }
    }
    done.reverse();
    let most = done.iter().map(|(_, way)| way.len()).max()?;
    done.retain(|(_, way)| way.len() == most);
    if done.iter().any(|(begins, _)| *begins == Source::Goal) {
        done.retain(|(begins, _)| *begins == Source::Goal);
    }
    // The same records may be gone through in another order.
    let mut seen = HashSet::new();
    done.retain(|(_, way)| {
        let mut records = way.clone();
        records.sort_unstable();
        seen.insert(records)
    });
    (done.len() <= CHAINS_MAX).then(|| done.into_iter().map(|way| chain(way, reached, sentences)).collect())
}

fn chain((begins, way): (Source, Vec<usize>), reached: &[Reached], sentences: &[Sentence]) -> Chain {
    let begins = match begins {
        Source::Prose(at) => Some(sentences[at].clone()),
        Source::Goal | Source::Reached(_) => None,
    };
    Chain { begins, links: way.into_iter().map(|at| reached[at].link.clone()).collect() }
}
