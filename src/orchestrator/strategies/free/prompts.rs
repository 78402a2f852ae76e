//! What the models are asked: the planner for a plan and for the answer, the workers for their tasks.

use super::registry::{Figure, input_names, suited, workers_told};
use crate::band::Skill;
use crate::goal::Goal;
use crate::plan::{Job, Shape, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::Prompt;

/// What the planner is asked for a plan. `told` says what earlier rounds have done.
pub(super) fn plan(goal: &Goal, told: &str) -> Prompt {
    let inputs = match input_names(goal) {
        none if none.is_empty() => "none".to_owned(),
        names => names.join(", "),
    };
    let figures = Figure::ALL.map(Figure::name).join(", ");
    let worker = |skill| suited(goal, skill)[0];
    let mut values = vec![
        ("figures", figures.as_str()),
        ("finder", worker(Skill::Find)),
        ("writer", worker(Skill::Write)),
        ("inputs", &inputs),
        ("goal", &goal.text),
    ];
    let workers = workers_told(goal);
    values.push(("workers", &workers));
    if told.is_empty() {
        return prompts::FREE_PLAN.prompt(&values);
    }
    values.push(("told", told));
    prompts::FREE_PLAN_AGAIN.prompt(&values)
}

/// What a worker is asked. It depends on the task and on the results that it needs, and on no other task, which the
/// planner may not have written yet.
pub(super) fn task(task: &Task, goal: &Goal, state: &RunState) -> Prompt {
    let needs: Vec<&TaskState> = task.needs.iter().filter_map(|need| state.task(need)).collect();
    let known = match results(&needs) {
        none if none.is_empty() => none,
        known => format!("Known so far:\n{known}\n\n"),
    };
    let how = if task.output == Shape::Number {
        "with one number and nothing else"
    } else {
        "in one to three sentences"
    };
    match (&task.job, &task.input) {
        (Job::Read | Job::Answer, Some(slice)) => {
            let asked = if task.job == Job::Answer { &goal.text } else { &task.instruction };
            let text = goal.inputs.get(slice.index).map_or("", |input| input.text.trim());
            prompts::FREE_READ.prompt(&[
                ("name", &slice.name),
                ("text", text),
                ("known", &known),
                ("do", asked),
                ("how", how),
            ])
        }
        (Job::Answer, None) => prompts::DIRECT_ANSWER
            .prompt(&[("inputs", &goal.inputs_under("Attached text")), ("goal", &goal.text)]),
        (Job::Write { title, about }, _) => prompts::FREE_WRITE.prompt(&[
            ("known", &known),
            ("goal", &goal.text),
            ("title", title),
            ("about", about),
        ]),
        _ => prompts::FREE_STEP.prompt(&[
            ("known", &known),
            ("goal", &goal.text),
            ("do", &task.instruction),
            ("how", how),
        ]),
    }
}

/// What the planner is asked for the answer from the results of some tasks.
pub(super) fn answer(goal: &Goal, ends: &[&TaskState]) -> Prompt {
    prompts::FREE_SYNTHESIS.prompt(&[("results", &results(ends)), ("goal", &goal.text)])
}

/// One line for each task that has a result, with its name and what it was asked.
pub(super) fn results(tasks: &[&TaskState]) -> String {
    let line =
        |task: &&TaskState| Some(format!("- {} ({}): {}", task.id, asked(task), task.accepted()?.trim()));
    tasks.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// What a task was asked, in words for people and models.
pub(super) fn asked(task: &TaskState) -> String {
    let instruction = &task.task.instruction;
    match (&task.task.job, &task.task.input) {
        (Job::Calculate, _) => format!("{instruction} of {}", task.task.needs.join(", ")),
        (_, Some(slice)) => format!("{}: {instruction}", slice.name),
        _ => instruction.clone(),
    }
}
