//! Translates GBNF, llama.cpp's grammar notation, into llguidance's dialect of Lark. Rules without recursion become
//! regular expressions, which is faster and exact; the others stay rules. A parser makes a tree of nodes for each rule,
//! and a writer makes Lark of the trees. What the grammar is for is not known here.

use std::collections::HashMap;
use std::fmt::Write;

/// Nesting depth of parentheses.
const DEPTH_MAX: usize = 64;
/// Repetition marks in a row, such as `a*+`.
const STACKED_MAX: usize = 8;
const RULES_MAX: usize = 4096;
/// The same limit as llama.cpp's.
const REPEATS_MAX: u32 = 2000;
/// A longer regular expression stays a rule, because it would be repeated inside every expression that uses it.
const REGEX_BYTES_MAX: usize = 2000;

type Tokens<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// # Errors
/// What is wrong, with its line.
pub(super) fn to_lark(text: &str, tokens: Tokens<'_>) -> Result<String, String> {
    let rules = Parser::new(text, tokens).grammar()?;
    Ok(Writer::new(&rules).lark(rules.root))
}

#[derive(Debug)]
enum Node {
    Text(String),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Any,
    /// A rule by its number.
    Rule(usize),
    Token {
        id: u32,
        negated: bool,
    },
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat {
        node: Box<Node>,
        least: u32,
        most: Option<u32>,
    },
}

struct Rules {
    nodes: Vec<Node>,
    root: usize,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    tokens: Tokens<'t>,
    rule_numbers: HashMap<&'t str, usize>,
    nodes: Vec<Option<Node>>,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, tokens: Tokens<'t>) -> Self {
        Self { text, at: 0, tokens, rule_numbers: HashMap::new(), nodes: Vec::new() }
    }

    fn grammar(mut self) -> Result<Rules, String> {
        self.skip_space(true);
        while self.peek().is_some() {
            let name = self.name().ok_or_else(|| self.error("a rule's name is expected"))?;
            self.skip_space(false);
            if !self.take("::=") {
                return Err(self.error(&format!("`::=` is expected after {name}")));
            }
            self.skip_space(true);
            let node = self.choice(0)?;
            let number = self.rule_number(name)?;
            if self.nodes[number].replace(node).is_some() {
                return Err(self.error(&format!("the rule {name} is defined twice")));
            }
            if !matches!(self.peek(), None | Some('\n')) {
                return Err(self.error("the end of the line is expected"));
            }
            self.skip_space(true);
        }
        let root = *self.rule_numbers.get("root").ok_or("there is no rule `root`, which a grammar needs")?;
        let missing = self.rule_numbers.iter().find(|(_, number)| self.nodes[**number].is_none());
        if let Some((name, _)) = missing {
            return Err(format!("the rule {name} is used but not defined"));
        }
        Ok(Rules { nodes: self.nodes.into_iter().flatten().collect(), root })
    }

    fn error(&self, what: &str) -> String {
        format!("line {}: {what}", self.text[..self.at].matches('\n').count() + 1)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, what: &str) -> bool {
        let is_there = self.text[self.at..].starts_with(what);
        if is_there {
            self.at += what.len();
        }
        is_there
    }

    /// Skips white space and comments; line ends only with `lines`.
    fn skip_space(&mut self, lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' => self.at += 1,
                '\n' if lines => self.at += 1,
                '#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                _ => break,
            }
        }
    }

    fn name(&mut self) -> Option<&'t str> {
        let rest = &self.text[self.at..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        self.at += name.len();
        (!name.is_empty()).then_some(name)
    }

    fn rule_number(&mut self, name: &'t str) -> Result<usize, String> {
        if let Some(&number) = self.rule_numbers.get(name) {
            return Ok(number);
        }
        if self.nodes.len() == RULES_MAX {
            return Err(format!("more than {RULES_MAX} rules: simplify it"));
        }
        self.nodes.push(None);
        self.rule_numbers.insert(name, self.nodes.len() - 1);
        Ok(self.nodes.len() - 1)
    }

    /// Alternatives. Inside parentheses they may span several lines.
    fn choice(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err(self.error(&format!("parentheses nest more than {DEPTH_MAX} levels deep")));
        }
        let mut branches = vec![self.sequence(depth)?];
        loop {
            let before = self.at;
            self.skip_space(true);
            if !self.take("|") {
                if depth == 0 {
                    // A line without `|` ends the rule.
                    self.at = before;
                }
                break;
            }
            self.skip_space(true);
            branches.push(self.sequence(depth)?);
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Choice(branches) })
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, String> {
        let mut items = Vec::new();
        loop {
            self.skip_space(depth > 0);
            let Some(item) = self.item(depth)? else { break };
            items.push(self.repeated(item)?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Node::Sequence(items) })
    }

    fn item(&mut self, depth: usize) -> Result<Option<Node>, String> {
        let negated = self.text[self.at..].starts_with("!<");
        Ok(Some(match self.peek() {
            Some('"') => self.literal()?,
            Some('[') => self.class()?,
            Some('.') => {
                self.at += 1;
                Node::Any
            }
            Some('(') => {
                self.at += 1;
                self.skip_space(true);
                let inner = self.choice(depth + 1)?;
                self.skip_space(true);
                if !self.take(")") {
                    return Err(self.error("`)` is expected"));
                }
                inner
            }
            Some('<') => self.token(false)?,
            Some('!') if negated => {
                self.at += 1;
                self.token(true)?
            }
            Some(c) if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                let name = self.name().ok_or_else(|| self.error("a rule's name is expected"))?;
                Node::Rule(self.rule_number(name)?)
            }
            _ => return Ok(None),
        }))
    }

    fn repeated(&mut self, mut node: Node) -> Result<Node, String> {
        // A repetition of a repetition nests like a group does.
        for times in 0.. {
            if times > STACKED_MAX {
                return Err(self.error(&format!("more than {STACKED_MAX} repetitions follow each other")));
            }
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    let rest = &self.text[self.at + 1..];
                    let end = rest.find('}').ok_or_else(|| self.error("`}` is expected"))?;
                    let (least, most) = counts(&rest[..end]).map_err(|what| self.error(&what))?;
                    self.at += end + 1;
                    (least, most)
                }
                _ => return Ok(node),
            };
            self.at += 1;
            node = Node::Repeat { node: Box::new(node), least, most };
        }
        Ok(node)
    }

    fn literal(&mut self) -> Result<Node, String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return Err(self.error("a text has no closing quote")),
                Some('"') => break,
                Some(_) => text.push(self.character()?),
            }
        }
        self.at += 1;
        Ok(Node::Text(text))
    }

    fn class(&mut self) -> Result<Node, String> {
        self.at += 1;
        let negated = self.take("^");
        let mut ranges = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.error("a set of characters has no closing bracket")),
                Some(']') => break,
                Some(_) => {}
            }
            let first = self.character()?;
            let is_range = self.text[self.at..].starts_with('-') && !self.text[self.at..].starts_with("-]");
            let last = match is_range {
                true => {
                    self.at += 1;
                    self.character()?
                }
                false => first,
            };
            if last < first {
                return Err(self.error(&format!("{first:?} comes after {last:?}")));
            }
            ranges.push((first, last));
        }
        self.at += 1;
        if ranges.is_empty() {
            return Err(self.error("a set of characters is empty"));
        }
        Ok(Node::Class { negated, ranges })
    }

    /// A character, perhaps escaped.
    fn character(&mut self) -> Result<char, String> {
        let c = self.next().ok_or_else(|| self.error("the grammar ends too early"))?;
        if c != '\\' {
            return Ok(c);
        }
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(plain) if !plain.is_alphanumeric() => return Ok(plain),
            _ => {
                return Err(
                    self.error("an escape is unknown: the known ones are \\n, \\r, \\t, \\x, \\u and \\U")
                );
            }
        };
        let hex = self.text.get(self.at..self.at + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        self.at += digits;
        hex.and_then(char::from_u32)
            .ok_or_else(|| format!("an escape is not a character: {digits} hexadecimal digits are expected"))
    }

    fn token(&mut self, negated: bool) -> Result<Node, String> {
        let rest = &self.text[self.at..];
        let end = rest.find('>').ok_or_else(|| self.error("`>` is expected"))?;
        let text = &rest[..=end];
        let id = match text.strip_prefix("<[").and_then(|text| text.strip_suffix("]>")) {
            Some(number) => number.trim().parse().ok(),
            None => (self.tokens)(text),
        };
        let id = id.ok_or_else(|| self.error(&format!("{text} is not a token of this model")))?;
        self.at += end + 1;
        Ok(Node::Token { id, negated })
    }
}

/// Parses `3`, `3,` or `3,5`.
fn counts(text: &str) -> Result<(u32, Option<u32>), String> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let counts = match text.split_once(',') {
        None => number(text).map(|count| (count, Some(count))),
        Some((least, most)) => {
            let least = if least.trim().is_empty() { Some(0) } else { number(least) };
            let most = if most.trim().is_empty() { Some(None) } else { number(most).map(Some) };
            least.zip(most)
        }
    };
    let (least, most) = counts.ok_or_else(|| format!("{{{text}}} is not a count"))?;
    if least > REPEATS_MAX || most.is_some_and(|most| most > REPEATS_MAX) {
        return Err(format!("{{{text}}}: at most {REPEATS_MAX} times are allowed"));
    }
    if most.is_some_and(|most| most < least) {
        return Err(format!("{{{text}}}: the maximum is below the minimum"));
    }
    Ok((least, most))
}

/// A regular expression, and whether it matches the empty text.
#[derive(Clone)]
struct Regex {
    text: String,
    matches_empty: bool,
}

struct Writer<'r> {
    rules: &'r Rules,
    /// The regular expressions of rules that can be one.
    regexes: Vec<Option<Regex>>,
    /// Numbers of the terminals by their regular expressions.
    terminals: HashMap<String, usize>,
    out: String,
}

impl<'r> Writer<'r> {
    fn new(rules: &'r Rules) -> Self {
        let mut writer = Self { rules, regexes: Vec::new(), terminals: HashMap::new(), out: String::new() };
        writer.regexes = vec![None; rules.nodes.len()];
        writer.find_regexes();
        writer
    }

    /// Begins with the rules without references: a rule whose references are all regular may be regular itself.
    fn find_regexes(&mut self) {
        let count = self.rules.nodes.len();
        let mut users = vec![Vec::new(); count];
        let mut waits_for = vec![0usize; count];
        for (number, node) in self.rules.nodes.iter().enumerate() {
            let mut used = Vec::new();
            references(node, &mut used);
            used.sort_unstable();
            used.dedup();
            waits_for[number] = used.len();
            used.into_iter().for_each(|used| users[used].push(number));
        }
        let mut ready: Vec<usize> = (0..count).filter(|&number| waits_for[number] == 0).collect();
        while let Some(number) = ready.pop() {
            self.regexes[number] = self.regex(&self.rules.nodes[number]);
            if self.regexes[number].is_none() {
                continue;
            }
            for &user in &users[number] {
                waits_for[user] -= 1;
                if waits_for[user] == 0 {
                    ready.push(user);
                }
            }
        }
    }

    /// The regular expression of a node, if it is regular and not too long.
    fn regex(&self, node: &Node) -> Option<Regex> {
        let regex = match node {
            Node::Text(text) => {
                Regex { text: text.chars().map(escaped).collect(), matches_empty: text.is_empty() }
            }
            Node::Any => Regex { text: "(?s:.)".into(), matches_empty: false },
            Node::Class { negated, ranges } => {
                let mut text = String::from(if *negated { "[^" } else { "[" });
                for (first, last) in ranges {
                    let _ = write!(text, "{}-{}", escaped(*first), escaped(*last));
                }
                Regex { text: text + "]", matches_empty: false }
            }
            Node::Rule(number) => {
                let regex = self.regexes[*number].clone()?;
                Regex { text: format!("(?:{})", regex.text), ..regex }
            }
            Node::Token { .. } => return None,
            Node::Sequence(items) => {
                let items = items.iter().map(|item| self.regex(item)).collect::<Option<Vec<_>>>()?;
                Regex {
                    text: items.iter().map(|item| item.text.as_str()).collect(),
                    matches_empty: items.iter().all(|item| item.matches_empty),
                }
            }
            Node::Choice(branches) => {
                let branches =
                    branches.iter().map(|branch| self.regex(branch)).collect::<Option<Vec<_>>>()?;
                let texts: Vec<&str> = branches.iter().map(|branch| branch.text.as_str()).collect();
                Regex {
                    text: format!("(?:{})", texts.join("|")),
                    matches_empty: branches.iter().any(|branch| branch.matches_empty),
                }
            }
            Node::Repeat { node, least, most } => {
                let inner = self.regex(node)?;
                let times = times(*least, *most);
                Regex {
                    text: format!("(?:{}){times}", inner.text),
                    matches_empty: *least == 0 || inner.matches_empty,
                }
            }
        };
        (regex.text.len() <= REGEX_BYTES_MAX).then_some(regex)
    }

    fn lark(mut self, root: usize) -> String {
        let mut rules = String::new();
        let _ = writeln!(rules, "start: rule_{root}");
        for (number, node) in self.rules.nodes.iter().enumerate() {
            let body = self.body(node);
            let _ = writeln!(rules, "rule_{number}: {body}");
        }
        let mut terminals: Vec<(String, usize)> = self.terminals.drain().collect();
        terminals.sort_unstable_by_key(|(_, number)| *number);
        for (regex, number) in terminals {
            let _ = writeln!(self.out, "TERMINAL_{number}: {regex}");
        }
        rules + &self.out
    }

    fn body(&mut self, node: &Node) -> String {
        if let Some(regex) = self.regex(node) {
            return self.terminal(&regex);
        }
        match node {
            Node::Rule(number) => format!("rule_{number}"),
            Node::Token { id, negated } => format!("<[{}{id}]>", if *negated { "^" } else { "" }),
            Node::Choice(branches) => {
                let branches: Vec<String> = branches.iter().map(|branch| self.body(branch)).collect();
                format!("({})", branches.join(" | "))
            }
            Node::Repeat { node, least, most } => format!("({}){}", self.body(node), times(*least, *most)),
            Node::Sequence(items) => self.sequence(items),
            // A text too long for one expression is cut into pieces.
            Node::Text(text) => {
                let pieces: Vec<char> = text.chars().collect();
                let pieces = pieces.chunks(REGEX_BYTES_MAX / 16);
                let pieces: Vec<Node> = pieces.map(|piece| Node::Text(piece.iter().collect())).collect();
                pieces.iter().map(|piece| self.body(piece)).collect::<Vec<_>>().join(" ")
            }
            Node::Any => self.terminal(&Regex { text: "(?s:.)".into(), matches_empty: false }),
            Node::Class { negated, ranges } => {
                let halves = ranges.split_at(ranges.len() / 2);
                let halves = [halves.0, halves.1]
                    .map(|ranges| Node::Class { negated: *negated, ranges: ranges.to_vec() });
                format!("({})", halves.iter().map(|half| self.body(half)).collect::<Vec<_>>().join(" | "))
            }
        }
    }

    /// Joins regular neighbors into one expression.
    fn sequence(&mut self, items: &[Node]) -> String {
        let mut out: Vec<String> = Vec::new();
        let mut run: Option<Regex> = None;
        for item in items {
            let regex = self.regex(item);
            let joined = match (&run, &regex) {
                (Some(run), Some(next)) if run.text.len() + next.text.len() <= REGEX_BYTES_MAX => {
                    Some(Regex {
                        text: format!("{}{}", run.text, next.text),
                        matches_empty: run.matches_empty && next.matches_empty,
                    })
                }
                _ => None,
            };
            if joined.is_some() {
                run = joined;
                continue;
            }
            if let Some(before) = run.take() {
                out.push(self.terminal(&before));
            }
            match regex {
                Some(regex) => run = Some(regex),
                None => out.push(self.body(item)),
            }
        }
        if let Some(before) = run {
            out.push(self.terminal(&before));
        }
        if out.is_empty() { "\"\"".to_owned() } else { out.join(" ") }
    }

    /// A terminal must not match the empty text, so one that could is made optional instead.
    fn terminal(&mut self, regex: &Regex) -> String {
        if regex.text.is_empty() {
            return "\"\"".to_owned();
        }
        let (expression, optional) = match regex.matches_empty {
            true => (format!("/{}/ & /(?s:.+)/", regex.text), "?"),
            false => (format!("/{}/", regex.text), ""),
        };
        let next = self.terminals.len();
        let number = *self.terminals.entry(expression).or_insert(next);
        match optional {
            "" => format!("TERMINAL_{number}"),
            _ => format!("(TERMINAL_{number})?"),
        }
    }
}

fn references(node: &Node, out: &mut Vec<usize>) {
    match node {
        Node::Rule(number) => out.push(*number),
        Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().for_each(|node| references(node, out)),
        Node::Repeat { node, .. } => references(node, out),
        Node::Text(_) | Node::Class { .. } | Node::Any | Node::Token { .. } => {}
    }
}

fn times(least: u32, most: Option<u32>) -> String {
    match (least, most) {
        (0, None) => "*".into(),
        (1, None) => "+".into(),
        (0, Some(1)) => "?".into(),
        (least, None) => format!("{{{least},}}"),
        (least, Some(most)) => format!("{{{least},{most}}}"),
    }
}

/// A character that stands for itself in a regular expression, inside and outside of brackets.
fn escaped(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\u{{{:x}}}", u32::from(c)) }
}
