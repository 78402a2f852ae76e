use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::advance::Core;
use crate::choice::why::Facts;
use crate::event::CallEnd;
use crate::goal::{BandInfo, WorkerInfo};
use crate::outcome::{Outcome, Status};
use crate::partial::{Parts, closed};
use crate::plan::{Plan, Shape};
use crate::request::{Input, RunRequest};
use crate::simulation::play::{play, says};
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

/// What the planner is told for each plan, and the outcome. It writes `plans` in turn and then nothing of use; one that
/// is marked is cut off in its last task. Models say nothing to a prompt that has one of the words `in_vain`.
fn played(goal: Goal, plans: &[(Value, bool)], in_vain: &[&str]) -> (Vec<String>, Outcome) {
    let mut told = Vec::new();
    let (_, state) = play(Core::new(Arc::new(goal), state(), Some(Arc::new(Free))), |planned| {
        let prompt = &planned.call.messages.last().expect("a call has a message").content;
        if let Some(number) = planned.task.strip_prefix("plan") {
            told.push(prompt.clone());
            return match plans.get(number.parse().map_or(0, |number: usize| number - 1)) {
                Some((plan, false)) => says(plan.to_string()),
                Some((plan, true)) => {
                    let text = plan.to_string();
                    (text[..text.len() - 9].to_owned(), CallEnd::Reply(Finish::Length))
                }
                None => says("{}"),
            };
        }
        if planned.task.starts_with("synthesis") {
            return says(prompt.split("\n\n").next().unwrap_or_default());
        }
        match in_vain.iter().any(|word| prompt.contains(word)) {
            true => says(""),
            false if prompt.contains("with one number") => {
                says(if prompt.contains("Farm 1") { "10" } else { "20" })
            }
            false => says(format!("This is what {} found.", planned.task)),
        }
    });
    (told, *state.outcome.expect("the run has ended"))
}

#[test]
fn what_a_new_plan_does_without_is_missing_and_what_it_does_in_another_way_is_not() {
    let plan = |tasks: &[Value]| (json!({"tasks": tasks}), false);
    let first = plan(&[
        read("t1", "farm1.md", &[]),
        read("t2", "farm2.md", &[]),
        step("t3", "Describe the farms with a drawing", &["t1"]),
    ]);
    let draw = "Do only this, and answer in one to three sentences: Describe the farms with a drawing";
    let read_again = || {
        let mut again = read("t4", "farm2.md", &[]);
        again["task"]["result"] = json!("text");
        again
    };
    let check = |second: &[Value], in_vain: &[&str], expected: &[&str]| {
        let (_, outcome) = played(goal(2), &[first.clone(), plan(second)], in_vain);
        let about: Vec<&str> = outcome.missing.iter().filter_map(|one| one.split(' ').next()).collect();
        assert_eq!(about, expected, "{outcome:#?}");
        assert_eq!(outcome.is_whole(), expected.is_empty(), "{outcome:#?}");
    };
    let (no_number, all) =
        ("Farm 2 keeps 20 sheep.\n\nFind in this text, and tell with one number", "Farm 2");
    let compare = || step("t4", "Compare the sheep", &["t1"]);
    // The other farm is read in another way, or in no way.
    check(&[read_again()], &[no_number], &[]);
    check(&[compare()], &[no_number], &["t2"]);
    // The last plan's task is named in the place of what it stands in for.
    check(&[read_again()], &[all], &["t4"]);
    // Work that is worded in another way, that is not done, and that the planner only asked for again.
    check(&[step("t4", "Describe what the farms are like", &["t1"])], &[draw], &[]);
    check(&[compare()], &[draw], &["t3"]);
    check(
        &[step("t4", "Describe the farms with a drawing", &["t1"]), step("t5", "Tell of the farms", &["t1"])],
        &[draw],
        &["t3"],
    );
    // There is no new plan.
    check(&[], &[draw, no_number], &["t2", "t3"]);
}

#[test]
fn a_plan_that_was_cut_off_is_unfinished_until_the_planner_has_planned_the_rest() {
    let cut = (
        json!({"tasks": [read("t1", "farm1.md", &[]), step("t2", "Describe the farm", &["t1"]), compare()]}),
        true,
    );
    fn compare() -> Value {
        step("t3", "Compare both farms", &["t1"])
    }
    let describe = "answer in one to three sentences: Describe the farm";
    let whole = (json!({"tasks": [step("t3", "Say what the farm is like", &["t1"])]}), false);
    let (told, outcome) = played(goal(2), &[cut.clone(), whole], &[describe]);
    assert!(!told[0].contains("cut off") && told[1].contains("The last plan was cut off"), "{told:?}");
    assert!(outcome.is_whole(), "{outcome:#?}");
    let (_, outcome) = played(goal(2), &[cut], &[describe]);
    assert_eq!(outcome.status, Status::Incomplete);
    assert!(outcome.missing.iter().any(|one| one.contains("the rest of the plan")), "{:?}", outcome.missing);
    assert!(outcome.missing.iter().any(|one| one.contains("Describe the farm")), "{:?}", outcome.missing);
}

#[test]
fn without_a_plan_inputs_that_do_not_fit_one_call_are_read_one_by_one() {
    let mut fits = goal(2);
    (fits.facts.inputs_fit_together, fits.facts.input_tokens) = (true, 3000);
    let (_, outcome) = played(fits, &[], &[]);
    assert_eq!((outcome.tasks.len(), outcome.tasks[0].worker.as_str()), (1, PLANNER), "{outcome:#?}");
    // The run goes on with a smaller planner.
    let mut smaller = goal(2);
    (smaller.facts.inputs_fit_together, smaller.facts.input_tokens) = (true, 4000);
    for long in [goal(2), smaller] {
        let (_, outcome) = played(long, &[], &["Farm 2"]);
        assert_eq!(outcome.status, Status::Incomplete);
        assert!(outcome.answer.contains("This is what t1 found."), "{outcome:#?}");
        assert_eq!(outcome.missing, ["t2 (farm2.md: answer the goal from this text): the answer was empty"]);
        assert_eq!(
            outcome.tasks.iter().map(|task| task.worker.as_str()).collect::<Vec<_>>(),
            ["reader", PLANNER]
        );
    }
}
