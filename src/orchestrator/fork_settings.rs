//! The settings that a fork may change, checked when it is made. `state/resume.rs` changes them in the state.

use std::str::FromStr;
use std::time::Duration;

use super::request::{Budget, RunRequest, StrategyError};
use super::state::RunState;

/// The value of a limit that lifts it.
const NO_LIMIT: &str = "none";
/// The names of the settings, for messages.
const NAMES: &str =
    "seed, goal, budget-tokens, budget-seconds, budget-tasks, budget-depth, strategy, output.TASK";

/// Sets one setting of a fork. `state` is the state that the two runs share; its first task was added by event
/// `planned`, if it has tasks.
///
/// # Errors
/// Why the setting can't be changed at this event.
pub(crate) fn set(
    request: &mut RunRequest,
    state: &RunState,
    planned: Option<u64>,
    (name, value): (&str, &str),
) -> Result<(), String> {
    match (name, name.strip_prefix("output.")) {
        ("goal", _) if value.trim().is_empty() => return Err("the goal is empty".to_owned()),
        ("goal", _) => match planned {
            None => value.clone_into(&mut request.goal),
            Some(at) => {
                return Err(format!(
                    "the tasks from event {at} on follow from the old goal: fork at event {} or before",
                    at - 1
                ));
            }
        },
        ("seed", _) => request.seed = value.parse().map_err(|_| "give a whole number".to_owned())?,
        ("budget-tokens" | "budget-seconds" | "budget-tasks" | "budget-depth", _) => {
            set_limit(&mut request.budget, name, value)?;
        }
        ("strategy", _) if state.strategy.is_none() => {
            request.strategy = Some(value.parse().map_err(|error: StrategyError| error.to_string())?);
        }
        ("strategy", _) => return Err("the strategy was chosen before: fork at event 1".to_owned()),
        (_, Some(task)) => state.can_set_output(task)?,
        _ => return Err(format!("the settings are {NAMES}")),
    }
    Ok(())
}

fn set_limit(budget: &mut Budget, name: &str, value: &str) -> Result<(), String> {
    match name {
        "budget-tokens" => budget.tokens = limit(value)?,
        "budget-tasks" => budget.tasks = limit(value)?,
        "budget-depth" => budget.depth = limit(value)?,
        _ => {
            let time =
                |seconds: f64| Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
            budget.time = match value {
                NO_LIMIT => None,
                _ => Some(value.parse().ok().and_then(time).ok_or_else(|| wrong("seconds above 0"))?),
            };
        }
    }
    Ok(())
}

/// A limit that is a whole number.
fn limit<T: FromStr + Default + PartialEq>(value: &str) -> Result<Option<T>, String> {
    match value.parse::<T>() {
        _ if value == NO_LIMIT => Ok(None),
        Ok(limit) if limit != T::default() => Ok(Some(limit)),
        _ => Err(wrong("a whole number of at least 1")),
    }
}

fn wrong(expected: &str) -> String {
    format!("give {expected}, or {NO_LIMIT} for no limit")
}
