//! Exact arithmetic: decimals without binary rounding, aggregates over values, and an evaluator of plain expressions.
//! Where a result cannot be written exactly (a third), it is rounded to twelve decimals, half to even.

mod decimal;
mod expression;
mod phrase;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use decimal::Decimal;
pub use expression::evaluate;
pub use phrase::arithmetic;

/// Why a calculation has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalculatorError {
    /// More than 38 digits.
    #[error("the result has more digits than the calculator keeps (38)")]
    Overflow,
    /// Division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Not a number.
    #[error("{text:?} is not a number")]
    NotANumber {
        /// What was given.
        text: String,
    },
    /// An expression that cannot be read.
    #[error("at character {at}: expected {expected}")]
    Syntax {
        /// Characters before the place.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// An aggregate over no values.
    #[error("there are no values to take the {operation} of")]
    NoValues {
        /// What was asked for.
        operation: &'static str,
    },
}

/// An aggregate over values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// All added up.
    Total,
    /// The largest.
    Most,
    /// The smallest.
    Least,
    /// The arithmetic mean.
    Average,
    /// How many there are.
    Count,
    /// The largest less the smallest.
    Difference,
}

impl Aggregate {
    /// Every aggregate: what a planner may choose from.
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

    /// The aggregate of the values.
    ///
    /// # Errors
    /// When there are no values (but for total and count) or the result is too long.
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
