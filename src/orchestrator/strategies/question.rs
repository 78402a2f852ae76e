//! The planner takes the question out of a goal. Greetings, small talk and typing errors would only disturb rules and
//! searches.

use bandmaster_tools::calculator::Decimal;
use serde::Deserialize;
use serde_json::json;

use crate::band::{Finish, Reply};
use crate::checks::{numbers_in, sentences, spelled_numbers, words, written_numbers};
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::prompts;
use crate::strategy::{Prompt, Verdict};
use crate::topic::{content_words, is_same_word, is_typo};

const QUESTION_TOKENS_MAX: u32 = 96;
const DRAWS: usize = 2;
/// A goal of one sentence with no more words is the question itself.
const PLAIN_WORDS_MAX: usize = 16;
/// Words without which a sentence says the opposite.
const DENIALS: &[&str] = &["not", "no", "never", "without", "nor", "neither", "none", "except"];

/// Whether the goal is more than a plain question.
pub(super) fn needs_planner(goal: &Goal) -> bool {
    let text = goal.text.trim();
    sentences(text).len() > 1 || text.split_whitespace().count() > PLAIN_WORDS_MAX
}

pub(super) fn task(id: &str) -> Task {
    let task = Task::new(id, Job::Plan, [PLANNER; DRAWS]);
    let instruction = "take the question out of the goal".to_owned();
    Task { instruction, tokens_max: QUESTION_TOKENS_MAX, ..task }
}

pub(super) fn prompt(goal: &Goal) -> Prompt {
    let message = goal.text.split_whitespace().collect::<Vec<_>>().join(" ").replace('"', "'");
    let schema = json!({
        "type": "object",
        "properties": {"question": {"type": "string", "minLength": 3}},
        "required": ["question"],
        "additionalProperties": false,
    });
    prompts::FIND_QUESTION.prompt(&[("message", &message)]).with_schema(schema)
}

#[derive(Deserialize)]
struct Raw {
    question: String,
}

/// Accepts a question in the goal's own words, whatever their form and spelling.
pub(super) fn check(goal: &Goal, reply: &Reply) -> Verdict {
    let question = match serde_json::from_str::<Raw>(&reply.text) {
        _ if reply.finish == Finish::Length => return Verdict::reject("it was cut off at its limit"),
        Ok(raw) => raw.question.trim().to_owned(),
        Err(error) => return Verdict::reject(format!("not the JSON that was asked for: {error}")),
    };
    let said = content_words(&goal.text);
    let is_said = |word: &String| said.iter().any(|other| is_same_word(word, other) || is_typo(word, other));
    let words = content_words(&question);
    let new = words.iter().filter(|word| !is_said(word)).count();
    if words.is_empty() || 3 * new > words.len() {
        return Verdict::reject("it is not in the words of the goal");
    }
    if !numbers_in(&question).is_subset(&numbers_in(&goal.text)) {
        return Verdict::reject("it has a number that the goal doesn't have");
    }
    match lost(&goal.text, &question) {
        Some(lost) => Verdict::reject(format!("it leaves out: {lost}")),
        None => Verdict::Accept(question),
    }
}

/// What of the goal's sentences a question may not leave out and does: a number or a denial of the sentence that it was
/// taken from, or another question.
fn lost<'a>(goal: &'a str, question: &str) -> Option<&'a str> {
    let kept = content_words(question);
    let is_kept = |word: &&String| kept.iter().any(|other| is_same_word(word, other) || is_typo(word, other));
    let denies =
        |text: &str| words(text).iter().any(|word| DENIALS.contains(&word.as_str()) || word.ends_with("n't"));
    let spelled = spelled_numbers(question);
    // "One" is often no number, as in "quick one".
    let counts = |number: &Decimal| *number != Decimal::from(1);
    sentences(goal).into_iter().find(|sentence| {
        let own = content_words(sentence);
        if 2 * own.iter().filter(is_kept).count() < own.len() {
            return sentence.ends_with('?') && own.len() >= 3;
        }
        let known = numbers_in(question);
        written_numbers(sentence).iter().flatten().any(|number| !known.contains(number))
            || spelled_numbers(sentence).iter().any(|number| counts(number) && !spelled.contains(number))
            || (denies(sentence) && !denies(question))
    })
}
