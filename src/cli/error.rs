//! Errors of commands and their exit statuses.

use std::fmt::Write as _;
use std::io;

use crate::band::BandError;
use crate::client::HomeServerError;
use crate::hub::HubError;
use crate::journal::JournalError;
use crate::orchestrator::StartError;

#[derive(Debug)]
pub enum CliError {
    /// The command can't be done as typed: exit status 2.
    Usage(String),
    /// Something failed: exit status 1.
    Failed(anyhow::Error),
    /// The reader of stdout has gone, e.g. `| head`: no error.
    BrokenPipe,
}

impl CliError {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Turns a write error of stdout into a message with advice.
    pub fn stdout(error: &io::Error) -> Self {
        let what_now = match error.kind() {
            io::ErrorKind::BrokenPipe => return Self::BrokenPipe,
            io::ErrorKind::StorageFull => "free some space there, or send it to another place",
            io::ErrorKind::FileTooLarge => {
                "raise the limit of file sizes (`ulimit -f unlimited`, or LimitFSIZE= of a service)"
            }
            _ => "send it to a file, a pipe or a terminal; `>/dev/null` throws it away",
        };
        Self::Failed(anyhow::anyhow!("standard output can't be written: {error}; {what_now}"))
    }
}

/// An error and its causes in one sentence. A cause already contained in the text is not repeated.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !has(&text, &cause) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

/// Whether `text` contains `part` at word boundaries.
fn has(text: &str, part: &str) -> bool {
    let is_open = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    text.match_indices(part).any(|(at, _)| {
        is_open(text[..at].chars().next_back()) && is_open(text[at + part.len()..].chars().next())
    })
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<HomeServerError> for CliError {
    fn from(error: HomeServerError) -> Self {
        match error {
            HomeServerError::Refused { status, message } if status.as_u16() == 400 => Self::Usage(message),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<BandError> for CliError {
    fn from(error: BandError) -> Self {
        Self::Failed(error.into())
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
            | JournalError::GoesOn { .. }
            | JournalError::InProgress { .. }
            | JournalError::HasGoneOn { .. } => Self::Usage(error.to_string()),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Record(error) => error.into(),
            other => Self::Usage(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_shown_once() {
        let check = |error: anyhow::Error, expected: &str| assert_eq!(with_causes(&error), expected);
        let refused = || HubError::Io {
            path: "/home/models".into(),
            source: io::Error::from(io::ErrorKind::ReadOnlyFilesystem),
        };
        let alone = refused().to_string();
        check(refused().into(), &alone);
        check(
            Err::<(), _>(refused()).context("m can't be loaded").unwrap_err(),
            &format!("m can't be loaded: {alone}"),
        );
        check(anyhow::anyhow!("inner").context("outer").context("outermost"), "outermost: outer: inner");
        check(anyhow::anyhow!("alone"), "alone");
    }

    #[test]
    fn output_that_is_not_taken_says_so_with_the_way_out() {
        let message = |kind: io::ErrorKind| match CliError::stdout(&kind.into()) {
            CliError::Failed(error) => with_causes(&error),
            other => panic!("{other:?}"),
        };
        for (kind, way_out) in [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::FileTooLarge, "ulimit -f"),
            (io::ErrorKind::Other, "/dev/null"),
        ] {
            let message = message(kind);
            assert!(message.starts_with("standard output can't be written: "), "{message}");
            assert!(message.contains(way_out), "{message}");
        }
        assert!(matches!(CliError::stdout(&io::ErrorKind::BrokenPipe.into()), CliError::BrokenPipe));
    }
}
