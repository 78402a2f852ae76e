//! Exact arithmetic: decimals without binary rounding, aggregates over values, and an evaluator of plain expressions.
//! Results that cannot be written exactly, such as a third, are rounded to twelve decimals, half to even.

mod decimal;
mod expression;
mod phrase;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use decimal::Decimal;
pub use expression::evaluate;
pub use phrase::arithmetic;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalculatorError {
    #[error("the result has more digits than the calculator keeps (38)")]
    Overflow,
    #[error("division by zero")]
    DivisionByZero,
    #[error("{text:?} is not a number")]
    NotANumber { text: String },
    /// The expression cannot be parsed.
    #[error("at character {at}: expected {expected}")]
    Syntax {
        /// Number of characters before the error.
        at: usize,
        expected: &'static str,
    },
    /// An aggregate over no values that needs at least one.
    #[error("there are no values to take the {operation} of")]
    NoValues { operation: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    Total,
    Most,
    Least,
    /// The arithmetic mean.
    Average,
    Count,
    /// The largest value minus the smallest.
    Difference,
}

impl Aggregate {
    /// Every aggregate, for the planner to choose from.
    pub const ALL: [Self; 6] =
        [Self::Total, Self::Most, Self::Least, Self::Average, Self::Count, Self::Difference];

    /// Its name in plans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Most => "most",
            Self::Least => "least",
            Self::Average => "average",
            Self::Count => "count",
            Self::Difference => "difference",
        }
    }

    /// Computes the aggregate.
    ///
    /// # Errors
    /// When there are no values (except for total and count) or the result has too many digits.
    pub fn of(self, values: &[Decimal]) -> Result<Decimal, CalculatorError> {
        let some = |value: Option<&Decimal>| {
            value.copied().ok_or(CalculatorError::NoValues { operation: self.name() })
        };
        match self {
            Self::Total => values.iter().try_fold(Decimal::ZERO, |sum, value| sum.plus(*value)),
            Self::Count => Ok(Decimal::from(values.len() as i64)),
            Self::Most => some(values.iter().max()),
            Self::Least => some(values.iter().min()),
            Self::Average => {
                some(values.first())?;
                Self::Total.of(values)?.divided_by(Decimal::from(values.len() as i64))
            }
            Self::Difference => Self::Most.of(values)?.minus(Self::Least.of(values)?),
        }
    }
}
