//! The words of a goal that ask for something to be computed.

use super::words::{Word, is_typo};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    HowMany,
    HowMuch,
    Sum,
    Average,
    Median,
    /// The largest or smallest, with whether it is the largest and whether the word counts, as "most" and "fewest" do.
    Extreme {
        largest: bool,
        counts: bool,
    },
    Share,
    /// Words such as "different" or "distinct": equal values count once.
    Different,
    /// "which", "what", "who", "list" and the like: what stands behind it is asked for.
    Which,
    Who,
    When,
    /// "per", "by", "each": what stands behind it makes groups.
    By,
}

/// An operation with its first word and the word behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub op: Op,
    pub from: usize,
    pub to: usize,
}

const LARGEST: &[&str] = &[
    "highest",
    "largest",
    "biggest",
    "greatest",
    "maximum",
    "max",
    "top",
    "longest",
    "heaviest",
    "latest",
    "newest",
    "tallest",
    "strongest",
    "dearest",
    "priciest",
];
const SMALLEST: &[&str] =
    &["lowest", "smallest", "minimum", "min", "cheapest", "shortest", "lightest", "earliest", "oldest"];

/// The operations in the order of the words.
pub(super) fn operations(words: &[Word]) -> Vec<Said> {
    let mut said = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match operation(words, at) {
            Some((op, to)) => {
                said.push(Said { op, from: at, to });
                at = to;
            }
            None => at += 1,
        }
    }
    said
}

fn operation(words: &[Word], at: usize) -> Option<(Op, usize)> {
    let text = |at: usize| words.get(at).map_or("", |word| spelt(&word.text));
    let before = |back: usize| at.checked_sub(back).map_or("", |before| words[before].text.as_str());
    let begins = at == 0 || words[at - 1].ends || matches!(before(1), "please" | "pls" | "and" | "then");
    let one = |op: Op| Some((op, at + 1));
    let extreme = |largest: bool, counts: bool| one(Op::Extreme { largest, counts });
    match (text(at), text(at + 1)) {
        ("how", "many") | ("number", "of") | ("count", "of") => Some((Op::HowMany, at + 2)),
        ("how", "much") => Some((Op::HowMuch, at + 2)),
        ("how", "often") => Some((Op::HowMany, at + 2)),
        ("count", _) if begins || matches!(before(1), "me" | "to" | "you" | "a" | "the") => one(Op::HowMany),
        ("add" | "adds" | "added" | "adding", "up")
        | ("in", "total" | "all" | "sum")
        | ("all", "together")
        | ("sum", "of" | "up") => Some((Op::Sum, at + 2)),
        ("total" | "totals" | "sum" | "altogether" | "overall" | "combined" | "totalled", _) => one(Op::Sum),
        ("average" | "avg" | "mean" | "averaged", _)
            if !matches!(before(1), "you" | "i" | "to" | "this" | "that") || text(at) != "mean" =>
        {
            one(Op::Average)
        }
        ("median", _) => one(Op::Median),
        ("most" | "least", _) if before(1) == "at" => None,
        ("most", "recent") => Some((Op::Extreme { largest: true, counts: false }, at + 2)),
        ("most", _) => extreme(true, true),
        ("least" | "fewest", _) => extreme(false, true),
        (word, _) if LARGEST.contains(&word) => extreme(true, false),
        (word, _) if SMALLEST.contains(&word) && !text(at).is_empty() && !is_amount(words, at) => {
            extreme(false, false)
        }
        ("percent" | "percentage" | "share" | "proportion" | "fraction" | "pct", _) => one(Op::Share),
        ("different" | "distinct" | "unique", _) => one(Op::Different),
        ("which" | "list" | "show" | "name", _) if text(at) == "which" || begins => one(Op::Which),
        ("what", _) => one(Op::Which),
        ("who" | "whose" | "whom", _) => one(Op::Who),
        ("when", _) => one(Op::When),
        ("per" | "by" | "each" | "every", _) => one(Op::By),
        _ => None,
    }
}

/// The operation that a word is a typing mistake for, or else the word itself.
fn spelt(word: &str) -> &str {
    const LONG: &[&str] = &[
        "number",
        "average",
        "total",
        "percentage",
        "highest",
        "lowest",
        "largest",
        "smallest",
        "altogether",
        "which",
    ];
    LONG.iter().copied().find(|right| is_typo(word, right)).unwrap_or(word)
}

/// "min" and "max" after a number are units, or belong to a limit.
fn is_amount(words: &[Word], at: usize) -> bool {
    let is_number = |at: Option<usize>| {
        at.and_then(|at| words.get(at)).is_some_and(|word| word.text.parse::<f64>().is_ok())
    };
    let is_few = at > 0 && ["few", "couple"].contains(&words[at - 1].text.as_str());
    is_few || is_number(at.checked_sub(1)) || is_number(Some(at + 1))
}

/// A small number in words or digits.
pub(super) fn small_number(text: &str) -> Option<usize> {
    const NAMES: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let named = NAMES.iter().position(|name| *name == text);
    named.or_else(|| text.parse().ok().filter(|number| *number <= 1000))
}
