//! A statement of a text, and how near two of them are in what they speak of.

use std::collections::HashMap;
use std::ops::Range;

use super::value::{Unit, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::strategies) struct Statement {
    /// Index of the input.
    pub input: usize,
    /// Where the value stands in the input's text.
    pub bytes: Range<usize>,
    /// The words around it that are quoted.
    pub quote: Range<usize>,
    pub value: Value,
    /// What the value is called: the key of its line, what a number counts, what a model calls it.
    pub label: Vec<String>,
    /// The other words of its clause.
    pub clause: Vec<String>,
    /// Words of its sentence and of the headings above.
    pub around: Vec<String>,
    /// Words and years of its clause that put it at another time than now, such as "last" and "2024".
    pub occasion: Vec<String>,
    /// Years that the headings above it name.
    pub period: Vec<String>,
}

/// Letters of a word that are compared, so that "participants" and "participation" are the same.
const STEM_CHARS: usize = 5;

/// The beginning of a word by which its other forms are recognised.
pub(super) fn stem(word: &str) -> String {
    let word = word.strip_suffix('s').filter(|bare| bare.chars().count() > 2).unwrap_or(word);
    let word = word.strip_suffix("ie").map_or(word.to_owned(), |bare| format!("{bare}y"));
    word.chars().take(STEM_CHARS).collect()
}

/// The words of a statement as numbers, without repetition, by how closely they belong to the value.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    label: Vec<usize>,
    clause: Vec<usize>,
    around: Vec<usize>,
}

/// How telling the words of some statements are: a word that most of them share says little.
pub(super) struct Words {
    pub(super) terms: Vec<Terms>,
    weights: Vec<f32>,
}

impl Words {
    pub(super) fn of(statements: &[Statement]) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut number = |words: &[String], without: &[&[usize]]| -> Vec<usize> {
            let mut found: Vec<usize> = Vec::new();
            for word in words {
                let next = numbers.len();
                let number = *numbers.entry(stem(word)).or_insert(next);
                if !found.contains(&number) && !without.iter().any(|other| other.contains(&number)) {
                    found.push(number);
                }
            }
            found
        };
        let mut terms = Vec::with_capacity(statements.len());
        for statement in statements {
            let label = number(&statement.label, &[]);
            let clause = number(&statement.clause, &[&label]);
            let around = number(&statement.around, &[&label, &clause]);
            terms.push(Terms { label, clause, around });
        }
        let mut uses = vec![0_usize; numbers.len()];
        for term in terms.iter().flat_map(|terms| [&terms.label, &terms.clause].into_iter().flatten()) {
            uses[*term] += 1;
        }
        let all = statements.len() as f32;
        let weights = uses.iter().map(|uses| (1.0 + all / (*uses).max(1) as f32).ln()).collect();
        Self { terms, weights }
    }

    /// The weight of the words that two statements share. Words that name the value count most.
    pub(super) fn nearness(&self, a: usize, b: usize) -> f32 {
        let (a, b) = (&self.terms[a], &self.terms[b]);
        let shared = |one: &[usize], other: &[usize]| -> f32 {
            one.iter().filter(|term| other.contains(term)).map(|term| self.weights[*term]).sum()
        };
        3.0 * shared(&a.label, &b.label)
            + 2.0 * (shared(&a.label, &b.clause) + shared(&a.clause, &b.label))
            + shared(&a.clause, &b.clause)
            + 0.5 * (shared(&a.label, &b.around) + shared(&a.around, &b.label))
            + 0.25 * (shared(&a.clause, &b.around) + shared(&a.around, &b.clause))
    }

    /// How much of what one of two statements says about its value the other says as well: 1 if `warranty` stands in
    /// both and one of them says nothing else.
    pub(super) fn coverage(&self, a: usize, b: usize) -> f32 {
        let part = |one: &Terms, other: &Terms| {
            let weight = |term: &usize| self.weights[*term];
            let own: f32 =
                2.0 * one.label.iter().map(weight).sum::<f32>() + one.clause.iter().map(weight).sum::<f32>();
            let has = |term: &&usize| {
                [&other.label, &other.clause, &other.around].iter().any(|terms| terms.contains(term))
            };
            let close = |term: &&usize| other.label.contains(term) || other.clause.contains(term);
            let shared = 2.0 * one.label.iter().filter(has).map(weight).sum::<f32>()
                + one.clause.iter().filter(close).map(weight).sum::<f32>();
            if own > 0.0 { shared / own } else { 0.0 }
        };
        let (a, b) = (&self.terms[a], &self.terms[b]);
        part(a, b).max(part(b, a))
    }

    /// Whether both statements call their values by the same word.
    pub(super) fn share_label(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.terms[a].label, &self.terms[b].label);
        a.iter().any(|term| b.contains(term))
    }

    /// Whether one of two statements calls its value by the same words as the other, which may use more.
    pub(super) fn has_label_of(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.terms[a].label, &self.terms[b].label);
        let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
        !short.is_empty() && short.iter().all(|term| long.contains(term))
    }
}

/// Whether two statements speak of the same time, as far as they name one.
pub(super) fn share_occasion(a: &Statement, b: &Statement) -> bool {
    let periods_meet = a.period.iter().any(|year| b.period.contains(year));
    a.occasion == b.occasion && (a.period.is_empty() || b.period.is_empty() || periods_meet)
}

/// Whether a value by itself says that two statements are about one thing: two texts rarely have the same date or code
/// by chance, but often the same small number.
pub(super) fn is_telling(value: &Value) -> bool {
    match value {
        Value::Number { unit, .. } => !matches!(unit, Unit::Count | Unit::Open),
        Value::Date(_) | Value::Time(_) | Value::Code(_) | Value::Address(_) | Value::Name(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for (a, b) in [
            ("participants", "participation"),
            ("warranty", "warranties"),
            ("fees", "fee"),
            ("conductor", "conducts"),
            ("backups", "backup"),
        ] {
            assert_eq!(stem(a), stem(b), "{a} {b}");
        }
        for (a, b) in [("rooms", "guests"), ("price", "prize"), ("gas", "gate")] {
            assert_ne!(stem(a), stem(b), "{a} {b}");
        }
    }
}
