use std::sync::Arc;

use serde_json::json;

use crate::advance::{Core, Planned};
use crate::band::Skill;
use crate::choice::why::{Facts, StrategyWhy};
use crate::event::{CallEnd, EventKind};
use crate::goal::{BandInfo, Goal, PLANNER, RULE, WorkerInfo};
use crate::outcome::{Outcome, Status};
use crate::request::{Input, RunRequest, StrategyName};
use crate::simulation::play::{play, says};
use crate::state::RunState;

const KILN: &str = "The kiln at Hafn burns 14 tonnes of lime a day. It was built by Mr Falk in 1931.";
const FERRY: &str = "The ferry to Hafn leaves at 7:40 and carries 26 cars. It does not sail in a storm.";

fn core(goal: &str, texts: &[&str], plan_approved: bool) -> Core {
    let mut request = RunRequest::new(goal);
    let input =
        |(at, text): (usize, &&str)| Input { name: format!("{}.md", at + 1), text: (*text).to_owned() };
    request.inputs = texts.iter().enumerate().map(input).collect();
    let info = |worker: &str, model: &str, skills: &[Skill]| WorkerInfo {
        worker: worker.to_owned(),
        model: model.to_owned(),
        context_tokens: 2048,
        skills: skills.to_vec(),
    };
    let band = BandInfo {
        planner: info(PLANNER, "large", &[]),
        workers: vec![info("small", "small", &[Skill::Read, Skill::Write]), info("calculator", RULE, &[])],
    };
    let goal = Arc::new(Goal::new(&request, Facts::default(), band));
    let mut state = RunState::new("run", 0);
    let chosen = EventKind::StrategyChosen { strategy: StrategyName::Each, why: StrategyWhy::default() };
    state.apply(1, 0, &chosen);
    state.asked.approve = plan_approved;
    Core::new(goal, state, None)
}

fn slots(instruction: &str, work: &str, more: serde_json::Value) -> String {
    let mut slots = json!({"instruction": instruction, "work": work, "language": null, "limit": null, "labels": [],
                           "together": "sections"});
    for (field, value) in more.as_object().expect("fields") {
        slots[field] = value.clone();
    }
    slots.to_string()
}

/// The outcome of a run, and the prompts of its calls.
fn work(
    goal: &str,
    texts: &[&str],
    plan: &str,
    mut reply: impl FnMut(&Planned) -> String,
) -> (Outcome, Vec<String>) {
    let mut prompts = Vec::new();
    let (_, state) = play(core(goal, texts, false), |planned| -> (String, CallEnd) {
        prompts.push(planned.call.messages[0].content.clone());
        says(if planned.task == "plan" { plan.to_owned() } else { reply(planned) })
    });
    (*state.outcome.expect("the run has ended"), prompts)
}

fn german(planned: &Planned) -> String {
    match planned.call.messages[0].content.contains("kiln") {
        true => "Der Ofen in Hafn brennt jeden Tag 14 Tonnen Kalk. Herr Falk hat ihn 1931 gebaut.".to_owned(),
        false => {
            "Die Fähre nach Hafn fährt um 7:40 ab und trägt 26 Autos. Bei Sturm fährt sie nicht.".to_owned()
        }
    }
}

#[test]
fn each_text_is_translated_and_what_is_not_is_drawn_again() {
    let plan = slots("Translate the note into German.", "translate", json!({"language": "German"}));
    let mut originals = 0;
    let (outcome, prompts) = work("Translate both notes into German.", &[KILN, FERRY], &plan, |planned| {
        if planned.task == "t1" && planned.attempt == 1 {
            originals += 1;
            return KILN.to_owned();
        }
        format!("Here is the translation:\n\n{}", german(planned))
    });
    assert_eq!((outcome.status, originals), (Status::Completed, 1), "{outcome:#?}");
    assert!(outcome.answer.starts_with("## 1.md\n\nDer Ofen"), "{}", outcome.answer);
    assert!(outcome.answer.contains("\n\n## 2.md\n\nDie Fähre") && !outcome.answer.contains("Here is"));
    assert!(prompts[1].contains("Write in German.") && prompts[1].contains(KILN));
}

#[test]
fn a_text_that_nobody_translates_is_missing_and_a_lost_number_is_named() {
    let plan = slots("Translate the note into German.", "translate", json!({"language": "German"}));
    let (outcome, _) = work("Translate both notes into German.", &[KILN, FERRY], &plan, |planned| {
        if planned.task == "t1" { KILN.to_owned() } else { german(planned).replace("26", "62") }
    });
    assert_eq!(outcome.status, Status::Incomplete);
    assert!(outcome.missing[0].contains("1.md has no result: it is not in German"), "{:?}", outcome.missing);
    assert!(
        outcome.missing[1].contains("2.md") && outcome.missing[1].contains("26"),
        "{:?}",
        outcome.missing
    );
}

#[test]
fn a_merged_text_holds_every_result_or_they_stand_one_after_another() {
    let plan = slots(
        "Translate the note into German.",
        "translate",
        json!({"language": "German", "together": "one_text"}),
    );
    let goal = "Translate both notes into German and merge them.";
    let both = "In Hafn brennt ein Ofen jeden Tag 14 Tonnen Kalk, den Herr Falk 1931 gebaut hat. Die Fähre nach Hafn \
                trägt 26 Autos, fährt um 7:40 ab und bei Sturm nicht.";
    let run = |merged: &str| {
        let merge =
            |planned: &Planned| if planned.task == "synthesis" { merged.to_owned() } else { german(planned) };
        work(goal, &[KILN, FERRY], &plan, merge).0
    };
    assert_eq!((run(both).status, run(both).answer.as_str()), (Status::Completed, both));
    let lost = run("In Hafn brennt ein Ofen jeden Tag 14 Tonnen Kalk, den Herr Falk 1931 gebaut hat.");
    assert_eq!(lost.status, Status::Completed);
    assert!(lost.answer.contains("Falk") && lost.answer.contains("\n\nDie Fähre"), "{}", lost.answer);
}

#[test]
fn a_label_needs_two_draws_that_agree() {
    let plan = slots(
        "Mark the note as work or travel.",
        "classify",
        json!({"labels": ["work", "travel"], "together": "count"}),
    );
    let goal = "Mark each note as work or travel and count them.";
    let (outcome, _) = work(goal, &[KILN, FERRY], &plan, |planned| {
        let wrong = planned.task == "t2" && planned.attempt == 1;
        let label = if planned.task == "t1" || wrong { "work" } else { "travel" };
        json!({"label": label}).to_string()
    });
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    assert_eq!(outcome.answer, "- 1.md: work\n- 2.md: travel\n\nwork: 1\ntravel: 1");
    let attempts: Vec<usize> = outcome.tasks.iter().map(|task| task.attempts as usize).collect();
    assert_eq!(attempts, [2, 3]);
}

#[test]
fn the_goal_itself_says_the_limit_the_language_and_the_labels() {
    let told =
        |goal: &str, slots: &str| super::fill::settle(serde_json::from_str(slots).expect("slots"), goal);
    let twenty = slots("Shorten", "shorten", json!({"limit": {"most": 20, "of": "sentences"}}));
    let limit = told("Shorten each to 20 words.", &twenty).limit.expect("a limit");
    assert_eq!(limit.told(), "20 words");
    assert_eq!(told("Shorten each of them.", &twenty).limit, None);
    let spanish = slots("Translate", "translate", json!({"language": "Spanish"}));
    assert_eq!(told("Put them into French.", &spanish).language.as_deref(), Some("French"));
    assert_eq!(told("Übersetze alle ins Spanische.", &spanish).language.as_deref(), Some("Spanish"));
    let labels = slots("Mark", "classify", json!({"labels": ["good", "bad", "so-so", "good"]}));
    assert_eq!(told("Mark each as good or bad.", &labels).labels, ["good", "bad"]);
}

#[test]
fn the_results_for_the_parts_of_a_long_text_are_made_one() {
    let paragraph = |at: usize| {
        format!("Station {at} of the tram is {} metres above the sea and has a bench.\n\n", 100 + at)
    };
    let long: String = (0..60).map(paragraph).collect();
    let plan = slots("Sum up the text in one sentence.", "sum_up", json!({}));
    let mut core = core("Sum up each text in one sentence.", &[&long, KILN], false);
    let mut record = Vec::new();
    let state = loop {
        let (events, waits) = core.advance(0);
        record.extend(events);
        match waits {
            crate::advance::Waits::Over => break core.state,
            crate::advance::Waits::ForSplits(asked) => {
                let split = |asked: crate::strategy::SplitAsked| crate::event::Split {
                    input: asked.input,
                    parts: crate::strategies::map::split::parts(
                        &core.goal.inputs[asked.input].text,
                        asked.tokens_max,
                        None,
                        |text| text.len().div_ceil(3),
                    ),
                    worker: asked.worker,
                    tokens_max: asked.tokens_max,
                };
                let splits = asked.into_iter().map(split).collect();
                core.take(0, &EventKind::InputsSplit { splits });
            }
            crate::advance::Waits::ForSearch(asked) => {
                let mut index = bandmaster_tools::retrieval::Index::open(None, None);
                let search = crate::search::found(&mut index, &core.goal.inputs, asked);
                core.take(0, &EventKind::InputsSearched { search });
            }
            crate::advance::Waits::ForCalls => {
                let planned = core.calls(&|_, _| false).swap_remove(0);
                let reply = match planned.task.as_str() {
                    "plan" => plan.clone(),
                    _ if planned.call.messages[0].content.contains("kiln") => {
                        "A kiln burns lime at Hafn.".to_owned()
                    }
                    _ => "The tram has a station with a bench.".to_owned(),
                };
                core.take(0, &crate::simulation::play::output(planned, says(reply)));
            }
        }
    };
    let outcome = state.outcome.as_ref().expect("the run has ended");
    assert_eq!(outcome.status, Status::Completed, "{outcome:#?}");
    assert_eq!(
        outcome.answer,
        "## 1.md\n\nThe tram has a station with a bench.\n\n## 2.md\n\nA kiln burns lime at Hafn."
    );
    let folds = state.plan_tasks().filter(|task| !task.task.needs.is_empty()).count();
    assert!(folds >= 1 && state.plan_tasks().count() > 3);
}

#[test]
fn a_run_without_a_plan_gives_each_text_the_goal() {
    let (outcome, prompts) = work("Write a slogan for every place.", &[KILN, FERRY], "no JSON", |planned| {
        if planned.task == "t1" { "Lime from Hafn".to_owned() } else { "Sail to Hafn".to_owned() }
    });
    assert!(
        outcome.answer.contains("Lime from Hafn") && outcome.answer.contains("Sail to Hafn"),
        "{outcome:#?}"
    );
    assert!(prompts.iter().any(|prompt| prompt.starts_with("Write a slogan for every place.\n")));
}
