//! Measures how many items of a suite are answered correctly. Each item is answered, judged and recorded; one that
//! fails is reported as such, counts as not right, and does not end the measurement. Flags, and how models are loaded,
//! are not known here.

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

use bandmaster_orchestrator::{Band, Cancel};
use tokio::task::JoinSet;

pub use self::play::{Allowance, Way};
pub use self::report::{AccuracyReport, ItemReport, MatrixReport, Setup};
pub use self::sandbox::{NoPython, Sandbox};
pub use self::suite::{Kind, Suite, SuiteError};
use super::energy::Energy;

/// One measurement of all items: one strategy, one set of models and one budget.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Name used in comparisons.
    pub name: String,
    pub model: String,
    pub way: Way,
    pub allowance: Allowance,
    pub seed: u64,
}

/// Whether the server can't be reached at the moment, so that no other item would be answered either.
pub type GivenUp = Arc<dyn Fn() -> bool + Send + Sync>;

/// What stays the same for all cells.
#[derive(Clone)]
pub struct Stage {
    pub suite: Arc<Suite>,
    /// The models that answer.
    pub band: Band,
    /// Runs the Python of items that need it; `None` if the suite has none.
    pub sandbox: Option<Sandbox>,
    /// Number of items worked on at a time.
    pub concurrency: usize,
    /// Ends the measurement with the items that are finished.
    pub interrupt: Cancel,
    /// Asked after items that failed, until the cell has its first answer.
    pub given_up: GivenUp,
    /// For the report only.
    pub setup: Setup,
}

/// The results of a cell.
#[derive(Debug, Clone)]
pub struct Ended {
    /// In the suite's order.
    pub items: Vec<ItemReport>,
    /// From the start of the first item to the end of the last.
    pub wall_s: f64,
    /// Energy that the processor used meanwhile. `None` with a server, which may run on another machine.
    pub energy_j: Option<f64>,
    /// Whether items are missing.
    pub interrupted: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AccuracyError {
    /// The server can't be reached; the text is the item's error.
    #[error("{0}")]
    Unreachable(String),
    /// A bug in this program.
    #[error("an item's task crashed: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Answers and judges every item of the suite; `progress` is called with each when it has ended.
///
/// # Errors
/// [`AccuracyError::Unreachable`] if an item could not reach the server and none was answered before it.
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
            && (stage.given_up)()
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

/// Answers and judges one item; `None` if it was interrupted.
async fn one(stage: &Stage, cell: &Cell, at: usize) -> Option<ItemReport> {
    let item = &stage.suite.items[at];
    let how = (cell.way, &cell.allowance, cell.seed);
    let began = Instant::now();
    let played = play::play(&stage.band, stage.suite.kind, item, how, &stage.interrupt).await?;
    let wall_s = began.elapsed().as_secs_f64();
    let verdict = judge::judge(item, cell.way, &played, stage.sandbox.as_ref()).await;
    Some(ItemReport::new(stage.suite.kind, item, cell.way, played, verdict, wall_s))
}
