//! Where a schema's references point: by pointer, by `$anchor`, or to a part that has an `$id` of its own. Nothing outside
//! the schema is ever fetched.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// References that may lead to one another.
const CHAIN_MAX: usize = 1000;
/// Keywords of a part that leave it a mere reference to another: they say nothing about values.
const SAY_NOTHING: &[&str] =
    &["$ref", "title", "description", "$comment", "default", "examples", "example", "deprecated", "$anchor"];
/// Where a schema without `$id` is.
const NO_BASE: &str = "";
/// Keywords whose value has schemas under names of their own.
const NAMED: &[&str] =
    &["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// A part of a schema and where it is.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    /// The part.
    pub value: &'a Value,
    /// Its pointer from the root, e.g. `#/$defs/a`.
    pub pointer: String,
    /// The nearest `$id` around it, resolved; references are relative to it.
    pub base: String,
}

/// The parts of one schema that can be referred to.
pub(super) struct References<'a> {
    root: &'a Value,
    /// By resolved `$id`, and by `$id#anchor`.
    named: HashMap<String, Place<'a>>,
    /// What was asked before, by the base and the reference.
    known: RefCell<HashMap<(String, String), Result<Place<'a>, String>>>,
}

impl<'a> References<'a> {
    /// Looks for names in `root`, which is known not to nest too deep.
    pub fn new(root: &'a Value) -> Self {
        let mut named = HashMap::new();
        let place = Place { value: root, pointer: "#".into(), base: NO_BASE.into() };
        named.insert(NO_BASE.to_owned(), place.clone());
        collect(&place, &mut named);
        Self { root, named, known: RefCell::default() }
    }

    /// The root as a place.
    pub fn root(&self) -> Place<'a> {
        Place { value: self.root, pointer: "#".into(), base: base_of(self.root, NO_BASE) }
    }

    /// What `reference` stands for where `base` is the nearest `$id`. References to references are followed.
    ///
    /// # Errors
    /// Why it stands for nothing.
    pub fn resolve(&self, reference: &str, base: &str) -> Result<Place<'a>, String> {
        let asked = (base.to_owned(), reference.to_owned());
        if let Some(known) = self.known.borrow().get(&asked) {
            return known.clone();
        }
        let found = self.followed(reference, base);
        self.known.borrow_mut().insert(asked, found.clone());
        found
    }

    fn followed(&self, reference: &str, base: &str) -> Result<Place<'a>, String> {
        // Pointers are often meant from the root, even inside of a part with an `$id`.
        let first = self.one(reference, base);
        let mut place = first.or_else(|problem| self.one(reference, NO_BASE).map_err(|_| problem))?;
        let mut met = HashSet::new();
        while let Some(next) = mere_reference(place.value) {
            if !met.insert(place.pointer.clone()) {
                return Err(format!("`{reference}` refers to itself, through {} references", met.len()));
            }
            if met.len() > CHAIN_MAX {
                return Err(format!(
                    "`{reference}` leads to a chain of more than {CHAIN_MAX} references: shorten it"
                ));
            }
            place = self.one(next, &place.base)?;
        }
        Ok(place)
    }

    fn one(&self, reference: &str, base: &str) -> Result<Place<'a>, String> {
        let absolute = joined(base, reference);
        let (document, fragment) = absolute.split_once('#').unwrap_or((&absolute, ""));
        let fragment = unescaped(fragment).ok_or_else(|| format!("`{reference}` is no valid reference"))?;
        let outside =
            || format!("`{reference}` is not in the schema, and nothing is fetched: put it under `$defs`");
        let start = self.named.get(document).ok_or_else(outside)?;
        if fragment.is_empty() {
            return Ok(start.clone());
        }
        if !fragment.starts_with('/') {
            let anchor = self.named.get(&format!("{document}#{fragment}"));
            return anchor.cloned().ok_or_else(|| format!("`{reference}` names no `$anchor` of the schema"));
        }
        let missing = || format!("`{reference}` points to nothing in the schema");
        let mut place = start.clone();
        for step in fragment[1..].split('/') {
            let key = step.replace("~1", "/").replace("~0", "~");
            let value = match place.value {
                Value::Object(fields) => fields.get(&key),
                Value::Array(items) => key.parse().ok().and_then(|at: usize| items.get(at)),
                _ => None,
            };
            let value = value.ok_or_else(missing)?;
            place = Place { value, pointer: below(&place.pointer, &key), base: base_of(value, &place.base) };
        }
        Ok(place)
    }
}

/// Where a part points that says nothing itself.
fn mere_reference(value: &Value) -> Option<&str> {
    let node = value.as_object()?;
    let next = node.get("$ref").and_then(Value::as_str)?;
    node.keys().all(|key| SAY_NOTHING.contains(&key.as_str())).then_some(next)
}

/// The pointer to what is at `key` below `pointer`.
pub(super) fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The base for what is in `value`: its own `$id`, if it has one.
pub(super) fn base_of(value: &Value, around: &str) -> String {
    match id(value) {
        Some(id) => joined(around, id).split('#').next().unwrap_or_default().to_owned(),
        None => around.to_owned(),
    }
}

/// An `$id`, or draft 4's `id`, that names a document; a fragment alone is an old anchor.
fn id(value: &Value) -> Option<&str> {
    let text = value.get("$id").or_else(|| value.get("id")).and_then(Value::as_str)?;
    (!text.starts_with('#') && !text.is_empty()).then_some(text)
}

fn collect<'a>(place: &Place<'a>, named: &mut HashMap<String, Place<'a>>) {
    let place = Place { base: base_of(place.value, &place.base), ..place.clone() };
    match place.value {
        Value::Object(fields) => {
            if id(place.value).is_some() {
                named.entry(place.base.clone()).or_insert_with(|| place.clone());
            }
            let old = fields.get("$id").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
            let anchors =
                ["$anchor", "$dynamicAnchor"].into_iter().filter_map(|key| fields.get(key)?.as_str());
            for anchor in anchors.chain(old) {
                named.entry(format!("{}#{anchor}", place.base)).or_insert_with(|| place.clone());
            }
            for (key, value) in fields {
                match (key.as_str(), value) {
                    // What a value must equal is no schema, whatever it looks like.
                    ("const" | "enum" | "default" | "examples" | "example", _) => {}
                    // Their names are the schema's own.
                    (key, Value::Object(named_parts)) if NAMED.contains(&key) => {
                        let parts = inner(&place, key, value);
                        named_parts
                            .iter()
                            .for_each(|(name, part)| collect(&inner(&parts, name, part), named));
                    }
                    (key, value) => collect(&inner(&place, key, value), named),
                }
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                collect(&inner(&place, &at.to_string(), value), named);
            }
        }
        _ => {}
    }
}

fn inner<'a>(place: &Place<'a>, key: &str, value: &'a Value) -> Place<'a> {
    Place { value, pointer: below(&place.pointer, key), base: place.base.clone() }
}

/// `reference` as seen from `base`, as far as schemas use it: whole addresses, paths from the root and names beside.
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

/// A fragment without its percent signs.
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
