//! Short texts that fit the patterns of a schema: where a text may go on with anything until something comes, only the pattern
//! knows what that is.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

/// Patterns that are looked at.
const PATTERNS_MAX: usize = 64;
/// Of one example.
const BYTES_MAX: usize = 300;

/// Examples for the patterns in `schema`, as they are written in JSON strings.
pub(super) fn of(schema: &Value) -> Vec<Vec<u8>> {
    let mut patterns = Vec::new();
    collect(schema, &mut patterns);
    patterns.sort_unstable();
    patterns.dedup();
    patterns.truncate(PATTERNS_MAX);
    let mut examples: Vec<Vec<u8>> = patterns.into_iter().filter_map(example).collect();
    examples.sort_by_key(Vec::len);
    examples
}

fn collect<'a>(value: &'a Value, patterns: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, patterns)),
        Value::Object(fields) => {
            patterns.extend(fields.get("pattern").and_then(Value::as_str));
            if let Some(Value::Object(named)) = fields.get("patternProperties") {
                patterns.extend(named.keys().map(String::as_str));
            }
            fields.values().for_each(|field| collect(field, patterns));
        }
        _ => {}
    }
}

fn example(pattern: &str) -> Option<Vec<u8>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut bytes = Vec::new();
    write(&hir, &mut bytes)?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.is_empty())?;
    let quoted = Value::from(text).to_string();
    Some(quoted.as_bytes()[1..quoted.len() - 1].to_vec())
}

/// Writes the shortest text that `hir` matches, or nearly so; nothing when that is long.
fn write(hir: &Hir, out: &mut Vec<u8>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(Class::Unicode(class)) => {
            let fits = |c: &char| class.iter().any(|range| range.start() <= *c && *c <= range.end());
            let first = || class.iter().next().map(|range| range.start());
            let c = ('a'..='z').chain('0'..='9').chain(' '..='~').find(fits).or_else(first)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        HirKind::Class(Class::Bytes(class)) => out.push(class.iter().next()?.start()),
        // What may be empty adds nothing, however often it is repeated.
        HirKind::Repetition(repeated) if repeated.sub.properties().minimum_len() == Some(0) => {}
        HirKind::Repetition(repeated) => {
            for _ in 0..repeated.min {
                write(&repeated.sub, out)?;
                if out.len() > BYTES_MAX {
                    return None;
                }
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, out)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, out))?,
        HirKind::Alternation(parts) => {
            let shortest = parts.iter().min_by_key(|part| part.properties().minimum_len())?;
            write(shortest, out)?;
        }
    }
    (out.len() <= BYTES_MAX).then_some(())
}
