//! Runs a trace: submits each task when the tasks it needs have ended, and records the times. It does the same with an
//! engine in this process and with servers. How the tasks were planned, and what computes them, is not known here.

mod from_run;
mod local;
mod report;
mod servers;
mod trace;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bandmaster_client::Usage;
use bandmaster_orchestrator::Cancel;
use bandmaster_text::LoadedModel;

pub use self::from_run::trace_of_run;
pub use self::local::{LocalBackend, Models};
pub use self::report::{OtherSetting, Round, WorkflowReport, median_round};
pub use self::servers::ServerBackend;
use self::trace::Task;
pub use self::trace::Trace;
use crate::random::{WordSource, with_random_opening};

/// How long it may take to notice an interrupt.
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(200);

/// A workflow that did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// A task was refused, or failed.
    #[error("task {task}: {reason}")]
    Task {
        /// Its id in the trace.
        task: String,
        /// The reason given by the engine or server.
        reason: String,
    },
    /// A model of the trace could not be loaded.
    #[error("{0}")]
    Load(String),
}

/// How a trace is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceOptions {
    /// Number of copies of the trace that run at once. They share prefixes; everything after them is different.
    pub runs: usize,
    /// Whether prefixes are computed ahead and the cache is told which ones will be used.
    pub warm: bool,
    /// Seed for the random words of each run.
    pub seed: u64,
}

/// The times of a task, all since the start of all runs.
#[derive(Debug, Clone)]
pub struct TaskTimes {
    /// Index in the trace.
    pub task: usize,
    pub start: Duration,
    /// When each token arrived.
    pub tokens: Vec<Duration>,
    pub end: Duration,
    pub usage: Usage,
}

/// A task to be computed now.
#[derive(Debug, Clone, PartialEq)]
pub struct Job<'a> {
    /// Which copy of the trace.
    pub run: usize,
    /// Index in the trace.
    pub task_index: usize,
    pub task: &'a Task,
    pub prompt: Prompt,
    pub seed: u64,
    /// Tokens to be generated on the longest path from this task to the end, including its own.
    pub path_tokens: u32,
}

/// What a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A question, for the chat template.
    Question(String),
    /// Text without a template.
    Text(String),
}

/// What the plan of a run knows about the future.
#[derive(Debug, Default)]
pub struct Lookahead {
    /// Prefixes that tasks not started yet will read: role, text, and the least number of steps until then.
    pub prefixes: Vec<(String, String, u32)>,
    /// Known beginnings of the prompts of tasks whose needs are running: index, role, text.
    pub prompt_starts: Vec<(usize, String, String)>,
}

/// Computes tasks: an engine in this process, or servers.
pub trait Backend {
    /// Whether a role's model is loaded.
    fn is_ready(&self, role: &str) -> bool;
    /// Starts a task; what happens to it is sent to `events`.
    ///
    /// # Errors
    /// Why the task can't be computed.
    fn submit(&mut self, job: Job<'_>, events: EventSender) -> Result<(), String>;
    /// Adds a model that was loaded while others computed.
    fn loaded(&mut self, role: String, model: Arc<LoadedModel>);
    /// Called when the plan of a run knows something new.
    fn look_ahead(&mut self, _run: usize, _lookahead: Lookahead) {}
}

/// Events of tasks and models.
pub enum BackendEvent {
    /// New text of a task's output.
    Token {
        /// Run and task index.
        task: (usize, usize),
        at: Instant,
    },
    /// A task has ended with this output.
    Ended {
        /// Run and task index.
        task: (usize, usize),
        output: String,
        usage: Usage,
        at: Instant,
    },
    Failed {
        /// Run and task index.
        task: (usize, usize),
        reason: String,
    },
    /// A model was loaded, or failed to load.
    Loaded { role: String, model: Result<Arc<LoadedModel>, String> },
}

/// Sends the events of one task to the driver.
#[derive(Clone)]
pub struct EventSender {
    task: (usize, usize),
    sender: Sender<BackendEvent>,
}

impl EventSender {
    /// Reports a token; false if nobody listens any more.
    pub fn token(&self) -> bool {
        self.sender.send(BackendEvent::Token { task: self.task, at: Instant::now() }).is_ok()
    }

    /// Reports that the task ended.
    pub fn ended(&self, output: String, usage: Usage) {
        // If the driver no longer listens, it needs no event.
        let _ = self.sender.send(BackendEvent::Ended { task: self.task, output, usage, at: Instant::now() });
    }

    /// Reports that the task failed.
    pub fn failed(&self, reason: String) {
        let _ = self.sender.send(BackendEvent::Failed { task: self.task, reason });
    }
}

/// The result of running a trace.
#[derive(Debug)]
pub struct TraceResult {
    /// For each run, its tasks in the order in which they ended.
    pub runs: Vec<Vec<TaskTimes>>,
    pub interrupted: bool,
}

/// Loads the model of a role that loads late.
pub type LateLoader<'a> = &'a (dyn Fn(&str) -> Result<Arc<LoadedModel>, String> + Sync);

/// Runs the trace until every task has ended or `stop` is cancelled; `on_task` gets the number
/// of tasks that have ended.
///
/// # Errors
/// [`WorkflowError`] with the task.
pub fn run_trace(
    backend: &mut dyn Backend,
    late: LateLoader<'_>,
    trace: &Trace,
    options: TraceOptions,
    stop: &Cancel,
    on_task: &mut dyn FnMut(usize),
) -> Result<TraceResult, WorkflowError> {
    let (sender, received) = channel();
    let started = Instant::now();
    let finished = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (role, what) in &trace.models {
            let Some(after) = what.load_at_ms.filter(|_| !backend.is_ready(role)) else { continue };
            let sender = sender.clone();
            scope.spawn(move || {
                let due = Duration::from_millis(after);
                while started.elapsed() < due {
                    if stop.reason().is_some() || finished.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(due.saturating_sub(started.elapsed()).min(POLL_INTERVAL_MAX));
                }
                // Nobody listens if the trace has failed meanwhile.
                let _ = sender.send(BackendEvent::Loaded { role: role.clone(), model: late(role) });
            });
        }
        let mut driver = Driver::new(backend, trace, options, started, sender);
        let ended = driver.work(&received, stop, on_task);
        finished.store(true, Ordering::Relaxed);
        for run in 0..options.runs {
            driver.backend.look_ahead(run, Lookahead::default());
        }
        let interrupted = ended?;
        Ok(TraceResult { runs: driver.runs.into_iter().map(|run| run.ended).collect(), interrupted })
    })
}

struct Run {
    progress: Vec<Progress>,
    ended: Vec<TaskTimes>,
}

#[derive(Default)]
struct Progress {
    submitted: Option<Instant>,
    times: Vec<Duration>,
    /// Its text, once it has ended.
    output: Option<String>,
}

struct Driver<'a> {
    backend: &'a mut dyn Backend,
    trace: &'a Trace,
    options: TraceOptions,
    started: Instant,
    sender: Sender<BackendEvent>,
    path_tokens: Vec<u32>,
    /// Index of each task by its id.
    task_indexes: HashMap<&'a str, usize>,
    runs: Vec<Run>,
    /// Tasks whose needs have ended: when to start them, run, task index.
    due: BTreeSet<(Instant, usize, usize)>,
}

impl<'a> Driver<'a> {
    fn new(
        backend: &'a mut dyn Backend,
        trace: &'a Trace,
        options: TraceOptions,
        started: Instant,
        sender: Sender<BackendEvent>,
    ) -> Self {
        let progress = || trace.tasks.iter().map(|_| Progress::default()).collect();
        let runs = (0..options.runs).map(|_| Run { progress: progress(), ended: Vec::new() }).collect();
        let task_indexes =
            trace.tasks.iter().enumerate().map(|(task_index, task)| (task.id.as_str(), task_index)).collect();
        let (path_tokens, due) = (trace.path_tokens(), BTreeSet::new());
        Self { backend, trace, options, started, sender, path_tokens, task_indexes, runs, due }
    }

    /// Works until the trace has ended (false) or is stopped (true).
    fn work(
        &mut self,
        received: &Receiver<BackendEvent>,
        stop: &Cancel,
        on_task: &mut dyn FnMut(usize),
    ) -> Result<bool, WorkflowError> {
        let first = self.trace.tasks.iter().enumerate().filter(|(_, task)| task.needs.is_empty());
        let first: Vec<_> = first.map(|(task_index, task)| (task_index, task.think_ms)).collect();
        for run in 0..self.runs.len() {
            let due = |&(task_index, think_ms): &(usize, u64)| {
                (self.started + Duration::from_millis(think_ms), run, task_index)
            };
            self.due.extend(first.iter().map(due));
            self.look_ahead(run);
        }
        while self.runs.iter().any(|run| run.ended.len() < self.trace.tasks.len()) {
            if stop.reason().is_some() {
                return Ok(true);
            }
            self.submit_due()?;
            let next = self.due.iter().map(|&(at, ..)| at).find(|&at| at > Instant::now());
            let wait = next.map_or(POLL_INTERVAL_MAX, |at| at.saturating_duration_since(Instant::now()));
            match received.recv_timeout(wait.min(POLL_INTERVAL_MAX)) {
                Ok(received) => self.handle(received, on_task)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is kept here"),
            }
        }
        Ok(false)
    }

    fn submit_due(&mut self) -> Result<(), WorkflowError> {
        let now = Instant::now();
        let ready = self.due.iter().take_while(|&&(at, ..)| at <= now).copied();
        let ready: Vec<_> =
            ready.filter(|&(_, _, task)| self.backend.is_ready(&self.trace.tasks[task].model)).collect();
        for (at, run, task) in ready {
            self.due.remove(&(at, run, task));
            self.submit(run, task)?;
            self.look_ahead(run);
        }
        Ok(())
    }

    fn submit(&mut self, run: usize, task_index: usize) -> Result<(), WorkflowError> {
        let task = &self.trace.tasks[task_index];
        let seed = mix(&[self.options.seed, run as u64, task_index as u64]);
        // All tasks of a run get the same opening words, so that they share them as when they were recorded; other runs
        // get others.
        let opening = mix(&[self.options.seed, run as u64]);
        let prompt = match (&task.prompt, &task.text) {
            (Some(question), _) => Prompt::Question(with_random_opening(question, opening)),
            (None, Some(text)) => Prompt::Text(with_random_opening(text, opening)),
            (None, None) => Prompt::Text(
                self.prompt_start(run, task_index) + &WordSource::new(seed).take(task.prompt_tokens),
            ),
        };
        let job = Job { run, task_index, task, prompt, seed, path_tokens: self.path_tokens[task_index] };
        let events = EventSender { task: (run, task_index), sender: self.sender.clone() };
        self.runs[run].progress[task_index].submitted = Some(Instant::now());
        let submitted = self.backend.submit(job, events);
        submitted.map_err(|reason| WorkflowError::Task { task: task.id.clone(), reason })
    }

    fn handle(
        &mut self,
        received: BackendEvent,
        on_task: &mut dyn FnMut(usize),
    ) -> Result<(), WorkflowError> {
        match received {
            BackendEvent::Token { task: (run, task_index), at } => {
                self.runs[run].progress[task_index].times.push(at - self.started);
            }
            BackendEvent::Ended { task: (run, task_index), output, usage, at } => {
                self.end(run, task_index, output, usage, at);
                on_task(self.runs.iter().map(|run| run.ended.len()).sum());
            }
            BackendEvent::Failed { task: (_, task_index), reason } => {
                return Err(WorkflowError::Task { task: self.trace.tasks[task_index].id.clone(), reason });
            }
            BackendEvent::Loaded { role, model } => {
                self.backend.loaded(role, model.map_err(WorkflowError::Load)?);
            }
        }
        Ok(())
    }

    /// Records a task's end, and schedules the tasks that waited only for it.
    fn end(&mut self, run: usize, ended: usize, output: String, usage: Usage, at: Instant) {
        let progress = &mut self.runs[run].progress[ended];
        progress.output = Some(output);
        let start = progress.submitted.map_or(Duration::ZERO, |at| at - self.started);
        let (tokens, end) = (std::mem::take(&mut progress.times), at - self.started);
        self.runs[run].ended.push(TaskTimes { task: ended, start, tokens, end, usage });
        let id = &self.trace.tasks[ended].id;
        for (task_index, task) in
            self.trace.tasks.iter().enumerate().filter(|(_, task)| task.needs.contains(id))
        {
            let done =
                |need: &String| self.runs[run].progress[self.task_indexes[need.as_str()]].output.is_some();
            if task.needs.iter().all(done) {
                self.due.insert((at + Duration::from_millis(task.think_ms), run, task_index));
            }
        }
        self.look_ahead(run);
    }

    /// Reports what the plan knows: which prefixes will be used in how many steps, and which beginnings of
    /// prompts can be computed now.
    fn look_ahead(&mut self, run: usize) {
        if !self.options.warm {
            return;
        }
        let mut lookahead = Lookahead::default();
        let mut steps: HashMap<(&str, &trace::Prefix), u32> = HashMap::new();
        let mut steps_until = vec![0; self.trace.tasks.len()];
        for (task_index, task) in self.trace.tasks.iter().enumerate() {
            let has_started = |task_index: usize| self.runs[run].progress[task_index].submitted.is_some();
            if has_started(task_index) {
                continue;
            }
            let needs = || task.needs.iter().map(|need| self.task_indexes[need.as_str()]);
            steps_until[task_index] = 1 + needs().map(|need| steps_until[need]).max().unwrap_or(0);
            if let Some(prefix) = &task.prefix {
                let steps = steps.entry((&task.model, prefix)).or_insert(u32::MAX);
                *steps = (*steps).min(steps_until[task_index] - 1);
            }
            if needs().all(has_started) && task.has_random_prompt() {
                lookahead.prompt_starts.push((
                    task_index,
                    task.model.clone(),
                    self.prompt_start(run, task_index),
                ));
            }
        }
        let prefixes = steps.into_iter();
        lookahead.prefixes =
            prefixes.map(|((role, prefix), steps)| (role.into(), self.prefix_text(prefix), steps)).collect();
        self.backend.look_ahead(run, lookahead);
    }

    /// The known beginning of a task's prompt: its prefix, and the outputs of its needs up to the
    /// first that has not ended.
    fn prompt_start(&self, run: usize, task_index: usize) -> String {
        let task = &self.trace.tasks[task_index];
        let mut text = task.prefix.as_ref().map_or_else(String::new, |prefix| self.prefix_text(prefix));
        for need in task.needs.iter().filter(|_| task.reads_needs) {
            let Some(output) = &self.runs[run].progress[self.task_indexes[need.as_str()]].output else {
                break;
            };
            text.push_str(output);
        }
        text
    }

    fn prefix_text(&self, prefix: &trace::Prefix) -> String {
        let seed = prefix.name.bytes().fold(self.options.seed, |hash, byte| mix(&[hash, u64::from(byte)]));
        WordSource::new(seed).take(prefix.tokens)
    }
}

fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |hash, &part| bandmaster_engine::hash::mix(hash ^ part))
}
