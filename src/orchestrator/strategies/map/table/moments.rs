//! Dates and times of day in a text, as evidence for a column.

use bandmaster_tools::calculator::Decimal;

use super::evidence::{Evidence, Sought};
use super::numerals::{Day, dates_in, times_in};
use crate::checks::{number_groups, sentences, words};

impl Sought<'_> {
    /// The date that the text has for the column, if the one that was read fits none of its dates.
    pub(super) fn date_meant(&self, text: &str, read: &str) -> Option<String> {
        let fields: Vec<i16> = read.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [year, month, day] = fields[..] else { return None };
        let fits = |own: i16, other: i16| own == 0 || own == other;
        let is_read =
            |one: &Day| fits(one.0, year) && fits(i16::from(one.1), month) && fits(i16::from(one.2), day);
        let dates = dates_in(text);
        if dates.iter().any(|(days, _)| days.iter().any(is_read)) {
            return None;
        }
        let mut about = dates.iter().filter(|(_, clause)| self.bearing(clause) > 0);
        match (about.next().map(|(days, _)| &days[..]), about.next()) {
            (Some([(year, month, day)]), None) if *year > 0 && *month > 0 && *day > 0 => {
                Some(format!("{year:04}-{month:02}-{day:02}"))
            }
            _ => None,
        }
    }

    pub(super) fn of_date(&self, text: &str, date: &str) -> Evidence {
        if let Some((hour, minute)) = date.split_once(':') {
            return self.of_time(text, hour, minute);
        }
        let fields: Vec<i64> = date.split('-').filter_map(|field| field.parse().ok()).collect();
        let [year, month, day] = fields[..] else { return Evidence::Absent(format!("{date} is no date")) };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Evidence::Absent(format!("{date} is no date"));
        }
        let has = |sentence: &str, number: i64| {
            let ordinal = |word: &String| {
                ["st", "nd", "rd", "th"].iter().any(|end| word.strip_suffix(end) == Some(&number.to_string()))
            };
            let groups = number_groups(sentence);
            groups.iter().any(|group| group.contains(&Decimal::from(number)))
                || words(sentence).iter().any(ordinal)
        };
        let with_day: Vec<&str> = sentences(text).into_iter().filter(|sentence| has(sentence, day)).collect();
        let Some(best) = with_day.iter().max_by_key(|sentence| (has(sentence, year), self.bearing(sentence)))
        else {
            return Evidence::Absent(format!("day {day} does not stand in the text"));
        };
        let (bearing, with_year) = (self.bearing(best), has(best, year));
        let dated = |sentence: &&str| (1900..2100).any(|year| has(sentence, year)) && sentence != best;
        let beaten = sentences(text).iter().filter(|one| dated(one)).any(|one| self.bearing(one) >= bearing);
        match with_year && bearing > 0 && !beaten {
            true => Evidence::Told((*best).to_owned()),
            false => Evidence::Stands((*best).to_owned()),
        }
    }

    /// The clause with the time must speak of the column more clearly than any with another time. A text with a date for
    /// the column has no time for it.
    fn of_time(&self, text: &str, hour: &str, minute: &str) -> Evidence {
        let absent = || Evidence::Absent(format!("{hour}:{minute} does not stand in the text"));
        let (Ok(hours), Ok(minutes)) = (hour.parse::<u16>(), minute.parse::<u16>()) else { return absent() };
        let times = times_in(text);
        let bearing = |own: bool| {
            let side = times.iter().filter(move |(time, _)| (*time == 60 * hours + minutes) == own);
            side.map(|(_, clause)| (self.bearing(clause), *clause)).max_by_key(|(bearing, _)| *bearing)
        };
        let has_date = dates_in(text).iter().any(|(_, clause)| self.bearing(clause) > 0);
        match (bearing(true), bearing(false)) {
            (Some(_), _) if has_date => absent(),
            (Some((own, clause)), Some((other, _))) if own > other => Evidence::Told(clause.to_owned()),
            (Some((own, clause)), None) if own > 0 => Evidence::Told(clause.to_owned()),
            (Some((_, clause)), _) => Evidence::Stands(clause.to_owned()),
            (None, _) => absent(),
        }
    }
}
