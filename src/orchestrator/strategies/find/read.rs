//! Reads whole parts together for a sentence that answers the question, where the nearest sentences did not. What is
//! quoted is then judged as other sentences are.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::place::{self, Place};
use super::question;
use crate::band::{Finish, Reply};
use crate::event::Found;
use crate::goal::Goal;
use crate::plan::{Job, Passage, Task};
use crate::prompts;
use crate::state::RunState;
use crate::strategy::{Prompt, Verdict};

/// Most parts of long inputs that are read whole.
const PARTS: usize = 4;
/// Inputs of no more parts are read to their end before it is said that they don't say something.
const PARTS_ALL: usize = 12;
/// Tokens of the reader's context kept free for the question, the chat template and the reply.
const FRAME_TOKENS: usize = 700;
const READING_TOKENS_MAX: u32 = 200;

/// The sentences that readings have quoted.
pub(super) fn quoted(state: &RunState) -> Vec<Place> {
    let quoted = readings(state).filter_map(|(_, said)| serde_json::from_str::<Option<Place>>(said?).ok()?);
    quoted.collect()
}

/// The passages of each reading, and its result if it has one.
fn readings(state: &RunState) -> impl Iterator<Item = (&[Passage], Option<&str>)> {
    state.plan_tasks().filter_map(|task| match &task.task.job {
        Job::Find { passages } => Some((passages.as_slice(), task.accepted())),
        _ => None,
    })
}

/// Whether the inputs are too long to be read to their end.
pub(super) fn is_long(state: &RunState) -> bool {
    state.searches.first().is_some_and(|search| search.parts > PARTS_ALL)
}

/// The next reading, if there is something left to read.
pub(super) fn task(goal: &Goal, state: &RunState) -> Option<Task> {
    let tried: usize = readings(state).map(|(passages, _)| passages.len()).sum();
    let room = 2 * goal.band.planner.context_tokens.saturating_sub(FRAME_TOKENS);
    let (found, parts) =
        state.searches.first().map_or((&[][..], 0), |search| (search.found.as_slice(), search.parts));
    let most = if parts <= PARTS_ALL { PARTS_ALL } else { PARTS };
    let whole = |part: &Found| Passage { input: part.input, bytes: part.bytes.clone() };
    let passages = fitting(room, found.iter().take(most).skip(tried).map(whole));
    if passages.is_empty() {
        return None;
    }
    let number = state.plan_tasks().count() + 1;
    let task = Task::new(format!("t{number}"), Job::Find { passages }, super::ladder(goal));
    let instruction = "look for the answer in whole parts".to_owned();
    Some(Task { instruction, tokens_max: READING_TOKENS_MAX, ..task })
}

/// How many parts were read whole.
pub(super) fn read_whole(state: &RunState) -> usize {
    readings(state).filter(|(_, said)| said.is_some()).map(|(passages, _)| passages.len()).sum()
}

/// As many passages as fit, and one at least. A token has two bytes at least in nearly all texts.
fn fitting(room_bytes: usize, passages: impl Iterator<Item = Passage>) -> Vec<Passage> {
    let mut bytes = 0;
    let fits = |passage: &Passage| {
        let is_first = bytes == 0;
        bytes += passage.bytes.len();
        is_first || bytes <= room_bytes
    };
    passages.take_while(fits).collect()
}

pub(super) fn prompt(goal: &Goal, state: &RunState, passages: &[Passage]) -> Prompt {
    // The nearest stand last, next to the question.
    let shown = |passage: &Passage| Place::of(passage).text(goal).trim().to_owned();
    let shown: Vec<String> = passages.iter().rev().map(shown).collect();
    let question = question::searched(goal, state);
    let prompt = prompts::FIND_READ.prompt(&[("question", question), ("passages", &shown.join("\n\n"))]);
    prompt.with_schema(schema())
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"quote": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}},
        "required": ["quote"],
        "additionalProperties": false,
    })
}

#[derive(Serialize, Deserialize)]
struct Raw {
    quote: Option<String>,
}

/// Accepts a sentence that stands in the passages, as its place, or that there is none.
pub(super) fn check(goal: &Goal, state: &RunState, passages: &[Passage], reply: &Reply) -> Verdict {
    let raw = match serde_json::from_str::<Raw>(&reply.text) {
        _ if reply.finish == Finish::Length => return Verdict::reject("it was cut off at its limit"),
        Ok(raw) => raw,
        Err(error) => return Verdict::reject(format!("not the JSON that was asked for: {error}")),
    };
    let place = match raw.quote {
        None => None,
        Some(quote) => match place::of_quote(goal, &place::sentences_in(state, passages), &quote) {
            None => return Verdict::reject("the quote does not stand in the passages"),
            place => place,
        },
    };
    Verdict::Accept(serde_json::to_string(&place).unwrap_or_default())
}
