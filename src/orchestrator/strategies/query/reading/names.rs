//! The columns and tables that a goal names.

use super::words::{Word, is_glue, is_typo, stem};
use crate::attached::{Attached, ColumnAt};

/// Words of the goal that name a column or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The first word and the one behind the last.
    pub from: usize,
    pub to: usize,
    /// The columns that it fits best; several if it fits them equally.
    pub columns: Vec<ColumnAt>,
    pub table: Option<usize>,
}

/// Words of a column's name that say how its values are written, not what they are.
const MARKS: &[&str] = &["id", "no", "nr", "num", "number", "code", "key", "ref", "in", "of", "the", "per"];
/// Short forms and units in the names of columns, each before the words that people use for it or for what it measures.
const SHORT_FORMS: &[(&str, &[&str])] = &[
    ("eur", &["euro", "euros", "eur"]),
    ("usd", &["dollar", "dollars", "usd"]),
    ("gbp", &["pound", "pounds", "gbp"]),
    ("kg", &["kilo", "kilos", "kilogram", "kilograms", "kg", "weight", "mass"]),
    ("t", &["tonne", "tonnes", "ton", "tons", "weight"]),
    ("km", &["kilometre", "kilometres", "kilometer", "kilometers", "km", "distance"]),
    ("m", &["metre", "metres", "meter", "meters"]),
    ("l", &["litre", "litres", "liter", "liters", "volume"]),
    ("h", &["hour", "hours", "duration"]),
    ("hrs", &["hour", "hours", "duration"]),
    ("min", &["minute", "minutes", "min", "mins", "duration"]),
    ("mins", &["minute", "minutes", "min", "mins", "duration"]),
    ("kwh", &["kwh"]),
    ("qty", &["quantity", "qty"]),
    ("amt", &["amount"]),
    ("dept", &["department", "dept"]),
    ("cust", &["customer"]),
    ("emp", &["employee"]),
    ("temp", &["temperature", "temp"]),
];

/// A column's name as the words that people use for it.
struct Known {
    at: ColumnAt,
    stems: Vec<String>,
    units: Vec<String>,
    is_key: bool,
}

impl Known {
    fn of(attached: &Attached, at: ColumnAt) -> Self {
        let column = attached.column(at);
        let parts = parts(&column.title);
        let is_key = parts
            .last()
            .is_some_and(|last| ["id", "no", "nr", "key", "code", "ref"].contains(&last.as_str()));
        let short =
            |part: &String| SHORT_FORMS.iter().find(|(short, _)| short == part).map(|(_, long)| *long);
        // The unit behind "per" is that of something else.
        let own = parts.iter().take_while(|part| *part != "per");
        let mut units: Vec<String> = own
            .chain([&column.unit.to_lowercase()])
            .filter_map(short)
            .flatten()
            .map(|word| stem(word))
            .collect();
        units.dedup();
        let mut stems: Vec<String> = parts
            .iter()
            .filter(|part| short(part).is_none() && !MARKS.contains(&part.as_str()))
            .map(|part| stem(part))
            .collect();
        if stems.is_empty() {
            stems = parts.iter().filter(|part| short(part).is_none()).map(|part| stem(part)).collect();
        }
        Self { at, stems, units, is_key }
    }

    /// How well words of the goal from `at` on name it, and how many words they are.
    fn fit(&self, words: &[Word], at: usize) -> Option<(u32, usize)> {
        let is = |word: Option<&Word>, own: &String| {
            word.is_some_and(|word| {
                stem(&word.text) == *own || (!is_glue(&word.text) && is_typo(&stem(&word.text), own))
            })
        };
        let all = self.stems.iter().enumerate().all(|(number, own)| is(words.get(at + number), own));
        if all && !self.stems.is_empty() {
            let worth = if self.is_key { 60 } else { 100 };
            return Some((worth + 10 * self.stems.len() as u32, self.stems.len()));
        }
        if self.units.iter().any(|own| words.get(at).is_some_and(|word| stem(&word.text) == *own)) {
            return Some((80, 1));
        }
        let last = self.stems.last().filter(|last| self.stems.len() > 1 && is(words.get(at), last));
        if last.is_some() && !self.is_key {
            return Some((50, 1));
        }
        let any = self.stems.len() > 1 && !self.is_key && self.stems.iter().any(|own| is(words.get(at), own));
        any.then_some((20, 1))
    }
}

/// The words of a name such as `orderDate`, `order_date` or `Order date`.
fn parts(title: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut was_lower = false;
    for c in title.chars() {
        if c.is_uppercase() && was_lower {
            spaced.push(' ');
        }
        was_lower = c.is_lowercase();
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
    }
    spaced.split_whitespace().map(str::to_lowercase).collect()
}

/// The word for the rows of a table: "orders" for `orders_2025`.
pub(in super::super) fn row_word(name: &str) -> String {
    let parts: Vec<String> =
        parts(name).into_iter().filter(|part| part.chars().all(char::is_alphabetic)).collect();
    let telling = parts.iter().rev().find(|part| {
        ![
            "list", "data", "table", "export", "file", "log", "all", "new", "final", "copy", "draft",
            "latest", "current", "full", "complete", "my", "old", "version",
        ]
        .contains(&part.as_str())
    });
    telling.or(parts.last()).cloned().unwrap_or_default()
}

/// Every name, word by word, with the best of what it may mean.
pub(super) fn names(words: &[Word], claimed: &[bool], attached: &Attached) -> Vec<Name> {
    let columns: Vec<Known> = attached
        .tables
        .iter()
        .enumerate()
        .flat_map(|(table, of)| (0..of.columns.len()).map(move |column| (table, column)))
        .map(|at| Known::of(attached, at))
        .collect();
    let tables: Vec<String> = attached.tables.iter().map(|table| row_word(&table.name)).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match (!claimed[at]).then(|| name(words, at, &columns, &tables)).flatten() {
            Some(name) => {
                at = name.to;
                found.push(name);
            }
            None => at += 1,
        }
    }
    found
}

fn name(words: &[Word], at: usize, columns: &[Known], tables: &[String]) -> Option<Name> {
    let word = &words[at];
    let own = stem(&word.text);
    let is_misspelt =
        |row: &str| !is_glue(&word.text) && (is_typo(&word.text, row) || is_typo(&own, &stem(row)));
    let is_row = |row: &String| !row.is_empty() && (stem(row) == own || is_misspelt(row));
    let table = tables.iter().position(is_row);
    let fits: Vec<(u32, usize, ColumnAt)> = columns
        .iter()
        .filter_map(|column| column.fit(words, at).map(|(worth, length)| (worth, length, column.at)))
        .collect();
    let best = fits.iter().map(|(worth, ..)| *worth).max().unwrap_or(0);
    // A word such as "total" or "order" is rather a part of speech than a part of a column's name.
    let least = if is_glue(&word.text) { 100 } else { 20 };
    // The rows of a table rather than its key, or than a column that only has the word in its name.
    let is_table = table.is_some() && best < 100;
    if is_table {
        return Some(Name { from: at, to: at + 1, columns: Vec::new(), table });
    }
    if best < least {
        return table.map(|table| Name { from: at, to: at + 1, columns: Vec::new(), table: Some(table) });
    }
    let of_best = || fits.iter().filter(|(worth, ..)| *worth == best);
    let length = of_best().map(|(_, length, _)| *length).max()?;
    let columns = of_best().map(|(.., at)| *at).collect();
    Some(Name { from: at, to: at + length, columns, table })
}
