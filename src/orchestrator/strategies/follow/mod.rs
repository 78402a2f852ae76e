//! The follow strategy: one file names something that stands in another, and so on to the answer, as from a request to
//! its host, its team, and the team's phone number. Rules find the lines. The planner picks among them and words the
//! answer, twice and from lines in different order, and both answers must come from the same lines.

mod evidence;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::band::Reply;
use crate::checks::{check_text, check_whole};
use crate::goal::{Goal, PLANNER};
use crate::plan::{Draw, Job, Task};
use crate::prompts;
use crate::request::StrategyName;
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

use evidence::{Evidence, Picked};

/// Most tokens of an answer and of what it is based on.
const ANSWER_TOKENS_MAX: u32 = 320;
/// Draws if the first two pick different lines.
const DRAWS_MAX: usize = 3;

pub(super) struct Follow;

#[derive(Deserialize)]
struct Answered {
    answer: String,
}

impl Strategy for Follow {
    fn name(&self) -> StrategyName {
        StrategyName::Follow
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let Some(evidence) = Evidence::of(goal) else {
            return Move::refuse(
                "the strategy follow needs files that lead from one to another: lists or tables of which one names what \
                 stands in the next",
            );
        };
        let draws: Vec<&TaskState> = state.plan_tasks().collect();
        if draws.iter().any(|draw| !draw.has_ended()) {
            return Move::Wait;
        }
        if draws.is_empty() {
            return Move::Add { tasks: vec![draw(goal, 0), draw(goal, 1)], proposed: None };
        }
        let answers = answers(goal, &evidence, &draws);
        if agreed(&answers).is_none() && draws.len() < DRAWS_MAX && !state.is_stopped() {
            return Move::add(draw(goal, draws.len()));
        }
        Move::Answer(ended(goal, &evidence, &answers, &draws))
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        let evidence = Evidence::of(goal).unwrap_or_default();
        let is_reversed = matches!(task.draw, Draw::Varied(number) if number % 2 == 1);
        let (prose, lines) = (evidence.prose(goal), evidence.lines(goal, is_reversed));
        prompts::FOLLOW_ANSWER
            .prompt(&[("prose", &prose), ("lines", &lines), ("goal", &goal.text)])
            .with_schema(schema())
            .after(&goal.conversation)
    }

    fn check(&self, _: &Task, goal: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        let evidence = Evidence::of(goal).unwrap_or_default();
        match check_whole(reply).and_then(|json| answer_in(&json)).and_then(|text| check_text(&text)) {
            Ok(answer) => match evidence.fault(goal, &answer) {
                None => Verdict::Accept(answer),
                Some(why) => Verdict::reject(why),
            },
            Err(why) => Verdict::reject(why),
        }
    }
}

fn draw(goal: &Goal, number: usize) -> Task {
    Task {
        id: format!("t{}", number + 1),
        job: Job::Ballot { number: number as u32 },
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 3],
        instruction: goal.text.clone(),
        tokens_max: ANSWER_TOKENS_MAX,
        draw: if number == 0 { Draw::MostLikely } else { Draw::Varied(number as u64) },
        ..Task::default()
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"because": {"type": "string"}, "answer": {"type": "string", "minLength": 1}},
        "required": ["because", "answer"],
        "additionalProperties": false,
    })
}

fn answer_in(json: &str) -> Result<String, String> {
    let answered = serde_json::from_str::<Answered>(json);
    answered.map(|answered| answered.answer).map_err(|e| format!("not the JSON that was asked for: {e}"))
}

/// The answers that were accepted, each with the lines that it comes from.
fn answers<'a>(goal: &Goal, evidence: &Evidence, draws: &[&'a TaskState]) -> Vec<(&'a str, Picked)> {
    let accepted = draws.iter().filter_map(|draw| draw.accepted());
    accepted.map(|answer| (answer, evidence.picked(goal, answer))).collect()
}

/// The first answer that another one agrees with.
fn agreed<'a>(answers: &'a [(&str, Picked)]) -> Option<&'a (&'a str, Picked)> {
    let others = |at: usize| answers.iter().enumerate().filter(move |(other, _)| *other != at);
    let agrees = |at: usize| others(at).any(|(_, (_, picked))| picked.agrees(&answers[at].1));
    (0..answers.len()).find(|at| agrees(*at)).map(|at| &answers[at])
}

fn ended(goal: &Goal, evidence: &Evidence, answers: &[(&str, Picked)], draws: &[&TaskState]) -> Ended {
    let mut ended = Ended::default();
    let agreed = agreed(answers);
    let Some((answer, picked)) = agreed.or_else(|| answers.first()) else {
        ended.failed_tasks = draws.len();
        ended.error = draws.iter().find_map(|draw| draw.error.clone());
        return ended;
    };
    if agreed.is_none() {
        ended.unchecked.push("the answer, which no other draw agrees with".to_owned());
    }
    ended.answer = format!("{}\n\nSources: {}.", answer.trim(), evidence.places(goal, picked).join(", "));
    ended
}
