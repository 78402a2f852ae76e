//! The result of a run: the object that `run --json` prints, and a short report for people.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::band::CallUsage;
use super::choice::why::StrategyWhy;
use super::parked::RequiredAction;
use super::request::StrategyName;

/// Status of a run or of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    InProgress,
    /// Needs an answer from the user.
    RequiresAction,
    Completed,
    /// Partly done, and the answer says what is missing; or a part of the answer was checked by nothing.
    Incomplete,
    /// There is no result.
    Failed,
    /// Stopped by the user; a task also by a budget.
    Cancelled,
    /// A task that was not done, because it was not needed any more or a task that it needs has no result.
    Skipped,
    /// Nothing of the run can be read.
    Damaged,
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
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Token counts in the shape of OpenAI's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenUsage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub prompt_tokens_details: PromptTokensDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PromptTokensDetails {
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: u64,
}

impl TokenUsage {
    /// Tokens that were generated, and those of prompts that were not in the cache.
    #[must_use]
    pub fn computed(&self) -> u64 {
        let cached = self.prompt_tokens_details.cached_tokens;
        self.prompt_tokens.saturating_sub(cached).saturating_add(self.completion_tokens)
    }

    pub fn add(&mut self, other: Self) {
        // The numbers of a damaged record may be anything.
        let add = |mine: &mut u64, theirs: u64| *mine = mine.saturating_add(theirs);
        add(&mut self.prompt_tokens, other.prompt_tokens);
        add(&mut self.completion_tokens, other.completion_tokens);
        add(&mut self.prompt_tokens_details.cached_tokens, other.prompt_tokens_details.cached_tokens);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RunUsage {
    /// Tokens of every call: plan, tasks, synthesis and failed attempts.
    #[serde(flatten)]
    pub tokens: TokenUsage,
    /// Engine steps that computed something for the run. A step shared by several calls counts once, which is estimated
    /// from the calls' mean batches.
    pub steps: u64,
    /// Mean number of sequences in those steps.
    pub mean_batch: f64,
    pub wall_ms: u64,
}

impl From<&CallUsage> for TokenUsage {
    fn from(call: &CallUsage) -> Self {
        Self {
            prompt_tokens: call.prompt_tokens,
            completion_tokens: call.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: call.cached_tokens },
        }
    }
}

/// What became of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// `t1`, `t2` …; `plan` and `synthesis` for the planner's own calls.
    pub id: String,
    /// The worker that tried it last.
    pub worker: String,
    /// The model behind the worker; `rule` for the calculator, empty if the task never started.
    pub model: String,
    /// Ids of the tasks whose results it uses.
    pub needs: Vec<String>,
    pub status: Status,
    pub attempts: u32,
    pub usage: TokenUsage,
    /// Milliseconds since the run began.
    pub started_ms: u64,
    /// Milliseconds since the run began.
    pub finished_ms: u64,
    /// The accepted result, or else the text of the last attempt.
    pub output: String,
    /// Why there is no accepted result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Run id, for `runs show`.
    pub id: String,
    pub status: Status,
    /// The answer; with status `requires_action`, the question to the user.
    pub answer: String,
    /// What the user has to do before the run goes on. Absent if the run's only question is `answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_action: Option<RequiredAction>,
    pub strategy: StrategyName,
    #[serde(default)]
    pub strategy_why: StrategyWhy,
    /// One report for each task of the plan.
    #[serde(default)]
    pub tasks: Vec<TaskReport>,
    /// The planner's own calls, in order: plan, synthesis.
    #[serde(default)]
    pub planner_tasks: Vec<TaskReport>,
    #[serde(default)]
    pub usage: RunUsage,
    /// What the answer lacks, one clause each.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The parts of the answer that no rule, quote, query, test or agreement has checked, one clause each. While there
    /// are any, the run is not `completed`.
    #[serde(default)]
    pub unchecked: Vec<String>,
    /// Problems that did not affect the answer, such as a record that could not be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Outcome {
    /// What the user has to do before the run goes on; `None` if it waits for nobody.
    #[must_use]
    pub fn required_action(&self) -> Option<RequiredAction> {
        let waits = self.status == Status::RequiresAction;
        waits.then(|| self.required_action.clone().unwrap_or_else(|| RequiredAction::ask(&self.answer)))
    }

    /// Whether the answer has all that was asked for, checked or not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_only_unchecked = self.missing.is_empty() && !self.unchecked.is_empty();
        self.status == Status::Completed || (self.status == Status::Incomplete && is_only_unchecked)
    }

    /// Exit status of `bandmaster run`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.status {
            Status::Completed => 0,
            Status::Incomplete => 3,
            Status::RequiresAction => 4,
            Status::Cancelled => 130,
            _ => 1,
        }
    }

    /// A few lines for people: what was done and what it cost.
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
        for unchecked in &self.unchecked {
            let _ = writeln!(out, "  unchecked: {unchecked}");
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "  warning: {warning}");
        }
        out
    }

    /// Such as "map, 5 tasks by qwen2.5-coder-0.5b ×4, calculator ×1".
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
