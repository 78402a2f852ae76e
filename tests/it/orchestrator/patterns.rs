//! The strategies of `examples/`, on scripted models, and whether `docs/patterns.md` shows their code as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bandmaster::journal::{Event, Journal};
use bandmaster::orchestrator::{
    Band, Budget, Call, Input, Llm, Outcome, RunRequest, RunStart, Status, Strategy, Worker, fork, recorded,
    replay,
};
use serde_json::{Value, json};

use super::best::{best, check_replay};
use super::outside::Outside;
use super::scripted::*;

#[path = "../../../examples/role_crew/crew.rs"]
mod crew;
#[path = "../../../examples/manager/manager.rs"]
mod manager;

fn outside(strategy: impl Strategy + 'static, band: fn() -> Band, goal: &str) -> Outside {
    let text = "The Museum of Salt was founded in 1987. It has 41 rooms.".to_owned();
    let inputs = vec![Input { name: "salt.md".to_owned(), text }];
    Outside { strategy: Arc::new(strategy), band, request: RunRequest { inputs, ..RunRequest::new(goal) } }
}

fn ran(outside: &Outside) -> Outcome {
    outside.outcome(&tempfile::tempdir().unwrap(), RunStart::new(outside.request.clone()))
}

fn worker(name: &str, script: fn(&Call, usize) -> Act) -> Worker {
    Worker {
        name: name.to_owned(),
        ..Worker::explicit(scripted(&format!("model of {name}"), script) as Arc<dyn Llm>)
    }
}

/// Each task of the plan with its worker.
fn tasks(outcome: &Outcome) -> Vec<(&str, &str)> {
    outcome.tasks.iter().map(|task| (task.id.as_str(), task.worker.as_str())).collect()
}

/// A crew whose critic wants the year in the text.
fn crew_band() -> Band {
    let critic = scripted("critic", |call, _| {
        let accepts = last(call).split("The text:").nth(1).is_some_and(|draft| draft.contains("1987"));
        say(json!({"accept": accepts, "change": if accepts { "" } else { "Say the year." }}).to_string())
    });
    let researcher = worker("researcher", |call, _| {
        assert!(last(call).starts_with("You are a researcher") && last(call).contains("Text (salt.md):"));
        say("- founded in 1987")
    });
    let writer = worker("writer", |call, _| {
        assert!(last(call).starts_with("You are a writer") && last(call).contains("- founded in 1987"));
        say(if last(call).contains("Say the year.") { "It was founded in 1987." } else { "It was founded." })
    });
    Band { planner: critic, workers: vec![researcher, writer], embed: None }
}

#[test]
fn a_crew_revises_a_draft_until_its_critic_accepts_it_also_if_it_is_killed() {
    outside(crew::Crew, crew_band, "Write a sentence on the museum.").survives_kills(|outcome| {
        assert_eq!((outcome.status, outcome.answer.as_str()), (Status::Completed, "It was founded in 1987."));
        assert_eq!(
            tasks(outcome),
            [
                ("notes", "researcher"),
                ("draft1", "writer"),
                ("review1", "planner"),
                ("draft2", "writer"),
                ("review2", "planner")
            ]
        );
    });
}

#[test]
fn a_crew_that_is_never_content_or_lacks_a_role_still_ends() {
    let discontent = || {
        let planner = scripted("critic", |_, _| say(json!({"accept": false, "change": "More."}).to_string()));
        Band { planner, ..crew_band() }
    };
    let outcome = ran(&outside(crew::Crew, discontent, "Write a sentence on the museum."));
    assert_eq!((outcome.status, outcome.tasks.len()), (Status::Completed, 6), "{outcome:?}");
    let silent = || {
        let mut band = crew_band();
        band.workers[0] = worker("researcher", |_, _| say(""));
        band
    };
    let outcome = ran(&outside(crew::Crew, silent, "Write a sentence on the museum."));
    assert_eq!((outcome.status, outcome.missing.len()), (Status::Failed, 1), "{outcome:?}");
    assert!(outcome.missing[0].contains("notes") && outcome.missing[0].contains("empty"));
}

fn orders(tasks: &[(&str, &str)]) -> Act {
    let task = |(worker, instruction): &(&str, &str)| json!({"worker": worker, "instruction": instruction});
    say(json!({"tasks": tasks.iter().map(task).collect::<Vec<Value>>()}).to_string())
}

/// A manager who needs two rounds of tasks.
fn managed_band() -> Band {
    let manager = scripted("manager", |call, _| {
        let asked = last(call);
        if asked.contains("Results of your workers") {
            say("It has 41 rooms and is from 1987.")
        } else if asked.ends_with("none yet") {
            orders(&[("ada", "Say when the museum was founded."), ("ben", "Say how many rooms it has.")])
        } else if asked.contains("Say who runs it.") {
            orders(&[])
        } else {
            orders(&[("ada", "Say who runs it.")])
        }
    });
    let work = |call: &Call, _: usize| {
        assert!(last(call).starts_with("Text (salt.md):"));
        say(format!("Result of: {}", last(call).rsplit(": ").next().unwrap()))
    };
    Band { planner: manager, workers: vec![worker("ada", work), worker("ben", work)], embed: None }
}

const MANAGED: &str = "Describe the museum.";

#[test]
fn a_manager_hands_out_tasks_until_it_has_enough_also_if_it_is_killed() {
    outside(manager::Manager, managed_band, MANAGED).survives_kills(|outcome| {
        assert_eq!(outcome.status, Status::Completed, "{outcome:?}");
        assert_eq!(outcome.answer, "It has 41 rooms and is from 1987.");
        assert_eq!(tasks(outcome), [("t1.1", "ada"), ("t1.2", "ben"), ("t2.1", "ada")]);
        let planner: Vec<&str> = outcome.planner_tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(planner, ["orders1", "orders2", "orders3", "answer"]);
    });
}

#[test]
fn a_manager_ends_at_its_budget_with_the_results_there_are() {
    let mut outside = outside(manager::Manager, managed_band, MANAGED);
    // Words of the first orders and of both tasks, and not those of the second orders.
    outside.request.budget = Budget { tokens: Some(400), ..Budget::default() };
    let outcome = ran(&outside);
    assert_eq!(outcome.status, Status::Incomplete, "{outcome:?}");
    assert!(outcome.answer.contains("Result of: Say when the museum was founded."), "{}", outcome.answer);
    assert!(
        outcome.missing.iter().any(|missing| missing.contains("the budget of 400 tokens")),
        "{outcome:?}"
    );
}

#[test]
fn a_manager_that_repeats_itself_or_writes_nonsense_still_answers() {
    let repeats = || {
        let planner = scripted("manager", |call, _| match last(call).contains("Results of your workers") {
            true => say("It is from 1987."),
            false => orders(&[("ada", "Say when the museum was founded.")]),
        });
        Band { planner, ..managed_band() }
    };
    let outcome = ran(&outside(manager::Manager, repeats, MANAGED));
    assert_eq!((outcome.answer.as_str(), tasks(&outcome)), ("It is from 1987.", vec![("t1.1", "ada")]));
    let nonsense = || Band { planner: scripted("manager", |_, _| say("Well.")), ..managed_band() };
    let outcome = ran(&outside(manager::Manager, nonsense, MANAGED));
    assert_eq!((outcome.status, outcome.answer.as_str()), (Status::Incomplete, "Well."), "{outcome:?}");
}

#[test]
fn the_strategy_of_the_documents_runs_and_survives_kills() {
    let band = || {
        let planner = scripted("big", |call, _| say(last(call).split("\n\n").nth(2).unwrap_or_default()));
        Band {
            planner,
            workers: vec![worker("ada", |_, _| say("A draft.")), worker("ben", |_, _| say(""))],
            embed: None,
        }
    };
    let best = Outside { strategy: best(), band, request: RunRequest::new("Describe the museum.") };
    best.survives_kills(|outcome| {
        assert_eq!((outcome.status, outcome.answer.as_str()), (Status::Completed, "A draft."), "{outcome:?}");
        assert_eq!(outcome.tasks.len(), 4);
    });
    let folder = tempfile::tempdir().unwrap();
    let ran = best.outcome(&folder, RunStart::new(best.request.clone()));
    let journal = Journal::open(&record(&folder)).unwrap();
    check_replay(&journal, &ran.id);
    // The program has no such strategy.
    for at in [1, 3] {
        let forked = fork(&journal, &ran.id, at, BTreeMap::new()).and_then(RunStart::without_own_strategy);
        let refused = forked.expect_err("nobody could go on with it").to_string();
        assert!(refused.contains("outside this program") && refused.contains("run_with"), "{refused}");
    }
    let other = BTreeMap::from([("strategy".to_owned(), "direct".to_owned())]);
    assert!(fork(&journal, &ran.id, 1, other).and_then(RunStart::without_own_strategy).is_ok());
}

#[test]
fn a_replay_says_which_prompts_have_changed_since_the_run() {
    let request = map_request(2);
    let ran = play(&obedient_planner(), &[scripted("small", |call, _| reading(call))], &request);
    let mut events = ran.journal.events(&ran.outcome.id, 0).unwrap();
    let changed = |events: &[Event]| {
        let (_folder, journal, id) = killed_after(events, &request.inputs);
        let (run, start) = recorded(&journal, &id).unwrap();
        let replayed = replay(&run, &start, None);
        assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
        serde_json::to_value(replayed.changed_prompts).unwrap()
    };
    assert_eq!(changed(&events), json!([]));
    let mut templates = Vec::new();
    for event in events.iter_mut().filter(|event| event.kind == "task.output") {
        templates.push(event.body["prompt_template"].take());
        event.body["prompt_template"] =
            if event.body["task"] == "synthesis" { Value::Null } else { json!("map.old@7") };
    }
    assert_eq!(templates, ["map.plan@2", "map.read@1", "map.read@1", "map.synthesis@1"]);
    // A record of an earlier version doesn't say; each other template is told once.
    let now = |template: &str| json!({"recorded": "map.old@7", "now": template});
    assert_eq!(changed(&events), json!([now("map.plan@2"), now("map.read@1")]));
}

#[test]
fn the_documents_show_code_that_is_tested() {
    let read = |file: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let tested = [
        ("docs/patterns.md", "examples/role_crew/crew.rs"),
        ("docs/patterns.md", "examples/role_crew/main.rs"),
        ("docs/patterns.md", "examples/manager/manager.rs"),
        ("docs/how-a-run-works.md", "tests/it/orchestrator/best.rs"),
    ];
    for page in ["docs/patterns.md", "docs/how-a-run-works.md"] {
        let files = tested.iter().filter(|(of, _)| *of == page);
        let code: String = files.map(|(_, file)| read(file)).collect();
        let text = read(page);
        let blocks: Vec<&str> =
            text.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty(), "{page}");
        for block in blocks {
            assert!(code.contains(block), "{page} shows code that is in none of its files:\n{block}");
        }
    }
}
