//! `config.toml` before its values are checked. Keys that are no setting's are refused with the nearest one that is.

use std::path::PathBuf;

use super::super::error::CliError;
use super::super::settings;
use crate::hub::similar_names;

/// The only table.
const SERVE: &str = "serve";

pub struct ConfigFile {
    pub path: PathBuf,
    table: toml::Table,
}

impl ConfigFile {
    /// # Errors
    /// Text that is no TOML, and unknown keys.
    pub fn parse(path: PathBuf, text: &str) -> Result<Self, CliError> {
        let wrong = |problem: &str| CliError::usage(format!("{}: {}", path.display(), problem.trim_end()));
        let table: toml::Table = toml::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        for (key, value) in &table {
            match value {
                toml::Value::Table(inner) if key == SERVE => {
                    inner.keys().try_for_each(|inner| known(&format!("{SERVE}.{inner}")))
                }
                _ if key == SERVE => Err("`serve` is a table: write its keys below [serve]".to_owned()),
                _ => known(key),
            }
            .map_err(|problem| wrong(&problem))?;
        }
        Ok(Self { path, table })
    }

    /// The value of a setting by its name, such as `threads` or `serve.port`.
    pub fn get(&self, name: &str) -> Option<&toml::Value> {
        match name.split_once('.') {
            Some((table, key)) => self.table.get(table)?.get(key),
            None => self.table.get(name),
        }
    }
}

/// The text of a single value; `None` for arrays and tables.
pub fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Array(_) | toml::Value::Table(_) => None,
        other => Some(other.to_string()),
    }
}

/// Refuses a key that is no setting's. Only the last parts are compared, so that a key outside of its table is found.
fn known(key: &str) -> Result<(), String> {
    let names = || settings::ALL.iter().filter(|about| about.is_in_file()).map(|about| about.name);
    if names().any(|name| name == key) {
        return Ok(());
    }
    let last = |name| str::rsplit(name, '.').next().unwrap_or(name);
    let nearest = similar_names(last(key), names().map(last).chain([SERVE])).first().copied();
    let meant = nearest.map(|nearest| names().find(|name| last(name) == nearest).unwrap_or(nearest));
    Err(match meant {
        Some(meant) => format!("unknown key `{key}`: did you mean `{meant}`?"),
        None => format!("unknown key `{key}`: the keys are {}", names().collect::<Vec<_>>().join(", ")),
    })
}
