//! Tasks that a run forgets, because a text has changed and their plan is made anew. What their calls have cost stays
//! part of what the run has used.

use super::{Attempt, RunState, TaskState};

/// What was spent on tasks that a run has forgotten.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Forgotten {
    /// Their calls, of which nothing but the cost is known.
    calls: Vec<Attempt>,
    /// How many of them count against the budget of tasks.
    pub(super) tasks: u64,
}

impl RunState {
    /// Forgets all tasks but those that `keeps` accepts.
    pub(super) fn forget(&mut self, keeps: impl Fn(&TaskState) -> bool) {
        let forgotten: Vec<TaskState> = self.tasks.extract_if(.., |task| !keeps(task)).collect();
        self.places = (0..).zip(&self.tasks).map(|(place, task)| (task.id.clone(), place)).collect();
        self.forgotten.tasks += forgotten.iter().filter(|task| task.counts_as_begun()).count() as u64;
        let calls = forgotten.iter().flat_map(TaskState::calls);
        self.forgotten.calls.extend(calls.map(|call| Attempt {
            usage: call.usage,
            steps: call.steps,
            ..Attempt::default()
        }));
    }

    /// Every call of the run. Of some nothing but the cost is known.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Attempt> {
        self.tasks.iter().flat_map(TaskState::calls).chain(&self.forgotten.calls)
    }
}

impl TaskState {
    fn calls(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().chain(&self.abandoned)
    }

    /// Whether a model has begun it and it counts against the budget of tasks.
    pub(super) fn counts_as_begun(&self) -> bool {
        self.task.counts() && !self.attempts.is_empty()
    }
}
