//! One question to one text: the prompt, the schema of the reply, and the check of the reply against the text.

use std::collections::HashSet;

use bandmaster_tools::calculator::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::slots::Slots;
use crate::band::{Finish, Reply};
use crate::checks::{before_repetition, check_text, mostly_in, numbers_in, sentences, words};
use crate::plan::{AnswerIs, Slice};
use crate::prompts;
use crate::strategy::{Prompt, Verdict};

/// What an input answers to the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Number(Decimal),
    /// A name, a date or sentences.
    Text(String),
    YesNo(bool),
    List(Vec<String>),
    /// The input does not contain the answer, or could not be read.
    NotStated,
}

impl Answer {
    /// The answer in words.
    #[must_use]
    pub(super) fn told(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::YesNo(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Self::List(items) => items.join("; "),
            Self::NotStated => "not stated".to_owned(),
        }
    }
}

/// What was found in one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Index of the input.
    pub input: usize,
    /// Who or what the input is about.
    pub subject: String,
    /// The sentence that supports the answer, for numbers only.
    pub quote: String,
    pub answer: Answer,
    /// Whether a part of the input could not be read, as opposed to not containing the answer.
    pub failed: bool,
}

/// A reply as the reader writes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Raw {
    /// Who or what the text is about.
    #[serde(default)]
    pub subject: String,
    /// The sentence that supports the answer, filled in by the check.
    #[serde(default)]
    pub quote: String,
    /// `null` if the text does not contain the answer.
    #[serde(default)]
    pub answer: Value,
}

/// The schema of the reply. No string has a maximum length, because the grammar would end it in the middle of a word. A
/// reply that is too long reaches the token limit instead, which is noticed.
pub(super) fn schema(answer_is: AnswerIs) -> Value {
    let or_null = |kind: Value| json!({"anyOf": [kind, {"type": "null"}]});
    let answer = match answer_is {
        AnswerIs::Number => or_null(json!({"type": "number"})),
        AnswerIs::Date => or_null(json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})),
        AnswerIs::Name => or_null(json!({"type": "string", "minLength": 1})),
        AnswerIs::YesNo => json!({"enum": ["yes", "no", null]}),
        AnswerIs::Text => or_null(json!({"type": "string", "minLength": 1})),
        AnswerIs::List => json!({"type": "array", "items": {"type": "string", "minLength": 1}}),
    };
    json!({
        "type": "object",
        "properties": {"subject": {"type": "string"}, "answer": answer},
        "required": ["subject", "answer"],
        "additionalProperties": false,
    })
}

/// Stands for the subject in the prompt.
const SUBJECT_FORM: &str = "name of who or what the text is about";
/// A subject with more words is a sentence.
const SUBJECT_WORDS_MAX: usize = 12;

/// Stands for the answer in the prompt. It is no worked example, because a small reader copies the content of those.
fn form(answer_is: AnswerIs) -> &'static str {
    match answer_is {
        AnswerIs::Number => "number",
        AnswerIs::Date => "\"YYYY-MM-DD\"",
        AnswerIs::Name => "\"the name\"",
        AnswerIs::YesNo => "\"yes\" or \"no\"",
        AnswerIs::Text => "\"one or two sentences\"",
        AnswerIs::List => "[\"...\", \"...\"]",
    }
}

/// The prompt. What all readings share comes first, so that it is computed once. The question is repeated after the
/// text, because small models pay more attention to it there.
pub(super) fn prompt(slots: &Slots, slice: &Slice, text: &str) -> Prompt {
    let part =
        if slice.parts > 1 { format!(", part {} of {}", slice.part + 1, slice.parts) } else { String::new() };
    let template =
        if slots.answer_is == AnswerIs::YesNo { prompts::MAP_READ_WHETHER } else { prompts::MAP_READ };
    template.prompt(&[
        ("find", &slots.find),
        ("source", &format!("{}{part}", slice.name)),
        ("text", text.trim()),
        ("subject_form", SUBJECT_FORM),
        ("answer_form", form(slots.answer_is)),
    ])
}

/// Accepts what the text supports. What it may support is doubtful, and a better reader decides.
pub(super) fn check(slots: &Slots, text: &str, reply: &Reply) -> Verdict {
    let answer_is = slots.answer_is;
    match serde_json::from_str::<Raw>(&reply.text) {
        Ok(raw) if reply.finish == Finish::Length => cut_off(answer_is, text, raw),
        Ok(raw) => judge(answer_is, &slots.find, text, raw),
        Err(_) if reply.finish == Finish::Length => Verdict::reject(CUT_OFF),
        Err(e) => Verdict::reject(format!("the reply was not the JSON asked for ({e})")),
    }
}

const CUT_OFF: &str = "the reply was cut off at its limit";

/// What can be used of a reply that was cut off at its limit: the whole items of a list, or the whole sentences of a
/// text. Nothing else is used: a number or a name may be half there, and a null may only have closed the JSON in time.
fn cut_off(answer_is: AnswerIs, text: &str, mut raw: Raw) -> Verdict {
    clear_subject(text, &mut raw);
    let kept = match (answer_is, &mut raw.answer) {
        (AnswerIs::List, Value::Array(items)) => {
            let all = items.len();
            items.pop();
            let mut seen = HashSet::new();
            items.retain(|item| seen.insert(item.clone()));
            if all > 3 && items.len() * 2 < all {
                // The list loops, so the limit cut off nothing new.
                return Verdict::Accept(written(&raw));
            }
            !items.is_empty()
        }
        (AnswerIs::Text, Value::String(answer)) => {
            let whole = before_repetition(answer);
            if whole.len() < answer.trim_end().len() && !whole.is_empty() {
                *answer = whole.to_owned();
                return Verdict::Accept(written(&raw));
            }
            let end = answer.char_indices().rfind(|(_, c)| matches!(c, '.' | '!' | '?' | '。'));
            answer.truncate(end.map_or(0, |(at, c)| at + c.len_utf8()));
            !answer.is_empty()
        }
        _ => false,
    };
    Verdict::Reject { why: CUT_OFF.to_owned(), kept: kept.then(|| written(&raw)) }
}

/// Drops a subject that is not in the text, is a copy of the form in the prompt, or is a whole sentence.
fn clear_subject(text: &str, raw: &mut Raw) {
    let form = words(&raw.subject) == words(SUBJECT_FORM);
    if form || words(&raw.subject).len() > SUBJECT_WORDS_MAX || !mostly_in(text, &raw.subject) {
        raw.subject.clear();
    }
}

/// Whether the answer is a copy of the form in the prompt.
fn is_form(answer_is: AnswerIs, answer: &Value) -> bool {
    let shown = words(form(answer_is));
    match answer {
        Value::String(text) => words(text) == shown && answer_is != AnswerIs::YesNo,
        Value::Array(items) => {
            let nothing = |item: &Value| item.as_str().is_some_and(|text| words(text).is_empty());
            !items.is_empty() && items.iter().all(nothing)
        }
        _ => false,
    }
}

fn judge(answer_is: AnswerIs, find: &str, text: &str, mut raw: Raw) -> Verdict {
    clear_subject(text, &mut raw);
    if is_form(answer_is, &raw.answer) {
        return Verdict::reject("the reply repeats the form instead of an answer");
    }
    if raw.answer.is_null() {
        return Verdict::Doubt(written(&raw));
    }
    let verdict = match answer_is {
        AnswerIs::Number => judge_number(find, text, &mut raw),
        AnswerIs::Date => judge_date(text, &raw),
        AnswerIs::Name => judge_name(text, &raw),
        AnswerIs::YesNo => Ok(true),
        AnswerIs::Text => check_text(raw.answer.as_str().unwrap_or_default()).map(|_| true),
        AnswerIs::List => Ok(raw.answer.as_array().is_some_and(|items| !items.is_empty())),
    };
    match verdict {
        Ok(true) => Verdict::Accept(written(&raw)),
        Ok(false) => Verdict::Doubt(written(&raw)),
        Err(why) => Verdict::reject(why),
    }
}

fn written(raw: &Raw) -> String {
    serde_json::to_string(raw).expect("strings and JSON values are always JSON")
}

/// `Ok(true)` if the text supports the number, `Ok(false)` if another sentence matches the question
/// better or none does.
fn judge_number(find: &str, text: &str, raw: &mut Raw) -> Result<bool, String> {
    let said = raw.answer.to_string();
    let Ok(number) = said.parse::<Decimal>() else { return Err(format!("{said} is not a number")) };
    let mut best_anywhere = 0;
    let mut best: Option<(usize, &str)> = None;
    for sentence in sentences(text) {
        let numbers = numbers_in(sentence);
        if numbers.is_empty() {
            continue;
        }
        let bearing = bearing(find, sentence);
        best_anywhere = best_anywhere.max(bearing);
        if numbers.contains(&number) && best.is_none_or(|(before, _)| bearing > before) {
            best = Some((bearing, sentence));
        }
    }
    match best {
        Some((bearing, sentence)) => {
            sentence.clone_into(&mut raw.quote);
            Ok(bearing > 0 && bearing == best_anywhere)
        }
        // "Nobody was hurt" means zero without a digit.
        None if number == Decimal::ZERO => Ok(false),
        None => Err(format!("{said} does not stand in the text")),
    }
}

/// How many of the words of `find` occur in a sentence, compared without their endings.
fn bearing(find: &str, sentence: &str) -> usize {
    const STEM_CHARS: usize = 5;
    const EMPTY: [&str; 10] =
        ["the", "for", "and", "number", "amount", "from", "with", "this", "text", "that"];
    let stem = |word: &String| word.chars().take(STEM_CHARS).collect::<String>();
    let has: HashSet<String> = words(sentence).iter().map(stem).collect();
    let wanted = words(find).into_iter().filter(|word| word.len() > 2 && !EMPTY.contains(&word.as_str()));
    wanted.filter(|word| has.contains(&stem(word))).count()
}

fn judge_date(text: &str, raw: &Raw) -> Result<bool, String> {
    let date = raw.answer.as_str().unwrap_or_default();
    let fields: Vec<i64> = date.split('-').filter_map(|field| field.parse().ok()).collect();
    let [year, month, day] = fields[..] else { return Err(format!("{date} is no date")) };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(format!("{date} is no date"));
    }
    let numbers = numbers_in(text);
    let ordinal = words(text).iter().any(|word| {
        ["st", "nd", "rd", "th"]
            .iter()
            .any(|end| word.strip_suffix(end).is_some_and(|n| n.parse() == Ok(day)))
    });
    let stands = |number: i64| numbers.contains(&Decimal::from(number));
    if !stands(day) && !ordinal {
        return Err(format!("day {day} does not stand in the text"));
    }
    if stands(year) || stands(year % 100) {
        return Ok(true);
    }
    // If the text has no year at all, the year is doubtful. If it has another one, the year is wrong.
    match (1000..2200).find(|other| stands(*other)) {
        Some(other) => Err(format!("the text speaks of {other}, not {year}")),
        None => Ok(false),
    }
}

fn judge_name(text: &str, raw: &Raw) -> Result<bool, String> {
    let name = raw.answer.as_str().unwrap_or_default();
    if words(name).is_empty() {
        return Err("the answer is empty".to_owned());
    }
    Ok(mostly_in(text, name))
}
