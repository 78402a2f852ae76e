//! Tells questions of workers from results. No prompt offers to ask, because small models would ask needlessly. Models
//! that can't go on ask by themselves. The rules are for English.

use crate::checks::{sentences, stands_in, words};
use crate::goal::Goal;
use crate::plan::{Job, Task};
use crate::state::RunState;
use crate::strategy::Verdict;
use crate::topic::{content_words, share_a_word};

/// Most words and sentences of a reply that only asks for something.
const REQUEST_WORDS_MAX: usize = 60;
const REQUEST_SENTENCES_MAX: usize = 3;

/// Words of an instruction whose result may address somebody else and ask for something. No such result is taken for a
/// question to the user.
const ADDRESSED: &str = "\
ask asks asking asked question questions request requests interview survey questionnaire quiz letter letters \
email emails mail message messages reply replies invitation invitations invite invites rsvp card notice \
announcement form faq reminder remind reminds complaint ad advertisement poster flyer dialogue conversation \
script";
/// Words of an instruction whose result is a text that may say anything.
const COMPOSED: &str = "\
write draft compose create make word phrase formulate invent think suggest propose design translate rewrite \
rephrase paraphrase quote copy extract slogan caption headline poem story joke riddle tagline";
/// What may stand before a request without being a part of a result.
const OPENERS: &str = "\
sure ok okay certainly of course hello hi there sorry thanks thank you great absolutely so but and then \
first unfortunately however yes no also";
/// Says that something is missing.
const LACKING: &str = "missing unclear unspecified unknown needed required necessary";
/// Says that something is missing after "not", "no" or "without".
const GIVEN: &str = "\
clear given provided specified attached enough sure available mentioned included stated known sufficient \
knowing information details";
/// Verbs that hardly ask for anything but information. The others ask for any thing, and of anybody.
const INFORMING: &str = "provide specify clarify share paste upload supply elaborate indicate";
const OTHER_VERBS: &str = "tell give send attach confirm describe explain show list name state";
/// What a worker may lack.
const MATERIAL: &str = "\
name names text texts report document file files detail details information info context content data list \
article passage topic subject source input title which what";
/// What the object of a request begins with.
const DETERMINERS: &str = "\
the a an more any additional further some your its it their them this that these those which what who where \
when how whether if at details context information";
const TIMES: &str = "\
monday tuesday wednesday thursday friday saturday sunday january february march april may june july august \
september october november december today tomorrow tonight noon midnight end next then";

/// A task that asks for something instead of giving a result is tried once more. If it asks again, it does need an
/// answer.
pub(super) fn check(task: &Task, goal: &Goal, state: &RunState, text: String) -> Verdict {
    if matches!(task.job, Job::Write { .. }) {
        return Verdict::Accept(text);
    }
    let inputs = goal.inputs.iter().map(|input| input.text.as_str());
    let known: Vec<&str> = inputs.chain(task.needs.iter().filter_map(|need| state.result(need))).collect();
    let request_in = |reply: &str| request_in(reply, &task.instruction, &known);
    let Some(question) = request_in(&text) else { return Verdict::Accept(text) };
    let attempts = state.task(&task.id).map_or(&[][..], |task| &task.attempts);
    let before = &attempts[..attempts.len().saturating_sub(1)];
    if before.iter().any(|attempt| request_in(&attempt.output).is_some()) {
        return Verdict::Ask(question);
    }
    Verdict::reject(format!("it asks instead of answering: {question}"))
}

/// The question in a reply that asks the reader for what the task needs instead of giving a result, such as "Could you
/// tell me the name of the shop?". Nothing in such a reply is a result: each of its sentences asks, speaks of the worker
/// itself or says what is missing. What stands in a `known` text is quoted. A reply may mark a question with
/// `QUESTION:`.
fn request_in(reply: &str, instruction: &str, known: &[&str]) -> Option<String> {
    let instructed = words(instruction);
    if has_any(&instructed, ADDRESSED) {
        return None;
    }
    let reply = reply.trim();
    if let Some(marked) = reply.strip_prefix("QUESTION:") {
        return Some(marked.trim().to_owned()).filter(|question| !question.is_empty());
    }
    let unquoted = without_quotes(reply);
    let sentences = sentences(&unquoted);
    let is_short = sentences.len() <= REQUEST_SENTENCES_MAX && words(reply).len() <= REQUEST_WORDS_MAX;
    if !is_short || is_addressed(reply) {
        return None;
    }
    let mut asks = false;
    for sentence in sentences {
        if asks_reader(sentence, instruction, &instructed) {
            if known.iter().any(|text| stands_in(text, sentence)) {
                return None;
            }
            asks = true;
        } else if !is_no_result(&words(sentence)) {
            return None;
        }
    }
    asks.then(|| reply.to_owned())
}

/// Whether a word is in a list of words.
fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|one| one == word)
}

fn has_any(said: &[String], list: &str) -> bool {
    said.iter().any(|word| is_in(list, word))
}

/// Whether a text begins like a letter, or with the name of who says it, as in "Q: …" or "Customer: …".
fn is_addressed(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default().trim_start_matches(['*', '#', '-', ' ']);
    let said = words(first);
    let begins = |list: &str| said.first().is_some_and(|word| is_in(list, word));
    let greets = begins("hi hello") && said.get(1).is_some_and(|word| word != "there");
    let words_before = |mark: char| first.split_once(mark).map_or(0, |(before, _)| words(before).len());
    begins("dear") || (greets && words_before(',') > 1) || matches!(words_before(':'), 1 | 2)
}

/// A text without what stands between double quotation marks.
fn without_quotes(text: &str) -> String {
    let mut quoted = false;
    let mut kept = String::new();
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '“' | '„' | '«' => quoted = true,
            '”' | '»' => quoted = false,
            _ if !quoted => kept.push(c),
            _ => {}
        }
    }
    kept
}

/// Whether words speak of the worker itself, say what is missing, or only lead to what comes next.
fn is_no_result(said: &[String]) -> bool {
    let is_missing = has_any(said, "not no without isn wasn more") && has_any(said, GIVEN);
    has_any(said, "i me")
        || has_any(said, LACKING)
        || is_missing
        || said.iter().all(|word| is_in(OPENERS, word))
}

fn asks_reader(sentence: &str, instruction: &str, instructed: &[String]) -> bool {
    let said = words(sentence);
    let composed = has_any(instructed, COMPOSED);
    let shares = |rest: &[String]| share_a_word(&content_words(&rest.join(" ")), &content_words(instruction));
    let Some((before, verb, object)) = request(&said) else {
        let is_question = sentence.ends_with('?');
        return is_question
            && (means_reader(&said) || (!composed && is_about_reader(&said) && shares(&said)));
    };
    let leads = is_no_result(before) || (is_purpose(before, instructed) && !composed) || means_worker(before);
    if !leads || has_any(object, "us our") {
        return false;
    }
    if has_any(object, "me i") || means_reader(&said) {
        return true;
    }
    if has_deadline(object) || is_shared_out(object) {
        return false;
    }
    let informs = is_in(INFORMING, verb);
    match object.first() {
        None => matches!(verb, "clarify" | "specify" | "elaborate" | "explain") && !composed,
        Some(first) if !is_in(DETERMINERS, first) => false,
        _ if composed => informs && has_any(&object[..object.len().min(6)], MATERIAL),
        _ => informs || shares(&said),
    }
}

/// A request in a sentence: what stands before it, its verb, and what is asked for.
fn request(said: &[String]) -> Option<(&[String], &str, &[String])> {
    const POLITE: &str = "please kindly also just";
    let is = |at: usize, list: &str| said.get(at).is_some_and(|word| is_in(list, word));
    for start in 0..said.len() {
        let mut at = match said[start].as_str() {
            "please" | "kindly" => start + 1,
            "could" | "can" | "would" | "will" if is(start + 1, "you") => start + 2,
            _ => continue,
        };
        while is(at, POLITE) {
            at += 1;
        }
        if is(at, "let") && is(at + 1, "me us") && is(at + 2, "know") {
            return Some((&said[..start], "tell", &said[at + 1..]));
        }
        if is(at, INFORMING) || is(at, OTHER_VERBS) {
            return Some((&said[..start], &said[at], &said[at + 1..]));
        }
    }
    None
}

/// Whether a sentence asks what the reader means or wants.
fn means_reader(said: &[String]) -> bool {
    said.windows(2).any(|two| {
        two[0] == "you" && matches!(two[1].as_str(), "mean" | "meant" | "want" | "refer" | "referring")
    }) || said.windows(3).any(|three| three[0] == "you" && three[1] == "would" && three[2] == "like")
        || said.windows(3).any(|three| three[0] == "would" && three[1] == "you" && three[2] == "like")
        || said.windows(2).any(|two| matches!(two[0].as_str(), "should" | "shall") && two[1] == "i")
}

/// Whether words say that the worker goes on when it has what it asks for.
fn means_worker(before: &[String]) -> bool {
    const WORK: &str = "answer help assist complete continue proceed begin start task";
    before.first().is_some_and(|first| matches!(first.as_str(), "to" | "in" | "before" | "for"))
        && has_any(before, WORK)
}

/// Whether words name the task as the purpose of what follows, as in "To sum up the report".
fn is_purpose(before: &[String], instructed: &[String]) -> bool {
    let [first, verb, ..] = before else { return false };
    first == "to" && instructed.first() == Some(verb)
}

fn is_about_reader(said: &[String]) -> bool {
    const ASKING: &str = "which what who where when how do does is are in for";
    said.first().is_some_and(|first| is_in(ASKING, first)) && has_any(said, "you your")
}

/// Whether words say until when, as in "by Friday".
fn has_deadline(said: &[String]) -> bool {
    let is_time = |word: &str| is_in(TIMES, word) || word.starts_with(|c: char| c.is_ascii_digit());
    let until = |word: &str| matches!(word, "by" | "before" | "until" | "till" | "than" | "on" | "at");
    (1..said.len()).any(|at| {
        let after_the = said[at] == "the" && said.get(at + 1).is_some_and(|word| is_time(word));
        until(&said[at - 1]) && (is_time(&said[at]) || after_the)
    }) || said.first().is_some_and(|first| matches!(first.as_str(), "by" | "before"))
}

/// Whether others are to get it, as in "share this with your friends".
fn is_shared_out(said: &[String]) -> bool {
    has_any(said, "with friend friends everyone everybody others")
}

#[cfg(test)]
mod tests;
