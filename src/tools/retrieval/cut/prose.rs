//! Plain text: paragraphs with empty lines between them, and headings that can only be told by how they look.

use std::ops::Range;

use super::lines::lines;
use super::outline::Outline;
use super::split::Border;

/// Bytes of a line that may be a heading.
const HEADING_BYTES_MAX: usize = 100;
/// Words for chapters in the languages that are common in such texts. A number follows.
const CHAPTERS: &[&str] = &[
    "chapter",
    "part",
    "book",
    "section",
    "appendix",
    "article",
    "kapitel",
    "teil",
    "buch",
    "abschnitt",
    "anhang",
    "artikel",
    "chapitre",
    "partie",
    "livre",
    "annexe",
    "capítulo",
    "parte",
    "capitolo",
    "hoofdstuk",
    "§",
];

pub(super) fn outline(text: &str) -> Outline<'_> {
    let mut outline = Outline::new(text);
    let mut block: Option<Range<usize>> = None;
    for (at, line) in lines(text) {
        let begins_page = line.starts_with('\u{c}');
        if line.trim().is_empty() || begins_page {
            block.take().into_iter().for_each(|block| add(&mut outline, text, block));
        }
        if !line.trim().is_empty() {
            let start = block.map_or(at, |block| block.start);
            block = Some(start..at + line.len());
        }
    }
    block.into_iter().for_each(|block| add(&mut outline, text, block));
    outline
}

/// Adds a block of lines without an empty one. Its first line may be a heading.
fn add(outline: &mut Outline<'_>, text: &str, block: Range<usize>) {
    let content = &text[block.clone()];
    let (first, rest) = content.split_once('\n').unwrap_or((content, ""));
    if let Some((level, title)) = marked(first) {
        outline.heading(level, title, block.start..block.start + first.len());
        outline.prose(block.end - rest.len()..block.end, Border::Paragraph);
        return;
    }
    let (under, after) = rest.split_once('\n').unwrap_or((rest, ""));
    if let Some(level) = underline(first, under) {
        let end = block.end - after.len();
        outline.heading(level, first, block.start..end);
        outline.prose(end..block.end, Border::Paragraph);
        return;
    }
    match (rest.trim().is_empty(), alone(first.trim())) {
        (true, Some(level)) => outline.heading(level, first, block),
        _ => outline.prose(block, Border::Paragraph),
    }
}

/// A heading marked as in Markdown, with its level and title.
fn marked(line: &str) -> Option<(usize, &str)> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    let title = rest.strip_prefix(' ')?.trim().trim_end_matches('#').trim_end();
    ((1..=6).contains(&level) && !title.is_empty()).then_some((level, title))
}

/// The level of a heading with a line of `=` or `-` under it.
fn underline(line: &str, under: &str) -> Option<usize> {
    let (line, under) = (line.trim(), under.trim());
    let is_line = |mark: char| under.len() >= 3 && under.chars().all(|c| c == mark);
    let fits = !line.is_empty() && line.len() <= HEADING_BYTES_MAX;
    match () {
        () if fits && is_line('=') => Some(1),
        () if fits && (is_line('-') || is_line('~')) => Some(2),
        () => None,
    }
}

/// The level of a line that stands alone and looks like a heading: a chapter, a number such as `2.1`, or capitals.
fn alone(line: &str) -> Option<usize> {
    if line.is_empty() || line.len() > HEADING_BYTES_MAX || line.ends_with([',', ';']) {
        return None;
    }
    let mut words = line.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    let is_number = |word: &str| {
        let word = word.trim_end_matches(['.', ':', ')', '-', '–', '—']);
        let is_roman = !word.is_empty() && word.chars().all(|c| "IVXLCDM".contains(c));
        word.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) || is_roman || word.len() == 1
    };
    let is_chapter = CHAPTERS.contains(&first.to_lowercase().as_str());
    if (is_chapter && second.is_some_and(is_number)) || (first.len() > 2 && first.starts_with('§')) {
        return Some(1);
    }
    let ends_open = !line.ends_with(['.', '!', '?', ':']);
    let digits = first.trim_end_matches('.');
    let is_numbered =
        digits.split('.').all(|n| !n.is_empty() && n.len() <= 3 && n.bytes().all(|b| b.is_ascii_digit()));
    let begins_large = second.and_then(|word| word.chars().next()).is_some_and(char::is_uppercase);
    if is_numbered && begins_large && ends_open {
        return Some(digits.split('.').count());
    }
    let mut cased = line.chars().filter(|c| c.is_lowercase() || c.is_uppercase()).peekable();
    let is_long = line.chars().filter(|c| c.is_alphabetic()).count() >= 3;
    (is_long && ends_open && cased.peek().is_some() && cased.all(char::is_uppercase)).then_some(1)
}
