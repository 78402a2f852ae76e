use std::collections::HashSet;

use serde_json::{Value, json};

use super::*;
use crate::choice::why::Facts;
use crate::goal::{BandInfo, WorkerInfo};
use crate::partial::{Parts, closed};
use crate::plan::{Plan, Shape};
use crate::request::{Input, RunRequest};
use crate::simulation::{Random, any_json};
use crate::{Skill, band::CallUsage, band::Finish};

fn goal(inputs: usize) -> Goal {
    let mut request = RunRequest::new("Find out how many sheep each farm keeps, and describe the farms.");
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
    Goal::new(&request, Facts::default(), BandInfo { planner: worker(PLANNER, &[]), workers })
}

fn state() -> RunState {
    RunState::new("r", 0)
}

fn planned(goal: &Goal, json: &Value) -> items::Planned {
    items::planned(goal, &state(), 0, &json.to_string()).unwrap()
}

#[test]
fn whatever_follows_the_schema_is_a_graph_and_its_beginning_the_beginning_of_the_graph() {
    let mut sizes = HashSet::new();
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let goal = goal(seed as usize % 4);
        let schema = registry::schema(&goal, 0, &[]);
        let text = any_json(&schema, &schema, &mut random).to_string();
        let whole = items::planned(&goal, &state(), 0, &text).unwrap();
        for why in &whole.left_out {
            assert!(why.contains("has nothing to do") || why.contains("worked example"), "{why}: {text}");
        }
        for task in &whole.tasks {
            let suited = task.job == Job::Calculate || goal.band.get(&task.worker).is_some();
            assert!(suited && task.ladder.is_empty() == (task.job == Job::Calculate), "{task:?}");
            assert_eq!(task.input.is_some(), task.job == Job::Read, "{task:?}");
        }
        sizes.insert(whole.tasks.len());
        if !whole.tasks.is_empty() {
            Plan::new(whole.tasks.clone()).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
        for end in Parts::at_depth(checks::ITEMS_DEPTH).take(&text) {
            let part = items::planned(&goal, &state(), 0, &closed(&text[..end])).unwrap();
            assert_eq!(part.tasks[..], whole.tasks[..part.tasks.len()], "{text}");
        }
    }
    assert!(sizes.len() > 8, "{sizes:?}");
}

#[test]
fn a_later_round_needs_what_was_kept_and_its_own_tasks_alone() {
    let goal = goal(2);
    let kept = ["t1".to_owned(), "t3".to_owned()];
    let schema = registry::schema(&goal, 4, &kept);
    let needs =
        |at: usize| &schema["properties"]["tasks"]["prefixItems"][at]["anyOf"][1]["properties"]["needs"];
    assert_eq!(needs(0)["items"]["enum"], json!(["t1", "t3"]));
    assert_eq!(needs(1)["items"]["enum"], json!(["t1", "t3", "t5"]));
}

fn read(id: &str, input: &str, needs: &[&str]) -> Value {
    let task = json!({"job": "read", "input": input, "do": "How many sheep", "result": "number", "worker": "finder"});
    json!({"id": id, "task": task, "needs": needs})
}

fn step(id: &str, instruction: &str, needs: &[&str]) -> Value {
    let task = json!({"job": "step", "do": instruction, "result": "text", "worker": "reader"});
    json!({"id": id, "task": task, "needs": needs})
}

fn told(planned: &items::Planned) -> Vec<(String, String, String)> {
    let of = |task: &Task| (task.id.clone(), task.instruction.clone(), task.needs.join(" "));
    planned.tasks.iter().map(of).collect()
}

#[test]
fn a_task_that_is_written_twice_is_done_once_and_a_foreign_one_not_at_all() {
    let plan = json!({"tasks": [
        read("t1", "farm1.md", &[]),
        read("t2", "farm1.md", &[]),
        step("t3", "Weigh the salt of the Anna", &[]),
        step("t4", "Paint the moon", &["t3"]),
        step("t5", "Compare both", &["t2", "t1", "t4"]),
    ]});
    let planned = planned(&goal(1), &plan);
    let expected = [("t1", "How many sheep", ""), ("t2", "Compare both", "t1")];
    let expected = expected.map(|(id, asked, needs)| (id.to_owned(), asked.to_owned(), needs.to_owned()));
    assert_eq!(told(&planned), expected);
    assert_eq!(planned.left_out.len(), 2, "{:?}", planned.left_out);
}

#[test]
fn a_calculation_is_of_the_numbers_that_its_needs_found() {
    let figure = json!({"id": "t3", "task": {"job": "calculate", "figure": "total"}, "needs": ["t1", "t2"]});
    let plan = json!({"tasks": [read("t1", "farm1.md", &[]), read("t2", "farm2.md", &[]), figure]});
    let planned = planned(&goal(2), &plan);
    let [first, _, total] = &planned.tasks[..] else { panic!("{planned:?}") };
    assert_eq!((first.output, first.ladder[0].as_str()), (Shape::Number, "finder"));
    assert_eq!((&total.job, total.worker.as_str()), (&Job::Calculate, "calculator"));
    let check = |text: &str| {
        let reply = Reply { text: text.to_owned(), finish: Finish::Stop, usage: CallUsage::default() };
        matches!(checks::task(first, &goal(2), &RunState::new("r", 0), &reply), Verdict::Accept(_))
    };
    assert!(check("10 sheep"));
    assert!(!check("20"), "it does not stand in the text");
    assert!(!check("10 or 20") && !check("many"));
}

#[test]
fn what_was_cut_off_stands_up_to_its_last_whole_task() {
    let text = json!({"tasks": [read("t1", "farm1.md", &[]), step("t2", "Describe the farm", &["t1"])]});
    let text = text.to_string();
    let verdict = |text: &str| {
        let reply = Reply { text: text.to_owned(), finish: Finish::Length, usage: CallUsage::default() };
        checks::plan(&goal(1), &state(), &reply)
    };
    let Verdict::Accept(kept) = verdict(&text[..text.len() - 9]) else { panic!("{:?}", verdict(&text)) };
    assert_eq!(items::planned(&goal(1), &state(), 0, &kept).unwrap().tasks.len(), 1);
    assert!(matches!(verdict(&text[..20]), Verdict::Reject { .. }));
}
