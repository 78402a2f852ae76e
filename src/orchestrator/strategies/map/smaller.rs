//! Texts that no model has room for, although they were cut to fit: they are read again in smaller parts, and the parts'
//! findings are merged as those of any long input are.

#[cfg(test)]
mod tests;

use super::slots::Slots;
use super::split::parts;
use super::tasks::{figures_task, reading};
use crate::event::FailureClass;
use crate::goal::Goal;
use crate::outcome::Status;
use crate::plan::{Slice, Task};
use crate::state::{RunState, TaskState};

/// A text of fewer bytes is not cut further.
const BYTES_MIN: usize = 400;

/// The readings that count, in the order of the inputs' text. One that failed gives way to its parts. If it was done
/// again later and succeeded, its parts give way to it. Readings of another question than the slots ask don't count.
pub(super) fn readings<'a>(state: &'a RunState, slots: &Slots) -> Vec<(&'a Slice, &'a TaskState)> {
    let asked = state.plan_tasks().filter(|task| slots.ask(&task.task));
    let all: Vec<(&Slice, &TaskState)> =
        asked.filter_map(|task| Some((task.task.input.as_ref()?, task))).collect();
    let counts = |(slice, task): &(&Slice, &TaskState)| {
        let has_parts = || all.iter().any(|(other, _)| other.is_part_of(slice));
        let is_replaced =
            || all.iter().any(|(other, task)| slice.is_part_of(other) && task.accepted().is_some());
        (task.accepted().is_some() || !has_parts()) && !is_replaced()
    };
    let mut counted: Vec<(&Slice, &TaskState)> = all.iter().filter(|one| counts(one)).copied().collect();
    counted.sort_by_key(|(slice, _)| (slice.index, slice.bytes.start));
    counted
}

/// Tasks that read the parts of texts that no model had room for, and the figures over all that is read then.
pub(super) fn tasks(goal: &Goal, state: &RunState, slots: &Slots) -> Vec<Task> {
    let count = state.plan_tasks().count();
    let (without_room, others): (Vec<_>, Vec<_>) =
        readings(state, slots).into_iter().partition(|(_, task)| had_no_room(task));
    let mut tasks: Vec<Task> = Vec::new();
    let mut needs: Vec<String> = others.into_iter().map(|(_, task)| task.id.clone()).collect();
    for (slice, task) in without_room {
        let new = halves(goal, slice);
        let worker = goal.band.get(&task.task.worker).unwrap_or(&goal.band.planner);
        if new.is_empty() {
            needs.push(task.id.clone());
        }
        for slice in new {
            let place = count + tasks.len();
            tasks.push(reading(goal, slots, worker, slice, place));
        }
    }
    if slots.wants_figures() && !tasks.is_empty() {
        needs.extend(tasks.iter().map(|task| task.id.clone()));
        tasks.push(figures_task(goal, slots, count + tasks.len(), needs));
    }
    tasks
}

fn had_no_room(task: &TaskState) -> bool {
    let mut classes = task.attempts_now().iter().filter_map(|attempt| Some(attempt.failure.as_ref()?.class));
    task.status == Status::Failed
        && classes.clone().any(|class| class == FailureClass::Resource)
        // A model that replied had room for the text.
        && classes.all(|class| class != FailureClass::Content)
}

/// The text in parts of at most half its length; nothing if it is too short for that.
fn halves(goal: &Goal, slice: &Slice) -> Vec<Slice> {
    let text = goal.part(slice);
    if text.len() < 2 * BYTES_MIN {
        return Vec::new();
    }
    let cut = parts(text, text.len().div_ceil(2), Some(text.len()), str::len);
    let name = match slice.parts {
        1 => slice.name.clone(),
        parts => format!("{}, part {} of {parts}", slice.name, slice.part + 1),
    };
    let (count, start) = (cut.len(), slice.bytes.start);
    let part = |(part, bytes): (usize, std::ops::Range<usize>)| Slice {
        index: slice.index,
        name: name.clone(),
        part,
        parts: count,
        bytes: start + bytes.start..start + bytes.end,
    };
    if count < 2 { Vec::new() } else { cut.into_iter().enumerate().map(part).collect() }
}
