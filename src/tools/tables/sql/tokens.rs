//! The tokens of an SQL statement, as far as its outline needs them.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a name without quotation marks.
    Word,
    /// A name in quotation marks.
    Quoted,
    /// A text or a number.
    Literal,
    Symbol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    pub(super) at: usize,
    /// Number of parentheses around it.
    pub(super) depth: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind != Kind::Literal && self.kind != Kind::Quoted && self.text.eq_ignore_ascii_case(word)
    }
}

/// The tokens without comments; `None` if a quotation mark or a parenthesis is not closed.
pub(super) fn tokens(sql: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if rest.starts_with("/*") {
            at += rest.find("*/")? + 2;
            continue;
        }
        let (kind, length) = match c {
            '\'' => (Kind::Literal, quoted(rest, '\'')?),
            '"' | '`' => (Kind::Quoted, quoted(rest, c)?),
            '[' => (Kind::Quoted, rest.find(']')? + 1),
            _ if is_name(c) => {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                (if c.is_ascii_digit() { Kind::Literal } else { Kind::Word }, end)
            }
            _ => (Kind::Symbol, c.len_utf8()),
        };
        if c == ')' {
            depth = depth.checked_sub(1)?;
        }
        tokens.push(Token { kind, text: &rest[..length], at, depth });
        if c == '(' {
            depth += 1;
        }
        at += length;
    }
    (depth == 0).then_some(tokens)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

/// Bytes of a text in quotation marks; doubled marks belong to the text.
fn quoted(text: &str, mark: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find(mark)? + 1;
        if !text[at..].starts_with(mark) {
            return Some(at);
        }
        at += 1;
    }
}
