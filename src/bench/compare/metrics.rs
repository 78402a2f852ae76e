//! Which figures a result has, what each is made of, and which way is better. How two are held against each other is not
//! known here.

use super::bootstrap::{Pairing, Samples};
use super::read::{Accuracy, Body, Mode, Number, Request, Serve, Side, Throughput, ThroughputRow, Workflow};

/// A figure of one side.
pub struct Metric {
    /// The row it belongs to; empty where a result has but one.
    pub row: String,
    /// What it is, with its unit.
    pub name: &'static str,
    /// Which way is better.
    pub better: Better,
    /// How two of them are compared.
    pub change: Change,
    /// Whether samples of two sides belong together.
    pub pairing: Pairing,
    /// What it is made of.
    pub samples: Samples,
    /// Tokens that both sides must have had alike for the figure to mean the same.
    pub counted: Vec<Counted>,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Rates, shares of right answers.
    Higher,
    /// Times, costs.
    Lower,
}

/// How a change is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// B over A; 1 is no change.
    Ratio,
    /// B minus A; 0 is no change.
    Difference,
}

/// Tokens of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// What was done with them, in the past tense.
    pub verb: &'static str,
    /// How many.
    pub tokens: u64,
    /// In so many requests. Parts of two measurements are compared by request.
    pub requests: usize,
}

/// All figures of `side`.
#[must_use]
pub fn metrics(side: &Side) -> Vec<Metric> {
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
        pairing: Pairing::Independent,
        samples,
        counted: Vec::new(),
    }
}

fn throughput(body: &Throughput, row: &ThroughputRow) -> [Metric; 2] {
    let seconds = |rounds: &[Number], median: Number| {
        if rounds.is_empty() { vec![median.0] } else { numbers(rounds) }
    };
    let prefill = seconds(&row.prefill_rounds_s, row.prefill_s);
    let decode = seconds(&row.decode_rounds_s, row.decode_s);
    let label = label(body, row);
    let counted = |verb, tokens| vec![Counted { verb, tokens, requests: 1 }];
    let of_row = |name, tokens: u64, seconds: &[f64], counted| Metric {
        row: label.clone(),
        counted,
        ..metric(name, Better::Higher, Samples::rate(tokens as f64, seconds))
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

/// What tells a row from the others. Its threads do only where they are not those of the whole result: those are a
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
    let counted = |verb, tokens| Counted { verb, tokens, requests: 1 };
    vec![Metric {
        counted: vec![counted("read", body.prompt_tokens), counted("generated", body.output_tokens)],
        ..metric("wall, s", Better::Lower, Samples::median(&numbers(&body.rounds_wall_s)))
    }]
}

/// Latencies are drawn by request, with all its tokens. Requests that share a server are not quite independent; what
/// the server's load has in common for all of them no interval can show.
fn serve(body: &Serve) -> Vec<Metric> {
    let finished: Vec<&Request> = body.samples.iter().filter(|request| request.finished()).collect();
    let each = |of: fn(&Request) -> Vec<f64>| finished.iter().map(|request| of(request)).collect::<Vec<_>>();
    let one = |time: Option<Number>| time.iter().map(|time| time.0).collect::<Vec<f64>>();
    let ttft: Vec<Vec<f64>> = finished.iter().map(|request| one(request.ttft_ms)).collect();
    let e2e: Vec<Vec<f64>> = finished.iter().map(|request| one(request.e2e_ms)).collect();
    let itl = each(|request| numbers(&request.itl_ms));
    let latencies = [
        (["first token p50, ms", "first token p90, ms", "first token p99, ms"], ttft),
        (["between tokens p50, ms", "between tokens p90, ms", "between tokens p99, ms"], itl),
        (["request p50, ms", "request p90, ms", "request p99, ms"], e2e),
    ];
    let mut metrics = vec![metric("output tokens/s", Better::Higher, output_rate(body, &finished))];
    for (names, values) in &latencies {
        for (name, share) in names.iter().zip([0.5, 0.9, 0.99]) {
            metrics.push(metric(name, Better::Lower, Samples::percentile(values, share)));
        }
    }
    let sum = |of: fn(&Request) -> u64| finished.iter().map(|request| of(request)).sum();
    let counted = |verb, tokens| Counted { verb, tokens, requests: finished.len() };
    let counted = vec![
        counted("read", sum(|request| request.prompt_tokens)),
        counted("generated", sum(|request| request.output_tokens)),
    ];
    for metric in &mut metrics {
        metric.counted.clone_from(&counted);
    }
    metrics
}

/// With a fixed number of requests under way, the rate is that number times tokens over seconds of a request, so it can
/// be drawn by request. When requests arrive at a rate of their own it is theirs and not the server's: one figure.
fn output_rate(body: &Serve, finished: &[&Request]) -> Samples {
    let pair = |request: &&Request| {
        (request.output_tokens as f64, request.e2e_ms.map_or(0.0, |milliseconds| milliseconds.0))
    };
    let pairs: Vec<(f64, f64)> = finished.iter().map(pair).collect();
    let plain = Samples::share(pairs.clone(), 1.0).figure();
    match body.mode {
        Mode::Closed { .. } if plain.is_finite() && plain > 0.0 => {
            Samples::share(pairs, body.output_tokens_per_s.0 / plain)
        }
        _ => Samples::single(body.output_tokens_per_s.0),
    }
}

fn accuracy(body: &Accuracy) -> Vec<Metric> {
    let mean = |of: &dyn Fn(&super::read::Item) -> f64| {
        Samples::share(body.items.iter().map(|item| (of(item), 1.0)).collect(), 1.0)
    };
    let paired = |metric: Metric| Metric { pairing: Pairing::Each, ..metric };
    let right = mean(&|item| f64::from(u8::from(item.counts_as_right())));
    let has_answers = body.items.iter().any(|item| item.answer_right.is_some());
    let name = if has_answers { "answers right" } else { "accuracy" };
    vec![
        paired(Metric { change: Change::Difference, ..metric(name, Better::Higher, right) }),
        paired(metric("tokens an item", Better::Lower, mean(&|item| item.tokens as f64))),
        paired(metric("seconds an item", Better::Lower, mean(&|item| item.wall_s.0))),
    ]
}
