//! The map strategy: every input is asked the same question, all at once. Figures such as a total are calculated by
//! rule, and the planner words the answer from both.

mod fill;
mod finding;
mod orders;
mod reduce;
mod settle;
mod slots;
pub(crate) mod split;
mod synthesis;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::band::{Reply, Skill};
use crate::cancel::StopReason;
use crate::goal::{Goal, WorkerInfo};
use crate::missing::with_missing;
use crate::outcome::Status;
use crate::plan::{AnswerIs, Job, Shape, Slice, Task};
use crate::prompts;
use crate::request::{Input, StrategyName};
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, SplitAsked, Strategy, Verdict};

use finding::{Answer, Finding};
use reduce::{Figures, Source};
use slots::Slots;
use synthesis::FactSheet;

/// Most tokens of one finding, which is a subject and an answer. This is more than either needs, so a finding that
/// comes near it was cut off.
const FINDING_TOKENS_MAX: u32 = 160;
/// The same if the answer is a text or a list. A reading that is cut off is repeated with twice as many.
const LONG_FINDING_TOKENS_MAX: u32 = 480;
/// Tokens of a worker's context kept free for the question, the chat template and the reason of a rejection.
const FRAME_TOKENS: usize = 700;

pub(crate) struct Map;

impl Strategy for Map {
    fn name(&self) -> StrategyName {
        StrategyName::Map
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        if goal.inputs.is_empty() {
            return Move::refuse("the strategy map needs input files: attach them with -f");
        }
        let Some(plan) = state.task("plan") else { return Move::add(fill::task()) };
        if !plan.has_ended() {
            return Move::Wait;
        }
        let slots = fill::slots(plan, &goal.text, state.approval.edited.is_some());
        if state.plan_tasks().next().is_none() {
            return match (&state.stopped, fill::misfit(&slots)) {
                (Some(stopped), _) => Move::Answer(nothing_read(goal, &slots, stopped.reason)),
                (None, Some(why)) if state.approval.edited.is_some() => Move::refuse(why),
                (None, _) => read(goal, state, &slots),
            };
        }
        if state.plan_tasks().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        let answer = state.task("synthesis");
        if answer.is_some_and(|answer| !answer.has_ended()) {
            return Move::Wait;
        }
        let facts = Facts::gather(goal, state, slots);
        match answer {
            None if facts.has_answer() && !state.is_stopped() => {
                let needs = state.plan_tasks().map(|task| task.id.clone()).collect();
                Move::add(synthesis::task(needs, &facts.sheet()))
            }
            answer => Move::Answer(facts.end(goal, state, answer)),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        let slots = || planned(goal, state);
        match (&task.job, &task.input) {
            (Job::Read, Some(slice)) => {
                let slots = slots();
                finding::prompt(&slots, slice, text_of(goal, slice))
                    .with_schema(finding::schema(slots.answer_is))
            }
            (Job::Synthesis, _) => {
                let facts = Facts::gather(goal, state, slots());
                synthesis::prompt(&goal.text, &facts.sheet())
            }
            _ => prompts::MAP_PLAN.prompt(&[("goal", &goal.text)]).with_schema(fill::schema()),
        }
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match (&task.job, &task.input) {
            (Job::Read, Some(slice)) => finding::check(&planned(goal, state), text_of(goal, slice), reply),
            (Job::Synthesis, _) => {
                let facts = Facts::gather(goal, state, planned(goal, state));
                synthesis::check(&goal.text, &facts.sheet(), reply)
            }
            _ => fill::check(goal, reply),
        }
    }

    fn plan_fields(&self) -> Option<&'static str> {
        Some(fill::FIELDS)
    }

    fn calculate(&self, _: &Task, goal: &Goal, state: &RunState) -> Result<String, String> {
        let slots = planned(goal, state);
        let figures = reduce::calculate(&slots, &merged(goal, state, &slots))?;
        Ok(serde_json::to_string(&figures).expect("figures are plain strings"))
    }
}

fn planned(goal: &Goal, state: &RunState) -> Slots {
    let edited = state.approval.edited.is_some();
    let plan = state.task("plan").map(|plan| fill::slots(plan, &goal.text, edited));
    plan.unwrap_or_else(|| Slots::fallback(&goal.text))
}

fn text_of<'a>(goal: &'a Goal, slice: &Slice) -> &'a str {
    goal.inputs.get(slice.index).and_then(|input| input.text.get(slice.bytes.clone())).unwrap_or_default()
}

/// Adds one task for each input or part of one, and one for the calculator over all of them if figures are wanted.
fn read(goal: &Goal, state: &RunState, slots: &Slots) -> Move {
    let mut unsplit = Vec::new();
    let mut tasks = Vec::new();
    for (index, input) in goal.inputs.iter().enumerate() {
        let worker = goal.band.assign(skill(slots), index);
        let tokens_max = worker
            .context_tokens
            .saturating_sub(FRAME_TOKENS + 2 * answer_tokens_max(slots) as usize)
            .max(64);
        match parts(state, index, worker, tokens_max, input.text.len()) {
            Some(parts) => {
                let count = parts.len();
                for (part, bytes) in parts.into_iter().enumerate() {
                    let slice = Slice { index, name: input.name.clone(), part, parts: count, bytes };
                    tasks.push(reading(goal, slots, worker, slice, tasks.len()));
                }
            }
            None => unsplit.push(SplitAsked { input: index, worker: worker.worker.clone(), tokens_max }),
        }
    }
    if !unsplit.is_empty() {
        return Move::Split(unsplit);
    }
    if slots.wants_figures() {
        tasks.push(figures_task(goal, slots, &tasks));
    }
    Move::Add { tasks, proposed: serde_json::to_value(slots).ok() }
}

/// The parts of an input for a worker. A text is never longer in tokens than in bytes, so a short one is not measured.
fn parts(
    state: &RunState,
    input: usize,
    worker: &WorkerInfo,
    tokens_max: usize,
    bytes: usize,
) -> Option<Vec<Range<usize>>> {
    if bytes <= tokens_max {
        return Some(std::iter::once(0..bytes).collect());
    }
    let found = state.splits.iter().find(|split| {
        split.input == input && split.worker == worker.worker && split.tokens_max == tokens_max
    });
    found.map(|split| split.parts.clone())
}

fn reading(goal: &Goal, slots: &Slots, worker: &WorkerInfo, slice: Slice, place: usize) -> Task {
    Task {
        id: format!("t{}", place + 1),
        job: Job::Read,
        worker: worker.worker.clone(),
        ladder: goal.band.ladder(worker, skill(slots)),
        instruction: slots.find.clone(),
        input: Some(slice),
        output: Shape::Finding(slots.answer_is),
        tokens_max: answer_tokens_max(slots),
        ..Task::default()
    }
}

fn figures_task(goal: &Goal, slots: &Slots, readings: &[Task]) -> Task {
    Task {
        id: format!("t{}", readings.len() + 1),
        job: Job::Calculate,
        worker: goal.band.calculator().to_owned(),
        instruction: slots.aggregates_named().join(", "),
        needs: readings.iter().map(|task| task.id.clone()).collect(),
        output: Shape::Figures,
        with_gaps: true,
        ..Task::default()
    }
}

/// A number can be checked against the text. What can't be checked needs a model that reads well.
fn skill(slots: &Slots) -> Skill {
    if slots.answer_is == AnswerIs::Number { Skill::Find } else { Skill::Read }
}

fn answer_tokens_max(slots: &Slots) -> u32 {
    if slots.is_long() { LONG_FINDING_TOKENS_MAX } else { FINDING_TOKENS_MAX }
}

fn readings(state: &RunState) -> impl Iterator<Item = (&Slice, &TaskState)> {
    state.plan_tasks().filter_map(|task| Some((task.task.input.as_ref()?, task)))
}

/// One finding for each input.
fn merged(goal: &Goal, state: &RunState, slots: &Slots) -> Vec<Finding> {
    let sources: Vec<Source> = goal.inputs.iter().map(Source::of).collect();
    let outputs = readings(state).map(|(slice, task)| (slice, task.accepted().map(str::to_owned)));
    reduce::merge(slots.answer_is, &sources, outputs)
}

/// What the readings found and the calculator made of it.
struct Facts {
    slots: Slots,
    findings: Vec<Finding>,
    figures: Figures,
}

impl Facts {
    fn gather(goal: &Goal, state: &RunState, slots: Slots) -> Self {
        let calculated = state.plan_tasks().find(|task| task.task.job == Job::Calculate);
        let figures = calculated.and_then(TaskState::accepted);
        let figures = figures.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Self { findings: merged(goal, state, &slots), figures, slots }
    }

    fn sheet(&self) -> FactSheet<'_> {
        FactSheet { slots: &self.slots, findings: &self.findings, figures: &self.figures }
    }

    fn has_answer(&self) -> bool {
        self.findings.iter().any(|finding| finding.answer != Answer::NotStated)
    }

    fn end(&self, goal: &Goal, state: &RunState, answer: Option<&TaskState>) -> Ended {
        let missing = self.missing(goal, state);
        let without_result = |task: &&TaskState| task.accepted().is_none() || task.cut;
        let failed_tasks = state.plan_tasks().filter(without_result).count();
        let answer = if self.has_answer() {
            let worded = answer.and_then(TaskState::accepted).map(str::to_owned);
            with_missing(worded.unwrap_or_else(|| synthesis::plain(&self.sheet())), &missing)
        } else {
            let unread = self.findings.iter().filter(|finding| finding.failed).count();
            synthesis::nothing_found(&self.slots, goal.inputs.len(), unread, &missing)
        };
        Ended { answer, missing, failed_tasks, ..Ended::default() }
    }

    /// What is missing. An input that was not read is reported differently from one that was read and does not contain
    /// the answer.
    fn missing(&self, goal: &Goal, state: &RunState) -> Vec<String> {
        let mut missing: Vec<String> =
            readings(state).filter_map(|(slice, task)| missing_of(slice, task)).collect();
        for finding in &self.findings {
            if finding.answer == Answer::NotStated && !finding.failed {
                missing.push(format!("{} does not say", goal.inputs[finding.input].name));
            }
        }
        missing
    }
}

/// The end of a run that was stopped before it had a plan.
fn nothing_read(goal: &Goal, slots: &Slots, reason: StopReason) -> Ended {
    let not_read =
        |input: &Input| format!("{} was not read: {} before it began", input.name, reason.in_words());
    let missing: Vec<String> = goal.inputs.iter().map(not_read).collect();
    let count = missing.len();
    let answer = synthesis::nothing_found(slots, count, count, &missing);
    Ended { answer, missing, failed_tasks: count, ..Ended::default() }
}

fn missing_of(Slice { name, part, parts, .. }: &Slice, task: &TaskState) -> Option<String> {
    let part = if *parts > 1 { format!(", part {} of {parts}", part + 1) } else { String::new() };
    match (task.accepted(), &task.error) {
        (None, Some(why)) if task.status == Status::Cancelled => {
            Some(format!("{name}{part} was not read: {why}"))
        }
        (None, Some(error)) => Some(format!("{name}{part} could not be read: {error}")),
        (Some(_), _) if task.cut => Some(format!("what {name}{part} gives was cut off at its limit")),
        _ => None,
    }
}
