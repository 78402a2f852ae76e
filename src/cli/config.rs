//! The settings in force and where each came from: flag, then environment, then `config.toml`, then default. What
//! settings there are is in `settings.rs`.

mod file;
mod serve;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use bandmaster_models::KvType;

use super::error::CliError;
use super::flags::{BandFlags, Global, ServeFlags};
use super::machine::Machine;
use super::settings::{self, Device, SettingInfo, SettingSpec, kv_type_name};
use crate::hub::{Band, Home, Hub, format_memory_size};
use crate::orchestrator::ModelFiles;

use file::{ConfigFile, as_text};
pub use serve::ServeSettings;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    Flag,
    /// Name of the environment variable.
    Environment(&'static str),
    /// The path of the `config.toml` or band file.
    File(PathBuf),
    /// The record of the run that goes on.
    Run,
    #[default]
    Default,
}

impl Origin {
    /// Where and how the value `given` of a setting was given, for errors.
    pub fn describe(&self, about: &SettingInfo, given: impl fmt::Display) -> String {
        match self {
            Self::Flag => format!("--{} {given}", about.flag.unwrap_or(about.name)),
            Self::Environment(variable) => format!("{variable}={given}"),
            Self::File(path) => format!("{}: {} = {given}", path.display(), about.name),
            Self::Run | Self::Default => format!("{} {given}", about.name),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Run => f.write_str("run"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The value of a setting that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn of_default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    fn map<U>(&self, value: impl FnOnce(&T) -> U) -> Setting<U> {
        Setting { value: value(&self.value), origin: self.origin.clone() }
    }
}

/// A setting as `doctor` shows it.
pub struct ShownSetting {
    pub about: SettingInfo,
    /// `None` for a setting without a value; its default says what happens then.
    pub value: Option<String>,
    pub origin: Origin,
}

impl ShownSetting {
    fn new<T: fmt::Display>(about: SettingInfo, setting: Option<&Setting<T>>) -> Self {
        let setting = setting.map(|setting| setting.map(T::to_string));
        let (value, origin) = setting.map(|setting| (setting.value, setting.origin)).unzip();
        Self { about, value, origin: origin.unwrap_or_default() }
    }
}

/// The items in one line; `None` for an empty list.
fn joined<T: fmt::Display>(list: &Setting<Vec<T>>) -> Option<Setting<String>> {
    let items = || list.value.iter().map(T::to_string).collect::<Vec<_>>();
    (!list.value.is_empty()).then(|| list.map(|_| items().join(", ")))
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
    pub serve: ServeSettings,
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

/// The first of a setting's variables that is set, with its text. OpenTelemetry's own variables are only read in builds
/// that can export traces: they are meant for every program on the machine, so their presence is no mistake.
fn variable(environment: Environment, about: &SettingInfo) -> Option<(&'static str, String)> {
    let is_read = |variable: &&&str| cfg!(feature = "otel") || !variable.starts_with("OTEL_");
    about.variables.iter().filter(is_read).find_map(|variable| Some((*variable, environment(variable)?)))
}

/// The sources that settings are read from, apart from the flags.
struct Sources<'a> {
    environment: Environment<'a>,
    file: &'a ConfigFile,
}

impl Sources<'_> {
    /// The value of the first source that has one. `flag` is the value of the flag, if it was typed.
    fn find<T>(&self, spec: &SettingSpec<T>, flag: Option<T>) -> Result<Option<Setting<T>>, CliError> {
        self.first(&spec.about, flag, spec.parse, |value| (spec.parse)(&as_text(value)?))
    }

    /// [`Self::find`] for a list; an empty `flag` is an absent flag.
    fn find_list<T>(&self, spec: &SettingSpec<T>, flag: Vec<T>) -> Result<Option<Setting<Vec<T>>>, CliError> {
        let flag = (!flag.is_empty()).then_some(flag);
        let split = |text: &str| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(spec.parse).collect()
        };
        self.first(&spec.about, flag, split, |value| {
            value.as_array()?.iter().map(|item| (spec.parse)(&as_text(item)?)).collect()
        })
    }

    /// [`Self::find`], or the setting's default, which must be a value.
    fn find_or_default<T>(&self, spec: &SettingSpec<T>, flag: Option<T>) -> Result<Setting<T>, CliError> {
        Ok(self.find(spec, flag)?.unwrap_or_else(|| {
            let value = (spec.parse)(spec.about.default);
            Setting::of_default(
                value.unwrap_or_else(|| panic!("{}: its default is no value", spec.about.name)),
            )
        }))
    }

    fn first<T>(
        &self,
        about: &SettingInfo,
        flag: Option<T>,
        from_text: impl Fn(&str) -> Option<T>,
        from_file: impl Fn(&toml::Value) -> Option<T>,
    ) -> Result<Option<Setting<T>>, CliError> {
        let (value, origin, given) = if let Some(value) = flag {
            return Ok(Some(Setting { value, origin: Origin::Flag }));
        } else if let Some((variable, text)) = variable(self.environment, about) {
            (from_text(&text), Origin::Environment(variable), text)
        } else if let Some(value) = self.file.get(about.name) {
            (from_file(value), Origin::File(self.file.path.clone()), value.to_string())
        } else {
            return Ok(None);
        };
        let Some(value) = value else {
            let list = if about.is_list { "a list; each item is " } else { "" };
            let place = origin.describe(about, given);
            return Err(CliError::usage(format!("{place}: expected {list}{}", about.expects)));
        };
        Ok(Some(Setting { value, origin }))
    }
}

impl Config {
    /// The settings for a command with these flags.
    ///
    /// # Errors
    /// Unknown keys and wrong values, with their place and what was expected; files that can't be read.
    pub fn resolve(
        flags: &Global,
        band: &BandFlags,
        serve: &ServeFlags,
        environment: Environment,
    ) -> Result<Self, CliError> {
        let text = read_config_file(&home(flags, environment)?.value.config_file())?;
        Self::resolve_from(flags, band, serve, environment, &text, Machine::detect())
    }

    /// [`Self::resolve`] with the text of `config.toml` and the machine passed in.
    ///
    /// # Errors
    /// The same as of [`Self::resolve`].
    pub(super) fn resolve_from(
        flags: &Global,
        band: &BandFlags,
        serve: &ServeFlags,
        environment: Environment,
        text: &str,
        machine: Machine,
    ) -> Result<Self, CliError> {
        let home = home(flags, environment)?;
        let file = ConfigFile::parse(home.value.config_file(), text)?;
        let sources = Sources { environment, file: &file };
        let threads = sources.find(&settings::THREADS, flags.threads)?;
        let memory_bytes = sources.find(&settings::MEMORY, flags.memory)?;
        let memory_default = (machine.memory_bytes / 5 * 4).max(settings::MEMORY_BYTES_MIN);
        let config = Self {
            home,
            offline: sources.find_or_default(&settings::OFFLINE, flags.offline.then_some(true))?,
            threads: threads.unwrap_or(Setting::of_default(machine.cores_physical)),
            memory_bytes: memory_bytes.unwrap_or(Setting::of_default(memory_default)),
            context_tokens: sources.find_or_default(&settings::CONTEXT_TOKENS, flags.context_tokens)?,
            kv_type: sources.find_or_default(&settings::KV_TYPE, flags.kv_type)?,
            device: sources.find_or_default(&settings::DEVICE, flags.device)?,
            keep_packed: sources.find_or_default(&settings::KEEP_PACKED, None)?,
            planner: sources.find(&settings::PLANNER, band.planner.clone())?,
            workers: sources.find_list(&settings::WORKERS, band.workers.clone())?,
            embeddings: sources.find(&settings::EMBEDDINGS, None)?,
            serve: ServeSettings::resolve_from(serve, &sources)?,
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

    /// The same settings with the models of a recorded run, loaded as they were. What is set by a flag stays.
    #[must_use]
    pub fn with_run(&self, models: &ModelFiles) -> Self {
        let mut config = self.with_models(&models.planner, &models.workers);
        if config.context_tokens.origin != Origin::Flag {
            config.context_tokens = Setting { value: models.context_tokens, origin: Origin::Run };
        }
        if let Some(value) =
            settings::kv_type(&models.kv_type).filter(|_| config.kv_type.origin != Origin::Flag)
        {
            config.kv_type = Setting { value, origin: Origin::Run };
        }
        config
    }

    /// Every setting, in the order of [`settings::ALL`].
    #[must_use]
    pub fn effective(&self) -> Vec<ShownSetting> {
        let home = self.home.map(|home| home.models_dir.display().to_string());
        let kv_type = self.kv_type.map(|kv_type| kv_type_name(*kv_type));
        let workers = self.workers.as_ref().and_then(joined);
        let mut shown = vec![
            ShownSetting::new(settings::HOME.about, Some(&home)),
            ShownSetting::new(settings::OFFLINE.about, Some(&self.offline)),
            ShownSetting::new(settings::THREADS.about, Some(&self.threads)),
            ShownSetting::new(
                settings::MEMORY.about,
                Some(&self.memory_bytes.map(|bytes| format_memory_size(*bytes))),
            ),
            ShownSetting::new(settings::CONTEXT_TOKENS.about, Some(&self.context_tokens)),
            ShownSetting::new(settings::KV_TYPE.about, Some(&kv_type)),
            ShownSetting::new(settings::DEVICE.about, Some(&self.device.map(|Device::Cpu| "cpu"))),
            ShownSetting::new(settings::KEEP_PACKED.about, Some(&self.keep_packed)),
            ShownSetting::new(settings::PLANNER.about, self.planner.as_ref()),
            ShownSetting::new(settings::WORKERS.about, workers.as_ref()),
            ShownSetting::new(settings::EMBEDDINGS.about, self.embeddings.as_ref()),
        ];
        shown.extend(self.serve.shown());
        shown
    }
}

fn home(flags: &Global, environment: Environment) -> Result<Setting<Home>, CliError> {
    if let Some(folder) = &flags.home {
        return Ok(Setting { value: Home::under(folder), origin: Origin::Flag });
    }
    if let Some((name, folder)) = variable(environment, &settings::HOME.about) {
        return Ok(Setting { value: Home::under(Path::new(&folder)), origin: Origin::Environment(name) });
    }
    Ok(Setting::of_default(Home::of_platform()?))
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
