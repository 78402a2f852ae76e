//! Takes up a recorded run: after its process was killed, after it had ended before it was completed, or with the
//! user's answer to its question. The run goes on under its own id, from the state that its events give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bandmaster_journal::{DAMAGED, Journal, JournalError, Listed, RecordedRun};
use serde_json::Value;

use super::advance::Core;
use super::approval::PlanRefused;
use super::event::Asked;
use super::fork_settings;
use super::goal::Goal;
use super::inputs::{Texts, sha256};
use super::outcome::Status;
use super::parked::{ActionKind, Answer, RequiredAction};
use super::request::{Budget, Input, RunRequest, StrategyName};
use super::state::RunState;
use super::strategy::Strategy;

/// Why a run can't be taken up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("run {id} is in progress: wait for its end, or cancel it first")]
    InProgress { id: String },
    #[error("run {id} is {status}: there is nothing to resume")]
    Ended { id: String, status: &'static str },
    #[error(
        "run {id} is requires_action: it waits for an answer to its question (`bandmaster runs answer {id} TEXT`)"
    )]
    NeedsAnswer { id: String },
    #[error("run {id} is {status}: it has no open question")]
    NoQuestion { id: String, status: &'static str },
    /// The run ended before its goal was recorded.
    #[error("the goal of run {id} is not in the record: start it again")]
    Unrecorded { id: String },
    #[error("run {id} was recorded by an earlier version, which did not record what its tasks are")]
    EarlierVersion { id: String },
    #[error(
        "run {id} has a strategy from outside this program: go on with it, or replay it, in the program that has the \
strategy (`run_with` and `replay` of the library)"
    )]
    OwnStrategy { id: String },
    #[error("text is empty: give the answer")]
    NoAnswer,
    #[error("run {id} waits for approval of its plan: answer yes or no, or give an edited plan")]
    NeedsApproval { id: String },
    #[error("run {id} waits for an answer to its question, not for approval of a plan: {question}")]
    NeedsText { id: String, question: String },
    #[error("run {id} has open questions of {tasks}: name one of these tasks (on the command line: --task)")]
    WhichTask { id: String, tasks: String },
    #[error("task {task} of run {id} has no open question; these have one: {tasks}")]
    NoQuestionOfTask { id: String, task: String, tasks: String },
    #[error("the plan is refused, and nothing has changed: {0}")]
    PlanRefused(#[from] PlanRefused),
    #[error("run {id} has no event {at}: its events are 1 to {last} (`bandmaster runs show {id} --events`)")]
    NoEvent { id: String, at: u64, last: u64 },
    #[error("run {id} has no input {input}: it has {inputs}, and the first is 0")]
    NoInput { id: String, input: usize, inputs: usize },
    #[error("{name}={value}: {why}")]
    Setting { name: String, value: String, why: String },
    #[error(transparent)]
    Record(#[from] JournalError),
}

/// A run that is to be worked on: a new one, or a recorded one that goes on.
#[derive(Debug, Clone)]
pub struct RunStart {
    /// What the run is asked to do, with its inputs and the answers to its questions.
    pub request: RunRequest,
    /// The state that it goes on from.
    pub(super) state: RunState,
    pub kind: StartKind,
    pub(super) texts: Texts,
    /// What the outcome is to warn of.
    pub warnings: Vec<String>,
}

/// How a run begins or goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum StartKind {
    New,
    Resumed,
    /// With the user's answer to what it was parked for.
    Answered(Answer),
    /// As a new run that begins with the events of run `from` up to event `at`.
    Forked {
        from: String,
        at: u64,
        set: BTreeMap<String, String>,
    },
}

impl RunStart {
    /// A new run. It gets its id when it is recorded.
    #[must_use]
    pub fn new(request: RunRequest) -> Self {
        Self::of(request, RunState::new("", 0), StartKind::New)
    }

    pub(super) fn of(mut request: RunRequest, state: RunState, kind: StartKind) -> Self {
        let texts = Texts::of(&state, &mut request);
        Self { request, state, kind, texts, warnings: Vec::new() }
    }

    /// Gives the text that the file of an input has now. Tasks that read the input are done again if the text is another
    /// one than the run read. Returns whether it is.
    ///
    /// # Errors
    /// When the run has no such input.
    pub fn read_again(&mut self, input: usize, text: String) -> Result<bool, StartError> {
        let RunState { id, inputs, .. } = &self.state;
        let no_input = || StartError::NoInput { id: id.clone(), input, inputs: inputs.len() };
        let known = inputs.get(input).zip(self.request.inputs.get(input));
        let (info, read) = known.ok_or_else(no_input)?;
        let is_same = match &info.sha256 {
            Some(known) => sha256(&text) == *known,
            None => read.text == text,
        };
        if !is_same {
            self.texts.change(&mut self.request, input, text);
        }
        Ok(!is_same)
    }

    /// Indexes and new texts of the inputs whose files have changed.
    pub fn changed_inputs(&self) -> impl Iterator<Item = (usize, &str)> {
        self.texts.new_texts(&self.request)
    }

    /// What the run was asked at an earlier state, when it had fewer answers to its questions.
    pub(super) fn request_at(&self, state: &RunState) -> RunRequest {
        let mut request = self.request.clone();
        let answers =
            self.state.answers.len() + usize::from(matches!(self.kind, StartKind::Answered(Answer::Text(_))));
        let later = answers.saturating_sub(state.answers.len());
        request.inputs.truncate(request.inputs.len().saturating_sub(later));
        self.texts.restore(state, &mut request);
        request.goal.clone_from(&state.goal);
        request.seed = state.asked.seed;
        request
    }

    /// The same, unless the run has a strategy from outside this crate, without which it can't go on.
    ///
    /// # Errors
    /// When it has one.
    pub fn without_own_strategy(self) -> Result<Self, StartError> {
        let strategy = self.state.strategy.or(self.request.strategy);
        // Whoever declines needs no strategy.
        let declines = self.kind == StartKind::Answered(Answer::Approval { approve: false });
        if strategy == Some(StrategyName::Other) && !declines {
            return Err(StartError::OwnStrategy { id: self.state.id });
        }
        Ok(self)
    }

    /// The id of the recorded run that goes on; `None` for a new one.
    #[must_use]
    pub fn recorded_id(&self) -> Option<&str> {
        (self.kind != StartKind::New).then_some(self.state.id.as_str())
    }

    /// The state that the run goes on from.
    #[must_use]
    pub fn state(&self) -> &RunState {
        &self.state
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
pub fn resume(journal: &Journal, id: &str) -> Result<RunStart, StartError> {
    let run = journal.recorded(id)?;
    let state = state_of(&run);
    let status = state.status;
    let id = id.to_owned();
    if state.outcome.as_ref().is_some_and(|outcome| outcome.is_whole()) {
        return Err(StartError::Ended { id, status: status.name() });
    }
    match status {
        Status::InProgress => Err(StartError::InProgress { id }),
        Status::RequiresAction => Err(StartError::NeedsAnswer { id }),
        _ => from_record(journal, &run, StartKind::Resumed),
    }
}

/// A recorded run, to be replayed. `id` is the full id.
///
/// # Errors
/// When the run can't be read, or was recorded by an earlier version.
pub fn recorded(journal: &Journal, id: &str) -> Result<(RecordedRun, RunStart), StartError> {
    let run = journal.recorded(id)?;
    let start = from_record(journal, &run, StartKind::Resumed)?;
    if start.state.band.is_none() {
        return Err(StartError::EarlierVersion { id: id.to_owned() });
    }
    Ok((run, start))
}

/// A parked run, with what the user answers. `id` is the full id.
///
/// # Errors
/// When the run waits for something else, the edited plan is refused, or the run can't be read.
pub fn answer(journal: &Journal, id: &str, answer: Answer) -> Result<RunStart, StartError> {
    answer_with(None, journal, id, answer)
}

/// The same for a run with a strategy from outside this crate, which checks an edited plan.
///
/// # Errors
/// As [`answer`].
pub fn answer_with(
    strategy: Option<Arc<dyn Strategy>>,
    journal: &Journal,
    id: &str,
    answer: Answer,
) -> Result<RunStart, StartError> {
    let run = journal.recorded(id)?;
    let state = state_of(&run);
    let Some(action) = &state.required_action else {
        return Err(StartError::NoQuestion { id: id.to_owned(), status: state.status.name() });
    };
    let answer = fitting(id, action, answer)?;
    let mut start = from_record(journal, &run, StartKind::Answered(answer))?;
    if matches!(start.kind, StartKind::Answered(Answer::Plan { .. })) && strategy.is_none() {
        start = start.without_own_strategy()?;
    }
    if let StartKind::Answered(Answer::Plan { plan }) = &mut start.kind {
        let core = start.state.clone();
        let facts = core.strategy_why.clone().unwrap_or_default().facts;
        let goal = Goal::new(&start.request, facts, core.band.clone().unwrap_or_default());
        *plan = Core::new(Arc::new(goal), core, strategy).check_plan(plan)?;
    }
    Ok(start)
}

/// The answer in the form in which it is recorded, if it answers what the run asks.
fn fitting(id: &str, action: &RequiredAction, answer: Answer) -> Result<Answer, StartError> {
    let id = || id.to_owned();
    let open = || {
        let tasks: Vec<&str> = action.questions.iter().map(|one| one.task.as_str()).collect();
        tasks.join(", ")
    };
    match (action.kind, answer) {
        (_, Answer::Text(text) | Answer::Task { text, .. }) if text.trim().is_empty() => {
            Err(StartError::NoAnswer)
        }
        (ActionKind::ApprovePlan, Answer::Text(text)) => match text.trim().to_lowercase().as_str() {
            "yes" | "y" => Ok(Answer::Approval { approve: true }),
            "no" | "n" => Ok(Answer::Approval { approve: false }),
            _ => Err(StartError::NeedsApproval { id: id() }),
        },
        (ActionKind::ApprovePlan, Answer::Task { .. }) => Err(StartError::NeedsApproval { id: id() }),
        (ActionKind::ApprovePlan, Answer::Plan { plan }) if action.plan.as_ref() == Some(&plan) => {
            // It was not edited.
            Ok(Answer::Approval { approve: true })
        }
        (ActionKind::AnswerQuestion, Answer::Text(text)) => match &action.questions[..] {
            [] => Ok(Answer::Text(text)),
            [one] => Ok(Answer::Task { task: one.task.clone(), text }),
            _ => Err(StartError::WhichTask { id: id(), tasks: open() }),
        },
        (ActionKind::AnswerQuestion, Answer::Task { task, text }) => {
            if action.questions.iter().any(|one| one.task == task) {
                Ok(Answer::Task { task, text })
            } else {
                Err(StartError::NoQuestionOfTask { id: id(), task, tasks: open() })
            }
        }
        (ActionKind::AnswerQuestion, Answer::Plan { .. } | Answer::Approval { approve: true }) => {
            Err(StartError::NeedsText { id: id(), question: action.question.clone() })
        }
        (_, answer @ (Answer::Approval { .. } | Answer::Plan { .. })) => Ok(answer),
    }
}

/// A new run that begins with the events of another one up to event `at`, with other settings: `seed`, `goal`,
/// `budget-tokens`, `budget-seconds`, `budget-tasks`, `budget-depth`, `strategy`, or `output.TASK` for the result of a
/// finished task.
///
/// # Errors
/// When there is no such event, a setting can't be changed there, or the run can't be read.
pub fn fork(
    journal: &Journal,
    id: &str,
    at: u64,
    set: BTreeMap<String, String>,
) -> Result<RunStart, StartError> {
    let mut run = journal.recorded(id)?;
    let last = run.events.last().map_or(0, |event| event.seq);
    if run.events.iter().all(|event| event.seq != at) {
        return Err(StartError::NoEvent { id: id.to_owned(), at, last });
    }
    run.events.retain(|event| event.seq <= at);
    let mut forked =
        from_record(journal, &run, StartKind::Forked { from: id.to_owned(), at, set: set.clone() })?;
    for (name, value) in set {
        let RunStart { request, state, .. } = &mut forked;
        fork_settings::set(request, state, (&name, &value)).map_err(|why| StartError::Setting {
            name,
            value,
            why,
        })?;
    }
    Ok(forked)
}

fn from_record(journal: &Journal, run: &RecordedRun, kind: StartKind) -> Result<RunStart, StartError> {
    let id = run.row.id.as_str();
    let Some(first) = run.events.first() else {
        return Err(StartError::Unrecorded { id: id.to_owned() });
    };
    let damaged = |why: &str| StartError::Record(journal.damaged_event(id, first.seq, why));
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
    let answer = match &kind {
        StartKind::Answered(Answer::Text(text)) => Some(text),
        _ => None,
    };
    let answers: Vec<&String> = state.answers.iter().map(|(_, answer)| answer).chain(answer).collect();
    // If it asked again, it would never end.
    let strategy = asked.strategy.filter(|strategy| answers.is_empty() || *strategy != StrategyName::Ask);
    let answers = answers.into_iter().map(|text| Input { name: "answer".to_owned(), text: text.clone() });
    let request = RunRequest {
        inputs: recorded.chain(answers).collect(),
        paths: state.inputs.iter().map(|input| input.path.clone()).collect(),
        conversation: asked.conversation,
        strategy,
        seed: asked.seed,
        budget: Budget {
            tokens: asked.budget_tokens,
            time,
            tasks: asked.budget_tasks,
            depth: asked.budget_depth,
        },
        approve: asked.approve,
        models: asked.models,
        ..RunRequest::new(state.goal.clone())
    };
    Ok(RunStart::of(request, state, kind))
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
        let refused =
            from_record(&journal, &journal.recorded(&run).unwrap(), StartKind::Resumed).unwrap_err();
        assert!(matches!(&refused, StartError::Unrecorded { id } if *id == run), "{refused}");
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
                budget: Budget {
                    tokens: Some(9),
                    time: Some(Duration::from_millis(1500)),
                    ..Budget::default()
                },
                ..RunRequest::new("g")
            };
            let start = resume(&journal, &run).unwrap();
            assert_eq!((start.recorded_id(), &start.request), (Some(run.as_str()), &expected), "{status}");
        }
    }

    #[test]
    fn an_answer_comes_with_the_inputs_and_nothing_is_asked_twice() {
        for (strategy, expected) in [("ask", None), ("map", Some(StrategyName::Map))] {
            let (journal, run) = recorded(Some("requires_action"), strategy);
            let request = answer(&journal, &run, Answer::Text("blue".to_owned())).unwrap().request;
            assert_eq!((request.inputs[1].text.as_str(), request.strategy), ("blue", expected));
        }
    }

    /// A run that has chosen its strategy and, with `planned`, a plan.
    fn forkable(planned: bool) -> (Journal, String) {
        let (journal, run) = recorded(None, "map");
        journal.append(&run, "strategy.chosen", 1, &json!({"strategy": "map"})).unwrap();
        if planned {
            let task = json!({"id": "t1", "worker": "w", "instruction": "i", "needs": [], "output": "text",
                "tokens_max": 9});
            journal.append(&run, "tasks.added", 2, &json!({"tasks": [task]})).unwrap();
        }
        (journal, run)
    }

    fn forked(planned: bool, name: &str, value: &str) -> Result<RunRequest, String> {
        let (journal, run) = forkable(planned);
        let set = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let forked = fork(&journal, &run, if planned { 3 } else { 2 }, set);
        forked.map(|forked| forked.request).map_err(|error| error.to_string())
    }

    #[test]
    fn a_goal_can_be_changed_at_any_event_and_is_not_empty() {
        for planned in [false, true] {
            assert_eq!(forked(planned, "goal", "another").unwrap().goal, "another");
            assert!(forked(planned, "goal", " ").unwrap_err().contains("the goal is empty"));
        }
    }

    #[test]
    fn a_limit_of_a_fork_is_above_zero_or_lifted() {
        let budget = |name: &str, value: &str| forked(true, name, value).map(|request| request.budget);
        assert_eq!(budget("budget-tokens", "60").unwrap().tokens, Some(60));
        assert_eq!(budget("budget-tokens", "none").unwrap().tokens, None);
        assert_eq!(budget("budget-seconds", "0.5").unwrap().time, Some(Duration::from_millis(500)));
        assert_eq!(budget("budget-seconds", "none").unwrap().time, None);
        assert_eq!(budget("budget-tasks", "3").unwrap().tasks, Some(3));
        assert_eq!(budget("budget-depth", "2").unwrap().depth, Some(2));
        for (name, value) in [
            ("budget-tokens", "0"),
            ("budget-tokens", "1.5"),
            ("budget-seconds", "0"),
            ("budget-seconds", "-1"),
            ("budget-seconds", "NaN"),
            ("budget-tasks", "0"),
            ("budget-depth", "few"),
        ] {
            let refused = budget(name, value).unwrap_err();
            assert!(refused.contains(name) && refused.contains("or none for no limit"), "{refused}");
        }
    }

    #[test]
    fn what_can_not_be_taken_up_says_why() {
        let check = |status: Option<&str>, resumed: &str, answered: &str| {
            let (journal, run) = recorded(status, "map");
            let said = |start: Result<RunStart, StartError>| {
                start.map_or_else(|error| error.to_string(), |_| "taken up".to_owned())
            };
            let (resume, answer) =
                (said(resume(&journal, &run)), said(answer(&journal, &run, Answer::Text(" ".to_owned()))));
            assert!(resume.contains(resumed) && answer.contains(answered), "{status:?}: {resume}, {answer}");
        };
        check(None, "in progress", "in_progress: it has no open question");
        check(Some("completed"), "nothing to resume", "completed: it has no open question");
        check(Some("requires_action"), "waits for an answer", "text is empty");
        check(Some("cancelled"), "taken up", "it has no open question");
    }
}
