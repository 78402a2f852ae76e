//! The result of `bench throughput` with its renderings: JSON by its fields, a table for a terminal, Markdown for a
//! document.

use std::fmt::Write as _;

use super::limits::MachineLimits;
use super::row::{Row, Shares};
use crate::origin::Origin;

/// JSON result of `bench throughput`, schema `bandmaster.bench.throughput/1`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ThroughputReport {
    pub schema: &'static str,
    #[serde(flatten)]
    pub origin: Origin,
    /// Whether it was interrupted; only complete rows are included.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    pub threads: usize,
    /// Precision of the KV cache: `f16` or `q8`.
    pub kv_type: String,
    pub model: ModelFacts,
    /// One row per batch size, depth, shared prefix and number of threads.
    pub rows: Vec<Row>,
    /// The machine's limits for each number of threads in the rows; empty if not measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<MachineLimits>,
    /// Rows that could not be measured, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ModelFacts {
    /// The name it was asked for by.
    pub name: String,
    /// File name without its folder.
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
    /// Number of weights in the model.
    pub parameters: u64,
}

/// A column of the renderings.
struct Column {
    name: &'static str,
    width: usize,
    /// Whether Markdown shows it too.
    in_markdown: bool,
    cell: fn(&Row) -> String,
}

impl Column {
    const fn new(name: &'static str, width: usize, cell: fn(&Row) -> String) -> Self {
        Self { name, width, in_markdown: true, cell }
    }
}

/// Columns that are always shown.
const COLUMNS: &[Column] = &[
    Column::new("batch", 6, |row| row.batch.to_string()),
    Column::new("prompt", 8, |row| row.prompt_tokens.to_string()),
    Column::new("gen", 6, |row| row.gen_tokens.to_string()),
    Column::new("prefill tok/s", 14, |row| format!("{:.1}", row.prefill_tokens_per_s)),
    Column::new("decode tok/s", 14, |row| format!("{:.1}", row.decode_tokens_per_s)),
    Column {
        in_markdown: false,
        ..Column::new("peak MiB", 10, |row| (row.peak_rss_bytes >> 20).to_string())
    },
];
/// Columns shown if a sweep's rows differ in them.
const SWEEP_COLUMNS: &[Column] = &[
    Column::new("depth", 7, |row| row.depth_tokens.to_string()),
    Column::new("shared", 7, |row| row.shared_prefix_tokens.to_string()),
    Column::new("threads", 8, |row| row.threads.to_string()),
];
/// Columns shown if limits were measured.
const LIMIT_COLUMNS: &[Column] = &[
    Column::new("of int8", 9, |row| percent(row.limit_shares.and_then(|shares| shares.prefill))),
    Column::new("decode of", 14, |row| row.limit_shares.map_or_else(|| "-".to_owned(), decode_share)),
];

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn decode_share(shares: Shares) -> String {
    format!("{} {}", percent(Some(shares.decode)), shares.decode_bound.name())
}

impl ThroughputReport {
    pub const SCHEMA: &'static str = "bandmaster.bench.throughput/1";

    /// The columns to show for these rows.
    fn columns(&self) -> Vec<&'static Column> {
        let sweep = self
            .rows
            .iter()
            .any(|row| row.depth_tokens > 0 || row.shared_prefix_tokens > 0 || row.threads != self.threads);
        let limits = self.rows.iter().any(|row| row.limit_shares.is_some());
        let extra = |there: bool, columns: &'static [Column]| if there { columns } else { &[] };
        COLUMNS.iter().chain(extra(sweep, SWEEP_COLUMNS)).chain(extra(limits, LIMIT_COLUMNS)).collect()
    }

    /// The limits, and what is missing, a line each.
    fn notes(&self) -> Vec<String> {
        let limit = |limits: &MachineLimits| {
            let macs = limits
                .int8_macs_per_s
                .map_or_else(String::new, |rate| format!(", {:.0} G int8 multiply-adds/s", rate / 1e9));
            let read = limits.memory_bytes_per_s / 1e9;
            format!("limits of {} threads: {read:.1} GB/s from memory{macs}", limits.threads)
        };
        let left_out = self.left_out.iter().map(|reason| format!("left out: {reason}"));
        let interrupted = self.interrupted.then(|| "interrupted: further rows are missing".to_owned());
        self.limits.iter().map(limit).chain(left_out).chain(interrupted).collect()
    }

    /// A table with aligned columns.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} ({} MB, {} threads, {} cache, {} on {})\n",
            self.model.name,
            self.model.bytes / 1_000_000,
            self.threads,
            self.kv_type,
            self.origin.machine.isa,
            self.origin.machine.cpu,
        );
        let columns = self.columns();
        let mut line = |cell: &dyn Fn(&Column) -> String| {
            let cells =
                columns.iter().map(|column| format!("{:>width$}", cell(column), width = column.width));
            out.push_str(&(cells.collect::<Vec<_>>().join(" ") + "\n"));
        };
        line(&|column| column.name.to_owned());
        for row in &self.rows {
            line(&|column| (column.cell)(row));
        }
        for note in self.notes() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{note}");
        }
        out
    }

    /// The command and a Markdown table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let machine = &self.origin.machine;
        let mut out = format!(
            "`{}` ({}, {} cores, {})\n\n",
            self.origin.command, machine.cpu, machine.cores, machine.isa
        );
        let mut columns = self.columns();
        columns.retain(|column| column.in_markdown);
        let mut line = |cells: Vec<String>| {
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        };
        line(columns.iter().map(|column| column.name.to_owned()).collect());
        line(columns.iter().map(|_| "---".to_owned()).collect());
        for row in &self.rows {
            line(columns.iter().map(|column| (column.cell)(row)).collect());
        }
        for note in self.notes() {
            let _ = write!(out, "\n{note}\n");
        }
        out
    }
}
