//! The live registry of a run: which workers there are, who is given a task, and who gets it when that one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::band::{Band, Llm, Skill, Worker, WorkerKind};

/// Workers of one run.
pub struct Registry {
    planner: Arc<dyn Llm>,
    workers: Vec<Worker>,
    /// Turns taken, so that equally suited workers share the tasks.
    turns: AtomicUsize,
}

/// A model with the name it works under.
#[derive(Clone)]
pub struct Player {
    /// Worker name in plans and reports.
    pub worker: String,
    /// The model.
    pub llm: Arc<dyn Llm>,
}

/// The planner's name as a worker.
pub const PLANNER: &str = "planner";

impl Registry {
    /// The band's workers, and the calculator where the band did not bring one.
    #[must_use]
    pub fn new(band: &Band) -> Self {
        let mut workers = band.workers.clone();
        if !workers.iter().any(|worker| matches!(worker.kind, WorkerKind::Calculator)) {
            workers.push(Worker::calculator());
        }
        Self { planner: Arc::clone(&band.planner), workers, turns: AtomicUsize::new(0) }
    }

    /// All workers.
    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The rule worker for arithmetic.
    #[must_use]
    pub fn calculator(&self) -> &str {
        let found = self.workers.iter().find(|worker| matches!(worker.kind, WorkerKind::Calculator));
        found.map_or("calculator", |worker| &worker.name)
    }

    /// The planner as a player.
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

    /// The next worker with the skill, in turn; the planner where nobody has it.
    #[must_use]
    pub fn assign(&self, skill: Skill) -> Player {
        let suited = self.suited(skill);
        if suited.is_empty() {
            return self.planner();
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        suited[turn % suited.len()].clone()
    }

    /// Who tries after `first`: first once more, then another worker with the skill, then the planner.
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
