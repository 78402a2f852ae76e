//! Words the answer by rule: what the documents say differently, where, and in which words.

use super::join::{Fact, Joined};
use super::judge::{FACTS_MAX, Judgement, judgement};
use super::read::readings;
use super::statement::{Statement, stem};
use crate::goal::Goal;
use crate::missing::with_missing;
use crate::plan::Slice;
use crate::state::RunState;
use crate::strategy::Ended;

/// Most values that the answer names because they stand in one text only.
const ALONE_MAX: usize = 8;

pub(super) fn ended(goal: &Goal, state: &RunState, statements: &[Statement], joined: &Joined) -> Ended {
    let judged: Vec<(&Fact, Judgement)> =
        joined.facts.iter().map(|fact| (fact, judgement(goal, state, statements, fact))).collect();
    let of =
        |wanted: Judgement| judged.iter().filter(move |(_, judged)| *judged == wanted).map(|(fact, _)| *fact);
    let contradictions: Vec<&Fact> = of(Judgement::Same).collect();
    let missing = unread(state);
    let doubtful: Vec<String> =
        of(Judgement::Undecided).take(FACTS_MAX).map(|fact| both(goal, statements, fact)).collect();
    let mut answer = opening(goal, statements.len(), contradictions.len(), !doubtful.is_empty());
    for fact in &contradictions {
        answer.push_str(&format!("\n\n{}", told(goal, statements, fact)));
    }
    let rest = match contradictions.is_empty() {
        true => format!("; {} of them stand in more than one text, and agree.", joined.agreeing),
        false => format!(
            "\n\n{} statements were compared; {} others stand in more than one text, and agree.",
            statements.len(),
            joined.agreeing
        ),
    };
    answer.push_str(&rest);
    if !doubtful.is_empty() {
        answer.push_str("\n\nIt is not clear whether these speak of the same thing:");
    }
    for both in &doubtful {
        answer.push_str(&format!("\n- {both}"));
    }
    if !joined.alone.is_empty() {
        answer.push_str(
            "\n\nThese values stand in one text only. If two of them are about the same thing, they differ:",
        );
    }
    for one in joined.alone.iter().take(ALONE_MAX) {
        answer.push_str(&format!("\n- {}", place(goal, &statements[*one])));
    }
    let unclear = doubtful.iter().map(|both| format!("whether these speak of the same thing: {both}"));
    let unchecked = unclear.chain(told_alone(goal, statements, &joined.alone)).collect();
    let failed_tasks = missing.len();
    Ended { answer: with_missing(answer, &missing), missing, unchecked, failed_tasks, ..Ended::default() }
}

fn opening(goal: &Goal, statements: usize, contradictions: usize, may_be: bool) -> String {
    let of = format!("{statements} statements of {} texts", goal.inputs.len());
    match contradictions {
        0 if may_be => {
            format!(
                "The texts may contradict each other: among {of}, some differ that may speak of the same thing"
            )
        }
        0 => format!("No contradiction was found among {of}"),
        1 => "The texts contradict each other in one point:".to_owned(),
        more => format!("The texts contradict each other in {more} points:"),
    }
}

/// Values that stand in one text only and may contradict others in words that no rule joins.
fn told_alone(goal: &Goal, statements: &[Statement], alone: &[usize]) -> Option<String> {
    const SHOWN: usize = 3;
    let places = alone.iter().take(SHOWN).map(|one| place(goal, &statements[*one])).collect::<Vec<_>>();
    let more = alone.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let told = format!(
        "whether values that stand in one text only contradict each other in other words: {}{more}",
        places.join(", ")
    );
    (!alone.is_empty()).then_some(told)
}

/// A contradiction: what it is about, and each value with its places.
fn told(goal: &Goal, statements: &[Statement], fact: &Fact) -> String {
    let mut lines = vec![format!("{}:", topic(statements, fact))];
    let votes = |side: &Vec<usize>| inputs(statements, side).len();
    let mut sides: Vec<&Vec<usize>> = fact.sides.iter().collect();
    sides.sort_by_key(|side| std::cmp::Reverse(votes(side)));
    for side in &sides {
        let mut seen = Vec::new();
        let places = side.iter().filter(|one| {
            let is_new = !seen.contains(&statements[**one].input);
            seen.push(statements[**one].input);
            is_new
        });
        lines.extend(places.map(|one| format!("- {}", place(goal, &statements[*one]))));
    }
    if let [most, odd] = sides[..]
        && votes(most) > 1
        && votes(odd) == 1
    {
        let name = &goal.inputs[statements[odd[0]].input].name;
        lines.push(format!("{name} stands alone with its value."));
    }
    lines.join("\n")
}

fn inputs(statements: &[Statement], side: &[usize]) -> Vec<usize> {
    let mut inputs: Vec<usize> = side.iter().map(|one| statements[*one].input).collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

/// What both statements call the value, or else what one of them does.
fn topic(statements: &[Statement], fact: &Fact) -> String {
    let (a, b) = (&statements[fact.pair.0], &statements[fact.pair.1]);
    let all = |one: &Statement| [&one.label[..], &one.clause[..]].concat();
    let shared: Vec<String> =
        all(a).into_iter().filter(|word| all(b).iter().any(|other| stem(other) == stem(word))).collect();
    let mut words: Vec<String> = Vec::new();
    for word in if shared.is_empty() { &a.label } else { &shared } {
        if !words.iter().any(|other| stem(other) == stem(word)) {
            words.push(word.clone());
        }
    }
    words.truncate(4);
    let topic = words.join(" ");
    let mut letters = topic.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => "A value".to_owned(),
    }
}

/// A value with its file, its line and the words that it stands in.
fn place(goal: &Goal, statement: &Statement) -> String {
    let input = &goal.inputs[statement.input];
    let shown =
        |range: std::ops::Range<usize>| input.text[range].split_whitespace().collect::<Vec<_>>().join(" ");
    let line = input.text[..statement.bytes.start].matches('\n').count() + 1;
    format!(
        "{}:{line} says {}: \"{}\"",
        input.name,
        shown(statement.bytes.clone()),
        shown(statement.quote.clone())
    )
}

fn both(goal: &Goal, statements: &[Statement], fact: &Fact) -> String {
    format!("{}, and {}", place(goal, &statements[fact.pair.0]), place(goal, &statements[fact.pair.1]))
}

/// The texts that no model has read, or not whole.
fn unread(state: &RunState) -> Vec<String> {
    let has_parts = |one: &Slice| {
        readings(state).any(|other| other.task.input.as_ref().is_some_and(|other| other.is_part_of(one)))
    };
    let failed = readings(state).filter(|task| task.accepted().is_none());
    let slices =
        failed.filter_map(|task| Some((task.task.input.as_ref()?, task))).filter(|(one, _)| !has_parts(one));
    let mut missing: Vec<String> = slices
        .map(|(slice, task)| {
            let why = task.error.as_deref().unwrap_or("it was not done");
            format!("{} was compared by its numbers, dates and names alone: {why}", slice.name)
        })
        .collect();
    missing.dedup();
    missing
}
