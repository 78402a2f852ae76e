//! Has an item answered, by a band with a strategy or by its planner alone in one plain call.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use bandmaster_journal::AsyncJournal;
use bandmaster_orchestrator::{
    Band, Budget, Call, Cancel, RunEvent, RunRequest, RunStart, Status, StrategyError, StrategyName,
    TaskReport, choose, direct_prompt, run,
};

use super::suite::{Item, Kind};

/// Default limit for the answer of one plain call.
const ANSWER_TOKENS_DEFAULT_MAX: u64 = 1024;
/// Least tokens for an answer, however small the budget: room for a few words.
const ANSWER_TOKENS_MIN: u64 = 64;

/// How items are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The planner in one plain call without the orchestrator: the baseline for everything else.
    Alone,
    /// The orchestrator chooses the strategy.
    Auto,
    Fixed(StrategyName),
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("alone"),
            Self::Auto => f.write_str("auto"),
            Self::Fixed(strategy) => strategy.fmt(f),
        }
    }
}

impl FromStr for Method {
    type Err = StrategyError;

    fn from_str(name: &str) -> Result<Self, StrategyError> {
        match name {
            "alone" => Ok(Self::Alone),
            "auto" => Ok(Self::Auto),
            name => name.parse().map(Self::Fixed),
        }
    }
}

/// How many tokens an item may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenBudget {
    /// As many tokens as it needs.
    Unlimited,
    /// The same limit for every item.
    PerItem(u64),
    /// A limit for each item by id: the tokens that another cell used on it.
    ByItem(HashMap<String, u64>),
}

impl TokenBudget {
    fn tokens(&self, item: &Item) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::PerItem(tokens) => Some(*tokens),
            Self::ByItem(by_item) => by_item.get(&item.id).copied(),
        }
    }
}

/// The result of an item.
#[derive(Debug, Clone, Default)]
pub(super) struct ItemOutcome {
    pub answer: String,
    /// `None` for one plain call.
    pub strategy: Option<StrategyName>,
    /// Tasks of the plan.
    pub tasks: Vec<TaskReport>,
    /// Prompt and generated tokens of all calls, cached or not: otherwise the order of the cells would matter.
    pub tokens: u64,
    /// How many of them came from the prefix cache.
    pub cached_tokens: u64,
    /// Why there is no answer to judge: a call or the whole run failed.
    pub error: Option<String>,
}

/// Has an item answered; `None` if it was interrupted.
pub(super) async fn solve(
    band: &Band,
    kind: Kind,
    item: &Item,
    (method, budget, seed): (Method, &TokenBudget, u64),
    interrupt: &Cancel,
) -> Option<ItemOutcome> {
    let strategy = if let Method::Fixed(strategy) = method { Some(strategy) } else { None };
    let tokens = budget.tokens(item);
    let request = RunRequest {
        inputs: item.inputs.clone(),
        strategy,
        budget: Budget { tokens, ..Budget::default() },
        seed,
        ..RunRequest::new(item.goal.trim())
    };
    match method {
        _ if kind == Kind::Strategy => {
            let (strategy, _) = choose(band, &request).await;
            Some(ItemOutcome { strategy: Some(strategy), ..ItemOutcome::default() })
        }
        Method::Alone => tokio::select! {
            outcome = plain_call(band, &request) => Some(outcome),
            _ = interrupt.stopped() => None,
        },
        Method::Auto | Method::Fixed(_) => orchestrated_run(band, &request, interrupt).await,
    }
}

/// One plain call with the files and the goal, at temperature 0.
async fn plain_call(band: &Band, request: &RunRequest) -> ItemOutcome {
    /// Numbers for the calls of this process, distinct from those of runs.
    static CALLS: AtomicU64 = AtomicU64::new(1 << 48);
    let planner = &band.planner;
    let messages = direct_prompt(request);
    let prompt_tokens = planner.prompt_tokens(&messages) as u64;
    let room = (planner.context_tokens() as u64).saturating_sub(prompt_tokens);
    let budget_left = request.budget.tokens.map_or(ANSWER_TOKENS_DEFAULT_MAX, |tokens| {
        tokens.saturating_sub(prompt_tokens).max(ANSWER_TOKENS_MIN)
    });
    let call = Call {
        messages,
        schema: None,
        grammar: None,
        options: Vec::new(),
        // If there is no room for an answer, let the model refuse: it knows its own limits.
        tokens_max: u32::try_from(budget_left.min(room).max(1)).unwrap_or(u32::MAX),
        tokens_min: 0,
        temperature: 0.0,
        seed: request.seed,
        run: CALLS.fetch_add(1, Ordering::Relaxed),
        critical_path_tokens: 0,
        deadline: None,
    };
    match planner.generate(&call, &mut |_| {}).await {
        Ok(reply) => ItemOutcome {
            answer: reply.text.trim().to_owned(),
            tokens: reply.usage.prompt_tokens + reply.usage.completion_tokens,
            cached_tokens: reply.usage.cached_tokens,
            ..ItemOutcome::default()
        },
        Err(error) => ItemOutcome { error: Some(error.to_string()), ..ItemOutcome::default() },
    }
}

async fn orchestrated_run(band: &Band, request: &RunRequest, interrupt: &Cancel) -> Option<ItemOutcome> {
    let journal = match AsyncJournal::in_memory() {
        Ok(journal) => journal,
        Err(error) => return Some(ItemOutcome { error: Some(error.to_string()), ..ItemOutcome::default() }),
    };
    // A separate one, because a run also cancels it when its budget is used up.
    let cancel = Cancel::new();
    let mut observer = |_: &RunEvent| {};
    let run = run(band, RunStart::new(request.clone()), &journal, &mut observer, &cancel);
    tokio::pin!(run);
    let outcome = tokio::select! {
        outcome = &mut run => outcome,
        _ = interrupt.stopped() => {
            cancel.cancel();
            let _ = run.await;
            return None;
        }
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return Some(ItemOutcome { error: Some(error.to_string()), ..ItemOutcome::default() }),
    };
    let tokens = outcome.usage.tokens;
    let failed = outcome.status == Status::Failed;
    let error = outcome.error.or_else(|| failed.then(|| "the run failed".to_owned()));
    Some(ItemOutcome {
        answer: outcome.answer,
        strategy: Some(outcome.strategy),
        tasks: outcome.tasks,
        tokens: tokens.prompt_tokens + tokens.completion_tokens,
        cached_tokens: tokens.prompt_tokens_details.cached_tokens,
        error,
    })
}
