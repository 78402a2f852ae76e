//! What all values of a column have in common, and the type that follows. The facts are collected value by value and
//! take the same memory for any number of rows.

use super::dates::{DateOrder, Day, Moment};
use super::numbers::{DecimalMark, Number};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Integer,
    /// Exact up to 15 digits.
    Decimal,
    /// A day, as `YYYY-MM-DD`.
    Date,
    /// A day and a time, as `YYYY-MM-DD HH:MM:SS`.
    DateTime,
    Boolean,
    Text,
}

/// Digits of a decimal that survive SQLite's floating-point numbers.
pub(super) const DECIMAL_DIGITS_MAX: usize = 15;
/// Digits that always fit into 64 bits.
const INTEGER_DIGITS_MAX: usize = 18;
/// Lines that a note names.
const NAMED_MAX: usize = 3;
/// What people write where there is no number or date.
const PLACEHOLDERS: &[&str] = &[
    "-",
    "--",
    "---",
    "–",
    "—",
    "?",
    "n/a",
    "na",
    "n.a.",
    "#n/a",
    "null",
    "nil",
    "none",
    "nan",
    "tbd",
    "tba",
    "unknown",
    "missing",
    "pending",
    "not available",
    "k.a.",
    "unbekannt",
    "offen",
    "#ref!",
    "#value!",
    "#div/0!",
];
const BOOLEANS: &[(&str, bool)] =
    &[("true", true), ("false", false), ("yes", true), ("no", false), ("ja", true), ("nein", false)];

impl Kind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Date => "date",
            Self::DateTime => "date and time",
            Self::Boolean => "boolean",
            Self::Text => "text",
        }
    }
}

/// A type with what is needed to read a value of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnType {
    pub(crate) kind: Kind,
    /// Unit of all values, or empty.
    pub(crate) unit: String,
    mark: DecimalMark,
    order: DateOrder,
    to_utc: bool,
}

/// A value as SQLite stores it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'t> {
    Empty,
    Integer(i64),
    Real(f64),
    Text(std::borrow::Cow<'t, str>),
}

/// Values that don't fit a type: how many, and the first ones with their lines.
#[derive(Debug, Clone, Default)]
struct Misfits {
    count: usize,
    first: Vec<(usize, String)>,
}

impl Misfits {
    fn add(&mut self, line: usize, text: &str) {
        self.count += 1;
        if self.first.len() < NAMED_MAX {
            self.first.push((line, text.chars().take(30).collect()));
        }
    }

    fn named(&self) -> String {
        let named = self.first.iter().map(|(line, text)| format!("{text:?} in line {line}"));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if self.count > self.first.len() {
            named.push_str(&format!(" and {} more", self.count - self.first.len()));
        }
        named
    }
}

#[derive(Debug, Clone, Default)]
struct NumberFacts {
    misfits: Misfits,
    decimals: usize,
    digits: usize,
    ambiguous: usize,
    leading_zero: Option<(usize, String)>,
    /// The unit of the first number, and the first other one.
    unit: Option<String>,
    other_unit: Option<(usize, String)>,
    fits: usize,
}

impl NumberFacts {
    fn see(&mut self, line: usize, text: &str, number: Option<Number<'_>>) {
        let Some(number) = number else { return self.misfits.add(line, text) };
        self.fits += 1;
        self.decimals = self.decimals.max(number.decimals);
        self.digits = self.digits.max(number.digits);
        self.ambiguous += usize::from(number.is_ambiguous);
        if number.has_leading_zero && self.leading_zero.is_none() {
            self.leading_zero = Some((line, text.to_owned()));
        }
        match &self.unit {
            None => self.unit = Some(number.unit.to_owned()),
            Some(unit) if unit != number.unit && self.other_unit.is_none() => {
                self.other_unit = Some((line, text.to_owned()));
            }
            Some(_) => {}
        }
    }
}

#[derive(Debug, Clone, Default)]
struct DateFacts {
    misfits: Misfits,
    fits: usize,
    with_time: usize,
    /// Values that only one order allows.
    only_day_first: Option<usize>,
    only_month_first: Option<usize>,
    ambiguous: usize,
    short_years: usize,
    /// Offset of the first value that has one, and whether others differ or have none.
    offset_s: Option<i32>,
    without_offset: usize,
    offsets_differ: bool,
}

impl DateFacts {
    fn see(&mut self, line: usize, text: &str) {
        let Some(moment) = Moment::read(text) else { return self.misfits.add(line, text) };
        let day_first = moment.date(DateOrder::DayFirst).is_some();
        let month_first = moment.date(DateOrder::MonthFirst).is_some();
        match (moment.day, day_first, month_first) {
            (_, false, false) => return self.misfits.add(line, text),
            (Day::Either { first, second, .. }, true, true) => self.ambiguous += usize::from(first != second),
            (_, true, true) => {}
            (_, true, false) => self.only_day_first = self.only_day_first.or(Some(line)),
            (_, false, true) => self.only_month_first = self.only_month_first.or(Some(line)),
        }
        self.fits += 1;
        self.with_time += usize::from(moment.time.is_some());
        self.short_years += usize::from(moment.has_short_year);
        match (moment.offset_s, self.offset_s) {
            (None, _) => self.without_offset += 1,
            (Some(offset), None) => self.offset_s = Some(offset),
            (Some(offset), Some(first)) => self.offsets_differ |= offset != first,
        }
    }
}

/// What has been seen of a column.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColumnFacts {
    values: usize,
    placeholders: Misfits,
    point: NumberFacts,
    comma: NumberFacts,
    dates: DateFacts,
    booleans: usize,
    not_boolean: bool,
}

impl ColumnFacts {
    pub(crate) fn see(&mut self, line: usize, text: &str) {
        if text.is_empty() {
            return;
        }
        if is_placeholder(text) {
            return self.placeholders.add(line, text);
        }
        self.values += 1;
        match boolean(text) {
            Some(_) => self.booleans += 1,
            None => self.not_boolean = true,
        }
        // A type that many values don't fit is out; the others need not be tried.
        let is_open = |misfits: &Misfits| misfits.count <= NAMED_MAX || misfits.count * 2 < self.values;
        if is_open(&self.point.misfits) {
            self.point.see(line, text, Number::read(text, DecimalMark::Point));
        }
        if is_open(&self.comma.misfits) {
            self.comma.see(line, text, Number::read(text, DecimalMark::Comma));
        }
        if is_open(&self.dates.misfits) {
            self.dates.see(line, text);
        }
    }

    /// The decimal mark, if the column's numbers leave only one.
    pub(crate) fn sure_mark(&self) -> Option<DecimalMark> {
        let fits = |facts: &NumberFacts| facts.misfits.count == 0 && facts.fits > 0;
        match (fits(&self.point), fits(&self.comma)) {
            (true, false) => Some(DecimalMark::Point),
            (false, true) => Some(DecimalMark::Comma),
            _ => None,
        }
    }

    /// The order of day and month, if the column's dates leave only one.
    pub(crate) fn sure_order(&self) -> Option<DateOrder> {
        match (self.dates.only_day_first, self.dates.only_month_first) {
            (Some(_), None) => Some(DateOrder::DayFirst),
            (None, Some(_)) => Some(DateOrder::MonthFirst),
            _ => None,
        }
    }

    /// The column's type. `mark` and `order` are those of the file's other columns, for where this one leaves both
    /// open. What was decided without certainty is added to `notes`.
    pub(crate) fn decide(
        &self,
        mark: Option<DecimalMark>,
        order: Option<DateOrder>,
        notes: &mut Vec<String>,
    ) -> ColumnType {
        let text = ColumnType {
            kind: Kind::Text,
            unit: String::new(),
            mark: DecimalMark::Point,
            order: DateOrder::DayFirst,
            to_utc: false,
        };
        if self.values == 0 {
            notes.push("it has no values".into());
            return text;
        }
        let typed = if !self.not_boolean {
            Some(ColumnType { kind: Kind::Boolean, ..text.clone() })
        } else {
            self.number(mark, &text, notes).or_else(|| self.date(order, &text, notes))
        };
        if typed.is_some() && self.placeholders.count > 0 {
            notes.push(format!("taken as empty: {}", self.placeholders.named()));
        }
        typed.unwrap_or_else(|| {
            self.say_misfits(notes);
            text
        })
    }

    fn number(
        &self,
        mark: Option<DecimalMark>,
        text: &ColumnType,
        notes: &mut Vec<String>,
    ) -> Option<ColumnType> {
        let sure = self.sure_mark();
        let both = self.point.misfits.count == 0 && self.comma.misfits.count == 0;
        if sure.is_none() && !both {
            return None;
        }
        let decided = sure.or(mark).unwrap_or(DecimalMark::Point);
        let facts = if decided == DecimalMark::Point { &self.point } else { &self.comma };
        let refuse = |notes: &mut Vec<String>, why: String| {
            notes.push(format!("kept as text: {why}"));
            Some(text.clone())
        };
        if let Some((line, value)) = &facts.leading_zero {
            return refuse(
                notes,
                format!("numbers like {value:?} in line {line} begin with a zero, as codes do"),
            );
        }
        if let Some((line, value)) = &facts.other_unit {
            return refuse(notes, format!("units differ: {value:?} in line {line}"));
        }
        let most = if facts.decimals == 0 { INTEGER_DIGITS_MAX } else { DECIMAL_DIGITS_MAX };
        if facts.digits > most {
            return refuse(notes, format!("a number has {} digits, more than {most}", facts.digits));
        }
        if both && facts.ambiguous > 0 {
            let meaning = if decided == DecimalMark::Point { "a point" } else { "a comma" };
            let why = if mark.is_some() {
                "as in the file's other columns"
            } else {
                "which the file doesn't prove"
            };
            notes.push(format!("the decimal mark is taken to be {meaning}, {why}"));
        }
        let kind = if facts.decimals == 0 { Kind::Integer } else { Kind::Decimal };
        let unit = facts.unit.clone().unwrap_or_default();
        Some(ColumnType { kind, unit, mark: decided, ..text.clone() })
    }

    fn date(
        &self,
        order: Option<DateOrder>,
        text: &ColumnType,
        notes: &mut Vec<String>,
    ) -> Option<ColumnType> {
        let facts = &self.dates;
        if facts.misfits.count > 0 || facts.fits == 0 {
            return None;
        }
        if let (Some(day), Some(month)) = (facts.only_day_first, facts.only_month_first) {
            notes.push(format!(
                "kept as text: the day comes first in line {day}, but the month comes first in line {month}"
            ));
            return Some(text.clone());
        }
        let sure = self.sure_order();
        let decided = sure.or(order).unwrap_or(DateOrder::DayFirst);
        if sure.is_none() && facts.ambiguous > 0 {
            let meaning = if decided == DateOrder::DayFirst { "day, month" } else { "month, day" };
            let why = if order.is_some() {
                "as in the file's other columns"
            } else {
                "which the file doesn't prove"
            };
            notes.push(format!("dates like 01/02/2025 are read as {meaning}, year, {why}"));
        }
        if facts.short_years > 0 {
            notes.push("years of two digits are read as 1970 to 2069".into());
        }
        let has_time = facts.with_time > 0;
        if has_time && facts.with_time < facts.fits {
            notes.push(format!("{} values have no time and are read as 00:00", facts.fits - facts.with_time));
        }
        let to_utc = facts.offset_s.is_some() && (facts.offsets_differ || facts.without_offset > 0);
        if to_utc {
            notes.push("offsets from UTC differ; all times are moved to UTC".into());
        } else if let Some(offset) = facts.offset_s.filter(|offset| *offset != 0) {
            notes.push(format!(
                "times are kept as written, {:+.1} hours from UTC",
                f64::from(offset) / 3600.0
            ));
        }
        let kind = if has_time { Kind::DateTime } else { Kind::Date };
        Some(ColumnType { kind, order: decided, to_utc, ..text.clone() })
    }

    /// Says which values keep a column of numbers or dates from being one.
    fn say_misfits(&self, notes: &mut Vec<String>) {
        let kinds = [
            ("numbers", &self.point.misfits, self.point.fits),
            ("numbers", &self.comma.misfits, self.comma.fits),
            ("dates", &self.dates.misfits, self.dates.fits),
        ];
        let most =
            kinds.iter().filter(|(_, _, fits)| *fits * 4 >= self.values * 3).max_by_key(|(_, _, fits)| *fits);
        if let Some((name, misfits, fits)) = most {
            let named = misfits.named();
            notes.push(format!("kept as text: {fits} of {} values are {name}, but not {named}", self.values));
        }
    }
}

fn is_placeholder(text: &str) -> bool {
    text.len() <= 14 && PLACEHOLDERS.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(text))
}

fn boolean(text: &str) -> Option<bool> {
    let found = BOOLEANS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value)
}

impl ColumnType {
    /// Reads a value of the column. Values from which the type was decided always fit.
    pub(crate) fn cell<'t>(&self, text: &'t str) -> Cell<'t> {
        if text.is_empty() || (self.kind != Kind::Text && is_placeholder(text)) {
            return Cell::Empty;
        }
        let number = || Number::read(text, self.mark).map(|number| number.plain);
        let moment = |with_time| Moment::read(text)?.sql(self.order, with_time, self.to_utc);
        let owned = |text: String| Cell::Text(text.into());
        let cell = match self.kind {
            Kind::Integer => number().and_then(|plain| plain.parse().ok()).map(Cell::Integer),
            Kind::Decimal => number().and_then(|plain| plain.parse().ok()).map(Cell::Real),
            Kind::Date => moment(false).map(owned),
            Kind::DateTime => moment(true).map(owned),
            Kind::Boolean => boolean(text).map(|value| Cell::Integer(i64::from(value))),
            Kind::Text => None,
        };
        cell.unwrap_or_else(|| Cell::Text(text.into()))
    }
}
