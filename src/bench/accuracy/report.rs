//! The results of `bench accuracy` for one cell or several: JSON by its fields, rows for a table.

use std::collections::HashMap;

use bandmaster_orchestrator::Strategy;
use serde::Serialize;

use super::judge::{Faults, Fit, strategy_by_rules};
use super::solve::{ItemOutcome, Method, TokenBudget};
use super::statistics::{PairedDifference, wilson};
use super::suite::{Item, Kind};
use super::{Cell, CellResult, Evaluation};
use crate::origin::Origin;

/// Rows of a table; the first one has the column names.
pub(super) type Rows = Vec<Vec<String>>;

/// The settings of a measurement, for whoever repeats it.
#[derive(Debug, Clone, Serialize)]
pub struct Setup {
    /// The server that was asked, if any. Threads and context are known only without one.
    pub url: Option<String>,
    /// Only this many items from the beginning of the suite.
    pub limit: Option<usize>,
    pub threads: Option<usize>,
    pub context_tokens: Option<usize>,
}

/// A strategy and how well it suits the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RatedStrategy {
    pub strategy: Strategy,
    pub fit: Fit,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemReport {
    /// As in the suite.
    pub id: String,
    /// Whether it has no faults.
    pub correct: bool,
    pub answer: String,
    /// The strategy, or `alone`.
    pub strategy: String,
    /// Prompt and generated tokens of all calls.
    pub tokens: u64,
    /// How many prompt tokens came from the prefix cache.
    pub cached_tokens: u64,
    /// Time until the answer.
    pub wall_s: f64,
    /// What is wrong, including the error.
    pub faults: Vec<String>,
    /// Why there was nothing to judge, e.g. the server failed. The item counts as not right.
    pub error: Option<String>,
    /// For goals: whether the answer is right, whatever the strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_right: Option<bool>,
    /// How well the chosen strategy suits the goal, if the suite knows the best one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Fit>,
    /// What three simple rules would choose without a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<RatedStrategy>,
}

impl ItemReport {
    pub(super) fn new(
        kind: Kind,
        item: &Item,
        method: Method,
        outcome: ItemOutcome,
        faults: Faults,
        wall_s: f64,
    ) -> Self {
        let fit = |strategy| item.choice.as_ref().map(|choice| Fit::of(choice, strategy));
        let rule = strategy_by_rules(item);
        let is_right = faults.answer.is_empty();
        Self {
            id: item.id.clone(),
            correct: is_right && faults.conduct.is_empty(),
            answer: outcome.answer,
            strategy: outcome
                .strategy
                .map_or_else(|| Method::Alone.to_string(), |strategy| strategy.to_string()),
            tokens: outcome.tokens,
            cached_tokens: outcome.cached_tokens,
            wall_s,
            faults: [faults.answer, faults.conduct].concat(),
            error: outcome.error,
            answer_right: (kind == Kind::Goals).then_some(is_right),
            choice: outcome.strategy.filter(|_| method == Method::Auto).and_then(fit),
            rules: fit(rule).map(|fit| RatedStrategy { strategy: rule, fit }),
        }
    }

    /// What cells are compared by: the answer if there is one. The right strategy is no advantage in itself.
    fn counts_as_right(&self) -> bool {
        self.answer_right.unwrap_or(self.correct)
    }

    /// A line for the terminal.
    #[must_use]
    pub fn line(&self) -> String {
        let mark = match (&self.error, self.correct) {
            (Some(_), _) => "ERROR",
            (None, true) => "right",
            (None, false) => "WRONG",
        };
        let cost = format!("{:.1} s  {} tokens", self.wall_s, self.tokens);
        format!("{:16} {mark} {:9} {cost}  {}", self.id, self.strategy, self.faults.join("; "))
            .trim_end()
            .to_owned()
    }
}

/// How well strategies were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// Number of items with the best strategy.
    pub best: usize,
    /// Number of items with another acceptable strategy.
    pub tolerated: usize,
    /// Number of items judged.
    pub n: usize,
}

impl Choices {
    fn of(fits: impl Iterator<Item = Fit>) -> Option<Self> {
        let fits: Vec<Fit> = fits.collect();
        let count = |wanted: Fit| fits.iter().filter(|fit| **fit == wanted).count();
        let choices = Self { best: count(Fit::Best), tolerated: count(Fit::Tolerated), n: fits.len() };
        (choices.n > 0).then_some(choices)
    }

    fn summary(&self) -> String {
        let Self { best, tolerated, n } = self;
        format!("{best}/{n} best, {}/{n} best or tolerated", best + tolerated)
    }
}

/// JSON result of `bench accuracy` for one cell, schema `bandmaster.bench.accuracy/1`.
#[derive(Debug, Clone, Serialize)]
pub struct AccuracyReport {
    pub schema: &'static str,
    #[serde(flatten)]
    pub origin: Origin,
    #[serde(flatten)]
    pub setup: Setup,
    pub seed: u64,
    /// Number of items worked on at a time.
    pub concurrency: usize,
    /// File name of the suite.
    pub suite: String,
    /// Checksum of the suite's file.
    pub suite_sha256: String,
    /// What the suite's items ask for.
    pub kind: Kind,
    /// Name of the cell in comparisons.
    pub cell: String,
    /// As requested: a strategy, `auto` or `alone`.
    pub strategy: String,
    pub model: String,
    /// Limit of tokens per item.
    pub budget_tokens: Option<u64>,
    /// Number of items that have ended.
    pub n: usize,
    /// How many of them are right.
    pub correct: usize,
    /// How many of them failed, so that it is unknown whether the answer would have been right.
    pub errors: usize,
    /// `correct` divided by `n`; 0 without items.
    pub accuracy: f64,
    /// 95 % confidence interval of the accuracy, after Wilson.
    pub interval: [f64; 2],
    /// For goals: number of right answers, whatever the strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers_right: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choices>,
    /// How well three simple rules would choose without a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Choices>,
    /// Tokens of all items.
    pub tokens: u64,
    /// From the start of the first item to the end of the last.
    pub wall_s: f64,
    /// Energy of the whole processor meanwhile, if it can be read.
    pub energy_j: Option<f64>,
    /// What confined the suite's code: `unshare+limits` or `limits`; `None` if no code was run.
    pub sandbox: Option<&'static str>,
    /// Whether it was interrupted before all items had ended.
    pub interrupted: bool,
    /// In the suite's order.
    pub items: Vec<ItemReport>,
}

impl AccuracyReport {
    pub const SCHEMA: &'static str = "bandmaster.bench.accuracy/1";

    #[must_use]
    pub(super) fn new(evaluation: &Evaluation, cell: &Cell, result: CellResult) -> Self {
        let CellResult { items, wall_s, energy_j, interrupted } = result;
        let (n, correct) = (items.len(), items.iter().filter(|item| item.correct).count());
        let suite = &evaluation.suite;
        let goals = suite.kind == Kind::Goals;
        Self {
            schema: Self::SCHEMA,
            origin: evaluation.origin.clone(),
            setup: evaluation.setup.clone(),
            seed: cell.seed,
            concurrency: evaluation.concurrency,
            suite: suite.name.clone(),
            suite_sha256: suite.sha256.clone(),
            kind: suite.kind,
            cell: cell.name.clone(),
            strategy: cell.method.to_string(),
            model: cell.model.clone(),
            budget_tokens: if let TokenBudget::PerItem(tokens) = cell.budget { Some(tokens) } else { None },
            n,
            correct,
            errors: items.iter().filter(|item| item.error.is_some()).count(),
            accuracy: correct as f64 / n.max(1) as f64,
            interval: wilson(correct, n),
            answers_right: goals.then(|| items.iter().filter(|item| item.counts_as_right()).count()),
            choice: Choices::of(items.iter().filter_map(|item| item.choice)),
            rules: Choices::of(items.iter().filter_map(|item| item.rules.map(|rules| rules.fit))),
            tokens: items.iter().map(|item| item.tokens).sum(),
            wall_s,
            energy_j,
            sandbox: evaluation.sandbox.as_ref().map(super::Sandbox::name),
            interrupted,
            items,
        }
    }

    /// The tokens that each item used, by its id.
    #[must_use]
    pub fn tokens_by_item(&self) -> HashMap<String, u64> {
        self.items.iter().map(|item| (item.id.clone(), item.tokens)).collect()
    }

    /// How many items failed, with the first error.
    #[must_use]
    pub fn failures(&self) -> Option<String> {
        let first = self.items.iter().find_map(|item| item.error.as_deref())?;
        Some(format!("{}: {} of {} items failed: {first}", self.cell, self.errors, self.n))
    }

    /// Whether every item failed, so that the figures mean nothing.
    #[must_use]
    pub fn is_all_failed(&self) -> bool {
        self.n > 0 && self.errors == self.n
    }

    fn row(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let [low, high] = self.interval;
        vec![
            self.cell.clone(),
            self.model.clone(),
            format!("{}/{}", self.correct, self.n),
            percent(self.accuracy),
            format!("{} to {}", percent(low), percent(high)),
            if self.errors > 0 { self.errors.to_string() } else { String::new() },
            self.answers_right.map_or_else(String::new, |right| format!("{right}/{}", self.n)),
            self.tokens.to_string(),
            format!("{:.1}", self.wall_s),
            self.energy_j.map_or_else(String::new, |joules| format!("{joules:.0}")),
        ]
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.failures().into_iter().collect();
        if let Some(choice) = &self.choice {
            notes.push(format!("{}: strategy chosen {}", self.cell, choice.summary()));
        }
        if self.interrupted {
            notes.push(format!("{}: interrupted after {} items", self.cell, self.n));
        }
        notes
    }
}

/// JSON result of several cells, schema `bandmaster.bench.accuracy-matrix/1`.
#[derive(Debug, Clone, Serialize)]
pub struct MatrixReport {
    pub schema: &'static str,
    #[serde(flatten)]
    pub origin: Origin,
    /// Whether cells or items are missing.
    pub interrupted: bool,
    /// In the order in which they were measured.
    pub cells: Vec<AccuracyReport>,
    /// Comparisons of every two cells.
    pub paired: Vec<PairedDifference>,
}

impl MatrixReport {
    pub const SCHEMA: &'static str = "bandmaster.bench.accuracy-matrix/1";

    /// Compares every two cells of a suite.
    #[must_use]
    pub fn new(origin: Origin, interrupted: bool, cells: Vec<AccuracyReport>) -> Self {
        let later = |at: usize| cells.iter().skip(at + 1);
        let paired = cells.iter().enumerate().flat_map(|(at, a)| later(at).map(move |b| compare_cells(a, b)));
        let paired = paired.collect();
        Self { schema: Self::SCHEMA, origin, interrupted, cells, paired }
    }

    /// A header and one row per cell. Empty columns are omitted.
    #[must_use]
    pub fn rows(&self) -> Rows {
        let head = ["cell", "model", "correct", "%", "95 %", "errors", "right answers", "tokens", "s", "J"];
        let cells: Rows = self.cells.iter().map(AccuracyReport::row).collect();
        let is_used = |column: usize| cells.iter().any(|row| !row[column].is_empty());
        let keep = |row: Vec<String>| -> Vec<String> {
            let cells = row.into_iter().enumerate().filter(|(column, _)| is_used(*column));
            cells.map(|(_, cell)| cell).collect()
        };
        let head = keep(head.map(str::to_owned).to_vec());
        std::iter::once(head).chain(cells.iter().cloned().map(keep)).collect()
    }

    /// Sentences to print below the table.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.cells.iter().flat_map(AccuracyReport::notes).collect();
        let whole = self.cells.iter().max_by_key(|cell| cell.n);
        if let Some(rules) = whole.and_then(|cell| cell.rules) {
            notes.push(format!("three rules without any model: strategy chosen {}", rules.summary()));
        }
        let points = |share: &f64| format!("{:+.1}", 100.0 * share);
        for PairedDifference { a, b, n, difference, interval, p } in &self.paired {
            let interval =
                interval.map(|[low, high]| format!(" ({} to {}, 95 %)", points(&low), points(&high)));
            let (difference, interval) = (points(difference), interval.unwrap_or_default());
            notes.push(format!("{a} minus {b}: {difference} points{interval}, p = {p:.3}, {n} items"));
        }
        notes
    }

    /// Suite and machine in one line.
    #[must_use]
    pub fn title(&self) -> String {
        let machine = &self.origin.machine;
        let suite = self.cells.first();
        let suite = suite.map_or_else(String::new, |cell| {
            let sandbox = cell.sandbox.map(|name| format!(", code in {name}")).unwrap_or_default();
            format!("{} ({}{sandbox}, sha256 {})", cell.suite, cell.kind.name(), &cell.suite_sha256[..12])
        });
        format!("{suite} on {} ({} cores, {})", machine.cpu, machine.cores, machine.isa)
    }

    /// The command, the table and the notes.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rows = self.rows();
        let rule = format!("|{}\n", "---|".repeat(rows[0].len()));
        let body: String = rows[1..].iter().map(|row| line(row)).collect();
        let notes: String = self.notes().iter().map(|note| format!("* {note}\n")).collect();
        let head = format!("`{}`\n\n{}\n\n", self.origin.command, self.title());
        format!("{head}{}{rule}{body}\n{notes}", line(&rows[0]))
    }
}

/// Compares two cells on the items that both have finished.
fn compare_cells(a: &AccuracyReport, b: &AccuracyReport) -> PairedDifference {
    let of_b: HashMap<&str, bool> =
        b.items.iter().map(|item| (item.id.as_str(), item.counts_as_right())).collect();
    let both = a.items.iter().filter_map(|item| Some((item.counts_as_right(), *of_b.get(item.id.as_str())?)));
    PairedDifference::new(&a.cell, &b.cell, &both.collect::<Vec<_>>())
}
