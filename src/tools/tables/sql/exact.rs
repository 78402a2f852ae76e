//! Decimals in SQLite, which has binary floating-point numbers only. A decimal of at most 15 digits has one such
//! number, and that number leads back to it, so sums are computed with decimals and only the result is rounded to 15
//! digits.

use crate::calculator::{CalculatorError, Decimal};

/// Digits that a binary number of 64 bits keeps.
const DIGITS: i32 = 15;
/// Powers of ten that are exact.
const DECIMALS_TRIED: u32 = 9;

/// The decimal that a number was read from, or the number rounded to 15 digits.
pub(in super::super) fn decimal_of(number: f64) -> Result<Decimal, CalculatorError> {
    let mut power = 1.0;
    for decimals in 0..=DECIMALS_TRIED {
        let units = (number * power).round();
        if units.abs() < 1e15 && units / power == number {
            return Decimal::new(units as i128, decimals);
        }
        power *= 10.0;
    }
    format!("{number:.*e}", DIGITS as usize - 1).parse()
}

/// The binary number closest to a decimal.
pub(super) fn number_of(decimal: Decimal) -> f64 {
    decimal.to_string().parse().unwrap_or(f64::NAN)
}

/// Rounded to so many decimals, half away from zero as in everyday arithmetic. Negative `decimals` round to tens.
pub(super) fn rounded(number: f64, decimals: i64) -> Result<f64, CalculatorError> {
    let decimals = decimals.clamp(-15, 20);
    let exact = decimal_of(number)?;
    let unit: Decimal = format!("1e{}", -decimals).parse()?;
    let half: Decimal = format!("5e{}", -decimals - 1).parse()?;
    let raised = exact.magnitude().plus(half)?;
    let magnitude = raised.minus(raised.modulo(unit)?)?;
    Ok(number_of(if number < 0.0 { magnitude.negated() } else { magnitude }))
}
