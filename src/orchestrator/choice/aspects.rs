//! The parts that a goal names, such as the headings of a text to write.

use super::enumeration::{
    Frame, PART_NOUNS, enumerated, has_part_noun, is_list_of_parts, is_short, sentences, without_grouping,
};
use super::titles::explicit_titles;
use super::words::{unquoted, words};

const SECTIONS: Frame = Frame {
    lead_ins: &[
        "on",
        "of",
        "about",
        "for",
        "covering",
        "covers",
        "called",
        "named",
        "titled",
        "entitled",
        "under",
        "headings",
        "headed",
        "sections",
        "chapters",
        "parts",
        "terms",
        "from",
        "including",
        "in",
        "to",
    ],
    trailers: &["-", "–", "with", "each", "should", "under", "as", "in"],
    leads_after_colon: false,
};
/// What a line of a list begins with.
const BULLETS: &[char] = &['-', '*', '•', '–', '·'];
/// Whether a goal mentions sections, parts or viewpoints.
pub(super) fn speaks_of_parts(goal: &str) -> bool {
    has_part_noun(&unquoted(goal))
}

/// The parts that a goal names: the lines of a list, or its longest enumeration of short items, without the words that
/// introduce it. One beside a word such as "headings" is preferred.
#[must_use]
pub(super) fn named_aspects(goal: &str) -> Vec<String> {
    let goal = goal.trim().trim_end_matches('.').trim_end_matches("please").trim_end_matches(", ");
    let goal = &without_grouping(goal);
    let explicit = explicit_titles(goal);
    if is_list_of_parts(&explicit) {
        return explicit;
    }
    let sentences = sentences(goal).filter(|sentence| !is_denial(sentence));
    let found = sentences.map(|sentence| (has_part_noun(sentence), aspects_of_sentence(sentence)));
    let found = found
        .filter(|(_, aspects)| aspects.len() >= 2)
        .max_by_key(|(beside, aspects)| (*beside, aspects.len()));
    match found {
        // What is named beside "headings" is meant, whatever lists the goal has besides.
        Some((true, aspects)) => aspects,
        other => {
            let listed = [aspects_of_lines(goal), aspects_of_rows(goal), aspects_headed(goal)];
            let listed = listed.into_iter().find(|listed| is_list_of_parts(listed));
            listed.or(other.map(|(_, aspects)| aspects)).unwrap_or_default()
        }
    }
}

/// Whether a line says that parts of a text follow. "Spare parts" are none.
fn leads_to_parts(line: &str) -> bool {
    const PARTS: &[&str] = &["heading", "headings", "section", "sections", "chapter", "chapters"];
    let named = words(line).iter().any(|word| PARTS.contains(&word.as_str()));
    named || (line.ends_with(':') && has_part_noun(line))
}

/// The beginnings of lines such as "- Parking: mention the barrier" and "2) Breakfast (max 40 words)". Another text
/// between them ends the list.
fn aspects_of_lines(goal: &str) -> Vec<String> {
    let lines: Vec<&str> = goal.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(first) = lines.iter().position(|line| list_item(line).is_some()) else { return Vec::new() };
    if !lines[first.saturating_sub(1)..first].iter().any(|line| leads_to_parts(line)) {
        return Vec::new();
    }
    let items = lines[first..].iter().map(|line| list_item(line));
    let named = items.map_while(|item| item).map(|item| {
        let end =
            item.find([':', '(', ',', ';', '=']).into_iter().chain(item.find(" - ")).chain(item.find(" – "));
        let title = &item[..end.min().unwrap_or(item.len())];
        title.trim().trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
    });
    let named: Vec<String> = named.collect();
    if named.iter().all(|item| is_short(item)) { named } else { Vec::new() }
}

/// The first cells of a table, and the beginnings of lines such as "Budget: grant, fence" that follow one another.
fn aspects_of_rows(goal: &str) -> Vec<String> {
    let cell = |line: &str| {
        let row = line.strip_prefix('|').map(|row| row.split('|').next().unwrap_or_default());
        row.or_else(|| line.split_once(": ").map(|(title, _)| title)).map(|title| title.trim().to_owned())
    };
    // The line under the head of a table has no letters.
    let is_rule = |line: &str| line.contains('|') && !line.contains(char::is_alphanumeric);
    let is_table = goal.lines().any(is_rule);
    let lines: Vec<&str> =
        goal.lines().map(str::trim).filter(|line| !line.is_empty() && !is_rule(line)).collect();
    let is_cell = |line: &&str| cell(line).is_some_and(|title| is_short(&title));
    let mut longest = 0..0;
    let mut from = 0;
    for at in 0..=lines.len() {
        if !lines.get(at).is_some_and(is_cell) {
            longest = if at - from > longest.len() { from..at } else { longest };
            from = at + 1;
        }
    }
    // The lines belong to what stands before them, or to the head of the table.
    let intro = &lines[longest.start.saturating_sub(1)..(longest.start + 1).min(lines.len())];
    if !intro.iter().any(|line| leads_to_parts(line)) {
        return Vec::new();
    }
    let named: Vec<String> = lines[longest].iter().filter_map(|line| cell(line)).collect();
    if is_table { named.into_iter().skip(1).collect() } else { named }
}

/// The titles in "the one headed 'Risks' ...; the one headed 'Budget' ...".
fn aspects_headed(goal: &str) -> Vec<String> {
    const MARKS: &[char] = &['"', '“', '”', '\'', '‘', '’'];
    let behind = ["one headed ", "section headed ", "part headed "];
    let named = behind
        .iter()
        .map(|lead| goal.split(lead).skip(1).collect::<Vec<_>>())
        .find(|found| !found.is_empty());
    let named = named.unwrap_or_default().into_iter().map(|rest| match rest.strip_prefix(MARKS) {
        Some(quoted) => quoted.split(MARKS).next().unwrap_or_default().to_owned(),
        None => {
            let title = rest.split_whitespace().take_while(|word| word.starts_with(char::is_uppercase));
            title.collect::<Vec<_>>().join(" ")
        }
    });
    let named: Vec<String> =
        named.map(|title| title.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()).collect();
    if named.iter().all(|item| is_short(item)) { named } else { Vec::new() }
}

/// Whether a sentence says which words must not occur.
fn is_denial(sentence: &str) -> bool {
    let said = words(sentence);
    let has = |list: &[&str]| said.iter().any(|word| list.contains(&word.as_str()));
    let denies = has(&["avoid", "not", "never", "don't", "without"]);
    let names_parts = said.iter().any(|word| PART_NOUNS.contains(&word.as_str()) && word != "terms");
    denies && has(&["word", "words", "term", "terms", "phrase", "phrases"]) && !names_parts
}

/// A line of a list without its bullet or number; `None` if it has neither.
pub(crate) fn list_item(line: &str) -> Option<&str> {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = match numbered.len() < line.len() {
        true => numbered.strip_prefix(['.', ')', ':'])?,
        false => line.strip_prefix(BULLETS)?,
    };
    rest.starts_with(' ').then(|| rest.trim())
}

fn aspects_of_sentence(sentence: &str) -> Vec<String> {
    enumerated(sentence, &SECTIONS)
}

#[cfg(test)]
mod tests;
