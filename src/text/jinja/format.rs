//! Python's two ways to format text: `'%s' % x` and `'{}'.format(x)`.

use super::heap::{Buffer, Heap};
use super::show::{float_text, text_of, write_repr};
use super::value::{Text, Value, shortened};
use super::{Error, Result};

/// The format specification of one value.
#[derive(Debug, Default, Clone)]
struct Spec {
    fill: Option<char>,
    /// `<`, `>`, `^` or `=`.
    align: Option<char>,
    /// `+` or a space.
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Most digits after the decimal point; a float never has more.
const PRECISION_MAX: usize = 1100;

/// `template % values`.
pub(super) fn percent(template: &Text, values: &Value, heap: &Heap) -> Result<Value> {
    let mut out = Buffer::new(heap)?;
    let mut chars = template.chars().peekable();
    let list: &[Value] = match values {
        Value::Tuple(items) => &items.values,
        single => std::slice::from_ref(single),
    };
    let mut given = list.iter();
    let mut next = || given.next().ok_or_else(|| Error::failed("not enough arguments for format string"));
    let mut mapped = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c)?;
            continue;
        }
        heap.burn(1)?;
        let mut key = None;
        if chars.next_if_eq(&'(').is_some() {
            mapped = true;
            key = Some(balanced(&mut chars, heap)?);
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                '+' => spec.sign = Some('+'),
                _ => spec.sign = spec.sign.or(Some(' ')),
            }
        }
        spec.width = match chars.next_if_eq(&'*') {
            Some(_) => star(next()?, &mut spec)?,
            None => digits(&mut chars)?.unwrap_or(0),
        };
        if chars.next_if_eq(&'.').is_some() {
            let precision = match chars.next_if_eq(&'*') {
                Some(_) => star(next()?, &mut Spec::default())?,
                None => digits(&mut chars)?.unwrap_or(0),
            };
            spec.precision = Some(precision);
        }
        while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
        let kind = chars.next().ok_or_else(|| Error::failed("incomplete format"))?;
        if kind == '%' {
            out.push('%')?;
            continue;
        }
        let value = match key {
            Some(key) => looked_up(values, &key, heap)?,
            None => next()?.clone(),
        };
        percent_one(kind, &value, spec, template.is_markup(), &mut out, heap)?;
    }
    let left =
        given.len() > 0 && !mapped && !matches!(values, Value::Dict(_) | Value::List(_) | Value::Range(_));
    if left {
        return Err(Error::failed("not all arguments converted during string formatting"));
    }
    Ok(Value::Str(heap.text_as(out.into_string(), template.is_markup())?))
}

fn looked_up(values: &Value, key: &str, heap: &Heap) -> Result<Value> {
    let Value::Dict(dict) = values else { return Err(Error::failed("format requires a mapping")) };
    let found = dict.get(&heap.str(key)?, heap)?;
    found
        .cloned()
        .ok_or_else(|| Error::failed(format!("the format needs '{}', which is not given", shortened(key))))
}

fn star(value: &Value, spec: &mut Spec) -> Result<usize> {
    let width = value.as_int().ok_or_else(|| Error::failed("* wants int"))?;
    if width < 0 {
        spec.align = Some('<');
    }
    usize::try_from(width.unsigned_abs()).map_err(|_| Error::failed("width too big"))
}

/// The text up to the parenthesis that closes the one just read.
fn balanced(chars: &mut std::iter::Peekable<std::str::Chars>, heap: &Heap) -> Result<String> {
    let (mut key, mut open) = (Buffer::new(heap)?, 1);
    for c in chars {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Ok(key.into_string());
        }
        key.push(c)?;
    }
    Err(Error::failed("incomplete format key"))
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars>) -> Result<Option<usize>> {
    let mut number = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        let larger = number.unwrap_or(0usize).checked_mul(10).and_then(|n| n.checked_add(digit as usize));
        number = Some(larger.ok_or_else(|| Error::failed("width too big"))?);
    }
    Ok(number)
}

fn percent_one(
    kind: char,
    value: &Value,
    mut spec: Spec,
    markup: bool,
    out: &mut Buffer,
    heap: &Heap,
) -> Result<()> {
    let not_a_number = |kind: char| {
        Error::failed(format!("%{kind} format: a number is required, not {}", value.type_name()))
    };
    spec.align = spec.align.or(Some('>'));
    match kind {
        's' | 'r' | 'a' => {
            spec.zero = false;
            let mut text = Buffer::new(heap)?;
            match kind {
                's' => text.push_str(&text_of(value, heap)?)?,
                _ => write_repr(value, &mut text, heap)?,
            }
            let mut text = text.into_string();
            if kind == 'a' && !text.is_ascii() {
                return Err(Error::failed("%a of text beyond ASCII is not supported"));
            }
            if markup && !matches!(value, Value::Str(text) if text.is_markup()) {
                text = escaped(&text, heap)?;
            }
            cut(&mut text, spec.precision);
            pad("", &text, &spec, out)
        }
        'c' => {
            let c = match value {
                Value::Str(text) if text.chars().count() == 1 => text.chars().next(),
                other => other.as_int().and_then(|code| char::from_u32(u32::try_from(code).ok()?)),
            };
            let c = c.ok_or_else(|| Error::failed("%c requires int or char"))?;
            spec.zero = false;
            pad("", &c.to_string(), &spec, out)
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let int = match value {
                Value::Float(float) if matches!(kind, 'd' | 'i' | 'u') && float.is_finite() => {
                    Some(float.trunc() as i128)
                }
                other => other.as_int(),
            };
            let int = int.ok_or_else(|| not_a_number(kind))?;
            spec.kind = Some(if matches!(kind, 'i' | 'u') { 'd' } else { kind });
            let digits = spec.precision.take();
            let (sign, mut text) = int_parts(int, &spec)?;
            let missing = digits.unwrap_or(0).saturating_sub(text.len());
            heap.room(missing)?;
            text.insert_str(0, &"0".repeat(missing));
            number(&sign, &text, &spec, out)
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let float = value.as_float().ok_or_else(|| not_a_number(kind))?;
            spec.kind = Some(kind);
            let (sign, text) = float_parts(float, &spec)?;
            number(&sign, &text, &spec, out)
        }
        other => Err(Error::failed(format!("unsupported format character '{other}'"))),
    }
}

fn cut(text: &mut String, chars: Option<usize>) {
    if let Some((end, _)) = chars.and_then(|chars| text.char_indices().nth(chars)) {
        text.truncate(end);
    }
}

/// Writes a number, with zeros between sign and digits if the specification asks for them.
fn number(sign: &str, digits: &str, spec: &Spec, out: &mut Buffer) -> Result<()> {
    let mut spec = spec.clone();
    if spec.zero && spec.align != Some('<') {
        spec.align = Some('=');
        spec.fill = Some('0');
    }
    pad(sign, digits, &spec, out)
}

fn pad(sign: &str, text: &str, spec: &Spec, out: &mut Buffer) -> Result<()> {
    let missing = spec.width.saturating_sub(sign.chars().count() + text.chars().count());
    let fill = spec.fill.unwrap_or(' ');
    let (before, between, after) = match spec.align {
        Some('<') => (0, 0, missing),
        Some('^') => (missing / 2, 0, missing - missing / 2),
        Some('=') => (0, missing, 0),
        _ => (missing, 0, 0),
    };
    out.fill(fill, before)?;
    out.push_str(sign)?;
    out.fill(fill, between)?;
    out.push_str(text)?;
    out.fill(fill, after)
}

fn sign_of(negative: bool, spec: &Spec) -> String {
    if negative { "-".into() } else { spec.sign.map(String::from).unwrap_or_default() }
}

/// The sign with a prefix such as `0x`, and the digits.
fn int_parts(int: i128, spec: &Spec) -> Result<(String, String)> {
    let magnitude = int.unsigned_abs();
    let (prefix, digits) = match spec.kind {
        Some('x') => ("0x", format!("{magnitude:x}")),
        Some('X') => ("0X", format!("{magnitude:X}")),
        Some('o') => ("0o", format!("{magnitude:o}")),
        Some('b') => ("0b", format!("{magnitude:b}")),
        _ => ("", magnitude.to_string()),
    };
    if spec.precision.is_some() {
        return Err(Error::failed("Precision not allowed in integer format specifier"));
    }
    let prefix = if spec.alternate { prefix } else { "" };
    let every = if matches!(spec.kind, Some('x' | 'X' | 'o' | 'b')) { 4 } else { 3 };
    Ok((sign_of(int < 0, spec) + prefix, grouped(&digits, every, spec.grouping)))
}

fn grouped(digits: &str, every: usize, mark: Option<char>) -> String {
    let Some(mark) = mark else { return digits.to_owned() };
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(every) {
            out.push(mark);
        }
        out.push(c);
    }
    out
}

fn float_parts(float: f64, spec: &Spec) -> Result<(String, String)> {
    let negative = float.is_sign_negative() && !float.is_nan();
    let kind = spec.kind.unwrap_or('r');
    let sign = sign_of(negative, spec);
    let magnitude = float.abs();
    if spec.precision.is_some_and(|digits| digits > PRECISION_MAX) {
        return Err(Error::failed("precision too big"));
    }
    let digits = spec.precision.unwrap_or(6);
    let mut text = match kind {
        _ if !float.is_finite() => float_text(magnitude),
        'f' | 'F' => format!("{magnitude:.digits$}"),
        'e' | 'E' => scientific(magnitude, digits),
        '%' => format!("{:.digits$}%", magnitude * 100.0),
        'r' if spec.precision.is_none() => float_text(magnitude),
        _ => general(magnitude, digits.max(1), spec.alternate, kind == 'r'),
    };
    if kind.is_ascii_uppercase() {
        text = text.to_uppercase();
    }
    if spec.grouping.is_some() {
        let whole = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text = grouped(&text[..whole], 3, spec.grouping) + &text[whole..];
    }
    Ok((sign, text))
}

fn scientific(magnitude: f64, digits: usize) -> String {
    let text = format!("{magnitude:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%g`: so many significant digits, in the shorter of both notations, without trailing zeros.
fn general(magnitude: f64, digits: usize, keep_zeros: bool, point: bool) -> String {
    let rounded = format!("{magnitude:.*e}", digits - 1);
    let exponent: i32 = rounded.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let upper = if point { digits as i32 - 1 } else { digits as i32 };
    let trimmed = |text: &str| {
        if keep_zeros || !text.contains('.') {
            return text.to_owned();
        }
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if (-4..upper.max(1)).contains(&exponent) {
        let text =
            trimmed(&format!("{magnitude:.*}", usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0)));
        return if point && !text.contains('.') { text + ".0" } else { text };
    }
    let text = scientific(magnitude, digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
    format!("{}e{exponent}", trimmed(mantissa))
}

/// `template.format(*positional, **named)`.
pub(super) fn braces(
    template: &Text,
    positional: &[Value],
    named: &[(Text, Value)],
    item: &dyn Fn(&Value, &str, bool) -> Result<Value>,
    heap: &Heap,
) -> Result<Value> {
    let mut out = Buffer::new(heap)?;
    let mut rest = template.as_str();
    let mut counted = 0;
    while let Some(at) = rest.find(['{', '}']) {
        heap.burn(1)?;
        out.push_str(&rest[..at])?;
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace)?;
            rest = after;
            continue;
        }
        let end = if brace == "{" { rest.find(['{', '}']) } else { None };
        let end = end.ok_or_else(|| Error::failed("a format string contains a single brace"))?;
        if !rest[end..].starts_with('}') {
            return Err(Error::failed("a format inside of a format is not supported"));
        }
        let (field, spec) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
        rest = &rest[end + 1..];
        let (field, conversion) = field.split_once('!').map_or((field, None), |(field, c)| (field, Some(c)));
        // Names are searched one after the other.
        heap.burn(named.len() as u64)?;
        let value = field_value(field, positional, named, &mut counted, item)?;
        let value = match conversion {
            None => value,
            Some("s") => Value::Str(text_of(&value, heap)?),
            Some("r") => {
                let mut text = Buffer::new(heap)?;
                write_repr(&value, &mut text, heap)?;
                heap.str(text.into_string())?
            }
            Some(other) => return Err(Error::failed(format!("unknown conversion '{}'", shortened(other)))),
        };
        let markup = template.is_markup();
        format_one(&value, spec, markup, &mut out, heap)?;
    }
    out.push_str(rest)?;
    Ok(Value::Str(heap.text_as(out.into_string(), template.is_markup())?))
}

fn field_value(
    field: &str,
    positional: &[Value],
    named: &[(Text, Value)],
    counted: &mut usize,
    item: &dyn Fn(&Value, &str, bool) -> Result<Value>,
) -> Result<Value> {
    let end = field.find(['.', '[']).unwrap_or(field.len());
    let (first, mut path) = field.split_at(end);
    let missing = || Error::failed(format!("the format needs '{}', which is not given", shortened(first)));
    let mut value = if first.is_empty() || first.bytes().all(|b| b.is_ascii_digit()) {
        let at = first.parse().unwrap_or(*counted);
        *counted += usize::from(first.is_empty());
        positional.get(at).ok_or_else(missing)?.clone()
    } else {
        named.iter().find(|(name, _)| name.as_str() == first).ok_or_else(missing)?.1.clone()
    };
    while !path.is_empty() {
        let is_item = path.starts_with('[');
        let inner = &path[1..];
        let end = inner.find(if is_item { &[']'][..] } else { &['.', '['][..] }).unwrap_or(inner.len());
        value = item(&value, &inner[..end], is_item)?;
        value.defined()?;
        path = inner[end..].strip_prefix(']').unwrap_or(&inner[end..]);
    }
    Ok(value)
}

/// `format(value, spec)`.
fn format_one(value: &Value, spec: &str, markup: bool, out: &mut Buffer, heap: &Heap) -> Result<()> {
    let plain = spec.is_empty();
    let mut spec = parsed(spec)?;
    let is_number =
        matches!(value, Value::Int(_) | Value::Float(_)) || (matches!(value, Value::Bool(_)) && !plain);
    if is_number && spec.kind == Some('s') {
        return Err(Error::failed(format!("the format 's' does not fit '{}'", value.type_name())));
    }
    if !is_number {
        if spec.kind.is_some_and(|kind| kind != 's')
            || (spec.zero && spec.align.is_none())
            || spec.sign.is_some()
        {
            let problem = format!("a format of numbers does not fit '{}'", value.type_name());
            return Err(Error::failed(problem));
        }
        if !plain && !matches!(value, Value::Str(_)) {
            let problem = format!("unsupported format string passed to {}.__format__", value.type_name());
            return Err(Error::failed(problem));
        }
        let text = text_of(value, heap)?;
        heap.room(text.len())?;
        let mut text = text.to_string();
        if markup && !matches!(value, Value::Str(text) if text.is_markup()) {
            text = escaped(&text, heap)?;
        }
        cut(&mut text, spec.precision);
        spec.align = spec.align.or(Some('<'));
        return pad("", &text, &spec, out);
    }
    let float_kind = spec.kind.is_some_and(|kind| "eEfFgG%".contains(kind));
    let (sign, digits) = match value.as_int() {
        Some(int) if !float_kind => int_parts(int, &spec)?,
        _ if spec.kind.is_some_and(|kind| "dxXob".contains(kind)) => {
            return Err(Error::failed("a format of whole numbers does not fit 'float'"));
        }
        _ => float_parts(value.as_float().unwrap_or(f64::NAN), &spec)?,
    };
    if spec.zero && spec.align.is_some() {
        spec.zero = false;
        spec.fill = spec.fill.or(Some('0'));
    }
    number(&sign, &digits, &spec, out)
}

/// Parses `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
fn parsed(text: &str) -> Result<Spec> {
    let mut spec = Spec::default();
    let is_align = |c: char| "<>=^".contains(c);
    let mut chars = text.chars().peekable();
    let mut ahead = text.chars();
    let (first, second) = (ahead.next(), ahead.next());
    if second.is_some_and(is_align) {
        spec.fill = chars.next();
        spec.align = chars.next();
    } else if first.is_some_and(is_align) {
        spec.align = chars.next();
    }
    spec.sign = chars.next_if(|c| "+- ".contains(*c)).filter(|&c| c != '-');
    spec.alternate = chars.next_if_eq(&'#').is_some();
    spec.zero = chars.next_if_eq(&'0').is_some();
    spec.width = digits(&mut chars)?.unwrap_or(0);
    spec.grouping = chars.next_if(|c| matches!(c, ',' | '_'));
    if chars.next_if_eq(&'.').is_some() {
        spec.precision =
            Some(digits(&mut chars)?.ok_or_else(|| Error::failed("Format specifier missing precision"))?);
    }
    spec.kind = chars.next_if(|c| "bdoxXeEfFgGs%".contains(*c));
    match chars.next() {
        None => Ok(spec),
        Some(_) => Err(Error::failed(format!("Invalid format specifier '{}'", shortened(text)))),
    }
}

/// The text with HTML's special characters as entities.
pub(super) fn escaped(text: &str, heap: &Heap) -> Result<String> {
    let mut out = Buffer::new(heap)?;
    write_escaped(text, &mut out)?;
    Ok(out.into_string())
}

/// Writes the result of [`escaped`].
pub(super) fn write_escaped(text: &str, out: &mut Buffer) -> Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.push_str(&rest[..at])?;
        out.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&#34;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    out.push_str(rest)
}
