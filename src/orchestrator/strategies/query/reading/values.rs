//! The values of text columns that a goal names.

use std::collections::HashMap;

use super::words::{Word, is_glue, is_typo, plain, singular};
use crate::attached::{Attached, ColumnAt};

/// Words of the goal that are a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    /// The first word and the one behind the last.
    pub from: usize,
    pub to: usize,
    /// The columns that have the value, each with the value as it is written there.
    pub meant: Vec<(ColumnAt, String)>,
}

/// A value as its words, with its column and as it is written.
type Known<'a> = (Vec<String>, ColumnAt, &'a str);

/// Every value by the beginning of its first word.
struct Index<'a> {
    by_first: HashMap<String, Vec<Known<'a>>>,
}

impl<'a> Index<'a> {
    fn of(attached: &'a Attached) -> Self {
        let mut by_first: HashMap<String, Vec<_>> = HashMap::new();
        for (table, columns) in attached.tables.iter().map(|table| table.columns.len()).enumerate() {
            for at in (0..columns).map(|column| (table, column)) {
                for value in attached.values(at) {
                    let words = plain(value);
                    if let Some(first) = words.first() {
                        by_first.entry(singular(first)).or_default().push((words, at, value.as_str()));
                    }
                }
            }
        }
        Self { by_first }
    }
}

/// The values that the goal's words name, the longest first where several begin with the same word. Words that are
/// `claimed` have another meaning.
pub(super) fn mentions(words: &[Word], claimed: &[bool], attached: &Attached) -> Vec<Mention> {
    let index = Index::of(attached);
    let mut found: Vec<Mention> = Vec::new();
    let mut is_taken = claimed.to_vec();
    for pass in [Pass::Exact, Pass::Misspelt, Pass::Part] {
        let mut at = 0;
        while at < words.len() {
            let mention = (!is_taken[at]).then(|| mention(words, at, &is_taken, &index, pass)).flatten();
            match mention {
                Some(mention) => {
                    is_taken[mention.from..mention.to].fill(true);
                    at = mention.to;
                    found.push(mention);
                }
                None => at += 1,
            }
        }
    }
    found.sort_by_key(|mention| mention.from);
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Exact,
    Misspelt,
    /// A word of a name, such as a surname, that stands in one name only.
    Part,
}

fn mention(words: &[Word], at: usize, is_taken: &[bool], index: &Index<'_>, pass: Pass) -> Option<Mention> {
    let word = &words[at];
    let mut longest = 0;
    let mut meant: Vec<(ColumnAt, String)> = Vec::new();
    let mut take = |length: usize, column: ColumnAt, value: &str| {
        if length > longest {
            (longest, meant) = (length, Vec::new());
        }
        let pair = (column, value.to_owned());
        if length == longest && !meant.contains(&pair) {
            meant.push(pair);
        }
    };
    let is_free = |length: usize| at + length <= words.len() && !is_taken[at..at + length].contains(&true);
    match pass {
        Pass::Exact => {
            for (value_words, column, value) in
                index.by_first.get(&singular(&word.text)).into_iter().flatten()
            {
                let length = spoken(words, at, value_words, &|one, other| {
                    one == other || singular(one) == singular(other)
                });
                if let Some(length) =
                    length.filter(|length| is_free(*length) && is_telling(words, at, value_words))
                {
                    take(length, *column, value);
                }
            }
            prefer_written(&mut meant, words, at, longest);
        }
        Pass::Misspelt if !is_glue(&word.text) && word.text.len() >= 5 => {
            for (value_words, column, value) in index.by_first.values().flatten() {
                let length = spoken(words, at, value_words, &|one, other| {
                    one == other
                        || singular(one) == singular(other)
                        || is_typo(one, other)
                        || is_typo(&singular(one), &singular(other))
                });
                if let Some(length) = length.filter(|length| is_free(*length)) {
                    take(length, *column, value);
                }
            }
        }
        Pass::Part if word.is_upper && word.text.len() >= 4 && !is_glue(&word.text) && at > 0 => {
            for (value_words, column, value) in index.by_first.values().flatten() {
                if value_words.len() > 1 && value_words.contains(&word.text) {
                    take(1, *column, value);
                }
            }
            let is_one = meant.iter().all(|(_, value)| *value == meant[0].1);
            meant.retain(|_| is_one);
        }
        _ => {}
    }
    // `meant` differs in its order from run to run if it came out of the whole index.
    meant.sort();
    (!meant.is_empty()).then_some(Mention { from: at, to: at + longest.max(1), meant })
}

/// How many words of the goal a value takes, if it stands there. "and" may stand for a sign such as `&`.
fn spoken(
    words: &[Word],
    at: usize,
    value: &[String],
    is_same: &dyn Fn(&str, &str) -> bool,
) -> Option<usize> {
    let mut next = at;
    for (number, own) in value.iter().enumerate() {
        if number > 0 && words.get(next)?.text == "and" && own != "and" {
            next += 1;
        }
        if !is_same(&words.get(next)?.text, own) {
            return None;
        }
        next += 1;
    }
    Some(next - at)
}

/// Whether a value is more than a word that stands in any sentence, or a number.
fn is_telling(words: &[Word], at: usize, value: &[String]) -> bool {
    let [only] = value else { return true };
    let word = &words[at];
    let begins_sentence = at == 0 || words[at - 1].ends;
    if only.chars().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let is_short = only.chars().count() <= 2 || is_glue(only);
    !is_short || (word.is_upper && !begins_sentence && word.text == *only)
}

/// Of values that are equal but for their form, those as they are written in the goal.
fn prefer_written(meant: &mut Vec<(ColumnAt, String)>, words: &[Word], at: usize, length: usize) {
    let written: Vec<&str> =
        words[at..(at + length).min(words.len())].iter().map(|word| word.text.as_str()).collect();
    let is_exact = |value: &str| plain(value) == written;
    if meant.iter().any(|(_, value)| is_exact(value)) {
        meant.retain(|(_, value)| is_exact(value));
    }
}
