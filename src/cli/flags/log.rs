//! How `serve` writes its log.

use clap::ValueEnum;

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFlag {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}
