//! Reads the statements of a text by rule: every number, date, time, code, address and name in it, with the words
//! around that say what it is about. Models leave things out; what is found here is compared even if no model names it.

mod blocks;
mod found;
mod numbers;
mod tokens;
mod values;

use std::ops::Range;

use super::statement::Statement;
use super::value::{Unit, Value, unit_named};
use crate::checks::words;
use crate::topic::content_words;
use bandmaster_tools::tables::days_meant;
use blocks::{Block, blocks};
use found::Found;
use tokens::{Token, sentences, tokens};
use values::values;

/// Most words of a line's value that is taken as a name or another short text.
const NAME_WORDS_MAX: usize = 5;
/// Words between two values of a sentence at which it is cut for quoting.
const JOINTS: [&str; 8] = ["and", "but", "while", "which", "whereas", "und", "et", "y"];

/// Words that put what is said at another time.
const OTHER_TIMES: [&str; 12] = [
    "last",
    "previous",
    "previously",
    "former",
    "formerly",
    "earlier",
    "ago",
    "past",
    "next",
    "later",
    "originally",
    "initially",
];

/// Words that link what a value is called with the value.
const LINKS: [&str; 6] = ["of", "is", "are", "was", "were", "be"];

/// The statements of an input, in the order of its text.
pub(in crate::strategies) fn statements(input: usize, text: &str) -> Vec<Statement> {
    let title = title(text);
    let mut all: Vec<Statement> =
        blocks(text).iter().flat_map(|block| of_block(input, text, block)).collect();
    all.retain(|one| !matches!(one.value, Value::Name(_)) || names_something(text, one, &title));
    all
}

/// The first line of a text if it stands by itself and is no sentence: what the text is, and from whom.
fn title(text: &str) -> Range<usize> {
    let start = text.len() - text.trim_start().len();
    let (first, rest) = text[start..].split_once('\n').unwrap_or((&text[start..], ""));
    let is_apart = rest.lines().next().is_some_and(|next| next.trim().is_empty());
    let is_sentence = first.trim_end().ends_with(['.', '!', '?', ';']);
    if is_apart && !is_sentence { start..start + first.len() } else { start..start }
}

/// Whether a name belongs to what the text states, and not to its title, a heading in capitals, a date, or a signature.
fn names_something(text: &str, one: &Statement, title: &Range<usize>) -> bool {
    let name = &text[one.bytes.clone()];
    // "Venue: Drill Hall" states a venue, also in the first line. "Society: minutes of the meeting" is a title.
    let is_value =
        one.quote.start < one.bytes.start && text[one.quote.start..one.bytes.start].trim_end().ends_with(':');
    if is_value && name.starts_with(char::is_uppercase) {
        return true;
    }
    let is_heading = !name.chars().any(char::is_lowercase) && name.contains(' ');
    let last = name.split_whitespace().next_back();
    let ends_with_month = last.is_some_and(|last| !days_meant(&format!("1 {last} 2000")).is_empty());
    // "Best", and the name in the line below it.
    let line = text[..one.bytes.start].rfind('\n').map_or(0, |at| at + 1);
    let is_signature = name.contains('\n') && text[line..one.bytes.start].trim().is_empty();
    !is_signature && !is_heading && !ends_with_month && !title.contains(&one.bytes.start)
}

fn of_block(input: usize, text: &str, block: &Block) -> Vec<Statement> {
    let mut all = Vec::new();
    for sentence in sentences(text, block.bytes.clone()) {
        let tokens = tokens(text, sentence.clone());
        let found = values(&tokens);
        for at in (0..found.len()).filter(|at| !is_occasion(&tokens, &found, *at, block)) {
            all.push(statement(input, block, &tokens, &found, at));
        }
    }
    let is_short = tokens(text, block.bytes.clone()).len() <= NAME_WORDS_MAX;
    if all.is_empty() && !block.key.is_empty() && is_short {
        let value = words(&text[block.bytes.clone()]);
        if !value.is_empty() {
            all.push(Statement {
                input,
                bytes: block.bytes.clone(),
                quote: block.line.clone(),
                value: Value::Name(value),
                label: said(&block.key),
                clause: Vec::new(),
                around: said(&block.heading),
                occasion: Vec::new(),
                period: period(block),
            });
        }
    }
    all
}

fn statement(input: usize, block: &Block, tokens: &[Token<'_>], all: &[Found], at: usize) -> Statement {
    let found = &all[at];
    let clause = clause(tokens, all, at);
    let of = |range: Range<usize>| -> Vec<String> {
        let outside = tokens[range]
            .iter()
            .filter(|token| !(found.bytes.start <= token.bytes.start && token.bytes.end <= found.bytes.end));
        outside.flat_map(|token| said(token.text)).collect()
    };
    let key = said(&block.key);
    let noun = of(found.noun.clone());
    let mut label: Vec<String> = [&key[..], &noun].concat();
    label.retain(|word| !names_kind(&found.value, word));
    if noun.is_empty() {
        let is_other = |index: &usize| all.iter().any(|other| other.tokens.contains(index));
        label.extend(
            beside(tokens, found, &clause, is_other).into_iter().flat_map(|index| of(index..index + 1)),
        );
    }
    let years = all.iter().filter(|other| {
        is_year(&other.value) && other.bytes != found.bytes && clause.contains(&other.tokens.start)
    });
    let marks = tokens[clause.clone()].iter().map(|token| token.text.to_lowercase());
    let marks = marks.filter(|word| OTHER_TIMES.contains(&word.as_str()));
    let occasion = marks.chain(years.map(|year| tokens[year.tokens.start].text.to_owned())).collect();
    let bytes = tokens[clause.start].bytes.start..tokens[clause.end - 1].bytes.end;
    Statement {
        input,
        bytes: found.bytes.clone(),
        quote: if key.is_empty() { bytes } else { block.line.clone() },
        value: with_unit_of_key(found.value.clone(), &key),
        label,
        clause: of(clause),
        around: [of(0..tokens.len()), said(&block.heading)].concat(),
        occasion,
        period: period(block),
    }
}

/// Years that the headings above a block name.
fn period(block: &Block) -> Vec<String> {
    words(&block.heading).into_iter().filter(|word| reads_as_year(word)).collect()
}

fn reads_as_year(word: &str) -> bool {
    word.len() == 4 && word.parse::<u16>().is_ok_and(|year| (1900..2100).contains(&year))
}

/// Whether a value is a year that only says when other values hold, as in "the budget for 2025 was 900 euros" or in a
/// heading.
fn is_occasion(tokens: &[Token<'_>], all: &[Found], at: usize, block: &Block) -> bool {
    let said = tokens[all[at].tokens.start].text;
    if reads_as_year(said) && block.is_heading {
        return true;
    }
    let clause = clause(tokens, all, at);
    let holds = |other: &Found| !is_year(&other.value) && clause.contains(&other.tokens.start);
    is_year(&all[at].value) && all.iter().any(holds)
}

fn is_year(value: &Value) -> bool {
    matches!(value, Value::Date(days) if days.iter().all(|day| day.1 == 0 && day.2 == 0))
}

/// Index of the word beside a value that says what it is: "hall B348", "port 5544", "a deposit of 90 euros", "the fee
/// is 9 euros", "Ann Lee conducts". `is_value` says which words are values themselves.
fn beside(
    tokens: &[Token<'_>],
    found: &Found,
    clause: &Range<usize>,
    is_value: impl Fn(&usize) -> bool,
) -> Option<usize> {
    let says_something = |index: &usize| !is_value(index) && !said(tokens[*index].text).is_empty();
    let before = (clause.start..found.tokens.start).rev().find(says_something);
    match found.value {
        Value::Name(_) => before.or_else(|| (found.tokens.end..clause.end).find(says_something)),
        Value::Code(_) | Value::Number { unit: Unit::Open, .. } => {
            before.filter(|before| before + 1 == found.tokens.start && !tokens[*before].ends)
        }
        // Other words before a value are verbs more often than names of it.
        _ => before.filter(|before| {
            let between = tokens[before + 1..found.tokens.start].iter();
            between.map(|token| token.text.to_lowercase()).any(|word| LINKS.contains(&word.as_str()))
        }),
    }
}

/// Whether a word only says of what kind a value is, as `date` does of a date.
fn names_kind(value: &Value, word: &str) -> bool {
    match value {
        Value::Date(_) => matches!(word, "date" | "day"),
        Value::Time(_) => word == "time",
        Value::Address(_) => matches!(word, "address" | "mail" | "email"),
        Value::Code(_) => word == "code",
        Value::Number { .. } | Value::Name(_) => false,
    }
}

/// `timeout_seconds = 90` has its unit in the key.
fn with_unit_of_key(value: Value, key: &[String]) -> Value {
    match value {
        Value::Number { readings, unit: Unit::Open, per, bound, .. } => {
            let named = key.iter().filter(|word| word.len() > 2).find_map(|word| unit_named(word));
            let (unit, times) = named.unwrap_or((Unit::Open, 1));
            Value::Number { readings, unit, times, per, bound }
        }
        other => other,
    }
}

/// The words around a value, up to the marks and joints that part it from the values beside it.
fn clause(tokens: &[Token<'_>], found: &[Found], at: usize) -> Range<usize> {
    let one = &found[at];
    let is_joint = |index: &usize| JOINTS.contains(&tokens[*index].text.to_lowercase().as_str());
    let start = match at.checked_sub(1).map(|before| found[before].tokens.end) {
        Some(before) => {
            let mut cuts = (before..=one.tokens.start).rev();
            let cut =
                cuts.find(|index| tokens[index - 1].ends || (*index < one.tokens.start && is_joint(index)));
            cut.map_or(0, |cut| if is_joint(&cut) { cut + 1 } else { cut })
        }
        None => 0,
    };
    let end = match found.get(at + 1) {
        Some(next) => {
            let mut cuts = one.tokens.end..=next.tokens.start;
            let cut =
                cuts.find(|index| tokens[index - 1].ends || (*index < next.tokens.start && is_joint(index)));
            cut.unwrap_or(tokens.len())
        }
        None => tokens.len(),
    };
    start.min(one.tokens.start)..end.max(one.tokens.end)
}

/// The content words of a text; those of a key such as `poolMax` are taken apart.
fn said(text: &str) -> Vec<String> {
    let mut apart = String::new();
    let mut was_small = false;
    for c in text.chars() {
        if was_small && c.is_uppercase() {
            apart.push(' ');
        }
        was_small = c.is_lowercase();
        apart.push(if c == '_' { ' ' } else { c });
    }
    let is_digits = |word: &String| word.bytes().all(|b| b.is_ascii_digit());
    content_words(&apart).into_iter().filter(|word| !is_digits(word)).collect()
}

#[cfg(test)]
mod tests;
