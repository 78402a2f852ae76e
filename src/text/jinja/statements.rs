//! Parses statements: Jinja2's and those of extensions that `transformers` loads (`break`, `continue`, `generation`).

use super::Result;
use super::ast::{Body, Expr, For, Macro, MacroExtras, Name, Postfix, Statement, StatementKind, Target};
use super::lexer::Token;
use super::parser::Parser;

/// Statements of Jinja2 that make no sense in a chat template: there is a single template, and no files beside it.
const UNSUPPORTED: &[&str] =
    &["include", "import", "from", "extends", "block", "autoescape", "trans", "do", "debug"];

impl Parser {
    pub(super) fn template(&mut self) -> Result<Body> {
        let body = self.body(&[])?;
        match self.peek() {
            None => Ok(body),
            Some(_) => Err(self.unexpected("the end")),
        }
    }

    /// Statements up to a block that begins with one of `ends` (whose word isn't read), or to the end of the source.
    fn body(&mut self, ends: &[&str]) -> Result<Body> {
        let mut body = Body::new();
        loop {
            let line = self.line();
            match self.next() {
                None if ends.is_empty() => return Ok(body),
                None => return Err(self.syntax(format!("`{}` is missing", ends[ends.len() - 1]))),
                Some(Token::Data(text)) => {
                    body.push(Statement { line, kind: StatementKind::Text(text.into()) });
                }
                Some(Token::VariableBegin) => {
                    let value = self.tuple(true, &[], false)?;
                    self.end(&Token::VariableEnd)?;
                    body.push(Statement { line, kind: StatementKind::Print(value) });
                }
                Some(Token::BlockBegin) => {
                    if ends.iter().any(|word| self.is_name(word)) {
                        return Ok(body);
                    }
                    let kind = self.nested(Self::statement)?;
                    body.push(Statement { line, kind });
                }
                Some(_) => {
                    self.step_back();
                    return Err(self.unexpected("text or a tag"));
                }
            }
        }
    }

    fn end(&mut self, token: &Token) -> Result<()> {
        if self.peek() == Some(token) {
            self.next();
            return Ok(());
        }
        Err(self.unexpected("the end of the tag"))
    }

    /// The rest of the tag that opens a block, the block, and the tag that closes it.
    fn block(&mut self, end: &'static str) -> Result<Body> {
        self.end(&Token::BlockEnd)?;
        let body = self.body(&[end])?;
        self.expect_name()?;
        self.end(&Token::BlockEnd)?;
        Ok(body)
    }

    fn statement(&mut self) -> Result<StatementKind> {
        let word = self.expect_name()?;
        let kind = match word.as_str() {
            "if" => return self.if_statement(),
            "for" => return self.for_statement(),
            "set" => return self.set_statement(),
            "macro" => {
                let name = self.expect_name()?;
                let name = self.name(&name);
                return Ok(StatementKind::Macro(self.macro_from(name, "endmacro")?));
            }
            "call" => return self.call_statement(),
            "with" => return self.with_statement(),
            "filter" => {
                let filters = self.inline_filters()?;
                return Ok(StatementKind::Filter(filters, self.block("endfilter")?));
            }
            "generation" => return Ok(StatementKind::Scope(self.block("endgeneration")?)),
            "print" => StatementKind::Print(self.tuple(true, &[], false)?),
            "break" | "continue" if self.loops_open == 0 => {
                return Err(self.syntax(format!("`{word}` is used outside of a loop")));
            }
            "break" => StatementKind::Break,
            "continue" => StatementKind::Continue,
            _ if UNSUPPORTED.contains(&word.as_str()) => {
                return Err(self.unsupported(format!("the statement `{word}`")));
            }
            _ => return Err(self.syntax(format!("`{word}` is an unknown or misplaced statement"))),
        };
        self.end(&Token::BlockEnd)?;
        Ok(kind)
    }

    fn if_statement(&mut self) -> Result<StatementKind> {
        let mut cases = Vec::new();
        loop {
            let condition = self.tuple(false, &[], false)?;
            self.end(&Token::BlockEnd)?;
            cases.push((condition, self.body(&["elif", "else", "endif"])?));
            let word = self.expect_name()?;
            if word != "elif" {
                let otherwise = if word == "else" { self.block("endif")? } else { Body::new() };
                if word != "else" {
                    self.end(&Token::BlockEnd)?;
                }
                return Ok(StatementKind::If(cases, otherwise));
            }
        }
    }

    fn for_statement(&mut self) -> Result<StatementKind> {
        let target = self.target(&["in"])?;
        if names_loop(&target, &self.names) {
            return Err(self.syntax("a loop can't name its items `loop`"));
        }
        if !self.take_name("in") {
            return Err(self.unexpected("`in`"));
        }
        let items = self.tuple(false, &["recursive"], false)?;
        let filter = if self.take_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.take_name("recursive");
        self.end(&Token::BlockEnd)?;
        self.loops_open += 1;
        let body = self.body(&["else", "endfor"])?;
        self.loops_open -= 1;
        let otherwise = if self.take_name("else") {
            self.block("endfor")?
        } else {
            self.expect_name()?;
            self.end(&Token::BlockEnd)?;
            Body::new()
        };
        self.loops.push(For { target, items, filter, recursive, body, otherwise });
        Ok(StatementKind::For(self.loops.len() as u32 - 1))
    }

    fn set_statement(&mut self) -> Result<StatementKind> {
        let target = self.target(&[])?;
        if self.take_op("=") {
            let value = self.tuple(true, &[], false)?;
            self.end(&Token::BlockEnd)?;
            return Ok(StatementKind::Set(target, value));
        }
        let filters = self.set_filters()?;
        Ok(StatementKind::SetBlock(target, filters, self.block("endset")?))
    }

    fn with_statement(&mut self) -> Result<StatementKind> {
        let mut values = Vec::new();
        while self.peek() != Some(&Token::BlockEnd) {
            if !values.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(&[])?;
            self.expect_op("=")?;
            values.push((target, self.expression()?));
        }
        Ok(StatementKind::With(values, self.block("endwith")?))
    }

    fn call_statement(&mut self) -> Result<StatementKind> {
        // The parameters stand in front of the call, and the body behind it.
        let parameters = if self.is_op("(") { self.parameters()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(&call, Expr::Postfix(_, chain) if matches!(chain.last(), Some(Postfix::Call(_)))) {
            return Err(self.syntax("`call` needs a call"));
        }
        let name = self.name("caller");
        let caller = self.macro_body(name, parameters, "endcall")?;
        Ok(StatementKind::Call { caller, call })
    }

    fn macro_from(&mut self, name: Name, end: &'static str) -> Result<u32> {
        let parameters = self.parameters()?;
        self.macro_body(name, parameters, end)
    }

    fn macro_body(
        &mut self,
        name: Name,
        parameters: Vec<(Name, Option<Expr>)>,
        end: &'static str,
    ) -> Result<u32> {
        let outer = std::mem::take(&mut self.extras);
        let loops_open = std::mem::take(&mut self.loops_open);
        let body = self.block(end)?;
        self.loops_open = loops_open;
        let extras: MacroExtras = std::mem::replace(&mut self.extras, outer);
        self.macros.push(Macro { name, parameters, extras, body });
        Ok(self.macros.len() as u32 - 1)
    }

    fn parameters(&mut self) -> Result<Vec<(Name, Option<Expr>)>> {
        self.expect_op("(")?;
        let mut parameters: Vec<(Name, Option<Expr>)> = Vec::new();
        while !self.take_op(")") {
            if !parameters.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.expect_name()?;
            let default = if self.take_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return Err(self.syntax("a parameter without a default follows one that has one"));
            }
            parameters.push((self.name(&name), default));
        }
        Ok(parameters)
    }

    /// One target, or several separated by commas, up to one of the words `ends`.
    fn target(&mut self, ends: &[&str]) -> Result<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if !targets.is_empty() {
                if !self.take_op(",") {
                    break;
                }
                is_tuple = true;
                if self.is_op("=") || self.is_op(")") || ends.iter().any(|word| self.is_name(word)) {
                    break;
                }
            }
            targets.push(self.nested(Self::one_target)?);
        }
        if is_tuple { Ok(Target::Tuple(targets)) } else { Ok(targets.remove(0)) }
    }

    fn one_target(&mut self) -> Result<Target> {
        if self.take_op("(") {
            let target = self.target(&[])?;
            self.expect_op(")")?;
            return Ok(target);
        }
        let name = self.expect_name()?;
        if matches!(name.as_str(), "true" | "false" | "none" | "True" | "False" | "None") {
            return Err(self.syntax(format!("nothing can be assigned to `{name}`")));
        }
        let name = self.name(&name);
        if self.take_op(".") {
            let attribute = self.expect_name()?;
            return Ok(Target::Attribute(name, self.name(&attribute)));
        }
        Ok(Target::Name(name))
    }
}

fn names_loop(target: &Target, names: &[Box<str>]) -> bool {
    match target {
        Target::Name(name) => &*names[*name as usize] == "loop",
        Target::Attribute(..) => false,
        Target::Tuple(targets) => targets.iter().any(|target| names_loop(target, names)),
    }
}
