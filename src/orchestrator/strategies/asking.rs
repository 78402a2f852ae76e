//! Tells questions of workers from results. No prompt offers to ask, because small models would ask needlessly. Models
//! that can't go on ask by themselves.

use crate::checks::{request_in, words};
use crate::plan::{Job, Task};
use crate::state::RunState;
use crate::strategy::Verdict;

/// A task that asks for something instead of giving a result is tried once more. If it asks again, it does need an
/// answer. A task may be to write a request, though.
pub(super) fn check(task: &Task, state: &RunState, text: String) -> Verdict {
    const TO_ASK: [&str; 12] = [
        "ask",
        "asks",
        "asking",
        "question",
        "questions",
        "request",
        "interview",
        "survey",
        "letter",
        "email",
        "message",
        "reply",
    ];
    let is_to_ask = words(&task.instruction).iter().any(|word| TO_ASK.contains(&word.as_str()));
    let Some(question) = request_in(&text).filter(|_| !is_to_ask && !matches!(task.job, Job::Write { .. }))
    else {
        return Verdict::Accept(text);
    };
    let attempts = state.task(&task.id).map_or(&[][..], |task| &task.attempts);
    let before = &attempts[..attempts.len().saturating_sub(1)];
    if before.iter().any(|attempt| request_in(&attempt.output).is_some()) {
        return Verdict::Ask(question);
    }
    Verdict::reject(format!("it asks instead of answering: {question}"))
}
