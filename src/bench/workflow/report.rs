//! The result of `bench workflow` under one setting or two: JSON by its fields, tables for a terminal and a document.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use bandmaster_engine::Stats;

use super::TaskTimes;
use super::trace::{TaskClass, Trace};
use crate::origin::Origin;
use crate::percentiles::{Percentiles, median, nearest_rank};

/// Width of the timeline in columns.
const TIMELINE_COLUMNS: usize = 40;

/// JSON result of `bench workflow`, schema `bandmaster.bench.workflow/1`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct WorkflowReport {
    pub schema: &'static str,
    #[serde(flatten)]
    pub origin: Origin,
    pub threads: usize,
    pub trace: String,
    /// Model of each role.
    pub models: BTreeMap<String, String>,
    /// Servers by role; empty if it ran in this process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub urls: BTreeMap<String, String>,
    /// Precision of the KV cache in this process: `f16` or `q8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_type: Option<String>,
    /// Settings of `--set`, if there were any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Seed of the first round; each further round uses the next number.
    pub seed: u64,
    /// Number of copies of the trace that ran at once.
    pub runs: usize,
    /// The round with the median time.
    #[serde(flatten)]
    pub measured: Round,
    /// Time of every round, in order.
    pub rounds_wall_s: Vec<f64>,
    /// Whether it was interrupted; only finished rounds and tasks are included.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// The other setting, measured in alternating rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<OtherSetting>,
}

/// Another setting's figures beside the first's.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct OtherSetting {
    /// The settings that differ, as typed in `--against`.
    pub setting: String,
    /// Its round with the median time.
    pub measured: Round,
    /// Time of every round, in order.
    pub rounds_wall_s: Vec<f64>,
    /// For each pair of rounds, the other setting's total time divided by this one's.
    pub wall_ratios: Vec<f64>,
    /// For each pair of rounds, this setting's mean time of a run divided by the other's.
    pub mean_run_ratios: Vec<f64>,
    /// The same with the 95th percentile of the runs.
    pub p95_run_ratios: Vec<f64>,
}

/// One round of all runs.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Round {
    /// Time until the last run ended.
    pub wall_s: f64,
    /// Time of each run, sorted.
    pub run_s: Vec<f64>,
    /// Time of the tasks on the longest path of the slowest run.
    pub critical_path_s: f64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// How many of them came from the prefix cache.
    pub cached_tokens: u64,
    pub output_tokens: u64,
    /// Prompt tokens that were computed, ahead of time or when needed. For a server, those it did not report as cached.
    pub computed_tokens: u64,
    /// Prompt tokens without repetitions: every prefix counts once.
    pub unique_tokens: u64,
    /// Known only for an engine in this process.
    #[serde(flatten)]
    pub engine: Option<EngineCounts>,
    /// Time between tokens of one task, over all tasks that are not in the background.
    pub between_tokens_ms: Percentiles,
    /// The tasks of the slowest run.
    pub tasks: Vec<TaskRow>,
}

/// The engine's own counts.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EngineCounts {
    /// Times that a sequence lost its KV blocks.
    pub preemptions: u64,
    /// Times that a model was loaded, including the first time.
    pub loads: u64,
    /// Draft tokens of speculative decoding.
    pub drafted_tokens: u64,
    /// How many of the draft tokens were right.
    pub accepted_tokens: u64,
    /// Number of forward passes.
    pub steps: u64,
    /// Fraction of all step time spent on schedule and commit.
    pub overhead: f64,
}

impl EngineCounts {
    fn new(stats: &Stats) -> Self {
        let stepping = stats.schedule_us + stats.run_us + stats.commit_us;
        Self {
            preemptions: stats.preemptions,
            loads: stats.loads,
            drafted_tokens: stats.drafted_tokens,
            accepted_tokens: stats.accepted_tokens,
            steps: stats.steps,
            overhead: (stats.schedule_us + stats.commit_us) as f64 / stepping.max(1) as f64,
        }
    }
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TaskRow {
    /// As in the trace.
    pub id: String,
    /// Role of the task's model.
    pub model: String,
    /// Seconds since the start.
    pub start_s: f64,
    /// When its first token arrived.
    pub first_s: f64,
    /// Seconds since the start.
    pub end_s: f64,
    /// Prompt tokens from the prefix cache.
    pub cached_tokens: u32,
    /// Longest time between two of its tokens.
    pub gap_max_ms: f64,
}

impl Round {
    /// From the driver's times and, in this process, the engine's counts.
    #[must_use]
    pub fn new(trace: &Trace, runs: &[Vec<TaskTimes>], stats: Option<&Stats>) -> Self {
        let end =
            |run: &Vec<TaskTimes>| run.iter().map(|task| task.end).max().unwrap_or_default().as_secs_f64();
        let mut run_s: Vec<f64> = runs.iter().map(end).collect();
        run_s.sort_by(f64::total_cmp);
        let slowest = runs.iter().max_by(|a, b| end(a).total_cmp(&end(b)));
        let slowest: &[TaskTimes] = slowest.map_or(&[], Vec::as_slice);
        let all = || runs.iter().flatten();
        let sum = |of: fn(&TaskTimes) -> u32| all().map(|task| u64::from(of(task))).sum::<u64>();
        let watched = all().filter(|times| trace.tasks[times.task].class != TaskClass::Background);
        let between: Vec<f64> = watched.flat_map(|times| gaps_ms(&times.tokens)).collect();
        let (prompt_tokens, cached_tokens) =
            (sum(|task| task.usage.prompt_tokens), sum(|task| task.usage.cached_tokens));
        let computed = stats.map(|stats| stats.prefill_tokens - stats.drafted_tokens);
        Self {
            wall_s: run_s.last().copied().unwrap_or_default(),
            run_s,
            critical_path_s: critical_path_s(trace, slowest),
            prompt_tokens,
            cached_tokens,
            output_tokens: sum(|task| task.usage.completion_tokens),
            computed_tokens: computed.unwrap_or(prompt_tokens.saturating_sub(cached_tokens)),
            unique_tokens: unique_tokens(trace, runs),
            engine: stats.map(EngineCounts::new),
            between_tokens_ms: Percentiles::of(between),
            tasks: slowest.iter().map(|times| row(trace, times)).collect(),
        }
    }

    #[must_use]
    pub fn mean_run_s(&self) -> f64 {
        self.run_s.iter().sum::<f64>() / self.run_s.len().max(1) as f64
    }

    /// Time within which 95 of a hundred runs end.
    #[must_use]
    pub fn p95_run_s(&self) -> f64 {
        nearest_rank(&self.run_s, 0.95).unwrap_or_default()
    }
}

fn gaps_ms(tokens: &[Duration]) -> impl Iterator<Item = f64> {
    tokens.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3)
}

fn row(trace: &Trace, times: &TaskTimes) -> TaskRow {
    let task = &trace.tasks[times.task];
    TaskRow {
        id: task.id.clone(),
        model: task.model.clone(),
        start_s: times.start.as_secs_f64(),
        first_s: times.tokens.first().unwrap_or(&times.end).as_secs_f64(),
        end_s: times.end.as_secs_f64(),
        cached_tokens: times.usage.cached_tokens,
        gap_max_ms: gaps_ms(&times.tokens).fold(0.0, f64::max),
    }
}

/// Time of the tasks on the path that took longest.
fn critical_path_s(trace: &Trace, run: &[TaskTimes]) -> f64 {
    let mut path: HashMap<&str, f64> = HashMap::new();
    let took: HashMap<usize, f64> =
        run.iter().map(|times| (times.task, (times.end - times.start).as_secs_f64())).collect();
    for (index, task) in trace.tasks.iter().enumerate() {
        let before = task.needs.iter().map(|need| path[need.as_str()]).fold(0.0, f64::max);
        let own = took.get(&index).copied().unwrap_or_default() + task.think_ms as f64 / 1e3;
        path.insert(&task.id, before + own);
    }
    path.values().copied().fold(0.0, f64::max)
}

/// Counts every prefix once, and for every task what follows its prefix.
fn unique_tokens(trace: &Trace, runs: &[Vec<TaskTimes>]) -> u64 {
    let mut prefixes = HashMap::new();
    for task in &trace.tasks {
        if let Some(prefix) = &task.prefix {
            prefixes.insert((&task.model, &prefix.name), prefix.tokens as u64);
        }
    }
    let own = runs.iter().flatten().map(|times| {
        let prefix = trace.tasks[times.task].prefix.as_ref().map_or(0, |prefix| prefix.tokens as u64);
        u64::from(times.usage.prompt_tokens).saturating_sub(prefix)
    });
    prefixes.values().sum::<u64>() + own.sum::<u64>()
}

impl OtherSetting {
    /// Compares two settings with the same number of rounds.
    #[must_use]
    pub fn new(setting: String, own: &[Round], others: &[Round]) -> Self {
        let pairs = || own.iter().zip(others);
        Self {
            setting,
            measured: median_round(others),
            rounds_wall_s: others.iter().map(|round| round.wall_s).collect(),
            wall_ratios: pairs().map(|(own, other)| other.wall_s / own.wall_s).collect(),
            mean_run_ratios: pairs().map(|(own, other)| own.mean_run_s() / other.mean_run_s()).collect(),
            p95_run_ratios: pairs().map(|(own, other)| own.p95_run_s() / other.p95_run_s()).collect(),
        }
    }
}

/// Names and values of a round's figures.
fn cells(round: &Round) -> Vec<(&'static str, String)> {
    let mut cells = vec![
        ("wall, s", format!("{:.2}", round.wall_s)),
        ("mean of runs, s", format!("{:.2}", round.mean_run_s())),
        ("p95 of runs, s", format!("{:.2}", round.p95_run_s())),
        ("critical path, s", format!("{:.2}", round.critical_path_s)),
        ("prompt tokens", round.prompt_tokens.to_string()),
        ("  from the prefix cache", round.cached_tokens.to_string()),
        ("  computed", round.computed_tokens.to_string()),
        ("  unique", round.unique_tokens.to_string()),
        ("output tokens", round.output_tokens.to_string()),
    ];
    let between = &round.between_tokens_ms;
    cells.push(("between tokens, ms: p50 / p99", format!("{:.0} / {:.0}", between.p50, between.p99)));
    cells.push(("  longest", format!("{:.0}", between.max)));
    if let Some(engine) = &round.engine {
        let drafts = format!("{} / {}", engine.accepted_tokens, engine.drafted_tokens);
        cells.push(("  drafts accepted / proposed", drafts));
        cells.push(("preemptions / loads", format!("{} / {}", engine.preemptions, engine.loads)));
        cells.push(("schedule and commit", format!("{:.2} %", engine.overhead * 100.0)));
    }
    cells
}

/// The round with the median time. There must be at least one round.
#[must_use]
pub fn median_round(rounds: &[Round]) -> Round {
    let mut sorted: Vec<&Round> = rounds.iter().collect();
    sorted.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
    sorted[(sorted.len() - 1) / 2].clone()
}

impl WorkflowReport {
    pub const SCHEMA: &'static str = "bandmaster.bench.workflow/1";

    /// A table with aligned columns.
    #[must_use]
    pub fn table(&self) -> String {
        let location = match self.urls.len() {
            0 => format!(
                "{} threads, {} on {}",
                self.threads, self.origin.machine.isa, self.origin.machine.cpu
            ),
            _ => {
                self.urls.iter().map(|(role, url)| format!("{role} at {url}")).collect::<Vec<_>>().join(", ")
            }
        };
        let mut out = format!("{} x {} ({location})\n", self.trace, self.runs);
        let own = cells(&self.measured);
        let other = self.against.as_ref().map(|against| cells(&against.measured)).unwrap_or_default();
        for (name, value) in &own {
            let other_value = other.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", format!("{name:<30} {value:>14} {other_value:>14}").trim_end());
        }
        if self.interrupted {
            let _ = writeln!(out, "interrupted: only a part of what was asked for was measured");
        }
        self.ratios(&mut out);
        self.timeline(&mut out);
        out
    }

    /// One line per task: `-` while it waits for its first token, `=` while it writes.
    fn timeline(&self, out: &mut String) {
        let column = |seconds: f64| {
            (seconds / self.measured.wall_s.max(1e-9) * TIMELINE_COLUMNS as f64).round() as usize
        };
        for task in &self.measured.tasks {
            let (start, first, end) = (column(task.start_s), column(task.first_s), column(task.end_s));
            let bar =
                format!("{}{}{}", " ".repeat(start), "-".repeat(first - start), "=".repeat(end - first));
            let _ = writeln!(
                out,
                "  {:<12} {:<10} |{bar:<TIMELINE_COLUMNS$}| {:>7.2} {:>7.2} {:>7.2} s, {:>5} cached, longest gap {:>6.0} ms",
                task.id,
                task.model,
                task.start_s,
                task.first_s,
                task.end_s,
                task.cached_tokens,
                task.gap_max_ms
            );
        }
    }

    /// The command and a Markdown table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let machine = &self.origin.machine;
        let mut out = format!("`{}` ({}, {} cores)\n\n", self.origin.command, machine.cpu, machine.cores);
        let other = self.against.as_ref().map(|against| (&against.setting, cells(&against.measured)));
        let name = |setting: &str| format!(" {setting} |");
        let head = other.as_ref().map_or_else(String::new, |(setting, _)| name(setting));
        let _ = writeln!(
            out,
            "| {} x {} | |{head}\n|---|---|{}",
            self.trace,
            self.runs,
            if head.is_empty() { "" } else { "---|" }
        );
        for (index, (name, value)) in cells(&self.measured).iter().enumerate() {
            let other_value = other.as_ref().and_then(|(_, cells)| cells.get(index));
            let other_value = other_value.map_or_else(String::new, |(_, value)| format!(" {value} |"));
            let _ = writeln!(out, "| {} | {value} |{other_value}", name.trim());
        }
        if self.interrupted {
            let _ = writeln!(out, "\nInterrupted: only a part of what was asked for was measured.");
        }
        out
    }

    fn ratios(&self, out: &mut String) {
        let Some(against) = &self.against else { return };
        let rows = [
            ("wall time: other / this", &against.wall_ratios),
            ("mean run time: this / other", &against.mean_run_ratios),
            ("p95 run time: this / other", &against.p95_run_ratios),
        ];
        let _ = writeln!(out, "against {}:", against.setting);
        for (name, ratios) in rows {
            let list: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
            let _ = writeln!(out, "  {name}: {:.3} ({})", median(ratios.clone()), list.join(" "));
        }
    }
}
