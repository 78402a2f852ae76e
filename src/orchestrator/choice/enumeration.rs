//! The items that a sentence enumerates.

use super::words::words;

/// Nouns for the parts of a longer text.
pub(crate) const PART_NOUNS: &[&str] = &[
    "section",
    "sections",
    "part",
    "parts",
    "chapter",
    "chapters",
    "heading",
    "headings",
    "paragraph",
    "paragraphs",
    "aspect",
    "aspects",
    "viewpoint",
    "viewpoints",
    "perspective",
    "perspectives",
    "angle",
    "angles",
    "view",
    "terms",
];
/// First words of a piece that says how the parts are to be written, and names no part.
const CONSTRAINTS: &[&str] = &[
    "all",
    "approximately",
    "at",
    "avoid",
    "both",
    "but",
    "each",
    "every",
    "exactly",
    "in",
    "include",
    "keep",
    "limit",
    "max",
    "maximum",
    "mention",
    "min",
    "minimum",
    "must",
    "never",
    "no",
    "none",
    "not",
    "per",
    "please",
    "roughly",
    "so",
    "up",
    "use",
    "using",
    "with",
    "without",
    "write",
    "written",
];
/// Words that count what a text is made of.
const UNITS: &[&str] =
    &["word", "words", "sentence", "sentences", "line", "lines", "character", "characters"];

/// The words around an enumeration that belong to none of its items.
pub(super) struct Frame {
    /// Words that may stand before the first item.
    pub lead_ins: &'static [&'static str],
    /// Words that may follow the last item.
    pub trailers: &'static [&'static str],
    /// Whether the first item may have such words before it even behind a colon.
    pub leads_after_colon: bool,
}

/// The items of an enumeration in a sentence.
pub(super) fn enumerated(sentence: &str, frame: &Frame) -> Vec<String> {
    let several = |list: &&str| list.contains(',') || list.contains(" and ");
    let listed = sentence.rsplit_once(": ").map(|(_, rest)| rest).filter(several);
    let after_noun = after_part_noun(listed.unwrap_or(sentence)).filter(several);
    let (list, introduced) =
        (after_noun.or(listed).unwrap_or(sentence), after_noun.is_some() || listed.is_some());
    // The parts may stand in brackets. What stands in brackets behind each of them says what belongs in it.
    let inside = bracketed(list).filter(|inside| several(inside) || inside.contains('|'));
    let outside = without_brackets(list);
    let is_only = list.matches(['(', '[']).count() == 1;
    let list = inside.filter(|_| is_only || !several(&outside.as_str())).unwrap_or(&outside);
    let mut pieces: Vec<&str> = list.split([',', '|']).collect();
    let named = pieces.iter().skip(1).take_while(|piece| !is_constraint(piece)).count();
    pieces.truncate(1 + named);
    let last = pieces.pop().unwrap_or_default();
    // "a, b and c", "a, b, and c": the last piece may hold two items.
    let last = last.trim().strip_prefix("and ").unwrap_or(last);
    match last.split_once(" and ") {
        Some((a, b)) => pieces.extend([a, b]),
        None => pieces.push(last),
    }
    if pieces.len() < if introduced { 2 } else { 3 } {
        return Vec::new();
    }
    let count = pieces.len();
    let items: Vec<String> = pieces
        .into_iter()
        .enumerate()
        .map(|(at, piece)| {
            let is_first = at == 0 && (!introduced || frame.leads_after_colon);
            trim_item(piece, is_first, at + 1 == count, frame)
        })
        .collect();
    if items.iter().all(|item| is_short(item)) { items } else { Vec::new() }
}

/// What stands in the first brackets of a text.
fn bracketed(text: &str) -> Option<&str> {
    let (_, inside) = text.split_once(['(', '['])?;
    Some(inside.split_once([')', ']']).map_or(inside, |(inside, _)| inside))
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0;
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ if depth <= 0 => outside.push(c),
            _ => {}
        }
    }
    outside
}

/// The text after "with sections on" or "a chapter about each of". The enumeration begins there,
/// even after earlier commas.
fn after_part_noun(sentence: &str) -> Option<&str> {
    const JOINTS: [&str; 13] = [
        "on", "of", "about", "for", "covering", "called", "named", "titled", "entitled", "each", "headed",
        "with", "the",
    ];
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let mut rest = sentence;
    loop {
        let (word, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        if !PART_NOUNS.contains(&bare(word).as_str()) || word.ends_with(',') {
            continue;
        }
        let joints = rest.split(' ').take_while(|word| JOINTS.contains(word));
        let joined: usize = joints.map(|word| word.len() + 1).sum();
        let names = rest.trim_start().starts_with(|c: char| c.is_uppercase() || matches!(c, '"' | '“'));
        if joined > 0 || names {
            return rest.get(joined..);
        }
    }
}

/// What stands in quotation marks at the end of a piece.
fn quotation(piece: &str) -> Option<&str> {
    let (_, inside) = piece.split_once(['"', '“'])?;
    let (title, rest) = inside.split_once(['"', '”'])?;
    (!title.trim().is_empty() && words(rest).is_empty()).then_some(title)
}

/// An item without its lead-in ("with sections on soil" → "soil"), article, or trailing remark ("..., each in a section").
fn trim_item(piece: &str, first: bool, last: bool, frame: &Frame) -> String {
    if let Some(title) = quotation(piece) {
        return title.trim().to_owned();
    }
    let mut item: Vec<&str> = piece.split_whitespace().collect();
    if first || item.first() == Some(&"one") || item.first() == Some(&"another") {
        let lead_in = item.iter().rposition(|word| frame.lead_ins.contains(&word.to_lowercase().as_str()));
        // "Discuss the advantages": the article ends the lead-in.
        let article = || item.iter().position(|word| *word == "the").filter(|_| first);
        if let Some(at) = lead_in.or_else(article) {
            item.drain(..=at);
        }
    }
    if last && let Some(at) = item.iter().position(|word| frame.trailers.contains(word)).filter(|at| *at > 0)
    {
        item.truncate(at);
    }
    if item.first().is_some_and(|word| ["a", "an", "the", "its", "their"].contains(word)) {
        item.remove(0);
    }
    item.join(" ").trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

pub(super) fn has_part_noun(text: &str) -> bool {
    words(text).iter().any(|word| PART_NOUNS.contains(&word.as_str()))
}

/// Whether these may be the parts of a text: not too many, and each only once.
pub(super) fn is_list_of_parts(named: &[String]) -> bool {
    const PARTS_MAX: usize = 12;
    let mut seen = std::collections::HashSet::new();
    (2..=PARTS_MAX).contains(&named.len()) && named.iter().all(|item| seen.insert(words(item)))
}

/// The sentences and lines of a goal. A question mark within quotation marks ends none.
pub(super) fn sentences(goal: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| matches!(c, '\n' | '!' | ';');
    goal.split(ends).flat_map(|line| line.split(". ")).flat_map(|line| line.split("? "))
}

/// The text without the commas of numbers: "1,000 words" is no enumeration.
pub(super) fn without_grouping(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
    let kept = chars
        .iter()
        .enumerate()
        .filter(|(at, c)| **c != ',' || !(is_digit(at.checked_sub(1)) && is_digit(Some(at + 1))));
    kept.map(|(_, c)| *c).collect()
}

pub(super) fn is_short(item: &str) -> bool {
    (1..=5).contains(&words(item).len())
}

/// Whether a piece of an enumeration says how the parts are to be written. One with a capital letter names a part.
pub(super) fn is_constraint(piece: &str) -> bool {
    let said = words(piece);
    let counts = said.iter().any(|word| UNITS.contains(&word.as_str()));
    let begins = said.first().is_some_and(|word| CONSTRAINTS.contains(&word.as_str()));
    let is_named =
        piece.trim_start().starts_with(|c: char| c.is_uppercase() || matches!(c, '"' | '“' | '\'' | '‘'));
    let is_of_rows = matches!(&said[..], [one, row, ..] if one == "one" && row.starts_with("row"))
        || said.last().is_some_and(|word| word == "row");
    counts || is_of_rows || (begins && !is_named)
}
