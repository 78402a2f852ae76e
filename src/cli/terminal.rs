//! Writes to stdout and stderr. On a terminal, control characters are escaped, so that text from models, files and
//! names can't move the cursor, set the clipboard or reverse text. Piped output is unchanged, byte for byte.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use super::error::CliError;

/// Whether a terminal would act on a character instead of showing it: control characters except tab and newline, and
/// characters that change text direction.
fn is_terminal_control(c: char) -> bool {
    let changes_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    changes_direction || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A text made safe for a terminal. Escapes are written as in JSON (`\u001b`), so that JSON keeps its meaning.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_terminal_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    // Windows line endings become plain newlines instead of an escaped carriage return.
    for c in text.replace("\r\n", "\n").chars() {
        if is_terminal_control(c) {
            // Writing to a String cannot fail. All these characters have at most four hexadecimal digits.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether stderr is a terminal.
#[must_use]
pub fn err_is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn escaped_if(text: &str, is_terminal: bool) -> Cow<'_, str> {
    if is_terminal { escaped(text) } else { Cow::Borrowed(text) }
}

/// Writes a text to stdout, escaped if that is a terminal.
///
/// # Errors
/// [`CliError::BrokenPipe`] if the reader has gone, else [`CliError::Failed`] with the reason and what to do.
pub fn out(text: &str) -> Result<(), CliError> {
    check_stdout()?;
    let mut stdout = io::stdout().lock();
    let text = escaped_if(text, stdout.is_terminal());
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| CliError::stdout(&error))
}

/// Prints clap's output: help and versions on stdout, mistakes on stderr.
///
/// # Errors
/// The error of [`out`], if the text goes to stdout.
pub fn print_clap(error: &clap::Error) -> Result<(), CliError> {
    if error.use_stderr() {
        // The exit status reports the mistake even if stderr can't be written.
        let _ = error.print();
        return Ok(());
    }
    check_stdout()?;
    error.print().and_then(|()| io::stdout().flush()).map_err(|error| CliError::stdout(&error))
}

/// Refuses a stdout that is closed or open for reading only. The standard library silently
/// discards everything written to one.
///
/// # Errors
/// Why stdout can't be written, and what to do.
pub fn check_stdout() -> Result<(), CliError> {
    let problem = if bandmaster_models::stdout::was_closed() {
        "it is closed"
    } else if is_read_only() {
        "it is open for reading only"
    } else {
        return Ok(());
    };
    Err(CliError::stdout(&io::Error::other(problem)))
}

#[cfg(unix)]
fn is_read_only() -> bool {
    use rustix::fs::{OFlags, fcntl_getfl};
    fcntl_getfl(io::stdout()).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDONLY)
}

#[cfg(not(unix))]
fn is_read_only() -> bool {
    false
}

/// Writes to stderr and ignores errors: if nobody can read it, carry on.
pub fn err(text: &str) {
    let mut stderr = io::stderr().lock();
    let text = escaped_if(text, stderr.is_terminal());
    let _ = stderr.write_all(text.as_bytes());
}

/// Whether stderr is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Overwrites the current line of stderr, padded to `columns`; for terminals only.
pub fn overwrite_line(text: &str, columns: usize) {
    let text: String = escaped(text).replace(['\n', '\t'], " ").chars().take(columns).collect();
    let _ = write!(io::stderr(), "\r{text:columns$}");
}

pub fn clear_line(columns: usize) {
    let _ = write!(io::stderr(), "\r{:columns$}\r", "");
}

/// The writer of the log: stderr, with control characters escaped on a terminal.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            let text = String::from_utf8_lossy(bytes);
            stderr.write_all(escaped(&text).as_bytes())?;
        } else {
            stderr.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
