//! A text as a row of small pieces, each with the heading that it stands under.

use std::ops::Range;

use super::split::{self, Border, trimmed};

/// A piece of a text that parts are made of.
#[derive(Debug)]
pub(super) struct Unit {
    /// Without white space around it, never empty, and at most `PART_BYTES_MAX` long.
    pub(super) span: Range<usize>,
    /// What lies between this unit and the one before it.
    pub(super) border: Border,
    pub(super) is_heading: bool,
    /// Index into the outline's sections.
    pub(super) section: usize,
    /// The unit that encloses this one or names its columns. It stands before it.
    pub(super) parent: Option<usize>,
}

/// The pieces of a text in its order. They don't overlap, and only white space lies between them.
pub(super) struct Outline<'t> {
    text: &'t str,
    /// Headings from the outermost to the innermost, for each section.
    pub(super) sections: Vec<Vec<String>>,
    pub(super) units: Vec<Unit>,
    /// Levels of the last section's headings.
    levels: Vec<usize>,
}

impl<'t> Outline<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, sections: vec![Vec::new()], units: Vec::new(), levels: Vec::new() }
    }

    /// Begins a section. A heading of the same or a deeper level ends.
    pub(super) fn heading(&mut self, level: usize, title: &str, span: Range<usize>) {
        let keep = self.levels.iter().take_while(|&&above| above < level).count();
        self.levels.truncate(keep);
        self.levels.push(level);
        let mut headings = self.sections[self.sections.len() - 1][..keep].to_vec();
        headings.push(super::shown(title));
        self.sections.push(headings);
        self.add(span, Border::Heading, true, None);
    }

    /// Sentences, or lines where there are none. `border` stands before the first.
    pub(super) fn prose(&mut self, span: Range<usize>, border: Border) {
        for (border, piece) in split::sentences(self.text, span, border) {
            self.add(piece, border, false, None);
        }
    }

    /// A piece that is kept whole if a part can hold it. Returns the number of its first unit, if it isn't empty.
    pub(super) fn piece(
        &mut self,
        span: Range<usize>,
        border: Border,
        parent: Option<usize>,
    ) -> Option<usize> {
        self.add(span, border, false, parent)
    }

    fn add(
        &mut self,
        span: Range<usize>,
        border: Border,
        is_heading: bool,
        parent: Option<usize>,
    ) -> Option<usize> {
        let first = self.units.len();
        let section = self.sections.len() - 1;
        for (at, span) in split::words(self.text, trimmed(self.text, span)).enumerate() {
            let border = if at == 0 { border } else { Border::Word };
            self.units.push(Unit { span, border, is_heading, section, parent });
        }
        (first < self.units.len()).then_some(first)
    }
}
