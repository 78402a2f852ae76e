use std::sync::Arc;

use serde_json::json;

use crate::advance::{Core, Planned};
use crate::band::Skill;
use crate::choice::why::{Facts, StrategyWhy};
use crate::event::{CallEnd, EventKind};
use crate::goal::{BandInfo, Goal, PLANNER, WorkerInfo};
use crate::outcome::{Outcome, Status};
use crate::request::{Input, RunRequest, StrategyName};
use crate::simulation::play::{play, says};
use crate::state::RunState;

const LEAFLET: &str =
    "# Rowing club\n\nFounded in 1823. The fee is 38 euros a month. Greta Farnaby is our chair.\n";
const REPORT: &str = "| item | value |\n|---|---|\n| fee | 42 euros a month |\n| founded | 1823 |\n";
const LETTER: &str =
    "The fee stays at EUR 38 a month, says Greta Farnaby, our chair. Last year 12 boats sank.\n";

fn core(texts: &[&str]) -> Core {
    let mut request = RunRequest::new("Where do these disagree?");
    let names = ["leaflet.md", "report.md", "letter.txt"];
    let inputs = texts.iter().zip(names);
    request.inputs =
        inputs.map(|(text, name)| Input { name: name.to_owned(), text: (*text).to_owned() }).collect();
    let info = |worker: &str, model: &str, skills: &[Skill]| WorkerInfo {
        worker: worker.to_owned(),
        model: model.to_owned(),
        context_tokens: 2048,
        skills: skills.to_vec(),
    };
    let band = BandInfo {
        planner: info(PLANNER, "large", &[]),
        workers: vec![info("small", "small", &[Skill::Find])],
    };
    let mut state = RunState::new("run", 0);
    let chosen = EventKind::StrategyChosen { strategy: StrategyName::Compare, why: StrategyWhy::default() };
    state.apply(1, 0, &chosen);
    Core::new(Arc::new(Goal::new(&request, Facts::default(), band)), state, None)
}

fn work(texts: &[&str], mut reply: impl FnMut(&Planned, &str) -> String) -> (Outcome, Vec<String>) {
    let mut prompts = Vec::new();
    let (_, state) = play(core(texts), |planned| -> (String, CallEnd) {
        let prompt = planned.call.messages[0].content.clone();
        prompts.push(prompt.clone());
        says(reply(planned, &prompt))
    });
    (*state.outcome.expect("the run has ended"), prompts)
}

fn nothing() -> String {
    json!({"facts": []}).to_string()
}

/// Log-probabilities of the two replies.
fn same(answer: &str) -> String {
    json!(match answer {
        "yes" => [-0.4, -1.2],
        "no" => [-3.0, -0.1],
        _ => [-1.5, -0.3],
    })
    .to_string()
}

fn is_reading(prompt: &str) -> bool {
    prompt.contains("\"\"\"")
}

#[test]
fn the_values_that_differ_are_told_with_their_places_and_the_odd_text_is_named() {
    let (outcome, prompts) =
        work(
            &[LEAFLET, REPORT, LETTER],
            |_, prompt| {
                if is_reading(prompt) { nothing() } else { same("yes") }
            },
        );
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    let answer = &outcome.answer;
    assert!(answer.contains("in one point"), "{answer}");
    assert!(answer.contains("- leaflet.md:3 says 38 euros: \"The fee is 38 euros a month\""), "{answer}");
    assert!(answer.contains("- report.md:3 says 42 euros"), "{answer}");
    assert!(answer.contains("report.md stands alone"), "{answer}");
    assert!(!answer.contains("1823") && !answer.contains("12"), "{answer}");
    // No text is read by a model: there are two questions in both orders.
    assert_eq!(prompts.len(), 4, "{prompts:#?}");
}

#[test]
fn statements_of_different_times_are_no_contradiction_and_a_doubt_is_told() {
    let texts = ["The race has 400 runners.", "Last year 310 runners finished."];
    let (outcome, _) = work(&texts, |_, prompt| if is_reading(prompt) { nothing() } else { same("no") });
    assert!(outcome.answer.starts_with("No contradiction was found"), "{}", outcome.answer);
    assert_eq!(outcome.status, Status::Completed);
    let (outcome, _) = work(&texts, |_, prompt| if is_reading(prompt) { nothing() } else { same("perhaps") });
    assert_eq!(outcome.status, Status::Incomplete, "{outcome:#?}");
    assert!(outcome.unchecked[0].contains("says 400"), "{:?}", outcome.unchecked);
}

#[test]
fn a_planner_that_sees_two_things_leaves_the_contradiction_unchecked() {
    let (outcome, _) = work(&[LEAFLET, REPORT], |_, _| same("no"));
    assert_eq!(outcome.status, Status::Incomplete, "{outcome:#?}");
    assert!(outcome.unchecked[0].contains("leaflet.md:3 says 38 euros"), "{:?}", outcome.unchecked);
}

#[test]
fn texts_that_agree_in_other_spellings_have_no_contradiction() {
    let texts =
        ["The vault opens on 20 September 2026 for 1,200 euros.", "opens: 2026-09-20\nprice: EUR 1.200\n"];
    let (outcome, prompts) = work(&texts, |_, _| nothing());
    assert_eq!((outcome.status, prompts.len()), (Status::Completed, 2), "{outcome:#?}");
    assert!(outcome.answer.contains("No contradiction"), "{}", outcome.answer);
}

#[test]
fn what_a_model_reads_counts_only_if_it_stands_in_the_text() {
    let texts = ["We meet at the Old Mill by the river.", "The place where we meet is the Red Barn."];
    let (outcome, _) = work(&texts, |planned, prompt| match (is_reading(prompt), planned.task.as_str()) {
        (false, _) => same("yes"),
        (true, "t1") => json!({"facts": [
            {"words": "at the Old Mill", "value": "Old Mill", "topic": "meeting place"},
            {"words": "at the Blue House", "value": "Blue House", "topic": "meeting place"},
        ]})
        .to_string(),
        (true, _) => json!({"facts": [
            {"words": "is the Red Barn", "value": "Red Barn", "topic": "meeting place"},
        ]})
        .to_string(),
    });
    assert!(outcome.answer.contains("Old Mill") && outcome.answer.contains("Red Barn"), "{}", outcome.answer);
    assert!(!outcome.answer.contains("Blue"), "{}", outcome.answer);
}

#[test]
fn a_reading_that_fails_is_asked_for_again_in_halves() {
    let long = format!("{}\n", "The hall has 64 seats and a stage.\n".repeat(13));
    let (outcome, prompts) = work(&[&long, "hall: 64 seats"], |planned, prompt| {
        if planned.task == "t1" {
            "{\"facts\": [".to_owned()
        } else if is_reading(prompt) {
            nothing()
        } else {
            same("no")
        }
    });
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    assert!(prompts.len() >= 5, "{}", prompts.len());
}

#[test]
fn one_text_has_nothing_to_be_compared_with() {
    let (outcome, _) = work(&[LEAFLET], |_, _| nothing());
    assert_eq!(outcome.status, Status::Failed);
}
