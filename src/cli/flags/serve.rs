//! Flags of `serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::BandFlags;
use crate::cli::settings::serve::{self as rows, Kept, LogFormat, ModelAlias};

#[derive(Debug, Default, Args)]
pub struct ServeFlags {
    #[arg(long, value_name = "ADDRESS", help = rows::HOST.help(), value_parser = rows::HOST.parser())]
    pub host: Option<IpAddr>,
    #[arg(long, value_name = "N", help = rows::PORT.help(), value_parser = rows::PORT.parser())]
    pub port: Option<u16>,
    #[arg(long = "model", value_name = "M", help = rows::MODELS.help())]
    pub models: Vec<String>,
    #[arg(long = "alias", value_name = "NAME[=M]", help = rows::ALIASES.help())]
    #[arg(value_parser = rows::ALIASES.parser())]
    pub aliases: Vec<ModelAlias>,
    #[command(flatten)]
    pub band: BandFlags,
    #[arg(long, value_name = "FILE", help = rows::API_KEY_FILE.help())]
    pub api_key_file: Option<PathBuf>,
    #[arg(long, value_name = "N", help = rows::MAX_QUEUE.help(), value_parser = rows::MAX_QUEUE.parser())]
    pub max_queue: Option<usize>,
    #[arg(long, value_name = "N", help = rows::MAX_SLOWDOWN.help(), value_parser = rows::MAX_SLOWDOWN.parser())]
    pub max_slowdown: Option<u32>,
    #[arg(long, help = rows::STANDALONE.help())]
    pub standalone: bool,
    #[arg(long = "cors-origin", value_name = "ORIGIN", help = rows::CORS_ORIGINS.help())]
    #[arg(value_parser = rows::CORS_ORIGINS.parser())]
    pub cors_origins: Vec<String>,
    #[arg(long = "allow-host", value_name = "NAME", help = rows::ALLOW_HOSTS.help())]
    #[arg(value_parser = rows::ALLOW_HOSTS.parser())]
    pub allow_hosts: Vec<String>,
    #[arg(long, value_name = "N", help = rows::MAX_CONNECTIONS.help())]
    #[arg(value_parser = rows::MAX_CONNECTIONS.parser())]
    pub max_connections: Option<usize>,
    #[arg(long, value_name = "N", help = rows::MAX_CONNECTIONS_PER_ADDRESS.help())]
    #[arg(value_parser = rows::MAX_CONNECTIONS_PER_ADDRESS.parser())]
    pub max_connections_per_address: Option<usize>,
    #[arg(long, value_name = "N", help = rows::DRAIN_SECONDS.help(), value_parser = rows::DRAIN_SECONDS.parser())]
    pub drain_seconds: Option<u64>,
    #[arg(long, value_name = "AGE", help = rows::KEEP_RESPONSES.help())]
    #[arg(value_parser = rows::KEEP_RESPONSES.parser())]
    pub keep_responses: Option<Kept>,
    #[arg(long, value_name = "URL", help = rows::OTLP_ENDPOINT.help())]
    pub otlp_endpoint: Option<String>,
    #[arg(long, value_enum, value_name = "FORMAT", help = rows::LOG.help())]
    pub log: Option<LogFormat>,
}
