//! Finds out what a goal wants ordered: "the longest warranty" orders warranties, whatever else was looked up. English
//! is read word by word. In other languages, only the topic of each clause is compared.

#[cfg(test)]
mod tests;

use bandmaster_tools::calculator::Aggregate;

use crate::plan::AnswerIs;
use crate::topic::{content_words, goal_words, is_english, is_same_word, is_unspaced, share_a_word};

/// Words for the largest or smallest of something, and the fields that they mean if the goal names none.
struct Superlative {
    words: &'static [&'static str],
    aggregate: Aggregate,
    /// The first one stands for all of them in messages and slots. Empty if any field can be ordered by these words.
    fields: &'static [&'static str],
    /// Fields with the opposite order: the fastest takes the least time.
    inverse: &'static [&'static str],
}

const LENGTHS: &[&str] = &[
    "length",
    "duration",
    "time",
    "period",
    "term",
    "distance",
    "long",
    "lasts",
    "span",
    "years",
    "months",
    "weeks",
    "days",
    "hours",
    "minutes",
    "seconds",
    "kilometres",
    "kilometers",
    "miles",
    "metres",
    "meters",
    "pages",
    "words",
];
const HEIGHTS: &[&str] =
    &["height", "elevation", "altitude", "tall", "level", "metres", "meters", "feet", "storeys"];
const PRICES: &[&str] = &[
    "price", "cost", "fee", "rate", "rent", "amount", "charge", "fare", "sum", "total", "euros", "dollars",
    "pounds", "money", "premium", "bill",
];
const WEIGHTS: &[&str] =
    &["weight", "mass", "heavy", "load", "kilograms", "grams", "tonnes", "tons", "pounds"];
const HEATS: &[&str] = &["temperature", "degrees", "heat", "celsius", "fahrenheit"];
const AGES: &[&str] = &["age", "old"];
const SPEEDS: &[&str] = &["speed", "pace", "velocity", "rate"];
const TIMES: &[&str] = &["time", "duration", "minutes", "seconds", "hours", "days"];
const DISTANCES: &[&str] = &["distance", "kilometres", "kilometers", "miles", "metres", "meters", "minutes"];
const BIRTHS: &[&str] = &[
    "date",
    "year",
    "day",
    "born",
    "birth",
    "built",
    "construction",
    "founded",
    "founding",
    "foundation",
    "opened",
    "opening",
    "established",
    "deadline",
    "time",
    "month",
    "start",
    "end",
    "completion",
];

const MOST: Aggregate = Aggregate::Most;
const LEAST: Aggregate = Aggregate::Least;

const fn of(
    words: &'static [&'static str],
    aggregate: Aggregate,
    fields: &'static [&'static str],
    inverse: &'static [&'static str],
) -> Superlative {
    Superlative { words, aggregate, fields, inverse }
}

const SUPERLATIVES: &[Superlative] = &[
    of(&["most", "highest", "largest", "biggest", "greatest", "maximum"], MOST, &[], &[]),
    of(&["least", "fewest", "lowest", "smallest", "minimum"], LEAST, &[], &[]),
    of(&["longest"], MOST, LENGTHS, &[]),
    of(&["shortest"], LEAST, LENGTHS, HEIGHTS),
    of(&["tallest"], MOST, HEIGHTS, &[]),
    of(&["heaviest"], MOST, WEIGHTS, &[]),
    of(&["lightest"], LEAST, WEIGHTS, &[]),
    of(&["cheapest"], LEAST, PRICES, &[]),
    of(&["dearest", "priciest", "costliest"], MOST, PRICES, &[]),
    of(&["hottest", "warmest"], MOST, HEATS, &[]),
    of(&["coldest", "coolest"], LEAST, HEATS, &[]),
    of(&["oldest"], MOST, AGES, BIRTHS),
    of(&["youngest"], LEAST, AGES, BIRTHS),
    of(&["latest", "newest"], MOST, BIRTHS, AGES),
    of(&["earliest"], LEAST, BIRTHS, AGES),
    of(&["fastest", "quickest"], MOST, SPEEDS, TIMES),
    of(&["slowest"], LEAST, SPEEDS, TIMES),
    of(&["nearest", "closest"], LEAST, DISTANCES, &[]),
    of(&["farthest", "furthest"], MOST, DISTANCES, &[]),
];

/// Words that end the nouns after a superlative.
const ENDS: &[&str] = &[
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "has",
    "have",
    "had",
    "do",
    "does",
    "did",
    "will",
    "would",
    "can",
    "could",
    "should",
    "may",
    "might",
    "must",
    "in",
    "on",
    "at",
    "by",
    "for",
    "from",
    "to",
    "with",
    "within",
    "per",
    "than",
    "as",
    "and",
    "or",
    "that",
    "which",
    "who",
    "whom",
    "whose",
    "what",
    "when",
    "where",
    "how",
    "why",
    "it",
    "its",
    "they",
    "their",
    "them",
    "he",
    "she",
    "we",
    "our",
    "you",
    "your",
    "i",
    "my",
    "this",
    "these",
    "those",
    "the",
    "a",
    "an",
    "overall",
    "altogether",
    "together",
    "among",
    "between",
    "so",
    "if",
    "please",
    "according",
    "because",
    "while",
    "not",
    "of",
    "all",
    "each",
    "every",
    "here",
    "there",
];

/// A largest or smallest that a goal asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    aggregate: Aggregate,
    /// The nouns after the superlative, such as "notice period".
    nouns: Vec<String>,
    /// Words before the superlative that it may describe, as in "the warranty lasts longest".
    said_of: Vec<String>,
    /// Index in `SUPERLATIVES`.
    kind: usize,
    /// Whether numbers of things are ordered, as in "the most people".
    counts: bool,
}

/// How an order relates to the field that was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Relation {
    /// The goal orders by this field.
    Applies(Aggregate),
    /// The words of the goal don't say.
    Unknown,
    /// The goal orders by another field, named here.
    Other(String),
}

/// A field as a planner writes it. In "price of the offer" the price is the field and the offer is its owner.
#[derive(Debug)]
pub(super) struct Field<'a> {
    own: Vec<String>,
    owner: Vec<String>,
    /// The text from the owner on: " of the offer".
    pub rest: &'a str,
}

impl<'a> Field<'a> {
    pub(super) fn of(find: &'a str) -> Self {
        if let Some((owner, own)) = find.rsplit_once(['的', 'の']) {
            return Self { own: content_words(own), owner: content_words(owner), rest: "" };
        }
        // As in "number of sailors on the ship", "price of each offer", "Preis des Angebots", "prix de l'offre".
        const OWNERS: [&str; 18] = [
            " of the ",
            " on the ",
            " in the ",
            " at the ",
            " by the ",
            " for the ",
            " of each ",
            " of this ",
            " of that ",
            " of a ",
            " des ",
            " der ",
            " du ",
            " de la ",
            " de l'",
            " del ",
            " per ",
            " from the ",
        ];
        // In "number of the visitors", "number" alone would be no field.
        let tells = |at: &usize| !content_words(&find[..*at]).is_empty();
        let marks = OWNERS.iter().flat_map(|mark| find.match_indices(mark)).map(|(at, _)| at);
        let at = marks.filter(tells).min().unwrap_or(find.len());
        Self { own: content_words(&find[..at]), owner: content_words(&find[at..]), rest: &find[at..] }
    }

    /// Whether the goal mentions the field.
    pub(super) fn is_in(&self, goal: &str) -> bool {
        share_a_word(&self.own, &goal_words(goal))
    }

    /// Whether the goal mentions the owner.
    pub(super) fn owner_is_in(&self, goal: &str) -> bool {
        share_a_word(&self.owner, &goal_words(goal))
    }

    /// Whether the field or its owner is one of these nouns. True if there are none.
    pub(super) fn meets(&self, nouns: &[String]) -> bool {
        let nouns: Vec<String> = nouns.iter().flat_map(|noun| content_words(noun)).collect();
        nouns.is_empty() || share_a_word(&nouns, &self.own) || share_a_word(&nouns, &self.owner)
    }
}

/// A word of a goal with its context.
#[derive(Debug)]
pub(super) struct Mention {
    /// The word or mark before it; empty if it is the first.
    pub before: String,
    pub nouns: Vec<String>,
}

/// Every place in a goal where one of `cues` occurs.
pub(super) fn mentions(goal: &str, cues: &[&str]) -> Vec<Mention> {
    let tokens = tokens(goal);
    let found = tokens.iter().enumerate().filter(|(_, word)| cues.contains(&word.as_str()));
    found
        .map(|(at, _)| Mention {
            before: if at > 0 { tokens[at - 1].clone() } else { String::new() },
            nouns: nouns_after(&tokens[at + 1..]),
        })
        .collect()
}

/// Whether a word is a superlative that orders things.
pub(super) fn is_order_word(word: &str) -> bool {
    SUPERLATIVES.iter().any(|one| one.words.contains(&word))
}

/// The words of a goal in lower case, and the punctuation marks between them, each of which ends a clause.
fn tokens(goal: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    for c in goal.to_lowercase().chars() {
        if c.is_alphanumeric() || matches!(c, '-' | '\'' | '’') {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if matches!(c, ',' | '.' | ';' | ':' | '?' | '!' | '(' | ')' | '\n') {
            tokens.push(c.to_string());
        }
    }
    tokens.extend(Some(word).filter(|word| !word.is_empty()));
    tokens
}

/// The orders that an English goal asks for.
pub(super) fn orders(goal: &str) -> Vec<Order> {
    let tokens = tokens(goal);
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    let mut found = Vec::new();
    for (index, word) in tokens.iter().enumerate() {
        let before = if index > 0 { at(index - 1) } else { "" };
        // "at least 24 months", "in most cases", "most of them" order nothing; "the minimum wage" is a wage.
        let quantifier = matches!(word.as_str(), "most" | "least")
            && (matches!(before, "at" | "in" | "for" | "almost" | "not") || at(index + 1) == "of");
        if quantifier {
            continue;
        }
        let (name, skip) = match (word.as_str(), at(index + 1)) {
            ("most", "expensive" | "costly") => ("dearest", 2),
            ("least", "expensive" | "costly") => ("cheapest", 2),
            ("most", "recent") => ("latest", 2),
            (word, _) => (word, 1),
        };
        let Some(kind) = SUPERLATIVES.iter().position(|one| one.words.contains(&name)) else { continue };
        let nouns = nouns_after(&tokens[(index + skip).min(tokens.len())..]);
        if matches!(name, "maximum" | "minimum") && !nouns.is_empty() {
            continue;
        }
        let counts = matches!(name, "most" | "least" | "fewest");
        let said_of = words_before(&tokens[..index]);
        found.push(Order { aggregate: SUPERLATIVES[kind].aggregate, nouns, said_of, kind, counts });
    }
    found
}

/// Up to three words before a superlative that say what its clause is about.
fn words_before(tokens: &[String]) -> Vec<String> {
    const BEGINS: [&str; 9] = ["and", "or", "which", "who", "whose", "what", "that", "say", "tell"];
    let clause = tokens
        .iter()
        .rev()
        .take_while(|word| word.chars().any(char::is_alphanumeric) && !BEGINS.contains(&word.as_str()));
    clause.flat_map(|word| content_words(word)).take(3).collect()
}

/// Up to three words after a superlative that may be its nouns. "number of visitors" gives "visitors".
fn nouns_after(tokens: &[String]) -> Vec<String> {
    const GENERIC: [&str; 9] =
        ["number", "amount", "share", "quantity", "level", "sum", "total", "count", "figure"];
    let mut nouns: Vec<String> = Vec::new();
    let mut tokens = tokens.iter().peekable();
    while let Some(word) = tokens.next() {
        if GENERIC.contains(&word.as_str()) && tokens.peek().is_some_and(|next| *next == "of") {
            tokens.next();
            continue;
        }
        let ends = ENDS.contains(&word.as_str()) || !word.chars().any(char::is_alphanumeric);
        if ends || nouns.len() == 3 {
            break;
        }
        nouns.push(word.clone());
    }
    nouns
}

impl Order {
    pub(super) fn relation(&self, field: &Field<'_>, answer_is: AnswerIs) -> Relation {
        let kind = &SUPERLATIVES[self.kind];
        let named =
            |names: &[&str]| field.own.iter().any(|word| names.iter().any(|name| is_same_word(word, name)));
        let nouns: Vec<String> = self.nouns.iter().flat_map(|noun| content_words(noun)).collect();
        let of_owner = nouns.is_empty() || share_a_word(&nouns, &field.owner);
        let of_field = share_a_word(&nouns, &field.own);
        let other = match self.aggregate {
            Aggregate::Most => Aggregate::Least,
            _ => Aggregate::Most,
        };
        if answer_is == AnswerIs::Date {
            // "Longest" orders no dates, and "oldest" means the earliest.
            return match (kind.fields == BIRTHS, kind.inverse == BIRTHS, kind.fields.first()) {
                (true, _, _) => Relation::Applies(self.aggregate),
                (_, true, _) => Relation::Applies(other),
                (_, _, name) => Relation::Other(name.copied().unwrap_or("size").to_owned()),
            };
        }
        if named(kind.inverse) && (of_field || of_owner) && !(of_owner && named(kind.fields)) {
            return Relation::Applies(other);
        }
        if of_field || (of_owner && named(kind.fields)) {
            return Relation::Applies(self.aggregate);
        }
        if !of_owner {
            let noun = self.nouns.join(" ");
            return Relation::Other(if self.counts { format!("number of {noun}") } else { noun });
        }
        match kind.fields.first() {
            // "Whose warranty is the longest?" orders warranties. But "cheapest" always means a price,
            // whatever comes before it.
            Some(_)
                if kind.fields == LENGTHS && nouns.is_empty() && share_a_word(&self.said_of, &field.own) =>
            {
                Relation::Applies(self.aggregate)
            }
            // "Which is the largest?"
            None if nouns.is_empty() => Relation::Applies(self.aggregate),
            None => Relation::Unknown,
            Some(name) => Relation::Other((*name).to_owned()),
        }
    }

    pub(super) fn aggregate(&self) -> Aggregate {
        self.aggregate
    }
}

/// English words for the most frequent fields, with the German, French, Spanish and Italian ones.
const TRANSLATED: &[(&[&str], &[&str])] = &[
    (
        &["price", "cost", "fee", "rent"],
        &[
            "preis", "kosten", "kostet", "miete", "prix", "coute", "cout", "loyer", "precio", "cuesta",
            "prezzo", "costa",
        ],
    ),
    (&["warranty", "guarantee"], &["garantie", "garantia", "garanzia"]),
    (
        &["people", "employees", "staff", "headcount"],
        &[
            "leute",
            "mitarbeiter",
            "personen",
            "angestellte",
            "beschaftigt",
            "personnes",
            "employes",
            "salaries",
            "personas",
            "empleados",
            "persone",
        ],
    ),
    (&["visitors"], &["besucher", "visiteurs", "visitantes", "visitatori"]),
    (&["inhabitants", "population"], &["einwohner", "habitants", "habitantes", "abitanti"]),
    (&["age"], &["alter", "alt", "alteste", "jungste", "agee", "vieux", "vieille", "edad", "viejo"]),
    (&["height"], &["hohe", "hoch", "hochste", "hauteur", "haut", "haute", "altura", "alto"]),
    (
        &["length", "duration"],
        &["lange", "dauer", "duree", "longueur", "longue", "long", "duracion", "largo", "larga"],
    ),
    (&["weight"], &["gewicht", "schwer", "schwerste", "poids", "lourd", "peso"]),
];

/// Whether inputs may be ordered by this field for a goal that is not English: every clause with a superlative must be
/// about the field, as far as that can be known. If `find` is English, it is known only for the most frequent fields.
/// Always true for an English goal.
pub(super) fn may_order(goal: &str, find: &str, field: &Field<'_>) -> bool {
    if is_english(goal) {
        return true;
    }
    let mut own = field.own.clone();
    let translated = TRANSLATED
        .iter()
        .filter(|(english, _)| english.iter().any(|word| own.iter().any(|o| is_same_word(o, word))));
    let known: Vec<String> =
        translated.flat_map(|(_, words)| words.iter().map(|word| (*word).to_owned())).collect();
    let english = is_english(find) && find.is_ascii();
    if english && (known.is_empty() || goal.contains(is_unspaced)) {
        return true;
    }
    own.extend(known);
    let lower = goal.to_lowercase();
    let clause_end =
        |c: char| matches!(c, ',' | '.' | ';' | ':' | '?' | '!' | '\n' | '，' | '。' | '、' | '？' | '；');
    let joined = lower.replace(" und ", ",").replace(" et ", ",").replace(" y ", ",");
    let clauses = joined.split(clause_end).filter(|clause| has_superlative(clause));
    clauses.map(content_words).all(|clause| {
        let speaks = share_a_word(&own, &clause);
        // "Welches ist am größten?" names no other field either.
        speaks
            || clause
                .iter()
                .filter(|word| !is_superlative(word))
                .all(|word| field.owner.iter().any(|own| is_same_word(own, word)))
    })
}

fn has_superlative(clause: &str) -> bool {
    clause.contains('最')
        || clause
            .split_whitespace()
            .any(|word| is_superlative(word.trim_matches(|c: char| !c.is_alphanumeric())))
}

/// Words such as "längste" and "größten", and "plus", "moins", "más", "menos", "più".
fn is_superlative(word: &str) -> bool {
    const MARKS: [&str; 14] = [
        "plus",
        "moins",
        "más",
        "mas",
        "menos",
        "più",
        "piu",
        "meno",
        "mais",
        "meiste",
        "meisten",
        "wenigsten",
        "meeste",
        "minste",
    ];
    let ending = ["ste", "sten", "ster", "stes", "stem"].iter().any(|end| word.ends_with(end));
    MARKS.contains(&word) || (ending && word.chars().count() >= 7)
}
