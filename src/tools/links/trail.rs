//! Takes the records that the goal leads to, step by step.

use std::collections::HashMap;

use super::chain::{Chain, chains};
use super::link::{Link, Reached, Sentence, Source};
use super::records::{Record, records};
use super::words::{can_name, holds, words};

/// Most steps from the goal to the last record.
const STEPS_MAX: usize = 6;
/// With more records it is not a trail, but a selection from a table.
const RECORDS_MAX: usize = 16;
/// Prose is read whole. More of it has to be searched instead.
const PROSE_BYTES_MAX: usize = 6_000;
/// A name that so many records of a file share still leads to them.
const NAMESAKES_MAX: usize = 2;

/// What several files say about a goal: the ways that lead from the goal or the prose through their records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// Indexes of the files that are prose and no links of a chain.
    pub prose: Vec<usize>,
    /// One or more. Each goes through as many files as any other.
    pub chains: Vec<Chain>,
}

/// A chain through so many files is one, even if it leaves others out.
const FILES_ENOUGH: usize = 3;

/// Follows a goal through files, each with its name and text. `None` if the files are not joined by what they share: a
/// chain goes through every file of records, or through three files. Where lists alone make no chain, the sentences of
/// prose are links of it too: "The blue box has been moved to Polaris."
#[must_use]
pub fn follow(goal: &str, files: &[(&str, &str)]) -> Option<Trail> {
    through_lists(goal, files).or_else(|| through_sentences(goal, files))
}

/// Chains whose links are records and sentences.
fn through_sentences(goal: &str, files: &[(&str, &str)]) -> Option<Trail> {
    let mut read: Vec<Option<Vec<Record>>> = files.iter().map(|(name, text)| records(name, text)).collect();
    let is_prose = |file: &usize| read[*file].is_none();
    let prose: Vec<usize> = (0..files.len()).filter(is_prose).collect();
    let lists: Vec<usize> = (0..files.len()).filter(|file| read[*file].is_some()).collect();
    let length: usize = prose.iter().map(|file| files[*file].1.len()).sum();
    if prose.is_empty() || prose.len() == files.len() || length > PROSE_BYTES_MAX {
        return None;
    }
    let mut values: Vec<Vec<String>> = read.iter().flatten().flatten().flat_map(Record::names).collect();
    values.sort_unstable();
    values.dedup();
    for file in prose {
        read[file] = Some(told(files[file].1, &values));
    }
    let listed: Vec<Listed> = read.into_iter().enumerate().filter_map(Listed::of).collect();
    let mut chains = chains(&reached(&listed, goal, &[])?, &[])?;
    keep_named(&mut chains, &named(goal, lists.iter().map(|file| files[*file].1)));
    // A time in the goal tells the ways apart that a name leads to.
    let wanted = times(goal);
    let shared = |chain: &Chain| {
        let own = times(&chain.text());
        wanted.iter().filter(|time| own.contains(time)).count()
    };
    let most = chains.iter().map(shared).max()?;
    chains.retain(|chain| shared(chain) == most);
    (chains.first()?.links.len() >= FILES_ENOUGH).then_some(Trail { prose: Vec::new(), chains })
}

/// The times of day in a text, such as `08:45` or `8.45 pm`, in minutes since midnight.
fn times(text: &str) -> Vec<u32> {
    let tokens: Vec<String> = text
        .split([' ', ',', ';', '\n', '\t', '|'])
        .map(|token| token.trim_end_matches(['.', '?', '!', ':']).to_lowercase())
        .collect();
    let time = |(at, token): (usize, &String)| {
        let clock = token.trim_end_matches(|c: char| c.is_alphabetic() || c == '.');
        let (hour, minute) = clock.split_once([':', '.'])?;
        let (hour, minute): (u32, u32) =
            (hour.parse().ok()?, minute.parse().ok().filter(|_| minute.len() == 2)?);
        let half = format!("{}{}", &token[clock.len()..], tokens.get(at + 1).map_or("", String::as_str))
            .replace('.', "");
        let later = if half.starts_with("pm") && hour < 12 { 12 } else { 0 };
        (hour < 24 && minute < 60).then_some(60 * (hour + later) + minute)
    };
    tokens.iter().enumerate().filter_map(time).collect()
}

/// The sentences of prose as records, each with the values of lists that it holds and the names in it.
fn told(text: &str, values: &[Vec<String>]) -> Vec<Record> {
    let of_line = |(at, line)| sentences(line).map(move |sentence: &str| (at + 1, sentence));
    let record = |(line, sentence): (usize, &str)| {
        let own = words(sentence);
        let held = values.iter().filter(|value| holds(&own, value)).map(|value| value.join(" "));
        let fields = held.chain(capitalised(sentence)).map(|value| (None, value)).collect();
        Record { line, text: sentence.to_owned(), fields, is_sentence: true }
    };
    let all = text.lines().enumerate().flat_map(of_line).map(record);
    all.filter(|record| !record.fields.is_empty()).collect()
}

/// Runs of two words or more with capitals.
fn capitalised(sentence: &str) -> Vec<String> {
    let mut runs: Vec<Vec<&str>> = vec![Vec::new()];
    for word in sentence.split_whitespace() {
        let inner = word.trim_matches(|c: char| !c.is_alphanumeric());
        match inner.starts_with(char::is_uppercase) {
            true => runs.last_mut().expect("there is always a run").push(inner),
            false => runs.push(Vec::new()),
        }
        if word.ends_with(|c: char| !c.is_alphanumeric()) {
            runs.push(Vec::new());
        }
    }
    runs.into_iter().filter(|run| run.len() > 1).map(|run| run.join(" ")).collect()
}

fn through_lists(goal: &str, files: &[(&str, &str)]) -> Option<Trail> {
    let read: Vec<Option<Vec<Record>>> = files.iter().map(|(name, text)| records(name, text)).collect();
    let prose: Vec<usize> = (0..files.len()).filter(|file| read[*file].is_none()).collect();
    if prose.iter().map(|file| files[*file].1.len()).sum::<usize>() > PROSE_BYTES_MAX {
        return None;
    }
    let listed: Vec<Listed> = read.into_iter().enumerate().filter_map(Listed::of).collect();
    let sentences = prose.iter().flat_map(|file| {
        sentences(files[*file].1).map(|text| Sentence { file: *file, text: text.to_owned() })
    });
    let sentences: Vec<Sentence> = sentences.collect();
    let reached = reached(&listed, goal, &sentences)?;
    let mut chains = chains(&reached, &sentences)?;
    keep_named(&mut chains, &named(goal, listed.iter().map(|one| files[one.file].1)));
    let longest = chains.first()?;
    let files = longest.links.len() + usize::from(longest.begins.is_some());
    let goes_on = files > 1 && (longest.links.len() >= listed.len() || files >= FILES_ENOUGH);
    goes_on.then_some(Trail { prose, chains })
}

/// Drops the ways that pass by something that the goal names.
fn keep_named(chains: &mut Vec<Chain>, named: &[Vec<String>]) {
    chains.retain(|chain| {
        let told = words(&chain.text());
        named.iter().all(|name| holds(&told, name))
    });
}

/// The values of lists that the goal names by two words or more, also those in lines that are no records. A way that has
/// nothing of them is about somebody else.
fn named<'a>(goal: &str, lists: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
    let goal = words(goal);
    // A name has capitals, so that "in use" is none. A heading is no entry.
    let is_name = |value: &&str| {
        let mut words = value.split_whitespace();
        words.all(|word| word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()))
    };
    let lines = lists.flat_map(str::lines).filter(|line| !line.trim_start().starts_with('#'));
    let values = lines.flat_map(|line| {
        line.trim_start_matches(['-', '*', '•', ' ']).split([',', ';', ':', '|', '=', '"', '\t'])
    });
    let values = values.map(str::trim).filter(is_name).map(words);
    let mut named: Vec<Vec<String>> =
        values.filter(|value| value.len() > 1 && can_name(value) && holds(&goal, value)).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// Lines, and the sentences of lines.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let ends = |line: &'_ str| {
        let mut from = 0;
        let mut found = Vec::new();
        for (at, mark) in line.match_indices(['.', '!', '?']) {
            let end = at + mark.len();
            if line[end..].starts_with(' ') {
                found.push(from..end);
                from = end;
            }
        }
        found.push(from..line.len());
        found
    };
    let parts =
        text.lines().flat_map(move |line| ends(line).into_iter().map(move |range| line[range].trim()));
    parts.filter(|sentence| !sentence.is_empty())
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
        let mut count: HashMap<Vec<String>, usize> = HashMap::new();
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

struct Text {
    source: Source,
    file: Option<usize>,
    words: Vec<String>,
}

impl Text {
    fn names(&self, file: usize, names: &[Vec<String>]) -> bool {
        self.file != Some(file) && names.iter().any(|name| holds(&self.words, name))
    }
}

/// The records that are reached in a few steps; `None` if there are too many.
fn reached(listed: &[Listed], goal: &str, sentences: &[Sentence]) -> Option<Vec<Reached>> {
    let of_prose = sentences.iter().enumerate().map(|(at, sentence)| Text {
        source: Source::Prose(at),
        file: Some(sentence.file),
        words: words(&sentence.text),
    });
    let mut texts = vec![Text { source: Source::Goal, file: None, words: words(goal) }];
    texts.extend(of_prose);
    let mut all: Vec<(Link, &[Vec<String>])> = Vec::new();
    let mut looked_at = 0;
    for _ in 0..STEPS_MAX {
        let before = all.len();
        for one in listed {
            for (record, names) in one.records.iter().zip(&one.names) {
                let link = Link { file: one.file, record: record.clone() };
                let is_named = || texts[looked_at..].iter().any(|text| text.names(one.file, names));
                if all.iter().all(|(taken, _)| *taken != link) && is_named() {
                    all.push((link, names));
                }
            }
        }
        if all.len() > RECORDS_MAX {
            return None;
        }
        looked_at = texts.len();
        let text = |(at, (link, _)): (usize, &(Link, _))| Text {
            source: Source::Reached(at),
            file: Some(link.file),
            words: words(&link.record.text),
        };
        texts.extend(all.iter().enumerate().skip(before).map(text));
    }
    let reached = all.into_iter().map(|(link, names)| {
        let from = texts.iter().filter(|text| text.names(link.file, names)).map(|text| text.source);
        Reached { from: from.collect(), link }
    });
    Some(reached.collect())
}
