//! Parses expressions by Jinja2's grammar. It recurses only where a template nests, and no deeper than [`NESTING_MAX`].

use std::collections::HashMap;

use super::ast::{Binary, Comparison, Const, Expr, For, Macro, MacroExtras, Name, Postfix};
use super::builtins;
use super::lexer::{Token, TokenAndLine};
use super::{Error, Result};

/// Nesting depth of brackets, `not`s, signs and blocks. Models' templates have some ten levels.
const NESTING_MAX: u32 = 100;

pub(super) struct Parser {
    pub(super) tokens: Vec<TokenAndLine>,
    pub(super) at: usize,
    nesting: u32,
    pub(super) constants: Vec<Const>,
    pub(super) names: Vec<Box<str>>,
    pub(super) name_indices: HashMap<Box<str>, Name>,
    pub(super) loops: Vec<For>,
    pub(super) macros: Vec<Macro>,
    /// The special variables that the current macro uses.
    pub(super) extras: MacroExtras,
    /// The number of enclosing loops; `break` needs one.
    pub(super) loops_open: u32,
}

impl Parser {
    pub(super) fn new(tokens: Vec<TokenAndLine>) -> Self {
        Self {
            tokens,
            at: 0,
            nesting: 0,
            constants: Vec::new(),
            names: Vec::new(),
            name_indices: HashMap::new(),
            loops: Vec::new(),
            macros: Vec::new(),
            extras: MacroExtras::default(),
            loops_open: 0,
        }
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get_mut(self.at)?;
        self.at += 1;
        // Tokens are read once, except names, which tell statements apart.
        Some(match &token.0 {
            Token::Name(name) => Token::Name(name.clone()),
            _ => std::mem::replace(&mut token.0, Token::BlockEnd),
        })
    }

    pub(super) fn step_back(&mut self) {
        self.at -= 1;
    }

    pub(super) fn line(&self) -> u32 {
        let last = self.tokens.last().map_or(1, |&(_, line)| line);
        self.tokens.get(self.at).map_or(last, |&(_, line)| line)
    }

    pub(super) fn syntax(&self, what: impl Into<String>) -> Error {
        Error::Syntax { line: self.line(), what: what.into() }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { line: self.line(), what: what.into() }
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Data(_) | Token::BlockEnd | Token::VariableEnd) => "the end of the tag".to_owned(),
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Op(operator)) => format!("`{operator}`"),
            Some(Token::Str(_)) => "a string".to_owned(),
            Some(Token::Int(_) | Token::Float(_)) => "a number".to_owned(),
            Some(Token::VariableBegin | Token::BlockBegin) => "a tag".to_owned(),
        };
        self.syntax(format!("{wanted} is expected, not {found}"))
    }

    pub(super) fn is_op(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Token::Op(op)) if *op == operator)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if found == name)
    }

    pub(super) fn take_op(&mut self, operator: &str) -> bool {
        let found = self.is_op(operator);
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_op(&mut self, operator: &str) -> Result<()> {
        if self.take_op(operator) { Ok(()) } else { Err(self.unexpected(&format!("`{operator}`"))) }
    }

    pub(super) fn expect_name(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// Parses something that may nest.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting == NESTING_MAX {
            return Err(self.unsupported(format!("nesting deeper than {NESTING_MAX} levels")));
        }
        self.nesting += 1;
        let found = read(self);
        self.nesting -= 1;
        found
    }

    pub(super) fn name(&mut self, name: &str) -> Name {
        if let Some(&index) = self.name_indices.get(name) {
            return index;
        }
        let index = self.names.len() as Name;
        self.names.push(name.into());
        self.name_indices.insert(name.into(), index);
        index
    }

    fn constant(&mut self, constant: Const) -> Expr {
        self.constants.push(constant);
        Expr::Const(self.constants.len() as u32 - 1)
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Result<Expr> {
        let mut value = self.or()?;
        let mut cases = Vec::new();
        while self.take_name("if") {
            cases.push((value, self.or()?));
            if !self.take_name("else") {
                return Ok(Expr::Conditional(cases, None));
            }
            value = self.or()?;
        }
        if cases.is_empty() { Ok(value) } else { Ok(Expr::Conditional(cases, Some(Box::new(value)))) }
    }

    pub(super) fn or(&mut self) -> Result<Expr> {
        self.list_of("or", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Expr> {
        self.list_of("and", Self::not, Expr::And)
    }

    fn list_of(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expr>,
        make: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr> {
        let first = part(self)?;
        if !self.is_name(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_name(word) {
            parts.push(part(self)?);
        }
        Ok(make(parts))
    }

    fn not(&mut self) -> Result<Expr> {
        if self.take_name("not") {
            return Ok(Expr::Not(Box::new(self.nested(Self::not)?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison_operator() {
            rest.push((comparison, self.sum()?));
        }
        if rest.is_empty() { Ok(first) } else { Ok(Expr::Compare(Box::new(first), rest)) }
    }

    fn comparison_operator(&mut self) -> Option<Comparison> {
        const OPERATORS: &[(&str, Comparison)] = &[
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<", Comparison::Less),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            (">=", Comparison::GreaterOrEqual),
        ];
        if let Some(&(_, found)) = OPERATORS.iter().find(|(operator, _)| self.take_op(operator)) {
            return Some(found);
        }
        if self.take_name("in") {
            return Some(Comparison::In);
        }
        let negated = self.is_name("not")
            && matches!(self.tokens.get(self.at + 1), Some((Token::Name(name), _)) if name == "in");
        self.at += if negated { 2 } else { 0 };
        negated.then_some(Comparison::NotIn)
    }

    fn sum(&mut self) -> Result<Expr> {
        self.chain(Self::concat, &[("+", Binary::Add), ("-", Binary::Subtract)])
    }

    fn concat(&mut self) -> Result<Expr> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_op("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    fn product(&mut self) -> Result<Expr> {
        const OPERATORS: &[(&str, Binary)] = &[
            ("*", Binary::Multiply),
            ("/", Binary::Divide),
            ("//", Binary::FloorDivide),
            ("%", Binary::Modulo),
        ];
        self.chain(Self::power, OPERATORS)
    }

    fn power(&mut self) -> Result<Expr> {
        self.chain(Self::signed, &[("**", Binary::Power)])
    }

    fn chain(&mut self, part: fn(&mut Self) -> Result<Expr>, operators: &[(&str, Binary)]) -> Result<Expr> {
        let first = part(self)?;
        let mut rest = Vec::new();
        while let Some(&(_, operator)) = operators.iter().find(|(text, _)| self.take_op(text)) {
            rest.push((operator, part(self)?));
        }
        if rest.is_empty() { Ok(first) } else { Ok(Expr::Binary(Box::new(first), rest)) }
    }

    fn signed(&mut self) -> Result<Expr> {
        let value = self.unary()?;
        self.filters_and_tests(value)
    }

    /// A sign binds more tightly than a filter: `-1 | abs` is 1.
    fn unary(&mut self) -> Result<Expr> {
        if self.take_op("-") {
            return Ok(Expr::Negative(Box::new(self.nested(Self::unary)?)));
        }
        if self.take_op("+") {
            return Ok(Expr::Positive(Box::new(self.nested(Self::unary)?)));
        }
        let value = self.primary()?;
        self.postfix(value)
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        let wanted = self.unexpected("an expression");
        match self.next() {
            Some(Token::Name(name)) => Ok(match name.as_str() {
                "true" | "True" => self.constant(Const::Bool(true)),
                "false" | "False" => self.constant(Const::Bool(false)),
                "none" | "None" => self.constant(Const::None),
                _ => self.variable(&name)?,
            }),
            Some(Token::Str(mut text)) => {
                while matches!(self.peek(), Some(Token::Str(_))) {
                    if let Some(Token::Str(more)) = self.next() {
                        text.push_str(&more);
                    }
                }
                Ok(self.constant(Const::Str(text.into())))
            }
            Some(Token::Int(number)) => Ok(self.constant(Const::Int(number))),
            Some(Token::Float(number)) => Ok(self.constant(Const::Float(number))),
            Some(Token::Op("(")) => {
                let tuple = self.nested(|parser| parser.tuple(true, &[], true))?;
                self.expect_op(")")?;
                Ok(tuple)
            }
            Some(Token::Op("[")) => Ok(Expr::List(self.items("]")?)),
            Some(Token::Op("{")) => self.dict(),
            _ => Err(wanted),
        }
    }

    fn variable(&mut self, name: &str) -> Result<Expr> {
        match name {
            "varargs" => self.extras.varargs = true,
            "kwargs" => self.extras.kwargs = true,
            "caller" => self.extras.caller = true,
            "self" | "super" | "lipsum" => {
                return Err(self.unsupported(format!("`{name}`")));
            }
            _ => {}
        }
        Ok(Expr::Name(self.name(name)))
    }

    /// Expressions up to and including `close`.
    fn items(&mut self, close: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.take_op(close) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.take_op(close) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn dict(&mut self) -> Result<Expr> {
        let mut entries = Vec::new();
        while !self.take_op("}") {
            if !entries.is_empty() {
                self.expect_op(",")?;
                if self.take_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            entries.push((key, self.expression()?));
        }
        Ok(Expr::Dict(entries))
    }

    /// One expression, or several separated by commas, up to one of the words `ends`. With `conditions`, also `a if b`.
    pub(super) fn tuple(&mut self, conditions: bool, ends: &[&str], in_brackets: bool) -> Result<Expr> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                if !self.take_op(",") {
                    break;
                }
                is_tuple = true;
            }
            let ended = matches!(self.peek(), Some(Token::VariableEnd | Token::BlockEnd) | None)
                || self.is_op(")")
                || ends.iter().any(|word| self.is_name(word));
            if ended {
                break;
            }
            items.push(if conditions { self.expression()? } else { self.nested(Self::or)? });
        }
        match (items.len(), is_tuple) {
            (1, false) => Ok(items.remove(0)),
            (0, _) if !in_brackets => Err(self.unexpected("an expression")),
            _ => Ok(Expr::Tuple(items)),
        }
    }

    pub(super) fn postfix(&mut self, value: Expr) -> Result<Expr> {
        let mut chain = Vec::new();
        loop {
            if self.take_op(".") {
                chain.push(self.attribute()?);
            } else if self.take_op("[") {
                chain.push(self.nested(Self::subscript)?);
            } else if self.is_op("(") {
                self.check_method(chain.last())?;
                chain.push(Postfix::Call(self.arguments()?));
            } else {
                return Ok(with(value, chain));
            }
        }
    }

    /// Refuses unsupported methods of Python when the template is parsed, not when a conversation reaches them.
    fn check_method(&self, before: Option<&Postfix>) -> Result<()> {
        let Some(Postfix::Attribute(name)) = before else { return Ok(()) };
        let name = &self.names[*name as usize];
        if builtins::UNSUPPORTED_METHODS.contains(&&**name) {
            return Err(self.unsupported(format!("the method `{name}`")));
        }
        Ok(())
    }

    fn attribute(&mut self) -> Result<Postfix> {
        if let Some(&Token::Int(index)) = self.peek() {
            self.at += 1;
            return Ok(Postfix::Item(self.constant(Const::Int(index))));
        }
        let name = self.expect_name()?;
        if name.starts_with("__") {
            return Err(self.unsupported(format!("the attribute `{name}`")));
        }
        Ok(Postfix::Attribute(self.name(&name)))
    }

    fn subscript(&mut self) -> Result<Postfix> {
        let mut items = Vec::new();
        loop {
            let mut bounds: [Option<Expr>; 3] = [None, None, None];
            let mut colons = 0;
            while !self.is_op("]") && !self.is_op(",") {
                if self.take_op(":") {
                    colons += 1;
                    if colons > 2 {
                        return Err(self.unexpected("`]`"));
                    }
                } else if bounds[colons].is_some() {
                    return Err(self.unexpected("`]`"));
                } else {
                    bounds[colons] = Some(self.expression()?);
                }
            }
            let slice = colons > 0;
            if self.take_op("]") {
                let [start, stop, step] = bounds;
                return match (slice, items.is_empty(), start) {
                    (true, true, start) => Ok(Postfix::Slice([start, stop, step])),
                    (false, true, Some(item)) => Ok(Postfix::Item(item)),
                    (false, false, start) => {
                        items.extend(start);
                        Ok(Postfix::Item(Expr::Tuple(items)))
                    }
                    _ => Err(self.unexpected("an expression")),
                };
            }
            self.expect_op(",")?;
            match bounds {
                [Some(item), None, None] if !slice => items.push(item),
                _ => return Err(self.unexpected("`]`")),
            }
        }
    }
}

pub(super) fn with(value: Expr, chain: Vec<Postfix>) -> Expr {
    if chain.is_empty() { value } else { Expr::Postfix(Box::new(value), chain) }
}
