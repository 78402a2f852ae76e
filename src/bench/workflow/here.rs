//! Runs a trace on an engine in this process, which is also told what the plan knows. What a plan is, is not known
//! here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bandmaster_client::Counts;
use bandmaster_engine::{
    Class, EngineHandle, Event, ExpectedPrefix, ExpectedPrefixId, Priority, Request, RunId, Sampling, Sink,
};
use bandmaster_text::{LoadedModel, Message, Role};

use super::trace::TaskClass;
use super::{Job, Late, Outlook, Place, Prompt, Teller};

pub type Models = BTreeMap<String, Arc<LoadedModel>>;

pub struct Here<'a> {
    engine: &'a EngineHandle,
    models: Models,
    /// What was told about each run.
    told: HashMap<usize, Told>,
}

/// What the engine was told about a run.
#[derive(Default)]
struct Told {
    /// The prefixes announced to the cache by role and text, and in how many steps they will be used.
    expected: HashMap<(String, String), (ExpectedPrefixId, u32)>,
    /// By task index: length in bytes of the beginning that was computed ahead.
    warmed: HashMap<usize, usize>,
}

impl<'a> Here<'a> {
    /// `models` are those that are loaded already.
    #[must_use]
    pub fn new(engine: &'a EngineHandle, models: Models) -> Self {
        Self { engine, models, told: HashMap::new() }
    }

    fn expect(&mut self, run: usize, prefixes: Vec<(String, String, u32)>) {
        let wanted: HashMap<_, _> =
            prefixes.into_iter().map(|(role, text, steps)| ((role, text), steps)).collect();
        let standing = &mut self.told.entry(run).or_default().expected;
        standing.retain(|what, (id, before)| {
            let stays = wanted.get(what) == Some(before);
            if !stays {
                self.engine.release_prefix(*id);
            }
            stays
        });
        for (what, steps) in wanted {
            let Some(model) = self.models.get(&what.0).filter(|_| !standing.contains_key(&what)) else {
                continue;
            };
            let tokens = model.tokenizer().encode_prompt(&what.1);
            let expected = ExpectedPrefix { model: model.id(), cache_salt: 0, tokens, steps };
            standing.insert(what, (self.engine.expect_prefix(expected), steps));
        }
    }

    /// Computes the beginning of a task's prompt if more of it is known than before.
    fn warm(&mut self, run: usize, (place, role, text): (usize, String, String)) {
        let Some(model) = self.models.get(&role) else { return };
        let before = self.told.entry(run).or_default().warmed.insert(place, text.len()).unwrap_or(0);
        if text.len() > before {
            let beginning = model.tokenizer().encode_prompt(&text);
            // If it can't be computed ahead, it is computed later.
            let _ = self.engine.submit(Request::warm(model.id(), beginning, 0, Some(RunId(run as u64))));
        }
    }
}

impl Place for Here<'_> {
    fn is_ready(&self, role: &str) -> bool {
        self.models.contains_key(role)
    }

    fn loaded(&mut self, role: String, model: Late) {
        self.models.insert(role, model);
    }

    fn submit(&mut self, job: Job<'_>, tell: Teller) -> Result<(), String> {
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
            sink: sink(Arc::clone(model), tell),
        };
        self.engine.submit(request).map(|_| ()).map_err(|reason| reason.to_string())
    }

    fn look_ahead(&mut self, run: usize, outlook: Outlook) {
        for beginning in outlook.beginnings {
            self.warm(run, beginning);
        }
        self.expect(run, outlook.prefixes);
    }
}

/// Forwards a task's events; its text is decoded at the end.
fn sink(model: Arc<LoadedModel>, tell: Teller) -> Sink {
    let mut ids = Vec::new();
    Box::new(move |event| {
        match event {
            Event::Token { id, .. } => {
                ids.push(id);
                return tell.token();
            }
            Event::Finished { usage, .. } => {
                let counts = Counts {
                    prompt_tokens: usage.prompt_tokens,
                    cached_tokens: usage.cached_tokens,
                    output_tokens: usage.completion_tokens,
                };
                tell.ended(model.tokenizer().decode(&ids), counts);
            }
            Event::Failed(failure) => tell.failed(failure.to_string()),
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
