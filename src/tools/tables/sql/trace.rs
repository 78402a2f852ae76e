//! Adds to a statement columns that say from which rows of the tables each row of its result came. SQLite keeps a
//! number for every row; an outline of the statement shows where its list ends and which tables it reads.

use super::tokens::{Kind, Token, tokens};

/// A statement with columns for its sources, one for each table that it reads, at the end of its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Traced {
    pub(in super::super) sql: String,
    /// The tables by their number, in the order of the added columns.
    pub(in super::super) tables: Vec<usize>,
}

const AGGREGATES: &[&str] = &["sum", "avg", "total", "count", "group_concat", "string_agg", "median"];
/// Words after which the list of tables ends.
const AFTER_FROM: &[&str] = &["where", "group", "having", "order", "limit", "window"];

/// `None` where rows of the result don't come from rows of tables one by one or group by group: with DISTINCT, UNION,
/// WITH, or a SELECT in place of a table.
pub(in super::super) fn traced(sql: &str, names: &[String]) -> Option<Traced> {
    let tokens = tokens(sql)?;
    let top = |word: &str| tokens.iter().position(|token| token.depth == 0 && token.is(word));
    let has = |word: &str| top(word).is_some();
    if !tokens.first()?.is("select") || tokens.get(1)?.is("distinct") {
        return None;
    }
    if ["union", "intersect", "except", "window"].into_iter().any(has) {
        return None;
    }
    let from = top("from")?;
    let ends = tokens.iter().skip(from + 1).position(|token| {
        token.depth == 0 && (AFTER_FROM.iter().any(|word| token.is(word)) || token.is(";"))
    });
    let end = ends.map_or(tokens.len(), |end| from + 1 + end);
    let sources = sources(&tokens[from + 1..end], names)?;
    // Without tables there are no rows to name.
    let calls = aggregate_calls(&tokens);
    // Besides one MIN or MAX, SQLite takes columns from the row that has the value.
    let is_extreme = calls.len() == 1 && calls[0].is_extreme();
    let is_grouped = (has("group") || !calls.is_empty()) && !is_extreme;
    let added: String = sources
        .iter()
        .map(
            |(name, _)| {
                if is_grouped { format!(", source_rows({name}.rowid)") } else { format!(", {name}.rowid") }
            },
        )
        .collect();
    // A comment before FROM would swallow what is added behind it, so it goes behind the last token of the list.
    let last = tokens[from - 1];
    let list_end = last.at + last.text.len();
    let sql = format!("{}{added} {}", &sql[..list_end], &sql[tokens[from].at..]);
    Some(Traced { sql, tables: sources.into_iter().map(|(_, table)| table).collect() })
}

/// The tables after FROM by the name that the statement uses for them.
fn sources<'s>(tokens: &[Token<'s>], names: &[String]) -> Option<Vec<(&'s str, usize)>> {
    let mut sources = Vec::new();
    let mut expects_table = true;
    let mut rest = tokens.iter().filter(|token| token.depth == 0).peekable();
    while let Some(token) = rest.next() {
        if expects_table {
            let table = names.iter().position(|name| name.eq_ignore_ascii_case(token.text))?;
            let mut name = token.text;
            if rest.peek().is_some_and(|next| next.is("as")) {
                rest.next();
                name = rest.next()?.text;
            } else if let Some(alias) = rest.peek().filter(|next| is_alias(next)) {
                name = alias.text;
                rest.next();
            }
            sources.push((name, table));
            expects_table = false;
        } else {
            expects_table = token.is(",") || token.is("join");
        }
    }
    (!sources.is_empty()).then_some(sources)
}

fn is_alias(token: &Token<'_>) -> bool {
    let follows = [
        "on", "using", "join", "inner", "left", "right", "full", "cross", "natural", "outer", "indexed",
        "not",
    ];
    token.kind == Kind::Quoted || (token.kind == Kind::Word && !follows.iter().any(|word| token.is(word)))
}

/// An aggregate function of the statement itself, not of one inside it.
#[derive(Debug, Clone, Copy)]
struct Call<'s> {
    name: &'s str,
}

impl Call<'_> {
    fn is_extreme(&self) -> bool {
        self.name.eq_ignore_ascii_case("min") || self.name.eq_ignore_ascii_case("max")
    }
}

fn aggregate_calls<'s>(tokens: &[Token<'s>]) -> Vec<Call<'s>> {
    let mut calls = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_call = token.kind == Kind::Word && tokens.get(at + 1).is_some_and(|next| next.is("("));
        if !is_call || is_inside_select(tokens, at) {
            continue;
        }
        let call = Call { name: token.text };
        let end = closing(tokens, at + 1);
        let arguments = &tokens[(at + 2).min(end)..end];
        let has_one = !arguments.iter().any(|inner| inner.depth == token.depth + 1 && inner.is(","));
        let is_aggregate = AGGREGATES.iter().any(|name| token.is(name)) || (call.is_extreme() && has_one);
        let is_window = tokens.get(end + 1).is_some_and(|next| next.is("over"));
        if is_aggregate && !is_window {
            calls.push(call);
        }
    }
    calls
}

/// The parenthesis that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let depth = tokens[open].depth;
    let inside = tokens[open + 1..].iter().position(|token| token.is(")") && token.depth == depth);
    inside.map_or(tokens.len(), |inside| open + 1 + inside)
}

/// Whether a SELECT in parentheses holds the token.
fn is_inside_select(tokens: &[Token<'_>], at: usize) -> bool {
    let mut depth = tokens[at].depth;
    for index in (1..at).rev() {
        if depth > 0 && tokens[index - 1].is("(") && tokens[index - 1].depth < depth {
            if tokens[index].is("select") {
                return true;
            }
            depth = tokens[index - 1].depth;
        }
    }
    false
}
