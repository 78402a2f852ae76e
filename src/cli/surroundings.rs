//! What the system lets this process have: open files, address space, threads. It is looked at before anything begins, since
//! libraries that find none of it left panic or abort.

use std::sync::Mutex;
use std::thread::Builder;

use super::error::CliError;
use super::flags::Command;

/// The stack of the thread that does a command, whatever `ulimit -s` says of the first one's.
pub const STACK_BYTES: usize = 8 << 20;
/// As many open files as anybody here can use; a higher limit stays as it is.
#[cfg(unix)]
const FILES_WANTED: u64 = 65_536;

/// What a command needs at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Needs {
    name: &'static str,
    files: u64,
    address_bytes: u64,
    threads: usize,
}

impl Needs {
    fn of(command: &Command) -> Self {
        // Programs that load models: their files, a record, sockets, a file of each thread's doing.
        let with_models =
            |name| Self { name, files: 64, address_bytes: 1_900 << 20, threads: 8 + super::machine::cores() };
        match command {
            Command::Run(_) => with_models("run"),
            Command::Serve(_) => with_models("serve"),
            Command::Bench(_) => with_models("bench"),
            Command::Doctor { .. } => {
                Self { threads: 2 + super::machine::cores(), ..Self::light("doctor", 480 << 20) }
            }
            Command::Models(_) => Self::light("models", 96 << 20),
            Command::Runs(_) => Self::light("runs", 96 << 20),
            Command::Workers(_) => Self::light("workers", 96 << 20),
            Command::Completions { .. } => Self { files: 0, ..Self::light("completions", 0) },
        }
    }

    fn light(name: &'static str, address_bytes: u64) -> Self {
        Self { name, files: 16, address_bytes, threads: 2 }
    }

    /// Compares with what there is; `None` has no limit.
    fn check(&self, files: Option<u64>, address_bytes: Option<u64>) -> Result<(), String> {
        let Self { name, .. } = self;
        if let Some(files) = files.filter(|files| *files < self.files) {
            return Err(format!(
                "this process may have {files} open files, and `bandmaster {name}` needs {} at least: raise the limit \
                 (`ulimit -n 1024`, or LimitNOFILE= of a service)",
                self.files
            ));
        }
        if let Some(bytes) = address_bytes.filter(|bytes| *bytes < self.address_bytes) {
            let mib = |bytes: u64| bytes >> 20;
            return Err(format!(
                "this process may have {} MiB of address space, and `bandmaster {name}` needs {} MiB at least, and room for \
                 its models twice: raise the limit (`ulimit -v unlimited`, or LimitAS= of a service)",
                mib(bytes),
                mib(self.address_bytes)
            ));
        }
        Ok(())
    }
}

/// Says what is missing for a command, and takes as many open files as it may have.
///
/// # Errors
/// Which limit is too low, for what, and how it is raised.
pub fn check(command: &Command) -> Result<(), CliError> {
    let failed = |problem: String| CliError::Failed(anyhow::anyhow!(problem));
    let needs = Needs::of(command);
    needs.check(open_files(), address_space()).map_err(failed)?;
    try_threads(needs.threads).map_err(|error| {
        failed(format!(
            "`bandmaster {}` needs {} threads, and the system gives fewer: {error}; raise the limit of processes \
             (`ulimit -u`, or a container's --pids-limit) or lower --threads",
            needs.name, needs.threads
        ))
    })
}

/// Starts so many threads at once, and ends them.
fn try_threads(count: usize) -> std::io::Result<()> {
    // While this is locked none of them ends.
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let _closed = gate.lock();
        let begin =
            |_| Builder::new().stack_size(64 << 10).spawn_scoped(scope, || drop(gate.lock())).map(drop);
        (0..count).try_for_each(begin)
    })
}

/// How many open files this process may have, after it has taken what it may.
#[cfg(unix)]
#[must_use]
pub fn open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    let wanted = limit.maximum.unwrap_or(FILES_WANTED).min(FILES_WANTED);
    if wanted > current && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok() {
        return Some(wanted);
    }
    Some(current)
}

/// How many open files this process may have.
#[cfg(not(unix))]
#[must_use]
pub fn open_files() -> Option<u64> {
    None
}

/// How many bytes of addresses this process may have, where that is limited.
#[cfg(unix)]
#[must_use]
pub fn address_space() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// How many bytes of addresses this process may have, where that is limited.
#[cfg(not(unix))]
#[must_use]
pub fn address_space() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_way_out() {
        let needs = Needs { name: "serve", files: 64, address_bytes: 2 << 30, threads: 4 };
        assert_eq!(needs.check(None, None), Ok(()));
        assert_eq!(needs.check(Some(64), Some(2 << 30)), Ok(()));
        for files in [3, 10, 63] {
            let message = needs.check(Some(files), None).unwrap_err();
            for part in [&files.to_string(), "64", "serve", "ulimit -n"] {
                assert!(message.contains(part), "{message}");
            }
        }
        let message = needs.check(None, Some(1 << 30)).unwrap_err();
        for part in ["1024 MiB", "2048 MiB", "serve", "ulimit -v"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn threads_are_tried_and_gone() {
        assert!(try_threads(0).is_ok());
        assert!(try_threads(20).is_ok());
    }
}
