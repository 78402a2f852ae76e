//! Makes tasks of the items that the planner has written. Each item is judged by itself and by those before it, so that
//! the tasks of an unfinished plan are the first ones of the whole plan.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::EXAMPLES_OWN;
use super::registry::{Figure, input_names, skill};
use crate::band::Skill;
use crate::checks::words;
use crate::goal::{Goal, PLANNER};
use crate::plan::{Draw, Job, Shape, Slice, Task};
use crate::state::RunState;
use crate::strategies::rounds::{self, is_same_work};
use crate::topic::Foreign;

const READ_TOKENS_MAX: u32 = 240;
const STEP_TOKENS_MAX: u32 = 400;
const SECTION_TOKENS_MAX: u32 = 400;
/// Most tokens of a result that is one number.
const NUMBER_TOKENS_MAX: u32 = 60;

/// A plan as the planner writes it.
#[derive(Debug, Deserialize)]
struct Written {
    tasks: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
struct Item {
    id: String,
    task: Work,
    #[serde(default)]
    needs: Vec<String>,
}

/// Each job has some of these fields.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
struct Work {
    job: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    input: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(default, rename = "do", skip_serializing_if = "String::is_empty")]
    instruction: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    result: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    worker: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    figure: String,
}

/// What became of a plan's items.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Planned {
    pub tasks: Vec<Task>,
    /// Why items were left out.
    pub left_out: Vec<String>,
    /// Ids of the tasks that had failed in an earlier round and were written again. They are not done again.
    pub repeated: Vec<String>,
    /// The items that became tasks, one for each, under the ids of the tasks.
    items: Vec<Item>,
}

impl Planned {
    /// The plan of these tasks as the planner would have written it, which a user may edit.
    pub(super) fn written(&self) -> Value {
        json!({"tasks": self.items})
    }
}

/// The tasks of a plan that was written in a round of the run.
///
/// # Errors
/// When it is not the JSON that was asked for.
pub(super) fn planned(goal: &Goal, state: &RunState, round: usize, json: &str) -> Result<Planned, String> {
    let written: Written = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let before = rounds::tasks_before(state, round);
    let earlier: Vec<&Task> = state.plan_tasks().take(before).map(|task| &task.task).collect();
    let replan = round.checked_sub(1).and_then(|last| state.replans.get(last));
    let kept = replan.map(|replan| replan.kept.as_slice()).unwrap_or_default();
    let mut plan =
        Reading { goal, earlier, kept, before, stands_for: Vec::new(), planned: Planned::default() };
    written.tasks.iter().for_each(|item| plan.take(item));
    Ok(plan.planned)
}

struct Reading<'a> {
    goal: &'a Goal,
    /// The tasks of earlier rounds, and the ids of those whose results may be used.
    earlier: Vec<&'a Task>,
    kept: &'a [String],
    before: usize,
    /// For the ids that the planner wrote, those of the tasks that they became.
    stands_for: Vec<(String, String)>,
    planned: Planned,
}

impl Reading<'_> {
    fn take(&mut self, item: &Item) {
        let number = self.before + self.planned.tasks.len() + 1;
        match self.task(item, number).and_then(|task| self.not_tried(task)) {
            Ok(task) => {
                let id = self.same_as(&task).unwrap_or_else(|| self.keep(item, task));
                self.stands_for.push((item.id.clone(), id));
            }
            Err(why) => self.planned.left_out.push(format!("{} {why}", item.id)),
        }
    }

    /// Adds the task that an item has become, and returns its id.
    fn keep(&mut self, item: &Item, task: Task) -> String {
        let (id, mut work) = (task.id.clone(), item.task.clone());
        if task.job != Job::Calculate {
            work.worker.clone_from(&task.worker);
        }
        self.planned.items.push(Item { id: id.clone(), task: work, needs: task.needs.clone() });
        self.planned.tasks.push(task);
        id
    }

    /// The task that an item repeats. What it would give is there already, or comes from that task.
    fn same_as(&self, task: &Task) -> Option<String> {
        let kept = self.earlier.iter().copied().filter(|task| self.kept.contains(&task.id));
        let same = self.planned.tasks.iter().chain(kept).find(|other| is_same_work(other, task));
        same.map(|task| task.id.clone())
    }

    fn task(&self, Item { task: work, needs, .. }: &Item, number: usize) -> Result<Task, String> {
        let needs = self.needs(needs);
        let task = Task { id: format!("t{number}"), needs, tokens_max: STEP_TOKENS_MAX, ..Task::default() };
        let task = match work.job.as_str() {
            "calculate" => self.calculation(work, task)?,
            "read" => self.of_model(work, Task { input: Some(self.input(work)?), job: Job::Read, ..task })?,
            "step" => self.of_model(work, Task { job: Job::Step, ..task })?,
            "write" => {
                let job = Job::Write { title: work.title.clone(), about: work.instruction.clone() };
                let draw = Draw::Varied(number as u64);
                self.of_model(work, Task { job, draw, tokens_max: SECTION_TOKENS_MAX, ..task })?
            }
            other => return Err(format!("has an unknown job {other}")),
        };
        Ok(task)
    }

    /// Refuses a task that has failed in an earlier round.
    fn not_tried(&mut self, task: Task) -> Result<Task, String> {
        let mut failed = self.earlier.iter().filter(|earlier| !self.kept.contains(&earlier.id));
        match failed.find(|failed| is_same_work(failed, &task)) {
            Some(failed) => {
                self.planned.repeated.push(failed.id.clone());
                Err("was tried before and failed".to_owned())
            }
            None => Ok(task),
        }
    }

    /// The tasks that the needs of an item became. Those that were left out are needed by nobody.
    fn needs(&self, written: &[String]) -> Vec<String> {
        let mut needs = Vec::new();
        for need in written {
            let became = self.stands_for.iter().find(|(id, _)| id == need).map(|(_, became)| became);
            let found = became.or_else(|| self.kept.iter().find(|kept| *kept == need));
            needs.extend(found.filter(|found| !needs.contains(*found)).cloned());
        }
        needs
    }

    fn calculation(&self, work: &Work, task: Task) -> Result<Task, String> {
        let figure = Figure::named(&work.figure).ok_or("calculates nothing")?;
        if task.needs.is_empty() {
            return Err("has nothing to calculate from".to_owned());
        }
        let worker = self.goal.band.calculator().to_owned();
        let (instruction, output) = (figure.name().to_owned(), Shape::Number);
        Ok(Task { job: Job::Calculate, worker, instruction, output, tokens_max: 0, ..task })
    }

    fn input(&self, work: &Work) -> Result<Slice, String> {
        let index = input_names(self.goal).iter().position(|name| *name == work.input);
        let index = index.ok_or_else(|| format!("reads {}, which is no input", work.input))?;
        let input = &self.goal.inputs[index];
        Ok(Slice { index, name: input.name.clone(), part: 0, parts: 1, bytes: 0..input.text.len() })
    }

    fn of_model(&self, work: &Work, mut task: Task) -> Result<Task, String> {
        let said = format!("{} {}", work.title, work.instruction);
        self.judge(&said, task.needs.is_empty())?;
        let is_number = work.result == "number";
        task.instruction = match work.title.trim() {
            "" => work.instruction.trim().to_owned(),
            title => format!("{title}: {}", work.instruction.trim()),
        };
        if is_number {
            (task.output, task.tokens_max) = (Shape::Number, NUMBER_TOKENS_MAX);
        } else if task.job == Job::Read {
            task.tokens_max = READ_TOKENS_MAX;
        }
        (task.worker, task.ladder) = self.ladder(&work.worker, skill(&work.job, is_number));
        Ok(task)
    }

    /// An instruction must be about the goal. One that builds on others may speak of their results alone.
    fn judge(&self, said: &str, needs_nothing: bool) -> Result<(), String> {
        if words(said).is_empty() {
            return Err("says nothing".to_owned());
        }
        match self.goal.topic(EXAMPLES_OWN).foreign(said) {
            Some(Foreign::Example) => Err("comes from the worked example, not from the goal".to_owned()),
            Some(Foreign::Nobody) if needs_nothing => Err("has nothing to do with the goal".to_owned()),
            _ => Ok(()),
        }
    }

    /// Who tries a task, in order. A worker that the run no longer has is replaced.
    fn ladder(&self, name: &str, skill: Skill) -> (String, Vec<String>) {
        let band = &self.goal.band;
        if name == PLANNER {
            return (name.to_owned(), vec![PLANNER.to_owned(); 2]);
        }
        let worker = band.get(name).unwrap_or_else(|| band.assign(skill, 0));
        (worker.worker.clone(), band.ladder(worker, skill))
    }
}
