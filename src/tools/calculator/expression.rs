//! Evaluates expressions such as `2 * (3 + 4.5)` and `sum(1, 2, 3)` by recursive descent. There are no variables, only
//! numbers, and the depth is limited.

use super::{Aggregate, CalculatorError, Decimal};

/// Nesting depth of brackets and signs, so that the stack can't overflow.
const DEPTH_MAX: usize = 64;

type Result<T> = std::result::Result<T, CalculatorError>;

/// The value of an expression of numbers, `+ - * / % ^`, brackets, and the functions `sum max min mean count abs round`
/// (`round(x)` or `round(x, decimals)`).
///
/// # Errors
/// When it cannot be parsed, divides by zero, or has too many digits.
pub fn evaluate(text: &str) -> Result<Decimal> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, depth: 0 };
    let value = reader.sum()?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.expected("an operator or the end")),
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expected(&self, expected: &'static str) -> CalculatorError {
        CalculatorError::Syntax { at: self.at, expected }
    }

    fn sum(&mut self) -> Result<Decimal> {
        let mut value = self.product()?;
        loop {
            if self.take('+') {
                value = value.plus(self.product()?)?;
            } else if self.take('-') {
                value = value.minus(self.product()?)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<Decimal> {
        let mut value = self.signed()?;
        loop {
            if self.take('*') || self.take('×') {
                value = value.times(self.signed()?)?;
            } else if self.take('/') || self.take('÷') {
                value = value.divided_by(self.signed()?)?;
            } else if self.take('%') {
                value = value.modulo(self.signed()?)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn signed(&mut self) -> Result<Decimal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.expected("fewer brackets and signs within each other"));
        }
        let value = if self.take('-') {
            self.signed()?.negated()
        } else if self.take('+') {
            self.signed()?
        } else {
            self.power()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn power(&mut self) -> Result<Decimal> {
        let base = self.atom()?;
        if self.take('^') { base.power(self.signed()?) } else { Ok(base) }
    }

    fn atom(&mut self) -> Result<Decimal> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let value = self.sum()?;
                self.close()?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.function(),
            _ => Err(self.expected("a number, a function or a bracket")),
        }
    }

    fn close(&mut self) -> Result<()> {
        if self.take(')') { Ok(()) } else { Err(self.expected("a closing bracket")) }
    }

    fn number(&mut self) -> Result<Decimal> {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| c.is_ascii_digit() || matches!(c, '.' | '_')) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().filter(|c| **c != '_').collect();
        digits.parse()
    }

    fn function(&mut self) -> Result<Decimal> {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(char::is_ascii_alphabetic) {
            self.at += 1;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        if !self.take('(') {
            return Err(self.expected("an opening bracket after the function's name"));
        }
        let mut values = Vec::new();
        while !self.take(')') {
            values.push(self.sum()?);
            if !self.take(',') {
                self.close()?;
                break;
            }
        }
        match (name.as_str(), values.as_slice()) {
            ("sum" | "total", all) => Aggregate::Total.of(all),
            ("max", all) => Aggregate::Most.of(all),
            ("min", all) => Aggregate::Least.of(all),
            ("mean" | "average" | "avg", all) => Aggregate::Average.of(all),
            ("count", all) => Aggregate::Count.of(all),
            ("abs", [value]) => Ok(value.magnitude()),
            ("round", [value]) => value.rounded(0),
            ("round", [value, decimals]) => value
                .rounded(decimals.to_string().parse().map_err(|_| self.expected("a number of decimals"))?),
            _ => Err(self.expected("sum, max, min, mean, count, abs or round, with its values")),
        }
    }
}
