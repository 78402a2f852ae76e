//! The vote strategy: the planner answers the goal several times independently, and the most frequent answer wins.

use bandmaster_tools::calculator::Decimal;

use crate::band::Reply;
use crate::checks::{check_whole, words};
use crate::goal::{Goal, PLANNER};
use crate::outcome::Status;
use crate::plan::{Draw, Job, Task};
use crate::prompts;
use crate::request::StrategyName;
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

/// Number of ballots. Odd, so that two answers cannot tie.
const BALLOTS: usize = 5;
/// From so many ballots on, their agreement counts as a check of the answer.
const CHECKED_VOTES: usize = 4;
const BALLOT_TOKENS_MAX: u32 = 512;
/// Comes before the answer in a ballot. Compared in lower case.
const MARK: &str = "answer:";

pub(super) struct Vote;

impl Strategy for Vote {
    fn name(&self) -> StrategyName {
        StrategyName::Vote
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let ballots: Vec<&TaskState> = state.plan_tasks().collect();
        if ballots.is_empty() {
            return Move::Add {
                tasks: (0..BALLOTS).map(|number| ballot(goal, number)).collect(),
                proposed: None,
            };
        }
        if ballots.iter().all(|ballot| ballot.has_ended()) {
            Move::Answer(count(&ballots))
        } else {
            Move::Wait
        }
    }

    fn prompt(&self, _: &Task, goal: &Goal, _: &RunState) -> Prompt {
        let inputs = goal.inputs_under("Attached text");
        prompts::VOTE_BALLOT.prompt(&[("inputs", &inputs), ("goal", &goal.text)]).after(&goal.conversation)
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        match check_whole(reply) {
            Ok(text) if answer_of(&text).is_some() => Verdict::Accept(text),
            Ok(_) => Verdict::reject("it gives no answer"),
            Err(why) => Verdict::reject(why),
        }
    }
}

fn ballot(goal: &Goal, number: usize) -> Task {
    Task {
        id: format!("t{}", number + 1),
        job: Job::Ballot { number: number as u32 },
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: goal.text.clone(),
        tokens_max: BALLOT_TOKENS_MAX,
        // The first ballot is what the planner would answer without a vote.
        draw: if number == 0 { Draw::MostLikely } else { Draw::Varied(number as u64) },
        ..Task::default()
    }
}

fn count(ballots: &[&TaskState]) -> Ended {
    let mut ended = Ended::default();
    if let Some(elected) = elect(ballots) {
        if elected.votes < CHECKED_VOTES {
            ended.unchecked.push(format!(
                "the answer, on which {} of {BALLOTS} ballots agree; {CHECKED_VOTES} would be enough",
                elected.votes
            ));
        }
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
        let none = ballots.iter().filter(|ballot| ballot.accepted().is_none());
        let not_tried = |status| matches!(status, Status::Cancelled | Status::Skipped);
        none.filter(|ballot| not_tried(ballot.status) == stopped).collect::<Vec<_>>()
    };
    let (failed, not_cast) = (without(false), without(true));
    if 2 * (failed.len() + not_cast.len()) >= BALLOTS {
        ended.failed_tasks += failed.len() + not_cast.len();
        if !failed.is_empty() {
            ended.missing.push(format!("{} of {BALLOTS} ballots failed", failed.len()));
        }
        if let Some(why) = not_cast.first().and_then(|ballot| ballot.error.as_deref()) {
            ended.missing.push(format!("{} of {BALLOTS} ballots were not started: {why}", not_cast.len()));
        }
    }
    ended
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
fn elect(ballots: &[&TaskState]) -> Option<Elected> {
    let cast: Vec<&str> = ballots.iter().filter_map(|ballot| ballot.accepted()).collect();
    let opinions: Vec<_> = cast.iter().map(|text| answer_of(text).map(opinion)).collect();
    let votes = |at: &usize| opinions.iter().filter(|other| **other == opinions[*at]).count();
    let most = (0..cast.len()).map(|at| votes(&at)).max()?;
    let ballot = (0..cast.len()).find(|at| votes(at) == most).map(|at| cast[at].to_owned())?;
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
