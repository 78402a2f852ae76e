//! The parallel strategy: the sections that the goal names or the planner lists are written at the same time and joined
//! in order, by rule, under their headings.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::band::{Finish, Reply, Skill};
use crate::checks::{before_repetition, check_text, mostly_in, words};
use crate::goal::{Goal, PLANNER};
use crate::missing::with_missing;
use crate::plan::{Draw, Job, Task};
use crate::prompts;
use crate::request::StrategyName;
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};
use crate::topic::{Foreign, Topic};

const SECTION_TOKENS_MAX: u32 = 280;
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
struct Outline {
    sections: Vec<Section>,
}

pub(super) struct Parallel;

impl Strategy for Parallel {
    fn name(&self) -> StrategyName {
        StrategyName::Parallel
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let done: Vec<&TaskState> = state.plan_tasks().collect();
        if !done.is_empty() {
            let over = done.iter().all(|section| section.has_ended());
            return if over { Move::Answer(join(&done)) } else { Move::Wait };
        }
        let edited = state.approval.edited.clone();
        if let Some(outline) = edited.and_then(|plan| serde_json::from_value::<Outline>(plan).ok()) {
            return add_sections(goal, outline.sections);
        }
        let named = &goal.facts.named_aspects;
        if named.len() >= 2 && goal.facts.speaks_of_parts {
            return add_sections(goal, sections_named(named));
        }
        let Some(plan) = state.task("plan") else { return Move::add(plan_task()) };
        if !plan.has_ended() {
            return Move::Wait;
        }
        let outline = plan.accepted().and_then(|json| serde_json::from_str::<Outline>(json).ok());
        add_sections(goal, outline.map_or_else(|| sections_named(named), |outline| outline.sections))
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match &task.job {
            Job::Write { title, about } => prompts::PARALLEL_SECTION.prompt(&[
                ("inputs", &goal.inputs_under("Text")),
                ("titles", &state.plan_tasks().map(self::title).collect::<Vec<_>>().join(", ")),
                ("goal", &goal.text),
                ("title", title),
                ("about", about),
            ]),
            _ => prompts::PARALLEL_PLAN
                .prompt(&[("goal", &goal.text)])
                .with_schema(outline_schema(SECTIONS_MAX.max(goal.facts.named_aspects.len()))),
        }
        .after(&goal.conversation)
    }

    fn plan_fields(&self) -> Option<&'static str> {
        Some(
            "sections: the sections in order, two or more. title: its heading. instruction: what belongs in it.",
        )
    }

    fn check(&self, task: &Task, goal: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        match (&task.job, reply.finish) {
            (Job::Write { .. }, _) => check_section(reply),
            (_, Finish::Length) => Verdict::reject("it was cut off at its limit"),
            _ => check_outline(&reply.text, &goal.facts.named_aspects, goal.topic(EXAMPLES_OWN)),
        }
    }
}

fn plan_task() -> Task {
    Task {
        id: "plan".to_owned(),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); DRAWS],
        instruction: "list the sections".to_owned(),
        tokens_max: OUTLINE_TOKENS_MAX,
        ..Task::default()
    }
}

fn add_sections(goal: &Goal, sections: Vec<Section>) -> Move {
    let task = |(at, section): (usize, &Section)| {
        let worker = goal.band.assign(Skill::Write, at);
        Task {
            id: format!("t{}", at + 1),
            job: Job::Write { title: section.title.clone(), about: section.instruction.clone() },
            worker: worker.worker.clone(),
            ladder: goal.band.ladder(worker, Skill::Write),
            instruction: format!("{}: {}", section.title, section.instruction),
            tokens_max: SECTION_TOKENS_MAX,
            // At temperature 0 a small model tends to loop.
            draw: Draw::Varied(at as u64),
            ..Task::default()
        }
    };
    let tasks = sections.iter().enumerate().map(task).collect();
    Move::Add { tasks, proposed: serde_json::to_value(Outline { sections }).ok() }
}

fn title(section: &TaskState) -> &str {
    match &section.task.job {
        Job::Write { title, .. } => title,
        _ => &section.task.instruction,
    }
}

fn join(done: &[&TaskState]) -> Ended {
    let mut ended = Ended::default();
    let mut parts = Vec::new();
    for section in done {
        let title = title(section);
        match section.accepted() {
            Some(text) => {
                let heading =
                    if done.len() > 1 { format!("## {}\n\n", heading(title)) } else { String::new() };
                parts.push(heading + body(text, title));
                if section.cut {
                    ended.missing.push(format!("the section \"{title}\" was cut off at its limit"));
                }
            }
            None => ended.missing.push(format!(
                "the section \"{title}\": {}",
                section.error.as_deref().unwrap_or("not written")
            )),
        }
    }
    ended.failed_tasks = ended.missing.len();
    if !parts.is_empty() {
        ended.answer = with_missing(parts.join("\n\n"), &ended.missing);
    }
    ended
}

/// The heading as the goal names it, with a capital letter.
fn heading(title: &str) -> String {
    let mut chars = title.trim().chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The section without a heading that the model wrote.
fn body<'a>(text: &'a str, title: &str) -> &'a str {
    let text = text.trim();
    let Some((first, rest)) = text.split_once('\n') else { return text };
    let is_heading = first.trim_start().starts_with('#') || words(first) == words(title);
    if is_heading && !rest.trim().is_empty() { rest.trim() } else { text }
}

/// Ends a section where it begins to repeat itself. If it was cut off at its limit, the whole sentences are kept.
fn check_section(reply: &Reply) -> Verdict {
    const WORDS_MIN: usize = 25;
    let whole = reply.text.trim();
    let text = before_repetition(whole);
    if text.len() < whole.len() && words(text).len() >= WORDS_MIN {
        return Verdict::Accept(text.to_owned());
    }
    match check_text(whole) {
        // It is written again with more room. If that is cut off too, the answer says so.
        Ok(text) if reply.finish == Finish::Length => {
            let end = text.char_indices().rfind(|(_, c)| matches!(c, '.' | '!' | '?' | '。'));
            let kept = end.map(|(at, c)| text[..at + c.len_utf8()].to_owned());
            Verdict::Reject { why: "the section was cut off at its limit".to_owned(), kept }
        }
        Ok(text) => Verdict::Accept(text),
        Err(why) => Verdict::reject(why),
    }
}

fn outline_schema(sections_max: usize) -> Value {
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
        "properties": {"sections": {"type": "array", "items": section, "minItems": 2, "maxItems": sections_max}},
        "required": ["sections"],
        "additionalProperties": false,
    })
}

/// The sections that the goal names, or else the whole answer as one.
fn sections_named(aspects: &[String]) -> Vec<Section> {
    let section = |aspect: &str| Section { title: aspect.to_owned(), instruction: format!("about {aspect}") };
    match aspects {
        [] | [_] => vec![section("the whole answer")],
        named => named.iter().map(|aspect| section(aspect)).collect(),
    }
}

/// An outline must have two sections or more, each only once, and all of `named`, which the goal asks for.
fn check_outline(text: &str, named: &[String], topic: &Topic) -> Verdict {
    let outline = match serde_json::from_str::<Outline>(text) {
        Ok(outline) => outline,
        Err(e) => return Verdict::reject(format!("not the JSON that was asked for: {e}")),
    };
    let mut seen = std::collections::HashSet::new();
    let twice = outline.sections.iter().find(|section| !seen.insert(words(&section.title)));
    let told: String =
        outline.sections.iter().map(|one| format!("{} {} ", one.title, one.instruction)).collect();
    if topic.foreign(&told) == Some(Foreign::Example) {
        let why = "a section comes from the worked example, not from the goal".to_owned();
        return Verdict::reject(why);
    }
    let left_out = named.iter().find(|aspect| !mostly_in(&told, aspect));
    match twice {
        _ if left_out.is_some() => {
            Verdict::reject(format!("the goal asks for {} too", left_out.map_or("more", String::as_str)))
        }
        Some(section) => Verdict::reject(format!("the section {} comes twice", section.title)),
        None if outline.sections.len() < 2 => Verdict::reject("there must be two sections or more"),
        None => Verdict::Accept(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
