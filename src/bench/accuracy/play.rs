//! Has an item answered: by a band with a strategy, or by its planner alone in one plain call.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::suite::{Item, Kind};
use crate::journal::Desk;
use crate::orchestrator::{
    Band, Budget, Call, Cancel, RunEvent, RunRequest, Status, Strategy, StrategyError, TaskReport, choose,
    direct_prompt, run,
};

/// An answer of one plain call has so many tokens at most, if nothing else is said.
const ALONE_TOKENS_MAX: u64 = 1024;
/// However little it may use, an answer of a few words has room.
const ALONE_TOKENS_MIN: u64 = 64;

/// How items are gone about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The planner in one plain call, without any of the orchestrator: what everything else is compared with.
    Alone,
    /// As a run chooses.
    Auto,
    /// In this way.
    Fixed(Strategy),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("alone"),
            Self::Auto => f.write_str("auto"),
            Self::Fixed(strategy) => strategy.fmt(f),
        }
    }
}

impl FromStr for Way {
    type Err = StrategyError;

    fn from_str(name: &str) -> Result<Self, StrategyError> {
        match name {
            "alone" => Ok(Self::Alone),
            "auto" => Ok(Self::Auto),
            name => name.parse().map(Self::Fixed),
        }
    }
}

/// What an item may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowance {
    /// What it needs.
    Free,
    /// So many tokens.
    Tokens(u64),
    /// For each item, by its id, so many tokens: what another cell used on it.
    AsMany(HashMap<String, u64>),
}

impl Allowance {
    fn tokens(&self, item: &Item) -> Option<u64> {
        match self {
            Self::Free => None,
            Self::Tokens(tokens) => Some(*tokens),
            Self::AsMany(by_item) => by_item.get(&item.id).copied(),
        }
    }
}

/// What came of an item.
#[derive(Debug, Clone, Default)]
pub struct Played {
    /// The answer.
    pub answer: String,
    /// How it was gone about; none for one plain call.
    pub strategy: Option<Strategy>,
    /// Planned calls.
    pub tasks: Vec<TaskReport>,
    /// Prompt and generated tokens of all calls, whether the cache had them or not: else the order of cells would count.
    pub tokens: u64,
    /// Of them found in the cache.
    pub cached_tokens: u64,
    /// Why there is no answer, or none to count: a call or the whole run failed.
    pub error: Option<String>,
}

/// Has an item answered; `None` when it was interrupted.
pub async fn play(
    band: &Band,
    kind: Kind,
    item: &Item,
    (way, allowance, seed): (Way, &Allowance, u64),
    interrupt: &Cancel,
) -> Option<Played> {
    let strategy = if let Way::Fixed(strategy) = way { Some(strategy) } else { None };
    let tokens = allowance.tokens(item);
    let request = RunRequest {
        inputs: item.inputs.clone(),
        strategy,
        budget: Budget { tokens, time: None },
        seed,
        ..RunRequest::new(item.goal.trim())
    };
    match way {
        _ if kind == Kind::Strategy => {
            let (strategy, _) = choose(band, &request).await;
            Some(Played { strategy: Some(strategy), ..Played::default() })
        }
        Way::Alone => tokio::select! {
            played = alone(band, &request) => Some(played),
            _ = interrupt.stopped() => None,
        },
        Way::Auto | Way::Fixed(_) => orchestrated(band, &request, interrupt).await,
    }
}

/// One plain call: the files, the goal, the most likely answer.
async fn alone(band: &Band, request: &RunRequest) -> Played {
    /// Calls of this process so far, apart from the numbers that runs have.
    static CALLS: AtomicU64 = AtomicU64::new(1 << 48);
    let planner = &band.planner;
    let messages = direct_prompt(request);
    let prompt_tokens = planner.prompt_tokens(&messages) as u64;
    let room = (planner.context_tokens() as u64).saturating_sub(prompt_tokens);
    let allowed = request
        .budget
        .tokens
        .map_or(ALONE_TOKENS_MAX, |tokens| tokens.saturating_sub(prompt_tokens).max(ALONE_TOKENS_MIN));
    let call = Call {
        messages,
        schema: None,
        // A prompt that leaves no room is the model's to refuse: it knows its own limits.
        tokens_max: u32::try_from(allowed.min(room).max(1)).unwrap_or(u32::MAX),
        temperature: 0.0,
        seed: request.seed,
        run: CALLS.fetch_add(1, Ordering::Relaxed),
        critical_path_tokens: 0,
        deadline: None,
    };
    match planner.generate(&call, &mut |_| {}).await {
        Ok(reply) => Played {
            answer: reply.text.trim().to_owned(),
            tokens: reply.usage.prompt_tokens + reply.usage.completion_tokens,
            cached_tokens: reply.usage.cached_tokens,
            ..Played::default()
        },
        Err(error) => Played { error: Some(error.to_string()), ..Played::default() },
    }
}

async fn orchestrated(band: &Band, request: &RunRequest, interrupt: &Cancel) -> Option<Played> {
    let desk = match Desk::in_memory() {
        Ok(desk) => desk,
        Err(error) => return Some(Played { error: Some(error.to_string()), ..Played::default() }),
    };
    // A switch of its own: a run throws it as well, when its budget is used up.
    let cancel = Cancel::new();
    let mut observer = |_: &RunEvent| {};
    let run = run(band, request, &desk, &mut observer, &cancel);
    tokio::pin!(run);
    let outcome = tokio::select! {
        outcome = &mut run => outcome,
        _ = interrupt.stopped() => {
            cancel.cancel();
            let _ = run.await;
            return None;
        }
    };
    let tokens = outcome.usage.tokens;
    let failed = outcome.status == Status::Failed;
    let error = outcome.error.or_else(|| failed.then(|| "the run failed".to_owned()));
    Some(Played {
        answer: outcome.answer,
        strategy: Some(outcome.strategy),
        tasks: outcome.tasks,
        tokens: tokens.prompt_tokens + tokens.completion_tokens,
        cached_tokens: tokens.prompt_tokens_details.cached_tokens,
        error,
    })
}
