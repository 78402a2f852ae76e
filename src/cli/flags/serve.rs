//! Flags of `serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::BandFlags;
use crate::cli::settings::serve::{self as specs, LogFormat, ModelAlias, Retention};

#[derive(Debug, Default, Args)]
pub struct ServeFlags {
    #[arg(long, value_name = "ADDRESS", help = specs::HOST.help(), value_parser = specs::HOST.parser())]
    pub host: Option<IpAddr>,
    #[arg(long, value_name = "N", help = specs::PORT.help(), value_parser = specs::PORT.parser())]
    pub port: Option<u16>,
    #[arg(long = "model", value_name = "M", help = specs::MODELS.help())]
    pub models: Vec<String>,
    #[arg(long = "alias", value_name = "NAME[=M]", help = specs::ALIASES.help())]
    #[arg(value_parser = specs::ALIASES.parser())]
    pub aliases: Vec<ModelAlias>,
    #[command(flatten)]
    pub band: BandFlags,
    #[arg(long, value_name = "FILE", help = specs::API_KEY_FILE.help())]
    pub api_key_file: Option<PathBuf>,
    #[arg(long, value_name = "N", help = specs::MAX_QUEUE.help(), value_parser = specs::MAX_QUEUE.parser())]
    pub max_queue: Option<usize>,
    #[arg(long, value_name = "N", help = specs::MAX_SLOWDOWN.help(), value_parser = specs::MAX_SLOWDOWN.parser())]
    pub max_slowdown: Option<u32>,
    #[arg(long, help = specs::STANDALONE.help())]
    pub standalone: bool,
    #[arg(long = "cors-origin", value_name = "ORIGIN", help = specs::CORS_ORIGINS.help())]
    #[arg(value_parser = specs::CORS_ORIGINS.parser())]
    pub cors_origins: Vec<String>,
    #[arg(long = "allow-host", value_name = "NAME", help = specs::ALLOW_HOSTS.help())]
    #[arg(value_parser = specs::ALLOW_HOSTS.parser())]
    pub allow_hosts: Vec<String>,
    #[arg(long, value_name = "N", help = specs::MAX_CONNECTIONS.help())]
    #[arg(value_parser = specs::MAX_CONNECTIONS.parser())]
    pub max_connections: Option<usize>,
    #[arg(long, value_name = "N", help = specs::MAX_CONNECTIONS_PER_ADDRESS.help())]
    #[arg(value_parser = specs::MAX_CONNECTIONS_PER_ADDRESS.parser())]
    pub max_connections_per_address: Option<usize>,
    #[arg(long, value_name = "N", help = specs::DRAIN_SECONDS.help(), value_parser = specs::DRAIN_SECONDS.parser())]
    pub drain_seconds: Option<u64>,
    #[arg(long, value_name = "AGE", help = specs::KEEP_RESPONSES.help())]
    #[arg(value_parser = specs::KEEP_RESPONSES.parser())]
    pub keep_responses: Option<Retention>,
    #[arg(long, value_name = "URL", help = specs::OTLP_ENDPOINT.help())]
    pub otlp_endpoint: Option<String>,
    #[arg(long, value_enum, value_name = "FORMAT", help = specs::LOG.help())]
    pub log: Option<LogFormat>,
}
