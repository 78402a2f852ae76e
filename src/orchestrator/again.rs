//! Takes up a recorded run: after its process was killed, after it had ended before it was completed, or with the
//! user's answer to its question. The run goes on under its own id, from the state that its events give.

use std::collections::BTreeMap;
use std::time::Duration;

use bandmaster_journal::{DAMAGED, Journal, JournalError, Listed, RecordedRun};
use serde_json::Value;

use super::event::Asked;
use super::outcome::Status;
use super::request::{Budget, Input, RunRequest, StrategyError, StrategyName};
use super::state::RunState;

/// Why a run can't be taken up.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    #[error("run {id} is in progress: wait for its end, or cancel it first")]
    GoesOn { id: String },
    #[error("run {id} is {status}: there is nothing to resume")]
    Over { id: String, status: &'static str },
    #[error(
        "run {id} is requires_action: it waits for an answer to its question (`bandmaster runs answer {id} TEXT`)"
    )]
    Asks { id: String },
    #[error("run {id} is {status}: it has no open question")]
    AsksNothing { id: String, status: &'static str },
    /// The run ended before its goal was recorded.
    #[error("the goal of run {id} is not in the record: start it again")]
    Unrecorded { id: String },
    #[error("run {id} was recorded by an earlier version, which did not record what its tasks are")]
    Earlier { id: String },
    #[error("text is empty: give the answer")]
    NoAnswer,
    #[error("run {id} has no event {at}: its events are 1 to {last} (`bandmaster runs show {id} --events`)")]
    NoEvent { id: String, at: u64, last: u64 },
    #[error("{name}={value}: {why}")]
    Setting { name: String, value: String, why: String },
    #[error(transparent)]
    Record(#[from] JournalError),
}

/// A run that can be taken up.
#[derive(Debug)]
pub struct Again {
    /// What the run was asked to do, with its inputs and the answers to its questions.
    pub request: RunRequest,
    /// The state that it goes on from.
    pub(super) state: RunState,
    pub how: How,
}

/// How a run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It is a new run.
    New,
    Resumed,
    /// With the user's answer to its question.
    Answered(String),
    /// As a new run that begins with the events of run `from` up to event `at`.
    Forked {
        from: String,
        at: u64,
        set: BTreeMap<String, String>,
    },
}

impl Again {
    /// A new run.
    pub(super) fn new(request: RunRequest, id: &str) -> Self {
        Self { request, state: RunState::new(id, 0), how: How::New }
    }

    /// What the run was asked at an earlier state, when it had fewer answers to its questions.
    pub(super) fn request_at(&self, state: &RunState) -> RunRequest {
        let mut request = self.request.clone();
        let answers = self.state.answers.len() + usize::from(matches!(self.how, How::Answered(_)));
        let later = answers.saturating_sub(state.answers.len());
        request.inputs.truncate(request.inputs.len().saturating_sub(later));
        request.goal.clone_from(&state.goal);
        request.seed = state.asked.seed;
        request
    }

    /// The id of the recorded run.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// The state that the run goes on from.
    #[must_use]
    pub fn state(&self) -> &RunState {
        &self.state
    }
}

/// A run to be worked on.
#[derive(Debug)]
pub enum Work {
    New(Box<RunRequest>),
    /// A recorded run that goes on.
    Again(Box<Again>),
}

impl Work {
    #[must_use]
    pub fn request(&self) -> &RunRequest {
        match self {
            Self::New(request) => request,
            Self::Again(again) => &again.request,
        }
    }

    /// The recorded run that goes on.
    #[must_use]
    pub fn again(&self) -> Option<&Again> {
        match self {
            Self::New(_) => None,
            Self::Again(again) => Some(again),
        }
    }
}

/// The state of a run, from its events. A run that has not ended and that no process runs any more is incomplete.
///
/// # Errors
/// When there is no such run or the record can't be read.
pub fn state(journal: &Journal, id: &str) -> Result<RunState, JournalError> {
    Ok(state_of(&journal.recorded(id)?))
}

/// The states of at most `limit` runs, latest first, and whether there are more. With `after`, only runs that began
/// before that one. The states lack most tasks. A run that can't be read has the status `damaged` and says why.
///
/// # Errors
/// When there is no run `after`, or the list of runs can't be read.
pub fn states(
    journal: &Journal,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<RunState>, bool), JournalError> {
    let (listed, more) = journal.listed(after, limit)?;
    let states = listed.into_iter().map(|Listed { row, run }| match run {
        Ok(run) => state_of(&run),
        Err(error) => RunState::unreadable(&row.id, row.created_ms, &error.to_string()),
    });
    Ok((states.collect(), more))
}

fn state_of(run: &RecordedRun) -> RunState {
    let mut state = RunState::fold(&run.row.id, run.row.created_ms, &run.events);
    if run.left {
        state.leave();
    }
    state
}

/// A run that ended before it was completed, or whose process was killed, so that it can go on. `id` is the full id.
///
/// # Errors
/// When the run is in progress, is completed, waits for an answer, or can't be read.
pub fn resume(journal: &Journal, id: &str) -> Result<Again, AgainError> {
    let run = journal.recorded(id)?;
    let status = state_of(&run).status;
    let id = id.to_owned();
    match status {
        Status::InProgress => Err(AgainError::GoesOn { id }),
        Status::RequiresAction => Err(AgainError::Asks { id }),
        Status::Completed => Err(AgainError::Over { id, status: status.name() }),
        _ => again(journal, &run, How::Resumed),
    }
}

/// A recorded run, to be replayed. `id` is the full id.
///
/// # Errors
/// When the run can't be read, or was recorded by an earlier version.
pub fn recorded(journal: &Journal, id: &str) -> Result<(RecordedRun, Again), AgainError> {
    let run = journal.recorded(id)?;
    let again = again(journal, &run, How::Resumed)?;
    if again.state.band.is_none() {
        return Err(AgainError::Earlier { id: id.to_owned() });
    }
    Ok((run, again))
}

/// A run that asks the user something, with the answer. `id` is the full id.
///
/// # Errors
/// When the run asks nothing, the answer is empty, or the run can't be read.
pub fn answer(journal: &Journal, id: &str, text: String) -> Result<Again, AgainError> {
    let run = journal.recorded(id)?;
    let status = state_of(&run).status;
    if status != Status::RequiresAction {
        return Err(AgainError::AsksNothing { id: id.to_owned(), status: status.name() });
    }
    if text.trim().is_empty() {
        return Err(AgainError::NoAnswer);
    }
    again(journal, &run, How::Answered(text))
}

/// A new run that begins with the events of another one up to event `at`, with other settings: `seed`, `goal`,
/// `budget-tokens`, `budget-seconds`, `strategy`, or `output.TASK` for the result of a finished task.
///
/// # Errors
/// When there is no such event, a setting can't be changed there, or the run can't be read.
pub fn fork(
    journal: &Journal,
    id: &str,
    at: u64,
    set: BTreeMap<String, String>,
) -> Result<Again, AgainError> {
    let mut run = journal.recorded(id)?;
    let last = run.events.last().map_or(0, |event| event.seq);
    if !(1..=last).contains(&at) {
        return Err(AgainError::NoEvent { id: id.to_owned(), at, last });
    }
    run.events.retain(|event| event.seq <= at);
    let mut forked = again(journal, &run, How::Forked { from: id.to_owned(), at, set: set.clone() })?;
    for (name, value) in &set {
        set_one(&mut forked, name, value)?;
    }
    Ok(forked)
}

fn set_one(again: &mut Again, name: &str, value: &str) -> Result<(), AgainError> {
    let wrong = |why: &str| AgainError::Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        why: why.to_owned(),
    };
    let Again { request, state, .. } = again;
    match (name, name.strip_prefix("output.")) {
        ("goal", _) if !value.trim().is_empty() => value.clone_into(&mut request.goal),
        ("goal", _) => return Err(wrong("the goal is empty")),
        ("seed", _) => request.seed = value.parse().map_err(|_| wrong("give a whole number"))?,
        ("budget-tokens", _) => {
            let tokens: u64 = value.parse().map_err(|_| wrong("give a whole number"))?;
            request.budget.tokens = Some(tokens).filter(|tokens| *tokens > 0);
        }
        ("budget-seconds", _) => {
            let seconds: f64 = value.parse().map_err(|_| wrong("give seconds above 0"))?;
            let time = Duration::try_from_secs_f64(seconds).map_err(|_| wrong("give seconds above 0"))?;
            request.budget.time = Some(time);
        }
        ("strategy", _) if state.strategy.is_none() => {
            request.strategy = Some(value.parse().map_err(|error: StrategyError| wrong(&error.to_string()))?);
        }
        ("strategy", _) => return Err(wrong("the strategy was chosen before: fork at event 1")),
        (_, Some(task)) if state.result(task).is_some() => {}
        (_, Some(_)) => return Err(wrong("no task of this name has a result at this event")),
        _ => {
            return Err(wrong(
                "the settings are seed, goal, budget-tokens, budget-seconds, strategy, output.TASK",
            ));
        }
    }
    Ok(())
}

fn again(journal: &Journal, run: &RecordedRun, how: How) -> Result<Again, AgainError> {
    let id = run.row.id.as_str();
    let Some(first) = run.events.first() else {
        return Err(AgainError::Unrecorded { id: id.to_owned() });
    };
    let damaged = |why: &str| AgainError::Record(journal.damaged_event(id, first.seq, why));
    if first.kind == DAMAGED {
        return Err(damaged(first.body["why"].as_str().unwrap_or("it can't be read")));
    }
    if !first.body["goal"].is_string() {
        return Err(damaged("its goal is not a text"));
    }
    // Runs of earlier versions did not record this.
    if let asked @ Value::Object(_) = &first.body["asked"] {
        let read: Result<Asked, _> = serde_json::from_value(asked.clone());
        read.map_err(|error| damaged(&format!("asked: {error}")))?;
    }
    let state = RunState::fold(id, run.row.created_ms, &run.events);
    let asked = state.asked.clone();
    let time = asked.budget_seconds.map(Duration::try_from_secs_f64).transpose();
    let time = time.map_err(|error| damaged(&format!("asked.budget_seconds: {error}")))?;
    let recorded = journal.inputs(id)?.into_iter().map(|(name, text)| Input { name, text });
    let answer = match &how {
        How::Answered(answer) => Some(answer),
        _ => None,
    };
    let answers: Vec<&String> = state.answers.iter().map(|(_, answer)| answer).chain(answer).collect();
    // If it asked again, it would never end.
    let strategy = asked.strategy.filter(|strategy| answers.is_empty() || *strategy != StrategyName::Ask);
    let answers = answers.into_iter().map(|text| Input { name: "answer".to_owned(), text: text.clone() });
    let request = RunRequest {
        inputs: recorded.chain(answers).collect(),
        conversation: asked.conversation,
        strategy,
        seed: asked.seed,
        budget: Budget { tokens: asked.budget_tokens, time },
        models: asked.models,
        ..RunRequest::new(state.goal.clone())
    };
    Ok(Again { request, state, how })
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
        let started = json!({
            "run": run, "goal": "g", "inputs": [], "planner": "p", "workers": [], "asked": asked,
        });
        journal.append(&run, "run.started", 0, &started).unwrap();
        if let Some(status) = status {
            let finished = super::super::report::conclude(
                &RunState::new(&run, 0),
                super::super::strategy::Ended::default(),
                1,
            );
            let mut finished = serde_json::to_value(finished).unwrap();
            finished["status"] = status.into();
            journal.append(&run, "run.finished", 1, &finished).unwrap();
        }
        (journal, run)
    }

    #[test]
    fn what_was_never_begun_is_not_done_again() {
        let journal = Journal::in_memory().unwrap();
        let run = journal.create_run().unwrap().id;
        let refused = again(&journal, &journal.recorded(&run).unwrap(), How::Resumed).unwrap_err();
        assert!(matches!(&refused, AgainError::Unrecorded { id } if *id == run), "{refused}");
    }

    #[test]
    fn what_ended_early_goes_on_as_it_was_asked() {
        for status in ["incomplete", "failed", "cancelled"] {
            let (journal, run) = recorded(Some(status), "map");
            let expected = RunRequest {
                inputs: vec![Input { name: "a.md".to_owned(), text: "text".to_owned() }],
                conversation: vec![Message::new(Role::User, "Hi.")],
                strategy: Some(StrategyName::Map),
                seed: 7,
                budget: Budget { tokens: Some(9), time: Some(Duration::from_millis(1500)) },
                ..RunRequest::new("g")
            };
            let again = resume(&journal, &run).unwrap();
            assert_eq!((again.id(), &again.request), (run.as_str(), &expected), "{status}");
        }
    }

    #[test]
    fn an_answer_comes_with_the_inputs_and_nothing_is_asked_twice() {
        for (strategy, expected) in [("ask", None), ("map", Some(StrategyName::Map))] {
            let (journal, run) = recorded(Some("requires_action"), strategy);
            let request = answer(&journal, &run, "blue".to_owned()).unwrap().request;
            assert_eq!((request.inputs[1].text.as_str(), request.strategy), ("blue", expected));
        }
    }

    #[test]
    fn what_can_not_be_taken_up_says_why() {
        let check = |status: Option<&str>, resumed: &str, answered: &str| {
            let (journal, run) = recorded(status, "map");
            let said = |again: Result<Again, AgainError>| {
                again.map_or_else(|error| error.to_string(), |_| "taken up".to_owned())
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
