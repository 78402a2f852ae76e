//! Which language a text is in. A short text is judged between two languages only, which needs few words.

use whatlang::{Detector, Info, Lang};

use crate::checks::{sentences, words};

/// A text of fewer letters may be a name or a number, which are the same in all languages.
const LETTERS_MIN: usize = 12;
/// Fewer letters are not enough to tell a language among all.
const LETTERS_SURE: usize = 80;
/// Letters of a sentence that is judged by itself.
const SENTENCE_LETTERS: usize = 40;

/// Languages that can hardly be told apart.
const KIN: &[&[Lang]] = &[
    &[Lang::Dan, Lang::Nob],
    &[Lang::Ces, Lang::Slk],
    &[Lang::Nld, Lang::Afr],
    &[Lang::Hrv, Lang::Srp, Lang::Slv],
    &[Lang::Spa, Lang::Cat],
];

/// Names that people use where the detector has others.
const OTHER_NAMES: &[(&str, Lang)] = &[
    ("Chinese", Lang::Cmn),
    ("Norwegian", Lang::Nob),
    ("Slovenian", Lang::Slv),
    ("Slovenia", Lang::Slv),
    ("Farsi", Lang::Pes),
];

/// English names of the languages that can be told apart.
pub(in super::super) fn names() -> Vec<&'static str> {
    let own = Lang::all().iter().map(|lang| lang.eng_name());
    let own = own.filter(|name| !matches!(*name, "Mandarin" | "Bokmal" | "Slovene"));
    let mut names: Vec<&str> = own.chain(["Chinese", "Norwegian", "Slovenian"]).collect();
    names.sort_unstable();
    names
}

pub(in super::super) fn named(name: &str) -> Option<Lang> {
    let is_it = |other: &str| other.eq_ignore_ascii_case(name.trim());
    let other = OTHER_NAMES.iter().find(|(other, _)| is_it(other)).map(|(_, lang)| *lang);
    other.or_else(|| Lang::all().iter().copied().find(|lang| is_it(lang.eng_name())))
}

/// The languages that a goal names in English.
pub(in super::super) fn named_in(goal: &str) -> Vec<&'static str> {
    let said = words(goal);
    names().into_iter().filter(|name| said.contains(&name.to_lowercase())).collect()
}

/// The language of a text that is long enough to tell.
pub(super) fn of(text: &str) -> Option<Lang> {
    (letters(text) >= LETTERS_SURE).then(|| whatlang::detect(text)).flatten().as_ref().map(Info::lang)
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphabetic()).count()
}

fn are_kin(a: Lang, b: Lang) -> bool {
    a == b || KIN.iter().any(|kin| kin.contains(&a) && kin.contains(&b))
}

/// Why a result is not in the wanted language; `None` if it is, or if it is too short to tell.
pub(super) fn misses(wanted: Lang, source: &str, result: &str) -> Option<String> {
    let why = || format!("it is not in {}", wanted.eng_name());
    // One character of Chinese or Japanese says more than a letter.
    let is_short = letters(result) < LETTERS_MIN && result.len() < 2 * LETTERS_MIN;
    let from = whatlang::detect(source).as_ref().map(Info::lang);
    let other = from.filter(|from| *from != wanted);
    if is_short {
        return None;
    }
    let between = |text: &str| {
        let two: Vec<Lang> = std::iter::once(wanted).chain(other).collect();
        Detector::with_allowlist(two).detect_lang(text) == Some(wanted)
    };
    if other.is_some() && !between(result) {
        return Some(why());
    }
    let is_other = |info: &Info| info.is_reliable() && !are_kin(info.lang(), wanted);
    if letters(result) >= LETTERS_SURE && whatlang::detect(result).is_some_and(|info| is_other(&info)) {
        return Some(why());
    }
    let left = sentences(result).into_iter().filter(|sentence| letters(sentence) >= SENTENCE_LETTERS);
    let left = left.filter(|sentence| other.is_some() && !between(sentence));
    (left.count() > 0).then(|| format!("a part of it is not in {}", wanted.eng_name()))
}
