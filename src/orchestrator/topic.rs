//! Checks that what a planner wrote is about the goal, and not copied from the worked examples in its prompt. Words are
//! compared by their beginnings, so that other forms of a word match. Text in another language than the goal cannot be
//! compared and is not judged.

use std::collections::HashSet;

use super::checks::words;

/// Words that say nothing about a text's topic: English ones, and the most frequent of German, French and Spanish.
const EMPTY: &[&str] = &[
    "a",
    "about",
    "according",
    "all",
    "also",
    "am",
    "among",
    "amount",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "been",
    "both",
    "but",
    "by",
    "can",
    "count",
    "did",
    "do",
    "does",
    "each",
    "every",
    "figure",
    "find",
    "for",
    "from",
    "get",
    "give",
    "had",
    "has",
    "have",
    "he",
    "her",
    "here",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "just",
    "list",
    "many",
    "me",
    "mention",
    "much",
    "my",
    "name",
    "no",
    "not",
    "number",
    "of",
    "on",
    "one",
    "or",
    "our",
    "out",
    "please",
    "say",
    "she",
    "so",
    "some",
    "tell",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "to",
    "up",
    "us",
    "value",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "you",
    "your", //
    "das",
    "dem",
    "den",
    "der",
    "des",
    "die",
    "ein",
    "eine",
    "einer",
    "ist",
    "im",
    "jede",
    "jeder",
    "jedes",
    "mit",
    "und",
    "von",
    "welche",
    "welcher",
    "welches",
    "wie",
    "zu",
    "anzahl",
    "zahl",
    "name", //
    "au",
    "aux",
    "chaque",
    "combien",
    "dans",
    "de",
    "du",
    "est",
    "et",
    "la",
    "le",
    "les",
    "nombre",
    "nom",
    "par",
    "pour",
    "quel",
    "quelle",
    "quels",
    "qui",
    "sur",
    "un",
    "une", //
    "cada",
    "con",
    "cual",
    "cuantos",
    "del",
    "el",
    "en",
    "los",
    "las",
    "numero",
    "nombre",
    "que",
    "una",
    "y",
];

/// Words that occur in nearly every English sentence and are rare in other languages.
const ENGLISH: &[&str] = &[
    "the", "of", "which", "how", "what", "who", "whose", "where", "when", "each", "every", "and", "are",
    "were", "does", "did", "have", "give", "tell", "find", "their", "this", "these", "those", "with", "from",
];

/// Words of a goal and the fields they imply: "how old" asks for an age.
const MEANT: &[(&[&str], &[&str])] = &[
    (&["old", "older", "oldest", "young", "younger", "youngest"], &["age", "years", "birth", "born", "date"]),
    (
        &["long", "longer", "longest", "short", "shorter", "shortest"],
        &["length", "duration", "time", "distance", "period"],
    ),
    (&["far", "farther", "farthest", "furthest", "near", "nearest", "close", "closest"], &["distance"]),
    (
        &["tall", "taller", "tallest", "high", "higher", "highest", "low", "lowest"],
        &["height", "level", "elevation"],
    ),
    (&["heavy", "heaviest", "heavier", "light", "lightest", "weigh", "weighs"], &["weight", "mass"]),
    (
        &["much", "cheap", "cheapest", "expensive", "pay", "paid", "cost", "costs", "dearest"],
        &["price", "cost", "amount", "total", "fee", "sum"],
    ),
    (&["hot", "hottest", "cold", "coldest", "warm", "warmest"], &["temperature", "degrees"]),
    (&["fast", "fastest", "quick", "quickest", "slow", "slowest"], &["speed", "time", "duration"]),
    (&["when", "latest", "earliest", "newest", "first", "last"], &["date", "day", "year", "time", "month"]),
    (&["where", "live", "lives"], &["place", "location", "town", "city", "address", "country", "room"]),
    (&["who", "whose", "whom"], &["person", "people", "author", "owner"]),
    (
        &["big", "bigger", "biggest", "large", "largest", "small", "smallest", "size"],
        &["size", "area", "population"],
    ),
    (&["earn", "earns", "earned"], &["salary", "wage", "income", "revenue"]),
    (&["people", "persons"], &["person", "people", "population", "inhabitants"]),
];

/// A word without accents.
fn without_accents(word: &str) -> String {
    let bare = |c: char| match c {
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' => 'o',
        'ù'..='ü' => 'u',
        other => other,
    };
    word.chars().map(bare).collect()
}

/// Whether a character belongs to a script without spaces between words.
#[must_use]
pub(crate) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// The words that say what a text is about, in order. Scripts without spaces give pairs of characters.
#[must_use]
pub(crate) fn content_words(text: &str) -> Vec<String> {
    let mut told = Vec::new();
    for word in words(text) {
        if word.contains(is_unspaced) {
            let chars: Vec<char> = word.chars().collect();
            told.extend(chars.windows(2.min(chars.len())).map(|pair| pair.iter().collect::<String>()));
        } else {
            let word = without_accents(&word);
            if word.chars().count() > 1 && !EMPTY.contains(&word.as_str()) {
                told.push(word);
            }
        }
    }
    told
}

/// Whether two words are forms of the same word, such as "employs" and "employees" or "Haus" and "Häuser".
#[must_use]
pub(crate) fn is_same_word(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (a, b) = (without_accents(a), without_accents(b));
    let (short, long) = if a.chars().count() <= b.chars().count() { (&a, &b) } else { (&b, &a) };
    let (short_len, long_len) = (short.chars().count(), long.chars().count());
    let shared = short.chars().zip(long.chars()).take_while(|(a, b)| a == b).count();
    let plural = short.strip_suffix('y').is_some_and(|stem| *long == format!("{stem}ies"));
    (short_len >= 3 && shared == short_len && long_len <= short_len + 2)
        || (shared >= 4 && shared * 4 >= short_len * 3)
        // A compound: "Gesamtpreis" is a "Preis".
        || (short_len >= 5 && long.contains(short.as_str()))
        || plural
}

/// Whether one word is the other with a typing mistake: letters left out, added, changed or swapped, one in a word of
/// five letters and two in a long one. The first letter is seldom wrong.
#[must_use]
pub(crate) fn is_typo(first: &str, second: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (first.chars().collect(), second.chars().collect());
    let shortest = one.len().min(other.len());
    let allowed = match shortest {
        0..4 => return false,
        // Of a short word, two letters may be swapped.
        4 if one.len() == other.len() && is_swapped(&one, &other) => 1,
        4 => return false,
        5..9 => 1,
        _ => 2,
    };
    let has_digit = one.iter().chain(&other).any(char::is_ascii_digit);
    !has_digit
        && one[0] == other[0]
        && one.len().abs_diff(other.len()) <= allowed
        && strsim::osa_distance(first, second) <= allowed
}

fn is_swapped(one: &[char], other: &[char]) -> bool {
    let differ: Vec<usize> = (0..one.len()).filter(|at| one[*at] != other[*at]).collect();
    let [first, second] = differ[..] else { return false };
    second == first + 1 && one[first] == other[second] && one[second] == other[first]
}

/// Whether a word of `a` and a word of `b` are forms of the same word.
#[must_use]
pub(crate) fn share_a_word(a: &[String], b: &[String]) -> bool {
    a.iter().any(|one| b.iter().any(|other| is_same_word(one, other)))
}

/// The words that say what a goal is about, and the fields that it implies.
#[must_use]
pub(crate) fn goal_words(goal: &str) -> Vec<String> {
    let mut said = content_words(goal);
    let goal_words = words(goal);
    let meant = MEANT.iter().filter(|(cues, _)| goal_words.iter().any(|word| cues.contains(&word.as_str())));
    said.extend(meant.flat_map(|(_, meant)| meant.iter().map(|word| (*word).to_owned())));
    said
}

/// Whether a text contains any word that is typical of English.
#[must_use]
pub(crate) fn is_english(text: &str) -> bool {
    words(text).iter().any(|word| ENGLISH.contains(&word.as_str()))
}

/// What a plan for a goal may be about.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Words of the goal and of the inputs' names, and the fields that the goal implies.
    said: Vec<String>,
    english: bool,
    /// Words of the worked examples that occur neither in the goal nor in an input.
    examples_own: Vec<&'static str>,
}

/// Why something a planner wrote does not seem to be about the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It has words that only the worked examples have.
    Example,
    /// It shares no word with the goal.
    Nobody,
    /// It shares no word with the goal, but one of the two is not English, so it may be a translation.
    Unjudged,
}

impl Topic {
    /// `inputs` are names and texts that came with the goal. `example` has the words that are typical of the worked
    /// examples in the planner's prompt.
    #[must_use]
    pub(crate) fn new<'a>(
        goal: &str,
        inputs: impl Iterator<Item = (&'a str, &'a str)>,
        example: &[&'static str],
    ) -> Self {
        let mut said = goal_words(goal);
        let mut texts: HashSet<String> = HashSet::new();
        for (name, text) in inputs {
            said.extend(content_words(name));
            texts.extend(words(text));
        }
        let is_in_texts = |word: &str| {
            let singular = word.strip_suffix('s').unwrap_or(word);
            texts.contains(word) || texts.contains(singular) || texts.contains(&format!("{word}s"))
        };
        let is_known = |word: &str| is_in_texts(word) || said.iter().any(|other| is_same_word(word, other));
        let examples_own = example.iter().copied().filter(|word| !is_known(word)).collect();
        Self { said, english: is_english(goal), examples_own }
    }

    /// Why `written` does not seem to be about the goal; `None` if it does or if there is nothing to compare.
    #[must_use]
    pub(crate) fn foreign(&self, written: &str) -> Option<Foreign> {
        let told = content_words(written);
        // "ship" and "ships" count as an example's word, "shipping" does not.
        let is_one = |word: &str, other: &str| {
            word == other || word.strip_suffix('s') == Some(other) || other.strip_suffix('s') == Some(word)
        };
        if told.iter().any(|word| self.examples_own.iter().any(|other| is_one(word, other))) {
            return Some(Foreign::Example);
        }
        if told.is_empty() || self.said.is_empty() || share_a_word(&told, &self.said) {
            return None;
        }
        Some(if self.english && written.is_ascii() { Foreign::Nobody } else { Foreign::Unjudged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_are_the_same_and_other_words_are_not() {
        for (a, b) in [
            ("employs", "employees"),
            ("built", "builder"),
            ("cost", "costs"),
            ("city", "cities"),
            ("warranty", "warranties"),
            ("age", "aged"),
            ("haus", "häuser"),
            ("preis", "gesamtpreis"),
            ("garantie", "garantiedauer"),
            ("weigh", "weight"),
        ] {
            assert!(is_same_word(a, b) && is_same_word(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("price", "prize"),
            ("station", "status"),
            ("contract", "contact"),
            ("sailors", "museum"),
            ("people", "person"),
            ("ship", "shop"),
            ("tower", "town"),
            ("height", "highest"),
        ] {
            assert!(!is_same_word(a, b) && !is_same_word(b, a), "{a} {b}");
        }
    }

    #[test]
    fn words_of_a_worked_example_are_told_from_those_of_the_goal() {
        let check = |goal: &str, inputs: &[(&str, &str)], written: &str, expected: Option<Foreign>| {
            let topic = Topic::new(goal, inputs.iter().copied(), &["sailors", "ship"]);
            assert_eq!(topic.foreign(written), expected, "{goal}: {written}");
        };
        let sailors = "number of sailors on the ship";
        check("How many people does each museum employ?", &[], sailors, Some(Foreign::Example));
        check(
            "How many people does each museum employ?",
            &[],
            "number of sailors in the museum",
            Some(Foreign::Example),
        );
        check("How many people does each museum employ?", &[], "fee of the lawyer", Some(Foreign::Nobody));
        check("How many people does each museum employ?", &[], "number of employees", None);
        check("How many sailors had every ship?", &[], sailors, None);
        check("How many had each?", &[("ships.md", "The ship had nine sailors.")], sailors, None);
        // A word that only begins like an example's word is another word, in an input and in what was written.
        check(
            "How many had each?",
            &[("a.md", "Shipping took nine days.")],
            "number of ships",
            Some(Foreign::Example),
        );
        check("How heavy was each parcel?", &[], "shipping weight of the parcel", None);
        check("How heavy was each parcel?", &[], "weight of the ships", Some(Foreign::Example));
        // A German goal may get an English slot about ships if an input mentions ships.
        check(
            "Wie viele Matrosen hatten sie?",
            &[("a.md", "The ship had nine sailors.")],
            sailors,
            Some(Foreign::Unjudged),
        );
        check("Wie viele Leute waren es?", &[("a.md", "Nine people.")], sailors, Some(Foreign::Example));
        check("每个博物馆有多少员工？", &[], "博物馆的员工人数", None);
        check("Add them.", &[], "fee of the lawyer", Some(Foreign::Unjudged));
    }
}
