//! Measures how many items of a suite are answered correctly. Each item is answered, judged and recorded; one that
//! fails is reported as such, counts as not right, and does not end the measurement. Flags, and how models are loaded,
//! are not known here.

mod answer;
mod energy;
mod judge;
mod matrix;
mod pattern;
mod report;
mod sandbox;
mod server_llm;
mod solve;
mod statistics;
mod suite;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use bandmaster_orchestrator::{Band, Cancel};
use tokio::task::JoinSet;

use self::energy::Energy;
pub use self::matrix::{Matrix, MatrixProgress};
use self::report::ItemReport;
pub use self::report::{AccuracyReport, MatrixReport, Setup};
pub use self::sandbox::Sandbox;
pub use self::server_llm::ServerLlm;
pub use self::solve::Method;
use self::solve::TokenBudget;
pub use self::suite::{Kind, Suite};
use crate::origin::Origin;

/// One measurement of all items: one method, one set of models and one budget.
#[derive(Debug, Clone)]
struct Cell {
    /// Name used in comparisons.
    name: String,
    model: String,
    method: Method,
    budget: TokenBudget,
    seed: u64,
}

/// Whether the server can't be reached at the moment, so that no other item would be answered either.
pub type IsUnreachable = Arc<dyn Fn() -> bool + Send + Sync>;

/// What stays the same for all cells of a target: what is asked, and who answers.
#[derive(Clone)]
pub struct Evaluation {
    pub suite: Arc<Suite>,
    /// The models that answer.
    pub band: Band,
    /// Their name in reports.
    pub target: String,
    /// Where the results come from, with the hashes of the models.
    pub origin: Origin,
    /// Runs the Python of items that need it; `None` if the suite has none.
    pub sandbox: Option<Sandbox>,
    /// Number of items worked on at a time.
    pub concurrency: usize,
    /// Ends the measurement with the items that are finished.
    pub interrupt: Cancel,
    /// Asked after items that failed, until the cell has its first answer.
    pub is_unreachable: IsUnreachable,
    /// For the report only.
    pub setup: Setup,
}

/// The results of a cell.
#[derive(Debug, Clone)]
struct CellResult {
    /// In the suite's order.
    items: Vec<ItemReport>,
    /// From the start of the first item to the end of the last.
    wall_s: f64,
    /// Energy that the processor used meanwhile. `None` with a server, which may run on another machine.
    energy_j: Option<f64>,
    /// Whether items are missing.
    interrupted: bool,
}

impl Evaluation {
    fn is_interrupted(&self) -> bool {
        self.interrupt.reason().is_some()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AccuracyError {
    /// The server can't be reached; the text is the item's error.
    #[error("{0}")]
    Unreachable(String),
    /// A bug in this program.
    #[error("an item's task crashed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Answers and judges every item of the suite; `progress` is called with each when it has ended.
///
/// # Errors
/// [`AccuracyError::Unreachable`] if an item could not reach the server and none was answered before it.
async fn run_cell(
    evaluation: &Evaluation,
    cell: &Cell,
    progress: &mut dyn FnMut(&ItemReport),
) -> Result<CellResult, AccuracyError> {
    let began = Instant::now();
    let mut energy = evaluation.setup.url.is_none().then(Energy::begin).flatten();
    let mut energy_j = None;
    let cell = Arc::new(cell.clone());
    let count = evaluation.suite.items.len();
    let mut running: JoinSet<(usize, Option<ItemReport>)> = JoinSet::new();
    let mut done: Vec<(usize, ItemReport)> = Vec::new();
    let mut next = 0;
    loop {
        while next < count && running.len() < evaluation.concurrency && !evaluation.is_interrupted() {
            let (evaluation, cell, at) = (evaluation.clone(), Arc::clone(&cell), next);
            running.spawn(async move { (at, evaluate_item(&evaluation, &cell, at).await) });
            next += 1;
        }
        let Some(joined) = running.join_next().await else { break };
        let (at, item) = joined?;
        energy_j = energy.as_mut().and_then(Energy::joules);
        let Some(item) = item else { continue };
        let is_answered = |item: &ItemReport| item.error.is_none();
        if let Some(error) = &item.error
            && !done.iter().any(|(_, item)| is_answered(item))
            && (evaluation.is_unreachable)()
        {
            return Err(AccuracyError::Unreachable(error.clone()));
        }
        progress(&item);
        done.push((at, item));
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(CellResult {
        interrupted: done.len() < count,
        items: done.into_iter().map(|(_, item)| item).collect(),
        wall_s: began.elapsed().as_secs_f64(),
        energy_j,
    })
}

/// Answers and judges one item; `None` if it was interrupted.
async fn evaluate_item(evaluation: &Evaluation, cell: &Cell, at: usize) -> Option<ItemReport> {
    let item = &evaluation.suite.items[at];
    let how = (cell.method, &cell.budget, cell.seed);
    let began = Instant::now();
    let outcome =
        solve::solve(&evaluation.band, evaluation.suite.kind, item, how, &evaluation.interrupt).await?;
    let wall_s = began.elapsed().as_secs_f64();
    let faults = judge::judge(item, cell.method, &outcome, evaluation.sandbox.as_ref()).await;
    Some(ItemReport::new(evaluation.suite.kind, item, cell.method, outcome, faults, wall_s))
}
