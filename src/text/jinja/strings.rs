//! The methods of Python's `str`.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex_automata::meta::Regex;

use super::args::{Args, int, required, size, text};
use super::format::{braces, escaped, write_escaped};
use super::heap::{Buffer, CountedVec, Heap};
use super::lexer::is_space;
use super::ops;
use super::show::is_printable;
use super::value::{Text, Value};
use super::{Error, Result};

/// `subject.method(arguments)`.
pub(super) fn call(subject: &Text, method: &'static str, args: Args, heap: &Heap) -> Result<Value> {
    heap.touch(subject.len())?;
    let same = |text: &str| Ok(Value::Str(heap.text_as(text, subject.is_markup())?));
    match method {
        "capitalize" | "casefold" | "lower" | "upper" | "swapcase" | "title" => {
            let text = recased(subject, method, heap)?;
            Ok(Value::Str(heap.text_as(text, subject.is_markup())?))
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(method, ["chars"])?;
            same(stripped(subject, method, chars.as_ref(), heap)?)
        }
        "removeprefix" | "removesuffix" => {
            let [part] = args.bind(method, ["part"])?;
            let part = text(&required(part, method, "part")?, method)?;
            let rest = match method {
                "removeprefix" => subject.strip_prefix(part.as_str()),
                _ => subject.strip_suffix(part.as_str()),
            };
            same(rest.unwrap_or(subject))
        }
        "startswith" | "endswith" => affix(subject, method, args, heap),
        "count" | "find" | "index" | "rfind" | "rindex" => search(subject, method, args),
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" => pieces(subject, method, args, heap),
        "replace" => {
            let [old, new, count] = args.bind(method, ["old", "new", "count"])?;
            let count = count.map_or(Ok(-1), |count| int(&count, method))?;
            let (old, new) = (required(old, method, "old")?, required(new, method, "new")?);
            replaced(subject, &text(&old, method)?, &text(&new, method)?, count, heap)
        }
        "join" => {
            let [items] = args.bind(method, ["iterable"])?;
            joined(subject, &required(items, method, "iterable")?, heap)
        }
        "format" => {
            let item = |value: &Value, name: &str, is_item: bool| match name.parse::<i128>() {
                Ok(index) if is_item => ops::item(value, &Value::Int(index), heap),
                _ if is_item => ops::item(value, &heap.str(name)?, heap),
                _ => ops::attribute(value, &heap.text(name)?, heap),
            };
            braces(subject, &args.positional, &args.named, &item, heap)
        }
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs" => widened(subject, method, args, heap),
        _ => {
            // Looking up a character's class is expensive.
            heap.work(subject.len() * 4)?;
            Ok(Value::Bool(is(subject, method)?))
        }
    }
}

fn recased(text: &str, method: &str, heap: &Heap) -> Result<String> {
    heap.room(text.len())?;
    if !matches!(method, "lower" | "upper") {
        heap.work(text.len())?;
    }
    Ok(match method {
        "capitalize" => capitalized(text),
        "casefold" => text.chars().flat_map(folded).collect(),
        "lower" => text.to_lowercase(),
        "upper" => text.to_uppercase(),
        "swapcase" => text.chars().flat_map(swapped).collect(),
        _ => titled(text),
    })
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    title_case(first) + &chars.as_str().to_lowercase()
}

/// A first letter in title case: of a digraph, only the first letter is upper case.
fn title_case(c: char) -> String {
    match c {
        'Ǆ'..='ǆ' => return "ǅ".into(),
        'Ǉ'..='ǉ' => return "ǈ".into(),
        'Ǌ'..='ǌ' => return "ǋ".into(),
        'Ǳ'..='ǳ' => return "ǲ".into(),
        _ => {}
    }
    let mut upper = c.to_uppercase();
    let first: String = upper.next().into_iter().collect();
    if c.is_lowercase() { first + &upper.collect::<String>().to_lowercase() } else { c.to_string() }
}

/// Full case folding: to upper case and back to lower case, except for Cherokee letters and the dotless i.
fn folded(c: char) -> Vec<char> {
    match c {
        'ı' => vec![c],
        'Ꭰ'..='Ᏽ' => vec![c],
        'ᏸ'..='ᏽ' | 'ꭰ'..='ꮿ' => c.to_uppercase().collect(),
        c => c.to_uppercase().flat_map(char::to_lowercase).collect(),
    }
}

fn swapped(c: char) -> Vec<char> {
    if c.is_uppercase() {
        c.to_lowercase().collect()
    } else if c.is_lowercase() {
        c.to_uppercase().collect()
    } else {
        vec![c]
    }
}

fn is_cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}

fn titled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        if in_word {
            out.extend(c.to_lowercase());
        } else {
            out.push_str(&title_case(c));
        }
        in_word = is_cased(c);
    }
    out
}

/// Removes white space, or the given characters, at the ends that `method` names.
pub(super) fn stripped<'t>(
    subject: &'t str,
    method: &str,
    chars: Option<&Value>,
    heap: &Heap,
) -> Result<&'t str> {
    let chars = match chars {
        None | Some(Value::None) => None,
        Some(chars) => {
            let chars = text(chars, method)?;
            let _counted = heap.charge(chars.len() * 8)?;
            heap.work(chars.len() + subject.len())?;
            Some(chars.chars().collect::<HashSet<char>>())
        }
    };
    let strips = |c: char| chars.as_ref().map_or(is_space(c), |chars| chars.contains(&c));
    let mut rest = subject;
    if method != "rstrip" {
        rest = rest.trim_start_matches(strips);
    }
    if method != "lstrip" {
        rest = rest.trim_end_matches(strips);
    }
    Ok(rest)
}

/// The part of `subject` between two character indices by Python's rules, and the number of characters before it;
/// `None` if it begins after its end.
fn span<'t>(
    subject: &'t str,
    start: Option<&Value>,
    end: Option<&Value>,
    method: &str,
) -> Result<Option<(&'t str, usize)>> {
    let mut bounds = [None; 2];
    for (bound, value) in bounds.iter_mut().zip([start, end]) {
        *bound = match value {
            None | Some(Value::None) => None,
            Some(value) => Some(int(value, method)?),
        };
    }
    if bounds == [None; 2] {
        return Ok(Some((subject, 0)));
    }
    let chars = subject.chars().count() as i128;
    let clamp = |at: i128| (if at < 0 { at.saturating_add(chars) } else { at }).max(0);
    let (start, end) = (clamp(bounds[0].unwrap_or(0)), clamp(bounds[1].unwrap_or(chars)).min(chars));
    if start > end {
        return Ok(None);
    }
    let byte = |at: i128| subject.char_indices().nth(at as usize).map_or(subject.len(), |(byte, _)| byte);
    Ok(Some((&subject[byte(start)..byte(end)], start as usize)))
}

fn affix(subject: &Text, method: &str, args: Args, heap: &Heap) -> Result<Value> {
    let [part, start, end] = args.bind(method, ["part", "start", "end"])?;
    let part = required(part, method, "part")?;
    let parts = match &part {
        Value::Tuple(parts) => &parts.values[..],
        part => std::slice::from_ref(part),
    };
    let Some((subject, _)) = span(subject, start.as_ref(), end.as_ref(), method)? else {
        return Ok(Value::Bool(false));
    };
    let mut found = false;
    for part in parts {
        let part = text(part, method)?;
        heap.touch(part.len().min(subject.len()))?;
        found |= match method {
            "startswith" => subject.starts_with(part.as_str()),
            _ => subject.ends_with(part.as_str()),
        };
    }
    Ok(Value::Bool(found))
}

fn search(subject: &Text, method: &str, args: Args) -> Result<Value> {
    let [part, start, end] = args.bind(method, ["part", "start", "end"])?;
    let part = text(&required(part, method, "part")?, method)?;
    let part = part.as_str();
    let Some((within, before)) = span(subject, start.as_ref(), end.as_ref(), method)? else {
        return match method {
            "count" => Ok(Value::Int(0)),
            "find" | "rfind" => Ok(Value::Int(-1)),
            _ => Err(Error::failed("substring not found")),
        };
    };
    let found = match method {
        "count" if part.is_empty() => return Ok(Value::Int(within.chars().count() as i128 + 1)),
        "count" => return Ok(Value::Int(within.matches(part).count() as i128)),
        "find" | "index" => within.find(part),
        _ => within.rfind(part),
    };
    match found {
        Some(byte) => Ok(Value::Int((before + within[..byte].chars().count()) as i128)),
        None if method.ends_with("index") => Err(Error::failed("substring not found")),
        None => Ok(Value::Int(-1)),
    }
}

fn pieces(subject: &Text, method: &str, args: Args, heap: &Heap) -> Result<Value> {
    let part = |text: &str| Ok(Value::Str(heap.text_as(text, subject.is_markup())?));
    if method == "splitlines" {
        let [keep] = args.bind(method, ["keepends"])?;
        let keep = keep.is_some_and(|keep| keep.is_true());
        let mut parts = CountedVec::new(heap)?;
        for line in Lines::of(subject, keep) {
            parts.push(part(line)?)?;
        }
        return heap.list(parts);
    }
    if method.ends_with("partition") {
        let [separator] = args.bind(method, ["sep"])?;
        let separator = text(&required(separator, method, "sep")?, method)?;
        let separator = nonempty(&separator)?;
        let found = if method == "partition" {
            subject.split_once(separator)
        } else {
            subject.rsplit_once(separator)
        };
        let parts = match found {
            Some((before, after)) => [before, separator, after],
            None if method == "partition" => [subject.as_str(), "", ""],
            None => ["", "", subject.as_str()],
        };
        let parts = parts.into_iter().map(part).collect::<Result<Vec<_>>>()?;
        return heap.tuple(parts);
    }
    let [separator, most] = args.bind(method, ["sep", "maxsplit"])?;
    let most = most.map_or(Ok(-1), |most| int(&most, method))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let from_end = method == "rsplit";
    let mut parts = CountedVec::new(heap)?;
    let mut keep = |piece: &str| parts.push(part(piece)?);
    match &separator {
        None | Some(Value::None) => words(subject, from_end, most, &mut keep)?,
        Some(separator) => {
            let separator = text(separator, method)?;
            let separator = nonempty(&separator)?;
            let most = most.saturating_add(1);
            if from_end {
                subject.rsplitn(most, separator).try_for_each(keep)?;
            } else {
                subject.splitn(most, separator).try_for_each(keep)?;
            }
        }
    }
    if from_end {
        parts.reverse();
    }
    heap.list(parts)
}

/// Splits at white space, at most `most` times. The unsplit rest keeps its white space at the far end.
fn words(subject: &str, from_end: bool, most: usize, keep: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let mut rest = subject.trim_matches(is_space);
    let mut splits = 0;
    while !rest.is_empty() {
        let cut = if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(cut) = cut.filter(|_| splits < most) else { break };
        splits += 1;
        if from_end {
            let after = cut + rest[cut..].chars().next().map_or(1, char::len_utf8);
            keep(&rest[after..])?;
            rest = rest[..cut].trim_end_matches(is_space);
        } else {
            keep(&rest[..cut])?;
            rest = rest[cut..].trim_start_matches(is_space);
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let start = rest.as_ptr() as usize - subject.as_ptr() as usize;
    let whole = if from_end { &subject[..start + rest.len()] } else { &subject[start..] };
    keep(if splits == most { whole } else { rest })
}

fn nonempty(separator: &Text) -> Result<&str> {
    if separator.is_empty() { Err(Error::failed("empty separator")) } else { Ok(separator) }
}

/// Iterates over a text's lines without collecting them, since they may be as many as its bytes.
pub(super) struct Lines<'t> {
    rest: &'t str,
    keep_ends: bool,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str, keep_ends: bool) -> Self {
        Self { rest: text, keep_ends }
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let is_end = |c: char| {
            matches!(
                c,
                '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
            )
        };
        let rest = self.rest;
        if rest.is_empty() {
            return None;
        }
        let Some(end) = rest.find(is_end) else {
            self.rest = "";
            return Some(rest);
        };
        let first = rest[end..].chars().next().map_or(1, char::len_utf8);
        let bytes = if rest[end..].starts_with("\r\n") { 2 } else { first };
        self.rest = &rest[end + bytes..];
        Some(&rest[..if self.keep_ends { end + bytes } else { end }])
    }
}

/// `subject.replace(old, new, count)`; a negative count replaces all.
pub(super) fn replaced(subject: &Text, old: &Text, new: &Text, count: i128, heap: &Heap) -> Result<Value> {
    let markup = subject.is_markup();
    let escape = |text: &Text| {
        if markup && !text.is_markup() {
            return heap.text(escaped(text, heap)?);
        }
        Ok(text.clone())
    };
    let (old, new) = (escape(old)?, escape(new)?);
    heap.touch(subject.len())?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = subject.matches(old.as_str()).take(count).count();
    heap.room(subject.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::Str(heap.text_as(subject.replacen(old.as_str(), &new, count), markup)?))
}

fn joined(separator: &Text, items: &Value, heap: &Heap) -> Result<Value> {
    items.defined()?;
    let mut out = Buffer::new(heap)?;
    for (at, item) in items.iterate(heap)?.iter().enumerate() {
        let Value::Str(part) = item else {
            let kind = item.type_name();
            return Err(Error::failed(format!("sequence item {at}: expected str instance, {kind} found")));
        };
        out.push_str(if at == 0 { "" } else { separator })?;
        if separator.is_markup() && !part.is_markup() {
            write_escaped(part, &mut out)?;
        } else {
            out.push_str(part)?;
        }
    }
    Ok(Value::Str(heap.text_as(out.into_string(), separator.is_markup())?))
}

fn widened(subject: &Text, method: &str, args: Args, heap: &Heap) -> Result<Value> {
    let mut out = Buffer::new(heap)?;
    if method == "expandtabs" {
        let [tab] = args.bind(method, ["tabsize"])?;
        let tab = tab.map_or(Ok(8), |tab| size(&tab, method))?;
        let mut column = 0;
        for c in subject.chars() {
            match c {
                '\t' if tab > 0 => {
                    let spaces = tab - column % tab;
                    out.fill(' ', spaces)?;
                    column += spaces;
                }
                '\t' => {}
                c => {
                    out.push(c)?;
                    column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                }
            }
        }
        return Ok(Value::Str(heap.text_as(out.into_string(), subject.is_markup())?));
    }
    let [width, fill] = args.bind(method, ["width", "fillchar"])?;
    let width = size(&required(width, method, "width")?, method)?;
    let fill = fill.map_or(Ok(" ".to_owned()), |fill| text(&fill, method).map(|fill| fill.to_string()))?;
    let mut fills = fill.chars();
    let (Some(fill), None) = (fills.next(), fills.next()) else {
        return Err(Error::failed("The fill character must be exactly one character long"));
    };
    let missing = width.saturating_sub(subject.chars().count());
    let left = match method {
        "ljust" => 0,
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    if method == "zfill" {
        let digits = subject.strip_prefix(['+', '-']).unwrap_or(subject);
        out.push_str(&subject[..subject.len() - digits.len()])?;
        out.fill('0', missing)?;
        out.push_str(digits)?;
    } else {
        out.fill(fill, left)?;
        out.push_str(subject)?;
        out.fill(fill, missing - left)?;
    }
    Ok(Value::Str(heap.text_as(out.into_string(), subject.is_markup())?))
}

/// The Unicode classes behind methods such as `isalpha` and `isdigit`.
static LETTER: LazyLock<Regex> = LazyLock::new(|| class(r"\p{L}"));
static DECIMAL: LazyLock<Regex> = LazyLock::new(|| class(r"\p{Nd}"));
static DIGIT: LazyLock<Regex> = LazyLock::new(|| {
    class(concat!(
        r"[\p{Nd}\u00b2\u00b3\u00b9\u1369-\u1371\u19da\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c",
        r"\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\U00010a40-\U00010a43",
        r"\U00010e60-\U00010e68\U00011052-\U0001105a\U0001f100-\U0001f10a]"
    ))
});
static NUMERIC: LazyLock<Regex> = LazyLock::new(|| {
    class(
        r"[\p{N}\u3405\u3483\u382a\u3b4d\u4e00\u4e03\u4e07\u4e09\u4e24\u4e5d\u4e8c\u4e94\u4ebf\u4ebf\u5146\u516b\u516d\u5341\u5343\u56db\u58f1\u58f9\u58fa\u767e\u767e\u842c\u8086\u842c\u9621\u96f6\u4ebf\u5104\u5169\u9646\u9678\u62fe\u634c\u67d2\u6f06\u7396\u8086\u8cae\u8cb3\u8d30\u920e\u961c\u4edf\u4ede\u4e96\u5345\u5344\u5eff\u5efe\u5f01\u5f02\u5f0c\u5f0d\u5f0e\u5f10\u53c1\u53c2\u53c3\u53c4]",
    )
});

fn class(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant that a test compiles")
}

fn is(subject: &str, method: &str) -> Result<bool> {
    let all = |holds: &dyn Fn(char) -> bool| !subject.is_empty() && subject.chars().all(holds);
    let of = |regex: &'static Regex| move |c: char| regex.is_match(&*c.encode_utf8(&mut [0; 4]));
    Ok(match method {
        "isascii" => subject.is_ascii(),
        "isspace" => all(&is_space),
        "isalpha" => all(&of(&LETTER)),
        "isdecimal" => all(&of(&DECIMAL)),
        "isdigit" => all(&of(&DIGIT)),
        "isnumeric" => all(&of(&NUMERIC)),
        "isalnum" => all(&|c| of(&LETTER)(c) || of(&DIGIT)(c) || of(&NUMERIC)(c)),
        "isprintable" => subject.chars().all(is_printable),
        "islower" => {
            subject.chars().any(is_cased) && !subject.chars().any(|c| is_cased(c) && !c.is_lowercase())
        }
        "isupper" => {
            subject.chars().any(is_cased) && !subject.chars().any(|c| is_cased(c) && !c.is_uppercase())
        }
        "istitle" => {
            let (mut found, mut in_word) = (false, false);
            let fits = subject.chars().all(|c| {
                let fits = !is_cased(c) || c.is_lowercase() == in_word;
                in_word = is_cased(c);
                found |= in_word;
                fits
            });
            found && fits
        }
        other => return Err(Error::failed(format!("'str' object has no method '{other}'"))),
    })
}
