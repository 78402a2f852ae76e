//! Compares two results of the same measurement. Results of different work or from different machines are refused, and
//! a verdict is given only if the samples allow one.

mod html;
mod metrics;
mod read;
mod rounds;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::bootstrap::{CONFIDENCE, RESAMPLES, SEED, interval, mcnemar_p};
use metrics::{Better, Change, Metric, Samples, TokenCount, metrics};
pub use read::Side;
use read::{Body, Fact};
use rounds::{Estimate, estimate, holm};

/// Token counts that differ by a larger share mean that the work was not the same.
const TOKENS_SHARE_MAX: f64 = 0.01;
/// The memory that a system reports varies a little from boot to boot.
const MEMORY_SHARE_MAX: f64 = 0.01;
/// Limit for token counts if the seeds differ, because random lengths then differ by chance.
const TOKENS_SHARE_OTHER_SEED: f64 = 0.15;
/// Default for the smallest ratio that counts as a change: machines drift by as much between two measurements, which
/// rounds within one measurement can't show.
pub const CHANGE_MIN: f64 = 0.05;
/// Load per core above which a machine counts as busy with something else.
const LOAD_SHARE_MAX: f64 = 0.3;
/// Upper limit of the probability that any figure is called better or worse although both sides are alike.
const ERROR_MAX: f64 = 0.05;

/// Two results that can't be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// The file is empty.
    #[error("{file} is empty: the command that should have written it failed; measure again")]
    Empty { file: String },
    /// Not JSON, or not the shape that its schema promises.
    #[error("{file} is not a result of `bandmaster bench ... --json`: {reason}")]
    Broken {
        file: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// Another schema, or another version of one.
    #[error(
        "{file} has schema `{schema}`: only bandmaster.bench.throughput/1, workflow/1, serve/1 and accuracy/1 can be compared"
    )]
    Schema { file: String, schema: String },
    /// The file holds several cells.
    #[error(
        "{file} holds several cells (bandmaster.bench.accuracy-matrix/1), but only one cell per file can be compared: measure one strategy, model and budget per file, without --baseline"
    )]
    Matrix { file: String },
    /// Results of two different measurements.
    #[error("{a_file} is `{a}` and {b_file} is `{b}`: give two results of the same measurement")]
    Kinds {
        a_file: String,
        /// Schema of the first result.
        a: String,
        b_file: String,
        /// Schema of the second result.
        b: String,
    },
    /// There is nothing to compare with.
    #[error(
        "{file} holds one result: give a second file, or measure two servers in alternating rounds with `bench serve --against`"
    )]
    Alone { file: String },
    /// The measurement was interrupted.
    #[error(
        "{file} is part of a measurement that was interrupted: measure again, or compare the finished part with --partial"
    )]
    Interrupted { file: String },
    /// The results come from different machines.
    #[error(
        "different machines: {name} is {a} in {a_file} and {b} in {b_file}: measure both on the same one"
    )]
    Machine {
        /// The property that differs.
        name: &'static str,
        a_file: String,
        /// Its value in A.
        a: String,
        b_file: String,
        /// Its value in B.
        b: String,
    },
    /// The results are of different work.
    #[error("different work: {name} is {a} in {a_file} and {b} in {b_file}: measure both with the same")]
    Work {
        /// The property that differs.
        name: &'static str,
        a_file: String,
        /// Its value in A.
        a: String,
        b_file: String,
        /// Its value in B.
        b: String,
    },
    /// The results are of different items.
    #[error(
        "different work: {a_file} lacks {a_lacks} of the items of {b_file}, which lacks {b_lacks} of its (e.g. `{example}`): measure both over the same items"
    )]
    Items {
        a_file: String,
        /// Number of items that only B has.
        a_lacks: usize,
        b_file: String,
        /// Number of items that only A has.
        b_lacks: usize,
        /// Id of one such item.
        example: String,
    },
}

/// JSON result of `bench compare`, schema `bandmaster.bench.compare/1`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Comparison {
    pub schema: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Schema of both results.
    pub compares: String,
    pub machine: String,
    /// The files' names, A first.
    pub files: [String; 2],
    /// What both sides did.
    pub work: Vec<Fact>,
    /// Settings, which may differ.
    pub settings: Vec<Setting>,
    /// How often an interval contains the true value.
    pub confidence: f64,
    /// Number of bootstrap resamples.
    pub resamples: usize,
    /// Seed of the resampling.
    pub seed: u64,
    /// Ratios closer to 1 than this count as no change.
    pub change_min: f64,
    /// One row per figure.
    pub rows: Vec<Row>,
    /// What to know before relying on the rows.
    pub notes: Vec<String>,
}

/// The value of a setting on each side; `None` if the result doesn't have it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    pub name: &'static str,
    pub a: Option<String>,
    pub b: Option<String>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// Which row of the results it is; empty if they have only one.
    pub row: String,
    /// The figure's name and unit.
    pub metric: &'static str,
    pub better: Better,
    pub a: Option<f64>,
    pub b: Option<f64>,
    pub a_samples: usize,
    pub b_samples: usize,
    /// B's figure divided by A's.
    pub ratio: Option<f64>,
    /// B minus A, for figures where this is shown instead.
    pub difference: Option<f64>,
    /// Confidence interval of the ratio or the difference.
    pub interval: Option<[f64; 2]>,
    /// How likely such a difference is if both sides are alike, for this figure on its own: Student's t-test over
    /// rounds, exact McNemar test over right answers.
    pub p: Option<f64>,
    pub verdict: Verdict,
    /// Why the figures were not compared.
    pub refused: Option<String>,
}

/// The verdict on B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Better,
    Worse,
    /// The difference may be chance, is too small to matter, or there are too few samples.
    Undecided,
    /// Not compared; `refused` says why.
    Refused,
}

/// Compares B with A. `partial` allows interrupted results; ratios closer to 1 than `change_min` count as no change.
///
/// # Errors
/// [`CompareError`] names the values that differ and must not.
pub fn compare(mut a: Side, mut b: Side, partial: bool, change_min: f64) -> Result<Comparison, CompareError> {
    check_kinds(&a, &b)?;
    if let Some(side) = [&a, &b].into_iter().find(|side| side.interrupted && !partial) {
        return Err(CompareError::Interrupted { file: side.file.clone() });
    }
    check_machines(&a, &b)?;
    let is_partial = a.interrupted || b.interrupted;
    check_work(&a, &b, is_partial)?;
    let mut notes = notes(&a, &b);
    notes.extend(same_items(&mut a, &mut b, is_partial)?);
    let conditions =
        Conditions { is_partial, tokens_share: tokens_share(&a, &b), mcnemar: mcnemar(&a, &b), change_min };
    let (metrics_a, metrics_b) = (metrics(&a), metrics(&b));
    let mut rows: Vec<Row> =
        metrics_a.iter().map(|metric| row(metric, counterpart(metric, &metrics_b), &conditions)).collect();
    let alone = metrics_b.iter().filter(|metric| counterpart(metric, &metrics_a).is_none());
    rows.extend(alone.map(|metric| refused(metric, [None, Some(metric)], "only B has it".to_owned())));
    decide(&mut rows);
    Ok(Comparison {
        schema: Comparison::SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        compares: a.schema.clone(),
        machine: format!(
            "{}, {} cores, {}, {:.1} GiB",
            a.machine.cpu,
            a.machine.cores,
            a.machine.isa,
            a.machine.memory_bytes as f64 / f64::from(1 << 30)
        ),
        files: [a.file.clone(), b.file.clone()],
        settings: settings(&a, &b),
        work: a.work,
        confidence: CONFIDENCE,
        resamples: RESAMPLES,
        seed: SEED,
        change_min,
        rows,
        notes,
    })
}

impl Comparison {
    pub const SCHEMA: &'static str = "bandmaster.bench.compare/1";
}

fn check_kinds(a: &Side, b: &Side) -> Result<(), CompareError> {
    if a.schema == b.schema {
        return Ok(());
    }
    Err(CompareError::Kinds {
        a_file: a.file.clone(),
        a: a.schema.clone(),
        b_file: b.file.clone(),
        b: b.schema.clone(),
    })
}

/// The machine is the one that ran the measuring program, whatever server was measured. All
/// its properties must be equal.
fn check_machines(a: &Side, b: &Side) -> Result<(), CompareError> {
    let (machine_a, machine_b) = (&a.machine, &b.machine);
    let memory = |bytes: u64| format!("{bytes} bytes");
    let same_memory = is_near(machine_a.memory_bytes as f64, machine_b.memory_bytes as f64, MEMORY_SHARE_MAX);
    let facts = [
        ("cpu", machine_a.cpu.clone(), machine_b.cpu.clone(), machine_a.cpu == machine_b.cpu),
        (
            "cores",
            machine_a.cores.to_string(),
            machine_b.cores.to_string(),
            machine_a.cores == machine_b.cores,
        ),
        ("isa", machine_a.isa.clone(), machine_b.isa.clone(), machine_a.isa == machine_b.isa),
        ("memory", memory(machine_a.memory_bytes), memory(machine_b.memory_bytes), same_memory),
    ];
    match facts.into_iter().find(|(.., same)| !same) {
        None => Ok(()),
        Some((name, in_a, in_b, _)) => Err(CompareError::Machine {
            name,
            a_file: a.file.clone(),
            a: in_a,
            b_file: b.file.clone(),
            b: in_b,
        }),
    }
}

fn check_work(a: &Side, b: &Side, is_partial: bool) -> Result<(), CompareError> {
    for fact in a.work.iter().filter(|fact| !(is_partial && fact.may_be_partial)) {
        let other = b.work.iter().find(|other| other.name == fact.name && other.value != fact.value);
        if let Some(other) = other {
            return Err(CompareError::Work {
                name: fact.name,
                a_file: a.file.clone(),
                a: fact.value.clone(),
                b_file: b.file.clone(),
                b: other.value.clone(),
            });
        }
    }
    Ok(())
}

/// Accuracies are compared item by item. Interrupted results are reduced to the items that both have,
/// and a note says so.
fn same_items(a: &mut Side, b: &mut Side, is_partial: bool) -> Result<Option<String>, CompareError> {
    let (Body::Accuracy(accuracy_a), Body::Accuracy(accuracy_b)) = (&mut a.body, &mut b.body) else {
        return Ok(None);
    };
    let names = |items: &[read::Item]| items.iter().map(read::Item::name).collect::<BTreeSet<_>>();
    let (in_a, in_b) = (names(&accuracy_a.items), names(&accuracy_b.items));
    let Some(example) = in_a.symmetric_difference(&in_b).next() else { return Ok(None) };
    if !is_partial {
        return Err(CompareError::Items {
            a_file: a.file.clone(),
            a_lacks: in_b.difference(&in_a).count(),
            b_file: b.file.clone(),
            b_lacks: in_a.difference(&in_b).count(),
            example: example.clone(),
        });
    }
    accuracy_a.items.retain(|item| in_b.contains(&item.name()));
    accuracy_b.items.retain(|item| in_a.contains(&item.name()));
    let (both, only_a, only_b) = (accuracy_a.items.len(), in_a.len(), in_b.len());
    Ok(Some(format!("compared over the {both} items that both have (A has {only_a}, B has {only_b})")))
}

/// Whether two values differ by at most `share` of the larger one.
fn is_near(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * a.max(b)
}

fn notes(a: &Side, b: &Side) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, side) in [("A", a), ("B", b)] {
        if side.interrupted {
            notes.push(format!("{name} was interrupted: it is only a part of a measurement"));
        }
        let load = side.machine.load_1m;
        if load > LOAD_SHARE_MAX * side.machine.cores as f64 {
            let cores = side.machine.cores;
            notes.push(format!("{name} was measured on a busy machine (load {load:.1} on {cores} cores)"));
        }
        notes.extend(failures(name, &side.body));
    }
    let (seed_a, seed_b) = (seed(a), seed(b));
    if seed_a != seed_b {
        notes.push("the seeds differ: the work is of the same kind but not identical".to_owned());
    }
    notes
}

fn seed(side: &Side) -> Option<&str> {
    side.settings.iter().find(|(name, _)| *name == "seed").map(|(_, value)| value.as_str())
}

/// By how much the token counts of the same work may differ.
fn tokens_share(a: &Side, b: &Side) -> f64 {
    if seed(a) == seed(b) { TOKENS_SHARE_MAX } else { TOKENS_SHARE_OTHER_SEED }
}

/// A note on failed requests or items of one side, saying how the figures treat them.
fn failures(name: &str, body: &Body) -> Option<String> {
    match body {
        Body::Serve(serve) if serve.errors > 0 => {
            let (failed, all) = (serve.errors, serve.requests);
            Some(format!("{failed} of {all} requests of {name} failed; no figure includes them"))
        }
        Body::Accuracy(accuracy) => {
            let (items, mut errors) =
                (accuracy.items.len(), accuracy.items.iter().filter_map(|item| item.error.as_deref()));
            let first = errors.next()?;
            let failed = 1 + errors.count();
            Some(format!("{name}: {failed} of {items} items failed: {first}; they count as wrong"))
        }
        _ => None,
    }
}

fn settings(a: &Side, b: &Side) -> Vec<Setting> {
    let of = |side: &Side, name: &str| {
        side.settings.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone())
    };
    let mut names: Vec<&'static str> = Vec::new();
    for (name, _) in a.settings.iter().chain(&b.settings) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| Setting { name, a: of(a, name), b: of(b, name) }).collect()
}

/// The p-value for accuracies; both sides have the same items in the same order.
fn mcnemar(a: &Side, b: &Side) -> Option<f64> {
    let (Body::Accuracy(a), Body::Accuracy(b)) = (&a.body, &b.body) else { return None };
    let pairs = || a.items.iter().zip(&b.items).map(|(a, b)| (a.counts_as_right(), b.counts_as_right()));
    let only_a = pairs().filter(|pair| *pair == (true, false)).count();
    let only_b = pairs().filter(|pair| *pair == (false, true)).count();
    Some(mcnemar_p(only_a as u64, only_b as u64))
}

fn counterpart<'a>(metric: &Metric, others: &'a [Metric]) -> Option<&'a Metric> {
    others.iter().find(|other| other.row == metric.row && other.name == metric.name)
}

/// What holds for all rows of a comparison.
struct Conditions {
    /// Whether one side is part of an interrupted measurement.
    is_partial: bool,
    /// By how much token counts may differ.
    tokens_share: f64,
    /// The p-value for right answers.
    mcnemar: Option<f64>,
    /// Ratios closer to 1 than this count as no change.
    change_min: f64,
}

fn row(a: &Metric, b: Option<&Metric>, conditions: &Conditions) -> Row {
    let Some(b) = b else { return refused(a, [Some(a), None], "only A has it".to_owned()) };
    if let Some(reason) = refusal(a, b, conditions) {
        return refused(a, [Some(a), Some(b)], reason);
    }
    let plain = uncompared(a, [Some(a), Some(b)]);
    let metric_change = metric_change(a, b, conditions);
    let (ratio, difference) = match a.change {
        Change::Ratio => (Some(metric_change.change), None),
        Change::Difference => (None, Some(metric_change.change)),
    };
    let p = metric_change.p.filter(|_| a.is_decidable && b.is_decidable);
    // The verdict if the difference is no chance; `decide` withdraws it otherwise.
    let verdict = if p.is_some() {
        direction(a, metric_change.change, conditions.change_min)
    } else {
        Verdict::Undecided
    };
    Row { ratio, difference, interval: metric_change.interval, p, verdict, refused: None, ..plain }
}

/// The comparison of two figures.
struct MetricChange {
    change: f64,
    interval: Option<[f64; 2]>,
    p: Option<f64>,
}

fn metric_change(a: &Metric, b: &Metric, conditions: &Conditions) -> MetricChange {
    let change = |from: f64, to: f64| match a.change {
        Change::Ratio => to / from,
        Change::Difference => to - from,
    };
    let plain = change(a.samples.figure(), b.samples.figure());
    match (&a.samples, &b.samples) {
        (
            Samples::Rounds { figures: in_a, pairs: pairs_a },
            Samples::Rounds { figures: in_b, pairs: pairs_b },
        ) => {
            let Estimate { ratio, interval, p } =
                estimate(in_a, in_b, pairs_a.is_some() && pairs_a == pairs_b);
            MetricChange { change: ratio, interval, p }
        }
        (Samples::Items(in_a), Samples::Items(in_b)) if a.change == Change::Difference => {
            MetricChange { change: plain, interval: interval(in_a, in_b, change), p: conditions.mcnemar }
        }
        (Samples::Items(in_a), Samples::Items(in_b)) => {
            // Costs per item are compared like rounds, in pairs of the same item of A and B.
            let whole = in_a.iter().chain(in_b).all(|value| *value > 0.0);
            let p = if whole { estimate(in_a, in_b, true).p } else { None };
            MetricChange { change: plain, interval: interval(in_a, in_b, change), p }
        }
        _ => MetricChange { change: plain, interval: None, p: None },
    }
}

/// The direction of a change, if it is large enough.
fn direction(metric: &Metric, change: f64, change_min: f64) -> Verdict {
    let (up, down) = match metric.change {
        Change::Ratio => (change > 1.0 + change_min, change < 1.0 / (1.0 + change_min)),
        Change::Difference => (change > 0.0, change < 0.0),
    };
    match (up, down, metric.better) {
        (true, _, Better::Higher) | (_, true, Better::Lower) => Verdict::Better,
        (true, _, Better::Lower) | (_, true, Better::Higher) => Verdict::Worse,
        _ => Verdict::Undecided,
    }
}

/// Keeps a verdict only if its test holds together with all the others: ten figures of two equal sides must not get ten
/// chances to look different.
fn decide(rows: &mut [Row]) {
    let p: Vec<Option<f64>> = rows.iter().map(|row| row.p).collect();
    for (row, holds) in rows.iter_mut().zip(holm(&p, ERROR_MAX)) {
        if !holds && row.verdict != Verdict::Refused {
            row.verdict = Verdict::Undecided;
        }
    }
}

/// A row without a comparison.
fn uncompared(metric: &Metric, sides: [Option<&Metric>; 2]) -> Row {
    let figure = |side: Option<&Metric>| {
        side.map(|metric| metric.samples.figure()).filter(|figure| figure.is_finite())
    };
    let samples = |side: Option<&Metric>| side.map_or(0, |metric| metric.samples.count());
    let [a, b] = sides;
    Row {
        row: metric.row.clone(),
        metric: metric.name,
        better: metric.better,
        a: figure(a),
        b: figure(b),
        a_samples: samples(a),
        b_samples: samples(b),
        ratio: None,
        difference: None,
        interval: None,
        p: None,
        verdict: Verdict::Refused,
        refused: None,
    }
}

fn refused(metric: &Metric, sides: [Option<&Metric>; 2], reason: String) -> Row {
    Row { refused: Some(format!("row refused: {reason}")), ..uncompared(metric, sides) }
}

/// Why two figures can't be compared.
fn refusal(a: &Metric, b: &Metric, conditions: &Conditions) -> Option<String> {
    let token_difference =
        a.counted.iter().zip(&b.counted).find_map(|(a, b)| token_difference(*a, *b, conditions));
    let without = |name: &str, metric: &Metric| {
        let figure = metric.samples.figure();
        let usable = figure.is_finite() && (figure > 0.0 || metric.change == Change::Difference);
        (!usable).then(|| match metric.samples.count() {
            0 => format!("{name} has no samples"),
            _ if figure.is_finite() => format!("{name} is {figure}, so a ratio to it can't be computed"),
            _ => format!("{name} has no such figure"),
        })
    };
    token_difference.or_else(|| without("A", a)).or_else(|| without("B", b))
}

/// Says if token counts differ too much. Partial measurements, and work generated from different
/// seeds, are compared per request.
fn token_difference(a: TokenCount, b: TokenCount, conditions: &Conditions) -> Option<String> {
    let verb = a.verb;
    let differs = |in_a: f64, in_b: f64, of: f64| (in_a - in_b).abs() > conditions.tokens_share * of;
    let by_request = conditions.is_partial || a.requests != b.requests;
    if !by_request {
        let apart = differs(a.tokens as f64, b.tokens as f64, a.of.max(b.of) as f64);
        return apart.then(|| format!("A {verb} {} tokens, B {}", a.tokens, b.tokens));
    }
    let mean = |counted: TokenCount, tokens: u64| tokens as f64 / counted.requests.max(1) as f64;
    let (in_a, in_b) = (mean(a, a.tokens), mean(b, b.tokens));
    let apart = differs(in_a, in_b, mean(a, a.of).max(mean(b, b.of)));
    apart.then(|| format!("A {verb} {in_a:.1} tokens per request, B {in_b:.1}"))
}
