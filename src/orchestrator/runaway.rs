//! Limits that no sound strategy comes near. A strategy from outside this crate may have a bug by which its run would
//! never end. The run fails instead, and its error says so.

use super::goal::Goal;
use super::request::StrategyName;
use super::state::RunState;
use super::strategy::{Move, SplitAsked};

/// Most moves in a row, between which no call ends and no input is cut.
const MOVES_MAX: usize = 1000;
/// Most tasks of a run, the planner's own calls among them.
const TASKS_MAX: usize = 100_000;
/// Most times that a run is planned again.
const REPLANS_MAX: usize = 100;
/// Most ways in which one input is cut.
const SPLITS_MAX: usize = 100;

/// Most searches of a run.
const SEARCHES_MAX: usize = 100;

/// Why a move can't be made; `None` if it can. `moves` is its number among the moves in a row.
#[must_use]
pub(crate) fn refusal(moved: &Move, goal: &Goal, state: &RunState, moves: usize) -> Option<String> {
    let what = match moved {
        Move::Wait | Move::Answer(_) => return None,
        Move::Split(asked) if asked.is_empty() => "asks to cut no input".to_owned(),
        Move::Split(asked) => asked.iter().find_map(|one| refused_split(one, goal, state))?,
        Move::Search(asked) if state.search(&asked.query).is_some() => {
            format!("searches again for {:?}, which was searched for", asked.query)
        }
        Move::Search(_) if state.searches.len() >= SEARCHES_MAX => {
            format!("searches more than {SEARCHES_MAX} times")
        }
        Move::Add { tasks, .. } if state.tasks.len().saturating_add(tasks.len()) > TASKS_MAX => {
            format!("adds more than {TASKS_MAX} tasks")
        }
        Move::Replan { .. } if state.replans.len() >= REPLANS_MAX => {
            format!("plans again more than {REPLANS_MAX} times")
        }
        _ if moves > MOVES_MAX => format!("makes more than {MOVES_MAX} moves without waiting for a call"),
        _ => return None,
    };
    let name = state.strategy.unwrap_or(StrategyName::Other);
    Some(format!("the strategy {name} {what}: this is a bug in it"))
}

fn refused_split(asked: &SplitAsked, goal: &Goal, state: &RunState) -> Option<String> {
    let SplitAsked { input, worker, tokens_max } = asked;
    let count = goal.inputs.len();
    if *input >= count {
        return Some(format!("asks where to cut input {input}, but the run has {count}"));
    }
    let mut known = state.splits.iter().filter(|split| split.input == *input);
    if known.clone().count() >= SPLITS_MAX {
        return Some(format!("asks in more than {SPLITS_MAX} ways where to cut input {input}"));
    }
    let is_known = known.any(|split| split.worker == *worker && split.tokens_max == *tokens_max);
    is_known.then(|| format!("asks again where to cut input {input} for {worker}, which it was told"))
}
