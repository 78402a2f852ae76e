//! Runs Python written by a model, in a separate process with limits on time, memory, files and processes, with an
//! empty environment, and without a network if the system allows it. A program passes only if it runs to its end;
//! exiting early is not passing. This guards against accidents (loops, memory, stray files, early exits), not against
//! malice: code written to escape may well do so.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use tokio::process::Command;

/// Wall-clock limit; the prelude limits processor time as well.
const TIME_MAX: Duration = Duration::from_secs(10);
/// The Python part: sets the limits, runs the program, and writes a file when it has ended.
const PRELUDE: &str = include_str!("prelude.py");
/// Namespaces without a network, in which no process outlives its parent. They stop code that happens to use either;
/// they are no jail for code that tries to escape.
const UNSHARE: [&str; 6] = ["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"];

/// The error if Python can't be run on this machine.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "the suite's code is checked by running it, and python3 can't be run here ({0}): install Python 3.8 or newer"
)]
pub struct PythonError(String);

/// How programs are run on this machine.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The interpreter itself, resolved from any wrapper on the path.
    python: PathBuf,
    /// The `unshare` program, if it works here.
    unshare: Option<PathBuf>,
    /// Wall-clock limit of a program.
    time_max: Duration,
}

impl Sandbox {
    /// Finds Python and tries whether a process can be separated from the network.
    ///
    /// # Errors
    /// If there is no usable Python.
    pub async fn find() -> Result<Self, PythonError> {
        let found = on_path("python3").ok_or_else(|| PythonError("not on the path".to_owned()))?;
        let output = Command::new(&found)
            .args([
                "-I",
                "-c",
                "import resource, sys; assert sys.version_info >= (3, 8); print(sys.executable)",
            ])
            .output()
            .await
            .map_err(|error| PythonError(error.to_string()))?;
        let python = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if !output.status.success() || !python.is_absolute() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(PythonError(stderr.lines().last().unwrap_or("it failed").to_owned()));
        }
        let mut sandbox = Self { python, unshare: on_path("unshare"), time_max: TIME_MAX };
        if !sandbox.passes("pass").await.unwrap_or(false) {
            sandbox.unshare = None;
            let works = sandbox.passes("pass").await.map_err(|error| PythonError(error.to_string()))?;
            if !works {
                return Err(PythonError("an empty program fails within the limits".to_owned()));
            }
        }
        Ok(sandbox)
    }

    /// Name of the confinement, for reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.unshare.is_some() { "unshare+limits" } else { "limits" }
    }

    /// Whether a program runs to its end in time.
    ///
    /// # Errors
    /// If it could not be run at all.
    pub async fn passes(&self, program: &str) -> io::Result<bool> {
        // Not the folder's name, which the program can find out and write itself.
        let (token, folder) = (random(), Folder::make(&random())?);
        fs::write(folder.0.join("program"), format!("{token}\n{program}"))?;
        let mut child = self.command(&folder.0).spawn()?;
        let ended = tokio::time::timeout(self.time_max, child.wait()).await;
        let Ok(status) = ended else {
            child.kill().await?;
            return Ok(false);
        };
        Ok(status?.success() && begins_with(&folder.0.join("done"), &token))
    }

    fn command(&self, folder: &Path) -> Command {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(unshare) = &self.unshare {
            arguments.push(unshare.into());
            arguments.extend(UNSHARE.map(OsString::from));
            arguments.push("--".into());
        }
        arguments.push((&self.python).into());
        arguments.extend(["-I", "-c", PRELUDE].map(OsString::from));
        let mut command = process::Command::new(&arguments[0]);
        // A group of its own, so that Ctrl-C doesn't end the program being checked.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut command = Command::from(command);
        command
            .args(&arguments[1..])
            .env_clear()
            .current_dir(folder)
            // Discard its output: it may print for ever.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// The first file of that name in the folders of PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// 32 random hex digits, from the random keys that the standard library makes for its hash maps.
fn random() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}

/// Reads a limited length: the program may have written anything there.
fn begins_with(file: &Path, token: &str) -> bool {
    let mut text = String::new();
    let read = fs::File::open(file).and_then(|file| file.take(64).read_to_string(&mut text));
    read.is_ok() && text == token
}

/// A folder that is deleted when this value is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make(name: &str) -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("bandmaster-check-{name}"));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is left to the system's own cleanup.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::tests::{block_on, python};
    use super::*;

    /// Checks both kinds of confinement, as far as this machine has them. A program that should pass gets more time,
    /// because the machine may be busy; one that should fail won't pass later either.
    fn check(program: &str, passes: bool) {
        let Some(found) = python() else { return };
        let found = Sandbox { time_max: Duration::from_secs(if passes { 20 } else { 2 }), ..found };
        let limits = Sandbox { unshare: None, ..found.clone() };
        let both = if found.unshare.is_some() { vec![found, limits] } else { vec![limits] };
        for sandbox in both {
            let passed = block_on(sandbox.passes(program)).unwrap();
            assert_eq!(passed, passes, "{} under {}", program, sandbox.name());
        }
    }

    #[test]
    fn a_right_program_passes_and_a_wrong_one_does_not() {
        check("def double(x):\n    return 2 * x\nassert double(2) == 4", true);
        check(
            "import math, dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nassert A(1).x == 1",
            true,
        );
        check("def double(x):\n    return x\nassert double(2) == 4", false);
        check("def double(x)\n    return x", false);
    }

    #[test]
    fn the_main_block_of_an_answer_is_not_run() {
        let right = "import unittest\ndef double(x):\n    return 2 * x\n";
        let test = "\nassert double(2) == 4\nassert __name__ == 'answer'";
        for body in ["unittest.main()", "input()", "raise SystemExit(double(int(input())))"] {
            check(&format!("{right}if __name__ == \"__main__\":\n    {body}\n{test}"), true);
        }
    }

    #[test]
    fn a_program_cannot_find_the_token() {
        let written = r"
import os
for fd in range(3, 10):
    try:
        os.write(fd, os.getcwd()[-32:].encode())
    except OSError:
        pass
os._exit(0)";
        check(written, false);
        let searched = r"
import sys
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_locals.items()):
        assert not (isinstance(value, str) and len(value) == 32), name
    frame = frame.f_back";
        check(searched, true);
    }

    #[test]
    fn leaving_before_the_end_is_not_passing() {
        check("import sys\nsys.exit(0)\nassert False", false);
        check("import os\nos._exit(0)", false);
        check("raise SystemExit", false);
        check("import os\nos.write(3, b'x' * 100)\nos.write(4, b'0' * 32)\nos._exit(0)", false);
    }

    #[test]
    fn a_program_without_end_is_ended() {
        let began = Instant::now();
        check("while True:\n    pass", false);
        check("import time\ntime.sleep(60)", false);
        assert!(began.elapsed() < Duration::from_secs(40));
    }

    #[test]
    fn a_program_that_prints_for_ever_fills_nothing() {
        check("while True:\n    print('x' * 10000)", false);
    }

    #[test]
    fn memory_is_limited() {
        check("x = bytearray(3 << 30)", false);
        check("try:\n    bytearray(3 << 30)\n    assert False\nexcept MemoryError:\n    pass", true);
    }

    #[test]
    fn there_is_no_network_and_no_environment() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        check(&format!("import socket\nsocket.create_connection(('127.0.0.1', {port}))"), false);
        check(&format!("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}')"), false);
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
        check("import os\nassert not [name for name in os.environ if name not in ('LC_CTYPE', 'PWD')]", true);
    }

    #[test]
    fn other_processes_and_files_are_out_of_reach() {
        let kept = env::temp_dir().join(format!("bandmaster-kept-{}", random()));
        fs::write(&kept, "kept").unwrap();
        let name = kept.display();
        for program in [
            format!("open('{name}', 'w').write('gone')"),
            format!("import os\nos.remove('{name}')"),
            format!("import pathlib\npathlib.Path('{name}').unlink()"),
            "import os\nos.fork()".to_owned(),
            "import subprocess\nsubprocess.run(['true'])".to_owned(),
            "import os\nos.system('true')".to_owned(),
            "import ctypes\nctypes.CDLL(None)".to_owned(),
            format!("import os\nos.kill({}, 0)", process::id()),
        ] {
            check(&program, false);
        }
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
        fs::remove_file(&kept).unwrap();
    }
}
