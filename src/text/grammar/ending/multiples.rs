//! Computes the shortest completion of a number under `multipleOf`, by arithmetic. Trying bytes on the parser, as the
//! other searches do, would have to follow every remainder.

use serde_json::Value;

use crate::grammar::schema;

/// A number with more digits is not completed.
const DIGITS_MAX: u32 = 16;
/// Most digits that are added to the whole part. A multiple of at most 1000 needs few, but bounds may ask for more.
const ADDED_MAX: u32 = 16;

/// The numbers that one part of a schema allows: multiples of `digits · 10^-places` between `least` and `most`. The
/// flag of a bound is `true` if the bound is exclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Multiples {
    digits: u32,
    places: u32,
    least: (f64, bool),
    most: (f64, bool),
}

/// The part of a number that is written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct NumberPrefix {
    negative: bool,
    /// The digits without the decimal point, and how many they are.
    digits: i128,
    count: u32,
    /// How many of them are after the decimal point; `None` before the point.
    fraction: Option<u32>,
}

impl NumberPrefix {
    pub(crate) fn push(mut self, byte: u8) -> Self {
        match byte {
            b'-' => self.negative = true,
            b'.' => self.fraction = Some(0),
            b'0'..=b'9' => {
                if self.count < DIGITS_MAX {
                    self.digits = self.digits * 10 + i128::from(byte - b'0');
                    self.fraction = self.fraction.map(|count| count + 1);
                }
                self.count = (self.count + 1).min(DIGITS_MAX + 1);
            }
            // Multiples are written without an exponent.
            _ => self.count = DIGITS_MAX + 1,
        }
        self
    }
}

impl Multiples {
    /// From one part of a schema whose bounds are exact; `None` without `multipleOf`.
    pub(crate) fn of(part: &serde_json::Map<String, Value>) -> Option<Self> {
        let (digits, places) = schema::decimal(part.get("multipleOf")?.as_f64()?)?;
        let bound = |plain: &str, exclusive: &str, none: f64| {
            let of = |key: &str| part.get(key).and_then(Value::as_f64);
            let open = of(exclusive).map(|bound| (bound, true));
            open.or_else(|| Some((of(plain)?, false))).unwrap_or((none, false))
        };
        let least = bound("minimum", "exclusiveMinimum", f64::NEG_INFINITY);
        let most = bound("maximum", "exclusiveMaximum", f64::INFINITY);
        Some(Self { digits, places, least, most })
    }

    /// The texts that make a multiple of `prefix`, short ones first.
    pub(crate) fn completions(&self, prefix: NumberPrefix) -> Vec<Vec<u8>> {
        if prefix.count > DIGITS_MAX || prefix.fraction.is_some_and(|fraction| fraction > self.places) {
            return Vec::new();
        }
        let mut completions = self.unsigned_completions(prefix, b"");
        if prefix.count == 0 && !prefix.negative {
            completions.extend(self.unsigned_completions(NumberPrefix { negative: true, ..prefix }, b"-"));
        }
        completions.sort_by_key(Vec::len);
        completions
    }

    fn unsigned_completions(&self, prefix: NumberPrefix, sign: &[u8]) -> Vec<Vec<u8>> {
        let mut completions = Vec::new();
        if let Some(fraction) = prefix.fraction {
            for added in u32::from(fraction == 0)..=self.places - fraction {
                let digits = self.digits_after(prefix, 0, added, fraction + added);
                completions.extend(digits.map(|digits| [sign, digits.as_bytes()].concat()));
            }
            return completions;
        }
        for fraction in 0..=self.places {
            let mut whole = 0..=ADDED_MAX;
            completions.extend(whole.find_map(|whole| {
                let mut digits = self.digits_after(prefix, whole, fraction, fraction)?;
                if fraction > 0 {
                    digits.insert(whole as usize, '.');
                }
                Some([sign, digits.as_bytes()].concat())
            }));
        }
        completions
    }

    /// The digits that make a multiple of `prefix`: `whole` before the decimal point and `added` after it. `fraction`
    /// is the total number of digits after the point.
    fn digits_after(&self, prefix: NumberPrefix, whole: u32, added: u32, fraction: u32) -> Option<String> {
        let is_nothing = prefix.count == 0;
        let is_zero = prefix.count == 1 && prefix.digits == 0;
        if (is_nothing && whole == 0) || (is_zero && whole > 0) {
            return None;
        }
        let power = |digits: u32| 10i128.pow(digits);
        let base = prefix.digits.checked_mul(power(whole + added))?;
        let of = i128::from(self.digits);
        let step = of / greatest_divisor(of, power(self.places - fraction));
        let negated = |(bound, is_open): (f64, bool)| (-bound, is_open);
        let (least, most) = match prefix.negative {
            true => (negated(self.most), negated(self.least)),
            false => (self.least, self.most),
        };
        let scaled = |bound: f64| bound * 10f64.powi(fraction as i32);
        let first = scaled(least.0).ceil();
        let first = first as i128 + i128::from(least.1 && scaled(least.0) == first);
        let last = scaled(most.0).floor();
        let last = (last as i128).saturating_sub(i128::from(most.1 && scaled(most.0) == last));
        // A number of several digits does not begin with zero.
        let from = if is_nothing && whole > 1 { power(whole - 1 + added) } else { base };
        let value = from.max(first).checked_add(step - 1)? / step * step;
        let digits = (whole + added) as usize;
        let is_near = value < base + power(whole + added) && value <= last;
        is_near.then(|| if digits == 0 { String::new() } else { format!("{:0digits$}", value - base) })
    }
}

fn greatest_divisor(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number in units of `10^-places`, if `text` is a JSON number with no more decimal places.
    fn units(text: &str, places: u32) -> Option<i128> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole)
            || (whole.len() > 1 && whole.starts_with('0'))
            || (unsigned.contains('.') && !is_number(fraction))
            || fraction.len() as u32 > places
        {
            return None;
        }
        let padded = format!("{whole}{fraction:0<width$}", width = places as usize);
        let units: i128 = padded.parse().ok()?;
        Some(if text.starts_with('-') { -units } else { units })
    }

    /// The fewest bytes that complete `text`, found by trying all.
    fn fewest(of: &Multiples, text: &str, most: usize) -> Option<usize> {
        let fits = |text: &str| {
            let within = |units: i128| {
                let value: f64 = format!("{units}e-{}", of.places).parse().unwrap();
                let above = if of.least.1 { value > of.least.0 } else { value >= of.least.0 };
                let below = if of.most.1 { value < of.most.0 } else { value <= of.most.0 };
                above && below
            };
            units(text, of.places).is_some_and(|units| units % i128::from(of.digits) == 0 && within(units))
        };
        let mut level = vec![text.to_owned()];
        for length in 0..=most {
            if level.iter().any(|text| fits(text)) {
                return Some(length);
            }
            let longer =
                |text: &String| "0123456789.-".chars().map(|c| format!("{text}{c}")).collect::<Vec<_>>();
            level = level.iter().flat_map(longer).filter(|text| is_beginning(text)).collect();
        }
        None
    }

    fn is_beginning(text: &str) -> bool {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let whole = unsigned.split('.').next().unwrap_or_default();
        let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
        let has_point_alone = whole.is_empty() && unsigned.contains('.');
        let has_too_many = unsigned.contains('-') || unsigned.matches('.').count() > 1;
        !has_too_many && !has_leading_zero && !has_point_alone
    }

    proptest! {
        #[test]
        fn the_rest_is_a_shortest_one_of_all(
            digits in 1u32..300, places in 0u32..3, low in -3000i32..3000, span in 0i32..6000,
            open in any::<(bool, bool)>(), has in any::<(bool, bool)>(), text in "-?([1-9][0-9]{0,3}|0)?(\\.[0-9]{0,2})?",
        ) {
            prop_assume!(is_beginning(&text));
            let of = Multiples {
                digits,
                places,
                least: if has.0 { (f64::from(low) / 4.0, open.0) } else { (f64::NEG_INFINITY, false) },
                most: if has.1 { (f64::from(low + span) / 4.0, open.1) } else { (f64::INFINITY, false) },
            };
            let prefix = text.bytes().fold(NumberPrefix::default(), NumberPrefix::push);
            let found = of.completions(prefix).into_iter().next();
            if let Some(expected) = fewest(&of, &text, 3) {
                prop_assert_eq!(found.as_ref().map(Vec::len), Some(expected), "{:?} {}: {:?}", of, text, found);
            }
            if let Some(rest) = found {
                let whole = format!("{text}{}", String::from_utf8(rest.clone()).unwrap());
                prop_assert_eq!(fewest(&of, &whole, 0), Some(0), "{:?} {}", of, whole);
            }
        }
    }
}
