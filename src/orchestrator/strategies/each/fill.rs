//! Asks the planner to fill in the slots, and corrects by rule what the goal itself says: limits, languages and labels.

use serde_json::{Value, json};

use super::checks::language;
use super::slots::{Slots, Together, Work};
use crate::band::{Finish, Reply};
use crate::checks::{mostly_in, words};
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::state::RunState;
use crate::strategies::limit::{self, Unit};
use crate::strategy::Verdict;
use crate::topic::Foreign;

const SLOTS_TOKENS_MAX: u32 = 320;
/// Most times the planner is asked for slots.
const DRAWS: usize = 4;
/// If the instruction has more words, the planner did not stop in time.
const INSTRUCTION_WORDS_MAX: usize = 120;
/// Words that are typical of the worked examples in the prompt.
const EXAMPLES_OWN: &[&str] = &["ship", "horse", "towers", "river", "sagas", "verse", "sailor", "diary"];

pub(super) fn schema() -> Value {
    let or_null = |kind: Value| json!({"anyOf": [kind, {"type": "null"}]});
    let units = [Unit::Words, Unit::Sentences, Unit::Points, Unit::Characters].map(Unit::name);
    let limit = json!({
        "type": "object",
        "properties": {"most": {"type": "integer", "minimum": 1, "maximum": 9999}, "of": {"enum": units}},
        "required": ["most", "of"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "instruction": {"type": "string", "minLength": 3},
            "work": {"enum": Work::NAMES},
            "language": or_null(json!({"enum": language::names()})),
            "limit": or_null(limit),
            "labels": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 20},
            "together": {"enum": ["sections", "list", "count", "one_text"]},
        },
        "required": ["instruction", "work", "language", "limit", "labels", "together"],
        "additionalProperties": false,
    })
}

pub(super) fn task() -> Task {
    Task {
        id: "plan".to_owned(),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); DRAWS],
        instruction: "say what is done to each text".to_owned(),
        tokens_max: SLOTS_TOKENS_MAX,
        ..Task::default()
    }
}

/// What the fields of the slots mean, for a user who edits them.
pub(super) const FIELDS: &str = "instruction: what to do to one text
work: translate, shorten, sum_up, classify, rewrite, points (points taken from the text) or other
language: the language of the results in English, such as German; leave it out if it is the text's own
limit: most (a number) and of (words, sentences, points or characters); leave it out if there is none
labels: for classify, what a text may be classified as
together: sections (each under the name of its text), list (a line for each text), count (a list, and how many texts
  have each label) or one_text (merged into one text)";

/// Accepts slots whose instruction is about the goal. If it is not, the planner is asked again without an explanation.
pub(super) fn check(goal: &Goal, reply: &Reply) -> Verdict {
    if reply.finish == Finish::Length {
        return Verdict::reject("it was cut off at its limit");
    }
    let slots = match serde_json::from_str::<Slots>(&reply.text) {
        Ok(slots) => slots,
        Err(e) => return Verdict::reject(format!("not the JSON that was asked for: {e}")),
    };
    let told = slots.instruction.trim();
    if !(1..=INSTRUCTION_WORDS_MAX).contains(&words(told).len()) {
        return Verdict::reject(format!("the instruction must have 1 to {INSTRUCTION_WORDS_MAX} words"));
    }
    if let Some(name) = slots.language.as_deref().filter(|name| language::named(name).is_none()) {
        return Verdict::reject(format!("{name} is not among the languages that can be told apart"));
    }
    match goal.topic(EXAMPLES_OWN).foreign(told) {
        Some(Foreign::Example) => {
            Verdict::reject(format!("\"{told}\" comes from a worked example, not from the goal"))
        }
        Some(Foreign::Nobody) => Verdict::reject(format!("\"{told}\" has nothing to do with the goal")),
        // It may be a translation. Then other attempts give the same, and this one is used.
        Some(Foreign::Unjudged) => Verdict::Reject {
            why: format!("\"{told}\" shares no word with the goal"),
            kept: Some(reply.text.clone()),
        },
        None => Verdict::Accept(reply.text.clone()),
    }
}

/// The slots that the planner has filled in, or else ones that any goal allows. Those that the user has edited are
/// taken as they are.
pub(super) fn planned(goal: &Goal, state: &RunState) -> Slots {
    let filled = state.task("plan").and_then(|plan| plan.accepted());
    let filled = filled.and_then(|json| serde_json::from_str::<Slots>(json).ok());
    match filled {
        Some(slots) if state.approval.edited.is_some() => slots,
        Some(slots) => settle(slots, &goal.text),
        None => Slots::fallback(&goal.text),
    }
}

/// The slots with what the goal says by itself. A limit whose number is not in the goal, and labels that are not, are
/// the planner's own, and nothing is checked against them.
pub(super) fn settle(mut slots: Slots, goal: &str) -> Slots {
    slots.limit = limit::named_in(goal).or_else(|| {
        slots
            .limit
            .filter(|limit| limit::numbers(goal).contains(&limit.most) && slots.work != Work::Translate)
    });
    let named = language::named_in(goal);
    if let [only] = named[..]
        && (slots.work == Work::Translate || slots.language.is_some())
    {
        slots.language = Some(only.to_owned());
    } else if slots.language.as_deref().is_some_and(|name| !named.is_empty() && !named.contains(&name)) {
        slots.language = None;
    }
    let mut seen = Vec::new();
    slots.labels.retain(|label| {
        let told = words(label);
        let keep = mostly_in(goal, label) && !told.is_empty() && !seen.contains(&told);
        seen.push(told);
        keep
    });
    if slots.work == Work::Classify && slots.together == Together::Sections {
        slots.together = Together::List;
    }
    if slots.together == Together::Count && slots.work != Work::Classify {
        slots.together = Together::List;
    }
    slots
}
