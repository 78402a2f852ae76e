//! Code and other texts in which indentation says what a line belongs to. No language is parsed.

use std::ops::Range;

use super::lines::lines;
use super::outline::Outline;
use super::split::Border;

/// Lines that begin like this introduce the next one: comments and attributes.
const INTRODUCTIONS: [&str; 5] = ["//", "#[", "@", "/*", "--"];
/// Columns of a tab.
const TAB: usize = 4;

pub(super) fn outline(text: &str) -> Outline<'_> {
    let mut outline = Outline::new(text);
    add(&mut outline, text, 0..text.len(), Border::Paragraph);
    outline
}

/// Adds a unit for each line of `span`. A line's parent is the nearest line above it that is indented less.
pub(super) fn add(outline: &mut Outline<'_>, text: &str, span: Range<usize>, first: Border) {
    // Indentation and unit of the lines that enclose the next one.
    let mut enclosing: Vec<(usize, usize)> = Vec::new();
    let mut border = Some(first);
    let mut is_introduced = false;
    for (at, line) in lines(&text[span.clone()]) {
        let content = line.trim();
        if content.is_empty() {
            border = Some(Border::Paragraph);
            continue;
        }
        let indent = indent(line);
        let is_word = |c: char| c.is_alphanumeric();
        // A lone bracket belongs to the line above it.
        let has_words = content.contains(is_word);
        if has_words {
            enclosing.retain(|(above, _)| *above < indent);
        }
        let parent = enclosing.iter().rfind(|(above, _)| *above < indent).map(|(_, unit)| *unit);
        let before = match border.take() {
            // The outermost lines are the best place for a cut.
            Some(Border::Paragraph) if indent > 0 => Border::Line,
            Some(border) => border,
            None if indent == 0 && has_words && !is_introduced => Border::Sentence,
            None => Border::Wrap,
        };
        is_introduced = INTRODUCTIONS.iter().any(|mark| content.starts_with(mark));
        let begin = span.start + at;
        let unit = outline.piece(begin..begin + line.len(), before, parent);
        if has_words {
            enclosing.extend(unit.map(|unit| (indent, unit)));
        }
    }
}

fn indent(line: &str) -> usize {
    let spaces = line.chars().take_while(|c| c.is_whitespace());
    spaces.map(|c| if c == '\t' { TAB } else { 1 }).sum()
}
