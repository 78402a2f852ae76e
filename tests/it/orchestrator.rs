//! Whole runs against scripted models: what is answered and what is recorded.

mod answered;
mod best;
mod failures;
mod found;
mod free;
mod free_plans;
mod likelihood;
mod outside;
mod parked;
mod patterns;
mod resumed;
mod scripted;
mod size;
mod tables;
mod topic;
mod trouble;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bandmaster::orchestrator::{
    Attempt, BoxFuture, Call, Cancel, Embed, Input, RunRequest, Status, StrategyName, state,
};
use serde_json::json;

use scripted::*;

#[test]
fn a_map_reads_all_inputs_at_once_and_the_sum_is_right() {
    let slow = |call: &Call, _: usize| match reading(call) {
        Act::Say(text) => Act::SayAfter(Duration::from_millis(80), text),
        other => other,
    };
    let workers = [scripted("small", slow), scripted("tiny", slow)];
    let ran = play(&obedient_planner(), &workers, &map_request(5));
    let outcome = &ran.outcome;
    assert_eq!(
        (outcome.status, outcome.strategy, outcome.exit_code()),
        (Status::Completed, StrategyName::Map, 0)
    );
    assert!(
        outcome.answer.contains("Total: 150") && outcome.answer.contains("Farm number 3: 40"),
        "{}",
        outcome.answer
    );
    assert_eq!(outcome.tasks.len(), 6);
    let readers = &outcome.tasks[..5];
    let all_started = readers.iter().map(|task| task.started_ms).max().unwrap();
    assert!(readers.iter().all(|task| task.finished_ms >= all_started), "readings overlap");
    for model in ["small", "tiny"] {
        assert!(readers.iter().any(|task| task.model == model), "both workers read");
    }
    let sum = &outcome.tasks[5];
    assert_eq!((sum.worker.as_str(), sum.model.as_str(), sum.needs.len()), ("calculator", "rule", 5));
    let planner: Vec<&str> = outcome.planner_tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(planner, ["plan", "synthesis"]);
    assert_eq!(outcome.usage.mean_batch, 2.0);
}

#[test]
fn the_outcome_and_the_events_have_the_shape_of_the_interface() {
    let ran = play(&obedient_planner(), &[scripted("small", |call, _| reading(call))], &map_request(2));
    let outcome = serde_json::to_value(&ran.outcome).unwrap();
    for field in ["id", "status", "answer", "strategy", "strategy_why", "tasks", "usage", "missing"] {
        assert!(outcome.get(field).is_some(), "{field}");
    }
    for field in [
        "id",
        "worker",
        "model",
        "needs",
        "status",
        "attempts",
        "usage",
        "started_ms",
        "finished_ms",
        "output",
    ] {
        assert!(outcome["tasks"][0].get(field).is_some(), "{field}");
    }
    assert!(outcome["tasks"][0]["usage"]["prompt_tokens_details"]["cached_tokens"].is_u64());
    for field in
        ["prompt_tokens", "completion_tokens", "prompt_tokens_details", "steps", "mean_batch", "wall_ms"]
    {
        assert!(outcome["usage"].get(field).is_some(), "{field}");
    }
    assert!(outcome["strategy_why"]["facts"].is_object() && outcome["strategy_why"]["nearest"].is_array());
    let types = ran.types();
    assert_eq!(
        (types[0], types[1], *types.last().unwrap()),
        ("run.started", "strategy.chosen", "run.finished")
    );
    for kind in
        ["plan.proposed", "plan.accepted", "task.ready", "task.started", "task.output", "task.finished"]
    {
        assert!(types.contains(&kind), "{kind}");
    }
    assert_eq!(ran.events.last().unwrap()["status"], "completed");
}

#[test]
fn the_journal_holds_prompt_sampling_output_and_every_attempt() {
    let worker =
        scripted("small", |call, number| if number == 0 { say("{\"subject\"") } else { reading(call) });
    let ran = play(&obedient_planner(), &[worker], &map_request(2));
    let state = state(&ran.journal, &ran.outcome.id).unwrap();
    assert_eq!(
        (state.goal.as_str(), state.status, state.strategy),
        (GOAL, Status::Completed, Some(StrategyName::Map))
    );
    let retried =
        state.tasks.iter().find(|task| task.attempts.len() == 2).expect("one reading was tried twice");
    let [first, second] = &retried.attempts[..] else { panic!("{:?}", retried.attempts) };
    assert!(first.error.as_deref().unwrap().contains("JSON"));
    assert!(first.prompt.contains("sheep") && first.sampling["seed"].is_u64());
    assert_eq!(second.prompt, first.prompt, "a fresh draw, and no argument");
    let temperature = |attempt: &Attempt| attempt.sampling["temperature"].as_f64().unwrap() as f32;
    assert_eq!((temperature(first), temperature(second)), (0.0, 0.6));
    assert_ne!(second.sampling["seed"], first.sampling["seed"]);
    assert!(first.output.starts_with("{\"subject\"") && second.output.contains("Farm number"));
    assert_eq!(ran.journal.inputs(&ran.outcome.id).unwrap().len(), 2);
}

#[test]
fn what_a_text_does_not_say_is_said_to_be_missing() {
    let silent = json!({"subject": "", "answer": null}).to_string();
    let read = move |call: &Call| {
        if call.messages[0].content.contains("Nothing is known") {
            say(silent.clone())
        } else {
            reading(call)
        }
    };
    let planners_read = read.clone();
    let planner = scripted("big", move |call, _| {
        if call.schema.is_none() {
            let lines = last(call).lines().filter(|line| line.starts_with("- ") || line.starts_with("Total"));
            return say(lines.collect::<Vec<_>>().join("\n"));
        }
        if last(call).contains("look up in every single text") { say(slots()) } else { planners_read(call) }
    });
    let mut request = map_request(2);
    request.inputs.push(Input { name: "lost.md".to_owned(), text: "Nothing is known of it.".to_owned() });
    let ran = play(&planner, &[scripted("small", move |call, _| read(call))], &request);
    assert_eq!(ran.outcome.missing, ["lost.md does not say"]);
    assert!(ran.outcome.answer.contains("Total: 30") && ran.outcome.answer.contains("lost.md does not say"));
    assert_eq!(ran.outcome.tasks[2].model, "big", "the planner gives the second opinion");
}

#[test]
fn a_direct_goal_is_one_call_with_the_goal_as_it_was_typed() {
    let planner = scripted("big", |_, _| say("It is Paris."));
    let ran = play(
        &planner,
        &[scripted("small", |_, _| Act::Panic)],
        &RunRequest::new("What is the capital of France?"),
    );
    assert_eq!((ran.outcome.status, ran.outcome.answer.as_str()), (Status::Incomplete, "It is Paris."));
    // Nothing is missing, but nobody has checked it.
    assert_eq!(ran.outcome.unchecked, ["the answer, which is the reply of a single call"]);
    assert!(ran.outcome.is_whole() && ran.outcome.missing.is_empty() && ran.outcome.exit_code() == 3);
    assert!(ran.outcome.report().contains("unchecked: the answer"), "{}", ran.outcome.report());
    assert_eq!((ran.outcome.tasks.len(), ran.outcome.planner_tasks.len()), (1, 0));
    let seen = planner.seen.lock().unwrap();
    assert_eq!(
        (seen.len(), seen[0].messages.len(), last(&seen[0])),
        (1, 1, "What is the capital of France?")
    );
    assert_eq!(ran.streamed, "It is Paris.");
    assert_eq!(ran.count("answer.delta"), 0, "text has no number and is not recorded");
}

#[test]
fn something_spoken_of_as_attached_but_not_there_is_asked_for() {
    let planner = scripted("big", |_, _| Act::Panic);
    let ran = play(&planner, &[], &RunRequest::new("Summarise the attached minutes."));
    assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::RequiresAction, 4));
    assert!(ran.outcome.answer.contains('?') && ran.outcome.tasks.is_empty());
}

#[test]
fn named_aspects_are_written_side_by_side_and_put_together_in_order() {
    let worker = scripted("small", |call, _| {
        let title =
            last(call).split("only the section \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        // The later sections end first.
        let wait = Duration::from_millis(if title == "soil" { 80 } else { 10 });
        Act::SayAfter(wait, format!("## {title}\n\nAll about {title}."))
    });
    let request = RunRequest::new("Write a guide to roses with a section on each of: soil, water, pests.");
    let ran = play(&scripted("big", |_, _| Act::Panic), &[worker], &request);
    assert_eq!((ran.outcome.status, ran.outcome.strategy), (Status::Completed, StrategyName::Parallel));
    assert_eq!(
        ran.outcome.answer,
        "## Soil\n\nAll about soil.\n\n## Water\n\nAll about water.\n\n## Pests\n\nAll about pests."
    );
    assert!(ran.outcome.tasks[2].started_ms <= ran.outcome.tasks[0].finished_ms);
}

#[test]
fn an_input_too_long_for_one_call_is_read_in_parts_and_nothing_is_lost() {
    let filler = "The barn was painted and the fence was mended before the first snow fell.\n\n".repeat(120);
    let text = format!("{filler}It keeps 70 sheep in winter.\n\n{filler}");
    let silent = json!({"subject": "", "answer": null}).to_string();
    let read = move |call: &Call| {
        if call.messages[0].content.contains(" sheep in winter") {
            reading(call)
        } else {
            say(silent.clone())
        }
    };
    let planner_read = read.clone();
    let planner = Arc::new(Scripted {
        name: "big".to_owned(),
        context_tokens: 2048,
        script: Box::new(move |call, _| {
            if call.schema.is_none() {
                return say("70 sheep at farm, total 70");
            }
            if last(call).contains("look up in every single text") {
                say(slots())
            } else {
                planner_read(call)
            }
        }),
        calls: AtomicUsize::new(0),
        seen: Mutex::new(Vec::new()),
        counted: Mutex::default(),
    });
    let mut request = RunRequest::new("How many sheep does the farm keep?");
    request.inputs = vec![Input { name: "farm.md".to_owned(), text }];
    let ran = play(&planner, &[], &request);
    assert_eq!((ran.outcome.strategy, ran.outcome.status), (StrategyName::Map, Status::Completed));
    assert!(ran.outcome.tasks.len() >= 3, "the text is read in parts");
    assert!(ran.outcome.answer.contains("70"), "{}", ran.outcome.answer);
    assert!(ran.outcome.missing.is_empty(), "{:?}", ran.outcome.missing);
}

/// Texts that share words are close in meaning, which is enough for a test.
struct WordEmbed;

impl Embed for WordEmbed {
    fn embed<'a>(&'a self, texts: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Vec<f32>>, String>> {
        let vector = |text: &str| {
            let mut vector = vec![0.0_f32; 512];
            for word in
                text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
            {
                let hash = word
                    .bytes()
                    .fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
                vector[hash % 512] += 1.0;
            }
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
            vector.iter().map(|x| x / length).collect::<Vec<f32>>()
        };
        let vectors = texts.iter().map(|text| vector(text)).collect();
        Box::pin(async move { Ok(vectors) })
    }
}

#[test]
fn nearness_to_worked_examples_decides_what_facts_leave_open() {
    let choose = |goal: &str, inputs: usize| {
        let planner = obedient_planner();
        let request = RunRequest { inputs: farms(inputs), ..RunRequest::new(goal) };
        play_with(&planner, &[], Some(Arc::new(WordEmbed)), &request, &Cancel::new(), |_| {}).outcome
    };
    let outcome = choose("What did each of the farms keep last winter, and how much was that altogether?", 4);
    assert_eq!(outcome.strategy, StrategyName::Map);
    assert_eq!(outcome.strategy_why.nearest.len(), 5);
    assert_eq!(
        choose("When is the next meeting, according to the minutes?", 2).strategy,
        StrategyName::Direct
    );
    assert_eq!(choose("Proofread my essay.", 0).strategy, StrategyName::Ask);
}

#[test]
fn the_report_says_what_was_done_and_what_it_cost() {
    let ran = play(&obedient_planner(), &[scripted("small", |call, _| reading(call))], &map_request(2));
    let report = ran.outcome.report();
    for part in
        [ran.outcome.id.as_str(), "map, 3 tasks by small ×2, calculator ×1", "prompt tokens", "sequences"]
    {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn arithmetic_alone_goes_to_the_calculator() {
    let ran = play(&scripted("big", |_, _| Act::Panic), &[], &RunRequest::new("What is 17 times 23?"));
    assert_eq!((ran.outcome.status, ran.outcome.answer.as_str()), (Status::Completed, "17 * 23 = 391"));
    assert_eq!((ran.outcome.tasks.len(), ran.outcome.tasks[0].worker.as_str()), (1, "calculator"));
}

#[test]
fn an_answer_without_a_majority_says_so() {
    let planner = scripted("big", |_, number| say(format!("Answer: {}", [7, 7, 8, 9, 10][number])));
    let mut request = RunRequest::new("Out of 5 rows of 3, 2 fall: how many stand?");
    request.strategy = Some(StrategyName::Vote);
    let ran = play(&planner, &[], &request);
    assert_eq!((ran.outcome.status, ran.outcome.answer.as_str()), (Status::Incomplete, "Answer: 7"));
    assert!(ran.outcome.missing[0].contains("2 times of 5"), "{:?}", ran.outcome.missing);
}

#[test]
fn every_section_a_goal_names_is_written_however_many() {
    let names: Vec<String> = (b'a'..=b'n').map(|c| format!("{0}{0}{0}", c as char)).collect();
    let worker = scripted("small", |_, _| say("It is described here."));
    let goal = format!("Write a guide with a section on each of: {}.", names.join(", "));
    let ran = play(&scripted("big", |_, _| Act::Panic), &[worker], &RunRequest::new(goal));
    assert_eq!((ran.outcome.status, ran.outcome.tasks.len()), (Status::Completed, names.len()));
}

#[test]
fn inputs_are_counted_once_and_not_on_the_threads_that_serve() {
    let planner = obedient_planner();
    let request = map_request(3);
    let ran = play(&planner, &[], &request);
    assert_eq!(ran.outcome.status, Status::Completed);
    let counted = planner.counted.lock().unwrap();
    for input in &request.inputs {
        let times = counted.iter().filter(|(text, _)| *text == input.text).count();
        assert_eq!(times, 1, "{}", input.name);
    }
    // The run itself is polled on this thread.
    let here = std::thread::current().id();
    let of_inputs = |text: &str| request.inputs.iter().any(|input| input.text.contains(text));
    assert!(counted.iter().filter(|(text, _)| of_inputs(text)).all(|(_, thread)| *thread != here));
    drop(counted);
    let one_call = RunRequest { strategy: Some(StrategyName::Direct), ..request.clone() };
    let other = obedient_planner();
    play(&other, &[], &one_call);
    let counted = other.counted.lock().unwrap();
    assert_eq!(counted.iter().filter(|(text, _)| *text == request.inputs[0].text).count(), 1);
}
