//! `/v1/runs`: goals for the band, in this program's own shapes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::journal::{Event, RunState};
use crate::orchestrator::{Budget, Input, RunRequest, Strategy};
use crate::server::error::ApiError;

/// A goal.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RunAsked {
    /// What is wanted, in a person's words.
    #[schema(min_length = 1)]
    pub goal: String,
    /// What came with it.
    pub files: Option<Vec<FileGiven>>,
    /// `auto`, or how the goal is gone about.
    pub strategy: Option<String>,
    /// What the run may use.
    pub budget: Option<BudgetGiven>,
    /// Same seed, same models, same answer.
    pub seed: Option<u64>,
}

/// A text that came with a goal.
#[derive(Debug, Deserialize, ToSchema)]
pub struct FileGiven {
    /// Its name, as a person would say it.
    pub name: String,
    /// The text.
    #[serde(alias = "content")]
    pub text: String,
}

/// What a run may use; reaching it ends the run with the best answer there is.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct BudgetGiven {
    /// Prompt tokens not in the cache, and generated ones.
    #[schema(minimum = 1)]
    pub tokens: Option<u64>,
    /// Seconds.
    #[schema(exclusive_minimum = 0)]
    pub seconds: Option<f64>,
}

/// An answer to a run's question.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AnswerGiven {
    /// The answer.
    #[schema(min_length = 1)]
    pub text: String,
}

impl RunAsked {
    /// The request to the orchestrator.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn request(self) -> Result<RunRequest, ApiError> {
        let goal = self.goal.trim();
        if goal.is_empty() {
            return Err(ApiError::invalid("goal", "goal is empty: say what is wanted"));
        }
        let strategy =
            self.strategy.filter(|name| name != "auto").map(|name| name.parse::<Strategy>()).transpose();
        let inputs = self.files.unwrap_or_default().into_iter();
        Ok(RunRequest {
            strategy: strategy.map_err(|error| ApiError::invalid("strategy", error.to_string()))?,
            inputs: inputs.map(|file| Input { name: file.name, text: file.text }).collect(),
            budget: self.budget.unwrap_or_default().read()?,
            seed: self.seed.unwrap_or(0),
            ..RunRequest::new(goal)
        })
    }
}

impl BudgetGiven {
    fn read(self) -> Result<Budget, ApiError> {
        if self.tokens == Some(0) {
            return Err(ApiError::invalid("budget.tokens", "budget.tokens is 0: give at least 1"));
        }
        let seconds = |seconds: f64| {
            let time = std::time::Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
            time.ok_or_else(|| {
                ApiError::invalid(
                    "budget.seconds",
                    format!("budget.seconds is {seconds}: give seconds above 0"),
                )
            })
        };
        Ok(Budget { tokens: self.tokens, time: self.seconds.map(seconds).transpose()? })
    }
}

/// Where a run stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Run {
    /// `run`.
    pub object: &'static str,
    /// The run whose question was answered, or which was taken up again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// What `runs show --json` tells.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub state: RunState,
}

/// Runs in one answer, unless said.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// Which runs are wanted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsAsked {
    /// Runs that began before the one with this id: the next page after `last_id`.
    pub after: Option<String>,
    /// So many at most; 100 unless said.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl RunsAsked {
    /// How many may come.
    ///
    /// # Errors
    /// 400 when it can't be.
    pub fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let message = format!("limit is {limit}: it must be between 1 and {LIMIT_MAX}");
            return Err(ApiError::invalid("limit", message));
        }
        Ok(limit as usize)
    }
}

/// Runs, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunList {
    /// `list`.
    pub object: &'static str,
    /// The runs.
    pub data: Vec<RunListed>,
    /// Id of the last; empty where there is none.
    pub last_id: String,
    /// Whether earlier ones come after it.
    pub has_more: bool,
}

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunListed {
    /// Its id.
    pub id: String,
    /// `run`.
    pub object: &'static str,
    /// When it began, milliseconds since 1970.
    pub created_ms: u64,
    /// Where it stands.
    pub status: String,
    /// How it was gone about.
    pub strategy: String,
    /// What was wanted.
    pub goal: String,
}

/// A recorded event as `run --events` writes it.
#[must_use]
pub fn event_object(event: &Event) -> Value {
    let mut object = Map::new();
    object.insert("seq".to_owned(), event.seq.into());
    object.insert("ms".to_owned(), event.ms.into());
    object.insert("type".to_owned(), event.kind.clone().into());
    object.extend(event.body.as_object().cloned().unwrap_or_default());
    Value::Object(object)
}
