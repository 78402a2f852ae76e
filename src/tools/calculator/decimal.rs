//! A decimal number: an integer and the position of its decimal point.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::CalculatorError;

/// Decimals to which a quotient is rounded.
const QUOTIENT_DECIMALS: u32 = 12;
/// Decimals that are read or kept.
const DECIMALS_MAX: u32 = 30;

/// `units / 10^scale` without trailing zeros after the point, so that equal numbers have equal fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    units: i128,
    scale: u32,
}

type Result<T> = std::result::Result<T, CalculatorError>;

fn power_of_ten(exponent: u32) -> Result<i128> {
    10_i128.checked_pow(exponent).ok_or(CalculatorError::Overflow)
}

impl Decimal {
    pub const ZERO: Self = Self { units: 0, scale: 0 };
    pub const ONE: Self = Self { units: 1, scale: 0 };

    /// Refuses the one integer whose negative is too large, so that changing a sign never overflows.
    pub(crate) fn new(mut units: i128, mut scale: u32) -> Result<Self> {
        if units == i128::MIN {
            return Err(CalculatorError::Overflow);
        }
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Ok(Self { units, scale })
    }

    /// The units of both numbers at the larger of both scales.
    fn aligned(self, other: Self) -> Result<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let raise = |number: Self| {
            number.units.checked_mul(power_of_ten(scale - number.scale)?).ok_or(CalculatorError::Overflow)
        };
        Ok((raise(self)?, raise(other)?, scale))
    }

    /// # Errors
    /// When the result has too many digits.
    pub fn plus(self, other: Self) -> Result<Self> {
        let (a, b, scale) = self.aligned(other)?;
        Self::new(a.checked_add(b).ok_or(CalculatorError::Overflow)?, scale)
    }

    /// # Errors
    /// When the result has too many digits.
    pub fn minus(self, other: Self) -> Result<Self> {
        self.plus(other.negated())
    }

    /// # Errors
    /// When the result has too many digits.
    pub fn times(self, other: Self) -> Result<Self> {
        let units = self.units.checked_mul(other.units).ok_or(CalculatorError::Overflow)?;
        let product = Self::new(units, self.scale + other.scale)?;
        if product.scale > DECIMALS_MAX { product.rounded(DECIMALS_MAX) } else { Ok(product) }
    }

    /// The quotient, rounded to twelve decimals if it has more.
    ///
    /// # Errors
    /// When the divisor is zero or the result has too many digits.
    pub fn divided_by(self, other: Self) -> Result<Self> {
        if other.units == 0 {
            return Err(CalculatorError::DivisionByZero);
        }
        let (a, b, _) = self.aligned(other)?;
        let whole = a / b;
        let rest = (a % b).unsigned_abs();
        let divisor = b.unsigned_abs();
        let shift = power_of_ten(QUOTIENT_DECIMALS)?.unsigned_abs();
        let scaled = rest.checked_mul(shift).ok_or(CalculatorError::Overflow)?;
        let (mut fraction, left) = (scaled / divisor, scaled % divisor);
        let twice = left.checked_mul(2).ok_or(CalculatorError::Overflow)?;
        if twice > divisor || (twice == divisor && fraction % 2 == 1) {
            fraction += 1;
        }
        let magnitude = whole
            .unsigned_abs()
            .checked_mul(shift)
            .and_then(|w| w.checked_add(fraction))
            .and_then(|m| i128::try_from(m).ok())
            .ok_or(CalculatorError::Overflow)?;
        let negative = (a < 0) != (b < 0);
        Self::new(if negative { -magnitude } else { magnitude }, QUOTIENT_DECIMALS)
    }

    /// The remainder of a division that truncates toward zero; it has the sign of `self`.
    ///
    /// # Errors
    /// When the divisor is zero.
    pub fn modulo(self, other: Self) -> Result<Self> {
        if other.units == 0 {
            return Err(CalculatorError::DivisionByZero);
        }
        let (a, b, scale) = self.aligned(other)?;
        Self::new(a % b, scale)
    }

    /// A whole power. A negative exponent gives one over the positive power.
    ///
    /// # Errors
    /// When the exponent is not a whole number within ±1000, or the result has too many digits.
    pub fn power(self, exponent: Self) -> Result<Self> {
        let whole = if exponent.scale == 0 { i32::try_from(exponent.units).ok() } else { None };
        let times = whole.filter(|n| n.abs() <= 1000).ok_or(CalculatorError::Overflow)?;
        let power = (0..times.abs()).try_fold(Self::ONE, |product, _| product.times(self))?;
        if times < 0 { Self::ONE.divided_by(power) } else { Ok(power) }
    }

    #[must_use]
    pub fn negated(self) -> Self {
        Self { units: -self.units, scale: self.scale }
    }

    /// The absolute value.
    #[must_use]
    pub fn magnitude(self) -> Self {
        Self { units: self.units.abs(), scale: self.scale }
    }

    /// Rounded to so many decimals, half to even.
    ///
    /// # Errors
    /// Never at present; the signature matches the other operations.
    pub fn rounded(self, decimals: u32) -> Result<Self> {
        if self.scale <= decimals {
            return Ok(self);
        }
        // With more than 38 dropped decimals, every number rounds to zero.
        let Ok(unit) = power_of_ten(self.scale - decimals) else { return Ok(Self::ZERO) };
        let (whole, rest) = (self.units / unit, (self.units % unit).abs());
        let half = unit / 2;
        let up = rest > half || (rest == half && whole % 2 != 0);
        Self::new(whole + if up { self.units.signum() } else { 0 }, decimals)
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self { units: i128::from(value), scale: 0 }
    }
}

impl FromStr for Decimal {
    type Err = CalculatorError;

    /// Reads `-12.50`, `.5`, `1e3`. The caller must remove grouping marks.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || CalculatorError::NotANumber { text: text.chars().take(40).collect() };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong())?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return Err(wrong());
        }
        let fraction = fraction.trim_end_matches('0');
        let units: i128 = match format!("{whole}{fraction}").trim_start_matches('0') {
            "" => 0,
            digits => digits.parse().map_err(|_| CalculatorError::Overflow)?,
        };
        let scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX) - i64::from(exponent);
        let units = if negative { -units } else { units };
        if scale <= 0 {
            let raise = power_of_ten(u32::try_from(-scale).map_err(|_| CalculatorError::Overflow)?)?;
            return Self::new(units.checked_mul(raise).ok_or(CalculatorError::Overflow)?, 0);
        }
        let scale = u32::try_from(scale).ok().filter(|s| *s <= DECIMALS_MAX);
        Self::new(units, scale.ok_or(CalculatorError::Overflow)?)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = self.units.unsigned_abs().to_string();
        let scale = self.scale as usize;
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.aligned(*other) {
            Ok((a, b, _)) => a.cmp(&b),
            // Only one of the two can be so large that aligning overflows: the one with the smaller scale.
            Err(_) if self.scale < other.scale => self.units.cmp(&0),
            Err(_) => 0.cmp(&other.units),
        }
    }
}
