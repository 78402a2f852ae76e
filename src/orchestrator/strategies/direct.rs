//! The direct strategy: one call of the planner, or of the calculator if the goal is only arithmetic.

use bandmaster_tools::calculator::evaluate;

use crate::band::Message;
use crate::choice::ANSWER_TOKENS_RESERVED;
use crate::event::FailureClass;
use crate::goal::{Goal, PLANNER, inputs_under};
use crate::plan::{Job, Task};
use crate::prompts;
use crate::request::{Input, RunRequest, StrategyName};
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy};

pub(super) struct Direct;

impl Strategy for Direct {
    fn name(&self) -> StrategyName {
        StrategyName::Direct
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        match state.task("t1") {
            None => Move::add(task(goal)),
            Some(task) if task.has_ended() => Move::Answer(answer(task)),
            Some(_) => Move::Wait,
        }
    }

    fn prompt(&self, _: &Task, goal: &Goal, _: &RunState) -> Prompt {
        prompt(&goal.text, &goal.inputs, &goal.conversation)
    }

    /// The calculator is exact where a model would guess digits.
    fn calculate(&self, _: &Task, goal: &Goal, _: &RunState) -> Result<String, String> {
        let expression = goal.facts.arithmetic.as_deref().unwrap_or(&goal.text);
        evaluate(expression).map(|value| format!("{expression} = {value}")).map_err(|error| error.to_string())
    }
}

fn task(goal: &Goal) -> Task {
    let task = Task { id: "t1".to_owned(), instruction: goal.text.clone(), ..Task::default() };
    if goal.facts.arithmetic.is_some() {
        return Task { job: Job::Calculate, worker: goal.band.calculator().to_owned(), ..task };
    }
    Task {
        job: Job::Answer,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        tokens_max: ANSWER_TOKENS_RESERVED as u32,
        streams_answer: true,
        ..task
    }
}

/// What the direct strategy asks the planner.
#[must_use]
pub fn direct_prompt(request: &RunRequest) -> Vec<Message> {
    prompt(&request.goal, &request.inputs, &request.conversation).messages
}

fn prompt(goal: &str, inputs: &[Input], conversation: &[Message]) -> Prompt {
    let inputs = inputs_under("Attached text", inputs);
    prompts::DIRECT_ANSWER.prompt(&[("inputs", &inputs), ("goal", goal)]).after(conversation)
}

fn answer(task: &TaskState) -> Ended {
    let mut ended = Ended { answer: task.output.trim().to_owned(), ..Ended::default() };
    if task.task.job == Job::Answer && !ended.answer.is_empty() {
        ended.unchecked.push("the answer, which is the reply of a single call".to_owned());
    }
    if let Some(error) = &task.error {
        let last = task.attempts.last().and_then(|attempt| attempt.failure.as_ref());
        if ended.answer.is_empty() && last.is_some_and(|failure| failure.class == FailureClass::Resource) {
            ended.error = Some(format!(
                "{error}: shorten the goal, give its long part as a file (-f), or raise --context-tokens"
            ));
        } else {
            ended.missing.push(format!("the answer is incomplete: {error}"));
            ended.failed_tasks = 1;
        }
    } else if task.cut {
        ended.missing.push(format!("the answer was cut off at {} tokens", task.cut_at()));
        ended.failed_tasks = 1;
    }
    ended
}
