//! A status line on a terminal that shows the progress of a measurement. It is erased at the end; elsewhere nothing is
//! shown.

use super::terminal;

/// Width of the line that is overwritten and cleared.
const COLUMNS: usize = 78;

pub struct StatusLine {
    shown: bool,
}

impl StatusLine {
    /// Shows on stderr if that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self { shown: terminal::stderr_is_terminal() }
    }

    /// Replaces the previous text.
    pub fn show(&self, text: &str) {
        if self.shown {
            terminal::overwrite_line(text, COLUMNS);
        }
    }

    pub fn clear(&self) {
        if self.shown {
            terminal::clear_line(COLUMNS);
        }
    }
}
