//! What a strategy is: a pure function from the goal and the state of a run to the next move. It knows no clock, no
//! model, no file and nothing asynchronous, so a run can be killed, resumed, replayed and forked at any event.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::band::{Message, Reply};
use super::checks::{check_text, check_whole};
use super::goal::Goal;
use super::outcome::{Citation, Status};
use super::plan::{Task, TokenLimits};
use super::request::StrategyName;
use super::state::RunState;

/// A way to work on a goal.
///
/// [`run_with`](super::run::run_with) works on a run with a strategy from outside this crate.
/// [`replay`](super::replay::replay) replays such a run, if it is given the strategy; the command line can't.
pub trait Strategy: Send + Sync {
    /// The name in flags, events and reports; [`StrategyName::Other`] for a strategy from outside this crate.
    fn name(&self) -> StrategyName {
        StrategyName::Other
    }

    /// The next move. It is asked whenever something has happened and nothing else is to be done: no task is ready, and
    /// no reply waits for its check. The same state must always give the same move.
    fn next(&self, goal: &Goal, state: &RunState) -> Move;

    /// What a model is asked for a task of this strategy.
    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt;

    /// How long a reply to a task may be. Where this depends on the results that the task needs, it is asked for each
    /// attempt.
    fn tokens(&self, task: &Task, _goal: &Goal, _state: &RunState) -> TokenLimits {
        task.tokens()
    }

    /// Whether a model's reply is a result of the task. Without a check of its own, a strategy accepts each text that is
    /// not empty and does not repeat itself. Where the prompt has a schema, the reply must be JSON that was not cut off.
    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        let wants_json = self.prompt(task, goal, state).schema.is_some();
        if wants_json && let Err(error) = serde_json::from_str::<IgnoredAny>(&reply.text) {
            return Verdict::reject(format!("not the JSON that was asked for: {error}"));
        }
        let checked = if wants_json { check_whole(reply) } else { check_text(&reply.text) };
        checked.map_or_else(Verdict::reject, Verdict::Accept)
    }

    /// Explains the fields of `proposed` in [`Move::Add`] to a user who edits the plan, a line each. What the user writes
    /// is checked as a reply of the planner and takes its place. `None` if a plan can only be approved or declined.
    fn plan_fields(&self) -> Option<&'static str> {
        None
    }

    /// The result of a task whose job is [`super::plan::Job::Calculate`].
    ///
    /// # Errors
    /// Why there is none.
    fn calculate(&self, task: &Task, _goal: &Goal, _state: &RunState) -> Result<String, String> {
        Err(format!("nothing is known of how to calculate {}", task.id))
    }
}

/// What a strategy wants done next.
#[derive(Debug)]
pub enum Move {
    /// Wait for what is in progress.
    Wait,
    /// Find out where long inputs can be cut so that their parts fit a model. The result is in [`RunState::splits`].
    Split(Vec<SplitAsked>),
    /// Find the parts of the inputs that are nearest to some words. The result is in [`RunState::searches`].
    Search(SearchAsked),
    /// Add tasks. Each may need tasks before it in the list and those that the run already has.
    Add {
        tasks: Vec<Task>,
        /// The planner's part of the plan, if these tasks follow from one. It is shown to people.
        proposed: Option<Value>,
    },
    /// Plan again: the results of some tasks stay in use, and the plan goes on without others, all of which have ended.
    /// The strategy is asked at once for the planner's next call. See [`RunState::replans`].
    Replan { why: String, kept: Vec<String>, dropped: Vec<String> },
    /// End tasks that are not needed any more, whether they have begun or not.
    Drop { tasks: Vec<String>, why: String },
    /// The strategy is done. Tasks that are still open are not waited for.
    Answer(Ended),
}

impl Move {
    /// One task, without anything for people to see.
    #[must_use]
    pub fn add(task: Task) -> Self {
        Self::Add { tasks: vec![task], proposed: None }
    }

    /// Ends the run without an answer.
    #[must_use]
    pub fn refuse(why: impl Into<String>) -> Self {
        Self::Answer(Ended { error: Some(why.into()), ..Ended::default() })
    }
}

/// An input that may have to be cut for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitAsked {
    /// Index of the input.
    pub input: usize,
    pub worker: String,
    /// Most tokens of a part, by the worker's tokenizer.
    pub tokens_max: usize,
}

/// What the inputs are searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchAsked {
    pub query: String,
    /// Most parts to find.
    pub parts_max: usize,
}

/// The result of a run, as far as the strategy knows it.
#[derive(Debug, Default)]
pub struct Ended {
    /// The answer, or the best there is.
    pub answer: String,
    /// What the answer lacks.
    pub missing: Vec<String>,
    /// Where the inputs say what the answer says.
    pub citations: Vec<Citation>,
    /// The parts of the answer that no rule, quote, query, test or agreement has checked, one clause each.
    pub unchecked: Vec<String>,
    /// Number of tasks that failed or gave only a part of their result. Above 0 the run is incomplete.
    pub failed_tasks: usize,
    /// The status, if it does not follow from the other fields.
    pub status: Option<Status>,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// What a model is asked.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// The messages, before the model's chat template.
    pub messages: Vec<Message>,
    /// JSON schema that the answer must follow, if any.
    pub schema: Option<Value>,
    /// Grammar that the answer must follow if there is no schema: Lark in llguidance's dialect, from its rule `start`.
    /// Models behind other servers answer without it, so the strategy's check reads the reply itself.
    pub grammar: Option<String>,
    /// Replies of which the model only says how likely each is, as in [`Call::options`](crate::band::Call::options).
    pub options: Vec<String>,
    /// Name and version of the template that it was made from, such as `map.plan@1`. It is recorded with the call.
    pub template: Option<String>,
}

impl Prompt {
    /// A prompt of these messages, which no template made.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// The same after the messages of a conversation.
    #[must_use]
    pub fn after(self, conversation: &[Message]) -> Self {
        Self { messages: [conversation, &self.messages].concat(), ..self }
    }

    /// The same for a reply that must follow a JSON schema.
    #[must_use]
    pub fn with_schema(self, schema: Value) -> Self {
        Self { schema: Some(schema), ..self }
    }

    /// The same for a model that writes nothing and says how likely each of these replies is.
    #[must_use]
    pub fn with_options(self, options: &[&str]) -> Self {
        Self { options: options.iter().map(|option| (*option).to_owned()).collect(), ..self }
    }

    /// The same for a reply that must follow a grammar.
    #[must_use]
    pub fn with_grammar(self, lark: String) -> Self {
        Self { grammar: Some(lark), ..self }
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The reply is good. Holds the text to use from now on.
    Accept(String),
    /// The reply may be wrong. The last model on the ladder decides; without a better answer from it, this one is used.
    Doubt(String),
    /// The worker can't go on without the answer to a question. The planner answers it if the goal, the inputs or the
    /// conversation do, or else the user, and the task is tried again with the answer in its prompt.
    Ask(String),
    /// The reply is wrong, so the next attempt draws afresh.
    Reject {
        why: String,
        /// What to use if no later attempt is better.
        kept: Option<String>,
    },
}

impl Verdict {
    #[must_use]
    pub fn reject(why: impl Into<String>) -> Self {
        Self::Reject { why: why.into(), kept: None }
    }
}
