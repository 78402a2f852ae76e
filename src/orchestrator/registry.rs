//! The workers of a run: which of them gets a task, and who tries next when that one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::band::{Band, Llm, Skill, Worker, WorkerKind};

pub struct Registry {
    planner: Arc<dyn Llm>,
    workers: Vec<Worker>,
    /// Number of assignments so far. Equally suited workers take turns.
    turns: AtomicUsize,
}

/// A model with the worker name it has in plans and reports.
#[derive(Clone)]
pub struct Player {
    pub worker: String,
    pub llm: Arc<dyn Llm>,
}

/// The planner's worker name in plans and reports.
pub const PLANNER: &str = "planner";

impl Registry {
    /// Takes the band's workers and adds the calculator if the band has none.
    #[must_use]
    pub fn new(band: &Band) -> Self {
        let mut workers = band.workers.clone();
        if !workers.iter().any(|worker| matches!(worker.kind, WorkerKind::Calculator)) {
            workers.push(Worker::calculator());
        }
        Self { planner: Arc::clone(&band.planner), workers, turns: AtomicUsize::new(0) }
    }

    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// Name of the worker that does exact arithmetic.
    #[must_use]
    pub fn calculator(&self) -> &str {
        let found = self.workers.iter().find(|worker| matches!(worker.kind, WorkerKind::Calculator));
        found.map_or("calculator", |worker| &worker.name)
    }

    #[must_use]
    pub fn planner(&self) -> Player {
        Player { worker: PLANNER.to_owned(), llm: Arc::clone(&self.planner) }
    }

    fn suited(&self, skill: Skill) -> Vec<Player> {
        let fits = self.workers.iter().filter(|worker| worker.skills.contains(&skill));
        fits.filter_map(|worker| match &worker.kind {
            WorkerKind::Model(llm) => Some(Player { worker: worker.name.clone(), llm: Arc::clone(llm) }),
            WorkerKind::Calculator => None,
        })
        .collect()
    }

    /// The next worker that has the skill, in turn, or the planner if none has it.
    #[must_use]
    pub fn assign(&self, skill: Skill) -> Player {
        let suited = self.suited(skill);
        if suited.is_empty() {
            return self.planner();
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        suited[turn % suited.len()].clone()
    }

    /// Who tries a task, in order: `first` twice, then a worker with the same skill and another
    /// model, then the planner.
    #[must_use]
    pub fn ladder(&self, first: &Player, skill: Skill) -> Vec<Player> {
        let mut ladder = vec![first.clone(), first.clone()];
        let other = self.suited(skill).into_iter().find(|player| player.llm.name() != first.llm.name());
        ladder.extend(other.filter(|player| player.llm.name() != self.planner.name()));
        if first.llm.name() != self.planner.name() {
            ladder.push(self.planner());
        }
        ladder
    }
}
