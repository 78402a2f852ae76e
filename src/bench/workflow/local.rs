//! Runs a trace on an engine in this process, which is also told what the plan knows. What a plan is, is not known
//! here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bandmaster_client::Usage;
use bandmaster_engine::{
    Class, EngineHandle, Event, ExpectedPrefix, ExpectedPrefixId, Priority, Request, RunId, Sampling, Sink,
};
use bandmaster_text::{LoadedModel, Message, Role};

use super::trace::TaskClass;
use super::{Backend, EventSender, Job, Lookahead, Prompt};

pub type Models = BTreeMap<String, Arc<LoadedModel>>;

pub struct LocalBackend<'a> {
    engine: &'a EngineHandle,
    models: Models,
    /// By run.
    hints: HashMap<usize, Hints>,
}

/// What the engine was told about the future of a run.
#[derive(Default)]
struct Hints {
    /// The prefixes announced to the cache by role and text, and in how many steps they will be used.
    expected: HashMap<(String, String), (ExpectedPrefixId, u32)>,
    /// By task index: length in bytes of the beginning that was computed ahead.
    computed_bytes: HashMap<usize, usize>,
}

impl<'a> LocalBackend<'a> {
    /// `models` are those that are loaded already.
    #[must_use]
    pub fn new(engine: &'a EngineHandle, models: Models) -> Self {
        Self { engine, models, hints: HashMap::new() }
    }

    fn expect(&mut self, run: usize, prefixes: Vec<(String, String, u32)>) {
        let wanted: HashMap<_, _> =
            prefixes.into_iter().map(|(role, text, steps)| ((role, text), steps)).collect();
        let announced = &mut self.hints.entry(run).or_default().expected;
        announced.retain(|what, (id, before)| {
            let stays = wanted.get(what) == Some(before);
            if !stays {
                self.engine.release_prefix(*id);
            }
            stays
        });
        for (what, steps) in wanted {
            let Some(model) = self.models.get(&what.0).filter(|_| !announced.contains_key(&what)) else {
                continue;
            };
            let tokens = model.tokenizer().encode_prompt(&what.1);
            let expected = ExpectedPrefix { model: model.id(), cache_salt: 0, tokens, steps };
            announced.insert(what, (self.engine.expect_prefix(expected), steps));
        }
    }

    /// Computes the beginning of a task's prompt if more of it is known than before.
    fn warm(&mut self, run: usize, (task_index, role, text): (usize, String, String)) {
        let Some(model) = self.models.get(&role) else { return };
        let before =
            self.hints.entry(run).or_default().computed_bytes.insert(task_index, text.len()).unwrap_or(0);
        if text.len() > before {
            let start = model.tokenizer().encode_prompt(&text);
            // If it can't be computed ahead, it is computed later.
            let _ = self.engine.submit(Request::warm(model.id(), start, 0, Some(RunId(run as u64))));
        }
    }
}

impl Backend for LocalBackend<'_> {
    fn is_ready(&self, role: &str) -> bool {
        self.models.contains_key(role)
    }

    fn loaded(&mut self, role: String, model: Arc<LoadedModel>) {
        self.models.insert(role, model);
    }

    fn submit(&mut self, job: Job<'_>, events: EventSender) -> Result<(), String> {
        let model = &self.models[&job.task.model];
        let prompt = match &job.prompt {
            Prompt::Question(text) => {
                let messages = [Message::new(Role::User, text.clone())];
                model.chat_prompt(&messages, &[]).map_err(|error| error.to_string())?.ids
            }
            Prompt::Text(text) => model.tokenizer().encode_prompt(text),
        };
        let request = Request {
            model: model.id(),
            prompt,
            sampling: Sampling { temperature: job.task.temperature, seed: job.seed, ..Sampling::greedy() },
            tokens_max: job.task.output_tokens,
            stop_tokens: Vec::new(),
            constraint: None,
            priority: Priority {
                class: class(job.task.class),
                run: Some(RunId(job.run as u64)).filter(|_| job.task.class == TaskClass::Run),
                critical_path_tokens: job.path_tokens,
            },
            deadline: None,
            top_logprobs: None,
            score_prompt_from: None,
            cache_salt: 0,
            sink: sink(Arc::clone(model), events),
        };
        self.engine.submit(request).map(|_| ()).map_err(|reason| reason.to_string())
    }

    fn look_ahead(&mut self, run: usize, lookahead: Lookahead) {
        for start in lookahead.prompt_starts {
            self.warm(run, start);
        }
        self.expect(run, lookahead.prefixes);
    }
}

/// Forwards a task's events; its text is decoded at the end.
fn sink(model: Arc<LoadedModel>, events: EventSender) -> Sink {
    let mut ids = Vec::new();
    Box::new(move |event| {
        match event {
            Event::Token { id, .. } => {
                ids.push(id);
                return events.token();
            }
            Event::Finished { usage, .. } => {
                let tokens = Usage {
                    prompt_tokens: usage.prompt_tokens,
                    cached_tokens: usage.cached_tokens,
                    completion_tokens: usage.completion_tokens,
                };
                events.ended(model.tokenizer().decode(&ids), tokens);
            }
            Event::Failed(failure) => events.failed(failure.to_string()),
            Event::Prefill { .. } | Event::PromptScore { .. } => {}
        }
        true
    })
}

fn class(class: TaskClass) -> Class {
    match class {
        TaskClass::Interactive => Class::Interactive,
        TaskClass::Run => Class::Run,
        TaskClass::Background => Class::Background,
    }
}
