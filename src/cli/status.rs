//! One line on a terminal that says how far a measurement is; nothing elsewhere, and nothing of it stays.

use super::terminal;

/// As wide as what is written over.
const COLUMNS: usize = 78;

pub struct StatusLine {
    shown: bool,
}

impl StatusLine {
    /// On stderr, where that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self { shown: terminal::is_watched() }
    }

    /// Writes over what was there.
    pub fn show(&self, text: &str) {
        if self.shown {
            terminal::over(text, COLUMNS);
        }
    }

    /// Takes it away.
    pub fn clear(&self) {
        if self.shown {
            terminal::clear(COLUMNS);
        }
    }
}
