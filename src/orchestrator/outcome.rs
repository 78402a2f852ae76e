//! What a run comes to: the object of `run --json`, and the short report for a person.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::band::CallUsage;
use super::request::Strategy;
use super::strategy::why::StrategyWhy;

/// What a strategy comes to.
#[derive(Debug, Default)]
pub struct Ended {
    /// The answer, as good as it got.
    pub answer: String,
    /// One report for each call that the plan asked for.
    pub tasks: Vec<TaskReport>,
    /// One report for each call that the planner made for itself.
    pub planner_tasks: Vec<TaskReport>,
    /// What the answer lacks.
    pub missing: Vec<String>,
    /// Tasks nobody could do.
    pub failed_tasks: usize,
    /// The end, where it is not to be told from the rest.
    pub status: Option<Status>,
    /// Why there is nothing.
    pub error: Option<String>,
}

/// Where a run or a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waiting.
    Queued,
    /// Being done.
    InProgress,
    /// Needs an answer from a person.
    RequiresAction,
    /// Done.
    Completed,
    /// Partly done; the answer says what is missing.
    Incomplete,
    /// Nothing came of it.
    Failed,
    /// Stopped by a person.
    Cancelled,
    /// A task that had become pointless.
    Skipped,
}

impl Status {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::RequiresAction => "requires_action",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// Tokens, in OpenAI's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Where prompt tokens came from.
    pub prompt_tokens_details: PromptTokensDetails,
}

/// Where prompt tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PromptTokensDetails {
    /// Found in the cache.
    pub cached_tokens: u64,
}

impl TokenUsage {
    /// Adds a call's tokens.
    pub fn add(&mut self, call: &CallUsage) {
        self.prompt_tokens += call.prompt_tokens;
        self.completion_tokens += call.completion_tokens;
        self.prompt_tokens_details.cached_tokens += call.cached_tokens;
    }
}

/// What a whole run cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RunUsage {
    /// Tokens of every call: plan, tasks, synthesis and failed attempts.
    #[serde(flatten)]
    pub tokens: TokenUsage,
    /// Engine steps that computed something for the run, a shared step counted once (estimated from the calls' mean batches).
    pub steps: u64,
    /// Mean number of sequences in those steps.
    pub mean_batch: f64,
    /// From start to end, milliseconds.
    pub wall_ms: u64,
}

/// One model or tool call that was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// `t1`, `t2` …; `plan` and `synthesis` for the planner's own.
    pub id: String,
    /// Who did it last.
    pub worker: String,
    /// The model behind the worker; `rule` for one that is none.
    pub model: String,
    /// Tasks whose results it uses.
    pub needs: Vec<String>,
    /// How it ended.
    pub status: Status,
    /// How often it was tried.
    pub attempts: u32,
    /// Tokens of all attempts.
    pub usage: TokenUsage,
    /// Milliseconds since the run began.
    pub started_ms: u64,
    /// Milliseconds since the run began.
    pub finished_ms: u64,
    /// What was accepted, or the best there was.
    pub output: String,
    /// Why it was not accepted, for a task that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a run comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Run id, for `runs show`.
    pub id: String,
    /// How it ended.
    pub status: Status,
    /// The answer; for `requires_action` the question back.
    pub answer: String,
    /// How the goal was gone about.
    pub strategy: Strategy,
    /// Why so.
    pub strategy_why: StrategyWhy,
    /// Planned calls; a direct goal has one.
    pub tasks: Vec<TaskReport>,
    /// The planner's own calls, in order: plan, synthesis.
    pub planner_tasks: Vec<TaskReport>,
    /// What it cost.
    pub usage: RunUsage,
    /// What the answer lacks, a sentence each.
    pub missing: Vec<String>,
    /// What went wrong beside the run, such as a record that could not be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Outcome {
    /// The exit status of `run`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.status {
            Status::Completed => 0,
            Status::Incomplete => 3,
            Status::RequiresAction => 4,
            Status::Cancelled => 130,
            Status::Failed | Status::Queued | Status::InProgress | Status::Skipped => 1,
        }
    }

    /// A few lines for a person: what was done and what it cost.
    #[must_use]
    pub fn report(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{} · {} · {}", self.id, self.status.name(), self.done());
        let _ = writeln!(out, "{}", self.cost());
        for task in self.tasks.iter().filter(|task| task.attempts > 1 || task.error.is_some()) {
            let end = task.error.as_deref().unwrap_or("then accepted");
            let _ = writeln!(out, "  {} ({}): {} attempts, {end}", task.id, task.worker, task.attempts);
        }
        for missing in &self.missing {
            let _ = writeln!(out, "  missing: {missing}");
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "  warning: {warning}");
        }
        out
    }

    /// "map: 5 tasks by qwen2.5-coder-0.5b ×4 and calculator ×1".
    fn done(&self) -> String {
        let mut workers: Vec<(&str, usize)> = Vec::new();
        for task in &self.tasks {
            match workers.iter_mut().find(|(name, _)| *name == task.worker) {
                Some((_, count)) => *count += 1,
                None => workers.push((&task.worker, 1)),
            }
        }
        let by: Vec<String> = workers.iter().map(|(name, count)| format!("{name} ×{count}")).collect();
        let noun = if self.tasks.len() == 1 { "task" } else { "tasks" };
        if by.is_empty() {
            return format!("{}, no task", self.strategy);
        }
        format!("{}, {} {noun} by {}", self.strategy, self.tasks.len(), by.join(", "))
    }

    fn cost(&self) -> String {
        let usage = &self.usage;
        let seconds = usage.wall_ms as f64 / 1000.0;
        let tokens = usage.tokens;
        format!(
            "{seconds:.1} s · {} prompt tokens ({} cached), {} generated · {} steps of {:.1} sequences",
            tokens.prompt_tokens,
            tokens.prompt_tokens_details.cached_tokens,
            tokens.completion_tokens,
            usage.steps,
            usage.mean_batch
        )
    }
}
