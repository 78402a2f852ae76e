//! Calls of tasks that ended while the calls ran, because the strategy dropped the tasks. The process that makes such a
//! call ends it and records what it has used. If the process is killed before that, nobody knows what it was.

use super::{Attempt, RunState, TaskState};
use crate::event::{CallEnd, EventKind};
use crate::goal::RULE;
use crate::outcome::TokenUsage;
use crate::plan::Job;

impl TaskState {
    /// The call that was being made when the task was dropped, and of which no end is recorded.
    fn dropped_call(&self) -> Option<&Attempt> {
        let is_calculated = |attempt: &Attempt| self.task.job == Job::Calculate || attempt.model == RULE;
        let last = self.attempts.last().filter(|_| self.has_ended());
        last.filter(|attempt| attempt.end.is_none() && !is_calculated(attempt))
    }
}

impl RunState {
    /// Tasks that were dropped, each with the attempt of which no end is recorded.
    pub(crate) fn dropped_calls(&self) -> impl Iterator<Item = (&str, &Attempt)> {
        self.tasks.iter().filter_map(|task| Some((task.id.as_str(), task.dropped_call()?)))
    }

    /// Takes dropped calls as ended. What they used is lost, for example with the process that made them. Returns
    /// whether there were any.
    pub(crate) fn lose_dropped_calls(&mut self) -> bool {
        let mut any = false;
        for task in self.tasks.iter_mut().filter(|task| task.dropped_call().is_some()) {
            task.attempts.iter_mut().last().into_iter().for_each(|last| last.end = Some(CallEnd::Stopped));
            any = true;
        }
        any
    }
}

/// The end of a dropped call that had not begun.
pub(crate) fn never_begun(task: &str, attempt: &Attempt) -> EventKind {
    EventKind::TaskOutput {
        task: task.to_owned(),
        attempt: attempt.attempt,
        worker: attempt.worker.clone(),
        model: attempt.model.clone(),
        prompt: String::new(),
        prompt_template: None,
        sampling: serde_json::Value::Null,
        output: String::new(),
        usage: TokenUsage::default(),
        end: CallEnd::Stopped,
        steps: [0, 0],
    }
}
