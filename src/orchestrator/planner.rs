//! The planner's own calls: filling a plan's slots, wording the answer. Not tasks of the plan, but watched, checked and
//! recorded like them.

use serde_json::Value;

use super::attempt::Context;
use super::band::Message;
use super::dispatch::{Check, Done, Draw, ModelWork, Work, do_task};
use super::plan::{Shape, Task};
use super::registry::{PLANNER, Registry};

/// What the planner is asked.
pub struct Question {
    /// `plan` or `synthesis`.
    pub id: &'static str,
    /// What it is for, in the record.
    pub purpose: &'static str,
    /// The prompt.
    pub messages: Vec<Message>,
    /// JSON schema of the answer, if any.
    pub schema: Option<Value>,
    /// Tokens it may generate.
    pub tokens_max: u32,
    /// Tokens expected on the path that waits for it.
    pub critical_path_tokens: u32,
    /// What is accepted.
    pub check: Check,
    /// How often the planner is asked at most; 2 or more.
    pub tries: usize,
}

/// Asks once, and again where the reply is not accepted: with what was wrong, or afresh, as the check has it.
pub async fn ask(context: &Context, registry: &Registry, question: Question) -> Done {
    let task = Task {
        id: question.id.to_owned(),
        worker: PLANNER.to_owned(),
        instruction: question.purpose.to_owned(),
        input: None,
        needs: Vec::new(),
        output: Shape::Text,
        tokens_max: question.tokens_max,
    };
    let planner = registry.planner();
    let work = ModelWork {
        messages: question.messages,
        schema: question.schema,
        ladder: vec![planner; question.tries],
        check: question.check,
        draw: Draw::MostLikely,
        streams_answer: false,
    };
    do_task(context, &task, Work::Model(work), question.critical_path_tokens).await
}
