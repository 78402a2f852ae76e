//! The budgets of tasks and of depth. They follow from the state of the run: a task beyond them is skipped, and the
//! answer is made from the others. The budgets of tokens and of time end the whole run instead (`attempt.rs`, `run.rs`).

use std::collections::HashMap;

use super::event::EventKind;
use super::limits::{DEPTH, TASKS, limit_in_words};
use super::state::{RunState, TaskState};

/// Why a task beyond a budget is not begun.
fn why(which: &str, limit: u64) -> String {
    format!("the budget of {} was reached", limit_in_words(which, limit as f64))
}

fn is_new(task: &TaskState) -> bool {
    task.task.counts() && task.attempts.is_empty()
}

/// What the budgets allow at a state.
pub(crate) struct Allowed {
    /// Tasks that may still be begun; `None` without a limit.
    tasks_left: Option<u64>,
    /// The same, less those for which [`Allowed::begin`] was called. What is beyond it is skipped at a later state, after
    /// the event that says so.
    tasks_left_now: Option<u64>,
    tasks_max: u64,
    depth_max: u64,
    /// For each task, how many tasks in a row end with it. Empty without a limit.
    depths: HashMap<String, u64>,
}

impl Allowed {
    #[must_use]
    pub(crate) fn of(state: &RunState) -> Self {
        let tasks_max = state.asked.budget_tasks;
        let tasks_left = tasks_max.map(|max| max.saturating_sub(state.used().tasks));
        Self {
            tasks_left,
            tasks_left_now: tasks_left,
            tasks_max: tasks_max.unwrap_or_default(),
            depth_max: state.asked.budget_depth.unwrap_or(u64::MAX),
            depths: if state.asked.budget_depth.is_some() { depths(state) } else { HashMap::new() },
        }
    }

    /// The budget by which a task may not begin, and its limit.
    fn forbids(&self, task: &TaskState) -> Option<(&'static str, u64)> {
        if task.has_ended() || !is_new(task) {
            return None;
        }
        if self.depths.get(&task.id).is_some_and(|depth| *depth > self.depth_max) {
            return Some((DEPTH, self.depth_max));
        }
        (self.tasks_left == Some(0)).then_some((TASKS, self.tasks_max))
    }

    /// Whether the tasks that begin at this state leave one for this task.
    #[must_use]
    pub(crate) fn has_room_for(&self, task: &TaskState) -> bool {
        !is_new(task) || self.tasks_left_now != Some(0)
    }

    pub(crate) fn begin(&mut self, task: &TaskState) {
        if is_new(task) {
            self.tasks_left_now = self.tasks_left_now.map(|left| left.saturating_sub(1));
        }
    }

    /// Why a task may not begin, if it may not.
    #[must_use]
    pub(crate) fn why_not(&self, task: &TaskState) -> Option<String> {
        self.forbids(task).map(|(which, limit)| why(which, limit))
    }

    /// The event of a budget that is reached and has not been noted.
    #[must_use]
    pub(crate) fn reached(&self, state: &RunState) -> Option<EventKind> {
        let noted = |which: &str| state.budgets_reached.iter().any(|(noted, _)| noted == which);
        let (which, limit) =
            state.tasks.iter().filter_map(|task| self.forbids(task)).find(|(which, _)| !noted(which))?;
        Some(EventKind::BudgetReached { which: which.into(), limit: limit as f64 })
    }
}

/// How many tasks in a row end with each task. Each needs only tasks before it.
fn depths(state: &RunState) -> HashMap<String, u64> {
    let mut depths = HashMap::new();
    for task in &state.tasks {
        let before = task.task.needs.iter().filter_map(|need| depths.get(need)).max().copied().unwrap_or(0);
        depths.insert(task.id.clone(), before + u64::from(task.task.counts()));
    }
    depths
}

#[cfg(test)]
mod tests;
