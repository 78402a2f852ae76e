//! The map strategy: every input is asked the same question, all at once. Figures such as a total are calculated by
//! rule, and the planner words the answer from both.

mod early;
mod fill;
mod finding;
mod orders;
mod reduce;
mod settle;
mod slots;
mod smaller;
pub(crate) mod split;
mod synthesis;
mod table;
mod tasks;
#[cfg(test)]
mod tests;

use crate::band::Reply;
use crate::cancel::StopReason;
use crate::event::FailureClass;
use crate::goal::Goal;
use crate::missing::with_missing;
use crate::outcome::Status;
use crate::plan::{AnswerIs, Job, Slice, Task, TokenLimits};
use crate::prompts;
use crate::request::{Input, StrategyName};
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

use finding::{Answer, Finding};
use reduce::{Figures, Source};
use slots::Slots;
use synthesis::FactSheet;
use table::Table;

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
            return early::next(goal, state, plan);
        }
        let slots = planned(goal, state);
        if let Some(moved) = early::go_on(goal, state, &slots) {
            return moved;
        }
        if state.plan_tasks().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        if smaller::readings(state, &slots).is_empty() {
            return match (&state.stopped, fill::misfit(&slots)) {
                (Some(stopped), _) => Move::Answer(nothing_read(goal, &slots, stopped.reason)),
                (None, Some(why)) if state.approval.edited.is_some() => Move::refuse(why),
                (None, _) => tasks::read(goal, state, &slots),
            };
        }
        let answer = state.task("synthesis");
        let smaller = smaller::tasks(goal, state, &slots);
        if !smaller.is_empty() && answer.is_none() && !state.is_stopped() {
            return Move::Add { tasks: smaller, proposed: None };
        }
        if answer.is_some_and(|answer| !answer.has_ended()) {
            return Move::Wait;
        }
        if let Some(table) = &slots.table {
            return Move::Answer(table::end(goal, table, &smaller::readings(state, &slots)));
        }
        let facts = Facts::gather(goal, state, slots);
        match answer {
            None if facts.has_answer() && !state.is_stopped() => {
                Move::add(synthesis::task(facts.needs(state), &facts.sheet()))
            }
            answer => Move::Answer(facts.end(goal, state, answer)),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match (&task.job, &task.input, Slots::of_reading(task)) {
            (Job::Read, Some(slice), Some(Slots { table: Some(table), .. })) => {
                let prompt = table::prompt(&table.columns, goal.part(slice));
                prompt.with_schema(table::schema(&table.columns))
            }
            (Job::Read, Some(slice), Some(slots)) => {
                finding::prompt(&slots, slice, goal.part(slice)).with_schema(finding::schema(slots.answer_is))
            }
            (Job::Synthesis, ..) => {
                let facts = Facts::gather(goal, state, planned(goal, state));
                synthesis::prompt(&goal.text, &facts.sheet())
            }
            _ => prompts::MAP_PLAN.prompt(&[("goal", &goal.text)]).with_schema(fill::schema()),
        }
    }

    /// The answer has room for the facts that there are now. When the run was planned there may have been fewer.
    fn tokens(&self, task: &Task, goal: &Goal, state: &RunState) -> TokenLimits {
        match task.job {
            Job::Synthesis => synthesis::tokens(&Facts::gather(goal, state, planned(goal, state)).sheet()),
            _ => task.tokens(),
        }
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match (&task.job, &task.input, Slots::of_reading(task)) {
            (Job::Read, Some(slice), Some(Slots { table: Some(table), .. })) => {
                check_row(&table, goal.part(slice), state.task(&task.id), reply)
            }
            (Job::Read, Some(slice), Some(slots)) => finding::check(&slots, goal.part(slice), reply),
            (Job::Synthesis, ..) => {
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
    let plan = state.task("plan").map(|plan| fill::slots(plan, goal, edited));
    plan.unwrap_or_else(|| Slots::fallback(&goal.text))
}

/// One finding for each input.
fn merged(goal: &Goal, state: &RunState, slots: &Slots) -> Vec<Finding> {
    let sources: Vec<Source> = goal.inputs.iter().map(Source::of).collect();
    let readings = smaller::readings(state, slots).into_iter();
    let outputs = readings.map(|(slice, task)| (slice, task.accepted().map(str::to_owned)));
    reduce::merge(slots.answer_is, &sources, outputs)
}

/// The last calculation, which is over all that was read, unless that was another question.
fn calculated<'a>(state: &'a RunState, slots: &Slots) -> Option<&'a TaskState> {
    let calculates = state.plan_tasks().filter(|task| task.task.job == Job::Calculate);
    let asked = |need: &String| state.task(need).is_some_and(|read| slots.ask(&read.task));
    calculates.filter(|task| task.task.needs.iter().any(asked)).last()
}

/// What the readings found and the calculator made of it.
struct Facts {
    slots: Slots,
    findings: Vec<Finding>,
    figures: Figures,
}

impl Facts {
    fn gather(goal: &Goal, state: &RunState, slots: Slots) -> Self {
        let figures = calculated(state, &slots).and_then(TaskState::accepted);
        let figures = figures.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Self { findings: merged(goal, state, &slots), figures, slots }
    }

    fn sheet(&self) -> FactSheet<'_> {
        FactSheet { slots: &self.slots, findings: &self.findings, figures: &self.figures }
    }

    /// Ids of the tasks that the facts come from.
    fn needs(&self, state: &RunState) -> Vec<String> {
        let is_of_facts = |task: &&TaskState| self.slots.ask(&task.task) || task.task.job == Job::Calculate;
        state.plan_tasks().filter(is_of_facts).map(|task| task.id.clone()).collect()
    }

    fn has_answer(&self) -> bool {
        self.findings.iter().any(|finding| finding.answer != Answer::NotStated)
    }

    fn end(&self, goal: &Goal, state: &RunState, answer: Option<&TaskState>) -> Ended {
        let missing = self.missing(goal, state);
        let without_result = |task: &&TaskState| task.accepted().is_none() || task.cut;
        let read = smaller::readings(state, &self.slots).into_iter().map(|(_, task)| task);
        let counted = read.chain(calculated(state, &self.slots));
        let failed_tasks = counted.filter(without_result).count();
        let answer = if self.has_answer() {
            let worded = answer.and_then(TaskState::accepted).map(str::to_owned);
            with_missing(worded.unwrap_or_else(|| synthesis::plain(&self.sheet())), &missing)
        } else {
            let unread = self.findings.iter().filter(|finding| finding.failed).count();
            synthesis::nothing_found(&self.slots, goal.inputs.len(), unread, &missing)
        };
        let unchecked = self.unchecked();
        Ended { answer, missing, unchecked, failed_tasks, ..Ended::default() }
    }

    /// No rule compares a sentence, a list or a yes with the text it was read in.
    fn unchecked(&self) -> Vec<String> {
        let is_free = matches!(self.slots.answer_is, AnswerIs::Text | AnswerIs::List | AnswerIs::YesNo);
        (is_free && self.has_answer())
            .then(|| format!("the {} as it was read", self.slots.find))
            .into_iter()
            .collect()
    }

    /// What is missing. An input that was not read is reported differently from one that was read and does not contain
    /// the answer.
    fn missing(&self, goal: &Goal, state: &RunState) -> Vec<String> {
        let mut missing: Vec<String> = smaller::readings(state, &self.slots)
            .into_iter()
            .filter_map(|(slice, task)| missing_of(slice, task))
            .collect();
        for finding in &self.findings {
            if finding.answer == Answer::NotStated && !finding.failed {
                missing.push(format!("{} does not say", goal.inputs[finding.input].name));
            }
        }
        missing
    }
}

/// Checks a row together with the readings of the same text before it.
fn check_row(table: &Table, text: &str, task: Option<&TaskState>, reply: &Reply) -> Verdict {
    let attempts = task.map_or(&[][..], TaskState::attempts_now);
    let rejected = attempts
        .iter()
        .filter(|one| one.failure.as_ref().is_some_and(|why| why.class == FailureClass::Content));
    let earlier: Vec<&str> = rejected.map(|attempt| attempt.output.as_str()).collect();
    let rung = attempts.last().map_or(0, |attempt| attempt.rung + 1);
    let is_last = task.is_none_or(|task| rung >= task.task.ladder.len());
    table::check(&table.columns, text, reply, &earlier, is_last)
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
        (None, Some(why)) if matches!(task.status, Status::Cancelled | Status::Skipped) => {
            Some(format!("{name}{part} was not read: {why}"))
        }
        (None, Some(error)) => Some(format!("{name}{part} could not be read: {error}")),
        (Some(_), _) if task.cut => Some(format!("what {name}{part} gives was cut off at its limit")),
        _ => None,
    }
}
