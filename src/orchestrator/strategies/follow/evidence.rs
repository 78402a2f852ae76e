//! The lines that the goal leads to, and what an answer takes from them.

use std::collections::BTreeSet;

use bandmaster_tools::links::{Link, Trail, follow};

use crate::checks::{stands_in, words, written_numbers};
use crate::goal::Goal;

#[derive(Default)]
pub(super) struct Evidence {
    trail: Trail,
}

/// What an answer takes from the lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picked {
    /// Values that the answer gives and the goal doesn't.
    values: BTreeSet<String>,
    /// Files of which one of several lines is meant, with that line.
    choices: BTreeSet<(usize, usize)>,
}

impl Picked {
    /// Whether two answers take something in common, and never a different line of the same file.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let of_files = |one: &Self| one.choices.iter().map(|(file, _)| *file).collect::<BTreeSet<usize>>();
        let both = &of_files(self) & &of_files(other);
        let differs = |file: &usize| {
            let lines = |one: &Self| -> BTreeSet<usize> {
                one.choices.iter().filter(|(of, _)| of == file).map(|(_, line)| *line).collect()
            };
            lines(self) != lines(other)
        };
        !self.values.is_disjoint(&other.values) && !both.iter().any(differs)
    }
}

impl Evidence {
    /// `None` if the goal's files don't lead from one to another.
    pub(super) fn of(goal: &Goal) -> Option<Self> {
        let files: Vec<(&str, &str)> =
            goal.inputs.iter().map(|input| (input.name.as_str(), &*input.text)).collect();
        follow(&goal.text, &files).map(|trail| Self { trail })
    }

    /// The files that are prose, whole.
    pub(super) fn prose(&self, goal: &Goal) -> String {
        let file = |file: &usize| {
            let input = &goal.inputs[*file];
            format!("Text ({}):\n\"\"\"\n{}\n\"\"\"\n\n", input.name, input.text.trim())
        };
        self.trail.prose.iter().map(file).collect()
    }

    /// The lines, step by step. In reversed order, those of one step stand the other way round.
    pub(super) fn lines(&self, goal: &Goal, is_reversed: bool) -> String {
        let mut links: Vec<&Link> = self.trail.links.iter().collect();
        if is_reversed {
            links.reverse();
            links.sort_by_key(|link| link.step);
        }
        let line = |link: &&Link| {
            format!("{}, line {}: {}", goal.inputs[link.file].name, link.record.line, link.record.text)
        };
        links.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Why the answer can't come from the lines.
    pub(super) fn fault(&self, goal: &Goal, answer: &str) -> Option<String> {
        let picked = self.picked(goal, answer);
        if picked.values.is_empty() {
            return Some("it gives nothing of what the lines say".to_owned());
        }
        let all = format!("{} {} {}", goal.text, self.prose(goal), self.lines(goal, false));
        let known = |readings: &Vec<_>| {
            let in_evidence = written_numbers(&all);
            readings.iter().any(|reading| in_evidence.iter().any(|other| other.contains(reading)))
        };
        let invented = written_numbers(answer).into_iter().find(|readings| !known(readings));
        invented.and_then(|readings| Some(format!("{} does not stand in the files", readings.first()?)))
    }

    pub(super) fn picked(&self, goal: &Goal, answer: &str) -> Picked {
        let given = |value: &str| !words(value).is_empty() && stands_in(answer, value);
        let values =
            self.trail.links.iter().flat_map(|link| link.record.fields.iter().map(|(_, value)| value));
        let values = values.filter(|value| given(value) && !stands_in(&goal.text, value)).cloned().collect();
        let mut choices = BTreeSet::new();
        for link in &self.trail.links {
            let others = || {
                self.trail.links.iter().filter(|other| other.file == link.file && other.record != link.record)
            };
            let is_own = |value: &str| {
                !others().any(|other| other.record.fields.iter().any(|(_, theirs)| theirs == value))
            };
            let is_meant = link.record.fields.iter().any(|(_, value)| given(value) && is_own(value));
            if others().next().is_some() && is_meant {
                choices.insert((link.file, link.record.line));
            }
        }
        Picked { values, choices }
    }

    /// Where the answer comes from: the lines it picks, and those without a choice.
    pub(super) fn places(&self, goal: &Goal, picked: &Picked) -> Vec<String> {
        let is_chosen = |link: &&Link| picked.choices.contains(&(link.file, link.record.line));
        let has_choice = |link: &Link| picked.choices.iter().any(|(file, _)| *file == link.file);
        let links = self.trail.links.iter().filter(|link| is_chosen(link) || !has_choice(link));
        let lines = links.map(|link| format!("{} line {}", goal.inputs[link.file].name, link.record.line));
        let prose = self.trail.prose.iter().map(|file| goal.inputs[*file].name.clone());
        prose.chain(lines).collect()
    }
}
