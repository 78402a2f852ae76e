//! The result of `bench serve`: JSON by its fields, a table for a terminal, Markdown for a document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{LoadResult, Mode};
use crate::origin::Origin;
use crate::percentiles::Percentiles;

/// Printed below the figures of a band.
const IN_PIECES: &str =
    "Output is counted in stream events, because a band's token count covers all its tasks.";

/// JSON result of `bench serve`, schema `bandmaster.bench.serve/1`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ServeReport {
    pub schema: &'static str,
    /// Its machine is the one that sent the load; the server may be on another.
    #[serde(flatten)]
    pub origin: Origin,
    pub url: String,
    /// The server's name for the model.
    pub model: String,
    /// Name of a built-in workload, or the recording's file name.
    pub workload: String,
    /// Checksum of the recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_sha256: Option<String>,
    /// Calls before the measured ones.
    pub warmup: usize,
    /// Seed that the calls were generated from.
    pub seed: u64,
    /// Number of rounds with the same number of calls each.
    pub repeat: usize,
    pub mode: Mode,
    #[serde(flatten)]
    pub load: LoadReport,
    /// Whether it was interrupted; only calls that had ended are included.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Set for a band, which counts the tokens of all its tasks. Output tokens are then pieces of the answer, each
    /// about a token if the answer is streamed while it is written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub output_in_pieces: bool,
    /// Loads at several rates, and the highest rate that the server keeps up with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// A second server, measured in alternating rounds; the server that goes first alternates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Box<Self>>,
}

/// The figures of one load. Latencies count from the time a call was due.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LoadReport {
    /// Number of calls that ended.
    pub requests: usize,
    /// How many of them failed or had an incomplete answer.
    pub errors: usize,
    /// How many errors of each kind.
    pub errors_by: BTreeMap<String, usize>,
    /// Complete answers with fewer tokens than asked for, because the server ignores `ignore_eos`.
    pub short_answers: usize,
    /// From the start to the end of the last call.
    pub wall_s: f64,
    /// In complete answers, as counted by the server.
    pub prompt_tokens: u64,
    /// How many of them came from the server's prefix cache, if it says so.
    pub cached_tokens: u64,
    /// Generated tokens in complete answers.
    pub output_tokens: u64,
    /// `output_tokens` divided by `wall_s`.
    pub output_tokens_per_s: f64,
    /// Complete answers divided by `wall_s`.
    pub requests_per_s: f64,
    /// Time to first token.
    pub ttft_ms: Percentiles,
    /// Time between two tokens of an answer, over all answers. If a server sends several tokens at once (`pieces` below
    /// `output_tokens`), it is the time between pieces.
    pub itl_ms: Percentiles,
    /// Number of stream events with text, in complete answers.
    pub pieces: u64,
    /// Time until the answer's end.
    pub e2e_ms: Percentiles,
    /// Complete answers within the limits.
    pub goodput: Goodput,
    pub samples: Vec<Sample>,
}

/// Complete answers that met the latency limits.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Goodput {
    #[serde(flatten)]
    pub limits: LatencyLimits,
    pub requests_per_s: f64,
    /// As a fraction of all calls.
    pub share: f64,
}

/// Latency limits for an answer to count as in time.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LatencyLimits {
    /// Time to first token.
    pub ttft_limit_ms: f64,
    /// Mean time between an answer's tokens.
    pub itl_limit_ms: f64,
}

/// One call. Its latencies count from the time it was due.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sample {
    /// Round number, counted from 0.
    pub round: usize,
    /// When it was due, since the start of its round.
    pub at_ms: f64,
    /// Time to first token; absent if none came.
    pub ttft_ms: Option<f64>,
    /// Time to the end of the answer.
    pub e2e_ms: f64,
    /// Times between the pieces of the answer.
    pub itl_ms: Vec<f64>,
    /// As counted by the server.
    pub prompt_tokens: u32,
    /// As counted by the server.
    pub cached_tokens: u32,
    /// As counted by the server, else the number of pieces.
    pub output_tokens: u32,
    /// Number of stream events with text.
    pub pieces: u32,
    /// How many tokens were asked for; 0 if the answer may end by itself.
    pub asked_tokens: u32,
    /// Kind of error in one word.
    pub error_kind: Option<String>,
    /// Why there is no complete answer.
    pub error: Option<String>,
}

/// Loads at rising rates.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sweep {
    /// Highest rate at which at least [`Sweep::KEEPS_UP`] of the calls were answered within the limits;
    /// absent if there was none.
    pub knee_rate: Option<f64>,
    /// In order of rate.
    pub rows: Vec<SweepRow>,
}

/// The load at one rate.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SweepRow {
    /// Rate in requests per second.
    pub rate: f64,
    /// Its figures, without the single calls.
    #[serde(flatten)]
    pub load: LoadReport,
}

impl Sweep {
    /// A server keeps up with a rate if at least this fraction of calls is within the limits.
    pub const KEEPS_UP: f64 = 0.95;

    /// Finds the highest rate that the server keeps up with.
    #[must_use]
    pub fn new(mut rows: Vec<SweepRow>) -> Self {
        rows.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let keeps_up = |row: &&SweepRow| row.load.goodput.share >= Self::KEEPS_UP;
        // The first rate that is too high ends the search: a lucky higher one does not count.
        let knee_rate = rows.iter().take_while(keeps_up).last().map(|row| row.rate);
        for row in &mut rows {
            row.load.samples.clear();
        }
        Self { knee_rate, rows }
    }
}

impl Sample {
    fn is_within(&self, limits: &LatencyLimits) -> bool {
        // Per token and not per piece, so that sending several tokens at once gives no advantage.
        let writing = self.ttft_ms.map_or(0.0, |ttft| self.e2e_ms - ttft);
        let mean = writing / f64::from(self.output_tokens.saturating_sub(1).max(1));
        self.error.is_none()
            && self.ttft_ms.is_some_and(|ttft| ttft <= limits.ttft_limit_ms)
            && mean <= limits.itl_limit_ms
    }
}

impl LoadReport {
    #[must_use]
    pub fn new(loaded: LoadResult, limits: LatencyLimits) -> Self {
        let LoadResult { samples, wall, .. } = loaded;
        let whole = || samples.iter().filter(|sample| sample.error.is_none());
        let sum = |of: fn(&Sample) -> u32| whole().map(|sample| u64::from(of(sample))).sum::<u64>();
        let mut errors_by = BTreeMap::new();
        for kind in samples.iter().filter_map(|sample| sample.error_kind.clone()) {
            *errors_by.entry(kind).or_insert(0) += 1;
        }
        let wall_s = wall.as_secs_f64();
        let per_second = |count: f64| if wall_s > 0.0 { count / wall_s } else { 0.0 };
        let good = samples.iter().filter(|sample| sample.is_within(&limits)).count();
        let output_tokens = sum(|sample| sample.output_tokens);
        Self {
            requests: samples.len(),
            errors: samples.len() - whole().count(),
            errors_by,
            short_answers: whole().filter(|sample| sample.output_tokens < sample.asked_tokens).count(),
            wall_s,
            prompt_tokens: sum(|sample| sample.prompt_tokens),
            cached_tokens: sum(|sample| sample.cached_tokens),
            output_tokens,
            output_tokens_per_s: per_second(output_tokens as f64),
            requests_per_s: per_second(whole().count() as f64),
            ttft_ms: Percentiles::of(whole().filter_map(|sample| sample.ttft_ms).collect()),
            pieces: sum(|sample| sample.pieces),
            itl_ms: Percentiles::of(whole().flat_map(|sample| sample.itl_ms.iter().copied()).collect()),
            e2e_ms: Percentiles::of(whole().map(|sample| sample.e2e_ms).collect()),
            goodput: Goodput {
                limits,
                requests_per_s: per_second(good as f64),
                share: good as f64 / samples.len().max(1) as f64,
            },
            samples,
        }
    }

    fn cells(&self) -> Vec<(&'static str, String)> {
        let none = self.errors == self.requests;
        let percentiles = |p: &Percentiles| match none {
            true => "-".to_owned(),
            false => format!("{:.0} / {:.0} / {:.0} / {:.0}", p.p50, p.p90, p.p99, p.max),
        };
        let Goodput { limits, requests_per_s, share } = &self.goodput;
        let errors = self.errors_by.iter().map(|(kind, count)| format!("{kind} {count}"));
        let errors = errors.collect::<Vec<_>>().join(", ");
        vec![
            ("requests", self.requests.to_string()),
            ("errors", if errors.is_empty() { "0".to_owned() } else { errors }),
            ("answers shorter than asked for", self.short_answers.to_string()),
            ("wall, s", format!("{:.2}", self.wall_s)),
            (
                "prompt tokens / from the prefix cache",
                format!("{} / {}", self.prompt_tokens, self.cached_tokens),
            ),
            ("output tokens / stream events", format!("{} / {}", self.output_tokens, self.pieces)),
            ("output tokens per second", format!("{:.1}", self.output_tokens_per_s)),
            ("requests per second", format!("{:.2}", self.requests_per_s)),
            ("first token, ms: p50 / p90 / p99 / longest", percentiles(&self.ttft_ms)),
            ("between tokens, ms", percentiles(&self.itl_ms)),
            ("end to end, ms", percentiles(&self.e2e_ms)),
            (
                "within the limits, per second",
                format!(
                    "{requests_per_s:.2} ({:.0} %; first token {:.0} ms, between {:.0} ms)",
                    share * 100.0,
                    limits.ttft_limit_ms,
                    limits.itl_limit_ms
                ),
            ),
        ]
    }
}

impl ServeReport {
    pub const SCHEMA: &'static str = "bandmaster.bench.serve/1";

    fn title(&self) -> String {
        let mode = match self.mode {
            Mode::Closed { concurrency } => format!("{concurrency} at a time"),
            Mode::Open { rate } => format!("{rate} per second, at random times"),
            Mode::Recorded => "at the recorded times".to_owned(),
        };
        format!("{} of {} at {}, {mode}", self.workload, self.model, self.url)
    }

    /// A table with aligned columns.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{}\n", self.title());
        for (name, value) in self.load.cells() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<44} {value}");
        }
        if self.interrupted {
            let _ = writeln!(out, "interrupted: only a part of what was asked for was measured");
        }
        if self.output_in_pieces {
            let _ = writeln!(out, "{IN_PIECES}");
        }
        if let Some(other) = &self.against {
            let _ = write!(out, "\nsecond server, in alternating rounds:\n{}", other.table());
        }
        if let Some(sweep) = &self.sweep {
            let _ = writeln!(
                out,
                "\n{:>8} {:>10} {:>13} {:>12} {:>12} {:>12}",
                "rate", "tokens/s", "within limits", "first p50", "first p99", "between p99"
            );
            for SweepRow { rate, load } in &sweep.rows {
                let _ = writeln!(
                    out,
                    "{rate:>8.2} {:>10.1} {:>11.0} % {:>9.0} ms {:>9.0} ms {:>9.0} ms",
                    load.output_tokens_per_s,
                    load.goodput.share * 100.0,
                    load.ttft_ms.p50,
                    load.ttft_ms.p99,
                    load.itl_ms.p99
                );
            }
            let _ = match sweep.knee_rate {
                Some(rate) => writeln!(out, "keeps up with {rate:.2} per second"),
                None => writeln!(out, "keeps up with none of these rates"),
            };
        }
        out
    }

    /// The command and a Markdown table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let machine = &self.origin.machine;
        let mut out = format!(
            "`{}` ({}, {} cores)\n\n| {} | |\n|---|---|\n",
            self.origin.command,
            machine.cpu,
            machine.cores,
            self.title()
        );
        for (name, value) in self.load.cells() {
            let _ = writeln!(out, "| {name} | {value} |");
        }
        if self.interrupted {
            let _ = writeln!(out, "\nInterrupted: only a part of what was asked for was measured.");
        }
        if self.output_in_pieces {
            let _ = writeln!(out, "\n{IN_PIECES}");
        }
        if let Some(other) = &self.against {
            let _ = write!(out, "\nSecond server, in alternating rounds:\n\n{}", other.markdown());
        }
        out
    }
}
