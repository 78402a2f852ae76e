//! The planner's own calls, such as filling in a plan or wording the answer. They are not tasks of the plan, but are
//! watched, checked and recorded like them.

use serde_json::Value;

use super::attempt::Context;
use super::band::Message;
use super::dispatch::{Check, Done, Draw, ModelWork, Work, do_task};
use super::plan::{Shape, Task};
use super::registry::{PLANNER, Registry};

pub struct Question {
    /// Task id in events and reports: `plan` or `synthesis`.
    pub id: &'static str,
    pub purpose: &'static str,
    pub messages: Vec<Message>,
    /// JSON schema of the answer, if any.
    pub schema: Option<Value>,
    pub tokens_max: u32,
    /// Tokens expected on the longest path of tasks that wait for the reply.
    pub critical_path_tokens: u32,
    pub check: Check,
    /// Most times the planner is asked; 2 or more.
    pub tries: usize,
}

/// Asks the planner, and again if the reply is not accepted. The check decides whether the planner is shown what was
/// wrong or starts afresh.
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
