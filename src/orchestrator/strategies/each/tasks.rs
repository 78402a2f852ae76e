//! The tasks of `each`: one for each input or part of one, and those that make one result of the parts' results.

use serde_json::{Value, json};

use super::checks;
use super::slots::{Slots, Work};
use crate::band::{Finish, Reply, Skill};
use crate::checks::before_repetition;
use crate::goal::{Goal, PLANNER, WorkerInfo};
use crate::plan::{Job, Slice, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategies::limit::{Limit, Unit};
use crate::strategy::{Move, Prompt, SplitAsked, Verdict};

/// Tokens of a worker's context kept free for the instruction and the chat template.
const FRAME_TOKENS: usize = 700;
/// Most tokens of a part. A result may be as long as its text, and small models lose the thread in longer ones.
const PART_TOKENS_MAX: usize = 1200;
/// Most results that one task makes one of.
const FOLD_MAX: usize = 6;
const LABEL_TOKENS_MAX: u32 = 48;

/// Adds a task for each input or part of one.
pub(super) fn first(goal: &Goal, state: &RunState, slots: &Slots) -> Move {
    let mut unsplit = Vec::new();
    let mut tasks = Vec::new();
    for (index, input) in goal.inputs.iter().enumerate() {
        let worker = goal.band.assign(Skill::Read, index);
        let tokens_max = (worker.context_tokens.saturating_sub(FRAME_TOKENS) / 3).clamp(64, PART_TOKENS_MAX);
        match state.parts_for(index, &worker.worker, tokens_max, input.text.len()) {
            Some(parts) => {
                let count = parts.len();
                for (part, bytes) in parts.into_iter().enumerate() {
                    let slice = Slice { index, name: input.name.clone(), part, parts: count, bytes };
                    tasks.push(task(goal, slots, worker, tasks.len(), Of::Part(slice)));
                }
            }
            None => unsplit.push(SplitAsked { input: index, worker: worker.worker.clone(), tokens_max }),
        }
    }
    if unsplit.is_empty() {
        Move::Add { tasks, proposed: serde_json::to_value(slots).ok() }
    } else {
        Move::Split(unsplit)
    }
}

/// What a task works on.
enum Of {
    Part(Slice),
    /// The results of tasks, of so many bytes together.
    Results(Vec<String>, usize),
}

fn task(goal: &Goal, slots: &Slots, worker: &WorkerInfo, place: usize, of: Of) -> Task {
    // A label is right if two draws give it, so that it needs models that decide by themselves.
    let ladder = match slots.wants_label() {
        true => [&worker.worker, PLANNER, PLANNER, &worker.worker].map(str::to_owned).to_vec(),
        false => goal.band.ladder(worker, Skill::Read),
    };
    let bytes = match &of {
        Of::Part(slice) => slice.bytes.len(),
        Of::Results(_, bytes) => *bytes,
    };
    let task = Task {
        id: format!("t{}", place + 1),
        worker: worker.worker.clone(),
        ladder,
        instruction: slots.instruction.clone(),
        tokens_max: tokens_max(slots, bytes),
        ..Task::default()
    };
    match of {
        Of::Part(slice) => Task { job: Job::Read, input: Some(slice), ..task },
        Of::Results(needs, _) => Task { job: Job::Step, needs, ..task },
    }
}

/// Room for a result. An English text has a token for every four bytes, and a translation may have twice as many.
fn tokens_max(slots: &Slots, bytes: usize) -> u32 {
    let of_text = u32::try_from(bytes / 2).unwrap_or(u32::MAX / 4) + 128;
    match (slots.limit, slots.work) {
        _ if slots.wants_label() => LABEL_TOKENS_MAX,
        (_, Work::Translate | Work::Rewrite) => of_text,
        (Some(Limit { most, of: Unit::Words }), _) => 96 + 3 * most,
        (Some(Limit { most, of: Unit::Characters }), _) => 96 + most,
        (Some(Limit { most, of: Unit::Sentences | Unit::Points | Unit::PointWords }), _) => 96 + 64 * most,
        (None, Work::Shorten | Work::Points) => of_text,
        (None, Work::SumUp | Work::Other) => 400,
        (None, Work::Classify) => LABEL_TOKENS_MAX,
    }
}

/// Tasks that make one result of the results for an input's parts, where joining them would not do.
pub(super) fn folds(goal: &Goal, state: &RunState, slots: &Slots) -> Vec<Task> {
    let joins = slots.work.keeps_all() || slots.wants_label();
    if joins || (slots.work == Work::Points && slots.limit.is_none()) {
        return Vec::new();
    }
    let mut tasks = Vec::new();
    for index in 0..goal.inputs.len() {
        let open = results(state, index).into_iter().filter(|task| task.accepted().is_some());
        let open: Vec<&TaskState> = open.collect();
        if open.len() < 2 || fold_failed(state, index) {
            continue;
        }
        for group in open.chunks(FOLD_MAX).filter(|group| group.len() > 1) {
            let bytes = group.iter().map(|task| task.output.len()).sum();
            let needs = group.iter().map(|task| task.id.clone()).collect();
            let place = state.plan_tasks().count() + tasks.len();
            let worker = goal.band.assign(Skill::Read, index);
            tasks.push(task(goal, slots, worker, place, Of::Results(needs, bytes)));
        }
    }
    tasks
}

/// The tasks for an input whose results no other task made one of, in the order of its text.
pub(super) fn results(state: &RunState, index: usize) -> Vec<&TaskState> {
    let stands = |task: &&TaskState| {
        let is_needed = |other: &TaskState| {
            other.task.job == Job::Step && other.accepted().is_some() && other.task.needs.contains(&task.id)
        };
        origin(state, &task.task).is_some_and(|slice| slice.index == index)
            && !state.plan_tasks().any(is_needed)
            // A task that failed to make one of results leaves them as they are.
            && (task.task.job != Job::Step || task.accepted().is_some())
    };
    let mut found: Vec<&TaskState> = state.plan_tasks().filter(stands).collect();
    found.sort_by_key(|task| origin(state, &task.task).map(|slice| slice.bytes.start));
    found
}

/// Whether the results for an input's parts could not be made one.
pub(super) fn fold_failed(state: &RunState, index: usize) -> bool {
    state.plan_tasks().any(|task| {
        let is_of_input = || origin(state, &task.task).is_some_and(|slice| slice.index == index);
        task.task.job == Job::Step && task.has_ended() && task.accepted().is_none() && is_of_input()
    })
}

/// The first part of an input that a task's result comes from.
fn origin<'a>(state: &'a RunState, task: &'a Task) -> Option<&'a Slice> {
    match &task.input {
        Some(slice) => Some(slice),
        None => task.needs.first().and_then(|need| origin(state, &state.task(need)?.task)),
    }
}

/// The text that a task works on.
pub(super) fn source(task: &Task, goal: &Goal, state: &RunState) -> String {
    match &task.input {
        Some(slice) => goal.part(slice).trim().to_owned(),
        None => {
            let results: Vec<&str> = task.needs.iter().filter_map(|need| state.result(need)).collect();
            results.join("\n\n")
        }
    }
}

pub(super) fn prompt(task: &Task, goal: &Goal, state: &RunState, slots: &Slots) -> Prompt {
    let name = origin(state, task).map_or("", |slice| &slice.name);
    let before = state.task(&task.id).map_or(0, |task| task.attempts.len().saturating_sub(1));
    let text = source(task, goal, state);
    let values = [("instruction", task.instruction.as_str()), ("source", name), ("text", &text)];
    if slots.wants_label() {
        let labels = slots.labels.join(", ");
        let values = [&values[..], &[("labels", labels.as_str())]].concat();
        return prompts::EACH_LABEL.prompt(&values).with_schema(label_schema(slots));
    }
    let how = how(slots, before);
    prompts::EACH_DO.prompt(&[&values[..], &[("how", how.as_str())]].concat())
}

fn label_schema(slots: &Slots) -> Value {
    json!({
        "type": "object",
        "properties": {"label": {"enum": slots.labels}},
        "required": ["label"],
        "additionalProperties": false,
    })
}

/// What the result must be, for the model. Models write more words than they are asked for, so later attempts ask for
/// fewer.
fn how(slots: &Slots, attempts_before: usize) -> String {
    let mut said = Vec::new();
    if let Some(language) = &slots.language {
        said.push(format!("Write in {language}."));
    }
    if slots.work.keeps_all() {
        said.push("Leave nothing out, and keep all numbers, dates and names.".to_owned());
    }
    if slots.work == Work::Points {
        said.push("Write one point on each line, beginning with \"- \".".to_owned());
    }
    if let Some(limit) = slots.limit {
        let percent = [85, 70, 55][attempts_before.min(2)];
        let asked = match limit.of {
            Unit::Words | Unit::Characters => Limit { most: (limit.most * percent / 100).max(1), ..limit },
            Unit::Sentences | Unit::Points | Unit::PointWords => limit,
        };
        said.push(format!("Write at most {}.", asked.told()));
    }
    said.join(" ")
}

/// Accepts what was asked for. What is not, but is of use, is kept in case no later attempt is better; the answer then
/// says what is wrong with it.
pub(super) fn check(task: &Task, goal: &Goal, state: &RunState, slots: &Slots, reply: &Reply) -> Verdict {
    if slots.wants_label() {
        return check_label(task, state, slots, reply);
    }
    let source = source(task, goal, state);
    let text = checks::tidied(slots, &source, &reply.text);
    if reply.finish == Finish::Length {
        let kept = Some(before_repetition(&text).to_owned()).filter(|text| !text.is_empty());
        return Verdict::Reject { why: "it was cut off at its limit".to_owned(), kept };
    }
    match checks::fault(slots, &source, &text) {
        None => Verdict::Accept(text),
        Some(fault) => match checks::within_limit(slots, &text) {
            Some(shorter) if checks::fault(slots, &source, shorter).is_none() => {
                Verdict::Reject { why: fault.why, kept: Some(shorter.to_owned()) }
            }
            _ => Verdict::Reject { why: fault.why, kept: fault.is_usable.then_some(text) },
        },
    }
}

/// A label is accepted if an earlier draw gave the same.
fn check_label(task: &Task, state: &RunState, slots: &Slots, reply: &Reply) -> Verdict {
    let Some(label) = label_of(slots, &reply.text) else {
        return Verdict::reject(format!("it is none of {}", slots.labels.join(", ")));
    };
    let attempts = state.task(&task.id).map_or(&[][..], |task| task.attempts_now());
    let given = attempts.iter().filter_map(|attempt| label_of(slots, &attempt.output));
    // The attempt that is judged is among them.
    if given.filter(|other| *other == label).count() >= 2 {
        return Verdict::Accept(label);
    }
    Verdict::Reject { why: "a second draw has to agree".to_owned(), kept: Some(label) }
}

fn label_of(slots: &Slots, reply: &str) -> Option<String> {
    let json: Value = serde_json::from_str(reply).ok()?;
    let label = json["label"].as_str()?;
    slots.labels.iter().find(|one| *one == label).cloned()
}

/// What is wrong with an accepted result, as the answer says it; `None` if it passed its checks.
pub(super) fn doubt(task: &TaskState, goal: &Goal, state: &RunState, slots: &Slots) -> Option<String> {
    let result = task.accepted()?;
    if task.cut {
        return Some("it was cut off at its limit".to_owned());
    }
    if slots.wants_label() {
        let attempts = task.attempts_now().iter();
        let given = attempts.filter(|one| label_of(slots, &one.output).as_deref() == Some(result)).count();
        return (given < 2).then(|| "no two draws of the label agree".to_owned());
    }
    checks::fault(slots, &source(&task.task, goal, state), result).map(|fault| fault.why)
}
