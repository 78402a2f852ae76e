//! Flags of `serve` about who may connect (web pages, host names, connection limits), and about the log's format.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct DoorFlags {
    /// Let web pages of this origin read answers, e.g. https://app.example.com, or * for all; may be repeated. Pages
    /// served from this machine (http://localhost:3000) always may
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<String>,
    /// Accept requests to this host name besides localhost, e.g. box.lan or a container's name, or * for any; may be
    /// repeated. Without API keys other names are refused, because a foreign web page could have sent the request
    #[arg(long = "allow-host", value_name = "NAME")]
    pub allow_hosts: Vec<String>,
    /// Number of connections open at a time, fewer if the system's limit of open files is lower. When it is reached,
    /// connections without a request are closed, oldest first
    #[arg(long, default_value_t = 1024, value_name = "N")]
    pub max_connections: usize,
    /// Number of connections open at a time from one address; 0 means no limit [default: 256 from other machines, no
    /// limit from this one]
    #[arg(long, value_name = "N")]
    pub max_connections_per_address: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFlag {
    /// Lines for people to read
    Text,
    /// One JSON object per line
    Json,
}
