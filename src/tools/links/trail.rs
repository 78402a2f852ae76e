//! Takes the records that the goal leads to, step by step.

use super::records::{Record, records};
use super::words::{holds, words};

/// Most steps from the goal to the last record.
const STEPS_MAX: usize = 6;
/// With more records it is not a trail, but a selection from a table.
const RECORDS_MAX: usize = 16;
/// Prose is read whole. More of it has to be searched instead.
const PROSE_BYTES_MAX: usize = 6_000;
/// A name that so many records of a file share still leads to them.
const NAMESAKES_MAX: usize = 2;

/// A record that the goal leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Index of the file.
    pub file: usize,
    pub record: Record,
    /// How many steps it is from the goal or the prose, from 1.
    pub step: usize,
}

/// What several files say about a goal, in the order in which one leads to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail {
    /// Indexes of the files that are prose.
    pub prose: Vec<usize>,
    pub links: Vec<Link>,
}

/// Follows a goal through files, each with its name and text. `None` if the files are not joined by what they share: a
/// trail reaches each of them, takes at least one step from one file to another, and has few records.
#[must_use]
pub fn follow(goal: &str, files: &[(&str, &str)]) -> Option<Trail> {
    let read: Vec<Option<Vec<Record>>> = files.iter().map(|(name, text)| records(name, text)).collect();
    let prose: Vec<usize> = (0..files.len()).filter(|file| read[*file].is_none()).collect();
    if prose.iter().map(|file| files[*file].1.len()).sum::<usize>() > PROSE_BYTES_MAX {
        return None;
    }
    let listed: Vec<Listed> = read.into_iter().enumerate().filter_map(Listed::of).collect();
    let mut texts: Vec<(Option<usize>, Vec<String>)> = vec![(None, words(goal))];
    texts.extend(prose.iter().map(|file| (Some(*file), words(files[*file].1))));
    let links = steps(&listed, texts)?;
    let is_reached = |one: &Listed| links.iter().any(|link| link.file == one.file);
    let begins_in_prose = !prose.is_empty() && !links.is_empty();
    let goes_on = begins_in_prose || links.iter().any(|link| link.step > 1);
    (goes_on && listed.iter().all(is_reached)).then_some(Trail { prose, links })
}

/// A file of records, with what can name each of them.
struct Listed {
    file: usize,
    records: Vec<Record>,
    names: Vec<Vec<Vec<String>>>,
}

impl Listed {
    fn of((file, records): (usize, Option<Vec<Record>>)) -> Option<Self> {
        let records = records?;
        let mut names: Vec<Vec<Vec<String>>> = records.iter().map(Record::names).collect();
        let mut count: std::collections::HashMap<Vec<String>, usize> = std::collections::HashMap::new();
        for of_record in &mut names {
            of_record.sort_unstable();
            of_record.dedup();
            of_record.iter().for_each(|name| *count.entry(name.clone()).or_default() += 1);
        }
        for of_record in &mut names {
            of_record.retain(|name| count[name] <= NAMESAKES_MAX);
        }
        Some(Self { file, records, names })
    }
}

/// The records in the order in which they are reached; `None` if there are too many.
fn steps(listed: &[Listed], mut texts: Vec<(Option<usize>, Vec<String>)>) -> Option<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    for step in 1..=STEPS_MAX {
        let mut reached = Vec::new();
        for one in listed {
            for (record, names) in one.records.iter().zip(&one.names) {
                let is_taken = links.iter().any(|link| link.file == one.file && link.record == *record);
                let is_named = |(file, text): &(Option<usize>, Vec<String>)| {
                    *file != Some(one.file) && names.iter().any(|name| holds(text, name))
                };
                if !is_taken && texts.iter().any(is_named) {
                    reached.push(Link { file: one.file, record: record.clone(), step });
                }
            }
        }
        if reached.is_empty() {
            break;
        }
        texts = reached.iter().map(|link| (Some(link.file), words(&link.record.text))).collect();
        links.extend(reached);
        if links.len() > RECORDS_MAX {
            return None;
        }
    }
    Some(links)
}
