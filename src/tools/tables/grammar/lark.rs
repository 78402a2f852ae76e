//! Writes a grammar in llguidance's dialect of Lark.

use std::fmt::Write;

use super::{Chars, Node, Rule};

pub(super) fn write(rules: &[Rule]) -> String {
    let mut lark = String::new();
    for rule in rules {
        let body = if rule.is_terminal {
            format!("/{}/", regex(&rule.node, rules))
        } else {
            body(&rule.node, rules)
        };
        let _ = writeln!(lark, "{}: {body}", rule.name);
    }
    lark
}

fn body(node: &Node, rules: &[Rule]) -> String {
    let each = |nodes: &[Node]| nodes.iter().map(|node| body(node, rules)).collect::<Vec<_>>();
    match node {
        Node::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Node::Chars(_) => format!("/{}/", regex(node, rules)),
        Node::Rule(number) => rules[*number].name.clone(),
        Node::All(nodes) => each(nodes).join(" "),
        Node::One(nodes) => format!("({})", each(nodes).join(" | ")),
        Node::Repeat { node, least, most } => format!("({}){{{least},{most}}}", body(node, rules)),
    }
}

fn regex(node: &Node, rules: &[Rule]) -> String {
    let each = |nodes: &[Node]| nodes.iter().map(|node| regex(node, rules)).collect::<Vec<_>>();
    match node {
        Node::Text(text) => escaped(text),
        Node::Chars(Chars::Digits(first, last)) => format!("[{first}-{last}]"),
        Node::Chars(Chars::Literal) => r"[^'\x00-\x1f\x7f]".into(),
        Node::Chars(Chars::Pattern) => r"[^'%_\x00-\x1f\x7f]".into(),
        Node::Rule(number) => format!("({})", regex(&rules[*number].node, rules)),
        Node::All(nodes) => each(nodes).concat(),
        Node::One(nodes) => format!("({})", each(nodes).join("|")),
        Node::Repeat { node, least, most } => format!("({}){{{least},{most}}}", regex(node, rules)),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation()
            && !matches!(c, '\'' | '"' | '<' | '>' | ',' | ';' | ':' | '!' | '%' | '_' | '=' | '`' | '@')
        {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
