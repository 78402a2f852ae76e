//! Where things are kept: the platform's directories, or one folder with `--home`.

use std::fs;
use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs, choose_app_strategy};

use super::error::{AtPath, HubError};

/// The four places. Nothing is created before something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Installed models, one folder each.
    pub models_dir: PathBuf,
    /// `runs.sqlite`; private.
    pub state_dir: PathBuf,
    /// `config.toml`; private.
    pub config_dir: PathBuf,
    /// What may be deleted at any time.
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
    /// [`HubError::NoHome`] when the platform names no home directory.
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

    /// The journal of runs.
    #[must_use]
    pub fn runs_file(&self) -> PathBuf {
        self.state_dir.join("runs.sqlite")
    }

    /// Settings, if the file is there.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// Creates the state folder, readable by its owner only, and returns it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create_state_dir(&self) -> Result<&Path, HubError> {
        create_private(&self.state_dir)?;
        Ok(&self.state_dir)
    }
}

/// Creates `dir` and what is missing above it, mode 0700 where the platform has modes.
pub(super) fn create_private(dir: &Path) -> Result<(), HubError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).at(dir)
}
