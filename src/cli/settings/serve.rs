//! Rows of the settings that only `serve` uses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::super::units::parse_age;
use super::{MODEL, SWITCH, SettingInfo, SettingSpec, path, switch, trimmed, whole_number};
use crate::server::{BAND, Hosts, Origins};

pub const HOST: SettingSpec<IpAddr> = SettingSpec {
    about: SettingInfo {
        name: "serve.host",
        flag: Some("host"),
        variables: &["BANDMASTER_SERVE_HOST"],
        is_list: false,
        default: "127.0.0.1",
        expects: "an IP address such as 127.0.0.1, ::1 or 0.0.0.0",
        help: "IP address to listen on; 0.0.0.0 means all networks. Addresses other than loopback need --api-key-file",
    },
    parse: host,
};

pub const PORT: SettingSpec<u16> = SettingSpec {
    about: SettingInfo {
        name: "serve.port",
        flag: Some("port"),
        variables: &["BANDMASTER_SERVE_PORT"],
        is_list: false,
        default: "8080",
        expects: "a port number from 0 to 65535",
        help: "TCP port to listen on; 0 picks a free port, which is printed",
    },
    parse: |text| whole_number(text, 0, 65_535),
};

pub const MODELS: SettingSpec<String> = SettingSpec {
    about: SettingInfo {
        name: "serve.models",
        flag: Some("model"),
        variables: &["BANDMASTER_SERVE_MODELS"],
        is_list: true,
        default: "none",
        expects: MODEL,
        help: "Load this model before the first request: a catalog name, a path to a GGUF file, or \
               hf:OWNER/REPO[:QUANT|FILE][@REV]; may be repeated. Other models load when first asked for. If only one \
               is given, it also answers requests for unknown model names",
    },
    parse: trimmed,
};

/// An extra name of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAlias {
    pub name: String,
    /// As typed; `None` means the first of [`MODELS`].
    pub model: Option<String>,
}

impl fmt::Display for ModelAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Some(model) => write!(f, "{}={model}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

pub const ALIASES: SettingSpec<ModelAlias> = SettingSpec {
    about: SettingInfo {
        name: "serve.aliases",
        flag: Some("alias"),
        variables: &["BANDMASTER_SERVE_ALIASES"],
        is_list: true,
        default: "none",
        expects: "NAME or NAME=MODEL, where NAME has no white space and is not `bandmaster`, which names the band",
        help: "Extra name for the first --model, or with NAME=M for model M; may be repeated",
    },
    parse: alias,
};

pub const API_KEY_FILE: SettingSpec<PathBuf> = SettingSpec {
    about: SettingInfo {
        name: "serve.api-key-file",
        flag: Some("api-key-file"),
        variables: &["BANDMASTER_SERVE_API_KEY_FILE"],
        is_list: false,
        default: "no key is needed",
        expects: "a file; in config.toml, a relative path starts at that file's folder",
        help: "File with the API keys that are accepted, one per line: KEY [name=NAME] [admin] \
               [requests_per_minute=N] [tokens_per_minute=N] [concurrent=N]",
    },
    parse: path,
};

pub const MAX_QUEUE: SettingSpec<usize> = SettingSpec {
    about: SettingInfo {
        name: "serve.max-queue",
        flag: Some("max-queue"),
        variables: &["BANDMASTER_SERVE_MAX_QUEUE"],
        is_list: false,
        default: "256",
        expects: "a number of requests from 1 to 65536",
        help: "Number of requests that may wait; further ones get status 429",
    },
    parse: |text| whole_number(text, 1, 65_536),
};

pub const MAX_SLOWDOWN: SettingSpec<u32> = SettingSpec {
    about: SettingInfo {
        name: "serve.max-slowdown",
        flag: Some("max-slowdown"),
        variables: &["BANDMASTER_SERVE_MAX_SLOWDOWN"],
        is_list: false,
        default: "10",
        expects: "a factor from 1 (no two replies at once) up",
        help: "How much slower each reply may get while its model answers others too: at 10, a token takes at most ten \
               times as long as alone. A request that would exceed this waits. Lower values give steadier streams but \
               less total throughput",
    },
    parse: |text| whole_number(text, 1, u32::MAX),
};

pub const STANDALONE: SettingSpec<bool> = SettingSpec {
    about: SettingInfo {
        name: "serve.standalone",
        flag: Some("standalone"),
        variables: &["BANDMASTER_SERVE_STANDALONE"],
        is_list: false,
        default: "off",
        expects: SWITCH,
        help: "Run beside another server on the same home, with models of its own. `run` and `runs` don't connect to \
               this server",
    },
    parse: switch,
};

pub const CORS_ORIGINS: SettingSpec<String> = SettingSpec {
    about: SettingInfo {
        name: "serve.cors-origins",
        flag: Some("cors-origin"),
        variables: &["BANDMASTER_SERVE_CORS_ORIGINS"],
        is_list: true,
        default: "none",
        expects: "an origin such as https://app.example.com or http://localhost:3000, without a path, or * for every \
                  page",
        help: "Let web pages of this origin read answers, e.g. https://app.example.com, or * for all; may be repeated. \
               Pages served from this machine (http://localhost:3000) always may",
    },
    parse: |text| trimmed(text).filter(|origin| Origins::parse(std::slice::from_ref(origin)).is_ok()),
};

pub const ALLOW_HOSTS: SettingSpec<String> = SettingSpec {
    about: SettingInfo {
        name: "serve.allow-hosts",
        flag: Some("allow-host"),
        variables: &["BANDMASTER_SERVE_ALLOW_HOSTS"],
        is_list: true,
        default: "none",
        expects: "a host name such as box.lan or 192.168.1.2, without a scheme, port or path, or * for any",
        help: "Accept requests to this host name besides localhost, e.g. box.lan or a container's name, or * for any; \
               may be repeated. Without API keys other names are refused, because a foreign web page could have sent \
               the request",
    },
    parse: |text| trimmed(text).filter(is_host_name),
};

pub const MAX_CONNECTIONS: SettingSpec<usize> = SettingSpec {
    about: SettingInfo {
        name: "serve.max-connections",
        flag: Some("max-connections"),
        variables: &["BANDMASTER_SERVE_MAX_CONNECTIONS"],
        is_list: false,
        default: "1024",
        expects: "a number of connections from 1 to 65536",
        help: "Number of connections open at a time, fewer if the system's limit of open files is lower. When it is \
               reached, connections without a request are closed, oldest first",
    },
    parse: |text| whole_number(text, 1, 65_536),
};

pub const MAX_CONNECTIONS_PER_ADDRESS: SettingSpec<usize> = SettingSpec {
    about: SettingInfo {
        name: "serve.max-connections-per-address",
        flag: Some("max-connections-per-address"),
        variables: &["BANDMASTER_SERVE_MAX_CONNECTIONS_PER_ADDRESS"],
        is_list: false,
        default: "256 from other machines, no limit from this one",
        expects: "a number of connections, or 0 for no limit",
        help: "Number of connections open at a time from one address; 0 means no limit",
    },
    parse: |text| whole_number(text, 0, usize::MAX),
};

pub const DRAIN_SECONDS: SettingSpec<u64> = SettingSpec {
    about: SettingInfo {
        name: "serve.drain-seconds",
        flag: Some("drain-seconds"),
        variables: &["BANDMASTER_SERVE_DRAIN_SECONDS"],
        is_list: false,
        default: "30",
        expects: "a number of seconds from 0 to 3600",
        help: "On shutdown, how many seconds running answers get before they are cut off",
    },
    parse: |text| whole_number(text, 0, 3600),
};

/// How long stored responses are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    Forever,
    For(Duration),
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::For(age) = self else { return f.write_str("forever") };
        let seconds = age.as_secs();
        let units = [(86_400, "d"), (3600, "h"), (60, "m")];
        let (size, unit) = units.into_iter().find(|(size, _)| seconds % size == 0).unwrap_or((1, "s"));
        write!(f, "{}{unit}", seconds / size)
    }
}

pub const KEEP_RESPONSES: SettingSpec<Retention> = SettingSpec {
    about: SettingInfo {
        name: "serve.keep-responses",
        flag: Some("keep-responses"),
        variables: &["BANDMASTER_SERVE_KEEP_RESPONSES"],
        is_list: false,
        default: "30d",
        expects: "an age such as 30d or 12h, or `forever`",
        help: "Delete stored responses older than this, e.g. 30d or 12h; `forever` keeps them. Conversations are \
               always kept",
    },
    parse: retention,
};

pub const OTLP_ENDPOINT: SettingSpec<String> = SettingSpec {
    about: SettingInfo {
        name: "otlp-endpoint",
        flag: Some("otlp-endpoint"),
        variables: &["BANDMASTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
        is_list: false,
        default: "no traces",
        expects: "a URL",
        help: "Send traces to this OpenTelemetry collector (OTLP over HTTP, e.g. http://127.0.0.1:4318). Needs a build \
               with `--features otel`",
    },
    parse: trimmed,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people to read
    Text,
    /// One JSON object per line
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

pub const LOG: SettingSpec<LogFormat> = SettingSpec {
    about: SettingInfo {
        name: "serve.log",
        flag: Some("log"),
        variables: &["BANDMASTER_SERVE_LOG"],
        is_list: false,
        default: "text",
        expects: "text or json",
        help: "Format of the log on stderr",
    },
    parse: |text| LogFormat::from_str(text.trim(), false).ok(),
};

/// Host names are not resolved, because what they resolve to could change after the check.
fn host(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn alias(text: &str) -> Option<ModelAlias> {
    let (name, model) = match text.split_once('=') {
        Some((name, model)) => (name.trim(), Some(model.trim())),
        None => (text.trim(), None),
    };
    let is_name = !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control());
    let is_band = name.split(':').next() == Some(BAND);
    (is_name && !is_band && model != Some(""))
        .then(|| ModelAlias { name: name.to_owned(), model: model.map(str::to_owned) })
}

fn is_host_name(name: &String) -> bool {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Hosts::new(loopback, false, std::slice::from_ref(name), Arc::default()).is_ok()
}

fn retention(text: &str) -> Option<Retention> {
    match text.trim() {
        "forever" => Some(Retention::Forever),
        age => parse_age(age).ok().filter(|age| !age.is_zero()).map(Retention::For),
    }
}
