//! What of a goal is the question. Greetings, small talk and typing errors would only disturb the search and the
//! judging.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::json;

use crate::band::{Finish, Reply};
use crate::checks::{numbers_in, sentences};
use crate::goal::Goal;
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::{Prompt, Verdict};
use crate::topic::{content_words, is_same_word};

const QUESTION_TOKENS_MAX: u32 = 96;
/// A goal of one sentence with no more words is the question itself.
const PLAIN_WORDS_MAX: usize = 16;
/// Letters that a typing error may change.
const TYPO_LETTERS_MAX: usize = 2;

/// Whether the goal is more than a plain question.
pub(super) fn needs_planner(goal: &Goal) -> bool {
    let text = goal.text.trim();
    sentences(text).len() > 1 || text.split_whitespace().count() > PLAIN_WORDS_MAX
}

pub(super) fn task(goal: &Goal) -> Task {
    let task = Task::new("plan", Job::Plan, super::ladder(goal));
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
    let is_said = |word: &String| {
        let near = |other: &String| strsim::damerau_levenshtein(word, other) <= TYPO_LETTERS_MAX;
        said.iter().any(|other| is_same_word(word, other) || near(other))
    };
    let words = content_words(&question);
    let new = words.iter().filter(|word| !is_said(word)).count();
    if words.is_empty() || 3 * new > words.len() {
        return Verdict::reject("it is not in the words of the goal");
    }
    if !numbers_in(&question).is_subset(&numbers_in(&goal.text)) {
        return Verdict::reject("it has a number that the goal doesn't have");
    }
    Verdict::Accept(question)
}

/// What to search for: the question as the planner took it out of the goal, or else as a rule does.
pub(super) fn question(goal: &Goal, plan: Option<&TaskState>) -> String {
    plan.and_then(TaskState::accepted).map_or_else(|| asked(goal), str::to_owned)
}

/// The question as it was searched for.
pub(super) fn searched<'a>(goal: &'a Goal, state: &'a RunState) -> &'a str {
    state.searches.first().map_or(goal.text.as_str(), |search| search.query.as_str())
}

/// The goal's own words without those around the question. Once it was searched for, it stands in the state.
pub(super) fn asked(goal: &Goal) -> String {
    let text = goal.text.trim();
    let question = Used::of(goal.inputs.iter().map(|input| input.text.as_str())).question(text);
    if question.is_empty() { text.to_owned() } else { question }
}

/// The words that the inputs use, by their first letters.
struct Used(HashMap<String, HashSet<String>>);

impl Used {
    fn of<'a>(inputs: impl Iterator<Item = &'a str>) -> Self {
        let mut used: HashMap<String, HashSet<String>> = HashMap::new();
        let words = inputs.flat_map(|input| input.split(|c: char| !c.is_alphanumeric()));
        for word in words.filter(|word| !word.is_empty()) {
            let word = word.to_lowercase();
            let of_first = used.entry(first_letters(&word)).or_default();
            if !of_first.contains(&word) {
                of_first.insert(word);
            }
        }
        Self(used)
    }

    /// The sentences with a question mark, or else those about what stands in the inputs, without what leads up to them.
    fn question(&self, goal: &str) -> String {
        let sentences = sentences(goal);
        let about = |sentence: &&str| self.share_of(sentence) >= 0.5;
        let asking = sentences.iter().copied().filter(|sentence| sentence.ends_with('?')).filter(about);
        let asking: Vec<&str> = asking.collect();
        let kept = match asking.is_empty() {
            false => asking,
            true => sentences.iter().copied().filter(about).collect(),
        };
        let kept = if kept.is_empty() { sentences } else { kept };
        kept.into_iter().map(|sentence| self.without_lead_in(sentence)).collect::<Vec<_>>().join(" ")
    }

    /// The sentence without a beginning such as "For my talk:" or "need this for a call -" that is not about the inputs.
    fn without_lead_in<'a>(&self, sentence: &'a str) -> &'a str {
        for border in [": ", " - ", " – ", ", "] {
            let Some((before, after)) = sentence.split_once(border) else { continue };
            if content_words(after).len() >= 2 && self.share_of(before) <= 0.5 {
                return self.without_lead_in(after.trim());
            }
        }
        sentence
    }

    /// The share of a text's content words that the inputs use in some form; 0 if it has none.
    fn share_of(&self, text: &str) -> f64 {
        let words = content_words(text);
        let is_used = |word: &&String| {
            let near = self.0.get(&first_letters(word));
            near.is_some_and(|near| near.iter().any(|other| is_same_word(other, word)))
        };
        words.iter().filter(is_used).count() as f64 / words.len().max(1) as f64
    }
}

/// The first letters of a word, which its forms share.
fn first_letters(word: &str) -> String {
    word.chars().take(3).collect()
}
