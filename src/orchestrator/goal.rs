//! What a strategy may know of a run before anything is done: the goal, its inputs and the models, as data.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::attached::Attached;
use super::band::{Band, Message, Role, Skill, Worker, WorkerKind};
use super::choice::why::Facts;
use super::plan::Slice;
use super::request::{Input, RunRequest};
use super::topic::Topic;

/// The planner's worker name in plans and reports.
pub const PLANNER: &str = "planner";

/// Everything about a run that doesn't change while it is worked on.
#[derive(Debug)]
pub struct Goal {
    /// What is wanted, in the user's words.
    pub text: String,
    /// Texts that came with the goal, in order.
    pub inputs: Vec<Input>,
    /// Messages before the goal. The user's answers to questions of the run are inputs named `answer`.
    pub conversation: Vec<Message>,
    pub facts: Facts,
    pub band: BandInfo,
    /// Base seed for sampling.
    pub seed: u64,
    topic: OnceLock<Topic>,
    attached: OnceLock<Attached>,
}

impl Goal {
    #[must_use]
    pub fn new(request: &RunRequest, facts: Facts, band: BandInfo) -> Self {
        Self {
            text: request.goal.clone(),
            inputs: request.inputs.clone(),
            conversation: request.conversation.clone(),
            facts,
            band,
            seed: request.seed,
            topic: OnceLock::new(),
            attached: OnceLock::new(),
        }
    }

    /// A call's messages: the conversation, then `prompt`.
    #[must_use]
    pub fn messages(&self, prompt: impl Into<String>) -> Vec<Message> {
        let mut messages = self.conversation.clone();
        messages.push(Message::new(Role::User, prompt));
        messages
    }

    /// All inputs, each under a line such as `Text (a.md):`.
    #[must_use]
    pub fn inputs_under(&self, heading: &str) -> String {
        inputs_under(heading, &self.inputs)
    }

    /// The text of an input, or of a part of one; empty if there is no such input.
    #[must_use]
    pub fn part(&self, slice: &Slice) -> &str {
        let text = self.inputs.get(slice.index).and_then(|input| input.text.get(slice.bytes.clone()));
        text.unwrap_or_default()
    }

    /// The tables among the inputs. They are read when they are asked for first.
    #[must_use]
    pub(super) fn attached(&self) -> &Attached {
        self.attached.get_or_init(|| Attached::read(&self.inputs))
    }

    /// What a plan for the goal may be about. It is computed once, which takes a while for long inputs. `examples_own`
    /// are the words of the worked examples in the planner's prompt; a run has one such prompt.
    #[must_use]
    pub(super) fn topic(&self, examples_own: &[&'static str]) -> &Topic {
        self.topic.get_or_init(|| {
            let inputs = self.inputs.iter().map(|input| (input.name.as_str(), input.text.as_str()));
            let before = self.conversation.iter().map(|message| (message.content.as_str(), ""));
            Topic::new(&self.text, inputs.chain(before), examples_own)
        })
    }
}

/// Texts, each under a line such as `Text (a.md):`.
pub(super) fn inputs_under(heading: &str, inputs: &[Input]) -> String {
    let shown = |input: &Input| format!("{heading} ({}):\n{}\n\n", input.name, input.text.trim());
    inputs.iter().map(shown).collect()
}

/// What is known of a model or of the calculator without asking it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// The name in plans and reports.
    pub worker: String,
    /// The model behind it; `rule` for the calculator.
    pub model: String,
    /// Most tokens of a prompt and its answer together; 0 for the calculator.
    pub context_tokens: usize,
    /// The kinds of task it is given.
    pub skills: Vec<Skill>,
}

/// The models of a run, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandInfo {
    pub planner: WorkerInfo,
    /// The workers, the calculator among them.
    pub workers: Vec<WorkerInfo>,
}

/// The model name of tasks that are calculated.
pub(crate) const RULE: &str = "rule";

impl BandInfo {
    /// Takes the band's workers and adds the calculator if the band has none.
    #[must_use]
    pub fn of(band: &Band) -> Self {
        let planner = WorkerInfo {
            worker: PLANNER.to_owned(),
            model: band.planner.name().to_owned(),
            context_tokens: band.planner.context_tokens(),
            skills: Vec::new(),
        };
        let mut workers: Vec<WorkerInfo> = band.workers.iter().map(WorkerInfo::of).collect();
        if !workers.iter().any(WorkerInfo::is_calculator) {
            workers.push(WorkerInfo::of(&Worker::calculator()));
        }
        Self { planner, workers }
    }

    /// What is known of a worker, or of the planner; `None` if the band has no such worker.
    #[must_use]
    pub fn get(&self, worker: &str) -> Option<&WorkerInfo> {
        let all = std::iter::once(&self.planner).chain(&self.workers);
        all.into_iter().find(|info| info.worker == worker)
    }

    /// Name of the worker that does exact arithmetic.
    #[must_use]
    pub fn calculator(&self) -> &str {
        let found = self.workers.iter().find(|worker| worker.is_calculator());
        found.map_or("calculator", |worker| &worker.worker)
    }

    fn suited(&self, skill: Skill) -> impl Iterator<Item = &WorkerInfo> {
        self.workers.iter().filter(move |worker| !worker.is_calculator() && worker.skills.contains(&skill))
    }

    /// The worker for the task at `place` among those that want a skill: each in turn, or the planner if none has it.
    #[must_use]
    pub fn assign(&self, skill: Skill, place: usize) -> &WorkerInfo {
        let suited: Vec<&WorkerInfo> = self.suited(skill).collect();
        if suited.is_empty() { &self.planner } else { suited[place % suited.len()] }
    }

    /// Who tries a task, in order: `first` twice, then a worker with the same skill and another model, then the planner.
    #[must_use]
    pub fn ladder(&self, first: &WorkerInfo, skill: Skill) -> Vec<String> {
        let mut ladder = vec![first.worker.clone(), first.worker.clone()];
        let other = self.suited(skill).find(|worker| worker.model != first.model);
        ladder.extend(
            other.filter(|worker| worker.model != self.planner.model).map(|worker| worker.worker.clone()),
        );
        if first.model != self.planner.model {
            ladder.push(PLANNER.to_owned());
        }
        ladder
    }
}

impl WorkerInfo {
    fn of(worker: &Worker) -> Self {
        let (model, context_tokens) = match &worker.kind {
            WorkerKind::Model(llm) => (llm.name().to_owned(), llm.context_tokens()),
            WorkerKind::Calculator => (RULE.to_owned(), 0),
        };
        Self { worker: worker.name.clone(), model, context_tokens, skills: worker.skills.clone() }
    }

    #[must_use]
    pub fn is_calculator(&self) -> bool {
        self.model == RULE
    }
}

/// A goal for tests, without inputs or workers.
#[cfg(test)]
pub(super) fn plain_goal(text: &str) -> Goal {
    let request = RunRequest::new(text);
    let planner = WorkerInfo {
        worker: PLANNER.to_owned(),
        model: "big".to_owned(),
        context_tokens: 4096,
        skills: Vec::new(),
    };
    Goal::new(&request, Facts::default(), BandInfo { planner, workers: Vec::new() })
}

/// The models of a run by the names of their workers.
pub(crate) struct Models {
    planner: Arc<dyn super::band::Llm>,
    workers: Vec<Worker>,
}

impl Models {
    #[must_use]
    pub(crate) fn of(band: &Band) -> Self {
        Self { planner: Arc::clone(&band.planner), workers: band.workers.clone() }
    }

    /// The model of a worker; `None` for the calculator and for a worker that the band hasn't got.
    #[must_use]
    pub(crate) fn get(&self, worker: &str) -> Option<&Arc<dyn super::band::Llm>> {
        if worker == PLANNER {
            return Some(&self.planner);
        }
        self.workers.iter().find(|one| one.name == worker).and_then(|one| match &one.kind {
            WorkerKind::Model(llm) => Some(llm),
            WorkerKind::Calculator => None,
        })
    }
}
