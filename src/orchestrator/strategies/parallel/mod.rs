//! The parallel strategy: the sections that the goal names or the planner lists are written at the same time and joined
//! in order, by rule, under their headings. What the goal demands of them is checked by rule.

mod demands;
mod outline;

use crate::band::{Finish, Reply, Skill};
use crate::checks::{before_repetition, check_text, words};
use crate::goal::{Goal, WorkerInfo};
use crate::missing::with_missing;
use crate::plan::{Draw, Job, Task};
use crate::prompts;
use crate::request::StrategyName;
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

use super::limit::{Limit, Unit};
use demands::{Demands, demands, unread};
use outline::{Outline, Section, sections_named};

/// Room for a section of which the goal says no size.
const SECTION_TOKENS_MAX: u32 = 280;
const SECTION_TOKENS_LIMIT: u32 = 2400;
/// Draws of a section for which the goal demands something, besides those that any section has.
const MORE_DRAWS: usize = 2;

pub(super) struct Parallel;

impl Strategy for Parallel {
    fn name(&self) -> StrategyName {
        StrategyName::Parallel
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let done: Vec<&TaskState> = state.plan_tasks().collect();
        if !done.is_empty() {
            let over = done.iter().all(|section| section.has_ended());
            return if over { Move::Answer(join(goal, &done)) } else { Move::Wait };
        }
        let edited = state.approval.edited.clone();
        if let Some(outline) = edited.and_then(|plan| serde_json::from_value::<Outline>(plan).ok()) {
            return add_sections(goal, outline.sections);
        }
        let named = &goal.facts.named_aspects;
        if named.len() >= 3 || (named.len() == 2 && goal.facts.speaks_of_parts) {
            return add_sections(goal, sections_named(named));
        }
        let Some(plan) = state.task("plan") else { return Move::add(outline::task()) };
        if !plan.has_ended() {
            return Move::Wait;
        }
        let outline = plan.accepted().and_then(|json| serde_json::from_str::<Outline>(json).ok());
        add_sections(goal, outline.map_or_else(|| sections_named(named), |outline| outline.sections))
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match &task.job {
            Job::Write { title, about } => {
                let before = state.task(&task.id).map_or(0, |task| task.attempts.len().saturating_sub(1));
                let demands = demands_of(task, goal, state);
                let (how, terms) = demands.told(before);
                let prompt = prompts::PARALLEL_SECTION.prompt(&[
                    ("inputs", &goal.inputs_under("Text")),
                    ("titles", &state.plan_tasks().map(self::title).collect::<Vec<_>>().join(", ")),
                    ("goal", &goal.text),
                    ("title", title),
                    ("about", about),
                    ("how", &how),
                    ("terms", &terms),
                ]);
                Prompt { grammar: demands.grammar(), ..prompt }
            }
            _ => prompts::PARALLEL_PLAN.prompt(&[("goal", &goal.text)]).with_schema(outline::schema(goal)),
        }
        .after(&goal.conversation)
    }

    fn plan_fields(&self) -> Option<&'static str> {
        Some(
            "sections: the sections in order, two or more. title: its heading. instruction: what belongs in it.",
        )
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match (&task.job, reply.finish) {
            (Job::Write { title, .. }, _) => check_section(reply, title, &demands_of(task, goal, state)),
            (_, Finish::Length) => Verdict::reject("it was cut off at its limit"),
            _ => outline::check(&reply.text, goal),
        }
    }
}

fn add_sections(goal: &Goal, sections: Vec<Section>) -> Move {
    let titles: Vec<&str> = sections.iter().map(|section| section.title.as_str()).collect();
    let demands = demands(&goal.text, &titles);
    let task = |(at, section): (usize, &Section)| {
        let worker = goal.band.assign(Skill::Write, at);
        Task {
            id: format!("t{}", at + 1),
            job: Job::Write { title: section.title.clone(), about: section.instruction.clone() },
            worker: worker.worker.clone(),
            ladder: ladder(goal, worker, &demands[at]),
            instruction: format!("{}: {}", section.title, section.instruction),
            tokens_max: tokens_max(&demands[at]),
            // At temperature 0 a small model tends to loop.
            draw: Draw::Varied(at as u64),
            ..Task::default()
        }
    };
    let tasks = sections.iter().enumerate().map(task).collect();
    Move::Add { tasks, proposed: serde_json::to_value(Outline { sections }).ok() }
}

/// Who tries a section. If the goal demands something of it, more draws are made: they cost little, and many fail.
fn ladder(goal: &Goal, worker: &WorkerInfo, demands: &Demands) -> Vec<String> {
    let ladder = goal.band.ladder(worker, Skill::Write);
    let more = if *demands == Demands::default() { 0 } else { MORE_DRAWS };
    [vec![worker.worker.clone(); more], ladder].concat()
}

/// Room for a section. English has four tokens for three words, and models write more words than they are asked for.
fn tokens_max(demands: &Demands) -> u32 {
    let sizes = demands.at_most.iter().chain(&demands.at_least).map(|limit| match limit.of {
        Unit::Words => 96 + 2 * limit.most,
        Unit::Characters => 96 + limit.most / 2,
        Unit::Sentences | Unit::Points => 96 + 48 * limit.most,
        Unit::PointWords => 0,
    });
    sizes.max().map_or(SECTION_TOKENS_MAX, |tokens| tokens.min(SECTION_TOKENS_LIMIT))
}

/// What the goal demands of the section that a task writes.
fn demands_of(task: &Task, goal: &Goal, state: &RunState) -> Demands {
    let sections: Vec<&TaskState> = state.plan_tasks().collect();
    let titles: Vec<&str> = sections.iter().map(|section| title(section)).collect();
    let at = sections.iter().position(|section| section.id == task.id);
    at.map_or_else(Demands::default, |at| demands(&goal.text, &titles).swap_remove(at))
}

fn title(section: &TaskState) -> &str {
    match &section.task.job {
        Job::Write { title, .. } => title,
        _ => &section.task.instruction,
    }
}

fn join(goal: &Goal, done: &[&TaskState]) -> Ended {
    let mut ended = Ended::default();
    let mut parts = Vec::new();
    let titles: Vec<&str> = done.iter().map(|section| title(section)).collect();
    let demands = demands(&goal.text, &titles);
    for ((section, title), demands) in done.iter().zip(&titles).zip(demands) {
        match section.accepted() {
            Some(text) => {
                let heading =
                    if done.len() > 1 { format!("## {}\n\n", heading(title)) } else { String::new() };
                parts.push(heading + body(text, title));
                if section.cut {
                    ended.missing.push(format!("the section \"{title}\" was cut off at its limit"));
                } else if let Some(fault) = demands.fault(body(text, title)) {
                    ended.missing.push(format!("the section \"{title}\": {fault}"));
                }
            }
            None => ended.missing.push(format!(
                "the section \"{title}\": {}",
                section.error.as_deref().unwrap_or("not written")
            )),
        }
    }
    let unread = unread(&goal.text, &titles).into_iter();
    ended.unchecked.extend(unread.map(|number| format!("what the goal demands with the number {number}")));
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

/// The section without a heading that the model wrote, on a line of its own or before a colon.
fn body<'a>(text: &'a str, title: &str) -> &'a str {
    let text = text.trim();
    let is_heading = |line: &str| {
        let line = line.trim_start();
        line.starts_with("# ") || line.starts_with("##") || words(line) == words(title)
    };
    let without = match text.split_once('\n') {
        Some((first, rest)) if is_heading(first) => rest,
        _ => match text.split_once(':').filter(|(first, _)| words(first) == words(title)) {
            Some((_, rest)) => rest.trim_start_matches(['*', '_']),
            None => text,
        },
    };
    if without.trim().is_empty() { text } else { without.trim() }
}

/// Ends a section where it begins to repeat itself, and accepts it if it keeps to what the goal demands. One that is too
/// long, or was cut off, is used up to the last whole sentence with which it does.
fn check_section(reply: &Reply, title: &str, demands: &Demands) -> Verdict {
    let text = match check_text(before_repetition(body(&reply.text, title))) {
        Ok(text) => text,
        Err(why) => return Verdict::reject(why),
    };
    let is_cut = reply.finish == Finish::Length && text.len() == body(&reply.text, title).len();
    let why = match demands.fault(&text) {
        _ if is_cut => "the section was cut off at its limit".to_owned(),
        None if demands.is_very_short(&text) => "it is very short".to_owned(),
        None => return Verdict::Accept(text),
        Some(fault) => fault,
    };
    match demands.within(&text) {
        Some(whole) if !demands.at_most.is_empty() && is_enough(whole, demands) => {
            Verdict::Accept(whole.to_owned())
        }
        whole => {
            Verdict::Reject { why, kept: whole.map(str::to_owned).or_else(|| (!is_cut).then_some(text)) }
        }
    }
}

/// Whether a shortened section still has four tenths of what it may have.
fn is_enough(text: &str, demands: &Demands) -> bool {
    let enough = |limit: &Limit| 10 * super::limit::count(*limit, text) >= 4 * limit.most as usize;
    demands.at_most.iter().any(enough)
}

#[cfg(test)]
mod tests;
