//! Where a text says a value, and whether it says it of the column: the sentence that holds the value must speak of the
//! column more clearly than any sentence with another value of the same kind.

use std::cmp::Reverse;

use bandmaster_tools::calculator::Decimal;
use serde_json::Value;

use super::conditions::number;
use super::names::whole_name;
use super::numerals::{grouped, with_same_digits};
use crate::checks::{mostly_in, number_groups, numbers_in, sentences, stands_in, words};
use crate::plan::{AnswerIs, Column};
use crate::topic::{content_words, is_same_word};

/// What a text says of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    /// A sentence holds the value and speaks of the column. Holds the sentence.
    Told(String),
    /// The value stands in the text, but it may be of something else. Holds a sentence with it, if it is one.
    Stands(String),
    /// The text does not hold the value. Says what is wrong.
    Absent(String),
}

/// A column with the words that only it has among all columns.
pub(super) struct Sought<'a> {
    column: &'a Column,
    words: Vec<String>,
}

impl<'a> Sought<'a> {
    pub(super) fn of(columns: &'a [Column], place: usize) -> Self {
        let column = &columns[place];
        let said = |column: &Column| content_words(&column.name);
        let others: Vec<String> = columns
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != place)
            .flat_map(|(_, other)| said(other))
            .collect();
        let shared = |word: &String| others.iter().any(|other| is_same_word(word, other));
        let own: Vec<String> = said(column).into_iter().filter(|word| !shared(word)).collect();
        Self { column, words: if own.is_empty() { said(column) } else { own } }
    }

    pub(super) fn is_name(&self) -> bool {
        self.column.kind == AnswerIs::Name
    }

    fn names(&self, word: &str) -> bool {
        self.words.iter().any(|own| is_same_word(own, word))
    }

    /// How many of the column's words a text has.
    pub(super) fn bearing(&self, text: &str) -> usize {
        let has = content_words(text);
        self.words.iter().filter(|own| has.iter().any(|word| is_same_word(own, word))).count()
    }

    /// How many words of a clause the column does not explain: "last year's price" is another price.
    fn foreign(&self, clause: &str) -> usize {
        let is_word = |word: &&String| word.chars().all(char::is_alphabetic) && !self.names(word);
        content_words(clause).iter().filter(is_word).count()
    }

    /// A value as the text has it: a name in full, without the word for what it names; 9250 where a reader took the comma
    /// of "9,250" for a point.
    pub(super) fn whole(&self, text: &str, value: &Value) -> Value {
        let meant = match self.column.kind {
            AnswerIs::Number => {
                number(value).and_then(|read| grouped(text, read).or_else(|| with_same_digits(text, read)))
            }
            AnswerIs::Date => value.as_str().and_then(|read| self.date_meant(text, read)).map(Value::String),
            _ => None,
        };
        if let Some(meant) = meant {
            return meant;
        }
        let Some(said) = value.as_str().filter(|_| self.column.kind == AnswerIs::Name) else {
            return value.clone();
        };
        let said = said.trim();
        let bare = said.split_once(' ').filter(|(first, _)| self.names(&first.to_lowercase()));
        Value::String(whole_name(text, bare.map_or(said, |(_, rest)| rest)))
    }

    /// What the text says of a value that was read.
    pub(super) fn evidence(&self, text: &str, value: &Value) -> Evidence {
        match self.column.kind {
            AnswerIs::Number => match value.to_string().parse::<Decimal>() {
                Ok(number) => self.of_number(text, number),
                Err(_) => Evidence::Absent(format!("{value} is not a number")),
            },
            AnswerIs::Date => self.of_date(text, value.as_str().unwrap_or_default()),
            AnswerIs::YesNo => Evidence::Stands(String::new()),
            _ => self.of_words(text, value.as_str().unwrap_or_default()),
        }
    }

    /// Whether the text has anything that the column could hold. Without a number, there is no price.
    pub(super) fn could_be_in(&self, text: &str) -> bool {
        match self.column.kind {
            AnswerIs::Number => !number_groups(text).is_empty(),
            AnswerIs::Date => text.contains(|c: char| c.is_ascii_digit()),
            _ => true,
        }
    }

    fn of_number(&self, text: &str, number: Decimal) -> Evidence {
        let (mut own, mut other): (Option<Mark>, Option<Mark>) = (None, None);
        let (mut quote, mut said) = ("", "");
        for sentence in sentences(text) {
            for clause in clauses(sentence) {
                let mark = self.mark(sentence, clause);
                for group in number_groups(clause) {
                    let side = if group.contains(&number) { &mut own } else { &mut other };
                    if side.is_none_or(|best| mark > best) {
                        *side = Some(mark);
                        (quote, said) =
                            if group.contains(&number) { (sentence, clause) } else { (quote, said) };
                    }
                }
            }
        }
        match own {
            Some(own)
                if own.is_plain() && !speaks_of_another(said) && other.is_none_or(|other| own > other) =>
            {
                Evidence::Told(quote.to_owned())
            }
            Some(_) => Evidence::Stands(quote.to_owned()),
            None => Evidence::Absent(format!("{number} does not stand in the text")),
        }
    }

    fn mark(&self, sentence: &str, clause: &str) -> Mark {
        let bearing = match self.bearing(clause) {
            // A word of the column elsewhere in the sentence counts, but less than one beside the number.
            0 => usize::from(self.bearing(sentence) > 0),
            many => 2 * many,
        };
        Mark { bearing, foreign: Reverse(self.foreign(clause)) }
    }

    fn of_words(&self, text: &str, said: &str) -> Evidence {
        if words(said).is_empty() {
            return Evidence::Absent("the answer is empty".to_owned());
        }
        let all = sentences(text);
        let bearing = |sentence: &str| {
            clauses(sentence).into_iter().map(|clause| self.bearing(clause)).max().unwrap_or(0)
        };
        let most = all.iter().map(|sentence| bearing(sentence)).max().unwrap_or(0);
        let with: Vec<&str> = all.iter().copied().filter(|sentence| holds(sentence, said)).collect();
        let Some(best) = with.iter().copied().rev().max_by_key(|sentence| bearing(sentence)) else {
            // A name of several words stands in the text as it is, or it was made up of words from anywhere.
            let is_made_up = self.is_name() && words(said).len() > 2;
            return match mostly_in(text, said) && !is_made_up {
                true => Evidence::Stands(String::new()),
                false => Evidence::Absent(format!("\"{said}\" does not stand in the text")),
            };
        };
        // A heading names what the text is about and says no more.
        let is_heading = all.first().is_some_and(|first| *first == best);
        match (bearing(best) > 0 && bearing(best) == most) || (is_heading && most == 0) {
            true => Evidence::Told(best.to_owned()),
            false => Evidence::Stands(best.to_owned()),
        }
    }
}

/// Whether a sentence has a phrase, word for word or with its numbers written otherwise: "18 years" for "eighteen years".
fn holds(sentence: &str, phrase: &str) -> bool {
    let numbers = numbers_in(sentence);
    let has = words(sentence);
    let is_there = |word: &String| match word.parse::<Decimal>() {
        Ok(number) => numbers.contains(&number),
        Err(_) => has.contains(word),
    };
    stands_in(sentence, phrase) || (!numbers_in(phrase).is_empty() && words(phrase).iter().all(is_there))
}

/// Whether a clause has a word that often goes with another time or somebody else. Then a second reading is asked for.
fn speaks_of_another(clause: &str) -> bool {
    const MARKS: [&str; 22] = [
        "last",
        "previous",
        "previously",
        "former",
        "formerly",
        "old",
        "earlier",
        "before",
        "ago",
        "until",
        "used",
        "once",
        "originally",
        "planned",
        "expected",
        "estimated",
        "target",
        "instead",
        "not",
        "competitor",
        "competitors",
        "rival",
    ];
    words(clause).iter().any(|word| MARKS.contains(&word.as_str()))
}

/// How clearly a clause speaks of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    /// Twice the number of the column's words in the clause, or 1 if they are elsewhere in the sentence.
    bearing: usize,
    foreign: Reverse<usize>,
}

impl Mark {
    /// Whether the clause says little else than the column.
    fn is_plain(self) -> bool {
        self.bearing > 0 && self.foreign.0 <= self.bearing / 2 + 2
    }
}

/// The clauses of a sentence, cut after commas and semicolons and before "and" and "but".
fn clauses(sentence: &str) -> Vec<&str> {
    const CUTS: [&str; 5] = [", ", "; ", " and ", " but ", " | "];
    let mut pieces = vec![sentence];
    for cut in CUTS {
        pieces = pieces.into_iter().flat_map(|piece| piece.split(cut)).collect();
    }
    pieces
}

#[cfg(test)]
mod tests;
