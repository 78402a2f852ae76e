//! The folders where files are kept: the platform's directories, or one folder with `--home`.

use std::fs;
use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs, choose_app_strategy};

use super::error::{AtPath, HubError};

/// Nothing is created before something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// InstalledModel models, one folder each.
    pub models_dir: PathBuf,
    /// Contains `runs.sqlite`; private to the user.
    pub state_dir: PathBuf,
    /// Contains `config.toml`; private to the user.
    pub config_dir: PathBuf,
    /// Files that may be deleted at any time.
    pub cache_dir: PathBuf,
}

impl Home {
    /// Everything under one folder.
    #[must_use]
    pub fn under(folder: &Path) -> Self {
        Self {
            models_dir: folder.join("models"),
            state_dir: folder.to_owned(),
            config_dir: folder.to_owned(),
            cache_dir: folder.join("cache"),
        }
    }

    /// The platform's directories (XDG on Linux and macOS).
    ///
    /// # Errors
    /// [`HubError::NoHome`] if the platform has no home directory.
    pub fn of_platform() -> Result<Self, HubError> {
        let args = AppStrategyArgs {
            top_level_domain: "dev".to_owned(),
            author: "bandmaster".to_owned(),
            app_name: "bandmaster".to_owned(),
        };
        let dirs = choose_app_strategy(args).map_err(|_| HubError::NoHome)?;
        Ok(Self {
            models_dir: dirs.in_data_dir("models"),
            state_dir: dirs.state_dir().unwrap_or_else(|| dirs.data_dir()),
            config_dir: dirs.config_dir(),
            cache_dir: dirs.cache_dir(),
        })
    }

    /// The record of runs.
    #[must_use]
    pub fn runs_file(&self) -> PathBuf {
        self.state_dir.join("runs.sqlite")
    }

    /// The settings file, which may not exist.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// Creates the state folder, readable only by its owner, and returns it.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn create_state_dir(&self) -> Result<&Path, HubError> {
        create_private(&self.state_dir)?;
        Ok(&self.state_dir)
    }
}

/// Creates `dir` and its missing parents, with mode 0700 on Unix.
pub(super) fn create_private(dir: &Path) -> Result<(), HubError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).at(dir)
}
