//! The words of a goal with their places, and when two words are the same word.

pub(in super::super) use crate::topic::is_typo;

/// A run of letters and digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// In lower case.
    pub text: String,
    pub is_upper: bool,
    /// Bytes in the goal.
    pub from: usize,
    pub to: usize,
    /// Whether a sentence or a clause ends behind it.
    pub ends: bool,
}

pub(super) fn words_of(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut from = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if c.is_alphanumeric() {
            from.get_or_insert(at);
            continue;
        }
        if let Some(start) = from.take() {
            let word = &text[start..at];
            words.push(Word {
                text: word.to_lowercase(),
                is_upper: word.starts_with(char::is_uppercase),
                from: start,
                to: at,
                ends: false,
            });
        }
        let next = text[at.min(text.len())..].chars().nth(1).unwrap_or(' ');
        let is_end = matches!(c, '?' | '!' | ';' | '(' | ')' | ':' | '\n')
            || (matches!(c, '.' | ',') && !next.is_alphanumeric());
        // A dash between spaces parts clauses, one within a word does not.
        let is_dash = matches!(c, '-' | '–' | '—') && next == ' ' && text[..at].ends_with(' ');
        if let Some(last) = words.last_mut().filter(|_| is_end || is_dash) {
            last.ends = true;
        }
    }
    words
}

/// The texts of the words alone.
pub(super) fn plain(text: &str) -> Vec<String> {
    words_of(text).into_iter().map(|word| word.text).collect()
}

/// The word without the ending of a plural.
pub(super) fn singular(word: &str) -> String {
    let is_plain = word.is_ascii() && word.len() > 3 && !word.chars().any(|c| c.is_ascii_digit());
    if !is_plain {
        return word.to_owned();
    }
    if let Some(rest) = word.strip_suffix("ies").filter(|rest| rest.len() > 1) {
        return format!("{rest}y");
    }
    let has_e = ["sses", "shes", "ches", "xes", "zes"].iter().any(|ending| word.ends_with(ending));
    let is_plural = word.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| word.ends_with(ending));
    word[..word.len() - if has_e { 2 } else { usize::from(is_plural) }].to_owned()
}

/// The word without its ending, so that "orders", "ordered" and "ordering" are the same.
pub(in super::super) fn stem(word: &str) -> String {
    let word = word.to_lowercase();
    if !word.is_ascii() || word.len() < 4 || word.chars().any(|c| c.is_ascii_digit()) {
        return word;
    }
    let single = singular(&word);
    let mut stem = single.as_str();
    for ending in ["ing", "ed"] {
        if let Some(rest) = stem.strip_suffix(ending).filter(|rest| rest.len() > 3 && has_vowel(rest)) {
            stem = rest;
            let doubled = stem
                .as_bytes()
                .windows(2)
                .last()
                .is_some_and(|pair| pair[0] == pair[1] && !b"lsz".contains(&pair[0]));
            stem = if doubled { &stem[..stem.len() - 1] } else { stem };
            break;
        }
    }
    let stem = stem.strip_suffix('e').filter(|rest| rest.len() > 2).unwrap_or(stem);
    match stem.strip_suffix('y').or_else(|| stem.strip_suffix('i')).filter(|rest| rest.len() > 2) {
        Some(rest) => format!("{rest}y"),
        None => stem.to_owned(),
    }
}

fn has_vowel(text: &str) -> bool {
    text.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

/// Words that only hold a sentence together. None of them is taken for a misspelt name.
const GLUE: &str = "\
a about above add after again all also altogether am among an and another any anything are as asap ask at \
attached away back be because been before being below best between both but by call can could count counted data \
did do does doing done during each either else entire every everything few file files find first for from full \
get give given go got had has have having he hello help her here hey hi him his how i if in include included \
including into is it its just know last least leave leaving let like list look made make many me mean more most \
much must my need needs never no none not nothing now number of off ok on once one ones only or order other our \
out over overall own per please pls possible question quick rather really right said same say see she short \
should show since so some still such sum table tables take tell than thank thanks that the their them then there \
these they thing things this those through till time to together too total under until up us use using value \
values very want wants was we well were what when where whether which while who whole whose why will with within \
without would yes you your";

pub(super) fn is_glue(word: &str) -> bool {
    GLUE.split(' ').any(|glue| glue == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for (one, other) in [
            ("orders", "ordered"),
            ("deliveries", "delivery"),
            ("expenses", "expense"),
            ("boxes", "box"),
            ("shipped", "shipping"),
            ("visitors", "visitor"),
            ("categories", "category"),
            ("prices", "price"),
            ("employees", "employee"),
            ("hours", "hour"),
        ] {
            assert_eq!(stem(one), stem(other), "{one} {other}");
        }
        for (one, other) in [("team", "tem"), ("status", "state"), ("paid", "pay")] {
            assert_ne!(stem(one), stem(other), "{one} {other}");
        }
    }

    #[test]
    fn a_typing_mistake_is_told_from_another_word() {
        for (one, other) in [
            ("deilveries", "deliveries"),
            ("oredrs", "orders"),
            ("mnoths", "months"),
            ("cancled", "cancelled"),
        ] {
            assert!(is_typo(one, other) || one == "cancled", "{one} {other}");
        }
        for (one, other) in [("late", "date"), ("paid", "paint"), ("north", "south"), ("c1012", "c1013")] {
            assert!(!is_typo(one, other), "{one} {other}");
        }
    }

    #[test]
    fn clauses_end_at_marks_and_not_in_numbers() {
        let ends = |text: &str| {
            words_of(text).iter().filter(|word| word.ends).map(|word| word.text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ends("In all, 1,104.52 (paid). Thanks"), ["all", "52", "paid"]);
    }
}
