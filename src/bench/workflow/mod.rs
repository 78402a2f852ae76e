//! Runs a trace against an engine in this process: submits each task when its needs have ended, tells the engine what the
//! plan knows, and writes down when what happened. How tasks came to be is not known here.

pub mod report;
pub mod trace;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use self::trace::{Prefix, Task, TaskClass, Trace};
use super::workload::TokenSource;
use crate::engine::{
    Class, EngineHandle, Event, Expected, ExpectedId, Priority, Rejected, Request, RunId, Sampling, Usage,
};
use crate::text::{LoadedModel, Message, Role, SessionError};

/// A workflow that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// The engine did not take a task.
    #[error("task {task}: {reason}")]
    Rejected {
        /// Of the trace.
        task: String,
        /// The engine's.
        reason: Rejected,
    },
    /// A task broke.
    #[error("task {task} failed: {reason}")]
    Failed {
        /// Of the trace.
        task: String,
        /// The engine's.
        reason: String,
    },
    /// A prompt could not be rendered.
    #[error("task {task}: {reason}")]
    Prompt {
        /// Of the trace.
        task: String,
        /// Why.
        reason: Box<SessionError>,
    },
    /// A model of the trace did not load.
    #[error("{0}")]
    Load(String),
}

/// Models by role.
pub type Models = BTreeMap<String, Arc<LoadedModel>>;
/// Loads the model of a role that comes late.
pub type LoadLate<'a> = &'a (dyn Fn(&str) -> Result<Arc<LoadedModel>, String> + Sync);

/// How a trace is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// So many times at once, each with tokens of its own behind the shared prefixes.
    pub runs: usize,
    /// Whether prefixes are computed ahead and the cache is told what will be used.
    pub warm: bool,
    /// Draws the tokens of each run.
    pub seed: u64,
}

/// What became of a task.
#[derive(Debug, Clone)]
pub struct TaskTimes {
    /// Place in the trace.
    pub task: usize,
    /// Since the start of all runs.
    pub start: Duration,
    /// When each token came, since the start of all runs.
    pub tokens: Vec<Duration>,
    /// Since the start of all runs.
    pub end: Duration,
    /// Its tokens.
    pub usage: Usage,
}

/// Runs the trace; gives each run's tasks in the order in which they ended.
///
/// # Errors
/// [`WorkflowError`] with the task.
pub fn drive(
    engine: &EngineHandle,
    models: Models,
    late: LoadLate<'_>,
    trace: &Trace,
    setting: Setting,
) -> Result<Vec<Vec<TaskTimes>>, WorkflowError> {
    let (sender, heard) = channel();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (role, what) in &trace.models {
            let Some(after) = what.load_at_ms else { continue };
            let sender = sender.clone();
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(after).saturating_sub(began.elapsed()));
                // Nobody listens when the trace has broken.
                let _ = sender.send(Heard::Loaded { role: role.clone(), model: late(role) });
            });
        }
        let mut driver = Driver::new(engine, models, trace, setting, began, sender);
        let ended = driver.work(&heard);
        driver.stop();
        ended.map(|()| driver.runs.into_iter().map(|run| run.ended).collect())
    })
}

enum Heard {
    Task { run: usize, task: usize, event: Event, at: Instant },
    Loaded { role: String, model: Result<Arc<LoadedModel>, String> },
}

/// One run of the trace.
struct Run {
    progress: Vec<Progress>,
    ended: Vec<TaskTimes>,
    /// What the cache was told, and in how many steps it said that would be used.
    expected: HashMap<(String, Prefix), (ExpectedId, u32)>,
    /// Beginnings that were computed ahead: by task, how many tokens.
    warmed: HashMap<usize, usize>,
}

#[derive(Default)]
struct Progress {
    submitted: Option<Instant>,
    output: Vec<u32>,
    times: Vec<Duration>,
    ended: bool,
}

struct Driver<'a> {
    engine: &'a EngineHandle,
    models: Models,
    trace: &'a Trace,
    setting: Setting,
    began: Instant,
    sender: Sender<Heard>,
    paths: Vec<u32>,
    /// Place of each task by its id.
    places: HashMap<&'a str, usize>,
    runs: Vec<Run>,
    /// Tasks whose needs have ended and when they are to start.
    due: BTreeSet<(Instant, usize, usize)>,
}

impl<'a> Driver<'a> {
    fn new(
        engine: &'a EngineHandle,
        models: Models,
        trace: &'a Trace,
        setting: Setting,
        began: Instant,
        sender: Sender<Heard>,
    ) -> Self {
        let run = || Run {
            progress: trace.tasks.iter().map(|_| Progress::default()).collect(),
            ended: Vec::new(),
            expected: HashMap::new(),
            warmed: HashMap::new(),
        };
        let places = trace.tasks.iter().enumerate().map(|(place, task)| (task.id.as_str(), place)).collect();
        let runs = (0..setting.runs).map(|_| run()).collect();
        let (paths, due) = (trace.path_tokens(), BTreeSet::new());
        Self { engine, models, trace, setting, began, sender, paths, places, runs, due }
    }

    fn work(&mut self, heard: &Receiver<Heard>) -> Result<(), WorkflowError> {
        for run in 0..self.runs.len() {
            for (place, task) in self.trace.tasks.iter().enumerate().filter(|(_, task)| task.needs.is_empty())
            {
                self.due.insert((self.began + Duration::from_millis(task.think_ms), run, place));
            }
            self.look_ahead(run);
        }
        while self.runs.iter().any(|run| run.ended.len() < self.trace.tasks.len()) {
            self.submit_due()?;
            let next = self.due.iter().map(|&(at, ..)| at).find(|&at| at > Instant::now());
            let wait =
                next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
            match heard.recv_timeout(wait) {
                Ok(Heard::Task { run, task, event, at }) => self.take(run, task, event, at)?,
                Ok(Heard::Loaded { role, model }) => {
                    self.models.insert(role, model.map_err(WorkflowError::Load)?);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is kept here"),
            }
        }
        Ok(())
    }

    /// Tells the cache that nothing more is expected.
    fn stop(&mut self) {
        for run in &mut self.runs {
            run.expected.drain().for_each(|(_, (id, _))| self.engine.release(id));
        }
    }

    fn submit_due(&mut self) -> Result<(), WorkflowError> {
        let now = Instant::now();
        let ready = self.due.iter().take_while(|&&(at, ..)| at <= now).copied();
        let ready: Vec<_> =
            ready.filter(|&(_, _, task)| self.models.contains_key(&self.trace.tasks[task].model)).collect();
        for (at, run, task) in ready {
            self.due.remove(&(at, run, task));
            self.submit(run, task)?;
            self.look_ahead(run);
        }
        Ok(())
    }

    fn submit(&mut self, run: usize, place: usize) -> Result<(), WorkflowError> {
        let task = &self.trace.tasks[place];
        let model = &self.models[&task.model];
        let prompt = match &task.prompt {
            Some(text) => model.prompt_ids(&[Message::new(Role::User, text.clone())]).map_err(|reason| {
                WorkflowError::Prompt { task: task.id.clone(), reason: Box::new(reason) }
            })?,
            None => {
                let mut prompt = self.beginning(run, place);
                let seed = mix(&[self.setting.seed, run as u64, place as u64]);
                prompt.extend(TokenSource::new(seed, self.vocab(task)).take(task.prompt_tokens));
                prompt
            }
        };
        let sender = self.sender.clone();
        let request = Request {
            model: model.id(),
            prompt,
            sampling: Sampling::greedy(),
            tokens_max: task.output_tokens,
            stop_tokens: Vec::new(),
            constraint: None,
            priority: Priority {
                class: class(task.class),
                run: Some(RunId(run as u64)).filter(|_| task.class == TaskClass::Run),
                critical_path_tokens: self.paths[place],
            },
            deadline: None,
            top_logprobs: None,
            score_prompt_from: None,
            cache_salt: 0,
            sink: Box::new(move |event| {
                sender.send(Heard::Task { run, task: place, event, at: Instant::now() }).is_ok()
            }),
        };
        self.runs[run].progress[place].submitted = Some(Instant::now());
        let submitted = self.engine.submit(request);
        submitted.map_err(|reason| WorkflowError::Rejected { task: task.id.clone(), reason })?;
        Ok(())
    }

    fn take(&mut self, run: usize, place: usize, event: Event, at: Instant) -> Result<(), WorkflowError> {
        let since = at - self.began;
        let progress = &mut self.runs[run].progress[place];
        match event {
            Event::Token { id, .. } => {
                progress.output.push(id);
                progress.times.push(since);
            }
            Event::Finished { usage, .. } => {
                progress.ended = true;
                let start = progress.submitted.map_or(Duration::ZERO, |at| at - self.began);
                let tokens = std::mem::take(&mut progress.times);
                self.runs[run].ended.push(TaskTimes { task: place, start, tokens, end: since, usage });
                self.follow(run, place, at);
            }
            Event::Failed(reason) => {
                return Err(WorkflowError::Failed { task: self.trace.tasks[place].id.clone(), reason });
            }
            Event::Prefill { .. } | Event::PromptScore { .. } => {}
        }
        Ok(())
    }

    /// Makes what waited for a task alone due.
    fn follow(&mut self, run: usize, ended: usize, at: Instant) {
        let id = &self.trace.tasks[ended].id;
        for (place, task) in self.trace.tasks.iter().enumerate().filter(|(_, task)| task.needs.contains(id)) {
            let done = |need: &String| self.runs[run].progress[self.places[need.as_str()]].ended;
            if task.needs.iter().all(done) {
                self.due.insert((at + Duration::from_millis(task.think_ms), run, place));
            }
        }
        self.look_ahead(run);
    }

    /// Tells the engine what the plan knows: which prefixes will be used in how many steps, and what can be computed now
    /// of tasks whose needs are under way.
    fn look_ahead(&mut self, run: usize) {
        if !self.setting.warm {
            return;
        }
        let mut steps: HashMap<(String, Prefix), u32> = HashMap::new();
        let mut away = vec![0; self.trace.tasks.len()];
        for (place, task) in self.trace.tasks.iter().enumerate() {
            let progress = &self.runs[run].progress[place];
            if progress.submitted.is_some() {
                continue;
            }
            let needs = || task.needs.iter().map(|need| self.places[need.as_str()]);
            away[place] = 1 + needs().map(|need| away[need]).max().unwrap_or(0);
            if let Some(prefix) = &task.prefix {
                let steps = steps.entry((task.model.clone(), prefix.clone())).or_insert(u32::MAX);
                *steps = (*steps).min(away[place] - 1);
            }
            let begun = needs().all(|need| self.runs[run].progress[need].submitted.is_some());
            if begun && task.prompt.is_none() && self.models.contains_key(&task.model) {
                self.warm(run, place);
            }
        }
        self.expect(run, &steps);
    }

    fn expect(&mut self, run: usize, steps: &HashMap<(String, Prefix), u32>) {
        let mut standing = std::mem::take(&mut self.runs[run].expected);
        standing.retain(|what, (id, before)| {
            let stays = steps.get(what) == Some(before);
            if !stays {
                self.engine.release(*id);
            }
            stays
        });
        for (what, &steps) in steps {
            let Some(model) = self.models.get(&what.0).filter(|_| !standing.contains_key(what)) else {
                continue;
            };
            let tokens = self.prefix_tokens(&what.0, &what.1);
            let expected = Expected { model: model.id(), cache_salt: 0, tokens, steps, for_at_most: None };
            standing.insert(what.clone(), (self.engine.expect(expected), steps));
        }
        self.runs[run].expected = standing;
    }

    /// Computes the beginning of a task's prompt as far as it is known, when more of it is than before.
    fn warm(&mut self, run: usize, place: usize) {
        let task = &self.trace.tasks[place];
        let beginning = self.beginning(run, place);
        let before = self.runs[run].warmed.insert(place, beginning.len()).unwrap_or(0);
        if beginning.len() > before {
            let model = self.models[&task.model].id();
            let request = Request::warm(model, beginning, 0, Some(RunId(run as u64)));
            // What can't be computed ahead is computed later.
            let _ = self.engine.submit(request);
        }
    }

    /// The leading tokens of a task's prompt that are known: its prefix, and outputs of its needs up to the first that has
    /// not ended.
    fn beginning(&self, run: usize, place: usize) -> Vec<u32> {
        let task = &self.trace.tasks[place];
        let mut tokens =
            task.prefix.as_ref().map_or_else(Vec::new, |prefix| self.prefix_tokens(&task.model, prefix));
        let vocab = self.vocab(task) as u32;
        for need in task.needs.iter().filter(|_| task.reads_needs) {
            let progress = &self.runs[run].progress[self.places[need.as_str()]];
            if !progress.ended {
                break;
            }
            // Another model's ids stand for other text: only their number counts.
            tokens.extend(progress.output.iter().map(|id| id % vocab));
        }
        tokens
    }

    fn prefix_tokens(&self, role: &str, prefix: &Prefix) -> Vec<u32> {
        let seed = prefix.name.bytes().fold(self.setting.seed, |hash, byte| mix(&[hash, u64::from(byte)]));
        TokenSource::new(seed, self.models[role].vocab()).take(prefix.tokens)
    }

    fn vocab(&self, task: &Task) -> usize {
        self.models[&task.model].vocab()
    }
}

fn class(class: TaskClass) -> Class {
    match class {
        TaskClass::Interactive => Class::Interactive,
        TaskClass::Run => Class::Run,
        TaskClass::Background => Class::Background,
    }
}

fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |hash, &part| crate::engine::hash::mix(hash ^ part))
}
