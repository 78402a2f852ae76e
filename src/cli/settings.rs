//! The table of settings, one row each: names, default, accepted values and help. The parser of flags, the reading of
//! variables and of `config.toml`, `doctor` and docs/settings.md all use these rows. Which source wins is decided in
//! `config.rs`.

pub mod serve;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::str::FromStr;

use bandmaster_models::KvType;

use super::units::parse_bytes;

/// A setting whose values have type `T`. A list has the type of its items.
pub struct SettingSpec<T> {
    pub about: SettingInfo,
    pub parse: fn(&str) -> Option<T>,
}

/// Names, default and help of a setting.
#[derive(Debug, Clone, Copy)]
pub struct SettingInfo {
    /// Key in `config.toml`, and the name that `doctor` shows. `serve.port` is `port` in the table `[serve]`.
    pub name: &'static str,
    /// Long name of the flag, without its dashes.
    pub flag: Option<&'static str>,
    /// Environment variables. The first one that is set counts.
    pub variables: &'static [&'static str],
    /// Repeated as a flag, comma-separated in a variable, an array in `config.toml`.
    pub is_list: bool,
    /// A text that `parse` accepts, or what happens without a value.
    pub default: &'static str,
    /// What values are accepted, with their unit; follows the word "expected".
    pub expects: &'static str,
    /// Without a full stop at the end.
    pub help: &'static str,
}

impl<T: 'static> SettingSpec<T> {
    /// Text for `--help`.
    pub fn help(self) -> String {
        self.about.help()
    }

    /// Parses the flag for clap, which names the flag and what was given.
    pub fn parser(self) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
        let Self { about, parse } = self;
        move |text: &str| parse(text).ok_or_else(|| format!("expected {}", about.expects))
    }
}

impl SettingInfo {
    pub fn help(&self) -> String {
        format!("{} [env: {}] [default: {}]", self.help, self.variables.join(", "), self.default)
    }

    /// Everything but the folder of `config.toml` can be set in that file.
    pub fn is_in_file(&self) -> bool {
        self.name != HOME.about.name
    }
}

/// All settings, in the order in which they are shown.
pub const ALL: &[SettingInfo] = &[
    HOME.about,
    OFFLINE.about,
    THREADS.about,
    MEMORY.about,
    CONTEXT_TOKENS.about,
    KV_TYPE.about,
    DEVICE.about,
    KEEP_PACKED.about,
    PLANNER.about,
    WORKERS.about,
    EMBEDDINGS.about,
    serve::OTLP_ENDPOINT.about,
    serve::HOST.about,
    serve::PORT.about,
    serve::MODELS.about,
    serve::ALIASES.about,
    serve::API_KEY_FILE.about,
    serve::MAX_QUEUE.about,
    serve::MAX_SLOWDOWN.about,
    serve::STANDALONE.about,
    serve::CORS_ORIGINS.about,
    serve::ALLOW_HOSTS.about,
    serve::MAX_CONNECTIONS.about,
    serve::MAX_CONNECTIONS_PER_ADDRESS.about,
    serve::DRAIN_SECONDS.about,
    serve::KEEP_RESPONSES.about,
    serve::LOG.about,
];

const SWITCH: &str = "1 or 0 (or true, yes, on; false, no, off)";
const MODEL: &str = "a catalog name, a path to a GGUF file, or hf:OWNER/REPO[:QUANT|FILE][@REV]";
const CHOSEN: &str = "chosen to fit this machine's memory";

pub const HOME: SettingSpec<PathBuf> = SettingSpec {
    about: SettingInfo {
        name: "home",
        flag: Some("home"),
        variables: &["BANDMASTER_HOME"],
        is_list: false,
        default: "the platform's data and config folders",
        expects: "a folder",
        help: "Folder for models, run records and settings",
    },
    parse: path,
};

pub const OFFLINE: SettingSpec<bool> = SettingSpec {
    about: SettingInfo {
        name: "offline",
        flag: Some("offline"),
        variables: &["BANDMASTER_OFFLINE", "HF_HUB_OFFLINE"],
        is_list: false,
        default: "off",
        expects: SWITCH,
        help: "Make no network connections except to this machine",
    },
    parse: switch,
};

pub const THREADS: SettingSpec<usize> = SettingSpec {
    about: SettingInfo {
        name: "threads",
        flag: Some("threads"),
        variables: &["BANDMASTER_THREADS"],
        is_list: false,
        default: "the physical cores this process may use",
        expects: "a number of threads from 1 to 1024",
        help: "Number of threads that compute",
    },
    parse: |text| whole_number(text, 1, 1024),
};

/// A band and its KV cache don't fit in less.
pub const MEMORY_BYTES_MIN: u64 = 256 << 20;

pub const MEMORY: SettingSpec<u64> = SettingSpec {
    about: SettingInfo {
        name: "memory",
        flag: Some("memory"),
        variables: &["BANDMASTER_MEMORY"],
        is_list: false,
        default: "four fifths of the machine's memory",
        expects: "a size of at least 256 MiB, such as 8GiB or 512MiB",
        help: "Memory limit for weights and KV cache together, e.g. 8GiB or 512MiB",
    },
    parse: |text| parse_bytes(text).ok().filter(|bytes| *bytes >= MEMORY_BYTES_MIN),
};

pub const CONTEXT_TOKENS: SettingSpec<usize> = SettingSpec {
    about: SettingInfo {
        name: "context-tokens",
        flag: Some("context-tokens"),
        variables: &["BANDMASTER_CONTEXT_TOKENS"],
        is_list: false,
        default: "8192",
        expects: "a number of tokens from 256 to 1048576",
        help: "Longest context of a sequence in tokens, prompt and answer together. A model's own limit applies if it \
               is lower",
    },
    parse: |text| whole_number(text, 256, 1_048_576),
};

pub const KV_TYPE: SettingSpec<KvType> = SettingSpec {
    about: SettingInfo {
        name: "kv-type",
        flag: Some("kv-type"),
        variables: &["BANDMASTER_KV_TYPE"],
        is_list: false,
        default: "f16",
        expects: "f16 or q8",
        help: "Precision of the KV cache: f16, or q8, which halves its memory at a small cost in accuracy",
    },
    parse: kv_type,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Cpu,
}

pub const DEVICE: SettingSpec<Device> = SettingSpec {
    about: SettingInfo {
        name: "device",
        flag: Some("device"),
        variables: &["BANDMASTER_DEVICE"],
        is_list: false,
        default: "cpu",
        expects: "cpu (cuda and metal are not in this build)",
        help: "Device that computes; only cpu is supported so far",
    },
    parse: |text| (text.trim() == "cpu").then_some(Device::Cpu),
};

pub const KEEP_PACKED: SettingSpec<bool> = SettingSpec {
    about: SettingInfo {
        name: "keep-packed",
        flag: None,
        variables: &["BANDMASTER_KEEP_PACKED"],
        is_list: false,
        default: "on",
        expects: SWITCH,
        help: "Keep a model's packed weights in a file beside it, so that it loads faster the next time",
    },
    parse: switch,
};

pub const PLANNER: SettingSpec<String> = SettingSpec {
    about: SettingInfo {
        name: "planner",
        flag: Some("planner"),
        variables: &["BANDMASTER_PLANNER"],
        is_list: false,
        default: CHOSEN,
        expects: MODEL,
        help: "Model that plans and writes the answer: a catalog name, a path to a GGUF file, or \
               hf:OWNER/REPO[:QUANT|FILE][@REV]",
    },
    parse: trimmed,
};

pub const WORKERS: SettingSpec<String> = SettingSpec {
    about: SettingInfo {
        name: "workers",
        flag: Some("worker"),
        variables: &["BANDMASTER_WORKERS"],
        is_list: true,
        default: "the planner if one is named, else chosen to fit this machine's memory",
        expects: MODEL,
        help: "Model that does tasks of the plan, named like --planner; may be repeated",
    },
    parse: trimmed,
};

pub const EMBEDDINGS: SettingSpec<String> = SettingSpec {
    about: SettingInfo {
        name: "embeddings",
        flag: None,
        variables: &["BANDMASTER_EMBEDDINGS"],
        is_list: false,
        default: CHOSEN,
        expects: "the name of an embedding model",
        help: "Embedding model that helps to choose a strategy. Beside a planner that was named it is used only if it \
               is installed",
    },
    parse: trimmed,
};

/// The name as `--kv-type` accepts it.
pub fn kv_type_name(kv_type: KvType) -> &'static str {
    match kv_type {
        KvType::F16 => "f16",
        KvType::Q8 => "q8",
    }
}

fn kv_type(text: &str) -> Option<KvType> {
    [KvType::F16, KvType::Q8].into_iter().find(|kv_type| kv_type_name(*kv_type) == text.trim())
}

fn trimmed(text: &str) -> Option<String> {
    Some(text.trim().to_owned())
}

fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text.trim()))
}

fn switch(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Parses a whole number from `least` to `most`.
fn whole_number<T: FromStr + PartialOrd>(text: &str, least: T, most: T) -> Option<T> {
    text.trim().parse().ok().filter(|number| (least..=most).contains(number))
}
