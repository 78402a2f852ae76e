//! Logs whose lines are all written the same way: a time, a level, fields in brackets or as `key=value`, and a message.
//! Web servers' access logs have a form of their own.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use super::super::types::is_date;
use super::{CONTENT_ONLY, Format, Item, Sheet, Take};

/// Share of lines that must have the form.
const SHARE_MIN: f32 = 0.8;
/// The same where lines have no time.
const SHARE_WITHOUT_TIME_MIN: f32 = 0.9;
/// Without the name's word for it, a text of fewer lines is no log.
const LINES_MIN: usize = 3;
/// Keys of `key=value` fields that become columns.
const KEYS_MAX: usize = 40;
const BRACKETS_MAX: usize = 4;
const LEVELS: &[&str] = &[
    "TRACE",
    "DEBUG",
    "INFO",
    "INFORMATION",
    "NOTICE",
    "WARN",
    "WARNING",
    "ERROR",
    "ERR",
    "CRITICAL",
    "CRIT",
    "FATAL",
    "ALERT",
    "EMERG",
    "SEVERE",
];
pub(super) const ACCESS: &[&str] =
    &["client", "user", "time", "method", "path", "status", "bytes", "referrer", "agent"];

#[derive(Debug)]
pub(super) enum Plan {
    Access,
    Lines(Columns),
}

#[derive(Debug, Default)]
pub(super) struct Columns {
    has_time: bool,
    has_level: bool,
    has_source: bool,
    brackets: usize,
    keys: HashMap<String, usize>,
    names: Vec<String>,
}

/// The parts of one line.
#[derive(Debug, Default, PartialEq)]
struct Entry<'l> {
    time: &'l str,
    level: &'l str,
    /// The first word of the message, or the word between time and level: often the service.
    source: &'l str,
    brackets: Vec<&'l str>,
    fields: Vec<(&'l str, Cow<'l, str>)>,
    message: &'l str,
}

pub(super) fn sheet(text: &str, is_named: bool) -> Option<Sheet> {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let own = |line: &&str| !line.starts_with([' ', '\t']);
    let count = lines().filter(own).count();
    if count == 0 || (!is_named && count < LINES_MIN) {
        return None;
    }
    let share_of =
        |fits: &dyn Fn(&str) -> bool| lines().filter(own).filter(|l| fits(l)).count() as f32 / count as f32;
    let access = share_of(&|line| access(line).is_some());
    if access >= SHARE_MIN {
        let names = ACCESS.iter().map(|name| (*name).to_owned()).collect();
        return Some(finished(Plan::Access, names, access, is_named));
    }
    // Either all lines have a time or none has one.
    let fits = |entry: &Entry<'_>, has_time| entry.time.is_empty() != has_time && entry.is_regular(is_named);
    let share = |has_time| share_of(&|line| Entry::read(line).is_some_and(|entry| fits(&entry, has_time)));
    let (with_time, without) = (share(true), share(false));
    let has_time = with_time >= SHARE_MIN;
    if !has_time && without < SHARE_WITHOUT_TIME_MIN {
        return None;
    }
    let share = if has_time { with_time } else { without };
    let entries = lines().filter_map(Entry::read).filter(|entry| fits(entry, has_time));
    let columns = Columns::of(entries);
    let names = columns.names.clone();
    Some(finished(Plan::Lines(columns), names, share, is_named))
}

fn finished(plan: Plan, names: Vec<String>, share: f32, is_named: bool) -> Sheet {
    Sheet {
        title: None,
        width: names.len(),
        header: Some(names),
        format: Format::Log,
        confidence: if is_named { share } else { share * CONTENT_ONLY },
        notes: Vec::new(),
        plan: super::Plan::Log(plan),
    }
}

impl<'l> Entry<'l> {
    fn read(line: &'l str) -> Option<Self> {
        let (time, rest) = time_of(line).unwrap_or(("", line));
        let mut entry = Entry { time, ..Entry::default() };
        let mut rest = separated(rest);
        while let Some((inner, after)) = bracketed(rest) {
            entry.bracket(inner);
            rest = separated(after);
        }
        let (word, after) = first_word(rest);
        let (second, after_second) = first_word(separated(after));
        if entry.level.is_empty() && is_level(word) {
            entry.level = level(word);
            rest = separated(after);
        } else if entry.level.is_empty() && !time.is_empty() && is_level(second) {
            (entry.source, entry.level) = (source(word), level(second));
            rest = separated(after_second);
        } else if entry.level.is_empty()
            && let Some((inner, after)) = bracketed(separated(after))
        {
            // As in `name [LEVEL] text`.
            if is_level(inner) && !time.is_empty() {
                (entry.source, entry.level) = (source(word), inner);
                rest = separated(after);
            }
        }
        while let Some((inner, after)) = bracketed(rest) {
            entry.bracket(inner);
            rest = separated(after);
        }
        entry.fields = fields(rest);
        if entry.source.is_empty() && !first_word(rest).0.contains('=') {
            entry.source = source(first_word(rest).0);
        }
        entry.message = rest.trim();
        (!rest.is_empty() || !entry.fields.is_empty()).then_some(entry)
    }

    fn bracket(&mut self, inner: &'l str) {
        if self.level.is_empty() && is_level(inner) {
            self.level = inner;
        } else {
            self.brackets.push(inner);
        }
    }

    fn is_regular(&self, is_named: bool) -> bool {
        !self.time.is_empty() || self.fields.len() > 1 || (is_named && !self.level.is_empty())
    }
}

/// The time at the beginning of a line, perhaps in brackets, and what follows.
fn time_of(line: &str) -> Option<(&str, &str)> {
    if let Some((inner, rest)) = bracketed(line) {
        return is_date(inner).then_some((inner, rest));
    }
    // A date and time of one to four words: `2025-03-01T14:52:07Z`, `2025-03-01 14:52:07,123 +0200`, `Mar  5 14:52:07`.
    let ends = line.match_indices(' ').map(|(at, _)| at).chain([line.len()]);
    let ends: Vec<usize> = ends.take(6).collect();
    // The system log has no year.
    let is_syslog = |text: &str| {
        let (date, clock) = text.rsplit_once(' ').unwrap_or_default();
        clock.contains(':') && is_date(&format!("2024 {date} {clock}")) && !date.contains(':')
    };
    let fits = |end: &&usize| {
        let text = &line[..**end];
        text.contains(':') && (is_date(text) || is_syslog(text))
    };
    let end = *ends.iter().rev().find(fits)?;
    Some((&line[..end], &line[end..]))
}

/// The rest after spaces and separators such as ` - ` and ` | `.
fn separated(text: &str) -> &str {
    let mut text = text.trim_start();
    while let Some(rest) = ["- ", "| ", "— ", ": "].iter().find_map(|mark| text.strip_prefix(mark)) {
        text = rest.trim_start();
    }
    text
}

fn bracketed(text: &str) -> Option<(&str, &str)> {
    let (inner, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((inner.trim(), rest))
}

fn first_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

fn level(word: &str) -> &str {
    word.trim_matches(|c| matches!(c, '(' | ')' | ':' | '<' | '>' | '|'))
}

fn is_level(word: &str) -> bool {
    let word = level(word);
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

/// A name such as `billing` of `billing[6224]:`, empty if the word is none.
fn source(word: &str) -> &str {
    let word = word.trim_end_matches(':');
    let word = word.split_once('[').map_or(word, |(name, _)| name);
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '#');
    if word.chars().all(fits) { word } else { "" }
}

/// The `key=value` fields of a text. A value may stand in quotation marks.
fn fields(text: &str) -> Vec<(&str, Cow<'_, str>)> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let begin = rest[..at].rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
        let key = &rest[begin.map_or(0, |b| b + rest[b..].chars().next().map_or(1, char::len_utf8))..at];
        let after = &rest[at + 1..];
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                after.split_at(after.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(after.len()))
            }
        };
        if !key.is_empty() && !key.starts_with(|c: char| c.is_ascii_digit()) {
            fields.push((key, Cow::Borrowed(value.trim_end_matches([',', ']', ')']))));
        }
        rest = left;
    }
    fields
}

impl Columns {
    fn of<'l>(entries: impl Iterator<Item = Entry<'l>>) -> Self {
        let mut columns = Self::default();
        let (mut count, mut named, mut bracketed) = (0_usize, 0_usize, 0_usize);
        let mut sources = BTreeSet::new();
        let mut keys: Vec<String> = Vec::new();
        for entry in entries {
            count += 1;
            columns.has_time |= !entry.time.is_empty();
            columns.has_level |= !entry.level.is_empty();
            columns.brackets = columns.brackets.max(entry.brackets.len().min(BRACKETS_MAX));
            bracketed += usize::from(!entry.brackets.is_empty());
            if !entry.source.is_empty() {
                named += 1;
                sources.insert(entry.source);
            }
            for (key, _) in &entry.fields {
                if keys.len() < KEYS_MAX && !keys.iter().any(|other| other == key) {
                    keys.push((*key).to_owned());
                }
            }
        }
        // A word that differs from line to line is the message's first, not a name.
        columns.has_source = named * 10 >= count * 9 && sources.len() <= count.div_ceil(2);
        columns.brackets *= usize::from(bracketed * 2 >= count);
        let fixed =
            [("time", columns.has_time), ("level", columns.has_level), ("source", columns.has_source)];
        let mut names: Vec<String> =
            fixed.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| (*name).to_owned()).collect();
        names.extend((1..=columns.brackets).map(|at| format!("field{at}")));
        columns.keys = keys.iter().enumerate().map(|(at, key)| (key.clone(), names.len() + at)).collect();
        names.extend(keys);
        names.push("message".into());
        columns.names = names;
        columns
    }

    fn cells<'l>(&self, entry: Entry<'l>) -> Vec<Cow<'l, str>> {
        let fixed =
            [(entry.time, self.has_time), (entry.level, self.has_level), (entry.source, self.has_source)];
        let mut cells: Vec<Cow<'l, str>> =
            fixed.iter().filter(|(_, is_there)| *is_there).map(|(text, _)| Cow::Borrowed(*text)).collect();
        cells.extend(
            (0..self.brackets).map(|at| Cow::Borrowed(entry.brackets.get(at).copied().unwrap_or(""))),
        );
        cells.resize(self.names.len(), Cow::Borrowed(""));
        for (key, value) in entry.fields {
            if let Some(at) = self.keys.get(key) {
                cells[*at] = value;
            }
        }
        let last = cells.len() - 1;
        cells[last] = Cow::Borrowed(entry.message);
        cells
    }
}

/// The parts of a line of an access log in the common or combined form, in the order of [`ACCESS`].
fn access(line: &str) -> Option<Vec<Cow<'_, str>>> {
    let (before, rest) = line.split_once('[')?;
    let mut words = before.split_whitespace();
    let (client, _, user) = (words.next()?, words.next()?, words.next()?);
    let (time, rest) = rest.split_once(']')?;
    // `10/Oct/2000:13:55:36 -0700`
    let (day, clock) = time.split_once(':')?;
    let (request, rest) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    let (method, path) = request.split_once(' ').unwrap_or(("", request));
    let path = path.rsplit_once(" HTTP/").map_or(path, |(path, _)| path);
    let mut words = rest.split_whitespace();
    let (status, bytes) = (words.next()?, words.next()?);
    let mut quoted = rest.split('"').skip(1).step_by(2);
    let (referrer, agent) = (quoted.next().unwrap_or(""), quoted.next().unwrap_or(""));
    let time = format!("{} {clock}", day.replace('/', " "));
    let parts = [client, user, "", method, path, status, bytes, referrer, agent];
    let mut cells: Vec<Cow<'_, str>> = parts.into_iter().map(Cow::Borrowed).collect();
    cells[2] = time.into();
    Some(cells)
}

impl Plan {
    pub(super) fn visit(&self, text: &str, take: Take<'_>) {
        // An indented line goes on with the entry before it, as stack traces do.
        let mut held: Option<(usize, Vec<Cow<'_, str>>)> = None;
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            if line.starts_with([' ', '\t'])
                && let Some((_, cells)) = &mut held
            {
                let last = cells.len() - 1;
                let message = format!("{}\n{}", cells[last], line.trim());
                cells[last] = message.into();
                continue;
            }
            if let Some((line, cells)) = held.take() {
                take(Item::Row { line, cells: &cells });
            }
            let cells = match self {
                Self::Access => access(line),
                Self::Lines(columns) => columns.entry(line),
            };
            match cells {
                Some(cells) => held = Some((at + 1, cells)),
                None => {
                    let beginning: String = line.chars().take(40).collect();
                    take(Item::Irregular {
                        line: at + 1,
                        problem: format!("it has another form: {beginning:?}"),
                    });
                }
            }
        }
        if let Some((line, cells)) = held {
            take(Item::Row { line, cells: &cells });
        }
    }
}

impl Columns {
    /// The cells of a line, or `None` if it lacks what the log's lines have.
    fn entry<'l>(&self, line: &'l str) -> Option<Vec<Cow<'l, str>>> {
        let entry = Entry::read(line)?;
        let has_what_others_have = self.has_time != entry.time.is_empty();
        (has_what_others_have && entry.is_regular(true)).then(|| self.cells(entry))
    }
}
