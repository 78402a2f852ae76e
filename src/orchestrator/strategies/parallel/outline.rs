//! The sections of a text: those that the goal names, or else the planner's.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{mostly_in, words};
use crate::choice::PART_NOUNS;
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::strategies::limit::value;
use crate::strategy::Verdict;
use crate::topic::Foreign;

const OUTLINE_TOKENS_MAX: u32 = 480;
/// Most times the planner is asked for an outline.
const DRAWS: usize = 3;
/// Words that are typical of the worked example in the prompt.
const EXAMPLES_OWN: &[&str] = &["tides", "sea"];
/// Most sections that the planner may list. The goal may name more.
const SECTIONS_MAX: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    pub title: String,
    /// What the section is to say.
    pub instruction: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Outline {
    pub sections: Vec<Section>,
}

pub(super) fn task() -> Task {
    Task {
        instruction: "list the sections".to_owned(),
        tokens_max: OUTLINE_TOKENS_MAX,
        ..Task::new("plan", Job::Plan, [PLANNER; DRAWS])
    }
}

/// How many sections the goal asks for, as in "exactly four headings"; `None` if it names them.
pub(super) fn sections_asked(goal: &Goal) -> Option<usize> {
    if goal.facts.named_aspects.is_empty() { count_asked(&goal.text) } else { None }
}

fn count_asked(goal: &str) -> Option<usize> {
    let said = words(goal);
    let is_plural = |at: &usize| PART_NOUNS.contains(&said[*at].as_str()) && said[*at].ends_with('s');
    // "Two paragraphs each" are parts of a section.
    let is_shared = |at: &usize| said.get(at + 1).is_some_and(|next| matches!(next.as_str(), "each" | "per"));
    let places = (0..said.len()).filter(is_plural).filter(|at| !is_shared(at));
    let mut counts =
        places.filter_map(|at| said[at.saturating_sub(2)..at].iter().rev().find_map(|word| value(word)));
    counts.next().map(|count| count as usize).filter(|count| (2..=SECTIONS_MAX).contains(count))
}

pub(super) fn schema(goal: &Goal) -> Value {
    let most = SECTIONS_MAX.max(goal.facts.named_aspects.len());
    let (least, most) = sections_asked(goal).map_or((2, most), |count| (count, count));
    let section = json!({
        "type": "object",
        "properties": {
            "title": {"type": "string", "minLength": 2},
            "instruction": {"type": "string", "minLength": 4},
        },
        "required": ["title", "instruction"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {"sections": {"type": "array", "items": section, "minItems": least, "maxItems": most}},
        "required": ["sections"],
        "additionalProperties": false,
    })
}

/// The sections that the goal names, or else the whole answer as one.
pub(super) fn sections_named(aspects: &[String]) -> Vec<Section> {
    let section = |aspect: &str| Section { title: aspect.to_owned(), instruction: format!("about {aspect}") };
    match aspects {
        [] | [_] => vec![section("the whole answer")],
        named => named.iter().map(|aspect| section(aspect)).collect(),
    }
}

/// An outline must have two sections or more, or as many as the goal says, each only once, and all that the goal names.
pub(super) fn check(text: &str, goal: &Goal) -> Verdict {
    let outline = match serde_json::from_str::<Outline>(text) {
        Ok(outline) => outline,
        Err(e) => return Verdict::reject(format!("not the JSON that was asked for: {e}")),
    };
    let mut seen = std::collections::HashSet::new();
    let twice = outline.sections.iter().find(|section| !seen.insert(words(&section.title)));
    let told: String =
        outline.sections.iter().map(|one| format!("{} {} ", one.title, one.instruction)).collect();
    if goal.topic(EXAMPLES_OWN).foreign(&told) == Some(Foreign::Example) {
        return Verdict::reject("a section comes from the worked example, not from the goal");
    }
    if let Some(left_out) = goal.facts.named_aspects.iter().find(|aspect| !mostly_in(&told, aspect)) {
        return Verdict::reject(format!("the goal asks for {left_out} too"));
    }
    if outline.sections.iter().any(|section| words(&section.title).is_empty()) {
        return Verdict::reject("a section has no title");
    }
    match (twice, sections_asked(goal)) {
        (Some(section), _) => Verdict::reject(format!("the section {} comes twice", section.title)),
        (None, Some(count)) if outline.sections.len() != count => {
            Verdict::reject(format!("there must be {count} sections"))
        }
        (None, _) if outline.sections.len() < 2 => Verdict::reject("there must be two sections or more"),
        (None, _) => Verdict::Accept(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_sections_is_read() {
        for (goal, count) in [
            ("It should have exactly four headings", Some(4)),
            ("Four headed sections, please", Some(4)),
            ("a text in three parts", Some(3)),
            ("write sections on bees", None),
            ("5 words per section", None),
            ("with 2 paragraphs each", None),
        ] {
            assert_eq!(count_asked(goal), count, "{goal}");
        }
    }
}
