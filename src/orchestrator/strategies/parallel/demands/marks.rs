//! A goal as a row of marks: the titles of sections, quotations, words, and the signs between them.

use crate::checks::words;
use crate::choice::list_item;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// The title of a section, by its number.
    Title(usize),
    /// What stands in quotation marks, unless it is a title.
    Quote(String),
    /// A word in lower case.
    Word(String),
    Comma,
    /// A colon or what stands for one: a dash with spaces, an equals sign, an arrow, the border of a cell.
    Colon,
    Open,
    Close,
    /// The end of a sentence or of a line.
    End,
    Semicolon,
}

impl Mark {
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn title(&self) -> Option<usize> {
        match self {
            Self::Title(title) => Some(*title),
            _ => None,
        }
    }

    /// Whether it is one of the words of a list with spaces between them.
    pub(super) fn is_in(&self, list: &str) -> bool {
        self.word().is_some_and(|word| is_listed(list, word))
    }

    pub(super) fn is_one_of(&self, words: &[&str]) -> bool {
        self.word().is_some_and(|word| words.contains(&word))
    }
}

/// Whether a word is in a list with spaces between its words.
pub(super) fn is_listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|one| one == word)
}

/// The marks of a goal.
pub(super) fn marks(goal: &str, titles: &[&str]) -> Vec<Mark> {
    // The line under the head of a table has no letters.
    let lines = goal.lines().map(str::trim).filter(|line| line.contains(char::is_alphanumeric));
    lines
        .flat_map(|line| marks_of_line(list_item(line).unwrap_or(line).trim_matches(['|', ' ']), titles))
        .collect()
}

fn marks_of_line(line: &str, titles: &[&str]) -> Vec<Mark> {
    let mut found = Vec::new();
    let mut rest = line;
    // What stood before the rest.
    let mut before = '\n';
    while let Some(first) = rest.chars().next() {
        let titled = (!before.is_alphanumeric()).then(|| title_at(rest, titles)).flatten();
        let (mark, length) = if let Some((title, length)) = titled {
            (Some(Mark::Title(title)), length)
        } else if let Some((quote, length)) = quote_at(rest, before) {
            let title = titles.iter().position(|title| words(title) == words(quote));
            (Some(title.map_or_else(|| Mark::Quote(quote.to_owned()), Mark::Title)), length)
        } else if first.is_alphanumeric() {
            let length = word_length(rest);
            (Some(Mark::Word(rest[..length].to_lowercase())), length)
        } else {
            let after = rest[first.len_utf8()..].chars().next().unwrap_or('\n');
            (sign(first, before, after), first.len_utf8())
        };
        found.extend(mark);
        before = rest[..length].chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    found.push(Mark::End);
    found
}

/// The longest title that a text begins with, and its length. A title with a capital letter must have it in the text.
fn title_at(text: &str, titles: &[&str]) -> Option<(usize, usize)> {
    let begins = |title: &&str| {
        if title.is_empty() {
            return None;
        }
        let start = text.get(..title.len())?;
        let same = start == *title || start.to_lowercase() == **title;
        let ends = !text[title.len()..].starts_with(char::is_alphanumeric);
        (same && ends).then_some(title.len())
    };
    let found = titles.iter().enumerate().filter_map(|(at, title)| Some((at, begins(title)?)));
    found.max_by_key(|(_, length)| *length)
}

/// A quotation with more characters is no word that must occur.
const QUOTE_CHARS_MAX: usize = 120;

/// A quotation that a text begins with, and its length with the marks.
fn quote_at(text: &str, before: char) -> Option<(&str, usize)> {
    let open = text.chars().next()?;
    let close = match open {
        '"' | '“' | '„' => ['"', '”', '“'],
        '‘' | '\'' | '`' if !before.is_alphanumeric() => ['’', '\'', '`'],
        '*' if text.starts_with("**") => ['*'; 3],
        _ => return None,
    };
    let inside = text[open.len_utf8()..].trim_start_matches('*');
    let start = text.len() - inside.len();
    // An apostrophe is no end.
    let is_end = |at: usize, sign: char| {
        open == '"' || open == '“' || !inside[at + sign.len_utf8()..].starts_with(char::is_alphanumeric)
    };
    // Without a closing mark, every quotation mark of a long line would be looked for to its end.
    let (end, _) = inside
        .char_indices()
        .take(QUOTE_CHARS_MAX)
        .find(|(at, sign)| close.contains(sign) && is_end(*at, *sign))?;
    let quote = inside[..end].trim();
    let whole = text.len() - text[start + end..].trim_start_matches(close).len();
    (!quote.is_empty() && words(quote).len() <= 8).then_some((quote, whole))
}

/// The length of the word that a text begins with. "300-word" is two words, "follow-up" is one.
fn word_length(text: &str) -> usize {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let joins = |at: usize, c: char| {
        let next = text[at + c.len_utf8()..].chars().next().is_some_and(char::is_alphanumeric);
        next && if is_number { matches!(c, ',' | '.') } else { matches!(c, '-' | '\'' | '’') }
    };
    text.char_indices()
        .find(|(at, c)| !c.is_alphanumeric() && !joins(*at, *c))
        .map_or(text.len(), |(at, _)| at)
}

fn sign(c: char, before: char, after: char) -> Option<Mark> {
    let is_free = before.is_whitespace() && after.is_whitespace();
    match c {
        '!' | '?' => Some(Mark::End),
        '.' if after.is_whitespace() => Some(Mark::End),
        ';' => Some(Mark::Semicolon),
        ',' | '+' => Some(Mark::Comma),
        '(' | '[' => Some(Mark::Open),
        ')' | ']' => Some(Mark::Close),
        ':' | '=' | '→' | '—' | '|' => Some(Mark::Colon),
        '-' if after == '>' => Some(Mark::Colon),
        '>' if before == '-' => None,
        '-' | '–' if is_free => Some(Mark::Colon),
        '-' | '–' if before.is_ascii_digit() && after.is_ascii_digit() => Some(Mark::Word("to".to_owned())),
        '≤' | '<' => Some(Mark::Word("most".to_owned())),
        '≥' | '>' => Some(Mark::Word("least".to_owned())),
        '~' => Some(Mark::Word("about".to_owned())),
        _ => None,
    }
}
