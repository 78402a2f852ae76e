//! Validated settings with their units and where each came from: flag, then environment, then `config.toml`, then
//! default.

use std::fmt;
use std::path::{Path, PathBuf};

use bandmaster_models::KvType;
use serde::Deserialize;

use super::error::CliError;
use super::flags::{BandFlags, Global};
use super::machine::Machine;
use super::units::parse_bytes;
use crate::hub::gib;
use crate::hub::{Band, Home, Hub};

/// A band and its KV cache don't fit in less.
const MEMORY_BYTES_MIN: u64 = 256 << 20;
const THREADS_MAX: usize = 1024;
const CONTEXT_TOKENS_MIN: usize = 256;
const CONTEXT_TOKENS_MAX: usize = 1 << 20;
const CONTEXT_TOKENS_DEFAULT: usize = 8192;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// Name of the environment variable.
    Environment(&'static str),
    /// The path of the `config.toml` or band file.
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Cpu,
}

/// `config.toml` as the user writes it, before validation.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigFile {
    offline: Option<bool>,
    threads: Option<usize>,
    memory: Option<String>,
    context_tokens: Option<usize>,
    kv_type: Option<String>,
    device: Option<String>,
    keep_packed: Option<bool>,
    planner: Option<String>,
    workers: Option<Vec<String>>,
    embeddings: Option<String>,
    otlp_endpoint: Option<String>,
}

impl ConfigFile {
    fn parse(path: &Path, text: &str) -> Result<Self, CliError> {
        toml::from_str(text)
            .map_err(|error| CliError::usage(format!("{}: {}", path.display(), error.to_string().trim_end())))
    }
}

/// All settings that apply to one command.
#[derive(Debug, Clone)]
pub struct Config {
    pub home: Setting<Home>,
    pub offline: Setting<bool>,
    pub threads: Setting<usize>,
    /// For weights and KV cache together.
    pub memory_bytes: Setting<u64>,
    pub context_tokens: Setting<usize>,
    /// Precision of the KV cache.
    pub kv_type: Setting<KvType>,
    pub device: Setting<Device>,
    /// Whether a model's packed weights are kept in a file beside it for the next load.
    pub keep_packed: Setting<bool>,
    pub planner: Option<Setting<String>>,
    pub workers: Option<Setting<Vec<String>>>,
    pub embeddings: Option<Setting<String>>,
    /// OpenTelemetry collector of `serve`; its address is not checked here.
    pub otlp_endpoint: Option<Setting<String>>,
    /// The machine that the defaults were chosen for.
    pub machine: Machine,
}

/// Looks up an environment variable; tests pass their own function.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's own environment. Empty variables count as unset.
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The sources that settings are read from, apart from the flags.
struct Sources<'a> {
    environment: Environment<'a>,
    file: &'a ConfigFile,
    file_path: PathBuf,
}

impl Sources<'_> {
    /// Parses the first source that has a value, or returns the default.
    fn pick<T>(
        &self,
        flag: (&str, Option<&String>),
        variable: &'static str,
        in_file: impl FnOnce(&ConfigFile) -> Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
        default: T,
    ) -> Result<Setting<T>, CliError> {
        let (name, typed) = flag;
        let found = typed
            .map(|text| (text.clone(), Origin::Flag))
            .or_else(|| Some(((self.environment)(variable)?, Origin::Environment(variable))))
            .or_else(|| Some((in_file(self.file)?, Origin::File(self.file_path.clone()))));
        let Some((text, origin)) = found else {
            return Ok(Setting { value: default, origin: Origin::Default });
        };
        match parse(&text) {
            Ok(value) => Ok(Setting { value, origin }),
            Err(problem) => {
                let place = if origin == Origin::Flag { name.to_owned() } else { origin.to_string() };
                Err(CliError::usage(format!("{place}: {problem}")))
            }
        }
    }
}

impl Config {
    pub fn resolve(flags: &Global, band: &BandFlags, environment: Environment) -> Result<Self, CliError> {
        let text = read_config_file(&home(flags, environment)?.value.config_file())?;
        Self::settle(flags, band, environment, &text, Machine::detect())
    }

    /// [`Self::resolve`] with the text of `config.toml` and the machine passed in.
    ///
    /// # Errors
    /// The same as of [`Self::resolve`].
    pub(super) fn settle(
        flags: &Global,
        band: &BandFlags,
        environment: Environment,
        text: &str,
        machine: Machine,
    ) -> Result<Self, CliError> {
        let home = home(flags, environment)?;
        let file_path = home.value.config_file();
        let file = ConfigFile::parse(&file_path, text)?;
        let sources = Sources { environment, file: &file, file_path: file_path.clone() };
        let memory_default = (machine.memory_bytes / 5 * 4).max(MEMORY_BYTES_MIN);
        let planner =
            named(band.planner.clone(), environment, "BANDMASTER_PLANNER", file.planner.clone(), &file_path);
        let workers = (!band.workers.is_empty()).then(|| band.workers.clone());
        let embeddings =
            named(None, environment, "BANDMASTER_EMBEDDINGS", file.embeddings.clone(), &file_path);
        let config = Self {
            offline: offline(flags, environment, &file, &file_path)?,
            threads: sources.pick(
                ("--threads", flags.threads.as_ref()),
                "BANDMASTER_THREADS",
                |file| Some(file.threads?.to_string()),
                |text| whole(text, 1..=THREADS_MAX, "threads"),
                machine.cores_physical,
            )?,
            memory_bytes: sources.pick(
                ("--memory", flags.memory.as_ref()),
                "BANDMASTER_MEMORY",
                |file| file.memory.clone(),
                parse_memory,
                memory_default,
            )?,
            context_tokens: sources.pick(
                ("--context-tokens", flags.context_tokens.as_ref()),
                "BANDMASTER_CONTEXT_TOKENS",
                |file| Some(file.context_tokens?.to_string()),
                |text| whole(text, CONTEXT_TOKENS_MIN..=CONTEXT_TOKENS_MAX, "tokens"),
                CONTEXT_TOKENS_DEFAULT,
            )?,
            kv_type: sources.pick(
                ("--kv-type", flags.kv_type.as_ref()),
                "BANDMASTER_KV_TYPE",
                |file| file.kv_type.clone(),
                parse_kv_type,
                KvType::F16,
            )?,
            device: sources.pick(
                ("--device", flags.device.as_ref()),
                "BANDMASTER_DEVICE",
                |file| file.device.clone(),
                parse_device,
                Device::Cpu,
            )?,
            keep_packed: sources.pick(
                ("keep-packed", None),
                "BANDMASTER_KEEP_PACKED",
                |file| Some(file.keep_packed?.to_string()),
                parse_switch,
                true,
            )?,
            planner,
            workers: named(workers, environment, "BANDMASTER_WORKERS", file.workers.clone(), &file_path),
            embeddings,
            otlp_endpoint: otlp_endpoint(environment, &file, &file_path),
            home,
            machine,
        };
        config.with_band_file(band)
    }

    /// A band file ranks below the flags and above everything else.
    fn with_band_file(mut self, flags: &BandFlags) -> Result<Self, CliError> {
        let Some(path) = &flags.band else { return Ok(self) };
        let problem = |what: String| CliError::usage(format!("--band {}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        let band: Band = toml::from_str(&text).map_err(|error| problem(error.to_string()))?;
        let origin = || Origin::File(path.clone());
        if flags.planner.is_none() {
            self.planner = Some(Setting { value: band.planner, origin: origin() });
        }
        if flags.workers.is_empty() {
            self.workers = Some(Setting { value: band.workers, origin: origin() });
        }
        self.embeddings = band.embeddings.map(|value| Setting { value, origin: origin() });
        Ok(self)
    }

    /// The hub of this home directory.
    #[must_use]
    pub fn hub(&self) -> Hub {
        Hub::new(self.home.value.clone(), self.offline.value)
    }

    /// The models that were named, completed by what the hub chooses for this machine.
    #[must_use]
    pub fn band(&self, hub: &Hub) -> Band {
        // The default of --memory is a share of the machine's memory, but bands are sized for whole machines.
        let machine_bytes = match self.memory_bytes.origin {
            Origin::Default => self.machine.memory_bytes,
            _ => self.memory_bytes.value,
        };
        let chosen = hub.choose_band(machine_bytes);
        let planner = self.planner.as_ref().map(|setting| setting.value.clone());
        let workers = self.workers.as_ref().map(|setting| setting.value.clone());
        // If only a planner is named, it also works: no other models are loaded without being asked for.
        let workers = match (workers, &planner) {
            (Some(workers), _) => workers,
            (None, Some(planner)) => vec![planner.clone()],
            (None, None) => chosen.workers,
        };
        // Embeddings only help to choose a strategy, so beside a planner of the user's own they are used only if
        // installed.
        let wanted = |name: &String| self.planner.is_none() || hub.find_embedder(name).is_ok();
        let embeddings = self.embeddings.as_ref().map(|setting| setting.value.clone());
        Band {
            planner: planner.unwrap_or(chosen.planner),
            workers,
            embeddings: embeddings.or(chosen.embeddings.filter(wanted)),
        }
    }

    /// The same settings with a band of exactly these models. Without `workers` the planner is alone.
    #[must_use]
    pub fn with_models(&self, planner: &str, workers: &[String]) -> Self {
        let planner = Setting { value: planner.to_owned(), origin: Origin::Flag };
        let workers = Setting { value: workers.to_vec(), origin: Origin::Flag };
        Self { planner: Some(planner), workers: Some(workers), ..self.clone() }
    }

    /// `(name, value, origin)` of every setting, for display.
    #[must_use]
    pub fn effective(&self) -> Vec<(&'static str, String, String)> {
        fn row<T>(name: &'static str, setting: &Setting<T>, value: String) -> (&'static str, String, String) {
            (name, value, setting.origin.to_string())
        }
        let mut rows = vec![
            row("home", &self.home, self.home.value.models_dir.display().to_string()),
            row("offline", &self.offline, self.offline.value.to_string()),
            row("threads", &self.threads, self.threads.value.to_string()),
            row("memory", &self.memory_bytes, gib(self.memory_bytes.value)),
            row("context-tokens", &self.context_tokens, self.context_tokens.value.to_string()),
            row("kv-type", &self.kv_type, kv_type_name(self.kv_type.value).to_owned()),
            row("device", &self.device, "cpu".to_owned()),
            row("keep-packed", &self.keep_packed, self.keep_packed.value.to_string()),
        ];
        rows.extend(self.planner.iter().map(|setting| row("planner", setting, setting.value.clone())));
        rows.extend(self.workers.iter().map(|setting| row("workers", setting, setting.value.join(", "))));
        rows.extend(self.embeddings.iter().map(|setting| row("embeddings", setting, setting.value.clone())));
        let collector = self.otlp_endpoint.iter();
        rows.extend(collector.map(|setting| row("otlp-endpoint", setting, setting.value.clone())));
        rows
    }
}

fn home(flags: &Global, environment: Environment) -> Result<Setting<Home>, CliError> {
    if let Some(folder) = &flags.home {
        return Ok(Setting { value: Home::under(folder), origin: Origin::Flag });
    }
    if let Some(folder) = environment("BANDMASTER_HOME") {
        let value = Home::under(Path::new(&folder));
        return Ok(Setting { value, origin: Origin::Environment("BANDMASTER_HOME") });
    }
    Ok(Setting { value: Home::of_platform()?, origin: Origin::Default })
}

/// The text of `config.toml`; empty if there is no such file.
fn read_config_file(path: &Path) -> Result<String, CliError> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            let folder = path.parent().unwrap_or(path).display();
            let problem = "it, or something on the way there, is a file: give a folder with --home";
            Err(CliError::usage(format!("settings and runs can't be kept in {folder}: {problem}")))
        }
        read => read.map_err(|error| CliError::usage(format!("{}: {error}", path.display()))),
    }
}

fn offline(
    flags: &Global,
    environment: Environment,
    file: &ConfigFile,
    file_path: &Path,
) -> Result<Setting<bool>, CliError> {
    if flags.offline {
        return Ok(Setting { value: true, origin: Origin::Flag });
    }
    for variable in ["BANDMASTER_OFFLINE", "HF_HUB_OFFLINE"] {
        if let Some(text) = environment(variable) {
            let value =
                parse_switch(&text).map_err(|problem| CliError::usage(format!("{variable}: {problem}")))?;
            return Ok(Setting { value, origin: Origin::Environment(variable) });
        }
    }
    Ok(match file.offline {
        Some(value) => Setting { value, origin: Origin::File(file_path.to_owned()) },
        None => Setting { value: false, origin: Origin::Default },
    })
}

/// Also reads OpenTelemetry's own variable, but only in builds that can export traces: it is meant for every program on
/// the machine, so its presence is no mistake.
fn otlp_endpoint(environment: Environment, file: &ConfigFile, file_path: &Path) -> Option<Setting<String>> {
    let for_all = (cfg!(feature = "otel")).then_some("OTEL_EXPORTER_OTLP_ENDPOINT");
    let variables = ["BANDMASTER_OTLP_ENDPOINT"].into_iter().chain(for_all);
    let found = variables.filter_map(|variable| named(None, environment, variable, None, file_path)).next();
    found.or_else(|| {
        let origin = Origin::File(file_path.to_owned());
        Some(Setting { value: file.otlp_endpoint.clone()?, origin })
    })
}

/// A setting that has no default.
fn named<T: FromText>(
    typed: Option<T>,
    environment: Environment,
    variable: &'static str,
    in_file: Option<T>,
    file_path: &Path,
) -> Option<Setting<T>> {
    if let Some(value) = typed {
        return Some(Setting { value, origin: Origin::Flag });
    }
    if let Some(text) = environment(variable) {
        return Some(Setting { value: T::from_text(&text), origin: Origin::Environment(variable) });
    }
    in_file.map(|value| Setting { value, origin: Origin::File(file_path.to_owned()) })
}

trait FromText {
    fn from_text(text: &str) -> Self;
}

impl FromText for String {
    fn from_text(text: &str) -> Self {
        text.trim().to_owned()
    }
}

impl FromText for Vec<String> {
    fn from_text(text: &str) -> Self {
        text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        other => Err(format!("`{other}` is neither 1 nor 0")),
    }
}

fn whole(text: &str, range: std::ops::RangeInclusive<usize>, unit: &str) -> Result<usize, String> {
    let number = text.trim().parse::<usize>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("`{text}` is no number of {unit} from {} to {}", range.start(), range.end()))
}

fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes < MEMORY_BYTES_MIN {
        return Err(format!(
            "{} is too little for any model: at least {}",
            gib(bytes),
            gib(MEMORY_BYTES_MIN)
        ));
    }
    Ok(bytes)
}

/// The name as `--kv-type` accepts it.
pub fn kv_type_name(kv_type: KvType) -> &'static str {
    match kv_type {
        KvType::F16 => "f16",
        KvType::Q8 => "q8",
    }
}

fn parse_kv_type(text: &str) -> Result<KvType, String> {
    match text {
        "f16" => Ok(KvType::F16),
        "q8" => Ok(KvType::Q8),
        other => Err(format!("`{other}` is no kv type: use f16 or q8")),
    }
}

fn parse_device(text: &str) -> Result<Device, String> {
    match text {
        "cpu" => Ok(Device::Cpu),
        "cuda" | "metal" => Err(format!("{text} is not in this build: use cpu")),
        other => Err(format!("`{other}` is no device: use cpu")),
    }
}
