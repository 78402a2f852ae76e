//! Reads what comes with a goal: text files, folders of them, pipes, stdin. Says clearly what can't be read, and leaves
//! nothing out silently.

mod decode;
mod folder;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SendError};
use std::time::Duration;

use super::error::CliError;
use super::terminal;
use super::units::gib;
use crate::orchestrator::Input;
use decode::{into_text, known_format};

/// A text longer than this is split before it is given to anyone; one longer than this is a mistake.
pub const INPUT_BYTES_MAX: u64 = 8 << 20;
/// Files one run reads at most.
pub const INPUTS_MAX: usize = 1000;

/// A pipe that was not asked for has so long to bring its first byte.
const PIPE_PATIENCE: Duration = Duration::from_secs(3);

/// What a pipe brought that was not asked for.
#[derive(Debug)]
pub enum Piped {
    /// Stdin is no pipe or file, or was empty.
    Nothing,
    /// Everything that came down the pipe.
    Bytes(Vec<u8>),
    /// It is open and nothing has come: programs often start others with a pipe that they never use.
    Silent,
}

impl Piped {
    /// What a person must know of a pipe that was not read.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        matches!(self, Self::Silent).then(|| {
            format!(
                "nothing came on stdin for {} s: going on without it; `-f -` waits for it, `< /dev/null` says there is none",
                PIPE_PATIENCE.as_secs()
            )
        })
    }
}

/// What was read, and what a folder held besides.
#[derive(Debug, Default)]
pub struct Inputs {
    /// In the order typed, folders sorted by path.
    pub inputs: Vec<Input>,
    /// What folders hold besides, with the reason.
    pub left_out: Vec<(PathBuf, String)>,
    /// What a person may not have meant, a sentence each.
    pub notes: Vec<String>,
}

/// What is left out is named so often; more is counted.
const LEFT_OUT_NAMED_MAX: usize = 20;

impl Inputs {
    /// What a person must know of what was not read, or read otherwise than they may think.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let named = self.left_out.iter().take(LEFT_OUT_NAMED_MAX);
        let mut told: Vec<String> =
            named.map(|(path, why)| format!("left out {}: {why}", path.display())).collect();
        if let Some(more @ 1..) = self.left_out.len().checked_sub(LEFT_OUT_NAMED_MAX) {
            told.push(format!("left out {more} more (`--json` names all)"));
        }
        told.extend(self.notes.iter().cloned());
        told
    }
}

/// Why a file is no input.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    /// Not text: a folder may hold such files.
    NotText(String),
    /// It can't be opened: a folder may hold such files too.
    Closed(String),
    /// Wrong wherever it lies.
    Wrong(String),
}

/// Reads `files` in order; `-` is `stdin`. `piped` is what came down a pipe without being asked for.
///
/// # Errors
/// [`CliError::Usage`] naming the file and what to do.
pub fn read(files: &[PathBuf], piped: Piped, stdin: &mut dyn Read) -> Result<Inputs, CliError> {
    let mut found = Inputs::default();
    let mut stdin_read = false;
    let mut named = HashSet::new();
    for file in files {
        if file.as_os_str() == "-" {
            if std::mem::replace(&mut stdin_read, true) {
                return Err(CliError::usage("-f -: stdin can be read once only"));
            }
            found.inputs.push(read_stdin(stdin)?);
            continue;
        }
        let meta = fs::metadata(file).map_err(|error| wrong(file, &cannot_open(&error)))?;
        note_twice(file, &mut named, &mut found);
        if meta.is_dir() {
            read_folder(file, &mut named, &mut found)?;
        } else {
            let text = read_named(file, &meta).map_err(|problem| match problem {
                Unreadable::NotText(problem) | Unreadable::Wrong(problem) | Unreadable::Closed(problem) => {
                    wrong(file, &problem)
                }
            })?;
            if text.trim().is_empty() {
                return Err(wrong(file, "the file is empty"));
            }
            let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
            found.inputs.push(Input { name, text });
        }
        within_count(&found)?;
    }
    // An empty pipe is how programs without a terminal start others.
    match piped {
        Piped::Bytes(bytes) if !bytes.trim_ascii().is_empty() => found.inputs.push(stdin_input(bytes)?),
        Piped::Bytes(_) | Piped::Nothing | Piped::Silent => {}
    }
    within_count(&found)?;
    name_apart(&mut found.inputs);
    Ok(found)
}

/// Says so where a file or folder was read before; `named` holds what was, by paths without links.
fn note_twice(path: &Path, named: &mut HashSet<PathBuf>, found: &mut Inputs) {
    if path.canonicalize().is_ok_and(|real| !named.insert(real)) {
        found.notes.push(format!("{} is given twice: it counts twice", path.display()));
    }
}

fn within_count(found: &Inputs) -> Result<(), CliError> {
    match found.inputs.len() {
        0..=INPUTS_MAX => Ok(()),
        _ => Err(CliError::usage(format!(
            "there are more files than one run reads ({INPUTS_MAX}): name fewer"
        ))),
    }
}

/// What a pipe, a socket or a redirected file on stdin holds, to its end once it has begun.
///
/// # Errors
/// [`CliError::Usage`] when it breaks off.
pub fn piped_stdin() -> Result<Piped, CliError> {
    if !stdin_is_piped() {
        return Ok(Piped::Nothing);
    }
    gather(&read_apart(io::stdin()), PIPE_PATIENCE)
}

type Chunk = io::Result<Vec<u8>>;

/// Reads on a thread of its own until the end, an error, or until nobody listens any more.
fn read_apart(mut from: impl Read + Send + 'static) -> Receiver<Chunk> {
    let (sender, chunks) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut begun = false;
        loop {
            let chunk = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(buffer[..read].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            match sender.send(chunk) {
                Ok(()) => begun = true,
                Err(SendError(Ok(text))) if !begun && !text.trim_ascii().is_empty() => {
                    return warn("text came on stdin too late and was not read: `-f -` waits for it");
                }
                Err(_) => return,
            }
        }
    });
    chunks
}

/// All chunks, if the first comes in time; one byte above the limit is enough to refuse the rest.
fn gather(chunks: &Receiver<Chunk>, patience: Duration) -> Result<Piped, CliError> {
    let mut all = Vec::new();
    let mut told = false;
    while all.len() as u64 <= INPUT_BYTES_MAX {
        match chunks.recv_timeout(patience) {
            Ok(chunk) => all.extend(chunk.map_err(|error| CliError::usage(format!("stdin: {error}")))?),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if all.is_empty() => return Ok(Piped::Silent),
            Err(RecvTimeoutError::Timeout) => {
                if !std::mem::replace(&mut told, true) {
                    warn("stdin has not ended: reading it until it does");
                }
            }
        }
    }
    Ok(if all.is_empty() { Piped::Nothing } else { Piped::Bytes(all) })
}

/// On stderr, even when asked to be quiet: what was meant as input is no progress.
pub fn warn(what: &str) {
    terminal::err(&format!("warning: {what}\n"));
}

#[cfg(unix)]
fn stdin_is_piped() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let kind = stdin.and_then(|stdin| stdin.metadata()).map(|meta| meta.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_file())
}

#[cfg(not(unix))]
fn stdin_is_piped() -> bool {
    !io::IsTerminal::is_terminal(&io::stdin())
}

fn wrong(path: &Path, problem: &str) -> CliError {
    CliError::usage(format!("-f {}: {problem}", path.display()))
}

fn cannot_open(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Everything readable under a folder, by path; hidden files and folders are passed over.
fn read_folder(folder: &Path, named: &mut HashSet<PathBuf>, found: &mut Inputs) -> Result<(), CliError> {
    let listing = folder::list(folder).map_err(|error| wrong(folder, &cannot_open(&error)))?;
    let before = found.inputs.len();
    let left_out_before = found.left_out.len();
    found.left_out.extend(listing.left_out);
    note_elsewhere(&listing.elsewhere, &mut found.notes);
    for file in listing.files {
        match read_file(&file) {
            Ok(text) if text.trim().is_empty() => found.left_out.push((file, "empty".to_owned())),
            Ok(text) => {
                let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
                found.inputs.push(Input { name, text });
                note_twice(&file, named, found);
                within_count(found)?;
            }
            Err(Unreadable::NotText(problem) | Unreadable::Closed(problem)) => {
                found.left_out.push((file, problem));
            }
            Err(Unreadable::Wrong(problem)) => return Err(wrong(&file, &problem)),
        }
    }
    let left_out = &mut found.left_out[left_out_before..];
    left_out.sort();
    if found.inputs.len() == before {
        let others: Vec<String> =
            left_out.iter().take(3).map(|(path, why)| format!("{}: {why}", path.display())).collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
        return Err(wrong(folder, &format!("the folder holds no readable text{others}")));
    }
    Ok(())
}

/// Says what is read though it does not lie in the folder that was named.
fn note_elsewhere(elsewhere: &[(PathBuf, String)], notes: &mut Vec<String>) {
    let named = elsewhere.iter().take(LEFT_OUT_NAMED_MAX);
    notes.extend(
        named.map(|(path, place)| format!("{} is {place}: what lies there is read as well", path.display())),
    );
    if let Some(more @ 1..) = elsewhere.len().checked_sub(LEFT_OUT_NAMED_MAX) {
        notes.push(format!("{more} more lead elsewhere and are read as well"));
    }
}

/// A path that was named: a file, or a pipe, for which it waits as long as it takes, and says so.
fn read_named(path: &Path, meta: &fs::Metadata) -> Result<String, Unreadable> {
    if let Some(what) = folder::unreadable_kind(meta) {
        return Err(Unreadable::Wrong(what.to_owned()));
    }
    if meta.is_file() {
        return read_file(path);
    }
    let patience = waits_for(format!("-f {}", path.display()), PIPE_PATIENCE, warn);
    let open = |error: io::Error| Unreadable::Closed(cannot_open(&error));
    let mut pipe = File::open(path).map_err(open)?;
    into_text(read_all(&mut pipe, patience).map_err(open)?)
}

/// To the end, or until it is too long; `patience` ends with the first byte.
fn read_all(from: &mut dyn Read, patience: mpsc::Sender<()>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    from.take(1).read_to_end(&mut all)?;
    drop(patience);
    from.take(INPUT_BYTES_MAX).read_to_end(&mut all)?;
    Ok(all)
}

/// Says what is waited for, if that takes long; what it gives back is dropped when something has come.
fn waits_for(what: String, patience: Duration, say: impl FnOnce(&str) + Send + 'static) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if receiver.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            say(&format!("{what}: nothing has come for {} s; waiting until it does", patience.as_secs()));
        }
    });
    sender
}

/// How often a file that changes while it is read is read again.
const READINGS_MAX: usize = 3;

fn read_file(path: &Path) -> Result<String, Unreadable> {
    let open = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Closed("it went away while it was to be read".to_owned()),
        _ => Unreadable::Closed(cannot_open(&error)),
    };
    for _ in 0..READINGS_MAX {
        let file = File::open(path).map_err(open)?;
        let state = || file.metadata().map(|meta| (meta.len(), meta.modified().ok()));
        let before = state().map_err(open)?;
        let mut all = Vec::new();
        (&file).take(4096).read_to_end(&mut all).map_err(open)?;
        if let Some(problem) = known_format(&all) {
            return Err(Unreadable::NotText(problem));
        }
        if before.0 > INPUT_BYTES_MAX {
            return Err(Unreadable::Wrong(too_large(before.0)));
        }
        (&file).take(INPUT_BYTES_MAX + 1).read_to_end(&mut all).map_err(open)?;
        if state().map_err(open)? == before {
            return into_text(all);
        }
    }
    Err(Unreadable::Wrong("it changes while it is read: give a copy that stays as it is".to_owned()))
}

fn read_stdin(stdin: &mut dyn Read) -> Result<Input, CliError> {
    let patience = waits_for("-f -".to_owned(), PIPE_PATIENCE, warn);
    stdin_input(read_all(stdin, patience).map_err(|error| CliError::usage(format!("stdin: {error}")))?)
}

fn stdin_input(bytes: Vec<u8>) -> Result<Input, CliError> {
    let text = into_text(bytes).map_err(|problem| match problem {
        Unreadable::NotText(problem) | Unreadable::Wrong(problem) | Unreadable::Closed(problem) => {
            CliError::usage(format!("stdin: {problem}"))
        }
    })?;
    Ok(Input { name: "stdin".to_owned(), text })
}

fn too_large(bytes: u64) -> String {
    format!(
        "{} are more than one input may have ({}): split it or name a part",
        gib(bytes),
        gib(INPUT_BYTES_MAX)
    )
}

/// Inputs of the same name get a number, so that an answer can say which it means.
fn name_apart(inputs: &mut [Input]) {
    let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for input in inputs {
        let count = seen.entry(input.name.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            input.name = format!("{} ({count})", input.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    /// What comes of a pipe that brings `chunks`, each after so many milliseconds, and then ends or breaks.
    fn piped(chunks: &[(u64, &str)], end: io::Result<()>) -> Result<Piped, CliError> {
        let (sender, receiver) = mpsc::channel();
        let chunks: Vec<(u64, Vec<u8>)> =
            chunks.iter().map(|(ms, text)| (*ms, text.as_bytes().to_vec())).collect();
        std::thread::spawn(move || {
            for (ms, chunk) in chunks {
                std::thread::sleep(Duration::from_millis(ms));
                let _ = sender.send(Ok(chunk));
            }
            if let Err(error) = end {
                let _ = sender.send(Err(error));
            }
        });
        gather(&receiver, PATIENCE)
    }

    #[test]
    fn what_has_begun_is_read_to_its_end() {
        let whole = piped(&[(10, "one "), (500, "two "), (10, "three")], Ok(())).unwrap();
        assert!(matches!(whole, Piped::Bytes(text) if text == b"one two three"));
        assert!(matches!(piped(&[], Ok(())).unwrap(), Piped::Nothing), "ended at once");
    }

    #[test]
    fn silent_pipe_is_not_waited_for() {
        let began = Instant::now();
        assert!(matches!(piped(&[(5_000, "late")], Ok(())).unwrap(), Piped::Silent));
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn what_is_waited_for_is_said_once_it_takes_long() {
        let (told, heard) = mpsc::channel();
        let tell = move |what: &str| told.send(what.to_owned()).unwrap();
        let waiting = waits_for("-f pipe".to_owned(), Duration::from_millis(50), tell);
        let said = heard.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(said.contains("-f pipe") && said.contains("waiting"), "{said}");
        drop(waiting);
        let (told, heard) = mpsc::channel::<()>();
        drop(waits_for("-f pipe".to_owned(), PATIENCE, move |_| told.send(()).unwrap()));
        assert!(heard.recv_timeout(2 * PATIENCE).is_err(), "something came in time");
    }

    #[test]
    fn broken_pipe_is_no_half_input() {
        let broken = piped(&[(0, "half")], Err(io::Error::other("the disk went away")));
        assert!(matches!(broken, Err(CliError::Usage(message)) if message.contains("the disk went away")));
    }

    #[test]
    fn endless_stdin_is_refused_at_the_limit() {
        let Ok(Piped::Bytes(text)) = gather(&read_apart(io::repeat(b'x')), PATIENCE) else {
            panic!("text came")
        };
        assert!(text.len() as u64 > INPUT_BYTES_MAX && text.len() as u64 <= INPUT_BYTES_MAX + (1 << 16));
    }

    #[test]
    fn interrupted_read_is_taken_up_again() {
        struct Interrupted(u32);
        impl Read for Interrupted {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 | 3 => Err(io::ErrorKind::Interrupted.into()),
                    2 => (&b"text"[..]).read(buffer),
                    _ => Ok(0),
                }
            }
        }
        let text = gather(&read_apart(Interrupted(0)), PATIENCE).unwrap();
        assert!(matches!(text, Piped::Bytes(text) if text == b"text"));
    }
}
