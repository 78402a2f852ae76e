//! What the plan goes on without since the planner was asked again, and what stands in for it. The planner may do such a
//! task in another way. If it does without it, the answer says so.

use super::rounds;
use crate::plan::Task;
use crate::state::{RunState, TaskState};
use crate::topic::{content_words, share_a_word};

/// The tasks that the answer is made from or has to name as missing: those of the present plan, and the dropped ones that
/// no task of a later plan stands in for. `repeats` says whether the plan of a round has a task once more that had
/// failed: the planner wants it done and found no other way.
pub(super) fn counted(state: &RunState, repeats: impl Fn(usize, &TaskState) -> bool) -> Vec<&TaskState> {
    let is_replaced = |task: &TaskState, dropped: usize| {
        let later = (dropped + 1..=rounds::current(state)).filter(|round| !repeats(*round, task));
        let mut new = later.flat_map(|round| rounds::added_in(state, round));
        new.any(|new| stands_in(&new.task, &task.task))
    };
    let dropped_in =
        |task: &TaskState| state.replans.iter().position(|replan| replan.dropped.contains(&task.id));
    let counts = |task: &&TaskState| dropped_in(task).is_none_or(|round| !is_replaced(task, round));
    state.plan_tasks().filter(counts).collect()
}

/// Whether a later task is another way to do a dropped one: for a reading, if it reads the same text, and for other work,
/// if they are about the same. If it has failed as well, it is named in its place.
fn stands_in(new: &Task, dropped: &Task) -> bool {
    if let Some(text) = &dropped.input {
        return new.input.as_ref().is_some_and(|read| read == text || text.is_part_of(read));
    }
    let wanted = content_words(&dropped.instruction);
    wanted.is_empty() || share_a_word(&wanted, &content_words(&new.instruction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Job, Slice};

    fn reading(instruction: &str, index: usize) -> Task {
        let slice = Slice { index, name: format!("farm{index}.md"), part: 0, parts: 1, bytes: 0..9 };
        Task { job: Job::Read, input: Some(slice), ..step(instruction) }
    }

    fn step(instruction: &str) -> Task {
        Task { job: Job::Step, instruction: instruction.to_owned(), ..Task::default() }
    }

    #[test]
    fn another_way_reads_the_same_text_or_is_about_the_same() {
        let check = |new: Task, dropped: Task, expected: bool| {
            assert_eq!(stands_in(&new, &dropped), expected, "{new:?} for {dropped:?}");
        };
        check(reading("what the farm grows", 1), reading("how many sheep", 1), true);
        check(reading("how many sheep", 0), reading("how many sheep", 1), false);
        check(step("how many sheep"), reading("how many sheep", 1), false);
        check(step("Compare both by their animals"), step("Say which farm has more animals"), true);
        check(reading("owner of the farm", 0), step("Say who owns the farm"), true);
        check(step("Write a song"), step("Say who owns the farm"), false);
        // The figure of a calculation.
        check(step("total"), step("total"), true);
        check(step("average"), step("total"), false);
        // There is nothing to compare.
        check(step("Write a song"), step("Do it all"), true);
    }
}
