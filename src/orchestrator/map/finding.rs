//! One question to one text: the prompt, the schema of the reply, and whether the text bears it out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::band::{Message, Reply, Role};
use super::super::checks::{check_text, mostly_in, numbers_in, quoted_sentence, stands_in, words};
use super::super::dispatch::{Check, Verdict};
use super::super::plan::{AnswerIs, Slice};
use super::slots::Slots;
use crate::tools::calculator::Decimal;

/// What an input says to the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A number.
    Number(Decimal),
    /// A name, a date, a sentence.
    Text(String),
    /// Yes or no.
    YesNo(bool),
    /// Several things.
    List(Vec<String>),
    /// The input does not say, or could not be read.
    NotStated,
}

impl Answer {
    /// As it is told.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::YesNo(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Self::List(items) => items.join("; "),
            Self::NotStated => "not stated".to_owned(),
        }
    }
}

/// What one input gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Index of the input.
    pub input: usize,
    /// Who or what the input is about.
    pub subject: String,
    /// The input's own words.
    pub quote: String,
    /// The answer.
    pub answer: Answer,
    /// Whether no reader could do it, as opposed to the text not saying.
    pub failed: bool,
}

/// A reply as it is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Raw {
    /// Who or what the text is about.
    #[serde(default)]
    pub subject: String,
    /// Words of the text.
    #[serde(default)]
    pub quote: String,
    /// The answer, `null` where the text does not say.
    #[serde(default)]
    pub answer: Value,
}

/// Whether the reply quotes the text: facts do, summaries do not.
fn quotes(answer_is: AnswerIs) -> bool {
    !matches!(answer_is, AnswerIs::Text | AnswerIs::List)
}

/// The schema of the reply.
pub fn schema(slots: &Slots) -> Value {
    let or_null = |kind: Value| json!({"anyOf": [kind, {"type": "null"}]});
    let answer = match slots.answer_is {
        AnswerIs::Number => or_null(json!({"type": "number"})),
        AnswerIs::Date => or_null(json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})),
        AnswerIs::Name => or_null(json!({"type": "string", "minLength": 1, "maxLength": 100})),
        AnswerIs::YesNo => json!({"enum": ["yes", "no", null]}),
        AnswerIs::Text => or_null(json!({"type": "string", "minLength": 1, "maxLength": 900})),
        AnswerIs::List => {
            json!({"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 100}, "maxItems": 20})
        }
    };
    let mut properties = json!({"subject": {"type": "string", "maxLength": 60}});
    let mut required = vec!["subject"];
    if quotes(slots.answer_is) {
        properties["quote"] = json!({"type": "string", "maxLength": 320});
        required.push("quote");
    }
    properties["answer"] = answer;
    required.push("answer");
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// An example of the reply's form; its matter is far from anything a text will speak of.
fn example(answer_is: AnswerIs) -> &'static str {
    match answer_is {
        AnswerIs::Number => {
            r#"{"subject": "Anna Maria", "quote": "sailed with a crew of 31 and 200 tons of coal", "answer": 31}"#
        }
        AnswerIs::Date => {
            r#"{"subject": "Anna Maria", "quote": "left Hull on 3 May 1887", "answer": "1887-05-03"}"#
        }
        AnswerIs::Name => {
            r#"{"subject": "Anna Maria", "quote": "under the command of Piet Vos", "answer": "Piet Vos"}"#
        }
        AnswerIs::YesNo => {
            r#"{"subject": "Anna Maria", "quote": "she never came back to port", "answer": "no"}"#
        }
        AnswerIs::Text => {
            r#"{"subject": "Anna Maria", "answer": "She sailed for Oslo and was lost in a storm."}"#
        }
        AnswerIs::List => r#"{"subject": "Anna Maria", "answer": ["coal", "timber"]}"#,
    }
}

/// The prompt. What all readings share comes first, so that it is computed once.
pub fn prompt(slots: &Slots, slice: &Slice, text: &str) -> Vec<Message> {
    let quote = if quotes(slots.answer_is) {
        "\nquote: the words of the text that give the answer, copied exactly"
    } else {
        ""
    };
    let question = &slots.question;
    let part =
        if slice.parts > 1 { format!(", part {} of {}", slice.part + 1, slice.parts) } else { String::new() };
    vec![Message::new(
        Role::User,
        format!(
            "Answer a question about one text. Reply with JSON:\n\
subject: the name of who or what the text is about{quote}\n\
answer: the answer, or null if the text does not say\n\
For example: {}\n\n\
Question: {question}\n\n\
Text ({}{part}):\n{}\n\n\
Question: {question}",
            example(slots.answer_is),
            slice.name,
            text.trim()
        ),
    )]
}

/// Accepts what the text bears out. What is accepted is canonical: the quote is the text's own sentence.
pub fn check(answer_is: AnswerIs, text: Arc<str>) -> Check {
    Arc::new(move |reply: &Reply| match serde_json::from_str::<Raw>(&reply.text) {
        Ok(raw) => judge(answer_is, &text, raw),
        Err(e) => Verdict::Reject(format!("the reply was not the JSON asked for ({e})")),
    })
}

fn judge(answer_is: AnswerIs, text: &str, mut raw: Raw) -> Verdict {
    if !mostly_in(text, &raw.subject) {
        raw.subject.clear();
    }
    if raw.answer.is_null() {
        return Verdict::Doubt(written(&raw));
    }
    let verdict = match answer_is {
        AnswerIs::Number => judge_number(text, &mut raw),
        AnswerIs::Date => judge_date(text, &raw),
        AnswerIs::Name => judge_name(text, &raw),
        AnswerIs::YesNo => Ok(true),
        AnswerIs::Text => check_text(raw.answer.as_str().unwrap_or_default()).map(|_| true),
        AnswerIs::List => Ok(raw.answer.as_array().is_some_and(|items| !items.is_empty())),
    };
    match verdict {
        Ok(true) => Verdict::Accept(written(&raw)),
        Ok(false) => Verdict::Doubt(written(&raw)),
        Err(why) => Verdict::Reject(why),
    }
}

fn written(raw: &Raw) -> String {
    serde_json::to_string(raw).expect("strings and JSON values are always JSON")
}

/// `Ok(true)` when the text bears the number out, `Ok(false)` when it may.
fn judge_number(text: &str, raw: &mut Raw) -> Result<bool, String> {
    let said = raw.answer.to_string();
    let Ok(number) = said.parse::<Decimal>() else { return Err(format!("{said} is not a number")) };
    if !numbers_in(text).contains(&number) {
        // "Nobody was hurt" is a zero that stands nowhere.
        return if number == Decimal::ZERO {
            Ok(false)
        } else {
            Err(format!("{said} does not stand in the text"))
        };
    }
    let Some(sentence) = quoted_sentence(text, &raw.quote) else {
        return Err("the quote is not in the text; copy the words exactly".to_owned());
    };
    let in_quote = stands_in(text, &raw.quote) && numbers_in(&raw.quote).contains(&number);
    if !in_quote && !numbers_in(sentence).contains(&number) {
        return Err(format!("the quote does not contain {said}; quote the words that give the answer"));
    }
    sentence.clone_into(&mut raw.quote);
    Ok(true)
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
    Ok(stands(year) || stands(year % 100))
}

fn judge_name(text: &str, raw: &Raw) -> Result<bool, String> {
    let name = raw.answer.as_str().unwrap_or_default();
    if words(name).is_empty() {
        return Err("the answer is empty".to_owned());
    }
    Ok(mostly_in(text, name))
}
