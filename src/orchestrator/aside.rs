//! Counts and reads texts on threads that may take their time: for a long text a tokenizer takes seconds, in which the threads
//! that serve everybody would stand still.

use std::sync::Arc;

use super::band::{Llm, Message};
use super::own_words::Topic;
use super::request::RunRequest;

/// Does work that takes long where nobody waits for it but whoever asked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The program ends.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Tokens of what came with a goal, by the planner's tokenizer: counted once in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of each input's text.
    pub inputs: Vec<usize>,
    /// Tokens of everything that was said before.
    pub conversation: usize,
    /// Tokens of the goal's text.
    pub goal: usize,
}

/// Counts the tokens of a request's texts on a thread for work that blocks.
pub async fn count(planner: &Arc<dyn Llm>, request: &Arc<RunRequest>) -> Arc<Counts> {
    let (planner, request) = (Arc::clone(planner), Arc::clone(request));
    aside(move || {
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

/// The prompt, and its tokens through the chat template.
pub async fn prompt_tokens(llm: &Arc<dyn Llm>, messages: Vec<Message>) -> (Vec<Message>, usize) {
    let llm = Arc::clone(llm);
    aside(move || {
        let tokens = llm.prompt_tokens(&messages);
        (messages, tokens)
    })
    .await
}

/// What a plan for the goal may speak of: see [`RunRequest::topic`].
pub async fn topic(request: &Arc<RunRequest>, examples_own: &'static [&'static str]) -> Topic {
    let request = Arc::clone(request);
    aside(move || request.topic(examples_own)).await
}
