//! Planning in rounds: when tasks have failed for good, the planner is asked again around what is finished. A round is
//! a call of the planner and the tasks that follow from it.

use std::fmt::Write as _;

use crate::event::FailureClass;
use crate::outcome::Status;
use crate::plan::{Job, Task};
use crate::state::{Attempt, RunState, TaskState};
use crate::strategy::Move;

/// Most times that the planner is asked again.
const REPLANS_MAX: usize = 3;
/// A task that stalls this often is given up.
const STALLS_MAX: usize = 2;
/// Most characters of a result that the planner is shown.
const SHOWN_CHARS_MAX: usize = 300;

/// Why a task was given up.
const STALLED: &str = "it gives the same result again and again";
/// Why a call of the planner was given up.
const STANDS: &str = "the tasks that it had finished are the plan";

/// Id of the planner's call that plans in a round, from 0.
pub(super) fn plan_id(round: usize) -> String {
    numbered("plan", round)
}

/// Id of the planner's call that words the answer, from 0.
pub(super) fn synthesis_id(number: usize) -> String {
    numbered("synthesis", number)
}

fn numbered(name: &str, round: usize) -> String {
    if round == 0 { name.to_owned() } else { format!("{name}{}", round + 1) }
}

/// The round that a run is in.
pub(super) fn current(state: &RunState) -> usize {
    state.replans.len()
}

/// The round of a call of the planner; 0 for any other task.
pub(super) fn of_plan(state: &RunState, task: &str) -> usize {
    (0..=current(state)).find(|round| plan_id(*round) == task).unwrap_or_default()
}

/// Number of tasks that were planned before a round.
pub(super) fn tasks_before(state: &RunState, round: usize) -> usize {
    let id = plan_id(round);
    let before = state.tasks.iter().take_while(|task| task.id != id);
    before.filter(|task| !task.task.job.is_planners()).count()
}

/// The tasks that were planned in the current round.
pub(super) fn added(state: &RunState) -> Vec<&TaskState> {
    added_in(state, current(state))
}

/// The tasks that were planned in a round.
pub(super) fn added_in(state: &RunState, round: usize) -> Vec<&TaskState> {
    let (before, after) = (tasks_before(state, round), tasks_before(state, round + 1));
    state.plan_tasks().take(after).skip(before).collect()
}

/// The tasks that count: those that no later round goes on without.
pub(super) fn live(state: &RunState) -> Vec<&TaskState> {
    state.plan_tasks().filter(|task| !state.is_dropped(&task.id)).collect()
}

/// The next round, if tasks have failed for good and the planner may be asked again. Every task has ended.
pub(super) fn again(state: &RunState) -> Option<Move> {
    let round = current(state);
    if round >= REPLANS_MAX || state.is_stopped() || added(state).is_empty() {
        return None;
    }
    let (kept, dropped): (Vec<&TaskState>, Vec<&TaskState>) =
        live(state).into_iter().partition(|task| task.accepted().is_some());
    let failed: Vec<&str> =
        dropped.iter().filter(|task| is_content(task)).map(|task| task.id.as_str()).collect();
    if failed.is_empty() {
        return None;
    }
    let answers = state.planner_tasks().filter(|task| task.task.job == Job::Synthesis);
    let answers: Vec<&TaskState> = answers.filter(|answer| !state.is_dropped(&answer.id)).collect();
    let ids = |tasks: Vec<&TaskState>| tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>();
    let why = format!("there is no usable result of {}", failed.join(", "));
    // An answer that was to be worded again, because the run was taken up, is not wanted any more.
    let open: Vec<&TaskState> = answers.iter().copied().filter(|answer| !answer.has_ended()).collect();
    if !open.is_empty() {
        return Some(Move::Drop { tasks: ids(open), why: "the planner is asked again".to_owned() });
    }
    let dropped = dropped.into_iter().chain(answers).collect();
    let (kept, dropped) = (ids(kept), ids(dropped));
    Some(Move::Replan { why, kept, dropped })
}

/// Whether a task failed in a way that another plan may mend: nobody's result passed its check.
fn is_content(task: &TaskState) -> bool {
    let last = || task.attempts_now().iter().rev().find_map(|attempt| attempt.failure.as_ref());
    match task.status {
        Status::Skipped => task.error.as_deref() == Some(STALLED),
        Status::Failed if task.task.job == Job::Calculate => true,
        Status::Failed => last().is_some_and(|failure| failure.class == FailureClass::Content),
        _ => false,
    }
}

/// Gives up tasks that go in a circle: the same prompt gave the same reply, which the check rejected, again and again.
/// It depends on nothing but the task, so that it does not matter when the others end.
pub(super) fn give_up(state: &RunState) -> Option<Move> {
    let open = state.plan_tasks().filter(|task| !task.has_ended() && stalls(task) >= STALLS_MAX);
    let tasks: Vec<String> = open.map(|task| task.id.clone()).collect();
    (!tasks.is_empty()).then(|| Move::Drop { tasks, why: STALLED.to_owned() })
}

fn stalls(task: &TaskState) -> usize {
    let rejected = task.attempts_now().iter().filter(|attempt| {
        attempt.failure.as_ref().is_some_and(|failure| failure.class == FailureClass::Content)
            && !attempt.output.is_empty()
    });
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut stalls = 0;
    for attempt in rejected {
        let made = (attempt.prompt.as_str(), attempt.output.as_str());
        stalls += usize::from(seen.contains(&made));
        seen.push(made);
    }
    stalls
}

/// Ends a call of the planner that is to be made again, if tasks already followed from what an earlier attempt had
/// finished. `gives_tasks` says whether a part of a plan does.
pub(super) fn let_stand(
    state: &RunState,
    plan: &TaskState,
    gives_tasks: impl Fn(&str) -> bool,
) -> Option<Move> {
    let mut failed = plan.attempts_now().iter().filter(|attempt| {
        attempt.failure.as_ref().is_some_and(|failure| failure.class != FailureClass::Transient)
    });
    let stands = !plan.has_ended()
        && !added(state).is_empty()
        && failed.any(|attempt| !attempt.partial.is_empty() && gives_tasks(&attempt.partial));
    stands.then(|| Move::Drop { tasks: vec![plan.id.clone()], why: STANDS.to_owned() })
}

/// Those of `planned`, the tasks that the planner has finished so far, that are not there yet. If the ones that are
/// there are others, because an earlier call had finished them, they are the plan.
pub(super) fn new_tasks(state: &RunState, mut planned: Vec<Task>) -> Vec<Task> {
    let there = added(state).len();
    if there > planned.len() || !are_added(state, current(state), &planned[..there]) {
        return Vec::new();
    }
    planned.split_off(there)
}

/// Whether these are the tasks that were planned in a round.
pub(super) fn are_added(state: &RunState, round: usize, planned: &[Task]) -> bool {
    let there = added_in(state, round);
    let same = |(task, new): (&&TaskState, &Task)| is_same_work(&task.task, new) && task.id == new.id;
    there.len() == planned.len() && there.iter().zip(planned).all(same)
}

pub(super) fn is_same_work(a: &Task, b: &Task) -> bool {
    (&a.job, &a.instruction, &a.input, &a.needs, a.output)
        == (&b.job, &b.instruction, &b.input, &b.needs, b.output)
}

/// Whether the planner ended a round's call before it had written the whole plan.
pub(super) fn is_cut_short(plan: &TaskState) -> bool {
    plan.accepted().is_none() || plan.attempts.last().is_some_and(Attempt::is_cut)
}

/// What the planner is told of the earlier rounds; empty in the first.
pub(super) fn told(state: &RunState, round: usize) -> String {
    let Some(replan) = round.checked_sub(1).and_then(|last| state.replans.get(last)) else {
        return String::new();
    };
    let tasks = |ids: &[String]| -> Vec<&TaskState> {
        state.plan_tasks().filter(|task| ids.contains(&task.id)).collect()
    };
    let mut told = String::new();
    let kept = tasks(&replan.kept);
    if !kept.is_empty() {
        told.push_str("Some of the work is done and must not be done again:\n");
    }
    for task in kept {
        let result = shortened(task.accepted().unwrap_or_default());
        let _ = writeln!(told, "- {} ({}): {result}", task.id, task.task.instruction);
    }
    told.push_str("This went wrong, so do it in another way or do without it:\n");
    for task in tasks(&replan.dropped) {
        let why = shortened(task.error.as_deref().unwrap_or("not done"));
        let _ = writeln!(told, "- {} ({}): {why}", task.id, task.task.instruction);
    }
    told
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Finish;
    use crate::event::{CallEnd, EventKind};

    /// A run with one task, whose attempts gave these replies, all of which were rejected.
    fn rejected(replies: &[&str]) -> RunState {
        let mut state = RunState::new("r", 0);
        let task = || "t1".to_owned();
        let mut events = vec![EventKind::TasksAdded { tasks: vec![Task { id: task(), ..Task::default() }] }];
        for (attempt, reply) in (1..).zip(replies) {
            let (worker, model, rung) = ("w".to_owned(), "m".to_owned(), 0);
            events.push(EventKind::TaskStarted { task: task(), attempt, worker, model, rung });
            events.push(EventKind::TaskOutput {
                task: task(),
                attempt,
                worker: String::new(),
                model: String::new(),
                prompt: "the same".to_owned(),
                prompt_template: None,
                sampling: serde_json::Value::Null,
                output: (*reply).to_owned(),
                usage: Default::default(),
                end: CallEnd::Reply(Finish::Stop),
                steps: [0, 0],
            });
            let (class, error, kept, doubtful) = (FailureClass::Content, String::new(), None, false);
            events.push(EventKind::TaskFailed { task: task(), attempt, class, error, kept, doubtful });
        }
        events.iter().for_each(|event| state.apply(state.last_seq + 1, 0, event));
        state
    }

    #[test]
    fn a_task_that_goes_in_a_circle_is_given_up() {
        let check = |replies: &[&str], expected: bool| {
            assert_eq!(give_up(&rejected(replies)).is_some(), expected, "{replies:?}");
        };
        check(&["a", "a", "a"], true);
        check(&["a", "b", "a", "b"], true);
        check(&["a", "a"], false);
        check(&["a", "b", "c", "a"], false);
        // Nothing is not a result that could be given again.
        check(&["", "", ""], false);
    }
}
