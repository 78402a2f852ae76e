//! A grammar of the SELECT statements that make sense over the tables at hand. Every statement of the grammar is valid:
//! names are those of the tables, joins are on columns of the same kind, and literals have the type of their column.
//! Nothing in it is recursive, so every statement is short.
//!
//! llguidance's lexer takes the longest token and never goes back. Where one token begins like another, what may follow
//! the shorter one must not begin like the rest of the longer one; so keywords are tokens of their own.

mod joins;
mod lark;
mod predicates;
mod scope;
mod select;

use super::error::TableError;
use super::schema::Table;

use joins::{Joins, ShareValues};

/// A grammar as a list of rules; the first is the start.
#[derive(Debug, Clone)]
pub struct Grammar {
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) node: Node,
    /// Whether it is one token for the lexer, and so a regular expression without rules inside.
    pub(super) is_terminal: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Chars(Chars),
    /// A rule by its number.
    Rule(usize),
    All(Vec<Node>),
    One(Vec<Node>),
    Repeat {
        node: Box<Node>,
        least: u32,
        most: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chars {
    /// From the first to the last digit.
    Digits(char, char),
    /// What may stand in a text literal without being doubled.
    Literal,
    /// The same without the wildcards of LIKE.
    Pattern,
}

impl Grammar {
    pub(super) fn of(tables: &[Table], share_values: ShareValues<'_>) -> Result<Self, TableError> {
        if tables.is_empty() {
            return Err(TableError::Failed { problem: "there are no tables to select from: add one".into() });
        }
        let joins = Joins::of(tables, share_values)?;
        Ok(select::grammar(tables, &joins))
    }

    /// The grammar in llguidance's dialect of Lark; a statement matches its rule `start`.
    #[must_use]
    pub fn lark(&self) -> String {
        lark::write(&self.rules)
    }
}

/// Pairs of columns that join two tables, each as table and column.
pub(super) fn joins(
    tables: &[Table],
    share_values: ShareValues<'_>,
) -> Result<Vec<[(usize, usize); 2]>, TableError> {
    let at = |table: usize, name: &str| {
        let own = name.rsplit('.').next().unwrap_or(name);
        tables[table].columns.iter().position(|column| column.name == own).map(|column| (table, column))
    };
    let joins = Joins::of(tables, share_values)?.all.into_iter();
    let pair = |join: joins::Join| {
        at(join.left, &join.left_column)
            .zip(at(join.right, &join.right_column))
            .map(|(left, right)| [left, right])
    };
    Ok(joins.filter_map(pair).collect())
}

/// The rules of a grammar, each written once however often it is used.
#[derive(Default)]
struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    fn add(&mut self, name: &str, node: Node) -> Node {
        self.push(name.to_lowercase(), node, false)
    }

    fn terminal(&mut self, name: &str, node: Node) -> Node {
        self.push(name.to_uppercase(), node, true)
    }

    fn push(&mut self, name: String, node: Node, is_terminal: bool) -> Node {
        self.rules.push(Rule { name, node, is_terminal });
        Node::Rule(self.rules.len() - 1)
    }
}

fn text(text: impl Into<String>) -> Node {
    Node::Text(text.into())
}

fn all<const N: usize>(nodes: [Node; N]) -> Node {
    Node::All(nodes.into())
}

/// One of several texts.
fn words(words: &[&str]) -> Node {
    Node::One(words.iter().map(|word| text(*word)).collect())
}

fn repeat(node: Node, least: u32, most: u32) -> Node {
    Node::Repeat { node: Box::new(node), least, most }
}

fn maybe(node: Node) -> Node {
    repeat(node, 0, 1)
}
