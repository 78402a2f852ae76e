//! The direct strategy: one call of the planner, or of the calculator if the goal is only arithmetic. Also the ask
//! strategy, which asks the user for something that the goal mentions and that was not attached.

use std::sync::Arc;

use bandmaster_tools::calculator::evaluate;

use super::aside::prompt_tokens;
use super::attempt::Context;
use super::band::{Message, Reply, Worker};
use super::checks::check_text;
use super::dispatch::{Draw, ModelWork, Verdict, Work, do_task};
use super::event::EventKind;
use super::outcome::Ended;
use super::outcome::Status;
use super::plan::{Plan, Shape, Task};
use super::registry::{PLANNER, Registry};
use super::request::RunRequest;
use super::strategy::ANSWER_TOKENS_RESERVED;
use super::strategy::why::Facts;

pub async fn run(context: &Context, registry: &Registry, request: &RunRequest, facts: &Facts) -> Ended {
    let mut ended = Ended::default();
    if let Some(expression) = &facts.arithmetic {
        return calculate(context, request, expression).await;
    }
    let planner = registry.planner();
    let (messages, prompt_tokens) = prompt_tokens(&planner.llm, prompt(request)).await;
    let context_tokens = planner.llm.context_tokens();
    if prompt_tokens >= context_tokens {
        ended.error = Some(format!(
            "the goal has {prompt_tokens} tokens including the chat template, but {} reads at most {context_tokens}: \
shorten it, give its long part as a file (-f), or raise --context-tokens",
            planner.llm.name()
        ));
        return ended;
    }
    let tokens_max = (context_tokens - prompt_tokens).min(ANSWER_TOKENS_RESERVED) as u32;
    let task = Task {
        id: "t1".to_owned(),
        worker: PLANNER.to_owned(),
        instruction: request.goal.clone(),
        input: None,
        needs: Vec::new(),
        output: Shape::Text,
        tokens_max,
    };
    let plan = Plan::new(vec![task.clone()]).expect("one task without needs");
    context.send(EventKind::PlanAccepted { plan });
    let work = ModelWork {
        messages,
        schema: None,
        ladder: vec![planner.clone(), planner],
        check: Arc::new(check),
        draw: Draw::MostLikely,
        streams_answer: true,
    };
    let done = do_task(context, &task, Work::Model(work), 0).await;
    let best = done.accepted.clone().unwrap_or_else(|| done.report.output.trim().to_owned());
    if let Some(error) = &done.report.error {
        ended.missing.push(format!("the answer is incomplete: {error}"));
        ended.failed_tasks = 1;
    } else if done.cut {
        ended.missing.push(format!("the answer was cut off at {tokens_max} tokens"));
        ended.failed_tasks = 1;
    }
    ended.answer = best;
    ended.tasks = vec![done.report];
    ended
}

/// Answers with the calculator, which is exact where a model would guess digits.
async fn calculate(context: &Context, request: &RunRequest, expression: &str) -> Ended {
    let worker = Worker::calculator().name;
    let task = Task {
        id: "t1".to_owned(),
        worker: worker.clone(),
        instruction: request.goal.clone(),
        input: None,
        needs: Vec::new(),
        output: Shape::Text,
        tokens_max: 0,
    };
    context.send(EventKind::PlanAccepted {
        plan: Plan::new(vec![task.clone()]).expect("one task without needs"),
    });
    let result =
        evaluate(expression).map(|value| format!("{expression} = {value}")).map_err(|e| e.to_string());
    let done = do_task(context, &task, Work::Rule { worker, result }, 0).await;
    Ended { answer: done.accepted.unwrap_or_default(), tasks: vec![done.report], ..Ended::default() }
}

fn check(reply: &Reply) -> Verdict {
    match check_text(&reply.text) {
        Ok(text) => Verdict::Accept(text),
        Err(why) => Verdict::Reject(why),
    }
}

/// The attached texts, then the goal as it was typed.
#[must_use]
pub fn prompt(request: &RunRequest) -> Vec<Message> {
    let inputs = request.inputs.iter();
    let mut prompt: String =
        inputs.map(|input| format!("Attached text ({}):\n{}\n\n", input.name, input.text.trim())).collect();
    prompt.push_str(&request.goal);
    request.messages(prompt)
}

/// The question to the user.
#[must_use]
pub fn ask() -> Ended {
    Ended {
        answer: "Which text do you mean? The goal speaks of something attached or sent, but nothing came with it. Please \
attach the file (on the command line: -f FILE) or put its text into the goal."
            .to_owned(),
        status: Some(Status::RequiresAction),
        ..Ended::default()
    }
}
