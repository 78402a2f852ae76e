//! Runs the tasks of a plan. A task starts when the tasks it needs have ended. The models on its ladder try it one
//! after another until a result is accepted. If none is, the task fails with the reason and the others continue.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::attempt::{Attempt, AttemptError, Context, Label, attempt};
use super::band::{Call, Finish, Message, Reply, Role};
use super::cancel::StopReason;
use super::event::{EventKind, FailureClass};
use super::outcome::{Status, TaskReport, TokenUsage};
use super::plan::{Plan, Task};
use super::registry::Player;

/// Most calls of one run in the engine at a time: more than a batch holds, fewer than its queue.
const IN_FLIGHT_MAX: usize = 64;

/// Temperature where something other than the most likely answer is wanted, as in ballots and retries of a prompt.
const VARIED_TEMPERATURE: f32 = 0.6;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The reply is good. Holds the text to use from now on.
    Accept(String),
    /// The reply may be wrong. The last model on the ladder decides; without a better answer from it, this one is used.
    Doubt(String),
    /// The reply is wrong. Holds the reason, in words that a model can act on.
    Reject(String),
    /// The reply is wrong in a way that an explanation would not correct. The same prompt is tried again
    /// at a higher temperature.
    Redraw {
        why: String,
        /// What to use if no later attempt is better.
        kept: Option<String>,
    },
}

pub type Check = Arc<dyn Fn(&Reply) -> Verdict + Send + Sync>;

/// A task for a model.
pub struct ModelWork {
    pub messages: Vec<Message>,
    /// JSON schema of the answer, if any.
    pub schema: Option<serde_json::Value>,
    /// The models that try the task, in order.
    pub ladder: Vec<Player>,
    pub check: Check,
    /// Sampling of the first attempt.
    pub draw: Draw,
    /// Whether new text is streamed as part of the answer.
    pub streams_answer: bool,
}

/// How tokens are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// At temperature 0.
    MostLikely,
    /// At a higher temperature, with a different seed for each number.
    Varied(u64),
}

/// The work of a task, which is known once the tasks it needs have ended.
pub enum Work {
    Model(ModelWork),
    /// Done by a rule, such as the calculator. The result is already there.
    Rule {
        worker: String,
        result: Result<String, String>,
    },
}

/// Accepted results of ended tasks by task id; `None` where nothing was accepted.
pub type Results = HashMap<String, Option<String>>;

/// Makes the work of a task from the results of the tasks it needs.
pub type Build = Box<dyn FnOnce(&Results) -> Work + Send>;

/// A task that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    pub report: TaskReport,
    /// The result to use, if one was accepted.
    pub accepted: Option<String>,
    /// Whether the reply used was cut off at its token limit.
    pub cut: bool,
}

/// Runs a plan and returns when every task has ended. `builds` has one entry for each task, in order.
pub async fn dispatch(context: &Context, plan: &Plan, builds: Vec<Build>) -> Vec<Done> {
    assert_eq!(plan.tasks().len(), builds.len(), "a task without its work");
    let paths = plan.critical_path_tokens();
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut waiting: Vec<(usize, Build)> = builds.into_iter().enumerate().collect();
    let mut running: JoinSet<(usize, Done)> = JoinSet::new();
    let mut done: Vec<Option<Done>> = plan.tasks().iter().map(|_| None).collect();
    let mut results = Results::new();
    loop {
        let ready = |task: &Task| task.needs.iter().all(|need| results.contains_key(need));
        let (now, later): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(at, _)| context.cancel.reason().is_none() && ready(&plan.tasks()[*at]));
        waiting = later;
        for (at, build) in now {
            let task = plan.tasks()[at].clone();
            context.send(EventKind::TaskReady { task: task.id.clone() });
            let work = build(&results);
            let (context, slots, path) = (context.clone(), Arc::clone(&slots), paths[at]);
            running.spawn(async move {
                let _slot = slots.acquire().await;
                (at, do_task(&context, &task, work, path).await)
            });
        }
        let Some(joined) = running.join_next().await else { break };
        let (at, ended) =
            joined.expect("a task's own code does not panic: models are walled off in attempts");
        results.insert(plan.tasks()[at].id.clone(), ended.accepted.clone());
        done[at] = Some(ended);
    }
    let ended = done.into_iter().zip(plan.tasks());
    ended.map(|(done, task)| done.unwrap_or_else(|| never_started(context, task))).collect()
}

fn never_started(context: &Context, task: &Task) -> Done {
    let now_ms = context.now_ms();
    let report = TaskReport {
        id: task.id.clone(),
        worker: task.worker.clone(),
        model: String::new(),
        needs: task.needs.clone(),
        status: Status::Cancelled,
        attempts: 0,
        usage: TokenUsage::default(),
        started_ms: now_ms,
        finished_ms: now_ms,
        output: String::new(),
        error: Some(format!("{} before it began", stopped_because(context))),
    };
    finish(context, report, None)
}

fn stopped_because(context: &Context) -> &'static str {
    context.cancel.reason().map_or("the run was stopped", StopReason::told)
}

/// Runs one task, from its first attempt to its end.
pub async fn do_task(context: &Context, task: &Task, work: Work, critical_path_tokens: u32) -> Done {
    match work {
        Work::Model(work) => Climb::new(context, task, critical_path_tokens).climb(work).await,
        Work::Rule { worker, result } => {
            let mut report = Climb::new(context, task, 0).report;
            report.attempts = 1;
            report.worker = worker;
            report.model = "rule".to_owned();
            context.send(EventKind::TaskStarted {
                task: task.id.clone(),
                attempt: 1,
                worker: report.worker.clone(),
                model: report.model.clone(),
            });
            end(context, report, result)
        }
    }
}

/// Completes a report with the accepted result, or with the reason why there is none.
fn end(context: &Context, mut report: TaskReport, result: Result<String, String>) -> Done {
    match result {
        Ok(output) => {
            report.status = Status::Completed;
            report.output.clone_from(&output);
            finish(context, report, Some(output))
        }
        Err(error) => {
            report.status = Status::Failed;
            report.error = Some(error);
            finish(context, report, None)
        }
    }
}

fn finish(context: &Context, mut report: TaskReport, accepted: Option<String>) -> Done {
    report.finished_ms = context.now_ms();
    context.send(EventKind::TaskFinished {
        task: report.id.clone(),
        status: report.status,
        attempts: report.attempts,
        output: report.output.clone(),
        usage: report.usage,
    });
    Done { report, accepted, cut: false }
}

/// A task while the models on its ladder try it.
struct Climb<'a> {
    context: &'a Context,
    task: &'a Task,
    critical_path_tokens: u32,
    report: TaskReport,
    /// Why the previous attempt failed.
    error: String,
    /// The last doubtful result.
    doubtful: Option<String>,
    /// What can be used of a [`Verdict::Redraw`] reply, and whether that reply was cut off at its limit.
    kept: Option<(String, bool)>,
    /// Whether the last reply was cut off at its limit.
    cut: bool,
    /// Tokens the next attempt may generate.
    tokens_max: u32,
}

/// What to do after an attempt.
enum Next {
    Accept(String),
    /// Try the next model on the ladder. If it is the same model, it is shown this reply and the error.
    Climb(Option<Reply>),
    Stop,
}

impl<'a> Climb<'a> {
    fn new(context: &'a Context, task: &'a Task, critical_path_tokens: u32) -> Self {
        let report = TaskReport {
            id: task.id.clone(),
            worker: task.worker.clone(),
            model: String::new(),
            needs: task.needs.clone(),
            status: Status::InProgress,
            attempts: 0,
            usage: TokenUsage::default(),
            started_ms: context.now_ms(),
            finished_ms: 0,
            output: String::new(),
            error: None,
        };
        Self {
            context,
            task,
            critical_path_tokens,
            report,
            error: String::new(),
            doubtful: None,
            kept: None,
            cut: false,
            tokens_max: task.tokens_max,
        }
    }

    async fn climb(mut self, work: ModelWork) -> Done {
        let top = work.ladder.last().map(|player| player.llm.name().to_owned()).unwrap_or_default();
        let mut before: Option<(String, Reply)> = None;
        for player in &work.ladder {
            let is_top = player.llm.name() == top;
            // A doubtful result is not shown to anyone: the last model on the ladder forms its own opinion.
            if self.doubtful.is_some() && !is_top {
                continue;
            }
            let shown =
                before.take().filter(|(name, _)| name == player.llm.name() && self.doubtful.is_none());
            let call = self.call(&work, shown.map(|(_, reply)| reply));
            match self.try_once(&work, player, call, is_top).await {
                Next::Accept(output) => {
                    return Done { cut: self.cut, ..end(self.context, self.report, Ok(output)) };
                }
                Next::Climb(reply) => before = reply.map(|reply| (player.llm.name().to_owned(), reply)),
                Next::Stop => return self.stopped(),
            }
        }
        // A doubtful result stands if no better model contradicted it.
        let (result, cut) = match (self.doubtful, self.kept) {
            (Some(output), _) => (Ok(output), false),
            (None, Some((output, cut))) => (Ok(output), cut),
            (None, None) => (Err(self.error), false),
        };
        Done { cut, ..end(self.context, self.report, result) }
    }

    /// The next call. `shown` is a rejected reply of the same model, which is appended to the prompt with the reason.
    fn call(&self, work: &ModelWork, shown: Option<Reply>) -> Call {
        let mut messages = work.messages.clone();
        let again = shown.is_some();
        if let Some(reply) = shown {
            messages.push(Message::new(Role::Assistant, reply.text));
            let error = &self.error;
            messages.push(Message::new(
                Role::User,
                format!("That was not accepted: {error}. Answer again, correctly."),
            ));
        }
        // At temperature 0 a text goes wrong in the same way again. JSON is corrected by the reason that is shown.
        let repeats = self.report.attempts > 0 && (!again || work.schema.is_none());
        let (varied, ballot) = match work.draw {
            Draw::MostLikely => (repeats, 0),
            Draw::Varied(ballot) => (true, ballot),
        };
        Call {
            messages,
            schema: work.schema.clone(),
            tokens_max: self.tokens_max,
            temperature: if varied { VARIED_TEMPERATURE } else { 0.0 },
            seed: self.context.seed.wrapping_add(u64::from(self.report.attempts)).wrapping_add(ballot << 8),
            run: self.context.run,
            critical_path_tokens: self.critical_path_tokens,
            deadline: None,
        }
    }

    async fn try_once(&mut self, work: &ModelWork, player: &Player, call: Call, is_top: bool) -> Next {
        self.announce(player);
        let label = Label { task: self.task.id.clone(), streams_answer: work.streams_answer };
        let sampling = json!({
            "temperature": call.temperature, "seed": call.seed, "tokens_max": call.tokens_max, "schema": call.schema,
        });
        let tried = attempt(self.context, label, player, call).await;
        self.count(tried.usage);
        self.show(player, sampling, &tried);
        match tried.result {
            Ok(reply) => self.judge(&work.check, reply, is_top),
            Err(AttemptError::Stopped { partial }) => {
                self.report.output = partial;
                Next::Stop
            }
            Err(AttemptError::Failed { class, message, partial }) => {
                self.report.output = partial;
                self.fail(class, message);
                Next::Climb(None)
            }
        }
    }

    fn announce(&mut self, player: &Player) {
        self.report.attempts += 1;
        self.report.worker.clone_from(&player.worker);
        player.llm.name().clone_into(&mut self.report.model);
        let (task, attempt) = (self.task.id.clone(), self.report.attempts);
        let (worker, model) = (self.report.worker.clone(), self.report.model.clone());
        self.context.send(if attempt == 1 {
            EventKind::TaskStarted { task, attempt, worker, model }
        } else {
            EventKind::TaskRetried { task, attempt, worker, model }
        });
    }

    fn count(&mut self, usage: TokenUsage) {
        self.report.usage.prompt_tokens += usage.prompt_tokens;
        self.report.usage.completion_tokens += usage.completion_tokens;
        self.report.usage.prompt_tokens_details.cached_tokens += usage.prompt_tokens_details.cached_tokens;
    }

    fn show(&self, player: &Player, sampling: serde_json::Value, tried: &Attempt) {
        let output = match &tried.result {
            Ok(reply) => reply.text.clone(),
            Err(AttemptError::Failed { partial, .. } | AttemptError::Stopped { partial }) => partial.clone(),
        };
        self.context.send(EventKind::TaskOutput {
            task: self.task.id.clone(),
            attempt: self.report.attempts,
            worker: player.worker.clone(),
            model: player.llm.name().to_owned(),
            prompt: tried.prompt.clone(),
            sampling,
            output,
            usage: tried.usage,
        });
    }

    fn judge(&mut self, check: &Check, reply: Reply, is_top: bool) -> Next {
        self.report.output.clone_from(&reply.text);
        self.cut = reply.finish == Finish::Length;
        let verdict = match reply.finish {
            Finish::Deadline => Verdict::Reject("the time for the answer was over".to_owned()),
            Finish::Stop | Finish::Length => check(&reply),
        };
        match verdict {
            Verdict::Accept(output) => {
                // If the check removed a loop at the end of the reply, the limit cut off nothing else.
                self.cut &= output.trim() == reply.text.trim();
                Next::Accept(output)
            }
            Verdict::Doubt(output) if is_top => Next::Accept(output),
            Verdict::Doubt(output) => {
                self.fail(FailureClass::Content, "a second opinion is needed".to_owned());
                self.doubtful = Some(output);
                Next::Climb(None)
            }
            Verdict::Reject(error) => {
                self.fail(FailureClass::Content, error);
                Next::Climb(Some(reply))
            }
            Verdict::Redraw { why, kept } => {
                self.keep(kept);
                self.fail(FailureClass::Content, why);
                Next::Climb(None)
            }
        }
    }

    /// Keeps what can be used of a reply that is tried again. The first one is the most likely, but of two that were
    /// cut off the later one had more room. After a cut-off reply the token limit is doubled, once.
    fn keep(&mut self, kept: Option<String>) {
        let earlier = self.kept.as_ref().is_some_and(|(_, cut)| !cut || !self.cut);
        if let Some(output) = kept.filter(|_| !earlier) {
            self.kept = Some((output, self.cut));
        }
        if self.cut {
            self.tokens_max = self.task.tokens_max.saturating_mul(2);
        }
    }

    fn fail(&mut self, class: FailureClass, error: String) {
        self.context.send(EventKind::TaskFailed {
            task: self.task.id.clone(),
            attempt: self.report.attempts,
            class,
            error: error.clone(),
        });
        self.error = error;
    }

    fn stopped(mut self) -> Done {
        self.report.status = Status::Cancelled;
        self.report.error = Some(stopped_because(self.context).to_owned());
        finish(self.context, self.report, None)
    }
}
