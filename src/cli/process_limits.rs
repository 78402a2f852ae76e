//! Checks the system's limits for this process (open files, memory, file sizes, threads) before a command begins,
//! because libraries panic or abort when they run into one.

use std::sync::Mutex;
use std::thread::Builder;

use tokio::runtime::Runtime;

use super::error::CliError;
use super::flags::{Command, RunsCommand};

/// Stack of the thread that runs the command, independent of `ulimit -s`, which applies to the first thread.
pub const STACK_BYTES: usize = 8 << 20;
/// The open-file limit is raised to this, the most that any command can use; a higher limit is left as it is.
#[cfg(unix)]
const FILES_WANTED: u64 = 65_536;

/// How large the run record's files may grow while a command writes: the write-ahead log reaches 4
/// MiB before it is merged.
const RECORD_BYTES: u64 = 8 << 20;

/// Memory that a command with models needs beside the models: libraries, stacks, room for the KV cache.
const WITH_MODELS_BYTES: u64 = 1_900 << 20;

#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a command needs at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Requirements {
    name: &'static str,
    files: u64,
    address_bytes: u64,
    data_bytes: u64,
    /// Size of the largest file that the command writes on its own account.
    file_bytes: u64,
    threads: usize,
}

/// A limit on the process's memory, and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MemoryLimit {
    bytes: u64,
    kind: MemoryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemoryKind {
    AddressSpace,
    Data,
}

/// The system's limits; `None` means unlimited.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    files: Option<u64>,
    memory: [Option<MemoryLimit>; 2],
    file_bytes: Option<u64>,
}

impl Requirements {
    fn of(command: &Command) -> Self {
        // Open files: the models, the record, sockets, and one per thread for whatever it is doing.
        let with_models = |name, file_bytes| Self {
            name,
            files: 64,
            address_bytes: WITH_MODELS_BYTES,
            data_bytes: WITH_MODELS_BYTES,
            file_bytes,
            threads: 8 + cores(),
        };
        match command {
            Command::Run(_) => with_models("run", RECORD_BYTES),
            Command::Serve(_) => with_models("serve", RECORD_BYTES),
            Command::Bench(_) => with_models("bench", 0),
            Command::Doctor { .. } => Self {
                threads: 2 + cores(),
                address_bytes: 480 << 20,
                data_bytes: 400 << 20,
                ..Self::without_models("doctor")
            },
            Command::Models(_) => Self::without_models("models"),
            Command::Runs(RunsCommand::Resume(_)) => with_models("runs resume", RECORD_BYTES),
            Command::Runs(RunsCommand::Answer { .. }) => with_models("runs answer", RECORD_BYTES),
            Command::Runs(_) => Self { file_bytes: RECORD_BYTES, ..Self::without_models("runs") },
            Command::Workers(_) => Self::without_models("workers"),
            Command::Completions { .. } => {
                Self { files: 0, address_bytes: 0, data_bytes: 0, ..Self::without_models("completions") }
            }
        }
    }

    fn without_models(name: &'static str) -> Self {
        Self { name, files: 16, address_bytes: 96 << 20, data_bytes: 16 << 20, file_bytes: 0, threads: 2 }
    }

    /// Compares with the limits; the error says how to raise the one that is too low.
    fn check(&self, limits: &Limits) -> Result<(), String> {
        let Self { name, .. } = self;
        let mib = |bytes: u64| match bytes {
            0..0x10_0000 => format!("{} KiB", bytes >> 10),
            _ => format!("{} MiB", bytes >> 20),
        };
        if let Some(files) = limits.files.filter(|files| *files < self.files) {
            return Err(format!(
                "this process may have {files} open files, but `bandmaster {name}` needs at least {}: raise the limit \
                 (`ulimit -n 1024`, or LimitNOFILE= of a service)",
                self.files
            ));
        }
        for limit in limits.memory.iter().flatten() {
            let (needed, what, option, setting) = match limit.kind {
                MemoryKind::AddressSpace => (self.address_bytes, "address space", "-v", "LimitAS"),
                MemoryKind::Data => (self.data_bytes, "memory for data", "-d", "LimitDATA"),
            };
            if limit.bytes < needed {
                let models = if self.has_models() { ", plus twice the size of its models" } else { "" };
                return Err(format!(
                    "this process may have {} of {what}, but `bandmaster {name}` needs at least {}{models}: raise the \
                     limit (`ulimit {option} unlimited`, or {setting}= of a service)",
                    mib(limit.bytes),
                    mib(needed),
                ));
            }
        }
        if let Some(bytes) = limits.file_bytes.filter(|bytes| *bytes < self.file_bytes) {
            return Err(format!(
                "this process may write files of at most {}, but `bandmaster {name}` needs {} for the record of runs: raise \
                 the limit (`ulimit -f unlimited`, or LimitFSIZE= of a service)",
                mib(bytes),
                mib(self.file_bytes)
            ));
        }
        Ok(())
    }

    fn has_models(&self) -> bool {
        self.data_bytes >= WITH_MODELS_BYTES
    }
}

/// Checks that the limits are high enough for a command, and raises the limit of open files as far as allowed.
///
/// # Errors
/// Which limit is too low, for what, and how to raise it.
pub fn check(command: &Command) -> Result<(), CliError> {
    let failed = |problem: String| CliError::Failed(anyhow::anyhow!(problem));
    let requirements = Requirements::of(command);
    let limits = Limits { files: open_files(), memory: memory_limits(), file_bytes: file_size() };
    requirements.check(&limits).map_err(failed)?;
    try_threads(requirements.threads).map_err(|error| {
        failed(format!(
            "`bandmaster {}` needs {} threads, but the system gives fewer: {error}; raise the limit of processes \
             (`ulimit -u`, or a container's --pids-limit) or lower --threads",
            requirements.name, requirements.threads
        ))
    })
}

/// Starts `count` threads at once to see whether the system allows it, then ends them.
fn try_threads(count: usize) -> std::io::Result<()> {
    // No thread can end while this is locked.
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let _closed = gate.lock();
        let begin =
            |_| Builder::new().stack_size(64 << 10).spawn_scoped(scope, || drop(gate.lock())).map(drop);
        (0..count).try_for_each(begin)
    })
}

/// The limit of open files, after raising it as far as allowed.
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

#[cfg(not(unix))]
#[must_use]
pub fn open_files() -> Option<u64> {
    None
}

/// The lower of the process's memory limits in bytes, if there is one.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    memory_limits().iter().flatten().map(|limit| limit.bytes).min()
}

#[cfg(unix)]
fn memory_limits() -> [Option<MemoryLimit>; 2] {
    use rustix::process::{Resource, getrlimit};
    let limit = |resource, kind| getrlimit(resource).current.map(|bytes| MemoryLimit { bytes, kind });
    [limit(Resource::As, MemoryKind::AddressSpace), limit(Resource::Data, MemoryKind::Data)]
}

#[cfg(not(unix))]
fn memory_limits() -> [Option<MemoryLimit>; 2] {
    [None, None]
}

/// Limit on the size of files that this process writes, in bytes.
fn file_size() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    #[cfg(not(unix))]
    None
}

#[must_use]
pub fn has_file_limit() -> bool {
    file_size().is_some()
}

/// A tokio runtime with `threads` worker threads.
///
/// # Errors
/// [`CliError::Failed`] if the system denies the threads or files it needs.
pub fn runtime(threads: usize) -> Result<Runtime, CliError> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    built.map_err(|error| runtime_error(&error))
}

pub fn runtime_error(error: &std::io::Error) -> CliError {
    CliError::Failed(anyhow::anyhow!(
        "the async runtime can't be started: {error}; raise the limits of open files and processes (`ulimit -n`, \
         `ulimit -u`)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_named_with_the_way_to_raise_it() {
        let requirements = Requirements {
            address_bytes: 2 << 30,
            data_bytes: 1 << 30,
            file_bytes: 16 << 20,
            files: 64,
            ..Requirements::without_models("serve")
        };
        let check = |limits: Limits, parts: &[&str]| {
            let message = requirements.check(&limits).unwrap_err();
            for part in parts.iter().chain(&["`bandmaster serve`"]) {
                assert!(message.contains(part), "{message}");
            }
        };
        let memory =
            |bytes, kind| Limits { memory: [Some(MemoryLimit { bytes, kind }), None], ..Limits::default() };
        assert_eq!(requirements.check(&Limits::default()), Ok(()));
        let enough = Limits {
            files: Some(64),
            file_bytes: Some(16 << 20),
            ..memory(2 << 30, MemoryKind::AddressSpace)
        };
        assert_eq!(requirements.check(&enough), Ok(()));
        for files in [3, 10, 63] {
            check(
                Limits { files: Some(files), ..enough },
                &[&format!("have {files} open"), "64", "ulimit -n"],
            );
        }
        check(
            memory(1 << 30, MemoryKind::AddressSpace),
            &["1024 MiB of address", "2048 MiB", "`ulimit -v unlimited`", "LimitAS="],
        );
        check(
            memory(1 << 20, MemoryKind::Data),
            &["1 MiB of memory", "1024 MiB", "`ulimit -d unlimited`", "LimitDATA="],
        );
        assert_eq!(requirements.check(&memory(1 << 30, MemoryKind::Data)), Ok(()));
        for (bytes, shown) in
            [(0, "at most 0 KiB"), (1024 * 100, "at most 100 KiB"), (8 << 20, "at most 8 MiB")]
        {
            check(
                Limits { file_bytes: Some(bytes), ..enough },
                &[shown, "16 MiB", "record of runs", "ulimit -f"],
            );
        }
    }

    #[test]
    fn threads_are_tried_and_gone() {
        assert!(try_threads(0).is_ok());
        assert!(try_threads(20).is_ok());
    }
}
