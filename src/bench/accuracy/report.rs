//! What was right, of one cell or of several side by side: JSON by its fields, rows for a table.

use std::collections::HashMap;

use serde::Serialize;

use super::judge::{Fit, Verdict, by_rule};
use super::play::{Allowance, Played, Way};
use super::statistics::{Paired, wilson};
use super::suite::{Item, Kind};
use super::{Cell, Ended, Stage};
use crate::bench::origin::Origin;
use crate::orchestrator::Strategy;

/// Rows of a table; the first is its head.
pub type Rows = Vec<Vec<String>>;

/// What was set, for whoever measures it again.
#[derive(Debug, Clone, Serialize)]
pub struct Setup {
    /// The server that was asked; nothing where the models ran in this process, and only there the last two are known.
    pub url: Option<String>,
    /// Only so many items of the suite, the first.
    pub limit: Option<usize>,
    /// Threads that computed.
    pub threads: Option<usize>,
    /// Longest context.
    pub context_tokens: Option<usize>,
}

/// A strategy and how well it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// What was chosen.
    pub strategy: Strategy,
    /// How well that fits.
    pub fit: Fit,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemReport {
    /// Of the suite.
    pub id: String,
    /// Without any fault.
    pub correct: bool,
    /// The answer.
    pub answer: String,
    /// How it was gone about: a strategy, or `alone`.
    pub strategy: String,
    /// Prompt and generated tokens of all calls.
    pub tokens: u64,
    /// Of them prompt tokens found in the cache.
    pub cached_tokens: u64,
    /// Seconds to the answer.
    pub wall_s: f64,
    /// What is wrong, and the error.
    pub faults: Vec<String>,
    /// Why there was nothing to judge: the server failed, the call did not fit. The item counts, as one that is not right.
    pub error: Option<String>,
    /// Of goals: whether the answer is right, however it was gone about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_right: Option<bool>,
    /// Where a strategy was chosen and the suite knows the best: how well the choice fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Fit>,
    /// What three rules without any model would choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Chosen>,
}

impl ItemReport {
    pub(super) fn new(
        kind: Kind,
        item: &Item,
        way: Way,
        played: Played,
        verdict: Verdict,
        wall_s: f64,
    ) -> Self {
        let fit = |strategy| item.choice.as_ref().map(|choice| Fit::of(choice, strategy));
        let rule = by_rule(item);
        let is_right = verdict.answer.is_empty();
        Self {
            id: item.id.clone(),
            correct: is_right && verdict.conduct.is_empty(),
            answer: played.answer,
            strategy: played.strategy.map_or_else(|| Way::Alone.to_string(), |strategy| strategy.to_string()),
            tokens: played.tokens,
            cached_tokens: played.cached_tokens,
            wall_s,
            faults: [verdict.answer, verdict.conduct].concat(),
            error: played.error,
            answer_right: (kind == Kind::Goals).then_some(is_right),
            choice: played.strategy.filter(|_| way == Way::Auto).and_then(fit),
            rules: fit(rule).map(|fit| Chosen { strategy: rule, fit }),
        }
    }

    /// What cells are compared by: the answer, where there is one. How a goal was gone about is no advantage in itself.
    fn counts_as_right(&self) -> bool {
        self.answer_right.unwrap_or(self.correct)
    }

    /// A line for who watches.
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

/// Choices of strategy against those the suite knows to be best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// Chose the best.
    pub best: usize,
    /// Chose another that would do.
    pub tolerated: usize,
    /// Of so many.
    pub n: usize,
}

impl Choices {
    fn of(fits: impl Iterator<Item = Fit>) -> Option<Self> {
        let fits: Vec<Fit> = fits.collect();
        let count = |wanted: Fit| fits.iter().filter(|fit| **fit == wanted).count();
        let choices = Self { best: count(Fit::Best), tolerated: count(Fit::Tolerated), n: fits.len() };
        (choices.n > 0).then_some(choices)
    }

    fn words(&self) -> String {
        let Self { best, tolerated, n } = self;
        format!("{best}/{n} best, {}/{n} best or tolerated", best + tolerated)
    }
}

/// `bandmaster.bench.accuracy/1`.
#[derive(Debug, Clone, Serialize)]
pub struct AccuracyReport {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What was set.
    #[serde(flatten)]
    pub setup: Setup,
    /// Of all draws.
    pub seed: u64,
    /// Items at a time.
    pub concurrency: usize,
    /// File name of the suite.
    pub suite: String,
    /// Of the suite's whole file.
    pub suite_sha256: String,
    /// What its items ask for.
    pub kind: Kind,
    /// Name of the cell in comparisons.
    pub cell: String,
    /// As it was asked for.
    pub strategy: String,
    /// Who played.
    pub model: String,
    /// Limit of each item.
    pub budget_tokens: Option<u64>,
    /// Items that have ended.
    pub n: usize,
    /// Of them right.
    pub correct: usize,
    /// Of them failed: nothing says what the answer would have been.
    pub errors: usize,
    /// The share of right ones; 0 without items.
    pub accuracy: f64,
    /// The share with 95 % certainty, after Wilson.
    pub interval: [f64; 2],
    /// Of goals: right answers, however they were gone about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers_right: Option<usize>,
    /// How well strategies were chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choices>,
    /// How well three rules without any model would choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Choices>,
    /// Of all items.
    pub tokens: u64,
    /// Seconds from the first item's beginning to the last one's end.
    pub wall_s: f64,
    /// Joules of the whole processor meanwhile, where it counts them.
    pub energy_j: Option<f64>,
    /// What held the suite's code: `unshare+limits` or `limits`; nothing where there is none.
    pub sandbox: Option<&'static str>,
    /// Whether it was ended before all items had.
    pub interrupted: bool,
    /// In the suite's order.
    pub items: Vec<ItemReport>,
}

impl AccuracyReport {
    /// Name of the JSON's shape.
    pub const SCHEMA: &'static str = "bandmaster.bench.accuracy/1";

    /// Of a cell that has ended.
    #[must_use]
    pub fn new(origin: Origin, stage: &Stage, cell: &Cell, ended: Ended) -> Self {
        let Ended { items, wall_s, energy_j, interrupted } = ended;
        let (n, correct) = (items.len(), items.iter().filter(|item| item.correct).count());
        let suite = &stage.suite;
        let goals = suite.kind == Kind::Goals;
        Self {
            schema: Self::SCHEMA,
            origin,
            setup: stage.setup.clone(),
            seed: cell.seed,
            concurrency: stage.concurrency,
            suite: suite.name.clone(),
            suite_sha256: suite.sha256.clone(),
            kind: suite.kind,
            cell: cell.name.clone(),
            strategy: cell.way.to_string(),
            model: cell.model.clone(),
            budget_tokens: if let Allowance::Tokens(tokens) = cell.allowance { Some(tokens) } else { None },
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
            sandbox: stage.sandbox.as_ref().map(super::Sandbox::name),
            interrupted,
            items,
        }
    }

    /// What each item used, by its id.
    #[must_use]
    pub fn tokens_by_item(&self) -> HashMap<String, u64> {
        self.items.iter().map(|item| (item.id.clone(), item.tokens)).collect()
    }

    /// How many items failed, and how the first of them did.
    #[must_use]
    pub fn failures(&self) -> Option<String> {
        let first = self.items.iter().find_map(|item| item.error.as_deref())?;
        Some(format!("{}: {} of {} items failed: {first}", self.cell, self.errors, self.n))
    }

    /// Whether no item has been answered, so that the figures say nothing.
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
            notes.push(format!("{}: strategy chosen {}", self.cell, choice.words()));
        }
        if self.interrupted {
            notes.push(format!("{}: interrupted after {} items", self.cell, self.n));
        }
        notes
    }
}

/// `bandmaster.bench.accuracy-matrix/1`.
#[derive(Debug, Clone, Serialize)]
pub struct MatrixReport {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Whether cells or items are missing.
    pub interrupted: bool,
    /// In the order they were measured.
    pub cells: Vec<AccuracyReport>,
    /// Every two of them.
    pub paired: Vec<Paired>,
}

impl MatrixReport {
    /// Name of the JSON's shape.
    pub const SCHEMA: &'static str = "bandmaster.bench.accuracy-matrix/1";

    /// Of cells on one suite, compared two by two.
    #[must_use]
    pub fn new(origin: Origin, interrupted: bool, cells: Vec<AccuracyReport>) -> Self {
        let later = |at: usize| cells.iter().skip(at + 1);
        let paired = cells.iter().enumerate().flat_map(|(at, a)| later(at).map(move |b| pair(a, b)));
        let paired = paired.collect();
        Self { schema: Self::SCHEMA, origin, interrupted, cells, paired }
    }

    /// A head and a row a cell. Columns that hold nothing are left out.
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

    /// What belongs above and below the table, a sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.cells.iter().flat_map(AccuracyReport::notes).collect();
        let whole = self.cells.iter().max_by_key(|cell| cell.n);
        if let Some(rules) = whole.and_then(|cell| cell.rules) {
            notes.push(format!("three rules without any model: strategy chosen {}", rules.words()));
        }
        let points = |share: &f64| format!("{:+.1}", 100.0 * share);
        for Paired { a, b, n, difference, interval, p } in &self.paired {
            let interval =
                interval.map(|[low, high]| format!(" ({} to {}, 95 %)", points(&low), points(&high)));
            let (difference, interval) = (points(difference), interval.unwrap_or_default());
            notes.push(format!("{a} less {b}: {difference} points{interval}, p = {p:.3}, {n} items"));
        }
        notes
    }

    /// What was measured, in a line.
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

    /// The command, the table and what belongs to it, for a document.
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

/// Two cells, on the items that both have finished.
fn pair(a: &AccuracyReport, b: &AccuracyReport) -> Paired {
    let of_b: HashMap<&str, bool> =
        b.items.iter().map(|item| (item.id.as_str(), item.counts_as_right())).collect();
    let both = a.items.iter().filter_map(|item| Some((item.counts_as_right(), *of_b.get(item.id.as_str())?)));
    Paired::new(&a.cell, &b.cell, &both.collect::<Vec<_>>())
}
