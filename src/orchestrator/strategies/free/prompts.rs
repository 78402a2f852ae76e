//! What the models are asked: the planner for a plan and for the answer, the workers for their tasks.

use super::registry::{Figure, input_names, suited, workers_told};
use crate::band::Skill;
use crate::goal::Goal;
use crate::plan::{Job, Shape, Task};
use crate::state::{RunState, TaskState};
use crate::strategies::rounds;

/// The planner's prompt. `told` says what earlier rounds have done.
pub(super) fn plan(goal: &Goal, told: &str) -> String {
    let inputs = match goal.inputs.len() {
        0 => "Inputs: none\n".to_owned(),
        _ => format!("Inputs: {}\n", input_names(goal).join(", ")),
    };
    let figures = Figure::ALL.map(Figure::name).join(", ");
    let worker = |skill| suited(goal, skill)[0];
    let (finder, writer) = (worker(Skill::Find), worker(Skill::Write));
    let example = format!(
        "Goal: How much more salt did the Anna carry than the Bertha? Write a note on it for the harbour.\n\
{{\"tasks\": [{{\"id\": \"t1\", \"task\": {{\"job\": \"read\", \"input\": \"anna.md\", \"do\": \"Tons of salt that the ship \
carried\", \"result\": \"number\", \"worker\": \"{finder}\"}}, \"needs\": []}}, \
{{\"id\": \"t2\", \"task\": {{\"job\": \"read\", \"input\": \"bertha.md\", \"do\": \"Tons of salt that the ship carried\", \
\"result\": \"number\", \"worker\": \"{finder}\"}}, \"needs\": []}}, \
{{\"id\": \"t3\", \"task\": {{\"job\": \"calculate\", \"figure\": \"difference\"}}, \"needs\": [\"t1\", \"t2\"]}}, \
{{\"id\": \"t4\", \"task\": {{\"job\": \"write\", \"title\": \"Note\", \"do\": \"Tell the harbour how much more salt the \
Anna carried\", \"worker\": \"{writer}\"}}, \"needs\": [\"t1\", \"t2\", \"t3\"]}}]}}"
    );
    format!(
        "Plan the work on a goal as a few tasks. The jobs of a task:\n\
- read: find in one input what \"do\" says\n\
- step: do what \"do\" says with the results of the tasks in \"needs\"\n\
- write: write the section \"title\", with what \"do\" says, from the results of the tasks in \"needs\"\n\
- calculate: the {figures} of the numbers that the tasks in \"needs\" found\n\
A task sees nothing but its input and the results of the tasks in \"needs\". What no other task needs is the answer.\n\n\
Workers:\n{}\n{example}\n\n{inputs}{told}Goal: {}",
        workers_told(goal),
        goal.text
    )
}

/// The prompt of a task for a worker. It depends on the task and on the results that it needs, and on no other task,
/// which the planner may not have written yet.
pub(super) fn task(task: &Task, goal: &Goal, state: &RunState) -> String {
    let needs: Vec<&TaskState> = task.needs.iter().filter_map(|need| state.task(need)).collect();
    let known = match results(&needs) {
        none if none.is_empty() => none,
        known => format!("Known so far:\n{known}\n\n"),
    };
    let number = if task.output == Shape::Number { " Answer with the number alone." } else { "" };
    let instruction = &task.instruction;
    match (&task.job, &task.input) {
        (Job::Read, Some(slice)) => {
            let text = goal.inputs.get(slice.index).map_or("", |input| input.text.trim());
            format!(
                "Text ({}):\n{text}\n\n{known}Find in this text, and tell it in one to three sentences: {instruction}{number}",
                slice.name
            )
        }
        (Job::Answer, _) => format!("{}{}", goal.inputs_under("Attached text"), goal.text),
        (Job::Write { title, about }, _) => format!(
            "{known}This is being written by several helpers, one section each:\n{}\n\nWrite only the section \
\"{title}\": {about}. Three to six plain sentences, without a heading and without a list.",
            goal.text
        ),
        _ => format!(
            "{known}Others work on the rest of this goal: {}\n\nDo only this, shortly: {instruction}{number}",
            goal.text
        ),
    }
}

/// The prompt for the answer from the results of some tasks.
pub(super) fn answer(goal: &Goal, ends: &[&TaskState]) -> String {
    format!(
        "The goal was worked on in tasks. Results:\n{}\n\nAnswer the goal from these results, leaving nothing out.\n\n\
Goal: {}",
        results(ends),
        goal.text
    )
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

/// What the planner is told of earlier rounds.
pub(super) fn told(state: &RunState, round: usize) -> String {
    match rounds::told(state, round) {
        none if none.is_empty() => none,
        told => format!("{told}Plan only the tasks that are still needed.\n"),
    }
}
