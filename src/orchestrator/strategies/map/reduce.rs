//! Merges readings into one finding for each input, and calculates figures from the findings, all by rule.

use std::collections::{BTreeMap, HashMap};

use bandmaster_tools::calculator::{Aggregate, Decimal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::finding::{Answer, Finding, Raw};
use super::slots::Slots;
use crate::checks::{stands_in, words};
use crate::plan::{AnswerIs, Slice};
use crate::request::Input;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// In the order in which the slots name them.
    pub figures: Vec<Figure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Figure {
    pub aggregate: Aggregate,
    /// A decimal number or a date.
    pub value: String,
    /// Whose value it is: the inputs with the largest or smallest value, or those that were counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
}

/// What is known about an input without a model.
pub(super) struct Source {
    /// The file's name without folder and extension.
    stem: String,
    /// Its first line, if that looks like a title.
    title: Option<String>,
    text: String,
}

impl Source {
    pub(super) fn of(input: &Input) -> Self {
        let base = input.name.rsplit('/').next().unwrap_or(&input.name);
        let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
        let first = input.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let title = first.trim_start_matches(['#', ' ']).trim_end_matches([':', ' ']);
        let is_title = first.starts_with('#') || (!first.ends_with('.') && words(first).len() <= 8);
        Self {
            stem: stem.to_owned(),
            title: (is_title && !title.is_empty()).then(|| title.to_owned()),
            text: input.text.clone(),
        }
    }
}

/// One finding for each input, in order, from the accepted outputs of the readings.
pub(super) fn merge<'a>(
    answer_is: AnswerIs,
    sources: &[Source],
    readings: impl Iterator<Item = (&'a Slice, Option<String>)>,
) -> Vec<Finding> {
    let mut by_input: BTreeMap<usize, Vec<Option<Raw>>> = BTreeMap::new();
    for (slice, output) in readings {
        let raw = output.and_then(|output| serde_json::from_str::<Raw>(&output).ok());
        by_input.entry(slice.index).or_default().push(raw);
    }
    let mut findings: Vec<Finding> =
        by_input.into_iter().map(|(input, raws)| of_input(answer_is, sources, input, raws)).collect();
    tell_apart(&mut findings);
    findings
}

/// The first of the readers' subjects that occurs in no other input, else the title on the same condition, else the
/// file's name.
pub(super) fn subject_of<'a>(
    sources: &'a [Source],
    input: usize,
    stated: impl IntoIterator<Item = &'a str>,
) -> String {
    let own = &sources[input];
    let tells = |subject: &&str| {
        let others = sources.iter().enumerate().filter(|(at, _)| *at != input);
        !words(subject).is_empty() && others.into_iter().all(|(_, other)| !stands_in(&other.text, subject))
    };
    let said = stated.into_iter().map(str::trim).find(tells);
    let found = said.or_else(|| own.title.as_deref().filter(tells));
    found.unwrap_or(&own.stem).to_owned()
}

fn of_input(answer_is: AnswerIs, sources: &[Source], input: usize, raws: Vec<Option<Raw>>) -> Finding {
    let failed = raws.iter().any(Option::is_none);
    let stated: Vec<Raw> = raws.into_iter().flatten().filter(|raw| !raw.answer.is_null()).collect();
    let subject = subject_of(sources, input, stated.iter().map(|raw| raw.subject.as_str()));
    let Some(best) = most_frequent(&stated) else {
        return Finding { input, subject, quote: String::new(), answer: Answer::NotStated, failed };
    };
    let answer = match answer_is {
        AnswerIs::Number => best.answer.to_string().parse().map_or(Answer::NotStated, Answer::Number),
        AnswerIs::YesNo => Answer::YesNo(stated.iter().any(|raw| raw.answer == "yes")),
        AnswerIs::Name | AnswerIs::Date => Answer::Text(text_of(&best.answer)),
        AnswerIs::Text => {
            Answer::Text(stated.iter().map(|raw| text_of(&raw.answer)).collect::<Vec<_>>().join(" "))
        }
        AnswerIs::List => list_of(&stated),
    };
    Finding { input, subject, quote: best.quote.clone(), answer, failed }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned())
}

/// The answer that most parts of an input give; among equally frequent ones, the earliest.
fn most_frequent(stated: &[Raw]) -> Option<&Raw> {
    let votes = |raw: &Raw| stated.iter().filter(|other| other.answer == raw.answer).count();
    let most = stated.iter().map(votes).max()?;
    stated.iter().find(|raw| votes(raw) == most)
}

fn list_of(stated: &[Raw]) -> Answer {
    let mut items: Vec<String> = Vec::new();
    for item in stated.iter().filter_map(|raw| raw.answer.as_array()).flatten().map(text_of) {
        if !items.iter().any(|known| known.eq_ignore_ascii_case(&item)) {
            items.push(item);
        }
    }
    if items.is_empty() { Answer::NotStated } else { Answer::List(items) }
}

/// Adds the input's number to subjects that several inputs share, so that the answer tells them apart.
fn tell_apart(findings: &mut [Finding]) {
    let mut count: HashMap<String, usize> = HashMap::new();
    let key = |finding: &Finding| words(&finding.subject).join(" ");
    for finding in findings.iter() {
        *count.entry(key(finding)).or_default() += 1;
    }
    for finding in findings.iter_mut() {
        if count[&key(finding)] > 1 {
            finding.subject = format!("{} (input {})", finding.subject, finding.input + 1);
        }
    }
}

/// Calculates the figures that the slots ask for.
///
/// # Errors
/// When there is nothing to calculate with, or a number is too long.
pub(super) fn calculate(slots: &Slots, findings: &[Finding]) -> Result<Figures, String> {
    let figures: Result<Vec<Figure>, String> =
        slots.aggregates().map(|aggregate| figure(aggregate, slots.answer_is, findings)).collect();
    Ok(Figures { figures: figures? })
}

fn figure(aggregate: Aggregate, answer_is: AnswerIs, findings: &[Finding]) -> Result<Figure, String> {
    if aggregate == Aggregate::Count {
        return Ok(count(findings));
    }
    if answer_is == AnswerIs::Date {
        return date_figure(aggregate, findings);
    }
    let numbers: Vec<(Decimal, &str)> = findings
        .iter()
        .filter_map(|finding| match finding.answer {
            Answer::Number(number) => Some((number, finding.subject.as_str())),
            _ => None,
        })
        .collect();
    let values: Vec<Decimal> = numbers.iter().map(|(number, _)| *number).collect();
    let value = aggregate.of(&values).map_err(|e| e.to_string())?;
    let subjects = match aggregate {
        Aggregate::Most | Aggregate::Least => numbers
            .iter()
            .filter(|(number, _)| *number == value)
            .map(|(_, subject)| (*subject).to_owned())
            .collect(),
        _ => Vec::new(),
    };
    Ok(Figure { aggregate, value: value.to_string(), subjects })
}

/// Counts the inputs that say yes, the items of all lists, or else the inputs that have an answer.
fn count(findings: &[Finding]) -> Figure {
    let counted = |finding: &&Finding| !matches!(finding.answer, Answer::NotStated | Answer::YesNo(false));
    let items = findings.iter().filter(counted).map(|finding| match &finding.answer {
        Answer::List(items) => items.len() as i64,
        _ => 1,
    });
    let value = Decimal::from(items.sum::<i64>()).to_string();
    let subjects = findings.iter().filter(counted).map(|finding| finding.subject.clone()).collect();
    Figure { aggregate: Aggregate::Count, value, subjects }
}

/// Dates are written `YYYY-MM-DD`, which sorts correctly as text.
fn date_figure(aggregate: Aggregate, findings: &[Finding]) -> Result<Figure, String> {
    let dates = findings.iter().filter_map(|finding| match &finding.answer {
        Answer::Text(date) => Some((date.as_str(), finding.subject.as_str())),
        _ => None,
    });
    let dates: Vec<(&str, &str)> = dates.collect();
    let days = dates.iter().map(|(date, _)| *date);
    let value = if aggregate == Aggregate::Most { days.max() } else { days.min() };
    let value = value.ok_or("there are no dates to compare")?.to_owned();
    let subjects =
        dates.iter().filter(|(date, _)| *date == value).map(|(_, subject)| (*subject).to_owned()).collect();
    Ok(Figure { aggregate, value, subjects })
}
