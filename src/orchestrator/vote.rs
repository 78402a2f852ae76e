//! The vote strategy: the planner answers the goal several times independently, and the most frequent answer wins.

use std::sync::Arc;

use bandmaster_tools::calculator::Decimal;

use super::attempt::Context;
use super::band::Reply;
use super::checks::{check_whole, words};
use super::dispatch::{Build, Done, Draw, ModelWork, Results, Verdict, Work, dispatch};
use super::event::EventKind;
use super::outcome::Ended;
use super::outcome::Status;
use super::plan::{Plan, Shape, Task};
use super::registry::{PLANNER, Registry};
use super::request::RunRequest;

/// Number of ballots. Odd, so that two answers cannot tie.
const BALLOTS: usize = 5;
const BALLOT_TOKENS_MAX: u32 = 512;
/// Comes before the answer in a ballot. Compared in lower case.
const MARK: &str = "answer:";

pub async fn run(context: &Context, registry: &Registry, request: &RunRequest) -> Ended {
    let (plan, builds) = lay_out(registry, request);
    context.send(EventKind::PlanAccepted { plan: plan.clone() });
    let done = dispatch(context, &plan, builds).await;
    let mut ended = Ended::default();
    if let Some(elected) = elect(&done) {
        if 2 * elected.votes <= elected.cast {
            ended.failed_tasks = 1;
            ended.missing.push(format!(
                "no answer has a majority: this one was given {} times of {}",
                elected.votes, elected.cast
            ));
        }
        ended.answer = elected.ballot;
    }
    // Ballots that failed don't matter as long as most were cast.
    let without = |stopped: bool| {
        let none = done.iter().filter(|one| one.accepted.is_none());
        none.filter(|one| (one.report.status == Status::Cancelled) == stopped).collect::<Vec<_>>()
    };
    let (failed, not_cast) = (without(false), without(true));
    if 2 * (failed.len() + not_cast.len()) >= BALLOTS {
        ended.failed_tasks += failed.len() + not_cast.len();
        if !failed.is_empty() {
            ended.missing.push(format!("{} of {BALLOTS} ballots failed", failed.len()));
        }
        if let Some(why) = not_cast.first().and_then(|one| one.report.error.as_deref()) {
            ended.missing.push(format!("{} of {BALLOTS} ballots were not started: {why}", not_cast.len()));
        }
    }
    ended.tasks = done.into_iter().map(|one| one.report).collect();
    ended
}

fn lay_out(registry: &Registry, request: &RunRequest) -> (Plan, Vec<Build>) {
    let mut tasks = Vec::new();
    let mut builds: Vec<Build> = Vec::new();
    for ballot in 0..BALLOTS {
        tasks.push(Task {
            id: format!("t{}", ballot + 1),
            worker: PLANNER.to_owned(),
            instruction: request.goal.clone(),
            input: None,
            needs: Vec::new(),
            output: Shape::Text,
            tokens_max: BALLOT_TOKENS_MAX,
        });
        let work = ModelWork {
            messages: request.messages(prompt(request)),
            schema: None,
            ladder: vec![registry.planner(), registry.planner()],
            check: Arc::new(check),
            // The first ballot is what the planner would answer without a vote.
            draw: if ballot == 0 { Draw::MostLikely } else { Draw::Varied(ballot as u64) },
            streams_answer: false,
        };
        builds.push(Box::new(move |_: &Results| Work::Model(work)));
    }
    (Plan::new(tasks).expect("ballots need nothing of each other"), builds)
}

fn prompt(request: &RunRequest) -> String {
    let inputs: String = request
        .inputs
        .iter()
        .map(|input| format!("Attached text ({}):\n{}\n\n", input.name, input.text.trim()))
        .collect();
    format!(
        "{inputs}{}\n\nWork it out step by step, briefly. End with a line \"Answer:\" and the answer alone.",
        request.goal
    )
}

fn check(reply: &Reply) -> Verdict {
    match check_whole(reply) {
        Ok(text) if answer_of(&text).is_some() => Verdict::Accept(text),
        Ok(_) => Verdict::Reject("it gives no answer".to_owned()),
        Err(why) => Verdict::Reject(why),
    }
}

/// The text after the last "Answer:", or else the last line that contains a digit.
fn answer_of(text: &str) -> Option<&str> {
    let marked = text.to_ascii_lowercase().rfind(MARK).map(|at| &text[at + MARK.len()..]);
    let answer = match marked {
        Some(answer) => answer,
        None => {
            let line = text.lines().rev().find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
            // In "38 × 7 = 266 boxes" the result comes last.
            line.rsplit('=').next().unwrap_or(line)
        }
    };
    let answer = answer.trim().trim_matches(['*', ' ', '$']);
    (!answer.is_empty()).then_some(answer)
}

/// What two ballots must share to agree: the only number in the first line of the answer, or else that line's words.
fn opinion(answer: &str) -> (Option<Decimal>, Vec<String>) {
    let first_line = answer.lines().next().unwrap_or(answer);
    let marks = |c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','));
    let runs = first_line.split(marks).map(|run| run.trim_matches(['.', ',']).replace(',', ""));
    let numbers: Vec<Decimal> = runs.filter_map(|run| run.parse().ok()).collect();
    match numbers[..] {
        [number] => (Some(number), Vec::new()),
        _ => (None, words(first_line)),
    }
}

struct Elected {
    ballot: String,
    votes: usize,
    cast: usize,
}

/// The first ballot among those with the most frequent answer.
fn elect(done: &[Done]) -> Option<Elected> {
    let cast: Vec<&String> = done.iter().filter_map(|one| one.accepted.as_ref()).collect();
    let opinions: Vec<_> = cast.iter().map(|text| answer_of(text).map(opinion)).collect();
    let votes = |at: &usize| opinions.iter().filter(|other| **other == opinions[*at]).count();
    let most = (0..cast.len()).map(|at| votes(&at)).max()?;
    let ballot = (0..cast.len()).find(|at| votes(at) == most).map(|at| cast[at].clone())?;
    Some(Elected { ballot, votes: most, cast: cast.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_of_one_mind_are_recognised_however_they_are_worded() {
        let same = |a: &str, b: &str| opinion(answer_of(a).unwrap()) == opinion(answer_of(b).unwrap());
        assert!(same("6 * 55 = 330.\nAnswer: 625", "so\n**Answer:** 625 boxes"));
        assert!(same("Answer: 1,250.00", "Answer: $1250"));
        assert!(same("Answer: The red one.", "answer: the red one"));
        assert!(!same("Answer: 625", "Answer: 265"));
        assert!(same("So the sum is 266 + 230 = 496 boxes", "Answer: 496"));
        assert_eq!(answer_of("no mark"), None);
        assert_eq!(answer_of("Answer:  "), None);
    }
}
