//! Takes a short answer from a sentence, in the sentence's own words. Whether it is the answer to the question is judged
//! afterwards (`judge.rs`): a small model that has to answer anyway shows by its answer what a sentence lacks.

use serde::Deserialize;
use serde_json::json;

use super::place::Place;
use super::question;
use crate::band::{Finish, Reply};
use crate::checks::{mostly_in, numbers_in, spelled_numbers, words};
use crate::goal::Goal;
use crate::plan::{Job, Passage, Task};
use crate::prompts;
use crate::state::RunState;
use crate::strategy::{Prompt, Verdict};
use crate::topic::{content_words, is_same_word};

const ANSWER_TOKENS_MAX: u32 = 60;

/// A task for each of the sentences.
pub(super) fn tasks(goal: &Goal, state: &RunState, places: Vec<Place>) -> Vec<Task> {
    let there = state.plan_tasks().count();
    let task = |(number, place): (usize, Place)| {
        let passage = Passage { input: place.input, bytes: place.bytes };
        let task = Task::new(format!("t{number}"), Job::Extract { passage }, super::ladder(goal));
        Task { instruction: "answer from a sentence".to_owned(), tokens_max: ANSWER_TOKENS_MAX, ..task }
    };
    (there + 1..).zip(places).map(task).collect()
}

/// The sentences that were asked, each with its answer if it holds one.
pub(super) fn asked(state: &RunState) -> Vec<(Place, Option<&str>)> {
    let asked = state.plan_tasks().filter_map(|task| match &task.task.job {
        Job::Extract { passage } => {
            Some((Place::of(passage), task.accepted().filter(|answer| !answer.is_empty())))
        }
        _ => None,
    });
    asked.collect()
}

pub(super) fn prompt(goal: &Goal, state: &RunState, passage: &Passage) -> Prompt {
    let sentence = Place::of(passage).shown(goal);
    let schema = json!({
        "type": "object",
        "properties": {"answer": {"type": "string", "minLength": 1}},
        "required": ["answer"],
        "additionalProperties": false,
    });
    let values = [("question", question::searched(goal, state)), ("sentence", sentence.as_str())];
    prompts::FIND_ANSWER.prompt(&values).with_schema(schema)
}

#[derive(Deserialize)]
struct Raw {
    answer: String,
}

/// Accepts an answer that the sentence holds and that is not the question again, or else nothing.
pub(super) fn check(goal: &Goal, state: &RunState, passage: &Passage, reply: &Reply) -> Verdict {
    let answer = match serde_json::from_str::<Raw>(&reply.text) {
        _ if reply.finish == Finish::Length => return Verdict::reject("it was cut off at its limit"),
        Ok(raw) => raw.answer.trim().to_owned(),
        Err(error) => return Verdict::reject(format!("not the JSON that was asked for: {error}")),
    };
    let question = question::searched(goal, state);
    let sentence = Place::of(passage).text(goal);
    Verdict::Accept(if is_answer(sentence, question, &answer) { answer } else { String::new() })
}

/// Whether an answer may be one: the sentence holds it, and it is not the question again.
fn is_answer(sentence: &str, question: &str, answer: &str) -> bool {
    is_yes_or_no(question, answer)
        || (holds(sentence, question, answer) && (offers(question) || says_something(question, answer)))
}

/// Whether a question that begins with a verb is answered by yes or no.
fn is_yes_or_no(question: &str, answer: &str) -> bool {
    const VERBS: &[&str] = &[
        "is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could", "will",
        "would", "may", "must", "should",
    ];
    let first = |text: &str| words(text).into_iter().next().unwrap_or_default();
    VERBS.contains(&first(question).as_str()) && matches!(first(answer).as_str(), "yes" | "no")
}

/// Whether the question has the answers in itself: "the north or the south pier?"
fn offers(question: &str) -> bool {
    words(question).iter().any(|word| word == "or")
}

/// Whether a sentence holds the words of an answer, and with the question its numbers.
fn holds(sentence: &str, question: &str, answer: &str) -> bool {
    let known = &numbers_in(sentence) | &numbers_in(question);
    // An answer may say "82 miles" for "eighty-two miles".
    let spelled: Vec<String> = spelled_numbers(sentence).iter().map(ToString::to_string).collect();
    let sentence = format!("{sentence} {}", spelled.join(" "));
    !words(answer).is_empty() && mostly_in(&sentence, answer) && numbers_in(answer).is_subset(&known)
}

/// Whether an answer has a word or a number that the question doesn't have.
fn says_something(question: &str, answer: &str) -> bool {
    let asked = content_words(question);
    let is_asked = |word: &String| asked.iter().any(|other| is_same_word(word, other));
    let said = content_words(answer);
    said.is_empty()
        || said.iter().any(|word| !is_asked(word))
        || !numbers_in(answer).is_subset(&numbers_in(question))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stands_in_its_sentence_and_says_more_than_the_question() {
        let check = |sentence: &str, question: &str, answer: &str, expected: bool| {
            assert_eq!(is_answer(sentence, question, answer), expected, "{question} {answer}");
        };
        let light = "On a clear night the light could be seen from eighty-two miles away.";
        check(light, "How far could the light be seen?", "82 miles", true);
        check(light, "How far could the light be seen?", "eighty-two miles", true);
        check(light, "How far could the light be seen?", "72 miles", false);
        check(light, "How far could the light be seen?", "the light", false);
        let bank = "The foundry owed the bank more than it liked to say.";
        check(bank, "To which bank did the foundry owe money?", "bank", false);
        check(bank, "To which bank did the foundry owe money?", "Barings", false);
        check("The door had to be repainted.", "What colour was the door?", "white", false);
        check("The tower was never repaired.", "Was the tower ever repaired?", "No", true);
        check("The tower was never repaired.", "Who repaired the tower?", "No", false);
        let pier = "The light stands on the south pier.";
        check(pier, "Is the light on the north or the south pier?", "south pier", true);
        check("It is held in room 4.", "In which room is it held?", "room 4", true);
    }
}
