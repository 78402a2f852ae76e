//! Dates and times as people write them. jiff says which dates exist. Whether `01/02/2025` is in January or in February
//! is decided for a whole column, so a text is read first and its order given later.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, ToSpan};

/// Which of two numbers before a year is the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DateOrder {
    DayFirst,
    MonthFirst,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Day {
    Sure(Date),
    /// Two numbers and a year, where both orders may be meant or one of them fails.
    Either {
        first: i8,
        second: i8,
        year: i16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moment {
    pub(super) day: Day,
    pub(super) time: Option<Time>,
    /// Seconds east of UTC, where the text says so.
    pub(super) offset_s: Option<i32>,
    pub(super) has_short_year: bool,
}

/// First three letters of month names in English, German, French and Spanish where they differ.
const MONTHS: &[(&str, i8)] = &[
    ("jan", 1),
    ("jän", 1),
    ("ene", 1),
    ("feb", 2),
    ("fév", 2),
    ("mar", 3),
    ("mär", 3),
    ("mrz", 3),
    ("apr", 4),
    ("avr", 4),
    ("abr", 4),
    ("may", 5),
    ("mai", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("aoû", 8),
    ("ago", 8),
    ("sep", 9),
    ("oct", 10),
    ("okt", 10),
    ("nov", 11),
    ("dec", 12),
    ("dez", 12),
    ("déc", 12),
    ("dic", 12),
];
/// Month names in full, so that a word like "marketing" is no month.
const MONTH_NAMES: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "januar",
    "jänner",
    "februar",
    "märz",
    "mai",
    "juni",
    "juli",
    "oktober",
    "dezember",
    "janvier",
    "février",
    "mars",
    "avril",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
    "sept",
    "mrz",
    "jän",
    "fév",
    "avr",
    "abr",
    "ene",
    "déc",
    "dic",
    "dez",
    "okt",
    "mär",
    "aoû",
    "ago",
];
const WEEKDAYS: &[&str] = &[
    "mon",
    "monday",
    "tue",
    "tues",
    "tuesday",
    "wed",
    "wednesday",
    "thu",
    "thur",
    "thurs",
    "thursday",
    "fri",
    "friday",
    "sat",
    "saturday",
    "sun",
    "sunday",
    "montag",
    "dienstag",
    "mittwoch",
    "donnerstag",
    "freitag",
    "samstag",
    "sonntag",
];

pub(crate) fn is_date(text: &str) -> bool {
    Moment::read(text).is_some_and(|moment| {
        [DateOrder::DayFirst, DateOrder::MonthFirst].iter().any(|order| moment.date(*order).is_some())
    })
}

/// Year, month and day of a date as people write it, such as `20 September 2026`, `Sep 20, 2026` or `2026-09-20`. Two
/// results for a date like `01/02/2025`, which may have its day or its month first; none if the text is no date.
#[must_use]
pub fn days_meant(text: &str) -> Vec<(i16, i8, i8)> {
    let Some(moment) = Moment::read(text) else { return Vec::new() };
    let orders = [DateOrder::DayFirst, DateOrder::MonthFirst];
    let mut days: Vec<Date> = orders.into_iter().filter_map(|order| moment.date(order)).collect();
    days.dedup();
    days.into_iter().map(|day| (day.year(), day.month(), day.day())).collect()
}

fn month_named(word: &str) -> Option<i8> {
    let word = word.trim_end_matches('.').to_lowercase();
    let beginning: String = word.chars().take(3).collect();
    let month = MONTHS.iter().find(|(name, _)| *name == beginning).map(|(_, month)| *month)?;
    let is_short = word.chars().count() == 3;
    (is_short || MONTH_NAMES.contains(&word.as_str())).then_some(month)
}

fn small(text: &str) -> Option<i8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The year, and whether its century was left out: 70 to 99 are in the twentieth century.
fn year(text: &str) -> Option<(i16, bool)> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i16 = text.parse().ok()?;
    match text.len() {
        4 => Some((number, false)),
        2 => Some((number + if number < 70 { 2000 } else { 1900 }, true)),
        _ => None,
    }
}

impl Moment {
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() < 6 || text.len() > 50 || !text.bytes().any(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut reader = Reader::default();
        // `2025-01-07T01:12:44Z` has its time joined by a letter.
        let joined = text.as_bytes().get(10) == Some(&b'T') && text.is_char_boundary(10);
        if joined {
            reader.word(&text[..10])?;
            reader.word(&text[11..])?;
        } else {
            // A comma ends a word, unless it stands before the fraction of a second.
            let words = text.split_whitespace().map(|word| word.trim_end_matches(','));
            words.filter(|word| !word.is_empty()).map(|word| reader.word(word)).collect::<Option<()>>()?;
        }
        reader.moment()
    }

    /// The date under an order, if there is such a date.
    pub(super) fn date(&self, order: DateOrder) -> Option<Date> {
        match self.day {
            Day::Sure(date) => Some(date),
            Day::Either { first, second, year } => match order {
                DateOrder::DayFirst => Date::new(year, second, first).ok(),
                DateOrder::MonthFirst => Date::new(year, first, second).ok(),
            },
        }
    }

    /// As SQL text: `YYYY-MM-DD`, with the time if `with_time`. Times are moved to UTC if `to_utc`.
    pub(super) fn sql(&self, order: DateOrder, with_time: bool, to_utc: bool) -> Option<String> {
        let date = self.date(order)?;
        if !with_time {
            return Some(date.to_string());
        }
        let mut moment: DateTime = date.to_datetime(self.time.unwrap_or(Time::midnight()));
        if to_utc && let Some(offset) = self.offset_s {
            moment = moment.checked_sub(SignedDuration::from_secs(i64::from(offset))).ok()?;
        }
        Some(sql_datetime(moment))
    }
}

/// `YYYY-MM-DD HH:MM:SS`, with the fraction of a second if there is one. Texts of this form sort as moments do.
fn sql_datetime(moment: DateTime) -> String {
    let whole = moment.strftime("%Y-%m-%d %H:%M:%S").to_string();
    match moment.subsec_nanosecond() {
        0 => whole,
        nanoseconds => format!("{whole}.{}", format!("{nanoseconds:09}").trim_end_matches('0')),
    }
}

/// Takes the words of a text one by one.
#[derive(Default)]
struct Reader {
    day: Option<Day>,
    /// Numbers beside a month's name, with what they may be.
    numbers: Vec<String>,
    month: Option<i8>,
    time: Option<Time>,
    offset_s: Option<i32>,
    has_short_year: bool,
}

impl Reader {
    fn word(&mut self, word: &str) -> Option<()> {
        if word.contains(':') && word.as_bytes()[0].is_ascii_digit() {
            return self.time(word);
        }
        if WEEKDAYS.contains(&word.trim_end_matches('.').to_lowercase().as_str()) {
            return Some(());
        }
        match word.to_ascii_lowercase().as_str() {
            half @ ("am" | "pm" | "a.m." | "p.m.") => return self.half_day(half.starts_with('p')),
            "z" | "utc" | "gmt" if self.time.is_some() => return self.offset("Z"),
            // Words between a date and a time, or between a day and a month.
            "at" | "um" | "de" | "uhr" | "of" => return Some(()),
            _ => {}
        }
        if self.time.is_some() && word.starts_with(['+', '-']) {
            return self.offset(word);
        }
        if let Some(separator) = ['-', '/', '.'].into_iter().find(|c| word.matches(*c).count() == 2) {
            return self.joined(word, separator);
        }
        if let Some(month) = month_named(word) {
            return self.month.replace(month).is_none().then_some(());
        }
        let number =
            ["st", "nd", "rd", "th", ".", "º"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        if number.is_empty() || number.len() > 4 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.numbers.push(number.to_owned());
        Some(())
    }

    fn time(&mut self, word: &str) -> Option<()> {
        let lower = word.to_ascii_lowercase();
        for (end, is_pm) in [("am", false), ("pm", true)] {
            if let Some(time) = lower.strip_suffix(end) {
                self.time(time)?;
                return self.half_day(is_pm);
            }
        }
        let end = word.find(['Z', 'z', '+', '-']).unwrap_or(word.len());
        let (time, offset) = word.split_at(end);
        let mut parts = time.split(':');
        let (hour, minute) = (small(parts.next()?)?, small(parts.next()?)?);
        let (second, fraction) =
            parts.next().map_or(("0", ""), |s| s.split_once(['.', ',']).unwrap_or((s, "")));
        if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
        let time = Time::new(hour, minute, small(second)?, nanoseconds).ok()?;
        if self.time.replace(time).is_some() {
            return None;
        }
        if offset.is_empty() { Some(()) } else { self.offset(offset) }
    }

    fn half_day(&mut self, is_pm: bool) -> Option<()> {
        let time = self.time?;
        let hour = match (time.hour(), is_pm) {
            (12, false) => 0,
            (12, true) => 12,
            (hour @ 1..=11, true) => hour + 12,
            (hour @ 1..=11, false) => hour,
            _ => return None,
        };
        self.time = time.with().hour(hour).build().ok();
        Some(())
    }

    fn offset(&mut self, text: &str) -> Option<()> {
        let seconds = match text {
            "Z" | "z" => 0,
            _ => {
                let (sign, digits) = (if text.starts_with('-') { -1 } else { 1 }, text[1..].replace(':', ""));
                let (hours, minutes) = match digits.len() {
                    2 => (digits.as_str(), "0"),
                    4 => digits.split_at_checked(2)?,
                    _ => return None,
                };
                sign * (i32::from(small(hours)?) * 3600 + i32::from(small(minutes)?) * 60)
            }
        };
        self.offset_s.replace(seconds).is_none().then_some(())
    }

    /// Three parts with the same separator, such as `2025-03-01`, `1.3.25` or `01-Mar-2025`.
    fn joined(&mut self, word: &str, separator: char) -> Option<()> {
        let parts: Vec<&str> = word.split(separator).collect();
        let day = if parts[0].len() == 4 {
            let month = small(parts[1]).or_else(|| month_named(parts[1]))?;
            Day::Sure(Date::new(year(parts[0])?.0, month, small(parts[2])?).ok()?)
        } else {
            let (year, short) = year(parts[2])?;
            self.has_short_year |= short;
            match (small(parts[1]), month_named(parts[1]), month_named(parts[0])) {
                (None, Some(month), _) => Day::Sure(Date::new(year, month, small(parts[0])?).ok()?),
                (Some(day), _, Some(month)) => Day::Sure(Date::new(year, month, day).ok()?),
                // With points the day comes first wherever they are used, unless there is no such month.
                (Some(month @ 1..=12), _, _) if separator == '.' => {
                    Day::Sure(Date::new(year, month, small(parts[0])?).ok()?)
                }
                (Some(second), _, _) => Day::Either { first: small(parts[0])?, second, year },
                _ => return None,
            }
        };
        self.day.replace(day).is_none().then_some(())
    }

    fn moment(self) -> Option<Moment> {
        let mut has_short_year = self.has_short_year;
        let day = match (self.day, self.month, self.numbers.as_slice()) {
            (Some(day), None, []) => day,
            (None, Some(month), [first, second]) => {
                // `2025 Mar 1` has the year first; `1 Mar 2025` and `Mar 1, 2025` have it last.
                let (day, of_year) = if first.len() == 4 { (second, first) } else { (first, second) };
                let (year, short) = year(of_year)?;
                has_short_year |= short;
                Day::Sure(Date::new(year, month, small(day)?).ok()?)
            }
            _ => return None,
        };
        Some(Moment { day, time: self.time, offset_s: self.offset_s, has_short_year })
    }
}

/// Days from one date to another; times of day don't count.
pub(crate) fn days_between(from: Date, to: Date) -> i64 {
    i64::from(from.until(to).map_or(0, |span| span.get_days()))
}

/// Whole months from one date to another, negative if the second is earlier.
pub(crate) fn months_between(from: Date, to: Date) -> i64 {
    let months = i64::from(to.year() - from.year()) * 12 + i64::from(to.month() - from.month());
    let moved = |months: i64| from.checked_add(months.months()).unwrap_or(from);
    if months > 0 && moved(months) > to {
        months - 1
    } else if months < 0 && moved(months) < to {
        months + 1
    } else {
        months
    }
}
