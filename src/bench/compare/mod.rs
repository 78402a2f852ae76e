//! Holds two results of the same measurement against each other. What was not the same work on the same machine is
//! refused, and a verdict is given only where the samples allow one.

pub mod bootstrap;
pub mod html;
pub mod metrics;
pub mod read;
pub mod rounds;
pub mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bootstrap::{CONFIDENCE, RESAMPLES, SEED, interval, mcnemar_p};
use metrics::{Better, Change, Counted, Metric, Samples, metrics};
use read::{Body, Side};
use rounds::{Estimate, estimate, holm};

/// Token counts that differ by more than this share are not the same work.
const TOKENS_SHARE_MAX: f64 = 0.01;
/// A machine's memory as the system tells it varies a little from boot to boot.
const MEMORY_SHARE_MAX: f64 = 0.01;
/// The same where two seeds drew different work of the same kind: lengths differ by chance.
const TOKENS_SHARE_OTHER_SEED: f64 = 0.15;
/// Ratios nearer to 1 than this are called no change unless said otherwise: machines drift by as much between two
/// measurements, which no number of rounds within each can show.
pub const CHANGE_MIN: f64 = 0.05;
/// Load a core from which a machine was busy with something else.
const LOAD_SHARE_MAX: f64 = 0.3;
/// With this probability at most, any figure of two sides that are alike is called better or worse.
const ERROR_MAX: f64 = 0.05;

/// Two results that can't be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Nothing in it.
    #[error("{file} is empty: the command that should have written it did not end well; measure again")]
    Empty {
        /// As named.
        file: String,
    },
    /// Not JSON, or not the shape that its schema promises.
    #[error("{file} is no result that `bandmaster bench ... --json` prints: {reason}")]
    Broken {
        /// As named.
        file: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// Something else, or of another version.
    #[error(
        "{file} has schema `{schema}`: compared are bandmaster.bench.throughput/1, workflow/1, serve/1 and accuracy/1"
    )]
    Schema {
        /// As named.
        file: String,
        /// What it says.
        schema: String,
    },
    /// Several cells side by side.
    #[error(
        "{file} holds several cells (bandmaster.bench.accuracy-matrix/1), and one cell a file is compared: measure one strategy, model and budget per file, without --baseline"
    )]
    Matrix {
        /// As named.
        file: String,
    },
    /// Two different measurements.
    #[error("{a_file} is `{a}` and {b_file} is `{b}`: give two results of the same measurement")]
    Kinds {
        /// As named.
        a_file: String,
        /// Its schema.
        a: String,
        /// As named.
        b_file: String,
        /// Its schema.
        b: String,
    },
    /// Nothing to compare with.
    #[error(
        "{file} holds one result: give a second file, or measure two servers by turns with `bench serve --against`"
    )]
    Alone {
        /// As named.
        file: String,
    },
    /// Not measured to the end.
    #[error(
        "{file} is part of a measurement that was interrupted: measure again, or compare what there is with --partial"
    )]
    Interrupted {
        /// As named.
        file: String,
    },
    /// Another machine.
    #[error(
        "different machines: {name} is {a} in {a_file} and {b} in {b_file}: measure both on the same one"
    )]
    Machine {
        /// What of it.
        name: &'static str,
        /// As named.
        a_file: String,
        /// There.
        a: String,
        /// As named.
        b_file: String,
        /// There.
        b: String,
    },
    /// Other work.
    #[error("different work: {name} is {a} in {a_file} and {b} in {b_file}: measure both with the same")]
    Work {
        /// What of it.
        name: &'static str,
        /// As named.
        a_file: String,
        /// There.
        a: String,
        /// As named.
        b_file: String,
        /// There.
        b: String,
    },
    /// Other questions.
    #[error(
        "different work: {a_file} lacks {a_lacks} of the items of {b_file}, which lacks {b_lacks} of its (e.g. `{example}`): measure both over the same items"
    )]
    Items {
        /// As named.
        a_file: String,
        /// Items only B has.
        a_lacks: usize,
        /// As named.
        b_file: String,
        /// Items only A has.
        b_lacks: usize,
        /// One of them.
        example: String,
    },
}

/// `bandmaster.bench.compare/1`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Schema of both results.
    pub compares: String,
    /// Where both were measured.
    pub machine: String,
    /// The files, A first.
    pub files: [String; 2],
    /// What both did.
    pub work: Vec<Named>,
    /// What was set, where that may differ.
    pub settings: Vec<Setting>,
    /// Share of the redrawn figures that an interval holds.
    pub confidence: f64,
    /// Times that samples were redrawn.
    pub resamples: usize,
    /// Draws them.
    pub seed: u64,
    /// Ratios nearer to 1 than this are called no change.
    pub change_min: f64,
    /// A row a figure.
    pub rows: Vec<Row>,
    /// What to know before believing the rows.
    pub notes: Vec<String>,
}

/// A name and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct Named {
    pub name: &'static str,
    pub value: String,
}

/// What was set on each side; `None` where a result does not tell.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct Setting {
    pub name: &'static str,
    pub a: Option<String>,
    pub b: Option<String>,
}

/// One figure of both sides.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// Of a result with several; else empty.
    pub row: String,
    /// What it is, with its unit.
    pub metric: &'static str,
    /// Which way is better.
    pub better: Better,
    /// A's.
    pub a: Option<f64>,
    /// B's.
    pub b: Option<f64>,
    /// Samples behind A's.
    pub a_samples: usize,
    /// Samples behind B's.
    pub b_samples: usize,
    /// B over A.
    pub ratio: Option<f64>,
    /// B minus A, where that is told instead.
    pub difference: Option<f64>,
    /// Of the ratio or the difference.
    pub interval: Option<[f64; 2]>,
    /// How likely such a difference is when both sides are alike, for this figure alone: Student's t over rounds, McNemar's
    /// exact test over right answers.
    pub p: Option<f64>,
    /// Of B.
    pub verdict: Verdict,
    /// Why there is no comparison.
    pub refused: Option<String>,
}

/// What can be said of B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Better than A.
    Better,
    /// Worse than A.
    Worse,
    /// The difference may be chance, is too small to matter, or there are too few samples.
    Undecided,
    /// Not compared.
    Refused,
}

/// Compares B with A. `partial` allows results that were interrupted; a ratio nearer to 1 than `change_min` is no change.
///
/// # Errors
/// [`CompareError`] names the values that differ and must not.
pub fn compare(mut a: Side, mut b: Side, partial: bool, change_min: f64) -> Result<Comparison, CompareError> {
    check_kinds(&a, &b)?;
    if let Some(side) = [&a, &b].into_iter().find(|side| side.interrupted && !partial) {
        return Err(CompareError::Interrupted { file: side.file.clone() });
    }
    check_machines(&a, &b)?;
    let in_part = a.interrupted || b.interrupted;
    check_work(&a, &b, in_part)?;
    let mut notes = notes(&a, &b);
    notes.extend(same_items(&mut a, &mut b, in_part)?);
    let how = How { in_part, tokens_share: tokens_share(&a, &b), mcnemar: mcnemar(&a, &b), change_min };
    let (of_a, of_b) = (metrics(&a), metrics(&b));
    let mut rows: Vec<Row> = of_a.iter().map(|metric| row(metric, partner(metric, &of_b), &how)).collect();
    let alone = of_b.iter().filter(|metric| partner(metric, &of_a).is_none());
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
        work: a.work.into_iter().map(|fact| Named { name: fact.name, value: fact.value }).collect(),
        confidence: CONFIDENCE,
        resamples: RESAMPLES,
        seed: SEED,
        change_min,
        rows,
        notes,
    })
}

impl Comparison {
    /// Name of the JSON's shape.
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

/// The machine is that of the program that measured, whatever server it measured: all of it must be the same.
fn check_machines(a: &Side, b: &Side) -> Result<(), CompareError> {
    let (of_a, of_b) = (&a.machine, &b.machine);
    let memory = |bytes: u64| format!("{bytes} bytes");
    let same_memory = near(of_a.memory_bytes as f64, of_b.memory_bytes as f64, MEMORY_SHARE_MAX);
    let facts = [
        ("cpu", of_a.cpu.clone(), of_b.cpu.clone(), of_a.cpu == of_b.cpu),
        ("cores", of_a.cores.to_string(), of_b.cores.to_string(), of_a.cores == of_b.cores),
        ("isa", of_a.isa.clone(), of_b.isa.clone(), of_a.isa == of_b.isa),
        ("memory", memory(of_a.memory_bytes), memory(of_b.memory_bytes), same_memory),
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

fn check_work(a: &Side, b: &Side, in_part: bool) -> Result<(), CompareError> {
    for fact in a.work.iter().filter(|fact| !(in_part && fact.may_be_partial)) {
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

/// Accuracies are compared item by item: of interrupted ones those that both have, which is noted.
fn same_items(a: &mut Side, b: &mut Side, in_part: bool) -> Result<Option<String>, CompareError> {
    let (Body::Accuracy(of_a), Body::Accuracy(of_b)) = (&mut a.body, &mut b.body) else { return Ok(None) };
    let names = |items: &[read::Item]| items.iter().map(read::Item::name).collect::<BTreeSet<_>>();
    let (in_a, in_b) = (names(&of_a.items), names(&of_b.items));
    let Some(example) = in_a.symmetric_difference(&in_b).next() else { return Ok(None) };
    if !in_part {
        return Err(CompareError::Items {
            a_file: a.file.clone(),
            a_lacks: in_b.difference(&in_a).count(),
            b_file: b.file.clone(),
            b_lacks: in_a.difference(&in_b).count(),
            example: example.clone(),
        });
    }
    of_a.items.retain(|item| in_b.contains(&item.name()));
    of_b.items.retain(|item| in_a.contains(&item.name()));
    let (both, only_a, only_b) = (of_a.items.len(), in_a.len(), in_b.len());
    Ok(Some(format!("compared over the {both} items that both have (A has {only_a}, B has {only_b})")))
}

/// Whether two values differ by at most `share` of the larger.
fn near(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * a.max(b)
}

fn notes(a: &Side, b: &Side) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, side) in [("A", a), ("B", b)] {
        if side.interrupted {
            notes.push(format!("{name} was interrupted: it is part of a measurement"));
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
        notes.push("the seeds differ: the work is of the same kind and not the same".to_owned());
    }
    notes
}

fn seed(side: &Side) -> Option<&str> {
    side.settings.iter().find(|(name, _)| *name == "seed").map(|(_, value)| value.as_str())
}

/// How far token counts of the same work may differ.
fn tokens_share(a: &Side, b: &Side) -> f64 {
    if seed(a) == seed(b) { TOKENS_SHARE_MAX } else { TOKENS_SHARE_OTHER_SEED }
}

/// What failed on one side, and whether the figures know of it.
fn failures(name: &str, body: &Body) -> Option<String> {
    match body {
        Body::Serve(serve) if serve.errors > 0 => {
            let (failed, all) = (serve.errors, serve.requests);
            Some(format!("{failed} of {all} requests of {name} failed; they are in no figure"))
        }
        Body::Accuracy(accuracy) => {
            let (items, mut errors) =
                (accuracy.items.len(), accuracy.items.iter().filter_map(|item| item.error.as_deref()));
            let first = errors.next()?;
            let failed = 1 + errors.count();
            Some(format!("{name}: {failed} of {items} items failed: {first}; they count as not right"))
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

/// Of the same items in the same order.
fn mcnemar(a: &Side, b: &Side) -> Option<f64> {
    let (Body::Accuracy(a), Body::Accuracy(b)) = (&a.body, &b.body) else { return None };
    let pairs = || a.items.iter().zip(&b.items).map(|(a, b)| (a.counts_as_right(), b.counts_as_right()));
    let only_a = pairs().filter(|pair| *pair == (true, false)).count();
    let only_b = pairs().filter(|pair| *pair == (false, true)).count();
    Some(mcnemar_p(only_a as u64, only_b as u64))
}

fn partner<'a>(metric: &Metric, others: &'a [Metric]) -> Option<&'a Metric> {
    others.iter().find(|other| other.row == metric.row && other.name == metric.name)
}

/// What holds for all rows of a comparison.
struct How {
    /// One side is part of a measurement.
    in_part: bool,
    /// How far token counts may differ.
    tokens_share: f64,
    /// Of the right answers.
    mcnemar: Option<f64>,
    /// Ratios nearer to 1 are no change.
    change_min: f64,
}

fn row(a: &Metric, b: Option<&Metric>, how: &How) -> Row {
    let Some(b) = b else { return refused(a, [Some(a), None], "only A has it".to_owned()) };
    if let Some(reason) = why_not(a, b, how) {
        return refused(a, [Some(a), Some(b)], reason);
    }
    let plain = bare(a, [Some(a), Some(b)]);
    let held = held(a, b, how);
    let (ratio, difference) = match a.change {
        Change::Ratio => (Some(held.change), None),
        Change::Difference => (None, Some(held.change)),
    };
    let p = held.p.filter(|_| a.tells && b.tells);
    // What it is if it is no chance; `decide` takes it back where it may be.
    let verdict = if p.is_some() { direction(a, held.change, how.change_min) } else { Verdict::Undecided };
    Row { ratio, difference, interval: held.interval, p, verdict, refused: None, ..plain }
}

/// Two figures held against each other.
struct Held {
    change: f64,
    interval: Option<[f64; 2]>,
    p: Option<f64>,
}

fn held(a: &Metric, b: &Metric, how: &How) -> Held {
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
            Held { change: ratio, interval, p }
        }
        (Samples::Items(in_a), Samples::Items(in_b)) if a.change == Change::Difference => {
            Held { change: plain, interval: interval(in_a, in_b, change), p: how.mcnemar }
        }
        (Samples::Items(in_a), Samples::Items(in_b)) => {
            // Costs of items are compared like rounds: an item of A and the same item of B are a pair.
            let whole = in_a.iter().chain(in_b).all(|value| *value > 0.0);
            let p = if whole { estimate(in_a, in_b, true).p } else { None };
            Held { change: plain, interval: interval(in_a, in_b, change), p }
        }
        _ => Held { change: plain, interval: None, p: None },
    }
}

/// Which way a change goes, if it is far enough from none.
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

/// A verdict stands where its test holds beside all the others: ten figures of two sides that are alike must not have
/// ten chances to look different.
fn decide(rows: &mut [Row]) {
    let p: Vec<Option<f64>> = rows.iter().map(|row| row.p).collect();
    for (row, holds) in rows.iter_mut().zip(holm(&p, ERROR_MAX)) {
        if !holds && row.verdict != Verdict::Refused {
            row.verdict = Verdict::Undecided;
        }
    }
}

/// A row without a comparison.
fn bare(metric: &Metric, sides: [Option<&Metric>; 2]) -> Row {
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
    Row { refused: Some(format!("row refused: {reason}")), ..bare(metric, sides) }
}

/// Why two figures can't be held against each other.
fn why_not(a: &Metric, b: &Metric, how: &How) -> Option<String> {
    let unlike = a.counted.iter().zip(&b.counted).find_map(|(a, b)| unlike(*a, *b, how));
    let without = |name: &str, metric: &Metric| {
        let figure = metric.samples.figure();
        let usable = figure.is_finite() && (figure > 0.0 || metric.change == Change::Difference);
        (!usable).then(|| match metric.samples.count() {
            0 => format!("{name} has no samples"),
            _ if figure.is_finite() => format!("{name} is {figure}, and that is in no ratio to anything"),
            _ => format!("{name} has no such figure"),
        })
    };
    unlike.or_else(|| without("A", a)).or_else(|| without("B", b))
}

/// Says so when token counts differ too much. Parts of measurements, and other draws of the same work, are held against
/// each other by request.
fn unlike(a: Counted, b: Counted, how: &How) -> Option<String> {
    let verb = a.verb;
    let differs = |in_a: f64, in_b: f64, of: f64| (in_a - in_b).abs() > how.tokens_share * of;
    let by_request = how.in_part || a.requests != b.requests;
    if !by_request {
        let apart = differs(a.tokens as f64, b.tokens as f64, a.of.max(b.of) as f64);
        return apart.then(|| format!("A {verb} {} tokens, B {}", a.tokens, b.tokens));
    }
    let mean = |counted: Counted, tokens: u64| tokens as f64 / counted.requests.max(1) as f64;
    let (in_a, in_b) = (mean(a, a.tokens), mean(b, b.tokens));
    let apart = differs(in_a, in_b, mean(a, a.of).max(mean(b, b.of)));
    apart.then(|| format!("A {verb} {in_a:.1} tokens a request, B {in_b:.1}"))
}
