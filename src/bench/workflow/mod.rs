//! Runs a trace: submits each task when the tasks it needs have ended, and records the times. It is the same for an
//! engine in this process and for servers. How the tasks were planned, and what computes them, is not known here.

pub mod here;
pub mod recorded;
pub mod report;
pub mod servers;
pub mod trace;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bandmaster_client::Counts;
use bandmaster_orchestrator::Cancel;

use self::trace::{Task, Trace};
use super::words::{WordSource, opened};

/// How long it may take to notice an interrupt.
const LISTEN_AT_MOST: Duration = Duration::from_millis(200);

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
pub struct Setting {
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
    pub counts: Counts,
}

/// A task to be computed now.
#[derive(Debug, Clone, PartialEq)]
pub struct Job<'a> {
    /// Which copy of the trace.
    pub run: usize,
    /// Index in the trace.
    pub place: usize,
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
pub struct Outlook {
    /// Prefixes that tasks not started yet will read: role, text, and the least number of steps until then.
    pub prefixes: Vec<(String, String, u32)>,
    /// Known beginnings of the prompts of tasks whose needs are running: index, role, text.
    pub beginnings: Vec<(usize, String, String)>,
}

/// Where tasks are computed.
pub trait Place {
    /// Whether a role's model is loaded.
    fn is_ready(&self, role: &str) -> bool;
    /// Starts a task; its events are sent to `tell`.
    ///
    /// # Errors
    /// Why the task can't be computed.
    fn submit(&mut self, job: Job<'_>, tell: Teller) -> Result<(), String>;
    /// Adds a model that loads late.
    fn loaded(&mut self, role: String, model: Late);
    /// Called when the plan of a run knows something new.
    fn look_ahead(&mut self, _run: usize, _outlook: Outlook) {}
}

/// A model that was loaded while others computed.
pub type Late = std::sync::Arc<bandmaster_text::LoadedModel>;

/// Events of tasks and models.
pub enum Heard {
    /// New text of a task's output.
    Token {
        /// Run and task index.
        of: (usize, usize),
        at: Instant,
    },
    /// A task has ended with this output.
    Ended {
        /// Run and task index.
        of: (usize, usize),
        output: String,
        counts: Counts,
        at: Instant,
    },
    Failed {
        /// Run and task index.
        of: (usize, usize),
        reason: String,
    },
    /// A model was loaded, or failed to load.
    Loaded { role: String, model: Result<Late, String> },
}

/// Sends the events of one task to the driver.
#[derive(Clone)]
pub struct Teller {
    of: (usize, usize),
    sender: Sender<Heard>,
}

impl Teller {
    /// Reports a token; false if nobody listens any more.
    pub fn token(&self) -> bool {
        self.sender.send(Heard::Token { of: self.of, at: Instant::now() }).is_ok()
    }

    /// Reports that the task ended.
    pub fn ended(&self, output: String, counts: Counts) {
        // If the driver no longer listens, it needs no event.
        let _ = self.sender.send(Heard::Ended { of: self.of, output, counts, at: Instant::now() });
    }

    /// Reports that the task failed.
    pub fn failed(&self, reason: String) {
        let _ = self.sender.send(Heard::Failed { of: self.of, reason });
    }
}

/// The result of running a trace.
#[derive(Debug)]
pub struct Driven {
    /// For each run, its tasks in the order in which they ended.
    pub runs: Vec<Vec<TaskTimes>>,
    pub interrupted: bool,
}

/// Loads the model of a role that loads late.
pub type LoadLate<'a> = &'a (dyn Fn(&str) -> Result<Late, String> + Sync);

/// Runs the trace until every task has ended or `stop` is cancelled; `on_task` gets the number
/// of tasks that have ended.
///
/// # Errors
/// [`WorkflowError`] with the task.
pub fn drive(
    place: &mut dyn Place,
    late: LoadLate<'_>,
    trace: &Trace,
    setting: Setting,
    stop: &Cancel,
    on_task: &mut dyn FnMut(usize),
) -> Result<Driven, WorkflowError> {
    let (sender, heard) = channel();
    let began = Instant::now();
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (role, what) in &trace.models {
            let Some(after) = what.load_at_ms.filter(|_| !place.is_ready(role)) else { continue };
            let sender = sender.clone();
            scope.spawn(move || {
                let due = Duration::from_millis(after);
                while began.elapsed() < due {
                    if stop.reason().is_some() || over.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(due.saturating_sub(began.elapsed()).min(LISTEN_AT_MOST));
                }
                // Nobody listens if the trace has failed meanwhile.
                let _ = sender.send(Heard::Loaded { role: role.clone(), model: late(role) });
            });
        }
        let mut driver = Driver::new(place, trace, setting, began, sender);
        let ended = driver.work(&heard, stop, on_task);
        over.store(true, Ordering::Relaxed);
        for run in 0..setting.runs {
            driver.place.look_ahead(run, Outlook::default());
        }
        let interrupted = ended?;
        Ok(Driven { runs: driver.runs.into_iter().map(|run| run.ended).collect(), interrupted })
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
    place: &'a mut dyn Place,
    trace: &'a Trace,
    setting: Setting,
    began: Instant,
    sender: Sender<Heard>,
    paths: Vec<u32>,
    /// Index of each task by its id.
    places: HashMap<&'a str, usize>,
    runs: Vec<Run>,
    /// Tasks whose needs have ended: when to start them, run, task index.
    due: BTreeSet<(Instant, usize, usize)>,
}

impl<'a> Driver<'a> {
    fn new(
        place: &'a mut dyn Place,
        trace: &'a Trace,
        setting: Setting,
        began: Instant,
        sender: Sender<Heard>,
    ) -> Self {
        let progress = || trace.tasks.iter().map(|_| Progress::default()).collect();
        let runs = (0..setting.runs).map(|_| Run { progress: progress(), ended: Vec::new() }).collect();
        let places = trace.tasks.iter().enumerate().map(|(place, task)| (task.id.as_str(), place)).collect();
        let (paths, due) = (trace.path_tokens(), BTreeSet::new());
        Self { place, trace, setting, began, sender, paths, places, runs, due }
    }

    /// Works until the trace has ended (false) or is stopped (true).
    fn work(
        &mut self,
        heard: &Receiver<Heard>,
        stop: &Cancel,
        on_task: &mut dyn FnMut(usize),
    ) -> Result<bool, WorkflowError> {
        let first = self.trace.tasks.iter().enumerate().filter(|(_, task)| task.needs.is_empty());
        let first: Vec<_> = first.map(|(place, task)| (place, task.think_ms)).collect();
        for run in 0..self.runs.len() {
            let due = |&(place, think_ms): &(usize, u64)| {
                (self.began + Duration::from_millis(think_ms), run, place)
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
            let wait = next.map_or(LISTEN_AT_MOST, |at| at.saturating_duration_since(Instant::now()));
            match heard.recv_timeout(wait.min(LISTEN_AT_MOST)) {
                Ok(heard) => self.take(heard, on_task)?,
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
            ready.filter(|&(_, _, task)| self.place.is_ready(&self.trace.tasks[task].model)).collect();
        for (at, run, task) in ready {
            self.due.remove(&(at, run, task));
            self.submit(run, task)?;
            self.look_ahead(run);
        }
        Ok(())
    }

    fn submit(&mut self, run: usize, place: usize) -> Result<(), WorkflowError> {
        let task = &self.trace.tasks[place];
        let seed = mix(&[self.setting.seed, run as u64, place as u64]);
        // All tasks of a run get the same opening words, so that they share them as when they were recorded; other runs
        // get others.
        let opening = mix(&[self.setting.seed, run as u64]);
        let prompt = match (&task.prompt, &task.text) {
            (Some(question), _) => Prompt::Question(opened(question, opening)),
            (None, Some(text)) => Prompt::Text(opened(text, opening)),
            (None, None) => {
                Prompt::Text(self.beginning(run, place) + &WordSource::new(seed).take(task.prompt_tokens))
            }
        };
        let job = Job { run, place, task, prompt, seed, path_tokens: self.paths[place] };
        let teller = Teller { of: (run, place), sender: self.sender.clone() };
        self.runs[run].progress[place].submitted = Some(Instant::now());
        let submitted = self.place.submit(job, teller);
        submitted.map_err(|reason| WorkflowError::Task { task: task.id.clone(), reason })
    }

    fn take(&mut self, heard: Heard, on_task: &mut dyn FnMut(usize)) -> Result<(), WorkflowError> {
        match heard {
            Heard::Token { of: (run, place), at } => {
                self.runs[run].progress[place].times.push(at - self.began);
            }
            Heard::Ended { of: (run, place), output, counts, at } => {
                self.end(run, place, output, counts, at);
                on_task(self.runs.iter().map(|run| run.ended.len()).sum());
            }
            Heard::Failed { of: (_, place), reason } => {
                return Err(WorkflowError::Task { task: self.trace.tasks[place].id.clone(), reason });
            }
            Heard::Loaded { role, model } => {
                self.place.loaded(role, model.map_err(WorkflowError::Load)?);
            }
        }
        Ok(())
    }

    /// Records a task's end, and schedules the tasks that waited only for it.
    fn end(&mut self, run: usize, ended: usize, output: String, counts: Counts, at: Instant) {
        let progress = &mut self.runs[run].progress[ended];
        progress.output = Some(output);
        let start = progress.submitted.map_or(Duration::ZERO, |at| at - self.began);
        let (tokens, end) = (std::mem::take(&mut progress.times), at - self.began);
        self.runs[run].ended.push(TaskTimes { task: ended, start, tokens, end, counts });
        let id = &self.trace.tasks[ended].id;
        for (place, task) in self.trace.tasks.iter().enumerate().filter(|(_, task)| task.needs.contains(id)) {
            let done = |need: &String| self.runs[run].progress[self.places[need.as_str()]].output.is_some();
            if task.needs.iter().all(done) {
                self.due.insert((at + Duration::from_millis(task.think_ms), run, place));
            }
        }
        self.look_ahead(run);
    }

    /// Reports what the plan knows: which prefixes will be used in how many steps, and which beginnings of
    /// prompts can be computed now.
    fn look_ahead(&mut self, run: usize) {
        if !self.setting.warm {
            return;
        }
        let mut outlook = Outlook::default();
        let mut steps: HashMap<(&str, &trace::Prefix), u32> = HashMap::new();
        let mut away = vec![0; self.trace.tasks.len()];
        for (place, task) in self.trace.tasks.iter().enumerate() {
            let begun = |place: usize| self.runs[run].progress[place].submitted.is_some();
            if begun(place) {
                continue;
            }
            let needs = || task.needs.iter().map(|need| self.places[need.as_str()]);
            away[place] = 1 + needs().map(|need| away[need]).max().unwrap_or(0);
            if let Some(prefix) = &task.prefix {
                let steps = steps.entry((&task.model, prefix)).or_insert(u32::MAX);
                *steps = (*steps).min(away[place] - 1);
            }
            if needs().all(begun) && task.is_made_up() {
                outlook.beginnings.push((place, task.model.clone(), self.beginning(run, place)));
            }
        }
        let prefixes = steps.into_iter();
        outlook.prefixes =
            prefixes.map(|((role, prefix), steps)| (role.into(), self.prefix_text(prefix), steps)).collect();
        self.place.look_ahead(run, outlook);
    }

    /// The known beginning of a task's prompt: its prefix, and the outputs of its needs up to the
    /// first that has not ended.
    fn beginning(&self, run: usize, place: usize) -> String {
        let task = &self.trace.tasks[place];
        let mut text = task.prefix.as_ref().map_or_else(String::new, |prefix| self.prefix_text(prefix));
        for need in task.needs.iter().filter(|_| task.reads_needs) {
            let Some(output) = &self.runs[run].progress[self.places[need.as_str()]].output else { break };
            text.push_str(output);
        }
        text
    }

    fn prefix_text(&self, prefix: &trace::Prefix) -> String {
        let seed = prefix.name.bytes().fold(self.setting.seed, |hash, byte| mix(&[hash, u64::from(byte)]));
        WordSource::new(seed).take(prefix.tokens)
    }
}

fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |hash, &part| bandmaster_engine::hash::mix(hash ^ part))
}
