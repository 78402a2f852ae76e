//! Shows downloads and checks as progress bars on a terminal, as plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;
use crate::hub::{Progress, format_file_size};

/// Without a terminal, at most one line is written in this time.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows the hub's progress on stderr.
pub struct Bars {
    terminal: bool,
    quiet: bool,
    bar: Option<ProgressBar>,
    file: String,
    bytes_total: Option<u64>,
    bytes: u64,
    last_line: Instant,
}

impl Bars {
    /// Draws bars if stderr is a terminal; shows nothing if `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self {
            terminal: terminal::stderr_is_terminal(),
            quiet,
            bar: None,
            file: String::new(),
            bytes_total: None,
            bytes: 0,
            last_line: Instant::now(),
        }
    }

    pub fn show(&mut self, progress: Progress) {
        if self.quiet {
            return;
        }
        match progress {
            Progress::Note(note) => self.line(note),
            Progress::Begin { file, bytes } => self.begin(file, bytes),
            Progress::Bytes(bytes) => self.bytes(bytes),
            Progress::End => self.end(),
        }
    }

    /// Prints a line, unless quiet.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(terminal::escaped(line)),
            None => terminal::err(&format!("{line}\n")),
        }
    }

    fn begin(&mut self, file: &str, bytes: Option<u64>) {
        (self.file, self.bytes_total, self.bytes) = (file.to_owned(), bytes, 0);
        self.last_line = Instant::now();
        if !self.terminal {
            return;
        }
        let bar = match bytes {
            Some(bytes) => ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()),
            None => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        };
        let template = "{prefix} [{bar:24}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(terminal::escaped(&self.file).into_owned());
        self.bar = Some(bar);
    }

    fn bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let total =
                self.bytes_total.map(|total| format!(" of {}", format_file_size(total))).unwrap_or_default();
            self.line(&format!("{}: {}{total}", self.file, format_file_size(bytes)));
        }
    }

    fn end(&mut self) {
        match self.bar.take() {
            Some(bar) => bar.finish_and_clear(),
            None => self.line(&format!("{}: {}", self.file, format_file_size(self.bytes))),
        }
    }
}
