//! Cuts a text into parts that a small model reads well. A part has the headings that it stands under. Parts don't
//! overlap, and only white space lies between them.
//!
//! `outline.rs` says what the pieces of a text are; `prose.rs`, `markdown.rs`, `code.rs` and `records.rs` find them, one
//! for each layout; `pack.rs` joins pieces into parts.

mod code;
mod lines;
mod markdown;
mod outline;
mod pack;
mod prose;
mod records;
mod split;
#[cfg(test)]
mod tests;

use std::ops::{Range, RangeInclusive};

use lines::LineStarts;
use outline::{Outline, Unit};
use split::Border;

use super::document::{Document, Layout};

/// Raised with every change of what the cutter makes of a text, so that stored indexes are rebuilt.
pub(super) const VERSION: u32 = 1;
/// Bytes of a part at most. English has about 4.5 bytes a token in such models, German 3.5: some 270 to 350 tokens.
pub(super) const PART_BYTES_MAX: usize = 1200;
/// A part ends before a heading only if it has this many bytes, or if the section after the heading doesn't fit.
const PART_BYTES_MIN: usize = 400;
/// Bytes of a sentence at most. A longer one is searched in pieces.
const SENTENCE_BYTES_MAX: usize = 400;
/// A shorter sentence is joined with the next one.
const SENTENCE_BYTES_MIN: usize = 20;
/// Bytes of one line that is shown as a heading. The rest is left out.
const HEADING_BYTES_MAX: usize = 160;
/// Enclosing lines of code that are shown as headings, the nearest ones.
const ENCLOSING_MAX: usize = 3;

/// A part of a document's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the document's text. They begin and end with a word, not with white space.
    pub span: Range<usize>,
    /// The first and the last line, from 1.
    pub lines: RangeInclusive<usize>,
    /// The headings above all of the part, outermost first. For records the header, for code the lines that enclose it.
    pub headings: Vec<String>,
    /// The page on which the part begins, from 1, if the text has pages.
    pub page: Option<usize>,
    /// Sentences, list items, rows, or some lines of code, in order. They hold all of the part but white space.
    pub sentences: Vec<Range<usize>>,
}

/// The parts of a document, in the order of its text.
pub fn cut(document: &Document) -> Vec<Part> {
    let text = &document.text;
    let outline = match document.layout {
        Layout::Markdown => markdown::outline(text),
        Layout::Prose => prose::outline(text),
        Layout::Code => code::outline(text),
        Layout::Records => records::outline(text),
    };
    let starts = LineStarts::new(text);
    let pages: Vec<usize> = places(text, '\u{c}');
    let part = |units: Range<usize>| {
        let span = outline.units[units.start].span.start..outline.units[units.end - 1].span.end;
        Part {
            lines: starts.line_of(span.start)..=starts.line_of(span.end - 1),
            headings: headings(text, &outline, units.clone()),
            sentences: sentences(&outline.units[units]),
            page: (!pages.is_empty()).then(|| 1 + pages.partition_point(|&at| at < span.start)),
            span,
        }
    };
    pack::pack(&outline.units).into_iter().map(part).collect()
}

fn places(text: &str, wanted: char) -> Vec<usize> {
    text.match_indices(wanted).map(|(at, _)| at).collect()
}

/// What the content of a part stands under: its common headings, and the lines that enclose its first unit.
fn headings(text: &str, outline: &Outline<'_>, part: Range<usize>) -> Vec<String> {
    let units = &outline.units;
    let content = units[part.clone()].iter().filter(|unit| !unit.is_heading);
    // A part of headings alone has the last one's.
    let mut common: &[String] = &outline.sections[units[part.end - 1].section];
    for unit in content {
        let own = &outline.sections[unit.section];
        let shared = common.iter().zip(own).take_while(|(a, b)| a == b).count();
        common = &common[..shared];
    }
    let mut enclosing = Vec::new();
    let mut parent = units[part.start].parent;
    while let Some(at) = parent.filter(|_| enclosing.len() < ENCLOSING_MAX) {
        enclosing.push(shown(&text[units[at].span.clone()]));
        parent = units[at].parent;
    }
    common.iter().cloned().chain(enclosing.into_iter().rev()).collect()
}

/// A heading's text on one line.
fn shown(heading: &str) -> String {
    let line = heading.split_whitespace().collect::<Vec<_>>().join(" ");
    line[..line.floor_char_boundary(HEADING_BYTES_MAX)].to_owned()
}

/// Joins the pieces of each sentence. An abbreviation or a number looks like a sentence and stays with the next one.
fn sentences(units: &[Unit]) -> Vec<Range<usize>> {
    let mut sentences: Vec<Range<usize>> = Vec::new();
    let mut goes_on = false;
    for Unit { span, border, is_heading, .. } in units {
        let within = *border <= Border::Wrap || (goes_on && *border == Border::Sentence);
        match sentences.last_mut() {
            Some(last) if within && span.end - last.start <= SENTENCE_BYTES_MAX => last.end = span.end,
            _ => sentences.push(span.clone()),
        }
        goes_on = !is_heading && sentences.last().is_some_and(|last| last.len() < SENTENCE_BYTES_MIN);
    }
    sentences
}
