//! Writes values as Python does: `str`, `repr` and `json.dumps`.

use std::sync::LazyLock;

use regex_automata::meta::Regex;

use super::heap::{Buffer, CountedVec, Heap};
use super::value::{Callable, Dict, Text, Value, View};
use super::{Error, Result};

/// Characters that `repr` escapes. Private-use characters of plane 15 mark text in prompts, so they stay as they are.
static UNPRINTABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[[\p{C}\p{Zl}\p{Zp}\p{Zs}]--[ \x{F0000}-\x{FFFFD}]]")
        .expect("a constant that a test compiles")
});

/// `str(value)`.
pub(super) fn text_of(value: &Value, heap: &Heap) -> Result<Text> {
    if let Value::Str(text) = value {
        return Ok(text.clone());
    }
    let mut out = Buffer::new(heap)?;
    write_text(value, &mut out, heap)?;
    heap.text(out.into_string())
}

pub(super) fn write_text(value: &Value, out: &mut Buffer, heap: &Heap) -> Result<()> {
    match value {
        Value::Str(text) => out.push_str(text),
        Value::Undefined(..) => Ok(()),
        other => write_repr(other, out, heap),
    }
}

/// `repr(value)`.
pub(super) fn write_repr(value: &Value, out: &mut Buffer, heap: &Heap) -> Result<()> {
    heap.burn(1)?;
    match value {
        Value::Undefined(..) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Float(float) => out.push_str(&float_text(*float)),
        Value::Str(text) if text.is_markup() => {
            out.push_str("Markup(")?;
            write_quoted(text, out)?;
            out.push(')')
        }
        Value::Str(text) => write_quoted(text, out),
        Value::List(items) => write_items(&items.values, ["[", "]"], out, heap),
        Value::Tuple(items) => {
            let close = if items.values.len() == 1 { ",)" } else { ")" };
            write_items(&items.values, ["(", close], out, heap)
        }
        Value::Dict(dict) => write_dict(dict, out, heap),
        Value::Range(range) => {
            let [start, stop, step] = **range;
            let step = if step == 1 { String::new() } else { format!(", {step}") };
            out.push_str(&format!("range({start}, {stop}{step})"))
        }
        Value::View(_, dict) => {
            out.push_str(value.type_name())?;
            if matches!(value, Value::View(View::Items, _)) {
                out.push_str("([")?;
                for (at, (key, value)) in dict.entries.iter().enumerate() {
                    out.push_str(if at == 0 { "(" } else { ", (" })?;
                    write_repr(key, out, heap)?;
                    out.push_str(", ")?;
                    write_repr(value, out, heap)?;
                    out.push(')')?;
                }
                return out.push_str("])");
            }
            write_items(&value.iterate(heap)?, ["([", "])"], out, heap)
        }
        Value::Loop(state) => {
            let (at, len) = (state.at.get() + 1, state.items.len());
            out.push_str(&format!("<LoopContext {at}/{len}>"))
        }
        Value::Callable(callable) if matches!(callable.callable(), Callable::Macro(..)) => {
            Err(Error::failed("a macro can't be printed without a call"))
        }
        Value::Stream(_) | Value::Namespace(_) | Value::Callable(_) => {
            Err(Error::failed(format!("'{}' object can't be printed", value.type_name())))
        }
    }
}

fn write_items(values: &[Value], [open, close]: [&str; 2], out: &mut Buffer, heap: &Heap) -> Result<()> {
    out.push_str(open)?;
    for (at, value) in values.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " })?;
        write_repr(value, out, heap)?;
    }
    out.push_str(close)
}

fn write_dict(dict: &Dict, out: &mut Buffer, heap: &Heap) -> Result<()> {
    out.push('{')?;
    for (at, (key, value)) in dict.entries.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " })?;
        write_repr(key, out, heap)?;
        out.push_str(": ")?;
        write_repr(value, out, heap)?;
    }
    out.push('}')
}

fn write_quoted(text: &str, out: &mut Buffer) -> Result<()> {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote)?;
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n")?,
            '\r' => out.push_str("\\r")?,
            '\t' => out.push_str("\\t")?,
            '\\' => out.push_str("\\\\")?,
            c if c == quote => out.push_str(&format!("\\{c}"))?,
            c if (' '..='~').contains(&c) || is_printable(c) => out.push(c)?,
            c => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                })?;
            }
        }
    }
    out.push(quote)
}

pub(super) fn is_printable(c: char) -> bool {
    !UNPRINTABLE.is_match(&*c.encode_utf8(&mut [0; 4]))
}

/// The shortest text that parses to the same float, in Python's notation.
pub(super) fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "nan".into();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// The options of `json.dumps`.
#[derive(Debug)]
pub(super) struct JsonStyle {
    pub(super) indent: Option<String>,
    pub(super) item_separator: String,
    pub(super) key_separator: String,
    pub(super) sort_keys: bool,
    pub(super) ascii: bool,
}

impl Default for JsonStyle {
    fn default() -> Self {
        Self {
            indent: None,
            item_separator: ", ".into(),
            key_separator: ": ".into(),
            sort_keys: false,
            ascii: false,
        }
    }
}

/// `json.dumps(value)`.
pub(super) fn write_json(
    value: &Value,
    style: &JsonStyle,
    level: usize,
    out: &mut Buffer,
    heap: &Heap,
) -> Result<()> {
    heap.burn(1)?;
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Float(float) => out.push_str(&json_float(*float)),
        Value::Str(text) => write_json_string(text, style.ascii, out),
        Value::List(items) | Value::Tuple(items) => {
            out.push('[')?;
            for (at, item) in items.values.iter().enumerate() {
                separate(at, style, level, out)?;
                write_json(item, style, level + 1, out, heap)?;
            }
            close(items.values.len(), style, level, out)?;
            out.push(']')
        }
        Value::Dict(dict) => {
            out.push('{')?;
            let sorted;
            let mut entries = &dict.entries[..];
            if style.sort_keys {
                let pairs = CountedVec::collect(entries.iter().cloned(), heap)?;
                sorted = super::compare::sort(pairs, false, heap)?;
                entries = &sorted[..];
            }
            for (at, (key, value)) in entries.iter().enumerate() {
                separate(at, style, level, out)?;
                write_json_key(key, style, out)?;
                out.push_str(&style.key_separator)?;
                write_json(value, style, level + 1, out, heap)?;
            }
            close(entries.len(), style, level, out)?;
            out.push('}')
        }
        other => Err(Error::failed(format!("Object of type {} is not JSON serializable", other.type_name()))),
    }
}

fn separate(at: usize, style: &JsonStyle, level: usize, out: &mut Buffer) -> Result<()> {
    if at > 0 {
        out.push_str(&style.item_separator)?;
    }
    line(style, level + 1, out)
}

fn close(len: usize, style: &JsonStyle, level: usize, out: &mut Buffer) -> Result<()> {
    if len == 0 { Ok(()) } else { line(style, level, out) }
}

fn line(style: &JsonStyle, level: usize, out: &mut Buffer) -> Result<()> {
    let Some(indent) = &style.indent else { return Ok(()) };
    out.push('\n')?;
    (0..level).try_for_each(|_| out.push_str(indent))
}

fn json_float(float: f64) -> String {
    match float {
        float if float.is_nan() => "NaN".into(),
        float if float.is_infinite() => if float > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        float => float_text(float),
    }
}

fn write_json_key(key: &Value, style: &JsonStyle, out: &mut Buffer) -> Result<()> {
    let text = match key {
        Value::Str(text) => return write_json_string(text, style.ascii, out),
        Value::None => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Float(float) => json_float(*float),
        other => {
            let problem = format!("keys must be str, int, float, bool or None, not {}", other.type_name());
            return Err(Error::failed(problem));
        }
    };
    write_json_string(&text, style.ascii, out)
}

fn write_json_string(text: &str, ascii: bool, out: &mut Buffer) -> Result<()> {
    let is_escaped = |c: char| {
        matches!(c, '"' | '\\')
            || c < ' '
            || (ascii && !c.is_ascii() && !('\u{F0000}'..='\u{FFFFD}').contains(&c))
    };
    out.push('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(is_escaped) {
        out.push_str(&rest[..at])?;
        let c = rest[at..].chars().next().unwrap_or_default();
        rest = &rest[at + c.len_utf8()..];
        match c {
            '"' => out.push_str("\\\"")?,
            '\\' => out.push_str("\\\\")?,
            '\n' => out.push_str("\\n")?,
            '\r' => out.push_str("\\r")?,
            '\t' => out.push_str("\\t")?,
            '\u{8}' => out.push_str("\\b")?,
            '\u{c}' => out.push_str("\\f")?,
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"))?;
                }
            }
        }
    }
    out.push_str(rest)?;
    out.push('"')
}
