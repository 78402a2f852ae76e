//! Makes a new request from a recorded run, with the same goal, inputs, strategy, seed and budget. Finished tasks of
//! the recorded run are not reused.

use std::time::Duration;

use bandmaster_journal::{DAMAGED, Journal, JournalError, RunState};
use serde_json::Value;

use super::event::Asked;
use super::request::{Budget, Input, RunRequest, Strategy};

/// Why a run can't be repeated or continued.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    #[error("run {id} is in progress: wait for its end, or cancel it first")]
    GoesOn { id: String },
    #[error("run {id} is {status}: there is nothing to resume")]
    Over { id: String, status: String },
    #[error(
        "run {id} is requires_action: it waits for an answer to its question (`bandmaster runs answer {id} TEXT`)"
    )]
    Asks { id: String },
    #[error("run {id} is {status}: it has no open question")]
    AsksNothing { id: String, status: String },
    /// The run ended before its goal was recorded.
    #[error("the goal of run {id} is not in the record: start it again")]
    Unrecorded { id: String },
    #[error("text is empty: give the answer")]
    NoAnswer,
    #[error(transparent)]
    Record(#[from] JournalError),
}

/// The request that repeats a run which ended before it was completed. `id` is the full id.
///
/// # Errors
/// When the run is in progress, is completed, waits for an answer, or can't be read.
pub fn resume(journal: &Journal, id: &str) -> Result<RunRequest, AgainError> {
    let before = journal.state(id)?;
    let id = id.to_owned();
    match before.status.as_str() {
        "in_progress" => Err(AgainError::GoesOn { id }),
        "requires_action" => Err(AgainError::Asks { id }),
        "completed" => Err(AgainError::Over { id, status: before.status }),
        _ => again(journal, before),
    }
}

/// The request that continues a run with the answer to its question. `id` is the full id.
///
/// # Errors
/// When the run asks nothing, the answer is empty, or the run can't be read.
pub fn answer(journal: &Journal, id: &str, text: String) -> Result<RunRequest, AgainError> {
    let before = journal.state(id)?;
    if before.status != "requires_action" {
        return Err(AgainError::AsksNothing { id: id.to_owned(), status: before.status });
    }
    if text.trim().is_empty() {
        return Err(AgainError::NoAnswer);
    }
    let mut request = again(journal, before)?;
    request.inputs.push(Input { name: "answer".to_owned(), text });
    // If it asked again, it would never end.
    request.strategy = request.strategy.filter(|strategy| *strategy != Strategy::Ask);
    Ok(request)
}

fn again(journal: &Journal, before: RunState) -> Result<RunRequest, AgainError> {
    let inputs = journal.inputs(&before.id)?.into_iter();
    let events = journal.events(&before.id, 0)?;
    let Some(first) = events.first() else {
        return Err(AgainError::Unrecorded { id: before.id });
    };
    let damaged = |why: &str| AgainError::Record(journal.damaged_event(&before.id, first.seq, why));
    if first.kind == DAMAGED {
        return Err(damaged(first.body["why"].as_str().unwrap_or("it can't be read")));
    }
    if !first.body["goal"].is_string() {
        return Err(damaged("its goal is not a text"));
    }
    let asked: Asked = match &first.body["asked"] {
        // Runs of earlier versions did not record this.
        Value::Null => Asked::default(),
        asked => {
            serde_json::from_value(asked.clone()).map_err(|error| damaged(&format!("asked: {error}")))?
        }
    };
    let time = asked.budget_seconds.map(Duration::try_from_secs_f64).transpose();
    let time = time.map_err(|error| damaged(&format!("asked.budget_seconds: {error}")))?;
    Ok(RunRequest {
        inputs: inputs.map(|(name, text)| Input { name, text }).collect(),
        conversation: asked.conversation,
        strategy: asked.strategy,
        seed: asked.seed,
        budget: Budget { tokens: asked.budget_tokens, time },
        ..RunRequest::new(before.goal)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::band::{Message, Role};
    use super::*;

    /// A recorded run with every setting filled in, which ended with `status` or has not ended.
    fn recorded(status: Option<&str>, strategy: &str) -> (Journal, String) {
        let journal = Journal::in_memory().unwrap();
        let run = journal.create_run().unwrap().id;
        journal.keep_input(&run, 0, "a.md", "text").unwrap();
        let said = json!([{"role": "user", "content": "Hi."}]);
        let asked = json!({
            "strategy": strategy, "seed": 7, "budget_tokens": 9, "budget_seconds": 1.5, "conversation": said,
        });
        journal.append(&run, "run.started", 0, &json!({"goal": "g", "asked": asked})).unwrap();
        if let Some(status) = status {
            journal.append(&run, "run.finished", 1, &json!({"status": status})).unwrap();
        }
        (journal, run)
    }

    #[test]
    fn what_was_never_begun_is_not_done_again() {
        let journal = Journal::in_memory().unwrap();
        let run = journal.create_run().unwrap().id;
        let refused = again(&journal, journal.state(&run).unwrap()).unwrap_err();
        assert!(matches!(&refused, AgainError::Unrecorded { id } if *id == run), "{refused}");
    }

    #[test]
    fn what_ended_early_is_asked_for_as_it_was() {
        for status in ["incomplete", "failed", "cancelled"] {
            let (journal, run) = recorded(Some(status), "map");
            let expected = RunRequest {
                inputs: vec![Input { name: "a.md".to_owned(), text: "text".to_owned() }],
                conversation: vec![Message::new(Role::User, "Hi.")],
                strategy: Some(Strategy::Map),
                seed: 7,
                budget: Budget { tokens: Some(9), time: Some(Duration::from_millis(1500)) },
                ..RunRequest::new("g")
            };
            assert_eq!(resume(&journal, &run).unwrap(), expected, "{status}");
        }
    }

    #[test]
    fn an_answer_comes_with_the_inputs_and_nothing_is_asked_twice() {
        for (strategy, expected) in [("ask", None), ("map", Some(Strategy::Map))] {
            let (journal, run) = recorded(Some("requires_action"), strategy);
            let request = answer(&journal, &run, "blue".to_owned()).unwrap();
            assert_eq!((request.inputs[1].text.as_str(), request.strategy), ("blue", expected));
        }
    }

    #[test]
    fn what_can_not_be_taken_up_says_why() {
        let check = |status: Option<&str>, resumed: &str, answered: &str| {
            let (journal, run) = recorded(status, "map");
            let said = |request: Result<RunRequest, AgainError>| {
                request.map_or_else(|error| error.to_string(), |_| "taken up".to_owned())
            };
            let (resume, answer) =
                (said(resume(&journal, &run)), said(answer(&journal, &run, " ".to_owned())));
            assert!(resume.contains(resumed) && answer.contains(answered), "{status:?}: {resume}, {answer}");
        };
        check(None, "in progress", "in_progress: it has no open question");
        check(Some("completed"), "nothing to resume", "completed: it has no open question");
        check(Some("requires_action"), "waits for an answer", "text is empty");
        check(Some("cancelled"), "taken up", "it has no open question");
    }
}
