//! Flags of `serve`: which pages, host names and connections are let in, and how the log is written.

use clap::{Args, ValueEnum};

/// Who may come in.
#[derive(Debug, Args)]
pub struct DoorFlags {
    /// Pages of this origin may read answers, e.g. https://app.example.com, or * for all; may be repeated. Pages of this
    /// machine (http://localhost:3000) may without it
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<String>,
    /// A name, beside localhost, under which this server may be asked, e.g. box.lan or a container's, or * for any; may be
    /// repeated. Without keys, requests under other names are refused, since a page of anybody's could have sent them
    #[arg(long = "allow-host", value_name = "NAME")]
    pub allow_hosts: Vec<String>,
    /// Connections at a time. When more come, connections without a request are closed, the oldest first. Where the system
    /// allows fewer open files, so many are taken
    #[arg(long, default_value_t = 1024, value_name = "N")]
    pub max_connections: usize,
    /// Connections at a time from one address, 0 for any number [default: 256 from other machines, any number from this]
    #[arg(long, value_name = "N")]
    pub max_connections_per_address: Option<usize>,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFlag {
    /// Lines for people to read
    Text,
    /// A JSON object a line
    Json,
}
