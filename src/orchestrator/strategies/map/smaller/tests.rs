use super::super::*;
use crate::advance::{Core, Planned};
use crate::band::Skill;
use crate::choice::why::Facts as GoalFacts;
use crate::event::{CallEnd, EventKind, FailureClass};
use crate::goal::{BandInfo, PLANNER, WorkerInfo, plain_goal};
use crate::outcome::Outcome;
use crate::request::{Input, RunRequest};
use crate::simulation::play::{play, says};
use crate::state::RunState;

fn no_room() -> (String, CallEnd) {
    let (class, error) = (FailureClass::Resource, "the prompt is too long".to_owned());
    (String::new(), CallEnd::Failed { class, error })
}

/// A farm whose text is long, with its sheep in the last paragraph.
fn long_farm() -> Input {
    let other = "Here the text speaks of the weather and of the road to the market.\n\n".repeat(40);
    let text = format!("Farm Alder\n\n{other}The farm keeps 70 sheep.\n");
    Input { name: "alder.md".to_owned(), text }
}

/// A map over two farms. The reader has no room for a text of more than `bytes_max` bytes.
fn map_with_little_room(bytes_max: usize) -> (Vec<EventKind>, Outcome) {
    let short =
        Input { name: "birch.md".to_owned(), text: "Farm Birch\n\nThe farm keeps 5 sheep.\n".to_owned() };
    let request = RunRequest {
        inputs: vec![long_farm(), short],
        ..RunRequest::new("List how many sheep each farm keeps, and the total.")
    };
    let band: BandInfo = plain_goal("").band;
    let goal = Goal::new(&request, GoalFacts::default(), band.clone());
    let mut state = RunState::new("r", 0);
    state.strategy = Some(StrategyName::Map);
    state.band = Some(band);
    let core = Core::new(std::sync::Arc::new(goal), state, None);
    let reply = |planned: &Planned| {
        let prompt = &planned.call.messages.last().unwrap().content;
        let text = prompt.split("\"\"\"").nth(1);
        match text {
            _ if planned.task == "plan" => says(
                r#"{"find":"number of sheep the farm keeps","answer_is":"number","combine":["list","total"]}"#,
            ),
            None => says("Alder keeps 70 sheep and Birch 5, in all 75."),
            Some(text) if text.len() > bytes_max => no_room(),
            Some(text) => {
                let found = [70, 5].into_iter().find(|sheep| text.contains(&format!("keeps {sheep} sheep")));
                says(serde_json::json!({"subject": "", "answer": found}).to_string())
            }
        }
    };
    let (events, state) = play(core, reply);
    (events, *state.outcome.unwrap())
}

#[test]
fn a_text_that_no_model_has_room_for_is_read_in_parts() {
    let (events, outcome) = map_with_little_room(1000);
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    assert!(outcome.answer.contains("75") && outcome.missing.is_empty(), "{outcome:?}");
    let slices = |id: &str| {
        events.iter().find_map(|event| match event {
            EventKind::TasksAdded { tasks } => tasks.iter().find(|task| task.id == id)?.input.clone(),
            EventKind::PlanAccepted { plan } => plan.tasks().iter().find(|task| task.id == id)?.input.clone(),
            _ => None,
        })
    };
    assert_eq!(slices("t1").unwrap().bytes, 0..long_farm().text.len());
    let (first, next) = (slices("t4").unwrap(), slices("t5").unwrap());
    assert_eq!((first.bytes.start, first.bytes.end), (0, next.bytes.start), "nothing is lost between parts");
    let status = |id: &str| outcome.tasks.iter().find(|task| task.id == id).map(|task| task.status);
    assert_eq!((status("t1"), status("t2")), (Some(Status::Failed), Some(Status::Completed)));
    let same = |task: &&crate::outcome::TaskReport| task.model == "big" && task.id == "t1";
    let tried = outcome.tasks.iter().find(same).unwrap();
    assert_eq!(tried.attempts, 1, "the same call is never made again for want of room");
}

#[test]
fn a_text_that_no_model_has_room_for_in_any_size_is_named() {
    let (_, outcome) = map_with_little_room(60);
    assert_eq!(outcome.status, Status::Incomplete);
    assert!(outcome.answer.contains('5') && outcome.missing.iter().any(|one| one.contains("alder.md, part")));
    assert!(outcome.tasks.len() < 40, "{} tasks", outcome.tasks.len());
}

#[test]
fn a_planner_that_fails_gives_way_to_another_model_and_then_to_the_goal_as_the_question() {
    let planned = |other_plans: bool| {
        let request = RunRequest {
            inputs: vec![Input {
                name: "a.md".to_owned(),
                text: "Farm Alder\n\nIt keeps sheep.\n".to_owned(),
            }],
            ..RunRequest::new("What does the farm do?")
        };
        let mut band: BandInfo = plain_goal("").band;
        let other =
            WorkerInfo { worker: "other".to_owned(), model: "other".to_owned(), ..band.planner.clone() };
        band.workers.push(WorkerInfo { skills: vec![Skill::Read], ..other });
        let mut state = RunState::new("r", 0);
        state.strategy = Some(StrategyName::Map);
        let goal = Goal::new(&request, GoalFacts::default(), band);
        let reply = move |planned: &Planned| match (planned.task.as_str(), planned.worker.as_str()) {
            ("plan", PLANNER) => says("nonsense"),
            ("plan", _) if other_plans => {
                says(r#"{"find":"what the farm does","answer_is":"text","combine":["list"]}"#)
            }
            ("plan", _) => says("nonsense too"),
            ("synthesis", _) => says("Farm Alder: It keeps sheep."),
            _ => says(r#"{"subject":"Farm Alder","answer":"It keeps sheep."}"#),
        };
        let (_, state) = play(Core::new(std::sync::Arc::new(goal), state, None), reply);
        let find = state.plan_tasks().next().unwrap().task.instruction.clone();
        (find, state.status, state.task("plan").unwrap().worker.clone())
    };
    // What a farm does is told in a sentence, which no rule checks.
    let (find, status, by) = planned(true);
    assert_eq!((find.as_str(), status, by.as_str()), ("what the farm does", Status::Incomplete, "other"));
    let (find, status, _) = planned(false);
    assert_eq!((find.as_str(), status), ("answer to: What does the farm do?", Status::Incomplete));
}

#[test]
fn the_answer_has_room_for_what_was_found_after_the_run_had_ended() {
    let input = |name: &str| Input {
        name: format!("{name}.md"),
        text: format!("Farm {name}\n\n{name} keeps horses, and its owner writes about them at length.\n"),
    };
    let request = RunRequest {
        inputs: ["Alder", "Birch", "Cedar"].map(input).into(),
        ..RunRequest::new("List what each farm does.")
    };
    let band = plain_goal("").band;
    let goal = std::sync::Arc::new(Goal::new(&request, GoalFacts::default(), band.clone()));
    let mut state = RunState::new("r", 0);
    state.strategy = Some(StrategyName::Map);
    state.band = Some(band.clone());
    let mut limits = Vec::new();
    let mut reply = |planned: &Planned, fails: bool| {
        let prompt = planned.call.messages.last().unwrap().content.clone();
        if planned.task == "synthesis" {
            limits.push(planned.call.tokens_max);
            return says("nothing that can be used: 12345");
        }
        match planned.task.as_str() {
            "plan" => says(r#"{"find":"what the farm does","answer_is":"text","combine":["list"]}"#),
            _ if fails && !prompt.contains("Alder") => says("nonsense"),
            _ => {
                let answer = "It keeps horses, and its owner writes about them at length. ".repeat(3);
                says(serde_json::json!({"subject": "", "answer": answer}).to_string())
            }
        }
    };
    let (_, mut state) = play(Core::new(goal.clone(), state, None), |planned| reply(planned, true));
    assert_eq!(state.status, Status::Incomplete);
    let resumed = EventKind::RunResumed { answer: None, band, changed: Vec::new() };
    state.apply(state.last_seq + 1, 0, &resumed);
    play(Core::new(goal, state, None), |planned| reply(planned, false));
    let (first, last) = (limits[0], *limits.last().unwrap());
    assert!(last > first + 100, "{limits:?}");
}
