use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::advance::Core;
use crate::band::Skill;
use crate::choice::why::Facts;
use crate::goal::{BandInfo, PLANNER, WorkerInfo};
use crate::request::{Input, RunRequest, StrategyName};
use crate::simulation::play::{play, says};
use crate::simulation::{Random, any_json};
use crate::strategies;

const GOALS: [&str; 4] = [
    "Find out how many sheep each farm keeps and what it grows, and how many sheep there are in all.",
    "Which farm keeps the most sheep? Describe the farm and compare it with the others.",
    "Sum up the notes on the farms and their sheep.",
    "Say what each farm grows, and then write a note on the sheep.",
];

fn goal(text: &str, inputs: usize) -> Arc<Goal> {
    let mut request = RunRequest::new(text);
    let input = |n| Input { name: format!("farm{n}.md"), text: format!("Farm {n} keeps {n}0 sheep.") };
    request.inputs = (1..=inputs).map(input).collect();
    let worker = |name: &str, skills: &[Skill]| WorkerInfo {
        worker: name.to_owned(),
        model: name.to_owned(),
        context_tokens: 4096,
        skills: skills.to_vec(),
    };
    let workers = vec![
        worker("finder", &[Skill::Find]),
        worker("reader", &[Skill::Find, Skill::Read]),
        worker("writer", &[Skill::Write]),
    ];
    let band = BandInfo { planner: worker(PLANNER, &[]), workers };
    Arc::new(Goal::new(&request, Facts::default(), band))
}

/// Plays a run until it waits for approval or ends. `reply` gives what the planner replies to a prompt with a schema.
fn parked(
    strategy: &Arc<dyn Strategy>,
    goal: &Arc<Goal>,
    mut reply: impl FnMut(&Value) -> String,
) -> RunState {
    let mut state = RunState::new("r", 0);
    state.strategy = Some(strategy.name());
    state.asked.approve = true;
    let core = Core::new(Arc::clone(goal), state, Some(Arc::clone(strategy)));
    play(core, |planned| says(planned.call.schema.as_ref().map_or_else(String::new, &mut reply))).1
}

/// The tasks that are carried out next.
fn next_tasks(strategy: &dyn Strategy, goal: &Goal, mut state: RunState) -> Vec<Task> {
    state.outcome = None;
    match strategy.next(goal, &state) {
        Move::Add { tasks, .. } => tasks,
        other => panic!("{other:?}"),
    }
}

/// Gives some tasks of a free plan an instruction that is not about the goal, so that they are left out.
fn with_foreign_tasks(mut plan: Value, seed: u64) -> Value {
    let tasks = plan["tasks"].as_array_mut().into_iter().flatten();
    for (place, task) in tasks.enumerate().filter(|(place, _)| (seed >> (place % 8)) & 1 == 1) {
        if task["task"].get("do").is_some() {
            task["task"]["do"] = ["Weigh the salt of the Anna", "Paint the moon"][place % 2].into();
        }
    }
    plan
}

#[test]
fn every_plan_that_is_shown_can_be_given_back_and_is_what_will_be_carried_out() {
    let (mut shown, mut shortened) = (BTreeSet::new(), 0);
    for strategy in strategies::all().iter().filter(|strategy| strategy.plan_fields().is_some()) {
        for seed in 0..200 {
            let goal = goal(GOALS[seed as usize % GOALS.len()], 1 + seed as usize % 3);
            let mut random = Random::new(seed);
            let mut replied = Value::Null;
            let state = parked(strategy, &goal, |schema| {
                replied = with_foreign_tasks(any_json(schema, schema, &mut random), seed);
                replied.to_string()
            });
            let action = state.required_action.clone().unwrap_or_else(|| panic!("{:?}", state.outcome));
            let Some(plan) = action.plan else { continue };
            shortened += usize::from(
                plan["tasks"].as_array().map(Vec::len) != replied["tasks"].as_array().map(Vec::len),
            );
            let mut approved = state.clone();
            approved.approval.approved = true;
            let tasks = next_tasks(strategy.as_ref(), &goal, approved);
            if tasks.len() == 1 && strategy.name() != StrategyName::Free {
                // The goal itself, because none of the planner's plans was accepted.
                continue;
            }
            let name = strategy.name();
            let taken = check(strategy.as_ref(), &goal, &state, &plan)
                .unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}: {plan}"));
            let mut edited = state.clone();
            edited.take_plan(&taken);
            assert_eq!(next_tasks(strategy.as_ref(), &goal, edited), tasks, "{name}, seed {seed}: {plan}");
            shown.insert((name, plan.to_string()));
        }
    }
    for name in [StrategyName::Free, StrategyName::Map, StrategyName::Parallel, StrategyName::Sequence] {
        let plans = shown.iter().filter(|(of, _)| *of == name).count();
        assert!(plans > 20, "only {plans} plans of {name}");
    }
    assert!(shortened > 50, "only {shortened} plans had tasks that were left out");
}

#[test]
fn a_free_run_without_a_plan_of_the_planner_can_not_be_edited() {
    let (free, goal) = (strategies::named(StrategyName::Free).unwrap(), goal(GOALS[0], 0));
    let state = parked(&free, &goal, |_| "no plan".to_owned());
    let action = state.required_action.clone().unwrap();
    assert_eq!((&action.plan, &action.plan_fields), (&None, &None));
    assert!(action.question.contains(&format!("- t1 (planner): {}", goal.text)), "{}", action.question);
    assert!(action.question.ends_with("Answer yes or no."), "{}", action.question);
    let task =
        json!({"job": "step", "do": "Count the sheep of the farm", "result": "number", "worker": "reader"});
    let plan = json!({"tasks": [{"id": "t1", "task": task, "needs": []}]});
    assert_eq!(check(free.as_ref(), &goal, &state, &plan), Err(PlanRefused::NotEditable));
}
