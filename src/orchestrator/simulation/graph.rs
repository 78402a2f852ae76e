//! A strategy that exists only here: a graph of tasks that follows from a seed. It makes the moves that no
//! strategy of this crate makes: it drops tasks, it adds tasks to a plan, its workers ask questions, and a task may be
//! skipped because one that it needs has no result.

use super::random::{Random, hash};
use crate::band::{Reply, Skill};
use crate::checks::{check_text, words};
use crate::goal::{Goal, PLANNER};
use crate::outcome::Status;
use crate::plan::{Draw, Job, Task};
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

pub(super) struct Graph {
    pub seed: u64,
}

/// What a seed says about the graph.
struct Form {
    /// Tasks of the plan.
    first: usize,
    /// Tasks that are added when all of these have ended.
    second: usize,
    /// When this task has ended, those whose number is a multiple of `unneeded` are dropped.
    decides: Option<usize>,
    unneeded: usize,
}

impl Form {
    fn of(seed: u64) -> Self {
        let mut random = Random::new(hash(seed, &["form"], &[]));
        // More tasks than may run at a time.
        let first = if random.one_in(12) { 65 + random.below(60) } else { 1 + random.below(14) };
        let second = if random.one_in(3) { 1 + random.below(4) } else { 0 };
        let decides = random.one_in(3).then(|| random.below(first));
        Self { first, second, decides, unneeded: 2 + random.below(3) }
    }
}

/// Tasks of the plan that follows from a seed.
pub(super) fn tasks_of(seed: u64) -> usize {
    Form::of(seed).first
}

fn id(number: usize) -> String {
    format!("t{}", number + 1)
}

fn task(seed: u64, goal: &Goal, number: usize, form: &Form) -> Task {
    let mut random = Random::new(hash(seed, &["task"], &[number as u64]));
    let sparse = form.first > 64;
    let count = if sparse && !random.one_in(20) { 0 } else { random.below(4).min(number) };
    let mut needs: Vec<usize> = (0..count).map(|_| random.below(number)).collect();
    needs.sort_unstable();
    needs.dedup();
    let skill = random.pick(&[Skill::Find, Skill::Read, Skill::Write]);
    let worker = goal.band.assign(skill, number);
    let task = Task {
        id: id(number),
        instruction: format!("piece {number}"),
        needs: needs.into_iter().map(id).collect(),
        with_gaps: random.one_in(2),
        ..Task::default()
    };
    if random.one_in(8) {
        return Task { job: Job::Calculate, worker: goal.band.calculator().to_owned(), ..task };
    }
    let of_planner = random.one_in(5);
    let ladder = if of_planner { vec![PLANNER.to_owned(); 2] } else { goal.band.ladder(worker, skill) };
    Task {
        job: if of_planner {
            random.pick(&[&Job::Plan, &Job::Synthesis, &Job::Step]).clone()
        } else {
            Job::Step
        },
        worker: ladder[0].clone(),
        ladder,
        tokens_max: 20 + random.below(100) as u32,
        draw: if random.one_in(2) { Draw::MostLikely } else { Draw::Varied(number as u64) },
        ..task
    }
}

impl Strategy for Graph {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let form = Form::of(self.seed);
        let add = |from: usize, count: usize| {
            let tasks = (from..from + count).map(|at| task(self.seed, goal, at, &form)).collect();
            Move::Add { tasks, proposed: None }
        };
        if state.tasks.is_empty() {
            return add(0, form.first);
        }
        let open: Vec<&TaskState> = state.tasks.iter().filter(|task| !task.has_ended()).collect();
        if form.decides.is_some_and(|at| state.task(&id(at)).is_some_and(TaskState::has_ended)) {
            let unneeded = (0..form.first).step_by(form.unneeded).map(id);
            let unneeded: Vec<String> =
                unneeded.filter(|id| open.iter().any(|task| task.id == *id)).collect();
            if !unneeded.is_empty() {
                return Move::Drop { tasks: unneeded, why: "nobody needs it".to_owned() };
            }
        }
        if !open.is_empty() {
            return Move::Wait;
        }
        if form.second > 0 && state.task(&id(form.first)).is_none() && !state.is_stopped() {
            return add(form.first, form.second);
        }
        let failed = state.tasks.iter().filter(|task| task.status == Status::Failed);
        // Questions are asked in any order.
        let own = state.tasks.iter().filter(|task| !matches!(task.task.job, Job::Clarify { .. }));
        let told = own.filter_map(|task| Some(format!("{}: {}", task.id, task.accepted()?)));
        Move::Answer(Ended {
            answer: told.collect::<Vec<_>>().join("\n"),
            failed_tasks: failed.count(),
            ..Ended::default()
        })
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        let known = task.needs.iter().filter_map(|need| state.result(need));
        let known: String = known.map(|result| format!("{result}\n")).collect();
        Prompt::new(goal.messages(format!("{known}Do {}.", task.instruction)))
    }

    fn check(&self, task: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        let text = match check_text(&reply.text) {
            Ok(text) => text,
            Err(why) => return Verdict::reject(why),
        };
        match hash(0, &[&task.id, &text], &[]) % 8 {
            6 => Verdict::Ask(format!("Which piece is meant by {}?", task.instruction)),
            7 => Verdict::Ask(format!("How large is {}, if {}?", task.instruction, words(&text).len())),
            0 => Verdict::Doubt(text),
            1 => Verdict::Reject { why: "it is not good enough".to_owned(), kept: Some(text) },
            _ => Verdict::Accept(text),
        }
    }

    fn calculate(&self, task: &Task, _: &Goal, state: &RunState) -> Result<String, String> {
        let bytes = task.needs.iter().filter_map(|need| state.result(need)).map(str::len);
        match bytes.sum::<usize>() {
            sum if sum % 5 == 4 => Err("it can't be calculated".to_owned()),
            sum => Ok(sum.to_string()),
        }
    }
}
