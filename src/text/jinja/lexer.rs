//! Turns a template's source into tokens, and removes white space around tags as Jinja2 does under `trim_blocks` and
//! `lstrip_blocks`.

use super::{Error, Result};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text between tags.
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
}

/// A token and its line, from 1.
pub(super) type TokenAndLine = (Token, u32);

/// Longer operators come before their prefixes.
const OPERATORS: &[&str] = &[
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

/// White space as Python's `str.isspace` and `\s` define it.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(super) fn tokens(source: &str) -> Result<Vec<TokenAndLine>> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    // Jinja2 drops one newline at the end unless it is told to keep it.
    if source.ends_with('\n') {
        source.pop();
    }
    let lexer = Lexer { source: &source, at: 0, line: 1, line_starting: true, tokens: Vec::new() };
    lexer.run()
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Whether the last thing that was read ended a line.
    line_starting: bool,
    tokens: Vec<TokenAndLine>,
}

impl<'s> Lexer<'s> {
    fn run(mut self) -> Result<Vec<TokenAndLine>> {
        while let Some((place, kind)) = next_tag(self.rest()) {
            let sign = self.rest()[place + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let raw = if kind == '%' { raw_begin(&self.rest()[place..]) } else { None };
            self.data(place, sign, kind != '{');
            match (kind, raw) {
                (_, Some(bytes)) => {
                    self.skip(bytes);
                    self.raw()?;
                }
                ('#', _) => {
                    self.skip(2 + usize::from(sign.is_some()));
                    self.comment()?;
                }
                ('%', _) => {
                    self.skip(2 + usize::from(sign.is_some()));
                    self.tag(Token::BlockBegin, Token::BlockEnd)?;
                }
                _ => {
                    self.skip(2 + usize::from(sign.is_some()));
                    self.tag(Token::VariableBegin, Token::VariableEnd)?;
                }
            }
        }
        let rest = self.rest().to_owned();
        self.text(rest);
        Ok(self.tokens)
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// Moves on by `bytes`, which may contain newlines.
    fn skip(&mut self, bytes: usize) {
        let passed = &self.rest()[..bytes];
        self.line += passed.matches('\n').count() as u32;
        if bytes > 0 {
            self.line_starting = passed.ends_with('\n');
        }
        self.at += bytes;
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    fn text(&mut self, text: String) {
        if !text.is_empty() {
            self.push(Token::Data(text));
        }
    }

    /// Reads `bytes` of text in front of a tag with this sign. `block` tags remove the white space before them in the
    /// line.
    fn data(&mut self, bytes: usize, sign: Option<char>, block: bool) {
        let whole = &self.rest()[..bytes];
        let mut text = whole;
        if sign == Some('-') {
            text = text.trim_end_matches(is_space);
        } else if sign.is_none() && block {
            let line = text.rfind('\n').map_or(0, |newline| newline + 1);
            if (line > 0 || self.line_starting) && text[line..].chars().all(is_space) {
                text = &text[..line];
            }
        }
        self.text(text.to_owned());
        self.skip(bytes);
    }

    fn comment(&mut self) -> Result<()> {
        let rest = self.rest();
        let end = rest.find("#}").ok_or_else(|| self.error("a comment is not closed"))?;
        let sign = rest[..end].chars().next_back();
        self.skip(end + 2);
        self.after_block(sign);
        Ok(())
    }

    /// Removes white space after `%}` or `#}`, which had `sign` in front.
    fn after_block(&mut self, sign: Option<char>) {
        let rest = self.rest();
        match sign {
            Some('-') => self.skip(rest.len() - rest.trim_start_matches(is_space).len()),
            Some('+') => {}
            _ => self.skip(usize::from(rest.starts_with('\n'))),
        }
    }

    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        let ends = rest.match_indices("{%").find_map(|(place, _)| Some((place, raw_end(&rest[place..])?)));
        let (place, (open, close, bytes)) =
            ends.ok_or_else(|| self.error("`raw` is not closed by `endraw`"))?;
        self.data(place, open, true);
        self.skip(bytes);
        self.after_block(close);
        Ok(())
    }

    /// Reads the tokens up to the end of a tag.
    fn tag(&mut self, begin: Token, end: Token) -> Result<()> {
        let block = begin == Token::BlockBegin;
        self.push(begin);
        let mut open: Vec<char> = Vec::new();
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(self.error("a tag is not closed"));
            };
            if open.is_empty()
                && let Some((sign, bytes)) = tag_end(rest, block)
            {
                self.push(end);
                self.skip(bytes);
                match (block, sign) {
                    (false, Some(_)) => self.after_block(Some('-')),
                    (false, None) => {}
                    (true, sign) => self.after_block(sign),
                }
                return Ok(());
            }
            if is_space(first) {
                self.skip(rest.len() - rest.trim_start_matches(is_space).len());
            } else if first.is_ascii_digit() {
                self.number()?;
            } else if is_word(first) {
                let bytes = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                if first.is_numeric() {
                    return Err(self.error("a name begins with a digit"));
                }
                self.push(Token::Name(rest[..bytes].to_owned()));
                self.skip(bytes);
            } else if matches!(first, '\'' | '"') {
                self.string(first)?;
            } else {
                self.operator(&mut open)?;
            }
        }
    }

    fn operator(&mut self, open: &mut Vec<char>) -> Result<()> {
        let rest = self.rest();
        let found = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
        let Some(operator) = found else {
            let c = rest.chars().next().unwrap_or(' ');
            return Err(self.error(&format!("unexpected character `{c}`")));
        };
        match *operator {
            "(" => open.push(')'),
            "[" => open.push(']'),
            "{" => open.push('}'),
            ")" | "]" | "}" if open.pop().is_none_or(|close| !operator.starts_with(close)) => {
                return Err(self.error(&format!("`{operator}` has no opening bracket")));
            }
            _ => {}
        }
        self.push(Token::Op(operator));
        self.skip(operator.len());
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let after_dot = self.source[..self.at].ends_with('.');
        if let Some(bytes) = float_bytes(rest).filter(|_| !after_dot) {
            let float = rest[..bytes].replace('_', "").parse();
            self.push(Token::Float(float.map_err(|_| self.error("a number can't be read"))?));
            self.skip(bytes);
            return Ok(());
        }
        let (digits, radix) = match rest.get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("0x") => (2, 16),
            Some("0o") => (2, 8),
            Some("0b") => (2, 2),
            _ => (0, 10),
        };
        let length =
            rest[digits..].find(|c: char| !(c.is_digit(radix) || c == '_')).unwrap_or(rest.len() - digits);
        let text = rest[digits..digits + length].replace('_', "");
        if radix == 10 && text.len() > 1 && text.starts_with('0') && text.bytes().any(|b| b != b'0') {
            return Err(self.error("a number begins with 0"));
        }
        let number = i128::from_str_radix(&text, radix);
        self.push(Token::Int(number.map_err(|_| self.error("a number is too large"))?));
        self.skip(digits + length);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|&(_, c)| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (end, _) = end.ok_or_else(|| self.error("a string is not closed"))?;
        let text = unescaped(&rest[1..end]).map_err(|what| self.error(&what))?;
        self.push(Token::Str(text));
        self.skip(end + 1);
        Ok(())
    }

    fn error(&self, what: &str) -> Error {
        Error::Syntax { line: self.line, what: what.to_owned() }
    }
}

/// The position of the next tag, and its second character.
fn next_tag(text: &str) -> Option<(usize, char)> {
    text.match_indices('{').find_map(|(place, _)| {
        let second = text[place + 1..].chars().next()?;
        matches!(second, '{' | '%' | '#').then_some((place, second))
    })
}

/// The sign of a tag's end and its bytes, not counting white space that is stripped after it.
fn tag_end(rest: &str, block: bool) -> Option<(Option<char>, usize)> {
    let end = if block { "%}" } else { "}}" };
    if rest.starts_with(end) {
        return Some((None, 2));
    }
    let sign = rest.chars().next().filter(|&c| c == '-' || (block && c == '+'))?;
    rest[1..].starts_with(end).then_some((Some(sign), 3))
}

/// Bytes of `{% raw %}` including the white space that its sign strips.
fn raw_begin(tag: &str) -> Option<usize> {
    let inner = tag[2..].strip_prefix(['-', '+']).unwrap_or(&tag[2..]);
    let rest = inner.trim_start_matches(is_space).strip_prefix("raw")?.trim_start_matches(is_space);
    let rest = match rest.strip_prefix("-%}") {
        Some(rest) => rest.trim_start_matches(is_space),
        None => rest.strip_prefix("%}")?,
    };
    Some(tag.len() - rest.len())
}

/// The signs at both ends of `{% endraw %}` and its bytes.
fn raw_end(tag: &str) -> Option<(Option<char>, Option<char>, usize)> {
    let open = tag[2..].chars().next().filter(|c| matches!(c, '-' | '+'));
    let inner = &tag[2 + usize::from(open.is_some())..];
    let rest = inner.trim_start_matches(is_space).strip_prefix("endraw")?.trim_start_matches(is_space);
    let (close, bytes) = tag_end(rest, true)?;
    Some((open, close, tag.len() - rest.len() + bytes))
}

/// Bytes of a number with a decimal point or an exponent.
fn float_bytes(text: &str) -> Option<usize> {
    let digits = |from: usize| {
        let rest = &text[from..];
        let length = rest.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(rest.len());
        rest.starts_with(|c: char| c.is_ascii_digit()).then_some(from + length)
    };
    let whole = digits(0)?;
    let fraction = text[whole..].starts_with('.').then(|| digits(whole + 1)).flatten();
    let mantissa = fraction.unwrap_or(whole);
    let exponent = text[mantissa..].starts_with(['e', 'E']).then(|| {
        let sign = usize::from(text[mantissa + 1..].starts_with(['+', '-']));
        digits(mantissa + 1 + sign)
    });
    exponent.flatten().or(fraction)
}

/// The text of a string literal, by Python's rules.
fn unescaped(text: &str) -> std::result::Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(escape) = chars.next() else { return Err("a string ends in a backslash".into()) };
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => {
                let mut code = escape.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    chars.next();
                }
                out.extend(char::from_u32(code));
                continue;
            }
            'N' => return Err("characters by their names (`\\N{…}`) are not supported".into()),
            other => {
                match "abfnrtv\\'\"\n".find(other) {
                    Some(10) => {}
                    Some(at) => {
                        out.push(['\u{7}', '\u{8}', '\u{c}', '\n', '\r', '\t', '\u{b}', '\\', '\'', '"'][at])
                    }
                    None => out.extend(['\\', other]),
                }
                continue;
            }
        };
        let hex: String = chars.by_ref().take(digits).collect();
        let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
        let code = code.ok_or_else(|| format!("`\\{escape}{hex}` is not a character"))?;
        out.push(
            char::from_u32(code).ok_or_else(|| format!("`\\{escape}{hex}` is not a character on its own"))?,
        );
    }
    Ok(out)
}
