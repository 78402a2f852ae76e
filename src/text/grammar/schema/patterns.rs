//! Counts the patterns that one string would have to match at once, so that `cost` can refuse a schema with too many.
//! llguidance follows all of them together. With more than about ten, one step takes minutes and gigabytes, which none
//! of its limits catches.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const PATTERNS_MAX: usize = 8;
/// The most schema parts that are visited, including those reached by references.
const VISITS_MAX: u32 = 50_000;
/// The longest chain of references that is followed.
const REFERENCES_MAX: usize = 6;

/// The patterns that a string must match, by its place in the value, e.g. `/name/*`.
type Patterns<'a> = BTreeMap<String, BTreeSet<&'a str>>;

/// Whether some string would have to match too many patterns, or there are too many combinations to count.
pub(super) fn too_many(root: &Value) -> bool {
    let mut all = BTreeSet::new();
    collect(root, &mut all);
    if all.len() <= PATTERNS_MAX {
        return false;
    }
    let mut counter = Counter { root, visits: 0 };
    let patterns = counter.of(root, 0);
    counter.visits > VISITS_MAX || patterns.values().any(|patterns| patterns.len() > PATTERNS_MAX)
}

fn texts(node: &Value) -> impl Iterator<Item = &str> {
    ["pattern", "format"].iter().filter_map(|key| node.get(key)?.as_str())
}

fn collect<'a>(value: &'a Value, all: &mut BTreeSet<&'a str>) {
    all.extend(texts(value));
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, all)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, all)),
        _ => {}
    }
}

struct Counter<'a> {
    root: &'a Value,
    visits: u32,
}

impl<'a> Counter<'a> {
    fn of(&mut self, node: &'a Value, references: usize) -> Patterns<'a> {
        self.visits += 1;
        let mut out = Patterns::new();
        let Value::Object(fields) = node else { return out };
        if self.visits > VISITS_MAX {
            return out;
        }
        out.entry(String::new()).or_default().extend(texts(node));
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("properties", Value::Object(named)) => {
                    named.iter().for_each(|(name, child)| self.add_below(&mut out, name, child, references));
                }
                ("patternProperties", Value::Object(named)) => {
                    named.values().for_each(|child| self.add_below(&mut out, "~", child, references));
                }
                ("additionalProperties", child) => self.add_below(&mut out, "~", child, references),
                ("items" | "prefixItems", Value::Array(items)) => {
                    items.iter().for_each(|child| self.add_below(&mut out, "*", child, references));
                }
                ("items", child) => self.add_below(&mut out, "*", child, references),
                ("allOf", Value::Array(branches)) => {
                    for branch in branches {
                        let patterns = self.of(branch, references);
                        add(&mut out, "", patterns);
                    }
                }
                ("anyOf" | "oneOf", Value::Array(branches)) => {
                    self.add_largest(&mut out, branches, references)
                }
                ("$ref", Value::String(reference)) if references < REFERENCES_MAX => {
                    let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
                    if let Some(target) = target {
                        let patterns = self.of(target, references + 1);
                        add(&mut out, "", patterns);
                    }
                }
                _ => {}
            }
        }
        out
    }

    fn add_below(&mut self, out: &mut Patterns<'a>, name: &str, child: &'a Value, references: usize) {
        let patterns = self.of(child, references);
        add(out, &format!("/{name}"), patterns);
    }

    /// A value matches one of the branches, so the largest set counts.
    fn add_largest(&mut self, out: &mut Patterns<'a>, branches: &'a [Value], references: usize) {
        let mut largest = Patterns::new();
        for branch in branches {
            for (place, patterns) in self.of(branch, references) {
                let known = largest.entry(place).or_default();
                if patterns.len() > known.len() {
                    *known = patterns;
                }
            }
        }
        add(out, "", largest);
    }
}

fn add<'a>(out: &mut Patterns<'a>, below: &str, patterns: Patterns<'a>) {
    for (place, patterns) in patterns {
        if !patterns.is_empty() {
            out.entry(format!("{below}{place}")).or_default().extend(patterns);
        }
    }
}
