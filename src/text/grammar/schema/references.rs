//! Resolves a schema's references for `keywords`: by pointer, by `$anchor`, or to a part with its own `$id`. Nothing
//! outside the schema is ever fetched.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// Longest chain of references that lead to each other.
const CHAIN_MAX: usize = 1000;
/// Keywords that say nothing about values. A part with only these is a mere alias of its `$ref`.
const SAY_NOTHING: &[&str] =
    &["$ref", "title", "description", "$comment", "default", "examples", "example", "deprecated", "$anchor"];
/// The base of a schema without `$id`.
const NO_BASE: &str = "";
/// Keywords whose value is an object of schemas under free names.
const NAMED: &[&str] =
    &["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// A part of a schema and its location.
#[derive(Debug, Clone)]
pub(super) struct Location<'a> {
    pub value: &'a Value,
    /// The pointer from the root, e.g. `#/$defs/a`.
    pub pointer: String,
    /// The nearest enclosing `$id`, resolved. References are relative to it.
    pub base: String,
}

/// The parts of one schema that can be referred to.
pub(super) struct References<'a> {
    root: &'a Value,
    /// Places by resolved `$id` and by `$id#anchor`.
    named: HashMap<String, Location<'a>>,
    /// Earlier results, by base and reference.
    known: RefCell<HashMap<(String, String), Result<Location<'a>, String>>>,
}

impl<'a> References<'a> {
    /// Collects the names in `root`. Its nesting depth must have been checked before.
    pub(super) fn new(root: &'a Value) -> Self {
        let mut named = HashMap::new();
        let location = Location { value: root, pointer: "#".into(), base: NO_BASE.into() };
        named.insert(NO_BASE.to_owned(), location.clone());
        collect(&location, &mut named);
        Self { root, named, known: RefCell::default() }
    }

    pub(super) fn root(&self) -> Location<'a> {
        Location { value: self.root, pointer: "#".into(), base: base_of(self.root, NO_BASE) }
    }

    /// The target of `reference`, where `base` is the nearest enclosing `$id`. References to references are followed.
    ///
    /// # Errors
    /// Why the reference has no target.
    pub(super) fn resolve(&self, reference: &str, base: &str) -> Result<Location<'a>, String> {
        let asked = (base.to_owned(), reference.to_owned());
        if let Some(known) = self.known.borrow().get(&asked) {
            return known.clone();
        }
        let found = self.followed(reference, base);
        self.known.borrow_mut().insert(asked, found.clone());
        found
    }

    fn followed(&self, reference: &str, base: &str) -> Result<Location<'a>, String> {
        // Pointers are often meant from the root, even inside a part with an `$id`.
        let first = self.one(reference, base);
        let mut location = first.or_else(|problem| self.one(reference, NO_BASE).map_err(|_| problem))?;
        let mut met = HashSet::new();
        while let Some(next) = mere_reference(location.value) {
            if !met.insert(location.pointer.clone()) {
                return Err(format!("`{reference}` refers to itself, through {} references", met.len()));
            }
            if met.len() > CHAIN_MAX {
                return Err(format!(
                    "`{reference}` leads to a chain of more than {CHAIN_MAX} references: shorten it"
                ));
            }
            location = self.one(next, &location.base)?;
        }
        Ok(location)
    }

    fn one(&self, reference: &str, base: &str) -> Result<Location<'a>, String> {
        let absolute = joined(base, reference);
        let (document, fragment) = absolute.split_once('#').unwrap_or((&absolute, ""));
        let fragment =
            unescaped(fragment).ok_or_else(|| format!("`{reference}` is not a valid reference"))?;
        let outside =
            || format!("`{reference}` is not in the schema, and nothing is fetched: put it under `$defs`");
        let start = self.named.get(document).ok_or_else(outside)?;
        if fragment.is_empty() {
            return Ok(start.clone());
        }
        if !fragment.starts_with('/') {
            let anchor = self.named.get(&format!("{document}#{fragment}"));
            return anchor
                .cloned()
                .ok_or_else(|| format!("`{reference}` does not name an `$anchor` of the schema"));
        }
        let missing = || format!("`{reference}` points to nothing in the schema");
        let mut location = start.clone();
        for step in fragment[1..].split('/') {
            let key = step.replace("~1", "/").replace("~0", "~");
            let value = match location.value {
                Value::Object(fields) => fields.get(&key),
                Value::Array(items) => key.parse().ok().and_then(|at: usize| items.get(at)),
                _ => None,
            };
            let value = value.ok_or_else(missing)?;
            location = Location {
                value,
                pointer: below(&location.pointer, &key),
                base: base_of(value, &location.base),
            };
        }
        Ok(location)
    }
}

fn mere_reference(value: &Value) -> Option<&str> {
    let node = value.as_object()?;
    let next = node.get("$ref").and_then(Value::as_str)?;
    node.keys().all(|key| SAY_NOTHING.contains(&key.as_str())).then_some(next)
}

/// The pointer to the member `key` of `pointer`.
pub(super) fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The base for everything inside `value`: its own `$id`, or the one `around` it.
pub(super) fn base_of(value: &Value, around: &str) -> String {
    match id(value) {
        Some(id) => joined(around, id).split('#').next().unwrap_or_default().to_owned(),
        None => around.to_owned(),
    }
}

/// An `$id` (`id` in draft 4) that names a document. A fragment alone is an old form of anchor.
fn id(value: &Value) -> Option<&str> {
    let text = value.get("$id").or_else(|| value.get("id")).and_then(Value::as_str)?;
    (!text.starts_with('#') && !text.is_empty()).then_some(text)
}

fn collect<'a>(location: &Location<'a>, named: &mut HashMap<String, Location<'a>>) {
    let location = Location { base: base_of(location.value, &location.base), ..location.clone() };
    match location.value {
        Value::Object(fields) => {
            if id(location.value).is_some() {
                named.entry(location.base.clone()).or_insert_with(|| location.clone());
            }
            let old = fields.get("$id").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
            let anchors =
                ["$anchor", "$dynamicAnchor"].into_iter().filter_map(|key| fields.get(key)?.as_str());
            for anchor in anchors.chain(old) {
                named.entry(format!("{}#{anchor}", location.base)).or_insert_with(|| location.clone());
            }
            for (key, value) in fields {
                match (key.as_str(), value) {
                    // Constants and examples are not schemas, even if they look like one.
                    ("const" | "enum" | "default" | "examples" | "example", _) => {}
                    // The keys of these are names, not keywords.
                    (key, Value::Object(named_parts)) if NAMED.contains(&key) => {
                        let parts = inner(&location, key, value);
                        named_parts
                            .iter()
                            .for_each(|(name, part)| collect(&inner(&parts, name, part), named));
                    }
                    (key, value) => collect(&inner(&location, key, value), named),
                }
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                collect(&inner(&location, &at.to_string(), value), named);
            }
        }
        _ => {}
    }
}

fn inner<'a>(location: &Location<'a>, key: &str, value: &'a Value) -> Location<'a> {
    Location { value, pointer: below(&location.pointer, key), base: location.base.clone() }
}

/// Resolves `reference` against `base`. Of RFC 3986 only what schemas use: absolute URIs, absolute and relative paths.
fn joined(base: &str, reference: &str) -> String {
    let base = base.split('#').next().unwrap_or_default();
    if reference.is_empty() || reference.starts_with('#') {
        return format!("{base}{reference}");
    }
    let has_scheme = reference
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)));
    if has_scheme || base.is_empty() {
        return reference.to_owned();
    }
    let authority = base.find("://").map_or(0, |at| at + 3);
    let path = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    if reference.starts_with('/') {
        return format!("{}{reference}", &base[..path]);
    }
    let folder = base[path..].rfind('/').map_or(base.len(), |at| path + at);
    format!("{}/{}", &base[..folder], reference.trim_start_matches("./"))
}

/// Decodes the percent escapes of a fragment.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}
