//! Cuts off what a model says around its result: "Here is the translation:", a closing offer, a fence.

use super::super::slots::{Slots, Work};
use crate::checks::{sentences, words};

/// Words of a line that announces a result. English, and the beginnings of other languages' lines.
const ANNOUNCING: &[&str] = &[
    "here",
    "sure",
    "certainly",
    "below",
    "following",
    "translation",
    "translated",
    "summary",
    "rewritten",
    "version",
    "shortened",
    "result",
    "output",
    "text",
    "bullet",
    "points",
    "hier",
    "übersetzung",
    "zusammenfassung",
    "voici",
    "traduction",
    "résumé",
    "aquí",
    "traducción",
    "resumen",
    "ecco",
    "traduzione",
    "tradução",
];
/// A line with more words hardly announces anything.
const ANNOUNCING_WORDS_MAX: usize = 16;
/// How a closing remark begins.
const CLOSING: &[&str] =
    &["let me know", "i hope", "feel free", "please let me know", "if you need", "note that i"];

/// The result alone. Nothing is cut that the text has as well.
pub(in super::super) fn tidied(slots: &Slots, source: &str, reply: &str) -> String {
    let text = without_fence(reply.trim());
    let text = without_closing(source, without_preamble(source, text));
    let text = unquoted(source, text.trim());
    if slots.work == Work::Points { points(text) } else { text.to_owned() }
}

fn without_fence(text: &str) -> &str {
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let inner = inner.and_then(|rest| rest.split_once('\n')).map(|(_, inner)| inner);
    let framed = || text.strip_prefix("\"\"\"").and_then(|rest| rest.strip_suffix("\"\"\""));
    let dashed = || text.strip_prefix("-----").map(|rest| rest.strip_suffix("-----").unwrap_or(rest));
    inner.or_else(framed).or_else(dashed).unwrap_or(text).trim()
}

fn without_preamble<'a>(source: &str, text: &'a str) -> &'a str {
    let announces = |line: &str| {
        let said = words(line);
        said.len() <= ANNOUNCING_WORDS_MAX && said.iter().any(|word| ANNOUNCING.contains(&word.as_str()))
    };
    let in_source = |line: &str| source.trim_start().starts_with(line.trim());
    if let Some((first, rest)) = text.split_once('\n')
        && first.trim_end().trim_end_matches('*').ends_with(':')
        && announces(first)
        && !in_source(first)
    {
        return rest.trim_start();
    }
    // "Translation: …" on one line.
    match text.split_once(':') {
        Some((label, rest))
            if words(label).len() <= 4
                && announces(label)
                && !in_source(label)
                && !rest.trim().is_empty() =>
        {
            rest.trim_start_matches(['*', ' ']).trim_start()
        }
        _ => text,
    }
}

fn without_closing<'a>(source: &str, text: &'a str) -> &'a str {
    let Some((body, last)) = text.trim_end().rsplit_once("\n\n") else { return text };
    let begins = |opening: &&str| last.trim_start().to_lowercase().starts_with(*opening);
    if CLOSING.iter().any(begins) && !source.contains(last.trim()) { body } else { text }
}

fn unquoted<'a>(source: &str, text: &'a str) -> &'a str {
    let pairs = [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»')];
    let inner = pairs.iter().find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
    match inner {
        Some(inner)
            if !inner.contains(['"', '“', '„', '«']) && !source.trim().starts_with(['"', '“', '„', '«']) =>
        {
            inner.trim()
        }
        _ => text,
    }
}

/// One point on each line, beginning with "- ". A text without lines gives a point for each sentence.
fn points(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let lines = if lines.len() == 1 && !is_marked(lines[0]) { sentences(text) } else { lines };
    let is_heading = |line: &str| line.trim_start().starts_with('#');
    let points =
        lines.into_iter().filter(|line| !is_heading(line)).map(|line| format!("- {}", unmarked(line)));
    points.collect::<Vec<_>>().join("\n")
}

fn is_marked(line: &str) -> bool {
    unmarked(line).len() < line.trim().len()
}

/// A line without the mark of a list before it.
fn unmarked(line: &str) -> &str {
    let line = line.trim();
    let bare = line.trim_start_matches(['-', '*', '•', '–', '·']);
    if bare.len() < line.len() && bare.starts_with(' ') {
        return bare.trim();
    }
    let after = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match after.strip_prefix(". ").or_else(|| after.strip_prefix(") ")) {
        Some(rest) if after.len() < line.len() => rest.trim(),
        _ => line,
    }
}
