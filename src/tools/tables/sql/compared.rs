//! The texts that a statement compares with columns, so that a text that no row has can be told or corrected.

use std::collections::HashMap;
use std::ops::Range;

use super::super::schema::Table;
use super::tokens::{Kind, Token, tokens};

/// A text in a statement that a column is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Numbers of the table and of the column.
    pub column: (usize, usize),
    /// The text without its quotation marks.
    pub text: String,
    /// Whether it is a pattern of LIKE or GLOB.
    pub is_pattern: bool,
    /// Where it stands in the statement, with its quotation marks.
    pub bytes: Range<usize>,
}

/// Functions of one text that compare it in another form.
const FORMS: &[&str] = &["lower", "upper", "trim"];

/// Every text that is compared with a column by `=`, `<>`, `IN`, `LIKE` and the like. Empty if the statement has no
/// tokens. A name in double quotes that is none of the tables' names is taken for a text, as people write them.
pub(in super::super) fn compared(sql: &str, tables: &[Table]) -> Vec<Compared> {
    let Some(tokens) = tokens(sql) else { return Vec::new() };
    let names = Names::of(&tokens, tables);
    let texts = tokens.iter().enumerate().filter(|(_, token)| names.is_text(token));
    texts.filter_map(|(at, token)| compared_at(&tokens, at, token, &names)).collect()
}

fn compared_at(tokens: &[Token<'_>], at: usize, token: &Token<'_>, names: &Names<'_>) -> Option<Compared> {
    let mut before = at.checked_sub(1)?;
    let mut is_pattern = false;
    while tokens[before].is(",") || names.is_text(&tokens[before]) {
        before = before.checked_sub(1)?;
    }
    if tokens[before].is("(") && tokens[before.checked_sub(1)?].is("in") {
        before = before.checked_sub(2)?;
    } else if before + 1 == at {
        let operator = before;
        while ["=", "<", ">", "!", "is", "like", "glob"].iter().any(|sign| tokens[before].is(sign)) {
            is_pattern |= tokens[before].is("like") || tokens[before].is("glob");
            before = before.checked_sub(1)?;
        }
        if before == operator {
            return None;
        }
    } else {
        return None;
    }
    if tokens[before].is("not") {
        before = before.checked_sub(1)?;
    }
    if tokens[before].is(")") {
        let inner = before.checked_sub(1)?;
        let opens = (0..inner).rev().find(|open| tokens[*open].is("("))?;
        let is_form = FORMS.iter().any(|form| opens > 0 && tokens[opens - 1].is(form));
        before = if is_form { inner } else { return None };
    }
    let qualifier = (before >= 2 && tokens[before - 1].is(".")).then(|| unquoted(tokens[before - 2].text));
    let column = names.column(qualifier.as_deref(), &unquoted(tokens[before].text))?;
    let bytes = token.at..token.at + token.text.len();
    Some(Compared { column, text: unquoted(token.text), is_pattern, bytes })
}

/// What the names of a statement stand for.
struct Names<'t> {
    tables: &'t [Table],
    /// Tables by the names that the statement gives them.
    sources: HashMap<String, usize>,
    /// The tables that it reads, in order.
    read: Vec<usize>,
}

impl<'t> Names<'t> {
    fn of(tokens: &[Token<'_>], tables: &'t [Table]) -> Self {
        let number = |name: &str| tables.iter().position(|table| table.name.eq_ignore_ascii_case(name));
        let (mut sources, mut read) = (HashMap::new(), Vec::new());
        for (at, token) in tokens.iter().enumerate() {
            let follows = at > 0 && ["from", "join", ","].iter().any(|word| tokens[at - 1].is(word));
            let Some(table) = number(&unquoted(token.text)).filter(|_| follows) else { continue };
            sources.entry(tables[table].name.to_lowercase()).or_insert(table);
            read.push(table);
            let next = tokens.get(at + 1).filter(|next| next.is("as")).map_or(at + 1, |_| at + 2);
            if let Some(alias) =
                tokens.get(next).filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted))
            {
                sources.entry(unquoted(alias.text).to_lowercase()).or_insert(table);
            }
        }
        Self { tables, sources, read }
    }

    fn column(&self, qualifier: Option<&str>, name: &str) -> Option<(usize, usize)> {
        let in_table = |table: usize| {
            let columns = &self.tables[table].columns;
            let column = columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
            Some((table, column))
        };
        match qualifier {
            Some(name) => in_table(*self.sources.get(&name.to_lowercase())?),
            None => self.read.iter().find_map(|table| in_table(*table)),
        }
    }

    fn is_text(&self, token: &Token<'_>) -> bool {
        let is_name =
            |name: &str| self.sources.contains_key(&name.to_lowercase()) || self.column(None, name).is_some();
        match token.kind {
            Kind::Literal => token.text.starts_with('\''),
            Kind::Quoted => token.text.starts_with('"') && !is_name(&unquoted(token.text)),
            _ => false,
        }
    }
}

/// A text or a name without its quotation marks.
fn unquoted(text: &str) -> String {
    let Some(mark) = text.chars().next().filter(|mark| matches!(mark, '\'' | '"' | '`' | '[')) else {
        return text.to_owned();
    };
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    inner.replace(&format!("{mark}{mark}"), &mark.to_string())
}
