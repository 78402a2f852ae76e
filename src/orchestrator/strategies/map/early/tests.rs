use std::sync::Arc;

use crate::advance::{Core, Planned, Waits};
use crate::choice::why::Facts;
use crate::event::{CallEnd, EventKind};
use crate::goal::{BandInfo, Goal, plain_goal};
use crate::outcome::{Outcome, Status};
use crate::plan::Job;
use crate::request::{Input, RunRequest, StrategyName};
use crate::simulation::play::{output, says};
use crate::state::RunState;

const BEGUN: &str = r#"{"find":"number of sheep the farm keeps","answer_is":"number""#;

/// A map over two farms whose planner has finished [`BEGUN`] and still writes.
fn map(approve: bool) -> Core {
    let farm = |name: &str, sheep: u32, goats: u32| Input {
        name: format!("{name}.md"),
        text: format!("Farm {name}\n\nThe farm keeps {sheep} sheep. The farm keeps {goats} goats.\n"),
    };
    let request = RunRequest {
        inputs: vec![farm("Alder", 70, 3), farm("Birch", 5, 8)],
        approve,
        ..RunRequest::new("List how many sheep or goats each farm keeps, and the total.")
    };
    let band: BandInfo = plain_goal("").band;
    let goal = Goal::new(&request, Facts::default(), band.clone());
    let mut state = RunState::new("r", 0);
    state.strategy = Some(StrategyName::Map);
    state.asked.approve = approve;
    state.band = Some(band);
    let mut core = Core::new(Arc::new(goal), state, None);
    assert_eq!(core.advance(0).1, Waits::ForCalls);
    let (task, attempt) = ("plan".to_owned(), 1);
    core.take(0, &EventKind::TaskPartial { task, attempt, output: BEGUN.to_owned() });
    assert_eq!(core.advance(0).1, Waits::ForCalls);
    core
}

/// Ends the calls in progress of these tasks, one after the other.
fn end(core: &mut Core, tasks: &[&str], reply: impl Fn(&Planned) -> String) {
    for task in tasks {
        let calls = core.calls(&|id, _| id != *task);
        let [planned] = <[Planned; 1]>::try_from(calls).unwrap_or_else(|_| panic!("{task} is not called"));
        let replied = says(reply(&planned));
        core.take(0, &output(planned, replied));
        core.advance(0);
    }
}

/// A reader that finds what it is asked for.
fn read(planned: &Planned) -> String {
    let prompt = &planned.call.messages.last().unwrap().content;
    let counts: &[(&str, u32)] = if prompt.contains("number of sheep") {
        &[("70 sheep", 70), ("5 sheep", 5)]
    } else {
        &[("3 goats", 3), ("8 goats", 8)]
    };
    let found = counts.iter().find(|(words, _)| prompt.contains(words)).map(|(_, count)| *count);
    serde_json::json!({"subject": "", "answer": found}).to_string()
}

fn called(core: &Core) -> Vec<String> {
    core.calls(&|_, _| false).into_iter().map(|planned| planned.task).collect()
}

fn outcome(core: &Core) -> &Outcome {
    core.state.outcome.as_ref().expect("the run has ended")
}

#[test]
fn texts_are_read_while_the_planner_writes_how_to_combine_what_is_found() {
    let mut core = map(false);
    assert_eq!(called(&core), ["plan", "t1", "t2"]);
    end(&mut core, &["t1"], read);
    end(&mut core, &["plan"], |_| format!(r#"{BEGUN},"combine":["list","total"]}}"#));
    end(&mut core, &["t2"], read);
    let figures = core.state.task("t3").unwrap();
    assert_eq!(
        (&figures.task.job, &figures.task.needs[..]),
        (&Job::Calculate, &["t1".into(), "t2".into()][..])
    );
    assert_eq!(core.state.plan.as_ref().unwrap().tasks().len(), 3);
    end(&mut core, &["synthesis"], |_| "Farm Alder keeps 70 sheep and Farm Birch 5, in all 75.".to_owned());
    assert_eq!(outcome(&core).status, Status::Completed, "{:#?}", outcome(&core));
}

#[test]
fn readings_of_a_question_that_the_planner_does_not_ask_in_the_end_are_dropped() {
    let mut core = map(false);
    end(&mut core, &["t1"], read);
    // The first draw is rejected, and the second asks for something else.
    end(&mut core, &["plan"], |_| format!(r#"{BEGUN},"combine":[]}}"#));
    assert_eq!(called(&core), ["plan", "t2"]);
    let dropped = core.calls(&|id, _| id != "t2").swap_remove(0);
    let goats =
        r#"{"find":"number of goats the farm keeps","answer_is":"number","combine":["list","total"]}"#;
    end(&mut core, &["plan"], |_| goats.to_owned());
    assert_eq!(core.state.task("t2").unwrap().status, Status::Skipped);
    core.take(0, &output(dropped, (String::new(), CallEnd::Stopped)));
    assert_eq!(called(&core), ["t3", "t4"]);
    end(&mut core, &["t3", "t4"], read);
    end(&mut core, &["synthesis"], |planned| {
        let prompt = &planned.call.messages.last().unwrap().content;
        assert!(prompt.contains("11") && !prompt.contains("70"), "{prompt}");
        "Farm Alder keeps 3 goats and Farm Birch 8, in all 11.".to_owned()
    });
    assert_eq!(outcome(&core).status, Status::Completed, "{:#?}", outcome(&core));
}

#[test]
fn nothing_is_read_before_the_plan_is_approved() {
    let mut core = map(true);
    assert_eq!(called(&core), ["plan"]);
    end(&mut core, &["plan"], |_| format!(r#"{BEGUN},"combine":["list"]}}"#));
    assert_eq!(outcome(&core).status, Status::RequiresAction);
}

#[test]
fn what_was_read_is_told_although_the_run_was_stopped_before_the_plan_was_whole() {
    let mut core = map(false);
    end(&mut core, &["t1"], read);
    core.take(0, &EventKind::RunCancelled);
    for planned in core.calls(&|_, _| false) {
        core.take(0, &output(planned, (String::new(), CallEnd::Stopped)));
    }
    assert_eq!(core.advance(0).1, Waits::Over);
    let Outcome { answer, missing, .. } = outcome(&core);
    assert!(answer.contains("70"), "{answer}");
    assert!(missing.iter().any(|missing| missing.contains("Birch.md")), "{missing:?}");
}

#[test]
fn a_reading_is_the_same_when_it_is_called_again_after_the_plan_is_lost() {
    let mut core = map(false);
    let prompt = |core: &Core| core.calls(&|id, _| id != "t1").swap_remove(0).call.messages;
    let before = prompt(&core);
    let band = core.state.band.clone().unwrap();
    core.take(0, &EventKind::RunResumed { answer: None, band, changed: Vec::new() });
    core.advance(0);
    assert_eq!(prompt(&core), before);
}
