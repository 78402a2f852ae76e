//! What follows from the state of a run, as events, until nothing follows any more: replies are checked, tasks become
//! ready and begin, and the strategy is asked for the next move. Nothing here waits, calls a model or reads a clock, so
//! the same state always gives the same events.

use std::collections::HashSet;
use std::sync::Arc;

use super::approval::{self, PlanRefused};
use super::band::{Call, CallUsage, Finish, Reply};
use super::budget::Allowed;
use super::clarify;
use super::event::{CallEnd, EventKind, FailureClass};
use super::goal::{Goal, RULE};
use super::ladder::{self, Next};
use super::outcome::{Outcome, Status};
use super::parked::RequiredAction;
use super::plan::{Job, Plan, PlanError, Task};
use super::report::{conclude, conclude_early};
use super::request::{StrategyError, StrategyName};
use super::runaway;
use super::state::{Attempt, RunState, TaskState};
use super::strategies::named;
use super::strategy::{Ended, Move, Prompt, SearchAsked, SplitAsked, Strategy, Verdict};

/// Most calls of one run in the engine at a time: more than a batch holds, fewer than its queue.
const IN_FLIGHT_MAX: usize = 64;

/// A run that is worked on: its goal, its state and the strategy that says what comes next.
pub(crate) struct Core {
    pub goal: Arc<Goal>,
    pub state: RunState,
    strategy: Option<Arc<dyn Strategy>>,
}

/// What the caller has to do now.
#[derive(Debug, PartialEq)]
pub(crate) enum Waits {
    /// Make the calls of [`Core::calls`], end those of [`RunState::dropped_calls`], and report how they end.
    ForCalls,
    /// Find out where inputs can be cut.
    ForSplits(Vec<SplitAsked>),
    /// The parts of the inputs that are nearest to a question are to be found.
    ForSearch(SearchAsked),
    /// Nothing: the run has ended.
    Over,
}

/// A call that is to be made.
#[derive(Debug)]
pub(crate) struct Planned {
    pub task: String,
    pub attempt: u32,
    pub worker: String,
    pub wait_ms: u64,
    pub streams_answer: bool,
    pub partial_depth: u32,
    /// The template that the prompt was made from.
    pub prompt_template: Option<String>,
    pub call: Call,
}

impl Core {
    /// `custom` stands in for the strategy that the state names.
    #[must_use]
    pub(crate) fn new(goal: Arc<Goal>, state: RunState, custom: Option<Arc<dyn Strategy>>) -> Self {
        let strategy = custom.or_else(|| state.strategy.and_then(named));
        Self { goal, state, strategy }
    }

    /// Takes something that has happened into the state.
    pub(crate) fn take(&mut self, ms: u64, event: &EventKind) {
        self.state.apply(self.state.last_seq + 1, ms, event);
    }

    /// Everything that follows from the state, in order and already taken into it, and what to wait for after that.
    pub(crate) fn advance(&mut self, ms: u64) -> (Vec<EventKind>, Waits) {
        let mut events = Vec::new();
        let mut moves = 0;
        loop {
            let mut new = self.of_tasks();
            if new.is_empty() {
                moves += 1;
                match self.of_strategy(moves, ms) {
                    // The outcome counts what they have used.
                    Ok(moved) if ends_run(&moved) && self.state.dropped_calls().next().is_some() => {
                        return (events, Waits::ForCalls);
                    }
                    Ok(moved) => new = moved,
                    Err(waits) => return (events, waits),
                }
            }
            for event in new {
                self.take(ms, &event);
                events.push(event);
            }
            if self.state.outcome.is_some() {
                return (events, Waits::Over);
            }
        }
    }

    fn of_tasks(&self) -> Vec<EventKind> {
        let tasks = &self.state.tasks;
        let mut allowed = Allowed::of(&self.state);
        if let Some(event) = allowed.reached(&self.state).filter(|_| !self.state.is_stopped()) {
            return vec![event];
        }
        let mut room =
            IN_FLIGHT_MAX.saturating_sub(tasks.iter().filter(|task| task.running().is_some()).count());
        let mut events = Vec::new();
        for task in tasks.iter().filter(|task| !task.has_ended() && task.running().is_none()) {
            events.extend(match (unjudged(task), allowed.why_not(task)) {
                (Some(attempt), _) => self.judge(task, attempt),
                (None, _) if self.state.is_stopped() => vec![self.cancelled(task)],
                (None, _) if task.status == Status::RequiresAction => {
                    self.clarify(task).into_iter().collect()
                }
                (None, _) if self.answers_nobody(task) => {
                    vec![skipped(task, "nobody waits for the answer any more".to_owned())]
                }
                (None, Some(why)) => vec![skipped(task, why)],
                (None, None) if !task.ready => self.make_ready(task).into_iter().collect(),
                (None, None) if task.task.job == Job::Calculate => self.calculate(task),
                (None, None) => match self.continue_task(task, room > 0 && allowed.has_room_for(task)) {
                    Some(event) => {
                        if !matches!(event, EventKind::TaskFinished { .. }) {
                            room -= 1;
                            allowed.begin(task);
                        }
                        vec![event]
                    }
                    None => Vec::new(),
                },
            });
        }
        events
    }

    /// A question is put to the planner first. If the planner has no answer, the question waits for the user.
    fn clarify(&self, task: &TaskState) -> Option<EventKind> {
        let question = task.open_question()?;
        let Some(asked) = self.state.task(&clarify::id(task)) else {
            return Some(EventKind::TasksAdded { tasks: vec![clarify::task(task, question)] });
        };
        let answer = clarify::answer(asked.accepted()?)?;
        Some(EventKind::TaskAnswered { task: task.id.clone(), answer })
    }

    /// Whether a task looks for the answer to a question that is not open any more.
    fn answers_nobody(&self, task: &TaskState) -> bool {
        let Job::Clarify { task: asking, .. } = &task.task.job else { return false };
        self.state
            .task(asking)
            .is_none_or(|asking| asking.status != Status::RequiresAction || clarify::id(asking) != task.id)
    }

    /// A task is ready when all that it needs has ended. If one of these has no result, the task is skipped, unless it
    /// can do with what there is.
    fn make_ready(&self, task: &TaskState) -> Option<EventKind> {
        let needs = || task.task.needs.iter().filter_map(|need| self.state.task(need));
        if needs().any(|need| !need.has_ended()) {
            return None;
        }
        match needs().find(|need| need.accepted().is_none()).filter(|_| !task.task.with_gaps) {
            Some(need) => {
                let why = format!("{} has no result", need.id);
                Some(skipped(task, why))
            }
            None => Some(EventKind::TaskReady { task: task.id.clone() }),
        }
    }

    /// The next attempt, if there is room for a call, or the end of a task for which nobody is left.
    fn continue_task(&self, task: &TaskState, has_room: bool) -> Option<EventKind> {
        match ladder::next(task, &self.goal.band) {
            Next::Try { rung, wait_ms } => has_room.then(|| self.begin(task, rung, wait_ms)),
            Next::Accept { output, cut } => Some(finished(task, Status::Completed, output, None, cut)),
            Next::Fail { error } => {
                Some(finished(task, Status::Failed, task.output.clone(), Some(error), false))
            }
        }
    }

    fn begin(&self, task: &TaskState, rung: usize, wait_ms: u64) -> EventKind {
        let worker = ladder::worker_at(&task.task, &self.goal.band, rung).unwrap_or_default().to_owned();
        let model = self.goal.band.get(&worker).map_or_else(String::new, |info| info.model.clone());
        let (id, attempt) = (task.id.clone(), task.attempts.len() as u32 + 1);
        match attempt {
            1 => EventKind::TaskStarted { task: id, attempt, worker, model, rung },
            _ => EventKind::TaskRetried { task: id, attempt, worker, model, rung, wait_ms },
        }
    }

    /// What to do about an attempt whose call has ended.
    fn judge(&self, task: &TaskState, attempt: &Attempt) -> Vec<EventKind> {
        let finish = match &attempt.end {
            None | Some(CallEnd::Stopped) => return vec![self.cancelled(task)],
            Some(CallEnd::Failed { class, error }) => {
                return vec![failed(task, attempt, *class, error.clone(), None, false)];
            }
            Some(CallEnd::Reply(finish)) => *finish,
            Some(CallEnd::Unrecorded) => Finish::Stop,
        };
        let reply = Reply { text: attempt.output.clone(), finish, usage: CallUsage::default() };
        let verdict = match finish {
            Finish::Deadline => Verdict::reject("the time for the answer was over"),
            _ => self.check(task, &reply),
        };
        let is_top = ladder::is_top(&task.task, &self.goal.band, attempt.rung);
        let fail = |why: String, kept, doubtful| {
            vec![failed(task, attempt, FailureClass::Content, why, kept, doubtful)]
        };
        match verdict {
            Verdict::Doubt(output) if !is_top => {
                fail("a second opinion is needed".to_owned(), Some(output), true)
            }
            Verdict::Accept(output) | Verdict::Doubt(output) => {
                // If the check removed a loop at the end of the reply, the limit cut off nothing else.
                let cut = attempt.is_cut() && output.trim() == attempt.output.trim();
                vec![finished(task, Status::Completed, output, None, cut)]
            }
            Verdict::Ask(question) => match clarify::refusal(task, &question) {
                Some(why) => fail(why, None, false),
                None => {
                    let (task, attempt) = (task.id.clone(), attempt.attempt);
                    vec![EventKind::TaskAsked { task, attempt, question: question.trim().to_owned() }]
                }
            },
            Verdict::Reject { why, kept } => fail(why, kept, false),
        }
    }

    fn check(&self, task: &TaskState, reply: &Reply) -> Verdict {
        match (&task.task.job, &self.strategy) {
            (Job::Clarify { question, .. }, _) => clarify::check(&self.goal, question, reply),
            (_, Some(strategy)) => strategy.check(&task.task, &self.goal, &self.state, reply),
            (_, None) => Verdict::reject("nobody can check it"),
        }
    }

    fn cancelled(&self, task: &TaskState) -> EventKind {
        let why = self.state.stopped.map_or("the run was stopped", |stopped| stopped.reason.in_words());
        let why = if task.started_ms.is_some() { why.to_owned() } else { format!("{why} before it began") };
        finished(task, Status::Cancelled, task.output.clone(), Some(why), false)
    }

    fn calculate(&self, task: &TaskState) -> Vec<EventKind> {
        let result = match &self.strategy {
            Some(strategy) => strategy.calculate(&task.task, &self.goal, &self.state),
            None => Err("nobody can calculate it".to_owned()),
        };
        let started = EventKind::TaskStarted {
            task: task.id.clone(),
            attempt: 1,
            worker: task.task.worker.clone(),
            model: RULE.to_owned(),
            rung: 0,
        };
        let ended = match result {
            Ok(output) => finished_after(task, 1, Status::Completed, output, None),
            Err(error) => finished_after(task, 1, Status::Failed, String::new(), Some(error)),
        };
        vec![started, ended]
    }

    /// The events of the strategy's next move, which is number `moves` of those in a row.
    fn of_strategy(&self, moves: usize, ms: u64) -> Result<Vec<EventKind>, Waits> {
        if self.state.approval.declined.is_some() && self.state.plan.is_none() {
            return Ok(vec![self.end(Ended::default(), ms)]);
        }
        // A run that is being stopped ends after its calls, so that each of its tasks has an end in the record.
        if self.state.is_stopped() && self.state.tasks.iter().any(|task| task.running().is_some()) {
            return Err(Waits::ForCalls);
        }
        let moved = self.next_move();
        let refusal = runaway::refusal(&moved, &self.goal, &self.state, moves);
        match moved {
            Move::Answer(ended) if self.ends_early() => {
                let outcome = Box::new(conclude_early(&self.state, ended, ms));
                Ok(vec![EventKind::RunFinished { outcome }])
            }
            Move::Answer(ended) => Ok(vec![self.end(ended, ms)]),
            // While the run is being stopped, the results that a plan would follow from are missing.
            Move::Add { .. } | Move::Replan { .. } | Move::Split(_) | Move::Search(_)
                if self.state.is_stopped() =>
            {
                Ok(vec![self.end(Ended::default(), ms)])
            }
            _ if refusal.is_some() => Ok(vec![self.end(Ended { error: refusal, ..Ended::default() }, ms)]),
            Move::Split(asked) => Err(Waits::ForSplits(asked)),
            Move::Search(asked) => Err(Waits::ForSearch(asked)),
            Move::Add { tasks, proposed } if self.needs_approval(&tasks) => {
                self.propose(&tasks, proposed, ms)
            }
            Move::Add { tasks, proposed } => Ok(self.add(tasks, proposed, ms)),
            Move::Replan { why, kept, dropped } => Ok(vec![EventKind::ReplanStarted { why, kept, dropped }]),
            Move::Drop { tasks, why } => self.drop_tasks(&tasks, &why, ms),
            Move::Wait => self.wait(ms),
        }
    }

    /// Whether the strategy would go on if the run were not being stopped.
    fn ends_early(&self) -> bool {
        let Some(strategy) = self.strategy.as_ref().filter(|_| self.state.is_stopped()) else { return false };
        let mut state = self.state.clone();
        state.stopped = None;
        !matches!(strategy.next(&self.goal, &state), Move::Answer(_))
    }

    fn next_move(&self) -> Move {
        if self.goal.text.trim().is_empty() {
            return Move::refuse("the goal is empty: describe the task");
        }
        match &self.strategy {
            Some(strategy) => strategy.next(&self.goal, &self.state),
            None => {
                let name = self.state.strategy.unwrap_or(StrategyName::Other);
                Move::refuse(StrategyError::Unavailable { name }.to_string())
            }
        }
    }

    /// Waits for a call, or ends a run in which nothing can happen any more.
    fn wait(&self, ms: u64) -> Result<Vec<EventKind>, Waits> {
        if self.state.tasks.iter().any(|task| task.running().is_some()) {
            return Err(Waits::ForCalls);
        }
        if let Some(action) = RequiredAction::of_tasks(self.state.open_questions()) {
            return Ok(vec![self.park(action, ms)]);
        }
        let name = self.state.strategy.unwrap_or(StrategyName::Other);
        let error =
            Some(format!("the strategy {name} waits although no task is in progress: this is a bug in it"));
        Ok(vec![self.end(Ended { error, ..Ended::default() }, ms)])
    }

    fn add(&self, tasks: Vec<Task>, proposed: Option<serde_json::Value>, ms: u64) -> Vec<EventKind> {
        if let Err(error) = self.check_new(&tasks) {
            let error = Some(format!("the plan can't be carried out: {error}"));
            return vec![self.end(Ended { error, ..Ended::default() }, ms)];
        }
        // What the user has approved is in the record already.
        let is_new = |slots: &serde_json::Value| {
            !(self.state.approval.approved && self.state.approval.proposed.as_ref() == Some(slots))
        };
        let proposed = proposed.filter(is_new);
        let mut events: Vec<EventKind> =
            proposed.map(|slots| EventKind::PlanProposed { slots }).into_iter().collect();
        let is_whole_plan = self.state.plan.is_none() && !tasks.iter().any(|task| task.job.is_planners());
        let plan = if is_whole_plan { Plan::new(tasks.clone()).ok() } else { None };
        events.push(match plan {
            Some(plan) => EventKind::PlanAccepted { plan },
            None => EventKind::TasksAdded { tasks },
        });
        events
    }

    /// Whether these are the first tasks of a plan that the user wants to approve.
    fn needs_approval(&self, tasks: &[Task]) -> bool {
        let RunState { asked, approval, plan, .. } = &self.state;
        let first = plan.is_none() && tasks.iter().any(|task| !task.job.is_planners());
        asked.approve && !approval.approved && first
    }

    /// Shows the user a plan, and parks the run.
    fn propose(
        &self,
        tasks: &[Task],
        proposed: Option<serde_json::Value>,
        ms: u64,
    ) -> Result<Vec<EventKind>, Waits> {
        if self.state.tasks.iter().any(|task| task.running().is_some()) {
            return Err(Waits::ForCalls);
        }
        let Some(strategy) = self.strategy.as_ref().filter(|_| self.check_new(tasks).is_ok()) else {
            return Ok(self.add(tasks.to_vec(), proposed, ms));
        };
        let action = approval::action(tasks, proposed.as_ref(), strategy.as_ref());
        let slots = approval::shown(tasks, proposed);
        let is_new = self.state.approval.proposed.as_ref() != Some(&slots);
        let shown = is_new.then_some(EventKind::PlanProposed { slots });
        Ok(shown.into_iter().chain([self.park(action, ms)]).collect())
    }

    /// Checks a plan that the user has edited. Returns it as it is recorded.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn check_plan(&self, plan: &serde_json::Value) -> Result<serde_json::Value, PlanRefused> {
        match &self.strategy {
            Some(strategy) => approval::check(strategy.as_ref(), &self.goal, &self.state, plan),
            None => Err(PlanRefused::NotEditable),
        }
    }

    /// Ends this stretch of the run. It goes on when the user has answered.
    fn park(&self, action: RequiredAction, ms: u64) -> EventKind {
        let ended = Ended {
            answer: action.question.clone(),
            status: Some(Status::RequiresAction),
            ..Ended::default()
        };
        let mut outcome = conclude(&self.state, ended, ms);
        outcome.required_action = Some(action);
        EventKind::RunFinished { outcome: Box::new(outcome) }
    }

    /// Each task has an id of its own and needs only tasks that are there before it.
    fn check_new(&self, tasks: &[Task]) -> Result<(), PlanError> {
        let mut known: HashSet<&str> = self.state.tasks.iter().map(|task| task.id.as_str()).collect();
        for Task { id, needs, .. } in tasks {
            if let Some(need) = needs.iter().find(|need| !known.contains(need.as_str())) {
                return Err(PlanError::Need { id: id.clone(), need: need.clone() });
            }
            if !known.insert(id) {
                return Err(PlanError::Twice { id: id.clone() });
            }
        }
        if tasks.is_empty() { Err(PlanError::Empty) } else { Ok(()) }
    }

    fn drop_tasks(&self, ids: &[String], why: &str, ms: u64) -> Result<Vec<EventKind>, Waits> {
        let is_dropped = |task: &TaskState| match &task.task.job {
            Job::Clarify { task: asking, .. } => ids.contains(asking),
            _ => ids.contains(&task.id),
        };
        let dropped = self.state.tasks.iter().filter(|task| is_dropped(task) && !task.has_ended());
        let events: Vec<EventKind> = dropped
            .map(|task| finished(task, Status::Skipped, task.output.clone(), Some(why.to_owned()), false))
            .collect();
        if events.is_empty() { self.wait(ms) } else { Ok(events) }
    }

    fn end(&self, ended: Ended, ms: u64) -> EventKind {
        let outcome: Outcome = conclude(&self.state, ended, ms);
        EventKind::RunFinished { outcome: Box::new(outcome) }
    }

    /// The calls that are to be running now, without those that `known` says are.
    #[must_use]
    pub(crate) fn calls(&self, known: &dyn Fn(&str, u32) -> bool) -> Vec<Planned> {
        let paths = self.state.plan.as_ref().map(Plan::critical_path_tokens).unwrap_or_default();
        let path = |id: &str| {
            let place = self.state.plan.as_ref()?.tasks().iter().position(|task| task.id == id)?;
            paths.get(place).copied()
        };
        let running = self.state.tasks.iter().filter_map(|task| Some((task, task.running()?)));
        let new = running.filter(|(task, attempt)| !known(&task.id, attempt.attempt));
        new.filter_map(|(task, attempt)| self.plan_call(task, attempt, path(&task.id).unwrap_or(0))).collect()
    }

    fn prompt(&self, task: &TaskState) -> Option<Prompt> {
        match &task.task.job {
            Job::Clarify { question, .. } => Some(clarify::prompt(&self.goal, question)),
            _ => Some(self.strategy.as_ref()?.prompt(&task.task, &self.goal, &self.state)),
        }
    }

    fn plan_call(&self, task: &TaskState, attempt: &Attempt, critical_path_tokens: u32) -> Option<Planned> {
        let mut prompt = self.prompt(task)?;
        clarify::add_answers(&mut prompt.messages, &task.questions);
        let tokens = match (&task.task.job, &self.strategy) {
            (Job::Clarify { .. }, _) | (_, None) => task.task.tokens(),
            (_, Some(strategy)) => strategy.tokens(&task.task, &self.goal, &self.state),
        };
        let sampled = ladder::sampled(task, self.goal.seed, tokens.max);
        Some(Planned {
            task: task.id.clone(),
            attempt: attempt.attempt,
            worker: attempt.worker.clone(),
            wait_ms: attempt.wait_ms,
            streams_answer: task.task.streams_answer,
            partial_depth: task.task.partial_depth,
            prompt_template: prompt.template,
            call: Call {
                messages: prompt.messages,
                schema: prompt.schema,
                grammar: prompt.grammar,
                options: prompt.options,
                tokens_max: sampled.tokens_max,
                tokens_min: tokens.min,
                temperature: sampled.temperature,
                seed: sampled.seed,
                run: 0,
                critical_path_tokens,
                deadline: None,
            },
        })
    }
}

fn ends_run(events: &[EventKind]) -> bool {
    events.iter().any(|event| matches!(event, EventKind::RunFinished { .. }))
}

/// The last attempt, if its call has ended and nothing was decided about it yet.
fn unjudged(task: &TaskState) -> Option<&Attempt> {
    let is_open = |attempt: &&Attempt| {
        attempt.end.is_some() && attempt.failure.is_none() && !task.asked_in(attempt.attempt)
    };
    task.attempts_now().last().filter(is_open)
}

fn failed(
    task: &TaskState,
    attempt: &Attempt,
    class: FailureClass,
    error: String,
    kept: Option<String>,
    doubtful: bool,
) -> EventKind {
    EventKind::TaskFailed { task: task.id.clone(), attempt: attempt.attempt, class, error, kept, doubtful }
}

fn finished(task: &TaskState, status: Status, output: String, error: Option<String>, cut: bool) -> EventKind {
    EventKind::TaskFinished {
        task: task.id.clone(),
        status,
        attempts: task.attempts.len() as u32,
        output,
        usage: task.usage,
        error,
        cut,
    }
}

fn skipped(task: &TaskState, why: String) -> EventKind {
    finished(task, Status::Skipped, String::new(), Some(why), false)
}

fn finished_after(
    task: &TaskState,
    attempts: u32,
    status: Status,
    output: String,
    error: Option<String>,
) -> EventKind {
    let usage = task.usage;
    EventKind::TaskFinished { task: task.id.clone(), status, attempts, output, usage, error, cut: false }
}
