//! The follow strategy: one file names something that stands in another, and so on to the answer, as from a request to
//! its host, its team, and the team's phone number. Rules find the ways through the files. Where there are several, the
//! planner chooses one, twice and in different order, and both choices must agree. Then it words the answer from the
//! lines of that way alone.

mod evidence;
#[cfg(test)]
mod tests;

use bandmaster_tools::links::{Chain, Trail, follow};
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

const CHOICE_TOKENS_MAX: u32 = 120;
const ANSWER_TOKENS_MAX: u32 = 240;
/// Most choices. Two are made at once, and two more if they differ.
const CHOICES_MAX: usize = 4;

pub(super) struct Follow;

impl Strategy for Follow {
    fn name(&self) -> StrategyName {
        StrategyName::Follow
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let Some(trail) = trail(goal) else { return Move::refuse(NEEDS) };
        let choices = choices(state);
        if let Some(answer) = state.plan_tasks().find(|task| task.task.job == Job::Answer) {
            return match answer.has_ended() {
                true => Move::Answer(ended(goal, &trail, &choices, answer)),
                false => Move::Wait,
            };
        }
        if choices.iter().any(|choice| !choice.has_ended()) {
            return Move::Wait;
        }
        let made = choices.len();
        let is_open = trail.chains.len() > 1 && !chosen(&trail, &choices).is_agreed;
        if state.is_stopped() {
            Move::Answer(Ended::default())
        } else if is_open && made < CHOICES_MAX {
            Move::Add { tasks: vec![choice(goal, made), choice(goal, made + 1)], proposed: None }
        } else {
            Move::add(answer(goal, &choices))
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        // The goal's files are the same all the time, so a task of this strategy has a trail.
        let Some(trail) = trail(goal) else { return Prompt::default() };
        let prompt = match &task.job {
            Job::Answer => {
                let chain = &trail.chains[chosen(&trail, &choices(state)).chain];
                let way = evidence::way(goal, chain);
                prompts::FOLLOW_ANSWER
                    .prompt(&[("way", &way), ("goal", &goal.text)])
                    .with_schema(answer_schema())
            }
            _ => {
                let (prose, ways) =
                    (evidence::prose(goal, &trail), evidence::ways(goal, &order(&trail, task)));
                let asked = [("prose", prose.as_str()), ("ways", &ways), ("goal", &goal.text)];
                prompts::FOLLOW_CHOOSE.prompt(&asked).with_schema(choice_schema(trail.chains.len()))
            }
        };
        prompt.after(&goal.conversation)
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        let Some(trail) = trail(goal) else { return Verdict::reject(NEEDS) };
        let checked = check_whole(reply).and_then(|json| match &task.job {
            Job::Answer => {
                let answer = check_text(&read::<Answered>(&json)?.answer)?;
                let chain = &trail.chains[chosen(&trail, &choices(state)).chain];
                evidence::fault(goal, chain, &answer).map_or(Ok(answer), Err)
            }
            _ => {
                let way = read::<Choice>(&json)?.way;
                let at = evidence::letters(trail.chains.len()).iter().position(|letter| *letter == way);
                let shown = order(&trail, task);
                let chain = at.and_then(|at| trail.chains.iter().position(|chain| chain == shown[at]));
                chain.map(|chain| chain.to_string()).ok_or_else(|| format!("there is no way {way}"))
            }
        });
        checked.map_or_else(Verdict::reject, Verdict::Accept)
    }
}

const NEEDS: &str = "the strategy follow needs files that lead from one to another: lists or tables of which one names \
                     what stands in the next";

#[derive(Deserialize)]
struct Choice {
    way: String,
}

#[derive(Deserialize)]
struct Answered {
    answer: String,
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| format!("not the JSON that was asked for: {error}"))
}

fn choice_schema(ways: usize) -> Value {
    json!({
        "type": "object",
        "properties": {"because": {"type": "string"}, "way": {"enum": evidence::letters(ways)}},
        "required": ["because", "way"],
        "additionalProperties": false,
    })
}

fn answer_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"answer": {"type": "string", "minLength": 1}},
        "required": ["answer"],
        "additionalProperties": false,
    })
}

fn trail(goal: &Goal) -> Option<Trail> {
    let inputs = goal.inputs.iter();
    let files: Vec<(&str, &str)> = inputs.map(|input| (input.name.as_str(), input.text.as_str())).collect();
    follow(&goal.text, &files)
}

/// The ways in the order in which a choice shows them. A model may prefer what stands first, so that every second choice
/// has them the other way round.
fn order<'a>(trail: &'a Trail, task: &Task) -> Vec<&'a Chain> {
    let mut ways: Vec<&Chain> = trail.chains.iter().collect();
    if matches!(task.job, Job::Ballot { number } if number % 2 == 1) {
        ways.reverse();
    }
    ways
}

fn choice(goal: &Goal, number: usize) -> Task {
    Task {
        id: format!("t{}", number + 1),
        job: Job::Ballot { number: number as u32 },
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: format!("choose the way that the question is about: {}", goal.text),
        tokens_max: CHOICE_TOKENS_MAX,
        draw: if number < 2 { Draw::MostLikely } else { Draw::Varied(number as u64) },
        ..Task::default()
    }
}

fn answer(goal: &Goal, choices: &[&TaskState]) -> Task {
    Task {
        id: format!("t{}", choices.len() + 1),
        job: Job::Answer,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 3],
        instruction: goal.text.clone(),
        needs: choices.iter().map(|choice| choice.id.clone()).collect(),
        with_gaps: true,
        tokens_max: ANSWER_TOKENS_MAX,
        ..Task::default()
    }
}

fn choices(state: &RunState) -> Vec<&TaskState> {
    state.plan_tasks().filter(|task| matches!(task.task.job, Job::Ballot { .. })).collect()
}

struct Chosen {
    /// Index of the way.
    chain: usize,
    /// Whether the first two choices agree on it. A small model may choose what stands first each time, so choices with
    /// the same order agree on nothing.
    is_agreed: bool,
}

/// The way that most choices agree on, and the first of those. Without a choice it is the first way.
fn chosen(trail: &Trail, choices: &[&TaskState]) -> Chosen {
    let made: Vec<usize> = choices.iter().filter_map(|choice| choice.accepted()?.parse().ok()).collect();
    let votes = |chain: usize| made.iter().filter(|other| **other == chain).count();
    let most = made.iter().map(|chain| votes(*chain)).max().unwrap_or(0);
    let first = made.iter().find(|chain| votes(**chain) == most && **chain < trail.chains.len());
    let is_agreed = matches!(made[..], [first, second] if first == second);
    Chosen { chain: first.copied().unwrap_or(0), is_agreed }
}

fn ended(goal: &Goal, trail: &Trail, choices: &[&TaskState], answer: &TaskState) -> Ended {
    let mut ended = Ended::default();
    let Some(text) = answer.accepted() else {
        ended.error.clone_from(&answer.error);
        return ended;
    };
    let (chosen, ways) = (chosen(trail, choices), trail.chains.len());
    if ways > 1 && !chosen.is_agreed {
        ended.unchecked.push(format!("which of the {ways} ways through the files is meant"));
    }
    ended.answer =
        format!("{}\n\nSources: {}.", text.trim(), evidence::places(goal, &trail.chains[chosen.chain]));
    if answer.cut {
        ended.missing.push("the end of the answer, which was cut off at its limit".to_owned());
        ended.failed_tasks = 1;
    }
    ended
}
