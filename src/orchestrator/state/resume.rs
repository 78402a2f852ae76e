//! How the state of a run changes when a process takes the run up: what is done again, what a fork changes, and when
//! the budget begins anew.

use std::collections::{BTreeMap, HashSet};

use super::{RunState, Stopped, TaskState, Used, is_planners};
use crate::cancel::StopReason;
use crate::event::ChangedInput;
use crate::goal::BandInfo;
use crate::outcome::Status;
use crate::parked::Answer;
use crate::plan::Job;

impl RunState {
    /// Takes up a run. What has an accepted result stays, unless it read an input that has changed or needs what is done
    /// again. A task that failed is tried again if the run had ended; if its process was killed, the run goes on as if
    /// that had not happened. So it keeps its budget and what a budget had stopped.
    pub(super) fn resume(&mut self, answer: Option<&Answer>, band: &BandInfo, changed: &[ChangedInput]) {
        // A run that was parked goes on as if it had not ended.
        let had_ended = self.has_ended() && !self.is_parked();
        let by_budget = |stopped: &Stopped| stopped.reason != StopReason::Interrupted;
        self.stopped = self.stopped.filter(by_budget).filter(|_| !self.has_ended());
        self.approval.declined = None;
        if let Some(answer) = answer {
            self.take_answer(answer);
        }
        let changed_at = self.take_changed(changed);
        let is_unrecorded = self.tasks.iter().any(|task| task.task.job == Job::Unrecorded);
        if self.band.is_none() && is_unrecorded {
            // Recorded by an earlier version, which didn't record what the tasks are. The run begins anew.
            self.forget(|_| false);
            self.plan = None;
        }
        self.lose_dropped_calls();
        self.reopen(had_ended, &changed_at, band);
        self.band = Some(band.clone());
        self.status = Status::InProgress;
        self.answer.clear();
        self.missing.clear();
        self.unchecked.clear();
        self.required_action = None;
        (self.outcome, self.usage, self.lost_outcome) = (None, None, false);
        if had_ended {
            self.begin_budget();
        }
    }

    /// Begins a new run with the events of another one and other settings.
    pub(super) fn fork(&mut self, run: &str, set: &BTreeMap<String, String>, band: &BandInfo) {
        run.clone_into(&mut self.id);
        (self.outcome, self.lost_outcome) = (None, false);
        self.resume(None, band, &[]);
        self.begin_budget();
        set.iter().for_each(|(name, value)| self.set(name, value));
    }

    fn begin_budget(&mut self) {
        self.stopped = None;
        self.budgets_reached.clear();
        self.budget_from = self.used_in_all();
    }

    /// What the run has used since its present budget began.
    #[must_use]
    pub fn used(&self) -> Used {
        let (all, from) = (self.used_in_all(), self.budget_from);
        Used {
            tokens: all.tokens.saturating_sub(from.tokens),
            ms: all.ms.saturating_sub(from.ms),
            tasks: all.tasks.saturating_sub(from.tasks),
        }
    }

    fn used_in_all(&self) -> Used {
        let tokens = self.calls().map(|call| call.usage.computed());
        let begun = self.tasks.iter().filter(|task| task.counts_as_begun()).count() as u64;
        let tasks = begun + self.forgotten.tasks;
        Used { tokens: tokens.fold(0, u64::saturating_add), ms: self.wall_ms, tasks }
    }

    fn reopen(&mut self, had_ended: bool, changed_at: &[usize], band: &BandInfo) {
        let mut again: Vec<String> = Vec::new();
        let last_planned = self.last_planned();
        let dropped: Vec<&String> = self.replans.iter().flat_map(|replan| &replan.dropped).collect();
        for (at, task) in self.tasks.iter_mut().enumerate() {
            if dropped.contains(&&task.id) {
                continue;
            }
            let open = match task.status {
                // The tasks that are there followed from it.
                Status::Completed | Status::Failed | Status::Skipped
                    if task.task.job == Job::Plan && last_planned > Some(at) =>
                {
                    false
                }
                Status::Completed => had_ended && task.cut && task.may_get_further(band),
                Status::Failed | Status::Skipped => had_ended,
                Status::RequiresAction => false,
                _ => true,
            };
            let changes = changed_at.iter().any(|at| task.task.reads(*at))
                || task.task.needs.iter().any(|need| again.contains(need));
            if open || changes {
                // Nothing has begun yet that needs the result of a task which had none.
                if matches!(task.status, Status::Completed | Status::Failed | Status::Skipped) {
                    again.push(task.id.clone());
                }
                task.reset(changes);
            }
        }
    }

    /// The place of the last task of a plan.
    fn last_planned(&self) -> Option<usize> {
        self.tasks.iter().rposition(|task| !is_planners(task))
    }

    /// Changes a setting of a fork, which was checked when the fork was made.
    fn set(&mut self, name: &str, value: &str) {
        match (name, name.strip_prefix("output.")) {
            ("goal", _) => {
                value.clone_into(&mut self.goal);
                if self.tasks.is_empty() {
                    // They were chosen for the other goal.
                    (self.strategy, self.strategy_why) = (None, None);
                }
            }
            ("seed", _) => self.asked.seed = value.parse().unwrap_or(self.asked.seed),
            // What is no number lifts the limit. At 0 there was none in earlier versions.
            ("budget-tokens", _) => self.asked.budget_tokens = value.parse().ok().filter(|limit| *limit > 0),
            ("budget-seconds", _) => {
                self.asked.budget_seconds = value.parse().ok().filter(|limit| *limit > 0.0);
            }
            ("budget-tasks", _) => self.asked.budget_tasks = value.parse().ok(),
            ("budget-depth", _) => self.asked.budget_depth = value.parse().ok(),
            ("strategy", _) => self.asked.strategy = value.parse().ok(),
            (_, Some(task)) => self.set_output(task, value),
            _ => {}
        }
    }

    /// Replaces a task's result. What needs it is done again.
    fn set_output(&mut self, id: &str, output: &str) {
        let Some(task) = self.task_mut(id) else { return };
        output.clone_into(&mut task.output);
        let mut changed = HashSet::from([id.to_owned()]);
        let dropped: Vec<&String> = self.replans.iter().flat_map(|replan| &replan.dropped).collect();
        for task in self.tasks.iter_mut().filter(|task| !dropped.contains(&&task.id)) {
            if task.task.needs.iter().any(|need| changed.contains(need)) {
                changed.insert(task.id.clone());
                task.reset(true);
            }
        }
    }

    /// Why the result of a task can't be replaced in a fork.
    ///
    /// # Errors
    /// When it has none, or the plan that is carried out followed from it.
    pub(crate) fn can_set_output(&self, id: &str) -> Result<(), &'static str> {
        let Some(task) = self.task(id).filter(|task| task.accepted().is_some()) else {
            return Err("no task of this name has a result at this event");
        };
        let place = self.tasks.iter().position(|task| task.id == id);
        if task.task.job == Job::Plan && self.last_planned() > place {
            return Err("the tasks of the plan followed from it: fork before the event `plan.accepted`");
        }
        Ok(())
    }
}

impl TaskState {
    /// Whether a result that was cut off at its limit may get further in another attempt, which is allowed more tokens.
    /// It can't if the limit was the end of the model's context.
    fn may_get_further(&self, band: &BandInfo) -> bool {
        let Some(cut) = self.attempts.iter().rfind(|attempt| attempt.is_cut()) else { return true };
        let same_model = band.get(&cut.worker).filter(|info| info.model == cut.model);
        let tokens_max = cut.tokens_max().unwrap_or(self.task.tokens_max);
        same_model.is_none_or(|info| {
            cut.usage.prompt_tokens.saturating_add(u64::from(tokens_max)) < info.context_tokens as u64
        })
    }
}
