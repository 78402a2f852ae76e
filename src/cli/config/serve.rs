//! The settings of `serve` that are in force.

use std::net::IpAddr;
use std::path::PathBuf;

use super::super::error::CliError;
use super::super::flags::ServeFlags;
use super::super::settings::serve::{self as specs, LogFormat, ModelAlias, Retention};
use super::{Origin, Setting, ShownSetting, Sources, joined};

#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// OpenTelemetry collector; its address is not checked here.
    pub otlp_endpoint: Option<Setting<String>>,
    pub host: Setting<IpAddr>,
    /// 0 picks a free port.
    pub port: Setting<u16>,
    /// Models to load before the first request, as typed.
    pub models: Setting<Vec<String>>,
    pub aliases: Setting<Vec<ModelAlias>>,
    pub api_key_file: Option<Setting<PathBuf>>,
    /// How many requests may wait.
    pub max_queue: Setting<usize>,
    /// How many times slower a reply may become because its model answers others too.
    pub max_slowdown: Setting<u32>,
    /// If set, there is no private socket, so other commands can't join this server's engine.
    pub standalone: Setting<bool>,
    /// Origins of web pages that may read answers.
    pub cors_origins: Setting<Vec<String>>,
    /// Host names under which the server accepts requests, besides localhost.
    pub allow_hosts: Setting<Vec<String>>,
    pub max_connections: Setting<usize>,
    /// 0 means no limit.
    pub max_connections_per_address: Option<Setting<usize>>,
    /// How long running answers get at shutdown.
    pub drain_seconds: Setting<u64>,
    pub keep_responses: Setting<Retention>,
    pub log: Setting<LogFormat>,
}

impl ServeSettings {
    pub(super) fn resolve_from(flags: &ServeFlags, sources: &Sources) -> Result<Self, CliError> {
        let mut api_key_file = sources.find(&specs::API_KEY_FILE, flags.api_key_file.clone())?;
        if let Some(Setting { value, origin: Origin::File(config) }) = &mut api_key_file {
            *value = config.with_file_name("").join(&value);
        }
        Ok(Self {
            otlp_endpoint: sources.find(&specs::OTLP_ENDPOINT, flags.otlp_endpoint.clone())?,
            host: sources.find_or_default(&specs::HOST, flags.host)?,
            port: sources.find_or_default(&specs::PORT, flags.port)?,
            models: sources.find_list(&specs::MODELS, flags.models.clone())?.unwrap_or_default(),
            aliases: sources.find_list(&specs::ALIASES, flags.aliases.clone())?.unwrap_or_default(),
            api_key_file,
            max_queue: sources.find_or_default(&specs::MAX_QUEUE, flags.max_queue)?,
            max_slowdown: sources.find_or_default(&specs::MAX_SLOWDOWN, flags.max_slowdown)?,
            standalone: sources.find_or_default(&specs::STANDALONE, flags.standalone.then_some(true))?,
            cors_origins: sources
                .find_list(&specs::CORS_ORIGINS, flags.cors_origins.clone())?
                .unwrap_or_default(),
            allow_hosts: sources
                .find_list(&specs::ALLOW_HOSTS, flags.allow_hosts.clone())?
                .unwrap_or_default(),
            max_connections: sources.find_or_default(&specs::MAX_CONNECTIONS, flags.max_connections)?,
            max_connections_per_address: sources
                .find(&specs::MAX_CONNECTIONS_PER_ADDRESS, flags.max_connections_per_address)?,
            drain_seconds: sources.find_or_default(&specs::DRAIN_SECONDS, flags.drain_seconds)?,
            keep_responses: sources.find_or_default(&specs::KEEP_RESPONSES, flags.keep_responses)?,
            log: sources.find_or_default(&specs::LOG, flags.log)?,
        })
    }

    /// In the order of the table.
    pub(super) fn shown(&self) -> Vec<ShownSetting> {
        let key_file = self.api_key_file.as_ref().map(|file| file.map(|path| path.display().to_string()));
        vec![
            ShownSetting::new(specs::OTLP_ENDPOINT.about, self.otlp_endpoint.as_ref()),
            ShownSetting::new(specs::HOST.about, Some(&self.host)),
            ShownSetting::new(specs::PORT.about, Some(&self.port)),
            ShownSetting::new(specs::MODELS.about, joined(&self.models).as_ref()),
            ShownSetting::new(specs::ALIASES.about, joined(&self.aliases).as_ref()),
            ShownSetting::new(specs::API_KEY_FILE.about, key_file.as_ref()),
            ShownSetting::new(specs::MAX_QUEUE.about, Some(&self.max_queue)),
            ShownSetting::new(specs::MAX_SLOWDOWN.about, Some(&self.max_slowdown)),
            ShownSetting::new(specs::STANDALONE.about, Some(&self.standalone)),
            ShownSetting::new(specs::CORS_ORIGINS.about, joined(&self.cors_origins).as_ref()),
            ShownSetting::new(specs::ALLOW_HOSTS.about, joined(&self.allow_hosts).as_ref()),
            ShownSetting::new(specs::MAX_CONNECTIONS.about, Some(&self.max_connections)),
            ShownSetting::new(
                specs::MAX_CONNECTIONS_PER_ADDRESS.about,
                self.max_connections_per_address.as_ref(),
            ),
            ShownSetting::new(specs::DRAIN_SECONDS.about, Some(&self.drain_seconds)),
            ShownSetting::new(specs::KEEP_RESPONSES.about, Some(&self.keep_responses)),
            ShownSetting::new(specs::LOG.about, Some(&self.log)),
        ]
    }
}
