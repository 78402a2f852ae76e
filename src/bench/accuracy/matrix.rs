//! Measures a target with every method and every token budget.

use super::report::{AccuracyReport, ItemReport};
use super::solve::{Method, TokenBudget};
use super::{AccuracyError, Cell, Evaluation, run_cell};

/// The cells to measure of each target: every method with every budget.
#[derive(Debug, Clone)]
pub struct Matrix {
    pub methods: Vec<Method>,
    /// Tokens per item; `None` sets no limit.
    pub budgets: Vec<Option<u64>>,
    /// Whether each cell is followed by the planner alone, with the tokens that the cell used on each item.
    pub baseline: bool,
    pub seed: u64,
    /// Number of targets. If there are several, the names of cells say which target it is.
    pub targets: usize,
}

/// What was measured since the last call.
pub enum MatrixProgress<'a> {
    /// An item has ended, as the `ended`th of its cell.
    Item { cell: &'a str, ended: usize, item: &'a ItemReport },
    /// A cell has ended.
    Cell(Box<AccuracyReport>),
}

impl Matrix {
    /// Whether the measurement has only one cell, so that there is nothing to compare.
    #[must_use]
    pub fn is_one_cell(&self) -> bool {
        let has_baseline = self.baseline && self.methods != [Method::Alone];
        !has_baseline && self.targets * self.methods.len() * self.budgets.len() == 1
    }

    /// Measures all cells of a target, until it is interrupted.
    ///
    /// # Errors
    /// [`AccuracyError`]; the cells that had ended were passed to `observe`.
    pub async fn measure(
        &self,
        evaluation: &Evaluation,
        observe: &mut dyn FnMut(MatrixProgress<'_>),
    ) -> Result<(), AccuracyError> {
        for method in &self.methods {
            for budget in &self.budgets {
                let cell = self.cell(evaluation, *method, *budget);
                let report = measure_cell(evaluation, &cell, observe).await?;
                let used = report.tokens_by_item();
                observe(MatrixProgress::Cell(Box::new(report)));
                if self.baseline && *method != Method::Alone && !evaluation.is_interrupted() {
                    let alone = Cell {
                        name: format!("alone, with the tokens of {}", cell.name),
                        model: evaluation.band.planner.name().to_owned(),
                        method: Method::Alone,
                        budget: TokenBudget::ByItem(used),
                        seed: self.seed,
                    };
                    let report = measure_cell(evaluation, &alone, observe).await?;
                    observe(MatrixProgress::Cell(Box::new(report)));
                }
                if evaluation.is_interrupted() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn cell(&self, evaluation: &Evaluation, method: Method, budget: Option<u64>) -> Cell {
        let model = evaluation.target.clone();
        let mut name = method.to_string();
        if self.targets > 1 {
            name = format!("{model} {name}");
        }
        if let Some(tokens) = budget {
            name = format!("{name} in {tokens} tokens");
        }
        let budget = budget.map_or(TokenBudget::Unlimited, TokenBudget::PerItem);
        Cell { name, model, method, budget, seed: self.seed }
    }
}

async fn measure_cell(
    evaluation: &Evaluation,
    cell: &Cell,
    observe: &mut dyn FnMut(MatrixProgress<'_>),
) -> Result<AccuracyReport, AccuracyError> {
    let mut ended = 0;
    let mut on_item = |item: &ItemReport| {
        ended += 1;
        observe(MatrixProgress::Item { cell: &cell.name, ended, item });
    };
    let result = run_cell(evaluation, cell, &mut on_item).await?;
    Ok(AccuracyReport::new(evaluation, cell, result))
}
