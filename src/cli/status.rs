//! One line on a terminal that says how far a measurement is; nothing elsewhere, and nothing of it stays.

use std::io::{IsTerminal, Write};

/// As wide as what is written over.
const COLUMNS: usize = 78;

/// The line.
pub struct StatusLine {
    shown: bool,
}

impl StatusLine {
    /// On stderr, where that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal() }
    }

    /// Writes over what was there.
    pub fn show(&self, text: &str) {
        if self.shown {
            let text: String = text.chars().take(COLUMNS).collect();
            // Only for who watches.
            let _ = write!(std::io::stderr(), "\r{text:COLUMNS$}");
        }
    }

    /// Takes it away.
    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:COLUMNS$}\r", "");
        }
    }
}
