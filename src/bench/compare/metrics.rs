//! Which figures a result has, what samples each is made of, and which direction is better. How two figures are
//! compared is not known here.

use std::collections::BTreeMap;

use super::read::{Accuracy, Body, Mode, Number, Request, Serve, Side, Throughput, ThroughputRow, Workflow};
use super::rounds::geometric_mean;
use crate::bootstrap::mean;
use crate::percentiles::nearest_rank;

/// One figure of one side.
pub(super) struct Metric {
    /// The row it belongs to; empty if the result has only one.
    pub row: String,
    /// The figure's name and unit.
    pub name: &'static str,
    pub better: Better,
    pub change: Change,
    pub samples: Samples,
    /// Whether the samples allow a verdict. False for a rate that was set by the load, and for a percentile with no
    /// value beyond it: the slowest of 20 requests is no 99th percentile.
    pub is_decidable: bool,
    /// Token counts that must be alike on both sides for the figure to mean the same.
    pub counted: Vec<TokenCount>,
}

/// The samples of a figure, which decide how it can be compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Samples {
    /// One value per round; the figure is their geometric mean.
    Rounds {
        /// In the order of the rounds.
        figures: Vec<f64>,
        /// Set if each round's work is different: the seed and the round numbers. If both are equal on two sides, their
        /// rounds are compared in pairs.
        pairs: Option<(u64, Vec<u64>)>,
    },
    /// One value per item, with the same items on both sides; the figure is their mean.
    Items(Vec<f64>),
    /// A single value, whose uncertainty is unknown.
    Single(f64),
}

impl Samples {
    #[must_use]
    pub(super) fn figure(&self) -> f64 {
        match self {
            Self::Rounds { figures, .. } => geometric_mean(figures),
            Self::Items(values) => mean(values),
            Self::Single(value) => *value,
        }
    }

    #[must_use]
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Rounds { figures, .. } => figures.len(),
            Self::Items(values) => values.len(),
            Self::Single(_) => 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// E.g. rates and accuracies.
    Higher,
    /// E.g. times and costs.
    Lower,
}

/// How a change is expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// B over A; 1 is no change.
    Ratio,
    /// B minus A; 0 is no change.
    Difference,
}

/// A number of tokens of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TokenCount {
    /// What was done with them, in the past tense.
    pub verb: &'static str,
    pub tokens: u64,
    /// The total that a difference is measured against.
    pub of: u64,
    /// Number of requests they belong to. Partial measurements are compared per request.
    pub requests: usize,
}

#[must_use]
pub(super) fn metrics(side: &Side) -> Vec<Metric> {
    match &side.body {
        Body::Throughput(body) => body.rows.iter().flat_map(|row| throughput(body, row)).collect(),
        Body::Workflow(body) => workflow(body),
        Body::Serve(body) => serve(body),
        Body::Accuracy(body) => accuracy(body),
    }
}

fn numbers(numbers: &[Number]) -> Vec<f64> {
    numbers.iter().map(|number| number.0).collect()
}

fn metric(name: &'static str, better: Better, samples: Samples) -> Metric {
    Metric {
        row: String::new(),
        name,
        better,
        change: Change::Ratio,
        samples,
        is_decidable: true,
        counted: Vec::new(),
    }
}

fn rounds(figures: Vec<f64>) -> Samples {
    Samples::Rounds { figures, pairs: None }
}

fn throughput(body: &Throughput, row: &ThroughputRow) -> [Metric; 2] {
    let seconds = |rounds: &[Number], median: Number| {
        if rounds.is_empty() { vec![median.0] } else { numbers(rounds) }
    };
    let prefill = seconds(&row.prefill_rounds_s, row.prefill_s);
    let decode = seconds(&row.decode_rounds_s, row.decode_s);
    let label = label(body, row);
    let counted = |verb, tokens| vec![TokenCount { verb, tokens, of: tokens, requests: 1 }];
    let of_row = |name, tokens: u64, seconds: &[f64], counted| Metric {
        row: label.clone(),
        counted,
        ..metric(
            name,
            Better::Higher,
            rounds(seconds.iter().map(|seconds| tokens as f64 / seconds).collect()),
        )
    };
    [
        of_row(
            "prefill, tokens/s",
            row.batch * row.prompt_tokens,
            &prefill,
            counted("computed", row.computed_tokens),
        ),
        of_row(
            "decode, tokens/s",
            row.batch * row.gen_tokens,
            &decode,
            counted("generated", row.batch * row.gen_tokens),
        ),
    ]
}

/// What distinguishes a row from the others. Threads do only if they differ from those of the whole result: those are a
/// setting, in which two results may differ.
fn label(body: &Throughput, row: &ThroughputRow) -> String {
    let mut label = format!("batch {}, {} + {}", row.batch, row.prompt_tokens, row.gen_tokens);
    let own_threads = if row.threads == body.threads { 0 } else { row.threads };
    let extra = [("depth", row.depth_tokens), ("shared", row.shared_prefix_tokens), ("threads", own_threads)];
    for (name, value) in extra.iter().filter(|(_, value)| *value > 0) {
        label.push_str(&format!(", {name} {value}"));
    }
    label
}

fn workflow(body: &Workflow) -> Vec<Metric> {
    let counted = |verb, tokens| TokenCount { verb, tokens, of: tokens, requests: 1 };
    let mut tokens = vec![counted("read", body.prompt_tokens), counted("generated", body.output_tokens)];
    tokens.extend(body.cached_tokens.map(|cached| found(cached, body.prompt_tokens, 1)));
    vec![Metric { counted: tokens, ..metric("wall, s", Better::Lower, rounds(numbers(&body.rounds_wall_s))) }]
}

/// Prompt tokens found in the prefix cache. Both sides must have found the same share of the prompt.
fn found(cached: u64, prompt: u64, requests: usize) -> TokenCount {
    TokenCount { verb: "found in the cache", tokens: cached, of: prompt, requests }
}

/// Every round gives one value: its requests share the server's state at that moment, so
/// they are no independent samples.
fn serve(body: &Serve) -> Vec<Metric> {
    let finished: Vec<&Request> = body.samples.iter().filter(|request| request.finished()).collect();
    let mut by_round: BTreeMap<u64, Vec<&Request>> = BTreeMap::new();
    for request in &finished {
        by_round.entry(request.round).or_default().push(request);
    }
    let each: Vec<&[&Request]> = by_round.values().map(Vec::as_slice).collect();
    let numbers_of_rounds: Vec<u64> = by_round.keys().copied().collect();
    let of_rounds =
        |figures: Vec<f64>| Samples::Rounds { figures, pairs: Some((body.seed, numbers_of_rounds.clone())) };
    let one = |time: &Option<Number>| time.iter().map(|time| time.0).collect::<Vec<f64>>();
    type Times = Box<dyn Fn(&Request) -> Vec<f64>>;
    let latencies: [([&'static str; 3], Times); 3] = [
        (
            ["first token p50, ms", "first token p90, ms", "first token p99, ms"],
            Box::new(move |request| one(&request.ttft_ms)),
        ),
        (
            ["between tokens p50, ms", "between tokens p90, ms", "between tokens p99, ms"],
            Box::new(|request| numbers(&request.itl_ms)),
        ),
        (
            ["request p50, ms", "request p90, ms", "request p99, ms"],
            Box::new(move |request| one(&request.e2e_ms)),
        ),
    ];
    let rate = of_rounds(each.iter().map(|round| tokens_a_second(round)).collect());
    // If requests arrive at a fixed rate, the output rate is that of the load and not of the server.
    let set = !matches!(body.mode, Mode::Closed { .. });
    let mut metrics = vec![Metric { is_decidable: !set, ..metric("output tokens/s", Better::Higher, rate) }];
    for (names, times) in &latencies {
        let rounds: Vec<Vec<f64>> = each
            .iter()
            .map(|round| {
                let mut values: Vec<f64> = round.iter().flat_map(|request| times(request)).collect();
                values.sort_by(f64::total_cmp);
                values
            })
            .collect();
        for (name, share) in names.iter().zip([0.5, 0.9, 0.99]) {
            let figures =
                rounds.iter().map(|values| nearest_rank(values, share).unwrap_or(f64::NAN)).collect();
            // Slightly below 1, because 0.1 times 10 is not exactly 1 in floating point.
            let is_decidable = rounds.iter().all(|values| values.len() as f64 * (1.0 - share) > 0.999);
            metrics.push(Metric { is_decidable, ..metric(name, Better::Lower, of_rounds(figures)) });
        }
    }
    let counted = work_of(&finished);
    for metric in &mut metrics {
        metric.counted.clone_from(&counted);
    }
    metrics
}

fn work_of(finished: &[&Request]) -> Vec<TokenCount> {
    let sum = |of: fn(&Request) -> u64| finished.iter().map(|request| of(request)).sum::<u64>();
    let counted = |verb, tokens| TokenCount { verb, tokens, of: tokens, requests: finished.len() };
    let (prompt, cached) = (sum(|request| request.prompt_tokens), sum(|request| request.cached_tokens));
    vec![
        found(cached, prompt, finished.len()),
        counted("read", prompt),
        counted("generated", sum(|request| request.output_tokens)),
    ]
}

/// Measured from the round's first request to the end of its last.
fn tokens_a_second(round: &[&Request]) -> f64 {
    let ends = round.iter().map(|request| request.at_ms.0 + request.e2e_ms.map_or(0.0, |time| time.0));
    let (begin, end) =
        (round.iter().map(|request| request.at_ms.0).fold(f64::INFINITY, f64::min), ends.fold(0.0, f64::max));
    let tokens: u64 = round.iter().map(|request| request.output_tokens).sum();
    1e3 * tokens as f64 / (end - begin)
}

fn accuracy(body: &Accuracy) -> Vec<Metric> {
    let each = |of: &dyn Fn(&super::read::Item) -> f64| body.items.iter().map(of).collect::<Vec<f64>>();
    let right = each(&|item| f64::from(u8::from(item.counts_as_right())));
    let has_answers = body.items.iter().any(|item| item.answer_right.is_some());
    let name = if has_answers { "answers right" } else { "accuracy" };
    vec![
        Metric { change: Change::Difference, ..metric(name, Better::Higher, Samples::Items(right)) },
        metric("tokens an item", Better::Lower, Samples::Items(each(&|item| item.tokens as f64))),
        // All items of a run share the machine's state at that time, so one run does not predict the next.
        metric("seconds an item", Better::Lower, Samples::Single(mean(&each(&|item| item.wall_s.0)))),
    ]
}
