//! Finds tags in a text that may continue: complete ones, and possible beginnings. What tags mean is not known here.

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

pub(super) enum Prefix {
    /// It begins with this tag.
    Whole(&'static str),
    /// The whole text may be the beginning of a tag.
    Part,
    No,
}

pub(super) fn find_prefix(text: &str, tags: impl Iterator<Item = &'static str> + Clone) -> Prefix {
    if let Some(tag) = tags.clone().find(|tag| text.starts_with(tag)) {
        return Prefix::Whole(tag);
    }
    let mut tags = tags;
    if !text.is_empty() && tags.any(|tag| tag.starts_with(text)) { Prefix::Part } else { Prefix::No }
}

pub(super) enum Found {
    /// This tag begins at this byte.
    Whole(usize, &'static str),
    /// The rest from this byte on may be the beginning of a tag. It is the text's length if there is none.
    Part(usize),
}

pub(super) fn find_tag(text: &str, tags: impl Iterator<Item = &'static str> + Clone) -> Found {
    let found = tags.clone().filter_map(|tag| text.find(tag).map(|at| (at, tag)));
    if let Some((at, tag)) = found.min() {
        return Found::Whole(at, tag);
    }
    let longest = tags.clone().map(str::len).max().unwrap_or(0);
    let mut from = text.len().saturating_sub(longest);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let ends = text[from..].char_indices().map(|(at, _)| from + at);
    let begins = |&at: &usize| tags.clone().any(|tag| tag.starts_with(&text[at..]));
    Found::Part(ends.into_iter().find(begins).unwrap_or(text.len()))
}

/// Whether an answer may be a call, or a list of calls, without any mark.
pub(super) enum Bare {
    No,
    Undecided,
    /// The first call's object begins at byte `at`.
    At {
        at: usize,
        list: bool,
        fenced: bool,
    },
}

/// `text` must not begin with white space.
pub(super) fn bare_json(text: &str) -> Bare {
    let mut rest = text;
    let fenced = text.starts_with("```");
    if fenced {
        let Some(end) = text.find('\n') else {
            let word = text[3..].trim_end();
            return if FENCES.iter().any(|fence| fence.starts_with(word)) {
                Bare::Undecided
            } else {
                Bare::No
            };
        };
        if !FENCES.contains(&text[3..end].trim_end()) {
            return Bare::No;
        }
        rest = &text[end..];
    } else if "```".starts_with(text) {
        return Bare::Undecided;
    }
    rest = rest.trim_start();
    let list = rest.starts_with('[');
    if list {
        rest = rest[1..].trim_start();
    }
    match rest.chars().next() {
        None => Bare::Undecided,
        Some('{') => Bare::At { at: text.len() - rest.len(), list, fenced },
        Some(_) => Bare::No,
    }
}

/// The info strings of code fences around calls.
const FENCES: &[&str] = &["", "json", "tool_call", "tool_calls"];
