//! Reads the inputs of a goal: text files, folders, pipes, stdin. Says clearly what can't be read, and never skips
//! anything silently.

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
use crate::hub::format_memory_size;
use crate::orchestrator::{Input, InputInfo, RunStart};
use decode::{into_text, known_format};

/// Largest input file in bytes. Long texts are split before a model reads them, but one longer than
/// this is likely a mistake.
pub const INPUT_BYTES_MAX: u64 = 8 << 20;
/// Most files that one run reads.
pub const INPUTS_MAX: usize = 1000;

/// How long to wait for the first byte on a stdin that was not asked for with `-f -`.
const PIPE_PATIENCE: Duration = Duration::from_secs(3);

/// What was read from a stdin that was not asked for.
#[derive(Debug)]
pub enum PipedStdin {
    /// Stdin is neither a pipe nor a file, or it was empty.
    Nothing,
    Bytes(Vec<u8>),
    /// The pipe is open but nothing has come: programs often start others with a pipe that they never use.
    Silent,
}

impl PipedStdin {
    /// A warning for the user if a pipe was not read.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        matches!(self, Self::Silent).then(|| {
            format!(
                "nothing was received on stdin for {} s: continuing without it; \
                 use `-f -` to wait for it, or `< /dev/null` if there is none",
                PIPE_PATIENCE.as_secs()
            )
        })
    }
}

#[derive(Debug, Default)]
pub struct Inputs {
    /// In the order typed; files of a folder are sorted by path.
    pub inputs: Vec<Input>,
    /// Absolute path of each input's file; `None` for a pipe.
    pub paths: Vec<Option<String>>,
    /// Files in folders that were not read, each with the reason.
    pub left_out: Vec<(PathBuf, String)>,
    /// Sentences about inputs that the user may not have meant.
    pub notes: Vec<String>,
}

/// How many left-out files are named in warnings; the others are only counted.
const LEFT_OUT_NAMED_MAX: usize = 20;

impl Inputs {
    fn push(&mut self, input: Input, file: Option<&Path>) {
        let path = file.and_then(|file| std::path::absolute(file).ok()?.to_str().map(str::to_owned));
        self.inputs.push(input);
        self.paths.push(path);
    }

    /// Warnings about files that were not read, or were read although the user may not expect it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let named = self.left_out.iter().take(LEFT_OUT_NAMED_MAX);
        let mut warnings: Vec<String> =
            named.map(|(path, why)| format!("left out {}: {why}", path.display())).collect();
        if let Some(more @ 1..) = self.left_out.len().checked_sub(LEFT_OUT_NAMED_MAX) {
            warnings.push(format!("left out {more} more (`--json` names all)"));
        }
        warnings.extend(self.notes.iter().cloned());
        warnings
    }
}

/// Why a file can't be an input.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    /// Not text. An error for a named file; in a folder it is left out.
    NotText(String),
    /// Can't be opened. An error for a named file; in a folder it is left out.
    CannotOpen(String),
    /// An error in a folder too.
    Invalid(String),
}

/// Reads `files` in order; `-` stands for `stdin`. `piped` is what came on stdin without being asked for.
///
/// # Errors
/// [`CliError::Usage`] naming the file and what to do.
pub fn read(files: &[PathBuf], piped: PipedStdin, stdin: &mut dyn Read) -> Result<Inputs, CliError> {
    let mut found = Inputs::default();
    let mut stdin_read = false;
    let mut named = HashSet::new();
    for file in files {
        if file.as_os_str() == "-" {
            if std::mem::replace(&mut stdin_read, true) {
                return Err(CliError::usage("-f -: stdin can be read once only"));
            }
            found.push(read_stdin(stdin)?, None);
            continue;
        }
        let meta = fs::metadata(file).map_err(|error| input_error(file, &cannot_open(&error)))?;
        note_duplicate(file, &mut named, &mut found);
        if meta.is_dir() {
            read_folder(file, &mut named, &mut found)?;
        } else {
            let text = read_named(file, &meta).map_err(|problem| match problem {
                Unreadable::NotText(problem)
                | Unreadable::Invalid(problem)
                | Unreadable::CannotOpen(problem) => input_error(file, &problem),
            })?;
            if text.trim().is_empty() {
                return Err(input_error(file, "the file is empty"));
            }
            let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
            found.push(Input { name, text }, Some(file).filter(|_| meta.is_file()).map(PathBuf::as_path));
        }
        within_count(&found)?;
    }
    // An empty pipe is no mistake: programs without a terminal often start others with one.
    match piped {
        PipedStdin::Bytes(bytes) if !bytes.trim_ascii().is_empty() => found.push(stdin_input(bytes)?, None),
        PipedStdin::Bytes(_) | PipedStdin::Nothing | PipedStdin::Silent => {}
    }
    within_count(&found)?;
    number_duplicates(&mut found.inputs);
    Ok(found)
}

/// Reads the files again that the inputs of a run came from, and says what has changed since.
///
/// # Errors
/// When the run's inputs can't be replaced.
pub fn read_again(start: &mut RunStart) -> Result<(), CliError> {
    let known: Vec<InputInfo> = start.state().inputs.clone();
    for (at, InputInfo { name, path, .. }) in known.into_iter().enumerate() {
        let Some(path) = path else { continue };
        let read = match fs::metadata(&path) {
            Ok(meta) if !meta.is_file() => Err(Unreadable::Invalid("it is not a file any more".to_owned())),
            Ok(_) => read_file(Path::new(&path)),
            Err(error) => Err(Unreadable::CannotOpen(cannot_open(&error))),
        };
        let text = match read {
            Ok(text) if text.trim().is_empty() => Err("the file is empty".to_owned()),
            Ok(text) => Ok(text),
            Err(Unreadable::NotText(why) | Unreadable::CannotOpen(why) | Unreadable::Invalid(why)) => {
                Err(why)
            }
        };
        match text {
            Ok(text) => {
                if start.read_again(at, text)? {
                    warn(&format!("{path} has changed: what read {name} is done again"));
                }
            }
            Err(why) => warn(&format!(
                "{path} can't be read again ({why}): the run goes on with the text of {name} that it has"
            )),
        }
    }
    Ok(())
}

/// Notes if a file or folder was already read; `named` holds the canonical paths read so far.
fn note_duplicate(path: &Path, named: &mut HashSet<PathBuf>, found: &mut Inputs) {
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

/// Reads a pipe, socket or redirected file on stdin, to its end once the first byte has come.
///
/// # Errors
/// [`CliError::Usage`] if reading fails.
pub fn piped_stdin() -> Result<PipedStdin, CliError> {
    if !stdin_is_piped() {
        return Ok(PipedStdin::Nothing);
    }
    collect_piped(&read_on_thread(io::stdin()), PIPE_PATIENCE)
}

type Chunk = io::Result<Vec<u8>>;

/// Reads on its own thread until the end, an error, or until the receiver is dropped.
fn read_on_thread(mut from: impl Read + Send + 'static) -> Receiver<Chunk> {
    let (sender, chunks) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut has_begun = false;
        loop {
            let chunk = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(buffer[..read].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            match sender.send(chunk) {
                Ok(()) => has_begun = true,
                Err(SendError(Ok(text))) if !has_begun && !text.trim_ascii().is_empty() => {
                    return warn(
                        "text arrived on stdin too late and was not read: use `-f -` to wait for it",
                    );
                }
                Err(_) => return,
            }
        }
    });
    chunks
}

/// Collects all chunks if the first comes within `patience`. Stops above the size limit: one byte more
/// is enough to refuse it.
fn collect_piped(chunks: &Receiver<Chunk>, patience: Duration) -> Result<PipedStdin, CliError> {
    let mut all = Vec::new();
    let mut has_warned = false;
    while all.len() as u64 <= INPUT_BYTES_MAX {
        match chunks.recv_timeout(patience) {
            Ok(chunk) => all.extend(chunk.map_err(|error| CliError::usage(format!("stdin: {error}")))?),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if all.is_empty() => return Ok(PipedStdin::Silent),
            Err(RecvTimeoutError::Timeout) => {
                if !std::mem::replace(&mut has_warned, true) {
                    warn("stdin has not ended: reading it until it does");
                }
            }
        }
    }
    Ok(if all.is_empty() { PipedStdin::Nothing } else { PipedStdin::Bytes(all) })
}

/// Prints a warning on stderr even with --quiet: it concerns the user's inputs, not progress.
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

fn input_error(path: &Path, problem: &str) -> CliError {
    CliError::usage(format!("-f {}: {problem}", path.display()))
}

fn cannot_open(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads all text files under a folder, sorted by path. Hidden files and folders are skipped.
fn read_folder(folder: &Path, named: &mut HashSet<PathBuf>, found: &mut Inputs) -> Result<(), CliError> {
    let listing = folder::list(folder).map_err(|error| input_error(folder, &cannot_open(&error)))?;
    let before = found.inputs.len();
    let first_left_out = found.left_out.len();
    found.left_out.extend(listing.left_out);
    note_outside(&listing.outside, &mut found.notes);
    for file in listing.files {
        match read_file(&file) {
            Ok(text) if text.trim().is_empty() => found.left_out.push((file, "empty".to_owned())),
            Ok(text) => {
                let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
                found.push(Input { name, text }, Some(&file));
                note_duplicate(&file, named, found);
                within_count(found)?;
            }
            Err(Unreadable::NotText(problem) | Unreadable::CannotOpen(problem)) => {
                found.left_out.push((file, problem));
            }
            Err(Unreadable::Invalid(problem)) => return Err(input_error(&file, &problem)),
        }
    }
    let left_out = &mut found.left_out[first_left_out..];
    left_out.sort();
    if found.inputs.len() == before {
        let others: Vec<String> =
            left_out.iter().take(3).map(|(path, why)| format!("{}: {why}", path.display())).collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
        return Err(input_error(folder, &format!("the folder holds no readable text{others}")));
    }
    Ok(())
}

/// Adds notes about files that are read although they lie outside the named folder.
fn note_outside(outside: &[(PathBuf, String)], notes: &mut Vec<String>) {
    let named = outside.iter().take(LEFT_OUT_NAMED_MAX);
    notes.extend(
        named.map(|(path, place)| format!("{} is {place}: what lies there is read as well", path.display())),
    );
    if let Some(more @ 1..) = outside.len().checked_sub(LEFT_OUT_NAMED_MAX) {
        notes.push(format!("{more} more lead elsewhere and are read as well"));
    }
}

/// Reads a named path. If it is a pipe, waits for data as long as it takes, and says so.
fn read_named(path: &Path, meta: &fs::Metadata) -> Result<String, Unreadable> {
    if let Some(what) = folder::unreadable_kind(meta) {
        return Err(Unreadable::Invalid(what.to_owned()));
    }
    if meta.is_file() {
        return read_file(path);
    }
    let patience = warn_if_slow(format!("-f {}", path.display()), PIPE_PATIENCE, warn);
    let open = |error: io::Error| Unreadable::CannotOpen(cannot_open(&error));
    let mut pipe = File::open(path).map_err(open)?;
    into_text(read_all(&mut pipe, patience).map_err(open)?)
}

/// Reads to the end or just past the size limit; `patience` is dropped at the first byte.
fn read_all(from: &mut dyn Read, patience: mpsc::Sender<()>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    from.take(1).read_to_end(&mut all)?;
    drop(patience);
    from.take(INPUT_BYTES_MAX).read_to_end(&mut all)?;
    Ok(all)
}

/// Calls `warn` if nothing has come after `patience`. The caller drops the returned sender once something has come.
fn warn_if_slow(
    what: String,
    patience: Duration,
    warn: impl FnOnce(&str) + Send + 'static,
) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if receiver.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            warn(&format!("{what}: nothing was received for {} s; still waiting", patience.as_secs()));
        }
    });
    sender
}

/// How often to retry a file that changes while it is being read.
const READINGS_MAX: usize = 3;

fn read_file(path: &Path) -> Result<String, Unreadable> {
    let open = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::CannotOpen("it disappeared before it was read".to_owned()),
        _ => Unreadable::CannotOpen(cannot_open(&error)),
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
            return Err(Unreadable::Invalid(too_large(before.0)));
        }
        (&file).take(INPUT_BYTES_MAX + 1).read_to_end(&mut all).map_err(open)?;
        if state().map_err(open)? == before {
            return into_text(all);
        }
    }
    Err(Unreadable::Invalid("it changed while it was read: give a copy that does not change".to_owned()))
}

fn read_stdin(stdin: &mut dyn Read) -> Result<Input, CliError> {
    let patience = warn_if_slow("-f -".to_owned(), PIPE_PATIENCE, warn);
    stdin_input(read_all(stdin, patience).map_err(|error| CliError::usage(format!("stdin: {error}")))?)
}

fn stdin_input(bytes: Vec<u8>) -> Result<Input, CliError> {
    let text = into_text(bytes).map_err(|problem| match problem {
        Unreadable::NotText(problem) | Unreadable::Invalid(problem) | Unreadable::CannotOpen(problem) => {
            CliError::usage(format!("stdin: {problem}"))
        }
    })?;
    Ok(Input { name: "stdin".to_owned(), text })
}

fn too_large(bytes: u64) -> String {
    format!(
        "{} are more than one input may have ({}): split it or name a part",
        format_memory_size(bytes),
        format_memory_size(INPUT_BYTES_MAX)
    )
}

/// Numbers inputs of the same name, so that an answer can refer to each of them.
fn number_duplicates(inputs: &mut [Input]) {
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

    /// Gathers from a pipe that sends `chunks`, each after a delay in milliseconds, and then ends or fails.
    fn piped(chunks: &[(u64, &str)], end: io::Result<()>) -> Result<PipedStdin, CliError> {
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
        collect_piped(&receiver, PATIENCE)
    }

    #[test]
    fn what_has_begun_is_read_to_its_end() {
        let whole = piped(&[(10, "one "), (500, "two "), (10, "three")], Ok(())).unwrap();
        assert!(matches!(whole, PipedStdin::Bytes(text) if text == b"one two three"));
        assert!(matches!(piped(&[], Ok(())).unwrap(), PipedStdin::Nothing), "ended at once");
    }

    #[test]
    fn silent_pipe_is_not_waited_for() {
        let began = Instant::now();
        assert!(matches!(piped(&[(5_000, "late")], Ok(())).unwrap(), PipedStdin::Silent));
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn waiting_is_announced_once_it_takes_long() {
        let (sender, warnings) = mpsc::channel();
        let warn = move |what: &str| sender.send(what.to_owned()).unwrap();
        let waiting = warn_if_slow("-f pipe".to_owned(), Duration::from_millis(50), warn);
        let said = warnings.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(said.contains("-f pipe") && said.contains("waiting"), "{said}");
        drop(waiting);
        let (sender, warnings) = mpsc::channel::<()>();
        drop(warn_if_slow("-f pipe".to_owned(), PATIENCE, move |_| sender.send(()).unwrap()));
        assert!(warnings.recv_timeout(2 * PATIENCE).is_err(), "something came in time");
    }

    #[test]
    fn broken_pipe_is_no_half_input() {
        let broken = piped(&[(0, "half")], Err(io::Error::other("the disk went away")));
        assert!(matches!(broken, Err(CliError::Usage(message)) if message.contains("the disk went away")));
    }

    #[test]
    fn endless_stdin_is_refused_at_the_limit() {
        let Ok(PipedStdin::Bytes(text)) = collect_piped(&read_on_thread(io::repeat(b'x')), PATIENCE) else {
            panic!("text came")
        };
        assert!(text.len() as u64 > INPUT_BYTES_MAX && text.len() as u64 <= INPUT_BYTES_MAX + (1 << 16));
    }

    #[test]
    fn an_interrupted_read_is_retried() {
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
        let text = collect_piped(&read_on_thread(Interrupted(0)), PATIENCE).unwrap();
        assert!(matches!(text, PipedStdin::Bytes(text) if text == b"text"));
    }
}
