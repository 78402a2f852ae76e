//! A result and its renderings: JSON by its fields, a table for a terminal, Markdown for a document.

use std::fmt::Write as _;

use super::machine::Machine;
use super::measure::Row;

/// `bandmaster.bench.throughput/1`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ThroughputReport {
    /// Name and version of this shape.
    pub schema: String,
    /// Where it was measured.
    pub machine: Machine,
    /// The command that makes it again.
    pub command: String,
    /// Version of this program.
    pub version: String,
    /// Threads the kernels ran on.
    pub threads: usize,
    /// How keys and values are kept: `f16` or `q8`.
    pub kv_type: String,
    /// What was measured.
    pub model: ModelFacts,
    /// A row a batch size.
    pub rows: Vec<Row>,
}

/// The model of a report.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ModelFacts {
    /// Name it was asked for by.
    pub name: String,
    /// File name, without its folder.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Number of weights.
    pub parameters: u64,
}

impl ThroughputReport {
    /// Name of the JSON's shape.
    pub const SCHEMA: &'static str = "bandmaster.bench.throughput/1";

    /// A table with aligned columns.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} ({} MB, {} threads, {} cache, {} on {})\n{:>6} {:>8} {:>6} {:>14} {:>14} {:>10}\n",
            self.model.name,
            self.model.bytes / 1_000_000,
            self.threads,
            self.kv_type,
            self.machine.isa,
            self.machine.cpu,
            "batch",
            "prompt",
            "gen",
            "prefill tok/s",
            "decode tok/s",
            "peak MiB",
        );
        for row in &self.rows {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{:>6} {:>8} {:>6} {:>14.1} {:>14.1} {:>10}",
                row.batch,
                row.prompt_tokens,
                row.gen_tokens,
                row.prefill_tokens_per_s,
                row.decode_tokens_per_s,
                row.peak_rss_bytes >> 20,
            );
        }
        out
    }

    /// The same as a Markdown table under the command that made it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "`{}` ({}, {} cores, {})\n\n| batch | prompt | gen | prefill tok/s | decode tok/s |\n|---|---|---|---|---|\n",
            self.command, self.machine.cpu, self.machine.cores, self.machine.isa
        );
        for row in &self.rows {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {:.1} | {:.1} |",
                row.batch,
                row.prompt_tokens,
                row.gen_tokens,
                row.prefill_tokens_per_s,
                row.decode_tokens_per_s
            );
        }
        out
    }
}
