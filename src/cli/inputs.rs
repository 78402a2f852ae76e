//! Reads what comes with a goal: text files, folders of them, stdin. Says clearly what can't be read, and leaves nothing
//! out silently.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SendError};
use std::time::Duration;

use super::error::CliError;
use super::units::gib;
use crate::orchestrator::Input;

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
    /// Files of folders that are no text, with the reason.
    pub left_out: Vec<(PathBuf, String)>,
}

/// Why a file is no input.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    /// Not text: a folder may hold such files.
    NotText(String),
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
    for file in files {
        if file.as_os_str() == "-" {
            if std::mem::replace(&mut stdin_read, true) {
                return Err(CliError::usage("-f -: stdin can be read once only"));
            }
            found.inputs.push(read_stdin(stdin)?);
            continue;
        }
        let meta = fs::metadata(file).map_err(|error| wrong(file, &cannot_open(&error)))?;
        if meta.is_dir() {
            read_folder(file, &mut found)?;
        } else {
            let text = read_file(file).map_err(|problem| match problem {
                Unreadable::NotText(problem) | Unreadable::Wrong(problem) => wrong(file, &problem),
            })?;
            if text.trim().is_empty() {
                return Err(wrong(file, "the file is empty"));
            }
            let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
            found.inputs.push(Input { name, text });
        }
    }
    // An empty pipe is how programs without a terminal start others.
    match piped {
        Piped::Bytes(bytes) if !bytes.trim_ascii().is_empty() => found.inputs.push(stdin_input(bytes)?),
        Piped::Bytes(_) | Piped::Nothing | Piped::Silent => {}
    }
    if found.inputs.len() > INPUTS_MAX {
        let count = found.inputs.len();
        return Err(CliError::usage(format!(
            "{count} files are more than one run reads ({INPUTS_MAX}): name fewer"
        )));
    }
    name_apart(&mut found.inputs);
    Ok(found)
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
    // Nobody may read stderr; that is no reason to stop.
    let _ = writeln!(io::stderr(), "warning: {what}");
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
fn read_folder(folder: &Path, found: &mut Inputs) -> Result<(), CliError> {
    let mut files = Vec::new();
    collect(folder, &mut files).map_err(|error| wrong(folder, &cannot_open(&error)))?;
    files.sort();
    let before = found.inputs.len();
    for file in files {
        match read_file(&file) {
            Ok(text) if text.trim().is_empty() => found.left_out.push((file, "empty".to_owned())),
            Ok(text) => {
                let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
                found.inputs.push(Input { name, text });
            }
            Err(Unreadable::NotText(problem)) => found.left_out.push((file, problem)),
            Err(Unreadable::Wrong(problem)) => return Err(wrong(&file, &problem)),
        }
    }
    if found.inputs.len() == before {
        let others: Vec<String> = found
            .left_out
            .iter()
            .filter(|(path, _)| path.starts_with(folder))
            .take(3)
            .map(|(path, why)| format!("{}: {why}", path.display()))
            .collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
        return Err(wrong(folder, &format!("the folder holds no readable text{others}")));
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        // A link to a folder is not followed, so a circle of links ends; a link to a file is.
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<String, Unreadable> {
    let open = |error: io::Error| Unreadable::Wrong(cannot_open(&error));
    let file = File::open(path).map_err(open)?;
    let mut start = Vec::new();
    (&file).take(4096).read_to_end(&mut start).map_err(open)?;
    if let Some(problem) = known_format(&start) {
        return Err(Unreadable::NotText(problem));
    }
    let bytes = file.metadata().map_err(open)?.len();
    if bytes > INPUT_BYTES_MAX {
        return Err(Unreadable::Wrong(too_large(bytes)));
    }
    let mut all = start;
    (&file).take(INPUT_BYTES_MAX + 1).read_to_end(&mut all).map_err(open)?;
    into_text(all)
}

fn read_stdin(stdin: &mut dyn Read) -> Result<Input, CliError> {
    let mut all = Vec::new();
    stdin.take(INPUT_BYTES_MAX + 1).read_to_end(&mut all)?;
    stdin_input(all)
}

fn stdin_input(bytes: Vec<u8>) -> Result<Input, CliError> {
    let text = into_text(bytes).map_err(|problem| match problem {
        Unreadable::NotText(problem) | Unreadable::Wrong(problem) => {
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

/// UTF-8, or UTF-16 with its mark; nothing else is guessed.
fn into_text(bytes: Vec<u8>) -> Result<String, Unreadable> {
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Unreadable::Wrong(too_large(bytes.len() as u64)));
    }
    if let Some(problem) = known_format(&bytes) {
        return Err(Unreadable::NotText(problem));
    }
    let utf16 = |rest: &[u8], join: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| join([pair[0], pair[1]])).collect();
        String::from_utf16(&units)
            .map_err(|_| Unreadable::NotText("broken UTF-16: convert it to UTF-8".to_owned()))
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        _ => {}
    }
    if bytes.contains(&0) {
        return Err(Unreadable::NotText("a binary file: only text can be read".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Unreadable::NotText(format!("not UTF-8 (at byte {at}): convert it, e.g. with iconv -t UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// What to do about formats that people attach most often.
fn known_format(start: &[u8]) -> Option<String> {
    let convert =
        |what: &str, how: &str| Some(format!("{what} can't be read yet: convert it to text first ({how})"));
    match start {
        [b'%', b'P', b'D', b'F', b'-', ..] => convert("a PDF", "pdftotext FILE.pdf"),
        [b'P', b'K', 3, 4, ..] => convert("an archive or office document", "pandoc -t plain FILE"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => convert("an old office document", "save it as text"),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            Some("an image: only text can be read".to_owned())
        }
        [0x1f, 0x8b, ..] => Some("a compressed file: unpack it first".to_owned()),
        _ => None,
    }
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
