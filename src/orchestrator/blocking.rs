//! Slow work on texts, done on threads for blocking work. A tokenizer takes seconds for a long text, which would block
//! the async threads that serve everybody.

use std::sync::Arc;

use super::band::Llm;
use super::request::RunRequest;

/// Runs slow work on a blocking thread, so that only the caller waits for it. A panic in `work` is passed on.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is shutting down.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Tokens of a request's texts, by the planner's tokenizer. Counted once per run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// One count for each input, in order.
    pub inputs: Vec<usize>,
    /// All messages before the goal together.
    pub conversation: usize,
    pub goal: usize,
}

pub(crate) async fn count(planner: &Arc<dyn Llm>, request: &Arc<RunRequest>) -> Arc<Counts> {
    let (planner, request) = (Arc::clone(planner), Arc::clone(request));
    run_blocking(move || {
        let of = |text: &str| planner.count_tokens(text);
        let RunRequest { goal, inputs, conversation, .. } = &*request;
        Arc::new(Counts {
            inputs: inputs.iter().map(|input| of(&input.text)).collect(),
            conversation: conversation.iter().map(|message| of(&message.content)).sum(),
            goal: of(goal),
        })
    })
    .await
}
