//! What a statement says: a number with its unit, a date, a time, a code, an address or a name. Values that only look
//! different are the same, such as 1,200 and 1200, 60 s and a minute, or 20 September 2026 and 2026-09-20.

use bandmaster_tools::calculator::Decimal;

/// What a number counts or measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::strategies) enum Unit {
    /// The text names none: `pool_max = 31` leaves it to the reader.
    Open,
    /// Things that the text names.
    Count,
    Percent,
    /// Money of a currency.
    Money(&'static str),
    /// A quantity whose units can be converted, such as a length.
    Measure(&'static str),
}

/// Whether a number is exact or only a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::strategies) enum Bound {
    Exact,
    About,
    AtLeast,
    AtMost,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::strategies) enum Value {
    Number {
        /// All that the digits may mean.
        readings: Vec<Decimal>,
        unit: Unit,
        /// How many of the measure's smallest unit the unit is; 1 for what can't be converted.
        times: i64,
        /// What the number is a rate of: a month, a person.
        per: String,
        bound: Bound,
    },
    /// All days that may be meant. A part that the text leaves out is 0.
    Date(Vec<(i16, i8, i8)>),
    /// Minutes since midnight.
    Time(u16),
    /// A mix of letters and digits, in capitals and without marks: a room, a version, an order's number.
    Code(String),
    /// A mail or web address in small letters.
    Address(String),
    /// Names and other short texts, as their words in small letters.
    Name(Vec<String>),
}

/// How two values stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::strategies) enum Relation {
    Same,
    Differ,
    /// They are not of one kind, so that nothing follows.
    Apart,
}

/// Units that convert into each other: the measure, how many of its smallest unit, and the unit's names.
const MEASURES: &[(&str, i64, &[&str])] = &[
    ("time", 1, &["ms", "msec", "millisecond", "milliseconds"]),
    ("time", 1_000, &["s", "sec", "secs", "second", "seconds"]),
    ("time", 60_000, &["min", "mins", "minute", "minutes"]),
    ("time", 3_600_000, &["h", "hr", "hrs", "hour", "hours"]),
    ("time", 86_400_000, &["day", "days"]),
    ("time", 604_800_000, &["week", "weeks"]),
    ("months", 1, &["month", "months"]),
    ("months", 12, &["year", "years", "yr", "yrs"]),
    ("length", 1, &["mm", "millimetre", "millimetres", "millimeter", "millimeters"]),
    ("length", 10, &["cm", "centimetre", "centimetres", "centimeter", "centimeters"]),
    ("length", 1_000, &["m", "metre", "metres", "meter", "meters"]),
    ("length", 1_000_000, &["km", "kilometre", "kilometres", "kilometer", "kilometers"]),
    ("miles", 1, &["mile", "miles", "mi"]),
    ("area", 1, &["m²", "m2", "sqm"]),
    ("doses", 1, &["mg", "milligram", "milligrams"]),
    ("mass", 1, &["g", "gram", "grams", "gramme", "grammes"]),
    ("mass", 1_000, &["kg", "kilo", "kilos", "kilogram", "kilograms"]),
    ("mass", 1_000_000, &["t", "ton", "tons", "tonne", "tonnes"]),
    ("volume", 1, &["ml", "millilitre", "millilitres"]),
    ("volume", 1_000, &["l", "litre", "litres", "liter", "liters"]),
    ("bytes", 1, &["kb", "kib"]),
    ("bytes", 1_000, &["mb", "mib"]),
    ("bytes", 1_000_000, &["gb", "gib"]),
    ("bytes", 1_000_000_000, &["tb", "tib"]),
    ("watts", 1, &["w", "watt", "watts"]),
    ("watts", 1_000, &["kw", "kilowatt", "kilowatts"]),
    ("energy", 1, &["kwh"]),
    ("volts", 1, &["v", "volt", "volts"]),
    ("degrees", 1, &["°c", "°", "degrees"]),
];

const CURRENCIES: &[(&str, &[&str])] = &[
    ("EUR", &["eur", "euro", "euros", "€"]),
    ("USD", &["usd", "dollar", "dollars", "$", "us$"]),
    ("GBP", &["gbp", "pound", "pounds", "£", "quid"]),
    ("CHF", &["chf", "franc", "francs"]),
    ("JPY", &["jpy", "yen", "¥"]),
    ("SEK", &["sek", "kronor", "krona"]),
    ("NOK", &["nok", "kroner"]),
    ("DKK", &["dkk"]),
    ("PLN", &["pln", "zł", "zloty"]),
];

/// The unit of a name such as `seconds` or `€`, and how many of its smallest unit it is.
pub(super) fn unit_named(name: &str) -> Option<(Unit, i64)> {
    let name = name.to_lowercase();
    if matches!(name.as_str(), "%" | "percent" | "pct") {
        return Some((Unit::Percent, 1));
    }
    let measure = MEASURES.iter().find(|(_, _, names)| names.contains(&name.as_str()));
    if let Some((measure, times, _)) = measure {
        return Some((Unit::Measure(measure), *times));
    }
    currency_named(&name).map(|currency| (Unit::Money(currency), 1))
}

pub(super) fn currency_named(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    CURRENCIES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(currency, _)| *currency)
}

/// How the values of two statements stand to each other.
pub(super) fn relation(a: &Value, b: &Value) -> Relation {
    let of = |same: bool| if same { Relation::Same } else { Relation::Differ };
    match (a, b) {
        (Value::Number { unit, per, .. }, Value::Number { unit: other, per: other_per, .. }) => {
            let rates = per == other_per || per.is_empty() || other_per.is_empty();
            match units_meet(unit, other) && rates {
                true => of(numbers_meet(a, b)),
                false => Relation::Apart,
            }
        }
        (Value::Date(days), Value::Date(others)) => {
            let mut pairs = days.iter().flat_map(|day| others.iter().map(move |other| (*day, *other)));
            let can_differ = pairs.clone().any(|(day, other)| have_part_in_common(day, other));
            match can_differ {
                true => of(pairs.any(|(day, other)| days_meet(day, other))),
                // A year says nothing about a day of May.
                false => Relation::Apart,
            }
        }
        (Value::Time(a), Value::Time(b)) => of(a == b),
        (Value::Code(a), Value::Code(b)) | (Value::Address(a), Value::Address(b)) => of(a == b),
        (Value::Name(a), Value::Name(b)) => of(names_meet(a, b)),
        _ => Relation::Apart,
    }
}

/// A number without a unit may have any.
fn units_meet(a: &Unit, b: &Unit) -> bool {
    a == b || *a == Unit::Open || *b == Unit::Open
}

fn numbers_meet(a: &Value, b: &Value) -> bool {
    let Value::Number { readings, unit, times, bound, .. } = a else { return false };
    let Value::Number { readings: others, unit: other_unit, times: other_times, bound: other, .. } = b else {
        return false;
    };
    // A number without a unit is taken to have the other's.
    let converts = unit == other_unit;
    let scaled = |value: &Decimal, times: i64| {
        if converts { value.times(Decimal::from(times)).unwrap_or(*value) } else { *value }
    };
    let any = |fits: &dyn Fn(Decimal, Decimal) -> bool| {
        let mut pairs = readings.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
        pairs.any(|(one, other)| fits(scaled(one, *times), scaled(other, *other_times)))
    };
    match (bound, other) {
        (Bound::About, _) | (_, Bound::About) => any(&are_near),
        (Bound::AtLeast, Bound::Exact) | (Bound::Exact, Bound::AtMost) => any(&|a, b| a <= b),
        (Bound::AtMost, Bound::Exact) | (Bound::Exact, Bound::AtLeast) => any(&|a, b| a >= b),
        (Bound::AtLeast, Bound::AtMost) => any(&|a, b| a <= b),
        (Bound::AtMost, Bound::AtLeast) => any(&|a, b| a >= b),
        _ => any(&|a, b| a == b),
    }
}

/// Whether two numbers differ by a tenth of the larger one or less.
fn are_near(a: Decimal, b: Decimal) -> bool {
    let larger = if a > b { a } else { b };
    let apart = a.minus(b).map(Decimal::magnitude).and_then(|apart| apart.times(Decimal::from(10)));
    apart.is_ok_and(|apart| apart <= larger)
}

/// Whether both name a year, or a month, or a day.
fn have_part_in_common(a: (i16, i8, i8), b: (i16, i8, i8)) -> bool {
    (a.0 != 0 && b.0 != 0) || (a.1 != 0 && b.1 != 0) || (a.2 != 0 && b.2 != 0)
}

fn days_meet(a: (i16, i8, i8), b: (i16, i8, i8)) -> bool {
    let meet = |a: i16, b: i16| a == 0 || b == 0 || a == b;
    meet(a.0, b.0) && meet(i16::from(a.1), i16::from(b.1)) && meet(i16::from(a.2), i16::from(b.2))
}

/// Whether one name is the other, or a shorter form of it: "Farnaby", "G. Farnaby" and "Greta Farnaby".
fn names_meet(a: &[String], b: &[String]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let is_initial =
        |word: &String, other: &String| word.chars().count() == 1 && other.starts_with(word.as_str());
    let stands = |word: &String| {
        long.iter().any(|other| word == other || is_initial(word, other) || is_initial(other, word))
    };
    !short.is_empty() && short.iter().all(stands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(readings: &[i64], unit: Unit, bound: Bound) -> Value {
        let readings = readings.iter().map(|value| Decimal::from(*value)).collect();
        Value::Number { readings, unit, times: 1, per: String::new(), bound }
    }

    #[test]
    fn values_differ_if_no_reading_of_them_is_the_same() {
        let check = |a: &Value, b: &Value, expected: Relation| {
            assert_eq!((relation(a, b), relation(b, a)), (expected, expected), "{a:?} {b:?}");
        };
        let count = |value: i64, bound| number(&[value], Unit::Count, bound);
        check(&count(26, Bound::Exact), &count(62, Bound::Exact), Relation::Differ);
        check(&number(&[1, 1200], Unit::Count, Bound::Exact), &count(1200, Bound::Exact), Relation::Same);
        check(&count(26, Bound::Exact), &count(20, Bound::AtLeast), Relation::Same);
        check(&count(26, Bound::Exact), &count(20, Bound::AtMost), Relation::Differ);
        check(&count(400, Bound::About), &count(414, Bound::Exact), Relation::Same);
        check(&count(400, Bound::About), &count(460, Bound::Exact), Relation::Differ);
        check(&count(31, Bound::AtMost), &count(40, Bound::AtMost), Relation::Differ);
        let seconds = number(&[90_000], Unit::Measure("time"), Bound::Exact);
        check(&seconds, &number(&[12], Unit::Measure("months"), Bound::Exact), Relation::Apart);
        let day = |year, month, day| Value::Date(vec![(year, month, day)]);
        check(&day(2026, 6, 13), &day(0, 6, 13), Relation::Same);
        check(&day(2026, 6, 13), &day(2026, 6, 14), Relation::Differ);
        check(&day(1823, 0, 0), &day(1823, 5, 1), Relation::Same);
        check(&day(1932, 0, 0), &day(0, 7, 21), Relation::Apart);
        check(&Value::Date(vec![(2025, 2, 1), (2025, 1, 2)]), &day(2025, 1, 2), Relation::Same);
        let name = |words: &[&str]| Value::Name(words.iter().map(|word| (*word).to_owned()).collect());
        check(&name(&["g", "farnaby"]), &name(&["greta", "farnaby"]), Relation::Same);
        check(&name(&["leila", "farnaby"]), &name(&["greta", "farnaby"]), Relation::Differ);
        check(&Value::Time(570), &count(570, Bound::Exact), Relation::Apart);
    }
}
