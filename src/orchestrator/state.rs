//! The state of a run: a fold of its events and nothing else. The same state is what a run goes on from, what
//! `runs show` prints and what a fork begins with.

mod changed;
mod damaged;
mod dropped;
mod forgotten;
mod replans;
mod resume;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::band::Finish;
use super::cancel::StopReason;
use super::choice::why::StrategyWhy;
use super::event::{Asked, CallEnd, EventKind, FailureClass, InputInfo, Split};
use super::goal::BandInfo;
use super::limits;
use super::outcome::{Outcome, RunUsage, Status, TokenUsage};
use super::parked::{Approval, Question, RequiredAction};
use super::plan::{Plan, Task};
use super::request::StrategyName;
pub(crate) use dropped::never_begun;
use forgotten::Forgotten;
pub use replans::Replan;

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunState {
    pub id: String,
    /// When the run began, in milliseconds since 1970.
    pub created_ms: u64,
    pub goal: String,
    /// `in_progress` until the run ends, `incomplete` if it was interrupted, `damaged` if nothing of it can be read.
    pub status: Status,
    #[serde(serialize_with = "name_or_empty")]
    pub strategy: Option<StrategyName>,
    pub strategy_why: Option<StrategyWhy>,
    /// The answer, or as much of it as there is so far.
    pub answer: String,
    /// What the answer lacks.
    pub missing: Vec<String>,
    /// The parts of the answer that nothing has checked.
    pub unchecked: Vec<String>,
    /// What the user has to do, while the run is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_action: Option<RequiredAction>,
    #[serde(serialize_with = "names")]
    pub inputs: Vec<InputInfo>,
    /// The plan that was accepted, if there was one.
    pub plan: Option<Plan>,
    /// Tasks and the planner's own calls (`plan`, `synthesis`), in the order in which they were added.
    pub tasks: Vec<TaskState>,
    /// Where each task stands in `tasks`.
    #[serde(skip)]
    places: HashMap<String, usize>,
    /// The run's cost, from its last event.
    pub usage: Option<RunUsage>,
    /// What is damaged in the record of the run; also in `missing`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// Time of the last event, in milliseconds since the run began.
    pub wall_ms: u64,
    /// Number of the last event.
    pub last_seq: u64,
    /// The settings of the request.
    #[serde(skip)]
    pub asked: Asked,
    #[serde(skip)]
    pub band: Option<BandInfo>,
    /// Where long inputs are cut.
    #[serde(skip)]
    pub splits: Vec<Split>,
    /// New texts of inputs whose files have changed, by the index of the input.
    #[serde(skip)]
    pub texts: BTreeMap<usize, String>,
    /// Why the run is being stopped.
    #[serde(skip)]
    pub stopped: Option<Stopped>,
    /// Budgets that were reached and don't stop the run, by their names, with their limits.
    #[serde(skip)]
    pub budgets_reached: Vec<(String, f64)>,
    /// What the run had used when its present budget began.
    #[serde(skip)]
    pub budget_from: Used,
    /// What was spent on tasks that the run has forgotten.
    #[serde(skip)]
    forgotten: Forgotten,
    /// The times that the planner was asked again, in order.
    #[serde(skip)]
    pub replans: Vec<Replan>,
    /// Answers of the user to questions of the run, each with its question.
    #[serde(skip)]
    pub answers: Vec<(String, String)>,
    /// How far the approval of the plan is.
    #[serde(skip)]
    pub approval: Approval,
    /// The result, since the run has ended.
    #[serde(skip)]
    pub outcome: Option<Box<Outcome>>,
    /// The run has ended, and its result can't be read any more.
    #[serde(skip)]
    lost_outcome: bool,
}

/// Why and by which limit a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stopped {
    pub reason: StopReason,
    /// The limit that was reached, in tokens or seconds; 0 if the user stopped the run.
    pub limit: f64,
}

/// What a run has used of its budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens that were generated, and those of prompts that were not in the cache.
    pub tokens: u64,
    /// Time in which a process worked on it.
    pub ms: u64,
    /// Tasks of the plan that a model has begun.
    pub tasks: u64,
}

/// The state of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskState {
    pub id: String,
    pub status: Status,
    /// The worker of the last attempt, or else the one that gets the task first.
    pub worker: String,
    /// The model of the last attempt.
    pub model: String,
    /// The accepted result, or else the text of the last attempt.
    pub output: String,
    /// All attempts, in order.
    pub attempts: Vec<Attempt>,
    /// What the task asked, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// Number of questions that it had asked without an answer when it was begun anew. Their names are not used again.
    #[serde(skip)]
    pub questions_withdrawn: usize,
    /// Start of the first attempt, in milliseconds since the run began.
    pub started_ms: Option<u64>,
    /// End of the task, in milliseconds since the run began.
    pub finished_ms: Option<u64>,
    /// Why there is no accepted result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tokens of all attempts.
    #[serde(skip)]
    pub usage: TokenUsage,
    /// Whether the result was cut off at its token limit.
    #[serde(skip)]
    pub cut: bool,
    /// Whether every task that it needs has ended.
    #[serde(skip)]
    pub ready: bool,
    /// Attempts before the run was resumed, which the ladder does not count.
    #[serde(skip)]
    pub earlier_attempts: usize,
    /// Attempts that were cut short when the run was stopped, and made again under their numbers.
    #[serde(skip)]
    pub abandoned: Vec<Attempt>,
    /// What the task is. Records of earlier versions don't say for the planner's calls.
    #[serde(skip)]
    pub task: Task,
}

/// One attempt at a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    pub worker: String,
    pub model: String,
    /// The prompt after the chat template.
    pub prompt: String,
    /// Name and version of the template of the prompt, such as `map.plan@1`, if it was made from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_template: Option<String>,
    /// Temperature, seed, token limit and schema.
    pub sampling: Value,
    /// What the model returned, before it was checked.
    pub output: String,
    /// The finished parts of the reply while the call runs, as [`Task::partial_depth`] asks for them.
    #[serde(skip)]
    pub partial: String,
    /// Why the attempt failed, if it did.
    pub error: Option<String>,
    pub usage: TokenUsage,
    /// Place on the task's ladder.
    #[serde(skip)]
    pub rung: usize,
    /// Milliseconds to wait before the call.
    #[serde(skip)]
    pub wait_ms: u64,
    /// How the call ended; `None` while it runs.
    #[serde(skip)]
    pub end: Option<CallEnd>,
    /// Engine steps of the call, and the sequences in them summed over steps.
    #[serde(skip)]
    pub steps: [u64; 2],
    /// What was decided about the attempt, if it was not accepted.
    #[serde(skip)]
    pub failure: Option<Failure>,
}

/// Why an attempt was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub class: FailureClass,
    /// What to use of the reply if no later attempt is better.
    pub kept: Option<String>,
    /// Whether `kept` may be right.
    pub doubtful: bool,
}

impl Attempt {
    /// Whether the reply was cut off at its token limit.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.end == Some(CallEnd::Reply(Finish::Length))
    }

    /// Most tokens that the reply was allowed, if that is recorded.
    pub(crate) fn tokens_max(&self) -> Option<u32> {
        self.sampling["tokens_max"].as_u64().map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX))
    }
}

impl TaskState {
    pub(super) fn new(task: Task) -> Self {
        Self {
            id: task.id.clone(),
            status: Status::Queued,
            worker: task.worker.clone(),
            model: String::new(),
            output: String::new(),
            attempts: Vec::new(),
            questions: Vec::new(),
            questions_withdrawn: 0,
            started_ms: None,
            finished_ms: None,
            error: None,
            usage: TokenUsage::default(),
            cut: false,
            ready: false,
            earlier_attempts: 0,
            abandoned: Vec::new(),
            task,
        }
    }

    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self.status, Status::Queued | Status::InProgress | Status::RequiresAction)
    }

    /// The result to use, if one was accepted.
    #[must_use]
    pub fn accepted(&self) -> Option<&str> {
        (self.status == Status::Completed).then_some(self.output.as_str())
    }

    /// The number of tokens at which a result was cut off.
    pub(crate) fn cut_at(&self) -> u64 {
        let cut = self.attempts.iter().rfind(|attempt| attempt.is_cut());
        cut.or(self.attempts.last()).map_or(0, |attempt| attempt.usage.completion_tokens)
    }

    /// Attempts that count, which are those since the run was last resumed.
    #[must_use]
    pub fn attempts_now(&self) -> &[Attempt] {
        &self.attempts[self.earlier_attempts.min(self.attempts.len())..]
    }

    /// The attempt that is being made.
    #[must_use]
    pub fn running(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.end.is_none() && self.status == Status::InProgress)
    }

    /// Makes the task one that is still to be done. With `anew`, what it works on changes, so no attempt counts any more.
    fn reset(&mut self, anew: bool) {
        // An attempt that was cut short is made again, under its number and so with its seed.
        let cut_short = |last: &mut Attempt| matches!(last.end, None | Some(CallEnd::Stopped));
        while let Some(attempt) = self.attempts.pop_if(cut_short) {
            self.abandoned.push(attempt);
        }
        if anew || (self.status != Status::InProgress && self.status != Status::Cancelled) {
            self.earlier_attempts = self.attempts.len();
        }
        if anew {
            let asked = self.questions.len();
            self.questions.retain(|question| question.answer.is_some());
            self.questions_withdrawn += asked - self.questions.len();
        }
        self.status = match self.attempts_now().is_empty() {
            _ if self.open_question().is_some() => Status::RequiresAction,
            true => Status::Queued,
            false => Status::InProgress,
        };
        self.ready = self.status != Status::Queued;
        self.output = self.attempts_now().last().map_or_else(String::new, |last| last.output.clone());
        (self.error, self.finished_ms, self.cut) = (None, None, false);
    }

    fn attempt(&mut self, number: u32) -> &mut Attempt {
        let at = self.attempts.iter().position(|one| one.attempt == number).unwrap_or_else(|| {
            self.attempts.push(Attempt { attempt: number, ..Attempt::default() });
            self.attempts.len() - 1
        });
        &mut self.attempts[at]
    }
}

impl RunState {
    #[must_use]
    pub fn new(id: &str, created_ms: u64) -> Self {
        Self {
            id: id.to_owned(),
            created_ms,
            goal: String::new(),
            status: Status::InProgress,
            strategy: None,
            strategy_why: None,
            answer: String::new(),
            missing: Vec::new(),
            unchecked: Vec::new(),
            inputs: Vec::new(),
            plan: None,
            tasks: Vec::new(),
            places: HashMap::new(),
            usage: None,
            damaged: Vec::new(),
            wall_ms: 0,
            last_seq: 0,
            asked: Asked::default(),
            band: None,
            splits: Vec::new(),
            texts: BTreeMap::new(),
            stopped: None,
            budgets_reached: Vec::new(),
            budget_from: Used::default(),
            forgotten: Forgotten::default(),
            replans: Vec::new(),
            answers: Vec::new(),
            approval: Approval::default(),
            required_action: None,
            outcome: None,
            lost_outcome: false,
        }
    }

    #[must_use]
    pub fn task(&self, id: &str) -> Option<&TaskState> {
        self.tasks.get(*self.places.get(id)?)
    }

    fn task_mut(&mut self, id: &str) -> Option<&mut TaskState> {
        self.tasks.get_mut(*self.places.get(id)?)
    }

    /// The parts of an input of so many bytes for a worker, if they are known. A text is never longer in tokens than in
    /// bytes, so a short one is not measured.
    pub(crate) fn parts_for(
        &self,
        input: usize,
        worker: &str,
        tokens_max: usize,
        bytes: usize,
    ) -> Option<Vec<Range<usize>>> {
        if bytes <= tokens_max {
            return Some(std::iter::once(0..bytes).collect());
        }
        let is_asked =
            |split: &&Split| split.input == input && split.worker == worker && split.tokens_max == tokens_max;
        self.splits.iter().find(is_asked).map(|split| split.parts.clone())
    }

    /// The tasks of the plan, without the planner's own calls.
    pub fn plan_tasks(&self) -> impl Iterator<Item = &TaskState> {
        self.tasks.iter().filter(|task| !is_planners(task))
    }

    /// The planner's own calls.
    pub fn planner_tasks(&self) -> impl Iterator<Item = &TaskState> {
        self.tasks.iter().filter(|task| is_planners(task))
    }

    /// The accepted result of a task.
    #[must_use]
    pub fn result(&self, task: &str) -> Option<&str> {
        self.task(task)?.accepted()
    }

    /// Whether the run has ended since it was last taken up.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.outcome.is_some() || self.lost_outcome
    }

    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Takes one event into the state.
    pub fn apply(&mut self, seq: u64, ms: u64, event: &EventKind) {
        (self.last_seq, self.wall_ms) = (seq, ms);
        match event {
            EventKind::RunStarted { goal, inputs, asked, band, .. } => {
                self.goal.clone_from(goal);
                self.inputs.clone_from(inputs);
                self.asked.clone_from(asked);
                self.band.clone_from(band);
            }
            EventKind::StrategyChosen { strategy, why } => {
                self.strategy = Some(*strategy);
                self.strategy_why = Some(why.clone());
            }
            EventKind::InputsSplit { splits } => self.splits.extend(splits.iter().cloned()),
            EventKind::PlanAccepted { plan } => self.accept(plan),
            EventKind::TasksAdded { tasks } => self.extend(tasks),
            // Text of an answer was recorded by earlier versions only. What was rejected is not part of it.
            EventKind::AnswerDelta { text } => self.answer.push_str(text),
            EventKind::BudgetReached { which, limit } => self.reach(which, *limit),
            EventKind::RunCancelled => {
                self.stopped.get_or_insert(Stopped { reason: StopReason::Interrupted, limit: 0.0 });
            }
            EventKind::RunResumed { answer, band, changed } => self.resume(answer.as_ref(), band, changed),
            EventKind::RunForked { run, set, band, .. } => self.fork(run, set, band),
            EventKind::RunFinished { outcome } => {
                self.status = outcome.status;
                self.strategy = Some(outcome.strategy);
                self.answer.clone_from(&outcome.answer);
                self.usage = Some(outcome.usage);
                self.missing.clone_from(&outcome.missing);
                self.unchecked.clone_from(&outcome.unchecked);
                self.required_action = outcome.required_action();
                self.outcome = Some(outcome.clone());
            }
            EventKind::PlanProposed { slots } => self.approval.proposed = Some(slots.clone()),
            EventKind::ReplanStarted { why, kept, dropped } => self.replan(why, kept, dropped),
            EventKind::TaskProgress { .. } => {}
            of_task => self.apply_to_task(ms, of_task),
        }
    }

    fn reach(&mut self, which: &str, limit: f64) {
        let reason = match which {
            limits::TASKS | limits::DEPTH => return self.budgets_reached.push((which.to_owned(), limit)),
            "tokens" => StopReason::TokensSpent,
            _ => StopReason::TimeSpent,
        };
        self.stopped.get_or_insert(Stopped { reason, limit });
    }

    /// Tasks that the run already has stay as they are.
    fn accept(&mut self, plan: &Plan) {
        for task in plan.tasks() {
            self.add(task);
        }
        self.plan = Some(plan.clone());
    }

    fn extend(&mut self, tasks: &[Task]) {
        tasks.iter().for_each(|task| self.add(task));
        if tasks.iter().any(|task| !task.job.is_planners()) {
            self.plan = Some(Plan::of(self.plan_tasks().map(|task| task.task.clone()).collect()));
        }
    }

    fn add(&mut self, task: &Task) {
        if self.task(&task.id).is_none() {
            self.places.insert(task.id.clone(), self.tasks.len());
            self.tasks.push(TaskState::new(task.clone()));
        }
    }

    fn apply_to_task(&mut self, ms: u64, event: &EventKind) {
        let Some(id) = event.task() else { return };
        if self.task(id).is_none() {
            // Earlier versions did not record the planner's calls before they began.
            self.add(&Task { id: id.to_owned(), ..Task::default() });
        }
        if matches!(event, EventKind::TaskRetried { .. }) {
            self.answer.clear();
        }
        if let Some(task) = self.task_mut(id) {
            task.apply(ms, event);
        }
    }
}

fn is_planners(task: &TaskState) -> bool {
    // By the id as well: earlier versions did not record the job.
    task.task.job.is_planners() || matches!(task.id.as_str(), "plan" | "synthesis")
}

impl TaskState {
    fn apply(&mut self, ms: u64, event: &EventKind) {
        match event {
            EventKind::TaskReady { .. } => self.ready = true,
            EventKind::TaskStarted { attempt, worker, model, rung, .. } => {
                self.begin(ms, *attempt, (worker, model), *rung, 0);
            }
            EventKind::TaskRetried { attempt, worker, model, rung, wait_ms, .. } => {
                self.begin(ms, *attempt, (worker, model), *rung, *wait_ms);
            }
            EventKind::TaskPartial { attempt, output, .. } => self.attempt(*attempt).partial.push_str(output),
            EventKind::TaskOutput {
                attempt,
                prompt,
                prompt_template,
                sampling,
                output,
                usage,
                end,
                steps,
                ..
            } => {
                self.usage.add(*usage);
                // The call of a task that was dropped gives no result.
                if !self.has_ended() {
                    self.output.clone_from(output);
                }
                let attempt = self.attempt(*attempt);
                attempt.prompt.clone_from(prompt);
                attempt.prompt_template.clone_from(prompt_template);
                attempt.sampling.clone_from(sampling);
                attempt.output.clone_from(output);
                (attempt.usage, attempt.end, attempt.steps) = (*usage, Some(end.clone()), *steps);
            }
            EventKind::TaskAsked { attempt, question, .. } => self.ask(*attempt, question),
            EventKind::TaskAnswered { answer, .. } => self.take_answer(answer),
            EventKind::TaskFailed { attempt, class, error, kept, doubtful, .. } => {
                let attempt = self.attempt(*attempt);
                attempt.error = Some(error.clone());
                attempt.failure = Some(Failure { class: *class, kept: kept.clone(), doubtful: *doubtful });
            }
            EventKind::TaskFinished { status, output, error, cut, .. } => {
                self.status = *status;
                self.output.clone_from(output);
                self.error.clone_from(error);
                self.cut = *cut;
                self.finished_ms = Some(ms);
            }
            _ => {}
        }
    }

    fn begin(&mut self, ms: u64, attempt: u32, (worker, model): (&str, &str), rung: usize, wait_ms: u64) {
        self.status = Status::InProgress;
        self.ready = true;
        worker.clone_into(&mut self.worker);
        model.clone_into(&mut self.model);
        self.started_ms.get_or_insert(ms);
        let attempt = self.attempt(attempt);
        worker.clone_into(&mut attempt.worker);
        model.clone_into(&mut attempt.model);
        (attempt.rung, attempt.wait_ms) = (rung, wait_ms);
    }
}

fn name_or_empty<S: Serializer>(strategy: &Option<StrategyName>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(strategy.map_or("", StrategyName::name))
}

fn names<S: Serializer>(inputs: &[InputInfo], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(inputs.iter().map(|input| &input.name))
}

#[cfg(test)]
mod tests;
