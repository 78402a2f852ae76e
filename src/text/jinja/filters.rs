//! Jinja2's filters for single values. Those that iterate over items are in `sequences`.

use std::sync::LazyLock;

use regex_automata::meta::Regex;

use super::args::{Args, int, required, size, text};
use super::format::{escaped, percent, write_escaped};
use super::heap::{Buffer, CountedVec, Heap};
use super::lexer::is_space;
use super::machine::Machine;
use super::show::{JsonStyle, text_of, write_json};
use super::strings::{self, Lines};
use super::value::{Text, Value};
use super::{Error, Result, ops};

static WORDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("a test compiles it"));
/// `truncate` leaves a text whole that is at most so many characters too long.
const TRUNCATE_LEEWAY: i128 = 5;
/// Memory of a value while JSON is parsed; a field of an object counts as two values.
const JSON_VALUE_BYTES: usize = 128;

impl Machine<'_> {
    /// `value|name(args)`.
    pub(super) fn filter(&mut self, name: &str, value: Value, args: Args) -> Result<Value> {
        let heap = self.heap.clone();
        let heap = &heap;
        match name {
            "batch" | "dictsort" | "first" | "groupby" | "items" | "join" | "last" | "list" | "map"
            | "max" | "min" | "reject" | "rejectattr" | "reverse" | "select" | "selectattr" | "slice"
            | "sort" | "sum" | "unique" => self.sequence_filter(name, value, args),
            "attr" => self.attr_filter(&value, args),
            "count" | "length" => {
                let problem =
                    || Error::failed(format!("object of type '{}' has no len()", value.type_name()));
                Ok(Value::Int(value.len(heap)?.ok_or_else(problem)? as i128))
            }
            "d" | "default" => {
                let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
                let falsy = boolean.is_some_and(|boolean| boolean.is_true()) && !value.is_true();
                if value.is_undefined() || falsy {
                    default.map_or_else(|| heap.str(""), Ok)
                } else {
                    Ok(value)
                }
            }
            "abs" | "int" | "float" | "round" | "filesizeformat" => number(name, &value, args, heap),
            "tojson" => {
                let mut out = Buffer::new(heap)?;
                write_json(&value, &json_style(args, heap)?, 0, &mut out, heap)?;
                heap.str(out.into_string())
            }
            "from_json" => {
                let text = text(&value, name)?;
                let values = text.bytes().filter(|byte| b"[{,:".contains(byte)).count() + 1;
                let _counted = heap.charge(text.len() + values * JSON_VALUE_BYTES)?;
                let json = serde_json::from_str(&text);
                heap.json(&json.map_err(|error| Error::failed(format!("from_json(): {error}")))?)
            }
            "safe" => Ok(Value::Str(heap.text_as(&*text_of(&value, heap)?, true)?)),
            "e" | "escape" | "forceescape" => {
                let text = text_of(&value, heap)?;
                if text.is_markup() && name != "forceescape" {
                    return Ok(Value::Str(text));
                }
                Ok(Value::Str(heap.text_as(escaped(&text, heap)?, true)?))
            }
            "format" => {
                let template = text_of(&value, heap)?;
                let values = match (args.positional.is_empty(), args.named.is_empty()) {
                    (false, false) => {
                        return Err(Error::failed(
                            "can't handle positional and keyword arguments at the same time",
                        ));
                    }
                    (true, false) => {
                        let pairs = args.named.into_iter().map(|(name, value)| (Value::Str(name), value));
                        heap.dict(pairs.collect::<Vec<_>>())?
                    }
                    _ => heap.tuple(args.positional)?,
                };
                percent(&template, &values, heap)
            }
            "truncate" => truncated(&text(&value, name)?, args, heap),
            "wordwrap" => wrapped(&text(&value, name)?, args, heap),
            "indent" => indent(&value, args, heap),
            "xmlattr" => xml_attributes(&value, args, heap),
            "urlencode" => url_encoded(&value, heap),
            _ => plain_text(name, &text_of(&value, heap)?, args, heap),
        }
    }

    fn attr_filter(&self, value: &Value, args: Args) -> Result<Value> {
        let [attribute] = args.bind("attr", ["name"])?;
        let attribute = text(&required(attribute, "attr", "name")?, "attr")?;
        match value {
            Value::Namespace(_) => self.attribute(value, &attribute),
            other => ops::attribute_only(other, &attribute, &self.heap),
        }
    }
}

/// Filters that treat any value as text.
fn plain_text(name: &str, subject: &Text, args: Args, heap: &Heap) -> Result<Value> {
    heap.touch(subject.len())?;
    match name {
        "capitalize" => strings::call(subject, "capitalize", args, heap),
        "lower" => strings::call(subject, "lower", args, heap),
        "upper" => strings::call(subject, "upper", args, heap),
        "center" => {
            let [width] = args.bind(name, ["width"])?;
            strings::call(subject, "center", Args::of(vec![width.unwrap_or(Value::Int(80))]), heap)
        }
        "trim" => {
            let [chars] = args.bind(name, ["chars"])?;
            let stripped = strings::stripped(subject, "strip", chars.as_ref(), heap)?;
            Ok(Value::Str(heap.text_as(stripped, subject.is_markup())?))
        }
        "string" => Ok(Value::Str(subject.clone())),
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let old = text_of(&required(old, name, "old")?, heap)?;
            let new = text_of(&required(new, name, "new")?, heap)?;
            let count = match count {
                None | Some(Value::None) => -1,
                Some(count) => int(&count, name)?,
            };
            let plain = |text: &Text| heap.text(text.as_str());
            strings::replaced(&plain(subject)?, &plain(&old)?, &plain(&new)?, count, heap)
        }
        "title" => {
            heap.room(subject.len())?;
            heap.work(subject.len())?;
            heap.str(titled(subject))
        }
        "wordcount" => {
            heap.work(subject.len())?;
            Ok(Value::Int(WORDS.find_iter(subject.as_str()).count() as i128))
        }
        other => Err(Error::failed(format!("no filter is named '{other}'"))),
    }
}

/// Capitalizes every part between white space, hyphens and opening brackets.
fn titled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at_start = true;
    for c in text.chars() {
        let separates = is_space(c) || "-({[<".contains(c);
        if at_start && !separates {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        at_start = separates;
    }
    out
}

fn number(name: &str, value: &Value, args: Args, heap: &Heap) -> Result<Value> {
    value.defined()?;
    if let Value::Str(text) = value {
        heap.room(text.len())?;
    }
    match name {
        "abs" => match value {
            Value::Float(float) => Ok(Value::Float(float.abs())),
            other => {
                let abs = int(other, name)?.checked_abs();
                abs.map(Value::Int).ok_or_else(ops::too_large)
            }
        },
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"])?;
            let base = base.map_or(Ok(10), |base| int(&base, name))?;
            let found = match value {
                Value::Str(text) => parsed_int(text, base).or_else(|| parsed_float(text).and_then(whole)),
                Value::Float(float) => whole(*float),
                other => other.as_int(),
            };
            Ok(found.map_or_else(|| default.unwrap_or(Value::Int(0)), Value::Int))
        }
        "float" => {
            let [default] = args.bind(name, ["default"])?;
            let found = value.as_text().map_or_else(|| value.as_float(), |text| parsed_float(text));
            Ok(found.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
        }
        "round" => rounded(value, args),
        _ => {
            let [binary] = args.bind(name, ["binary"])?;
            let bytes = value.as_text().map_or_else(|| value.as_float(), |text| parsed_float(text));
            let bytes = bytes.ok_or_else(|| Error::failed("filesizeformat() needs a number"))?;
            heap.str(file_size(bytes, binary.is_some_and(|binary| binary.is_true())))
        }
    }
}

fn whole(float: f64) -> Option<i128> {
    (float.is_finite() && float.abs() < 1e38).then_some(float.trunc() as i128)
}

/// The digits without underscores; single ones may stand between digits, as in Python.
fn without_underscores(digits: &str) -> Option<String> {
    let sound = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    sound.then(|| digits.replace('_', ""))
}

fn parsed_int(text: &str, base: i128) -> Option<i128> {
    let text = text.trim_matches(is_space);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = digits.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefixed = prefixes
        .iter()
        .find(|(prefix, radix)| (base == 0 || base == i128::from(*radix)) && lower.starts_with(prefix));
    let (digits, radix) = match prefixed {
        Some((prefix, radix)) => (lower[prefix.len()..].trim_start_matches('_'), *radix),
        None => (lower.as_str(), if base == 0 { 10 } else { u32::try_from(base).ok()? }),
    };
    if !(2..=36).contains(&radix) || digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(&without_underscores(digits)?, radix).ok()?;
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

fn parsed_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let between_digits = |at: usize| {
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        digit(text[..at].chars().next_back()) && digit(text[at + 1..].chars().next())
    };
    if text.match_indices('_').any(|(at, _)| !between_digits(at)) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn rounded(value: &Value, args: Args) -> Result<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = precision.map_or(Ok(0), |precision| int(&precision, "round"))?;
    let method =
        method.map_or(Ok("common".to_owned()), |method| text(&method, "round").map(|m| m.to_string()))?;
    let precision = i32::try_from(precision.clamp(-400, 400)).unwrap_or(0);
    let float = value.as_float().ok_or_else(|| Error::failed("round() needs a number"))?;
    let scale = 10f64.powi(precision);
    match method.as_str() {
        "common" => match value.as_int() {
            Some(int) if precision >= 0 => Ok(Value::Int(int)),
            Some(int) => {
                // Half rounds to the even neighbor.
                let unit = 10i128.checked_pow(precision.unsigned_abs()).unwrap_or(i128::MAX);
                let (quotient, rest) = (int.div_euclid(unit), int.rem_euclid(unit));
                let up = rest > unit - rest || (rest == unit - rest && quotient % 2 != 0);
                Ok(Value::Int((quotient + i128::from(up)).checked_mul(unit).unwrap_or(0)))
            }
            None if precision >= 0 => {
                let text = format!("{float:.*}", precision as usize);
                Ok(Value::Float(text.parse().unwrap_or(float)))
            }
            None => Ok(Value::Float((float * scale).round_ties_even() / scale)),
        },
        "ceil" => Ok(Value::Float((float * scale).ceil() / scale)),
        "floor" => Ok(Value::Float((float * scale).floor() / scale)),
        _ => Err(Error::failed("method must be common, ceil or floor")),
    }
}

fn file_size(bytes: f64, binary: bool) -> String {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return "1 Byte".into();
    }
    if bytes < base {
        return format!("{} Bytes", bytes.trunc());
    }
    let letters = ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
    let at = (0..7).find(|&at| bytes < base.powi(at + 2)).unwrap_or(7);
    let letter = letters[at as usize];
    let prefix = if binary { format!("{}iB", letter.to_ascii_uppercase()) } else { format!("{letter}B") };
    format!("{:.1} {prefix}", base * bytes / base.powi(at + 2))
}

fn json_style(args: Args, heap: &Heap) -> Result<JsonStyle> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sort_keys] = args.bind("tojson", names)?;
    let mut style = JsonStyle {
        ascii: ascii.is_some_and(|ascii| ascii.is_true()),
        sort_keys: sort_keys.is_some_and(|sort| sort.is_true()),
        ..JsonStyle::default()
    };
    match indent {
        None | Some(Value::None) => {}
        Some(Value::Str(indent)) => style.indent = Some(indent.to_string()),
        Some(indent) => {
            let width = size(&indent, "tojson")?;
            heap.room(width)?;
            style.indent = Some(" ".repeat(width));
        }
    }
    if style.indent.is_some() {
        style.item_separator = ",".into();
    }
    match separators {
        None | Some(Value::None) => {}
        Some(separators) => {
            let both = separators.iterate(heap)?;
            let [item, key] = &*both else { return Err(Error::failed("tojson() needs two separators")) };
            style.item_separator = text(item, "tojson")?.to_string();
            style.key_separator = text(key, "tojson")?.to_string();
        }
    }
    Ok(style)
}

fn indent(value: &Value, args: Args, heap: &Heap) -> Result<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let truth = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let (first, blank) = (truth(first), truth(blank));
    let subject = text(value, "indent")?;
    let width = match width {
        Some(Value::Str(indent)) => indent.to_string(),
        width => {
            let width = width.map_or(Ok(4), |width| size(&width, "indent"))?;
            heap.room(width)?;
            " ".repeat(width)
        }
    };
    heap.room(subject.len())?;
    let with_end = format!("{}\n", subject.as_str());
    let mut out = Buffer::new(heap)?;
    for (at, line) in Lines::of(&with_end, false).enumerate() {
        if at > 0 {
            out.push('\n')?;
        }
        if if at == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&width)?;
        }
        out.push_str(line)?;
    }
    Ok(Value::Str(heap.text_as(out.into_string(), subject.is_markup())?))
}

fn truncated(subject: &Text, args: Args, heap: &Heap) -> Result<Value> {
    let [length, kill, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = length.map_or(Ok(255), |length| int(&length, "truncate"))?;
    let end = end.map_or_else(|| heap.text("..."), |end| text(&end, "truncate"))?;
    let leeway = match leeway {
        None | Some(Value::None) => TRUNCATE_LEEWAY,
        Some(leeway) => int(&leeway, "truncate")?,
    };
    heap.room(subject.len())?;
    let end_chars = end.chars().count() as i128;
    if length < end_chars || leeway < 0 {
        return Err(Error::failed(format!("truncate() needs a length of at least {end_chars}")));
    }
    if (subject.chars().count() as i128) <= length.saturating_add(leeway) {
        return Ok(Value::Str(subject.clone()));
    }
    let kept: String = subject.chars().take((length - end_chars) as usize).collect();
    let killed = kill.is_some_and(|kill| kill.is_true());
    let kept = if killed { &kept[..] } else { kept.rsplit_once(' ').map_or(&kept[..], |(before, _)| before) };
    Ok(Value::Str(heap.text_as(format!("{kept}{}", end.as_str()), subject.is_markup())?))
}

/// Lines of at most `width` characters, cut at white space. Longer words are cut if that is allowed.
fn wrapped(subject: &Text, args: Args, heap: &Heap) -> Result<Value> {
    let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let [width, break_long, wrap, _] = args.bind("wordwrap", names)?;
    let width = width.map_or(Ok(79), |width| size(&width, "wordwrap"))?.max(1);
    let break_long = break_long.is_none_or(|break_long| break_long.is_true());
    let wrap = match wrap {
        None | Some(Value::None) => heap.text("\n")?,
        Some(wrap) => text(&wrap, "wordwrap")?,
    };
    if subject.contains('-') {
        return Err(Error::failed("wordwrap() of text with hyphens is not supported"));
    }
    let mut out = Buffer::new(heap)?;
    let mut written = 0;
    let mut end_line = |line: &mut String| -> Result<()> {
        if written > 0 {
            out.push_str(&wrap)?;
        }
        written += 1;
        out.push_str(line.trim_end_matches(is_space))?;
        line.clear();
        Ok(())
    };
    // A line can't be longer than the text.
    let _counted = heap.charge(subject.len())?;
    for line in Lines::of(subject, false) {
        let mut is_first = true;
        let mut current = String::new();
        let mut length = 0;
        for mut chunk in Chunks(line) {
            heap.touch(chunk.len())?;
            let blank = chunk.starts_with(is_space);
            if blank && length == 0 && !is_first {
                continue;
            }
            let mut chars = chunk.chars().count();
            if length + chars > width && length > 0 && (chars <= width || !break_long) {
                end_line(&mut current)?;
                (is_first, length) = (false, 0);
                if blank {
                    continue;
                }
            }
            while break_long && length + chars > width {
                let end = chunk.char_indices().nth(width - length).map_or(chunk.len(), |(end, _)| end);
                current.push_str(&chunk[..end]);
                end_line(&mut current)?;
                is_first = false;
                chars -= (width - length).min(chars);
                (chunk, length) = (&chunk[end..], 0);
            }
            length += chars;
            current.push_str(chunk);
        }
        if is_first || !current.trim_end_matches(is_space).is_empty() {
            end_line(&mut current)?;
        }
    }
    heap.str(out.into_string())
}

/// Words and the white space between them.
struct Chunks<'t>(&'t str);

impl<'t> Iterator for Chunks<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let blank = is_space(self.0.chars().next()?);
        let end = self.0.find(|c| is_space(c) != blank).unwrap_or(self.0.len());
        let (chunk, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(chunk)
    }
}

fn xml_attributes(value: &Value, args: Args, heap: &Heap) -> Result<Value> {
    let [space] = args.bind("xmlattr", ["autospace"])?;
    let Value::Dict(dict) = value else { return Err(Error::failed("xmlattr() needs a dict")) };
    let mut out = Buffer::new(heap)?;
    for (key, value) in &dict.entries {
        if matches!(value, Value::None | Value::Undefined(..)) {
            continue;
        }
        let (key, value) = (text_of(key, heap)?, text_of(value, heap)?);
        heap.work(key.len())?;
        if key.contains(|c: char| is_space(c) || "/>=".contains(c)) {
            return Err(Error::failed(format!("Invalid character in attribute name: '{}'", key.as_str())));
        }
        if out.len() > 0 || space.as_ref().is_none_or(Value::is_true) {
            out.push(' ')?;
        }
        for (text, behind) in [(&key, "=\""), (&value, "\"")] {
            if text.is_markup() {
                out.push_str(text)?;
            } else {
                write_escaped(text, &mut out)?;
            }
            out.push_str(behind)?;
        }
    }
    heap.str(out.into_string())
}

fn url_encoded(value: &Value, heap: &Heap) -> Result<Value> {
    let mut out = Buffer::new(heap)?;
    let pairs = match value {
        Value::Dict(dict) => CountedVec::collect(dict.entries.iter().cloned(), heap)?,
        Value::List(_) | Value::Tuple(_) | Value::View(..) | Value::Stream(_) => {
            let mut pairs = CountedVec::new(heap)?;
            for pair in value.iterate(heap)? {
                pairs.push(pair.pair("urlencode", heap)?)?;
            }
            pairs
        }
        other => {
            quote(&text_of(other, heap)?, false, &mut out)?;
            return heap.str(out.into_string());
        }
    };
    for (key, value) in pairs {
        out.push_str(if out.len() > 0 { "&" } else { "" })?;
        quote(&text_of(&key, heap)?, true, &mut out)?;
        out.push('=')?;
        quote(&text_of(&value, heap)?, true, &mut out)?;
    }
    heap.str(out.into_string())
}

fn quote(text: &str, in_query: bool, out: &mut Buffer) -> Result<()> {
    for byte in text.bytes() {
        match byte {
            b'/' if !in_query => out.push('/')?,
            b' ' if in_query => out.push('+')?,
            b if b.is_ascii_alphanumeric() || b"_.-~".contains(&b) => out.push(char::from(b))?,
            b => out.push_str(&format!("%{b:02X}"))?,
        }
    }
    Ok(())
}
