//! The outcome of a run, from its state.

use std::collections::HashSet;

use super::cancel::StopReason;
use super::limits::limit_in_words;
use super::outcome::{Outcome, RunUsage, Status, TaskReport};
use super::request::StrategyName;
use super::state::{Attempt, RunState, Stopped, TaskState};
use super::strategy::Ended;

/// What became of a run that ends now, `wall_ms` milliseconds after it began.
#[must_use]
pub(crate) fn conclude(state: &RunState, ended: Ended, wall_ms: u64) -> Outcome {
    let unfinished = state.tasks.iter().any(|task| task.status == Status::Cancelled);
    conclude_with(state, ended, unfinished, wall_ms)
}

/// The same for a run whose strategy would have gone on if the run had not been stopped.
#[must_use]
pub(crate) fn conclude_early(state: &RunState, ended: Ended, wall_ms: u64) -> Outcome {
    conclude_with(state, ended, true, wall_ms)
}

fn conclude_with(state: &RunState, mut ended: Ended, unfinished: bool, wall_ms: u64) -> Outcome {
    if let Some(asked) = &state.approval.declined {
        if ended.status == Some(Status::RequiresAction) {
            // It would ask again.
            ended.answer.clear();
        }
        ended.status = Some(Status::Cancelled);
        ended.missing.push(asked.clone());
    }
    let stopped = state.stopped.filter(|_| unfinished || ended.answer.is_empty());
    if let Some(limit) = stopped.and_then(limit_reached) {
        ended.missing.push(limit);
    }
    for (which, limit) in &state.budgets_reached {
        ended.missing.push(format!("the budget of {} was reached", limit_in_words(which, *limit)));
        ended.failed_tasks = ended.failed_tasks.max(1);
    }
    if stopped.is_some() {
        // Whatever the strategy says of it, there is no answer because the run was stopped.
        ended.error = None;
    }
    let status = match (ended.status, stopped) {
        (Some(status), _) => status,
        (None, Some(Stopped { reason: StopReason::Interrupted, .. })) => Status::Cancelled,
        (None, Some(_)) => Status::Incomplete,
        (None, None) if ended.error.is_some() || ended.answer.trim().is_empty() => Status::Failed,
        (None, None) if ended.failed_tasks > 0 || !ended.unchecked.is_empty() => Status::Incomplete,
        (None, None) => Status::Completed,
    };
    if status == Status::Failed && ended.error.is_none() {
        let errors: HashSet<&str> = state.plan_tasks().filter_map(|task| task.error.as_deref()).collect();
        let mut errors: Vec<&str> = errors.into_iter().collect();
        errors.sort_unstable();
        ended.error = Some(format!("no task produced a result: {}", errors.join("; ")));
    }
    Outcome {
        id: state.id.clone(),
        status,
        answer: ended.answer,
        required_action: None,
        strategy: state.strategy.unwrap_or(StrategyName::Other),
        strategy_why: state.strategy_why.clone().unwrap_or_default(),
        tasks: state.plan_tasks().map(report).collect(),
        planner_tasks: state.planner_tasks().map(report).collect(),
        usage: usage(state.calls(), wall_ms),
        missing: ended.missing,
        unchecked: ended.unchecked,
        warnings: Vec::new(),
        error: ended.error,
    }
}

fn limit_reached(Stopped { reason, limit }: Stopped) -> Option<String> {
    let which = match reason {
        StopReason::TokensSpent => "tokens",
        StopReason::TimeSpent => "seconds",
        StopReason::Interrupted => return None,
    };
    Some(format!("the budget of {} was reached", limit_in_words(which, limit)))
}

fn report(task: &TaskState) -> TaskReport {
    let finished_ms = task.finished_ms.unwrap_or_default();
    TaskReport {
        id: task.id.clone(),
        worker: task.worker.clone(),
        model: task.model.clone(),
        needs: task.task.needs.clone(),
        status: task.status,
        attempts: task.attempts.len() as u32,
        usage: task.usage,
        started_ms: task.started_ms.unwrap_or(finished_ms),
        finished_ms,
        output: task.output.clone(),
        error: task.error.clone(),
    }
}

/// Sums the usage of all calls. A step shared by `b` sequences counts `1/b` for each of them, so once in all.
fn usage<'a>(attempts: impl Iterator<Item = &'a Attempt>, wall_ms: u64) -> RunUsage {
    let mut usage = RunUsage { wall_ms, ..RunUsage::default() };
    let (mut steps, mut rows) = (0.0, 0.0);
    for attempt in attempts {
        usage.tokens.add(attempt.usage);
        let [in_steps, batch_sum] = attempt.steps;
        if batch_sum > 0 {
            let in_steps = in_steps as f64;
            steps += in_steps * in_steps / batch_sum as f64;
            rows += in_steps;
        }
    }
    usage.steps = steps.round() as u64;
    usage.mean_batch = if steps > 0.0 { (100.0 * rows / steps).round() / 100.0 } else { 0.0 };
    usage
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{PromptTokensDetails, TokenUsage};
    use super::*;

    #[test]
    fn a_step_shared_by_several_calls_counts_once() {
        let usage_of_one = TokenUsage {
            prompt_tokens: 10,
            completion_tokens: 20,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: 4 },
        };
        let call = Attempt { usage: usage_of_one, steps: [20, 80], ..Attempt::default() };
        let usage = usage([call.clone(), call.clone(), call.clone(), call].iter(), 7);
        assert_eq!((usage.steps, usage.mean_batch, usage.wall_ms), (20, 4.0, 7));
        assert_eq!((usage.tokens.prompt_tokens, usage.tokens.completion_tokens), (40, 80));
        assert_eq!(usage.tokens.prompt_tokens_details.cached_tokens, 16);
    }
}
