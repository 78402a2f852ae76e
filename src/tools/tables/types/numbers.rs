//! Numbers as people write them: signs, grouping marks, currencies, percent and units. Whether `1.234` is one and a
//! quarter or more than a thousand is decided for a whole column, so a text is read under one [`DecimalMark`].

/// What stands before the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalMark {
    /// As in `1,234.50`.
    Point,
    /// As in `1.234,50`.
    Comma,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number<'t> {
    /// Sign, digits and decimals without grouping, as SQLite and `Decimal` read them.
    pub(super) plain: String,
    /// Currency, percent sign or other unit.
    pub(super) unit: &'t str,
    pub(super) decimals: usize,
    /// All digits without leading zeros.
    pub(super) digits: usize,
    /// A zero before other digits of the whole part: `007` is a code, not a count.
    pub(super) has_leading_zero: bool,
    /// Exactly one mark, with three digits after it: under the other decimal mark this is another number.
    pub(super) is_ambiguous: bool,
}

const CURRENCIES: &[&str] = &[
    "€", "$", "£", "¥", "₹", "₽", "zł", "kr", "US$", "Fr.", "EUR", "USD", "GBP", "CHF", "JPY", "SEK", "NOK",
    "DKK", "PLN", "CZK", "INR", "CAD", "AUD", "CNY",
];
/// Units that may follow a digit without a space. Others need the space: `12a` is a house number.
const UNITS: &[&str] = &[
    "%", "‰", "°", "°C", "°F", "kg", "g", "mg", "t", "km", "m", "cm", "mm", "m²", "m³", "km/h", "l", "L",
    "ml", "s", "ms", "µs", "us", "ns", "h", "min", "d", "B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB",
    "GiB", "TiB", "k", "W", "kW", "kWh", "V", "A", "Hz", "MHz", "GHz", "pt", "px",
];
const UNIT_CHARS_MAX: usize = 12;

pub(crate) fn is_number(text: &str) -> bool {
    Number::read(text, DecimalMark::Point).is_some() || Number::read(text, DecimalMark::Comma).is_some()
}

impl<'t> Number<'t> {
    pub(super) fn read(text: &'t str, mark: DecimalMark) -> Option<Self> {
        let text = text.trim();
        if !text.bytes().any(|b| b.is_ascii_digit()) || text.len() > 60 {
            return None;
        }
        // Accountants write negative numbers in parentheses.
        let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let (text, in_parentheses) = inner.map_or((text, false), |inner| (inner.trim(), true));
        let (text, sign_first) = without_sign(text);
        let (text, before) = without_currency(text);
        let (text, sign_second) = without_sign(text);
        if usize::from(in_parentheses)
            + usize::from(sign_first.is_some())
            + usize::from(sign_second.is_some())
            > 1
        {
            return None;
        }
        let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
        let (digits, rest) = text.split_at(end);
        let after = unit_of(rest)?;
        if !before.is_empty() && !after.is_empty() {
            return None;
        }
        let negative = in_parentheses || sign_first.or(sign_second) == Some('-');
        Self::of_digits(digits, negative, mark, if before.is_empty() { after } else { before })
    }

    fn of_digits(text: &str, negative: bool, mark: DecimalMark, unit: &'t str) -> Option<Self> {
        let (text, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) if mantissa.contains(['.', ',']) => {
                (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 15)?)
            }
            Some(_) => return None,
            None => (text, 0),
        };
        let (point, group) = match mark {
            DecimalMark::Point => ('.', ','),
            DecimalMark::Comma => (',', '.'),
        };
        let (whole, fraction) = text.split_once(point).unwrap_or((text, ""));
        if !fraction.bytes().all(|b| b.is_ascii_digit()) || (fraction.is_empty() && text.ends_with(point)) {
            return None;
        }
        let digits = ungrouped(whole, group)?;
        let marks = text.chars().filter(|c| matches!(c, '.' | ',')).count();
        let tail = text.rsplit(['.', ',']).next().map_or(0, str::len);
        let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
        // `0.125` groups nothing under any mark.
        let is_ambiguous =
            marks == 1 && tail == 3 && (1..=3).contains(&(text.len() - 4)) && !text.starts_with('0');
        let whole = if digits.is_empty() { "0" } else { &digits };
        let mut plain = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
        let mut decimals = fraction.len();
        if exponent != 0 {
            plain = shifted(whole, fraction, exponent);
            decimals = plain.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        }
        let significant = plain.trim_start_matches(['0', '.']).bytes().filter(u8::is_ascii_digit).count();
        if negative {
            plain.insert(0, '-');
        }
        Some(Self { plain, unit, decimals, digits: significant, has_leading_zero, is_ambiguous })
    }
}

fn without_sign(text: &str) -> (&str, Option<char>) {
    if let Some(rest) = text.strip_prefix(['-', '\u{2212}']) {
        return (rest.trim_start(), Some('-'));
    }
    text.strip_prefix('+').map_or((text, None), |rest| (rest.trim_start(), Some('+')))
}

fn without_currency(text: &str) -> (&str, &str) {
    let Some(at) = text.find(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '\u{2212}')) else {
        return (text, "");
    };
    let point = text[..at].ends_with('.')
        && CURRENCIES.iter().all(|c| !text[..at].trim_end().eq_ignore_ascii_case(c));
    let at = if point { at - 1 } else { at };
    let before = text[..at].trim_end();
    match CURRENCIES.iter().any(|currency| currency.eq_ignore_ascii_case(before)) {
        true => (&text[at..], before),
        false => (text, ""),
    }
}

/// The unit after the digits, empty if there is none, `None` if what follows is no unit.
fn unit_of(rest: &str) -> Option<&str> {
    let unit = rest.trim();
    let known = UNITS.contains(&unit) || CURRENCIES.iter().any(|c| c.eq_ignore_ascii_case(unit));
    let is_word =
        unit.chars().all(|c| c.is_alphabetic() || matches!(c, '%' | '‰' | '°' | '²' | '³' | '/' | '$'));
    let fits = unit.is_empty()
        || known
        || (rest.starts_with(' ') && is_word && unit.chars().count() <= UNIT_CHARS_MAX);
    fits.then_some(unit)
}

/// The digits of a whole part without grouping marks; `None` if a group hasn't three digits.
fn ungrouped(whole: &str, group: char) -> Option<String> {
    if whole.bytes().all(|b| b.is_ascii_digit()) {
        return Some(whole.to_owned());
    }
    let is_mark =
        |c: char| c == group || matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '\'' | '\u{2019}');
    let mark = whole.chars().find(|c| is_mark(*c))?;
    let groups: Vec<&str> = whole.split(mark).collect();
    let all_digits = groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_digit()));
    let first_fits = (1..=3).contains(&groups[0].len());
    let others_fit = groups[1..].iter().all(|group| group.len() == 3);
    (all_digits && first_fits && others_fit).then(|| groups.concat())
}

/// `whole.fraction · 10^exponent` without an exponent.
fn shifted(whole: &str, fraction: &str, exponent: i32) -> String {
    let mut digits = format!("{whole}{fraction}");
    let mut point = i32::try_from(whole.len()).unwrap_or(0) + exponent;
    while point <= 0 {
        digits.insert(0, '0');
        point += 1;
    }
    let point = usize::try_from(point).unwrap_or(0);
    while digits.len() < point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}
