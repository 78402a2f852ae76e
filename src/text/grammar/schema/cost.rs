//! Refuses schemas whose grammars would take more time or memory than llguidance's own limits catch: a single step of
//! such a grammar may take seconds and gigabytes. Schemas that pass take some tenths of a second at most. Of those, it
//! tells the cheap ones, many of which may be compiled at the same time.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::numbers::{self, MULTIPLE_MAX};
use super::patterns;
use super::subschemas::subschemas;
use crate::grammar::GrammarError;

/// Optional properties of one object: each may be followed by every later one.
const OPTIONAL_MAX: usize = 400;
/// Values of one `enum`.
pub(super) const VALUES_MAX: usize = 10_000;
/// Properties of one object.
const PROPERTIES_MAX: usize = 600;
/// Different ranges of numbers: each is a pattern, and all are followed together.
const RANGES_MAX: usize = 128;
/// Remainders of all `multipleOf` of a schema together.
const REMAINDERS_MAX: u64 = 5000;
/// Parts after `allOf` and references have been expanded.
const PARTS_MAX: u64 = 10_000;
/// Values of an `enum` beside a pattern: each is matched against it.
const VALUES_BESIDE_PATTERN_MAX: usize = 300;
/// Parts of a schema that counts as cheap.
const CHEAP_PARTS: usize = 500;

/// Refuses a canonical schema that is too expensive.
///
/// # Errors
/// [`GrammarError::Schema`] says what there is too much of.
pub(super) fn check(root: &Value) -> Result<(), GrammarError> {
    let refused = |problem: String| Err(GrammarError::Schema(problem));
    let mut counts = Counts::default();
    count(root, &mut counts);
    if counts.optional > OPTIONAL_MAX {
        let optional = counts.optional;
        return refused(format!(
            "an object has {optional} optional properties, but at most {OPTIONAL_MAX} can be enforced"
        ));
    }
    if counts.properties > PROPERTIES_MAX {
        let listed = counts.properties;
        return refused(format!(
            "an object has {listed} properties, but at most {PROPERTIES_MAX} can be enforced"
        ));
    }
    if counts.enum_values > VALUES_MAX {
        return refused(too_many_values(counts.enum_values));
    }
    if counts.enum_values > VALUES_BESIDE_PATTERN_MAX
        && counts.patterns > 0
        && (counts.combines || counts.enum_with_pattern)
    {
        return refused(format!(
            "an `enum` has {} values together with a pattern, but at most {VALUES_BESIDE_PATTERN_MAX} can be enforced there",
            counts.enum_values
        ));
    }
    if counts.ranges.len() > RANGES_MAX {
        return refused(format!(
            "it has more than {RANGES_MAX} different ranges of numbers, but no more can be enforced"
        ));
    }
    let mut expansion = Expansion { root, known: HashMap::new() };
    let defs = root.get("$defs").and_then(Value::as_object);
    let starts = std::iter::once(root).chain(defs.into_iter().flat_map(serde_json::Map::values));
    if starts.map(|start| expansion.of(start, false).1).any(|parts| parts > PARTS_MAX) {
        return refused(format!(
            "`allOf`, `anyOf` and `$ref` combine more than {PARTS_MAX} parts: combine fewer"
        ));
    }
    // When parts are combined, a number may have to be a multiple of all of them at once.
    let product = counts.multiples.iter().fold(1u64, |product, &it| product.saturating_mul(it.into()));
    let at_once = if counts.combines { product } else { 0 };
    if counts.remainders > REMAINDERS_MAX || at_once > u64::from(MULTIPLE_MAX) {
        return refused(
            "its `multipleOf` keywords take too many states together: use fewer or smaller ones".into(),
        );
    }
    if patterns::too_many(root) {
        return refused("a text in it has to fit too many patterns at once".into());
    }
    Ok(())
}

pub(super) fn too_many_values(values: usize) -> String {
    format!("an `enum` has {values} values, but at most {VALUES_MAX} can be enforced")
}

/// Whether the grammar for `root` is certainly small.
pub(crate) fn is_cheap(root: &Value) -> bool {
    let mut counts = Counts::default();
    count(root, &mut counts);
    counts.parts <= CHEAP_PARTS && !counts.combines && counts.remainders <= 100 && counts.patterns <= 8
}

#[derive(Default)]
struct Counts {
    parts: usize,
    optional: usize,
    properties: usize,
    patterns: usize,
    /// The length of the longest `enum`.
    enum_values: usize,
    enum_with_pattern: bool,
    /// Ranges of numbers with different bounds, type or multiple.
    ranges: HashSet<String>,
    remainders: u64,
    /// Different `multipleOf`, each counted in its last decimal place.
    multiples: BTreeSet<u32>,
    combines: bool,
}

fn count(value: &Value, counts: &mut Counts) {
    let Value::Object(fields) = value else { return };
    let required = fields.get("required").and_then(Value::as_array).map_or(0, Vec::len);
    counts.parts += 1 + fields.len() + required;
    if let Some(Value::Object(listed)) = fields.get("properties") {
        counts.properties = counts.properties.max(listed.len());
        counts.optional = counts.optional.max(listed.len().saturating_sub(required));
    }
    counts.properties = counts.properties.max(required);
    let patterns =
        ["pattern", "format"].iter().filter(|key| fields.get(**key).is_some_and(Value::is_string)).count();
    let values = fields.get("enum").and_then(Value::as_array).map_or(0, Vec::len);
    let bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map(|key| fields.get(key));
    if bounds.iter().flatten().any(|bound| bound.is_number()) && counts.ranges.len() <= RANGES_MAX {
        counts.ranges.insert(format!("{bounds:?} {:?} {:?}", fields.get("type"), fields.get("multipleOf")));
    }
    counts.patterns += patterns;
    counts.enum_values = counts.enum_values.max(values);
    counts.enum_with_pattern |= values > VALUES_BESIDE_PATTERN_MAX && patterns > 0;
    counts.combines |= fields.contains_key("allOf") || (fields.contains_key("$ref") && fields.len() > 1);
    if let Some((digits, places)) =
        fields.get("multipleOf").and_then(Value::as_f64).and_then(numbers::decimal)
    {
        counts.remainders += u64::from(digits);
        counts.multiples.insert(digits.max(10u32.saturating_pow(places)));
    }
    subschemas(fields).for_each(|child| count(child, counts));
}

/// Counts the forms and parts that a schema has once `allOf` and references are expanded. A value takes one of the
/// forms; the parts are those of all forms together.
struct Expansion<'a> {
    root: &'a Value,
    /// Results by reference; `None` while a reference is being counted.
    known: HashMap<&'a str, Option<(u64, u64)>>,
}

impl<'a> Expansion<'a> {
    fn of(&mut self, value: &'a Value, inside: bool) -> (u64, u64) {
        let Value::Object(node) = value else { return (1, 1) };
        let combining =
            ["allOf", "anyOf", "oneOf", "$ref", "enum"].iter().filter(|key| node.contains_key(**key));
        let own = node.keys().any(|key| {
            !matches!(key.as_str(), "allOf" | "anyOf" | "oneOf" | "$ref" | "enum" | "$defs" | "x-guidance")
        });
        let several = node.get("allOf").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        let inside = inside || several || combining.count() + usize::from(own) > 1;
        let (mut forms, mut parts) = (1u64, 1u64);
        for (key, value) in node {
            match (key.as_str(), value) {
                ("properties" | "patternProperties", Value::Object(named)) => {
                    for child in named.values() {
                        parts = parts.saturating_add(self.of(child, inside).1);
                    }
                }
                // These are counted where they are referred to.
                ("$defs", Value::Object(_)) => {}
                ("items" | "additionalProperties", child) => {
                    parts = parts.saturating_add(self.of(child, inside).1)
                }
                ("prefixItems", Value::Array(items)) => {
                    for child in items {
                        parts = parts.saturating_add(self.of(child, inside).1);
                    }
                }
                ("enum", Value::Array(values)) => {
                    let count = values.len() as u64;
                    // An `enum` alone is one lexeme of the grammar, however many values it has.
                    (forms, parts) = combined((forms, parts), if inside { (count, count) } else { (1, 1) });
                }
                ("anyOf" | "oneOf", Value::Array(branches)) => {
                    let mut sum = (0u64, 0u64);
                    for branch in branches {
                        let (of_forms, of_parts) = self.of(branch, inside);
                        sum = (sum.0.saturating_add(of_forms), sum.1.saturating_add(of_parts));
                    }
                    (forms, parts) = combined((forms, parts), sum);
                }
                ("allOf", Value::Array(branches)) => {
                    for branch in branches {
                        let branch = self.of(branch, inside);
                        (forms, parts) = combined((forms, parts), branch);
                    }
                }
                ("$ref", Value::String(reference)) if inside => {
                    let target = self.referred(reference);
                    (forms, parts) = combined((forms, parts), target);
                }
                _ => {}
            }
        }
        (forms, parts)
    }

    fn referred(&mut self, reference: &'a str) -> (u64, u64) {
        if let Some(known) = self.known.get(reference) {
            // In a circle, llguidance keeps the reference.
            return known.unwrap_or((1, 1));
        }
        self.known.insert(reference, None);
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let made = target.map_or((1, 1), |target| self.of(target, true));
        self.known.insert(reference, Some(made));
        made
    }
}

/// The forms and parts of a combination of both.
fn combined(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    let parts = a.0.saturating_mul(b.1).saturating_add(b.0.saturating_mul(a.1));
    (a.0.saturating_mul(b.0.max(1)), parts)
}
