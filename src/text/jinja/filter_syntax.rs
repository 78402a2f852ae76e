//! Parses filters, tests, and the arguments of calls.

use super::Result;
use super::ast::{Arguments, Const, Expr, Filters, Postfix};
use super::builtins;
use super::lexer::Token;
use super::parser::{Parser, with};

impl Parser {
    pub(super) fn arguments(&mut self) -> Result<Arguments> {
        self.expect_op("(")?;
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.take_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.take_op(")") {
                    break;
                }
            }
            first = false;
            self.argument(&mut arguments)?;
        }
        Ok(arguments)
    }

    fn argument(&mut self, arguments: &mut Arguments) -> Result<()> {
        let taken = arguments.named_rest.is_some();
        if self.take_op("**") && !taken {
            arguments.named_rest = Some(Box::new(self.expression()?));
            return Ok(());
        }
        if self.take_op("*") && !taken && arguments.rest.is_none() {
            arguments.rest = Some(Box::new(self.expression()?));
            return Ok(());
        }
        let named = matches!(self.peek(), Some(Token::Name(_)))
            && matches!(self.tokens.get(self.at + 1), Some((Token::Op("="), _)));
        if named && !taken {
            let name = self.expect_name()?;
            self.expect_op("=")?;
            let value = self.expression()?;
            arguments.named.push((self.name(&name), value));
            return Ok(());
        }
        let in_order = arguments.named.is_empty() && arguments.rest.is_none() && !taken;
        if !in_order {
            return Err(self.syntax("an argument without a name follows one with a name"));
        }
        arguments.positional.push(self.expression()?);
        Ok(())
    }

    pub(super) fn filters_and_tests(&mut self, value: Expr) -> Result<Expr> {
        let mut chain = Vec::new();
        loop {
            if self.is_op("|") {
                self.filters(&mut chain)?;
            } else if self.take_name("is") {
                chain.push(self.test()?);
            } else if self.is_op("(") {
                chain.push(Postfix::Call(self.arguments()?));
            } else {
                return Ok(with(value, chain));
            }
        }
    }

    fn filters(&mut self, chain: &mut Filters) -> Result<()> {
        while self.take_op("|") {
            self.filter(chain)?;
        }
        Ok(())
    }

    /// `name(arguments) | name | …`
    pub(super) fn inline_filters(&mut self) -> Result<Filters> {
        let mut chain = Vec::new();
        self.filter(&mut chain)?;
        self.filters(&mut chain)?;
        Ok(chain)
    }

    /// The filters after the target of a `set` block.
    pub(super) fn set_filters(&mut self) -> Result<Filters> {
        let mut chain = Vec::new();
        self.filters(&mut chain)?;
        Ok(chain)
    }

    fn filter(&mut self, chain: &mut Filters) -> Result<()> {
        let name = self.dotted_name()?;
        if !builtins::FILTERS.contains(&name.as_str()) {
            return Err(self.unsupported(format!("the filter `{name}`")));
        }
        let arguments = if self.is_op("(") { self.arguments()? } else { Arguments::default() };
        self.check_named(&name, &arguments)?;
        let name = self.name(&name);
        chain.push(Postfix::Filter(name, arguments));
        Ok(())
    }

    /// Checks the filter or test that `map('upper')` or `select('odd')` names by a string.
    fn check_named(&self, filter: &str, arguments: &Arguments) -> Result<()> {
        let (at, what, list) = match filter {
            "map" => (0, "filter", builtins::FILTERS),
            "select" | "reject" => (0, "test", builtins::TESTS),
            "selectattr" | "rejectattr" => (1, "test", builtins::TESTS),
            _ => return Ok(()),
        };
        let Some(Expr::Const(constant)) = arguments.positional.get(at) else { return Ok(()) };
        match &self.constants[*constant as usize] {
            Const::Str(name) if !list.contains(&&**name) => {
                Err(self.unsupported(format!("the {what} `{name}`")))
            }
            _ => Ok(()),
        }
    }

    fn dotted_name(&mut self) -> Result<String> {
        let mut name = self.expect_name()?;
        while self.take_op(".") {
            name = format!("{name}.{}", self.expect_name()?);
        }
        Ok(name)
    }

    fn test(&mut self) -> Result<Postfix> {
        let negated = self.take_name("not");
        let name = self.dotted_name()?;
        if !builtins::TESTS.contains(&name.as_str()) {
            return Err(self.unsupported(format!("the test `{name}`")));
        }
        let arguments = match self.peek() {
            Some(Token::Op("(")) => self.arguments()?,
            Some(Token::Name(word)) if matches!(word.as_str(), "else" | "or" | "and") => Arguments::default(),
            Some(Token::Name(word)) if word == "is" => {
                return Err(self.syntax("a test can't follow a test"));
            }
            Some(Token::Name(_) | Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{")) => {
                let value = self.nested(Self::primary)?;
                let value = self.postfix(value)?;
                Arguments { positional: vec![value], ..Arguments::default() }
            }
            _ => Arguments::default(),
        };
        Ok(Postfix::Test { name: self.name(&name), negated, arguments })
    }
}
