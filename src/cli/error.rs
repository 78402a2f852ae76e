//! How a command ends when it doesn't end well.

use std::io;

use crate::hub::HubError;
use crate::journal::JournalError;
use crate::orchestrator::AgainError;

/// An error and the exit status that goes with it.
#[derive(Debug)]
pub enum CliError {
    /// What was typed can't be done as typed: status 2.
    Usage(String),
    /// It went wrong: status 1.
    Failed(anyhow::Error),
    /// Whoever read our output has gone; nobody is left to tell.
    NoReader,
}

impl CliError {
    /// Status 2 with a message.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NoReader,
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<HubError> for CliError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::UnknownModel { .. }
            | HubError::BadReference { .. }
            | HubError::NoFile { .. }
            | HubError::WrongKind { .. }
            | HubError::NameTaken { .. } => Self::Usage(error.to_string()),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::UnknownRun { .. }
            | JournalError::Ambiguous { .. }
            | JournalError::GoesOn { .. } => Self::Usage(error.to_string()),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<AgainError> for CliError {
    fn from(error: AgainError) -> Self {
        match error {
            AgainError::Record(error) => error.into(),
            other => Self::Usage(other.to_string()),
        }
    }
}
