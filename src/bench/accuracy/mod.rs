//! How many of a suite's items are right: each is played, judged and written down; one that fails is told apart, counts as
//! not right and ends nothing. Flags, and how models come to be loaded, are not known here.

mod answer;
mod judge;
mod pattern;
mod play;
pub mod report;
mod sandbox;
mod statistics;
mod suite;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

pub use self::play::{Allowance, Way};
pub use self::report::{AccuracyReport, ItemReport, MatrixReport, Setup};
pub use self::sandbox::{NoPython, Sandbox};
pub use self::suite::{Kind, Suite, SuiteError};
use super::energy::Energy;
use crate::orchestrator::{Band, Cancel};

/// Items in one way, with one set of models and one budget.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its name in comparisons.
    pub name: String,
    /// Who plays.
    pub model: String,
    /// How.
    pub way: Way,
    /// With how much.
    pub allowance: Allowance,
    /// Of all draws.
    pub seed: u64,
}

/// Whether the error of an item says that nobody is there to answer any other.
pub type GivenUp = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What stays the same from cell to cell.
#[derive(Clone)]
pub struct Stage {
    /// The items.
    pub suite: Arc<Suite>,
    /// Who plays.
    pub band: Band,
    /// Where Python is run; the suite may not need it.
    pub sandbox: Option<Sandbox>,
    /// So many items at a time.
    pub concurrency: usize,
    /// Ends the measurement with what is finished.
    pub interrupt: Cancel,
    /// Asked of errors as long as the cell has no answer.
    pub given_up: GivenUp,
    /// For the report.
    pub setup: Setup,
}

/// A cell's items, played and judged.
#[derive(Debug, Clone)]
pub struct Ended {
    /// In the suite's order.
    pub items: Vec<ItemReport>,
    /// From the first item's beginning to the last one's end.
    pub wall_s: f64,
    /// What the processor counted meanwhile; a server's work may be another processor's, so nothing there.
    pub energy_j: Option<f64>,
    /// Whether items are missing.
    pub interrupted: bool,
}

/// A measurement that stopped.
#[derive(Debug, thiserror::Error)]
pub enum AccuracyError {
    /// Nobody answers, with the item's error.
    #[error("{0}")]
    Unreachable(String),
    /// A fault of this program.
    #[error("an item's task broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Plays and judges every item of the suite; `progress` hears of each when it has ended.
///
/// # Errors
/// [`AccuracyError`] when an item found nobody to answer it, and none before it was answered.
pub async fn run_cell(
    stage: &Stage,
    cell: &Cell,
    progress: &mut dyn FnMut(&ItemReport),
) -> Result<Ended, AccuracyError> {
    let began = Instant::now();
    let mut energy = stage.setup.url.is_none().then(Energy::begin).flatten();
    let mut energy_j = None;
    let cell = Arc::new(cell.clone());
    let count = stage.suite.items.len();
    let mut running: JoinSet<(usize, Option<ItemReport>)> = JoinSet::new();
    let mut done: Vec<(usize, ItemReport)> = Vec::new();
    let mut next = 0;
    loop {
        while next < count && running.len() < stage.concurrency && stage.interrupt.reason().is_none() {
            let (stage, cell, at) = (stage.clone(), Arc::clone(&cell), next);
            running.spawn(async move { (at, one(&stage, &cell, at).await) });
            next += 1;
        }
        let Some(joined) = running.join_next().await else { break };
        let (at, item) = joined?;
        energy_j = energy.as_mut().and_then(Energy::joules);
        let Some(item) = item else { continue };
        let is_answered = |item: &ItemReport| item.error.is_none();
        if let Some(error) = &item.error
            && !done.iter().any(|(_, item)| is_answered(item))
            && (stage.given_up)(error)
        {
            return Err(AccuracyError::Unreachable(error.clone()));
        }
        progress(&item);
        done.push((at, item));
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(Ended {
        interrupted: done.len() < count,
        items: done.into_iter().map(|(_, item)| item).collect(),
        wall_s: began.elapsed().as_secs_f64(),
        energy_j,
    })
}

/// Plays and judges one item; `None` when it was interrupted.
async fn one(stage: &Stage, cell: &Cell, at: usize) -> Option<ItemReport> {
    let item = &stage.suite.items[at];
    let how = (cell.way, &cell.allowance, cell.seed);
    let began = Instant::now();
    let played = play::play(&stage.band, stage.suite.kind, item, how, &stage.interrupt).await?;
    let wall_s = began.elapsed().as_secs_f64();
    let verdict = judge::judge(item, cell.way, &played, stage.sandbox.as_ref()).await;
    Some(ItemReport::new(stage.suite.kind, item, cell.way, played, verdict, wall_s))
}
