//! Limits of a result: what the goal says of them, and how much of them a result has.

use serde::{Deserialize, Serialize};

use crate::checks::{sentences, words};

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Words,
    Sentences,
    Points,
    Characters,
    /// Words of the longest point.
    PointWords,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Sentences => "sentences",
            Self::Points => "points",
            Self::Characters => "characters",
            Self::PointWords => "words in each point",
        }
    }
}

/// How much of something one result may have; or must have, where it is a minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limit {
    pub most: u32,
    pub of: Unit,
}

impl Limit {
    /// The limit in words, such as "1 sentence".
    pub(super) fn told(self) -> String {
        let unit = self.of.name();
        let unit = match unit.strip_suffix('s') {
            Some(one) if self.most == 1 => one,
            _ => unit,
        };
        format!("{} {unit}", self.most)
    }
}

/// Beginnings of the words for what is counted, in English, German, French, Spanish, Italian and Portuguese.
const UNITS: &[(Unit, &[&str])] = &[
    (Unit::Words, &["word", "wort", "wört", "mots", "mot", "palabra", "parola", "parole", "palavra"]),
    (Unit::Sentences, &["sentence", "satz", "sätz", "phrase", "oracion", "oración", "frase", "frasi"]),
    (Unit::Points, &["bullet", "point", "stichpunkt", "punkt", "puce", "punto", "puntos", "viñeta"]),
    (Unit::Characters, &["character", "letters", "zeichen", "caractère", "caracter"]),
];

/// Number words from one to twelve, and the round numbers that limits have.
const NUMBERS: &[(u32, &str)] = &[
    (1, "one single a an ein eine einem einen einer un une una uno um uma"),
    (2, "two zwei deux dos due dois duas"),
    (3, "three drei trois tres tre três"),
    (4, "four vier quatre cuatro quattro quatro"),
    (5, "five fünf cinq cinco cinque"),
    (6, "six sechs seis sei"),
    (7, "seven sieben sept siete sette sete"),
    (8, "eight acht huit ocho otto oito"),
    (9, "nine neun neuf nueve nove"),
    (10, "ten zehn dix diez dieci dez"),
    (11, "eleven elf onze once undici"),
    (12, "twelve zwölf douze doce dodici doze"),
    (15, "fifteen fünfzehn quinze quince quindici"),
    (20, "twenty zwanzig vingt veinte venti vinte"),
    (25, "twenty-five"),
    (30, "thirty dreißig trente treinta trenta trinta"),
    (40, "forty vierzig quarante cuarenta quaranta quarenta"),
    (50, "fifty fünfzig cinquante cincuenta cinquanta cinquenta"),
    (60, "sixty sechzig soixante sesenta sessanta sessenta"),
    (70, "seventy siebzig"),
    (75, "seventy-five"),
    (80, "eighty achtzig ochenta ottanta oitenta"),
    (90, "ninety neunzig noventa novanta"),
    (100, "hundred hundert cent cien cento cem"),
];

/// Words before a number that make it the least or the present length, and no limit.
const NO_LIMIT: &[&str] = &["least", "minimum", "mindestens", "moins", "menos", "almeno", "over", "original"];
/// Words that may stand between a number and what it counts.
const BETWEEN_MAX: usize = 1;

/// The value of a number word, if it is one of the few that are known.
pub(super) fn number_word(word: &str) -> Option<u32> {
    NUMBERS.iter().find(|(_, names)| names.split(' ').any(|name| name == word)).map(|(value, _)| *value)
}

/// The number that a word says, in digits or in letters.
pub(super) fn value(word: &str) -> Option<u32> {
    word.parse().ok().or_else(|| number_word(word))
}

/// What a word counts, if it is the name of a unit.
pub(super) fn unit_named(word: &str) -> Option<Unit> {
    let begins = |names: &[&str]| names.iter().any(|name| word.starts_with(name));
    UNITS.iter().find(|(_, names)| begins(names)).map(|(unit, _)| *unit)
}

/// The numbers that a goal names.
pub(super) fn numbers(goal: &str) -> Vec<u32> {
    words(goal).iter().filter_map(|word| value(word)).collect()
}

/// The limit that a goal names, such as "in two sentences"; the smallest if there are several.
pub(super) fn named_in(goal: &str) -> Option<Limit> {
    let said = words(goal);
    let mut found: Vec<Limit> = Vec::new();
    for (at, word) in said.iter().enumerate() {
        let Some(of) = unit_named(word) else { continue };
        let before = &said[at.saturating_sub(BETWEEN_MAX + 1)..at];
        let Some(place) = before.iter().rposition(|word| value(word).is_some()) else { continue };
        let start = at - before.len() + place;
        let is_least =
            said[start.saturating_sub(2)..start].iter().any(|word| NO_LIMIT.contains(&word.as_str()));
        if let Some(most) = value(&said[start]).filter(|most| *most > 0 && !is_least) {
            found.push(Limit { most, of });
        }
    }
    // "a word" and "a point" are no limits, "a sentence" is one.
    found.retain(|limit| limit.most > 1 || limit.of == Unit::Sentences);
    found.into_iter().min_by_key(|limit| limit.most)
}

/// What is written with an apostrophe or a hyphen is one word.
fn words_of(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

/// How much of what a limit counts a result has.
pub(super) fn count(limit: Limit, result: &str) -> usize {
    match limit.of {
        Unit::Words => words_of(result),
        Unit::PointWords => result.lines().map(words_of).max().unwrap_or_default(),
        Unit::Sentences => sentences(result).len(),
        Unit::Points => result.lines().filter(|line| !line.trim().is_empty()).count(),
        Unit::Characters => result.chars().count(),
    }
}
