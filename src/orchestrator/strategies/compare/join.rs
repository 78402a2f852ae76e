//! Finds the statements of different documents that may contradict each other: those that speak of the same thing, as
//! far as words and kinds of values tell, and have different values.

use std::collections::{HashMap, HashSet};

use super::statement::{Statement, Words, is_telling, share_occasion};
use super::value::{Relation, Unit, Value, relation};

/// Two statements speak of the same thing if so much of what one of them says about its value stands in the other.
const COVERAGE_SURE: f32 = 0.5;
/// With less than this, they are not compared.
const COVERAGE_MIN: f32 = 0.25;
/// Nearness from which equal small numbers are one fact.
const NEAR_SAME: f32 = 0.6;

/// Something that documents give different values for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    /// Indexes of statements, by their value: those of one list agree with each other.
    pub sides: Vec<Vec<usize>>,
    /// The two nearest statements with different values.
    pub pair: (usize, usize),
    /// Whether their words show that they speak of the same thing. If not, the planner decides.
    pub is_sure: bool,
}

/// What a comparison of all statements gives.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// The likeliest contradictions, likeliest first.
    pub facts: Vec<Fact>,
    /// How many statements have the same value in another document.
    pub agreeing: usize,
    /// Statements whose value stands in one document only, beside one of another document of which the same is true. They
    /// may contradict each other in words that no rule joins.
    pub alone: Vec<usize>,
}

/// Two statements with different values.
#[derive(Debug, Clone, Copy)]
struct Pair {
    a: usize,
    b: usize,
    is_sure: bool,
    nearness: f32,
}

impl Pair {
    fn rank(&self) -> (bool, f32) {
        (self.is_sure, self.nearness)
    }
}

pub(super) fn joined(statements: &[Statement]) -> Joined {
    let words = Words::of(statements);
    let mut same: HashSet<(usize, usize)> = HashSet::new();
    let mut different = Vec::new();
    for a in 0..statements.len() {
        for b in a + 1..statements.len() {
            if statements[a].input == statements[b].input {
                continue;
            }
            match relation(&statements[a].value, &statements[b].value) {
                Relation::Same if agrees(statements, &words, a, b) => same.extend([(a, b), (b, a)]),
                Relation::Differ => different.push((a, b)),
                _ => {}
            }
        }
    }
    let kinds = Kinds::of(statements, &same);
    let mut differing: Vec<Pair> =
        different.into_iter().filter_map(|both| pair(statements, &words, &kinds, both)).collect();
    // A statement that has its like in a document contradicts nothing in it.
    let settled: HashSet<(usize, usize)> = same.iter().map(|(a, b)| (*a, statements[*b].input)).collect();
    let is_settled = |one: usize, other: usize| settled.contains(&(one, statements[other].input));
    differing.retain(|pair: &Pair| !is_settled(pair.a, pair.b) && !is_settled(pair.b, pair.a));
    let mut likely = nearest(statements, &differing);
    likely.sort_by(|a, b| b.rank().partial_cmp(&a.rank()).unwrap_or(std::cmp::Ordering::Equal));
    let agreeing: HashSet<usize> = same.iter().map(|(a, _)| *a).collect();
    let facts = facts(statements, &likely, &same);
    let alone = alone(statements, &facts);
    Joined { facts, agreeing: agreeing.len(), alone }
}

/// The statements of [`Joined::alone`].
fn alone(statements: &[Statement], facts: &[Fact]) -> Vec<usize> {
    let in_fact = |one: &usize| facts.iter().any(|fact| fact.sides.iter().any(|side| side.contains(one)));
    let has_like = |one: &usize| {
        let one = &statements[*one];
        let others = statements.iter().filter(|other| other.input != one.input);
        others.into_iter().any(|other| relation(&one.value, &other.value) == Relation::Same)
    };
    // Numbers of things are too many, and are mostly of different things.
    let tells = |one: &usize| is_telling(&statements[*one].value);
    let single: Vec<usize> =
        (0..statements.len()).filter(|one| tells(one) && !in_fact(one) && !has_like(one)).collect();
    let meets = |one: &usize| {
        let one = &statements[*one];
        let others = single.iter().map(|other| &statements[*other]).filter(|other| other.input != one.input);
        others.into_iter().any(|other| relation(&one.value, &other.value) == Relation::Differ)
    };
    single.iter().copied().filter(meets).collect()
}

/// Whether two statements with the same value are about the same thing.
fn agrees(statements: &[Statement], words: &Words, a: usize, b: usize) -> bool {
    match &statements[a].value {
        // The same person may have several parts in a text.
        Value::Name(_) => words.share_label(a, b) || words.coverage(a, b) >= COVERAGE_SURE,
        value => is_telling(value) || words.share_label(a, b) || words.nearness(a, b) >= NEAR_SAME,
    }
}

/// Two statements with different values, if they may speak of the same thing.
fn pair(statements: &[Statement], words: &Words, kinds: &Kinds, (a, b): (usize, usize)) -> Option<Pair> {
    let coverage = words.coverage(a, b);
    let (one, other) = (&statements[a], &statements[b]);
    // Whoever counts guests does not count rooms.
    let counts = |one: &Statement| matches!(one.value, Value::Number { unit: Unit::Count, .. });
    let needs_name = (counts(one) && counts(other)) || matches!(one.value, Value::Name(_));
    let is_near = match needs_name {
        true => coverage >= COVERAGE_SURE && words.share_label(a, b),
        false => coverage >= COVERAGE_SURE,
    };
    let is_sure = (is_near || words.has_label_of(a, b)) && share_occasion(one, other);
    let may_be = coverage >= COVERAGE_MIN || (kinds.is_alone(one) && kinds.is_alone(other));
    may_be.then(|| Pair { a, b, is_sure, nearness: words.nearness(a, b) })
}

/// How many statements of a kind each text has, without those that another text agrees with.
struct Kinds(HashMap<(usize, String), usize>);

impl Kinds {
    fn of(statements: &[Statement], same: &HashSet<(usize, usize)>) -> Self {
        let mut counts = HashMap::new();
        let agreed: HashSet<usize> = same.iter().map(|(one, _)| *one).collect();
        let open = statements.iter().enumerate().filter(|(index, _)| !agreed.contains(index));
        for (_, statement) in open {
            *counts.entry((statement.input, Self::kind(&statement.value))).or_insert(0) += 1;
        }
        Self(counts)
    }

    fn kind(value: &Value) -> String {
        match value {
            Value::Number { unit, .. } => format!("{unit:?}"),
            Value::Date(days) if days.iter().all(|day| day.1 == 0) => "year".to_owned(),
            Value::Date(_) => "day".to_owned(),
            Value::Time(_) => "time".to_owned(),
            Value::Code(_) => "code".to_owned(),
            Value::Address(_) => "address".to_owned(),
            Value::Name(_) => "name".to_owned(),
        }
    }

    /// Whether the text has one statement only of this kind, if the kind is one that tells.
    fn is_alone(&self, one: &Statement) -> bool {
        let count = self.0.get(&(one.input, Self::kind(&one.value)));
        is_telling(&one.value) && !matches!(one.value, Value::Name(_)) && count == Some(&1)
    }
}

/// The pairs whose statements are the nearest of their documents for each other.
fn nearest(statements: &[Statement], differing: &[Pair]) -> Vec<Pair> {
    let mut best: HashMap<(usize, usize), (bool, f32)> = HashMap::new();
    let ends = |pair: &Pair| [(pair.a, statements[pair.b].input), (pair.b, statements[pair.a].input)];
    for pair in differing {
        for end in ends(pair) {
            let known = best.entry(end).or_insert(pair.rank());
            if pair.rank() > *known {
                *known = pair.rank();
            }
        }
    }
    let is_best =
        |pair: &&Pair| ends(pair).iter().all(|end| best.get(end).is_none_or(|best| *best <= pair.rank()));
    differing.iter().filter(is_best).copied().collect()
}

/// The pairs as facts: statements that agree with one of a pair stand on its side, and pairs with a statement in common
/// are about one fact.
fn facts(statements: &[Statement], likely: &[Pair], same: &HashSet<(usize, usize)>) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    let is_same = |one: usize, other: usize| {
        relation(&statements[one].value, &statements[other].value) == Relation::Same
    };
    // A statement with those that agree with it, and not with the other value.
    let side = |one: usize, other: usize| {
        let agree = |at: &usize| *at == one || (same.contains(&(one, *at)) && !is_same(*at, other));
        (0..statements.len()).filter(agree).collect::<Vec<usize>>()
    };
    for pair in likely {
        let has = |fact: &Fact, one: usize| fact.sides.iter().any(|side| side.contains(&one));
        let known = facts.iter_mut().find(|fact| has(fact, pair.a) || has(fact, pair.b));
        let Some(fact) = known else {
            let sides = vec![side(pair.a, pair.b), side(pair.b, pair.a)];
            facts.push(Fact { sides, pair: (pair.a, pair.b), is_sure: pair.is_sure });
            continue;
        };
        let missing = [pair.a, pair.b].into_iter().filter(|one| !has(fact, *one)).collect::<Vec<_>>();
        for one in missing {
            match fact.sides.iter_mut().find(|side| side.iter().any(|other| is_same(*other, one))) {
                Some(side) => side.push(one),
                // What is less sure adds no third value.
                None if pair.is_sure || !fact.is_sure => fact.sides.push(vec![one]),
                None => {}
            }
        }
    }
    facts
}

#[cfg(test)]
mod tests;
