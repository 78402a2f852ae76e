//! The ways as a model reads them, and whether an answer comes from one.

use bandmaster_tools::links::{Chain, Trail};

use crate::checks::{stands_in, words, written_numbers};
use crate::goal::Goal;

/// What the ways are called, in order.
pub(super) fn letters(ways: usize) -> Vec<String> {
    ('A'..='Z').take(ways).map(String::from).collect()
}

/// The files that are prose, whole.
pub(super) fn prose(goal: &Goal, trail: &Trail) -> String {
    let file = |file: &usize| {
        let input = &goal.inputs[*file];
        format!("Text ({}):\n\"\"\"\n{}\n\"\"\"\n", input.name, input.text.trim())
    };
    trail.prose.iter().map(file).collect()
}

pub(super) fn ways(goal: &Goal, chains: &[&Chain]) -> String {
    let told = chains.iter().zip(letters(chains.len()));
    told.map(|(chain, letter)| format!("Way {letter}\n{}", way(goal, chain))).collect::<Vec<_>>().join("\n\n")
}

/// The lines of a way, each with its file.
pub(super) fn way(goal: &Goal, chain: &Chain) -> String {
    let name = |file: usize| goal.inputs[file].name.as_str();
    let begins = chain.begins.iter().map(|sentence| format!("- {}: {}", name(sentence.file), sentence.text));
    let links = chain.links.iter().map(|link| format!("- {}: {}", name(link.file), link.record.text));
    begins.chain(links).collect::<Vec<_>>().join("\n")
}

/// Where the lines of a way stand.
pub(super) fn places(goal: &Goal, chain: &Chain) -> String {
    let name = |file: usize| goal.inputs[file].name.clone();
    let begins = chain.begins.iter().map(|sentence| name(sentence.file));
    let links = chain.links.iter().map(|link| format!("{} line {}", name(link.file), link.record.line));
    begins.chain(links).collect::<Vec<_>>().join(", ")
}

/// Why an answer can't come from a way.
pub(super) fn fault(goal: &Goal, chain: &Chain, answer: &str) -> Option<String> {
    let mut values = chain.links.iter().flat_map(|link| link.record.fields.iter().map(|(_, value)| value));
    let is_new = |value: &str| stands_in(answer, value) && !stands_in(&goal.text, value);
    // A sentence is not made of values: any word of it may be what is asked for.
    let mut told =
        chain.links.iter().filter(|link| link.record.is_sentence).flat_map(|link| words(&link.record.text));
    if !values.any(|value| is_new(value)) && !told.any(|word| word.len() > 3 && is_new(&word)) {
        return Some("it gives nothing of what the lines say".to_owned());
    }
    let known: Vec<_> = written_numbers(&format!("{} {}", goal.text, way(goal, chain))).concat();
    let invented =
        written_numbers(answer).into_iter().find(|ways| !ways.iter().any(|way| known.contains(way)));
    invented.and_then(|ways| Some(format!("{} does not stand in the files", ways.first()?)))
}
