//! Puts the answer together by rule: the short answer, the sentence that it was taken from, and where that stands.

use super::judge::Judged;
use super::{judge, question, read};
use crate::checks::words;
use crate::goal::Goal;
use crate::missing::with_missing;
use crate::state::RunState;
use crate::strategy::Ended;

/// What is said before sentences that may answer.
const UNCERTAIN: &str = "It is not certain that the inputs say this.";

pub(super) fn ended(goal: &Goal, state: &RunState) -> Ended {
    let missing = missing(state);
    let failed_tasks = missing.len();
    let ended = match judge::told(state).as_slice() {
        [] => not_found(goal, state),
        found => told(goal, question::searched(goal, state), found),
    };
    Ended { answer: with_missing(ended.answer, &missing), missing, failed_tasks, ..ended }
}

/// A name of the question that the file of an answer does not have: "I want 1,450 euros" in somebody else's letter.
fn stranger(goal: &Goal, question: &str, found: &Judged) -> Option<String> {
    let text = words(&goal.inputs.get(found.place.input)?.text);
    let mut asked = question.split_whitespace().skip(1);
    let name = asked.find_map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let bare = bare.strip_suffix("'s").or_else(|| bare.strip_suffix("’s")).unwrap_or(bare);
        let is_name = bare.starts_with(char::is_uppercase) && bare.chars().count() > 2;
        (is_name && !words(bare).iter().all(|word| text.contains(word))).then(|| bare.to_owned())
    })?;
    Some(format!("whether this is about {name}, which {} does not name", goal.inputs[found.place.input].name))
}

fn told(goal: &Goal, question: &str, found: &[Judged]) -> Ended {
    let cited = |one: &Judged| format!("\"{}\" ({})", one.place.shown(goal), one.place.told(goal));
    let is_sure = found[0].is_sure();
    let lines = |with_answer: bool| {
        let line = |one: &Judged| match with_answer {
            true => format!("- {}: {}", one.answer, cited(one)),
            false => format!("- {}", cited(one)),
        };
        found.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let answer = &found[0].answer;
    let agree = found.iter().all(|one| words(&one.answer) == words(answer));
    let answer = match found {
        [only] if is_sure => format!("{answer}\n\n{}", cited(only)),
        _ if is_sure && agree => format!("{answer}\n\n{}", lines(false)),
        _ if is_sure => format!("Several sentences may answer this, the likeliest first:\n\n{}", lines(true)),
        [only] => {
            format!("Perhaps: {answer}\n\n{UNCERTAIN} This sentence comes nearest: {}", cited(only))
        }
        _ if agree => {
            format!("Perhaps: {answer}\n\n{UNCERTAIN} These sentences come nearest:\n\n{}", lines(false))
        }
        _ => format!("{UNCERTAIN} These sentences come nearest, the likeliest first:\n\n{}", lines(true)),
    };
    let unchecked = match found {
        [_] if !is_sure => Some("whether the quoted sentence answers exactly this question".to_owned()),
        _ if !is_sure => Some("which of the quoted sentences answers the question, if one does".to_owned()),
        several if !agree => Some(format!("which of the {} quoted sentences is meant", several.len())),
        [first, ..] => stranger(goal, question, first),
        [] => None,
    };
    let citations = found.iter().map(|one| one.place.citation(goal)).collect();
    Ended { answer, citations, unchecked: unchecked.into_iter().collect(), ..Ended::default() }
}

/// Says plainly that the inputs don't say, and how much of them was read.
fn not_found(goal: &Goal, state: &RunState) -> Ended {
    let all = state.searches.first().map_or(0, |search| search.parts);
    let (read, judged) = (read::read_whole(state), judge::count(state));
    let names: Vec<&str> = goal.inputs.iter().map(|input| input.name.as_str()).collect();
    let whose = match names.as_slice() {
        [only] => format!("{only} does not say."),
        [a, b] => format!("{a} and {b} do not say."),
        several => format!("The answer was not found: none of the {} texts says it.", several.len()),
    };
    let question = question::searched(goal, state);
    let how = match read >= all {
        true => format!("All {all} parts were read for: {question}"),
        false => format!(
            "Of {all} parts, the {read} nearest to the question were read whole, and the {judged} nearest sentences were \
             compared with it: {question}"
        ),
    };
    let probable = judge::probable(state);
    let probable_place = probable.as_ref().map(|one| one.place.clone());
    let told = probable.map(|one| format!("whether {} answers it", one.place.told(goal)));
    let mut unchecked: Vec<String> = told.into_iter().collect();
    let quoted = read::quoted(state).into_iter().next();
    let dropped = quoted.filter(|place| probable_place.as_ref() != Some(place));
    unchecked.extend(
        dropped.map(|place| format!("whether {} answers it, which a reading quotes", place.told(goal))),
    );
    let mut nearest = String::new();
    if read < all {
        unchecked.push(format!("whether the other {} parts say it", all - read));
        if let Some(place) = judge::nearest(state) {
            nearest =
                format!("\n\nThe nearest sentence is: \"{}\" ({})", place.shown(goal), place.told(goal));
        }
    }
    Ended { answer: format!("{whose}\n\n{how}{nearest}"), unchecked, ..Ended::default() }
}

/// What could not be read because a call failed, one clause for each call.
fn missing(state: &RunState) -> Vec<String> {
    let failed = state.plan_tasks().filter(|task| task.has_ended() && task.accepted().is_none());
    let told = |why: Option<&str>| format!("a passage could not be read: {}", why.unwrap_or("no result"));
    let mut missing: Vec<String> = failed.map(|task| told(task.error.as_deref())).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}
