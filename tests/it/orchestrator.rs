//! Whole runs against scripted models: what is answered, what is recorded, and what happens when a model fails, lies,
//! stalls, panics or never stops.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bandmaster::journal::Journal;
use bandmaster::orchestrator::{
    Band, BoxFuture, Budget, Call, CallError, CallErrorKind, CallUsage, Cancel, Embed, EventKind, Finish,
    Input, Llm, Message, Outcome, Progress, Reply, RunEvent, RunRequest, Status, Strategy, Worker, run,
};
use serde_json::{Value, json};

/// What a scripted model does with a call.
enum Act {
    Say(String),
    SayAfter(Duration, String),
    Fail(CallErrorKind),
    Stall,
    Panic,
    /// Words without end, until it is dropped or its limit is reached.
    Babble,
}

fn say(text: impl Into<String>) -> Act {
    Act::Say(text.into())
}

type Script = dyn Fn(&Call, usize) -> Act + Send + Sync;

struct Scripted {
    name: String,
    context_tokens: usize,
    script: Box<Script>,
    calls: AtomicUsize,
    seen: Mutex<Vec<Call>>,
}

fn scripted(name: &str, script: impl Fn(&Call, usize) -> Act + Send + Sync + 'static) -> Arc<Scripted> {
    Arc::new(Scripted {
        name: name.to_owned(),
        context_tokens: 8192,
        script: Box::new(script),
        calls: AtomicUsize::new(0),
        seen: Mutex::new(Vec::new()),
    })
}

fn last(call: &Call) -> &str {
    &call.messages.last().unwrap().content
}

fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

impl Llm for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    fn count_tokens(&self, text: &str) -> usize {
        count(text)
    }

    fn prompt_tokens(&self, messages: &[Message]) -> usize {
        messages.iter().map(|message| count(&message.content) + 4).sum()
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().unwrap().push(call.clone());
        let act = (self.script)(call, number);
        Box::pin(async move {
            let rendered: Vec<&str> = call.messages.iter().map(|message| message.content.as_str()).collect();
            progress(Progress::Prompt(&rendered.join("\n")));
            let prompt_tokens = self.prompt_tokens(&call.messages) as u32;
            progress(Progress::Prefill { computed: prompt_tokens, total: prompt_tokens });
            let mut finish = Finish::Stop;
            let text = match act {
                Act::Say(text) => text,
                Act::SayAfter(wait, text) => {
                    tokio::time::sleep(wait).await;
                    text
                }
                Act::Fail(kind) => return Err(CallError { kind, message: "the forward failed".to_owned() }),
                Act::Stall => std::future::pending().await,
                Act::Panic => panic!("scripted"),
                Act::Babble => {
                    let mut text = String::new();
                    for n in 0..call.tokens_max {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        progress(Progress::Text(&format!("word{n} ")));
                        text.push_str(&format!("word{n} "));
                    }
                    finish = Finish::Length;
                    text
                }
            };
            for piece in text.split_inclusive(' ').filter(|_| finish == Finish::Stop) {
                progress(Progress::Text(piece));
            }
            let completion_tokens = count(&text) as u64;
            let usage = CallUsage {
                prompt_tokens: u64::from(prompt_tokens),
                cached_tokens: 0,
                completion_tokens,
                steps: completion_tokens + 1,
                batch_sum: 2 * (completion_tokens + 1),
            };
            Ok(Reply { text, finish, usage })
        })
    }
}

struct Ran {
    outcome: Outcome,
    events: Vec<Value>,
    journal: Journal,
}

impl Ran {
    fn types(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event["type"].as_str()).collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.types().iter().filter(|name| **name == kind).count()
    }
}

fn play(planner: &Arc<Scripted>, workers: &[Arc<Scripted>], request: &RunRequest) -> Ran {
    play_with(planner, workers, None, request, &Cancel::new(), |_| {})
}

fn play_with(
    planner: &Arc<Scripted>,
    workers: &[Arc<Scripted>],
    embed: Option<Arc<dyn Embed>>,
    request: &RunRequest,
    cancel: &Cancel,
    mut look: impl FnMut(&RunEvent) + Send,
) -> Ran {
    let workers = workers.iter().map(|worker| Worker::explicit(Arc::clone(worker) as Arc<dyn Llm>)).collect();
    let band = Band { planner: Arc::clone(planner) as Arc<dyn Llm>, workers, embed };
    let journal = Journal::in_memory().unwrap();
    let mut events = Vec::new();
    let mut observer = |event: &RunEvent| {
        look(event);
        if !event.kind.is_transient() {
            events.push(serde_json::to_value(event).unwrap());
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(run(&band, request, &journal, &mut observer, cancel));
    runtime.shutdown_background();
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "events are numbered without gaps");
    assert_eq!(journal.events(&outcome.id, 0).unwrap().len(), events.len(), "every event is recorded");
    Ran { outcome, events, journal }
}

fn farms(count: usize) -> Vec<Input> {
    (0..count)
        .map(|n| Input {
            name: format!("farm{n}.md"),
            text: format!("Farm number {n} lies by the river.\n\nIt keeps {} sheep in winter.", 10 * (n + 1)),
        })
        .collect()
}

const GOAL: &str = "Each file is about one farm. List how many sheep each keeps, and the total.";

fn map_request(count: usize) -> RunRequest {
    RunRequest { inputs: farms(count), strategy: Some(Strategy::Map), ..RunRequest::new(GOAL) }
}

fn slots() -> String {
    json!({"find": "number of sheep the farm keeps", "answer_is": "number", "combine": ["list", "total"]})
        .to_string()
}

/// The number of sheep in the text of a reader's prompt.
fn sheep(call: &Call) -> u64 {
    let text = &call.messages[0].content;
    let before = text.split(" sheep in winter").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

fn reading(call: &Call) -> Act {
    let sheep = sheep(call);
    say(json!({"subject": format!("Farm number {}", sheep / 10 - 1), "answer": sheep}).to_string())
}

/// Fills slots, and answers with the results as they were given.
fn obedient_planner() -> Arc<Scripted> {
    scripted("big", |call, _| {
        if call.schema.is_some() {
            return if last(call).contains("look up in every single text") {
                say(slots())
            } else {
                reading(call)
            };
        }
        let lines = last(call).lines().filter(|line| line.starts_with("- ") || line.starts_with("Total"));
        say(lines.collect::<Vec<_>>().join("\n"))
    })
}

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
        (Status::Completed, Strategy::Map, 0)
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
    let state = ran.journal.state(&ran.outcome.id).unwrap();
    assert_eq!(
        (state.goal.as_str(), state.status.as_str(), state.strategy.as_str()),
        (GOAL, "completed", "map")
    );
    let retried =
        state.tasks.iter().find(|task| task.attempts.len() == 2).expect("one reading was tried twice");
    assert!(retried.attempts[0].error.as_deref().unwrap().contains("JSON"));
    assert!(retried.attempts[1].prompt.contains("That was not accepted"), "the error is shown");
    assert!(retried.attempts[0].prompt.contains("sheep") && retried.attempts[0].sampling["seed"].is_u64());
    assert_eq!(ran.journal.inputs(&ran.outcome.id).unwrap().len(), 2);
}

#[test]
fn a_lying_worker_is_corrected_by_the_planner() {
    let liar = scripted("small", |_, _| say(json!({"subject": "Farm", "answer": 999}).to_string()));
    let ran = play(&obedient_planner(), &[liar], &map_request(3));
    assert_eq!(ran.outcome.status, Status::Completed);
    assert!(ran.outcome.answer.contains("Total: 60"), "{}", ran.outcome.answer);
    assert!(ran.outcome.tasks[..3].iter().all(|task| task.model == "big" && task.attempts == 3));
    assert_eq!(ran.count("task.retried"), 6);
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
fn a_model_that_fails_panics_or_stalls_costs_a_task_and_not_the_run() {
    for fault in ["fail", "panic", "stall"] {
        let act = move || match fault {
            "fail" => Act::Fail(CallErrorKind::Transient),
            "panic" => Act::Panic,
            _ => Act::Stall,
        };
        let broken = move |call: &Call| call.messages[0].content.contains("keeps 20 sheep");
        let worker = scripted("small", move |call, _| if broken(call) { act() } else { reading(call) });
        let planner = scripted("big", move |call, _| {
            if call.schema.is_none() {
                return say("unusable");
            }
            if last(call).contains("look up in every single text") {
                return say(slots());
            }
            act()
        });
        let mut request = map_request(3);
        request.stall_after = Duration::from_millis(60);
        let ran = play(&planner, &[worker], &request);
        let outcome = &ran.outcome;
        assert_eq!((outcome.status, outcome.exit_code()), (Status::Incomplete, 3), "{fault}: {outcome:?}");
        assert_eq!(outcome.tasks[1].status, Status::Failed, "{fault}");
        assert!(outcome.missing[0].contains("farm1.md"), "{fault}: {:?}", outcome.missing);
        // The planner's wording held none of the facts, so they are told plainly.
        assert!(
            outcome.answer.contains("Farm number 0: 10") && outcome.answer.contains("Total: 40"),
            "{}",
            outcome.answer
        );
        assert!(outcome.answer.contains("Missing"), "{}", outcome.answer);
    }
}

#[test]
fn a_direct_goal_is_one_call_with_the_goal_as_it_was_typed() {
    let planner = scripted("big", |_, _| say("It is Paris."));
    let ran = play(
        &planner,
        &[scripted("small", |_, _| Act::Panic)],
        &RunRequest::new("What is the capital of France?"),
    );
    assert_eq!((ran.outcome.status, ran.outcome.answer.as_str()), (Status::Completed, "It is Paris."));
    assert_eq!((ran.outcome.tasks.len(), ran.outcome.planner_tasks.len()), (1, 0));
    let seen = planner.seen.lock().unwrap();
    assert_eq!(
        (seen.len(), seen[0].messages.len(), last(&seen[0])),
        (1, 1, "What is the capital of France?")
    );
    let streamed: String = ran
        .events
        .iter()
        .filter(|e| e["type"] == "answer.delta")
        .filter_map(|e| e["text"].as_str())
        .collect();
    assert_eq!(streamed, "It is Paris.");
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
        // The later ones end first.
        let wait = Duration::from_millis(if title == "soil" { 80 } else { 10 });
        Act::SayAfter(wait, format!("## {title}\n\nAll about {title}."))
    });
    let request = RunRequest::new("Write a guide to roses with a section on each of: soil, water, pests.");
    let ran = play(&scripted("big", |_, _| Act::Panic), &[worker], &request);
    assert_eq!((ran.outcome.status, ran.outcome.strategy), (Status::Completed, Strategy::Parallel));
    assert_eq!(
        ran.outcome.answer,
        "## Soil\n\nAll about soil.\n\n## Water\n\nAll about water.\n\n## Pests\n\nAll about pests."
    );
    assert!(ran.outcome.tasks[2].started_ms <= ran.outcome.tasks[0].finished_ms);
}

#[test]
fn a_section_that_runs_in_circles_is_written_again() {
    let worker = scripted("small", |_, number| {
        if number == 0 { say("and it grows in the sun ".repeat(12)) } else { say("It grows.") }
    });
    let mut request = RunRequest::new("Write about roses in sections: soil, water.");
    request.strategy = Some(Strategy::Parallel);
    let ran = play(&scripted("big", |_, _| Act::Panic), &[worker], &request);
    assert_eq!(ran.outcome.status, Status::Completed);
    assert_eq!(ran.count("task.failed"), 1);
}

#[test]
fn a_token_budget_ends_the_run_with_the_best_answer() {
    let planner = scripted("big", |_, _| Act::Babble);
    let mut request = RunRequest::new("Tell me a long story.");
    request.budget = Budget { tokens: Some(60), time: None };
    let ran = play(&planner, &[], &request);
    assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::Incomplete, 3));
    assert!(ran.outcome.answer.starts_with("word0 word1"), "{}", ran.outcome.answer);
    assert!(ran.outcome.usage.tokens.completion_tokens <= 60);
    assert!(!ran.outcome.missing.is_empty());
}

#[test]
fn a_time_budget_keeps_what_is_finished() {
    let worker = scripted("small", |call, _| if sheep(call) == 30 { Act::Stall } else { reading(call) });
    let mut request = map_request(3);
    request.budget = Budget { tokens: None, time: Some(Duration::from_millis(300)) };
    let started = Instant::now();
    let ran = play(&obedient_planner(), &[worker], &request);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(ran.outcome.status, Status::Incomplete);
    assert!(ran.outcome.answer.contains("Farm number 1: 20"), "{}", ran.outcome.answer);
    assert_eq!(ran.count("budget.reached"), 1);
    assert!(ran.outcome.missing.iter().any(|missing| missing.contains("budget")));
}

#[test]
fn a_person_who_cancels_gets_what_is_finished() {
    let worker = scripted("small", |call, _| if sheep(call) == 30 { Act::Stall } else { reading(call) });
    let cancel = Cancel::new();
    let from_inside = cancel.clone();
    let mut finished = 0;
    let ran = play_with(&obedient_planner(), &[worker], None, &map_request(3), &cancel, move |event| {
        if matches!(&event.kind, EventKind::TaskFinished { task, .. } if task != "plan") {
            finished += 1;
            if finished == 2 {
                from_inside.cancel();
            }
        }
    });
    assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::Cancelled, 130));
    assert!(ran.outcome.answer.contains("Farm number 0: 10"), "{}", ran.outcome.answer);
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
    });
    let mut request = RunRequest::new("How many sheep does the farm keep?");
    request.inputs = vec![Input { name: "farm.md".to_owned(), text }];
    let ran = play(&planner, &[], &request);
    assert_eq!((ran.outcome.strategy, ran.outcome.status), (Strategy::Map, Status::Completed));
    assert!(ran.outcome.tasks.len() >= 3, "the text is read in parts");
    assert!(ran.outcome.answer.contains("70"), "{}", ran.outcome.answer);
    assert!(ran.outcome.missing.is_empty(), "{:?}", ran.outcome.missing);
}

#[test]
fn what_cannot_be_done_says_why() {
    let planner = scripted("big", |_, _| Act::Panic);
    let check = |request: &RunRequest, part: &str| {
        let ran = play(&planner, &[], request);
        assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::Failed, 1));
        assert!(ran.outcome.error.as_deref().unwrap().contains(part), "{:?}", ran.outcome.error);
    };
    check(&RunRequest::new("  "), "empty");
    check(&RunRequest::new("word ".repeat(9000)), "--context-tokens");
    check(&RunRequest { strategy: Some(Strategy::Map), ..RunRequest::new("Sum them.") }, "-f");
    check(&RunRequest { strategy: Some(Strategy::Cascade), ..RunRequest::new("Sum.") }, "not available");
    check(&RunRequest::new("Anything?"), "broke off");
    let named = |name: &str| name.parse::<Strategy>().unwrap_err().to_string();
    assert!(named("react").contains("not available") && named("react").contains("direct, map"));
    assert!(named("juggle").contains("no strategy"));
}

/// Counts words two texts share: enough to be near, in a test.
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
    assert_eq!(outcome.strategy, Strategy::Map);
    assert_eq!(outcome.strategy_why.nearest.len(), 5);
    assert_eq!(choose("When is the next meeting, according to the minutes?", 2).strategy, Strategy::Direct);
    assert_eq!(choose("Proofread my essay.", 0).strategy, Strategy::Ask);
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
fn a_rejected_attempt_is_not_part_of_the_streamed_answer() {
    let planner = scripted("big", |_, number| {
        if number == 0 { say("again and again it is so ".repeat(12)) } else { say("It is Paris.") }
    });
    let ran = play(&planner, &[], &RunRequest::new("What is the capital of France?"));
    let streamed = ran.events.iter().fold(String::new(), |answer, event| match event["type"].as_str() {
        Some("task.retried") => String::new(),
        Some("answer.delta") => answer + event["text"].as_str().unwrap(),
        _ => answer,
    });
    assert_eq!((streamed.as_str(), ran.outcome.answer.as_str()), ("It is Paris.", "It is Paris."));
    assert_eq!(ran.count("task.retried"), 1);
    let run = ran.journal.state(&ran.outcome.id).unwrap();
    assert_eq!(run.answer, "It is Paris.");
}

#[test]
fn an_answer_without_a_majority_says_so() {
    let planner = scripted("big", |_, number| say(format!("Answer: {}", [7, 7, 8, 9, 10][number])));
    let mut request = RunRequest::new("Out of 5 rows of 3, 2 fall: how many stand?");
    request.strategy = Some(Strategy::Vote);
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
fn a_step_cut_off_at_its_limit_is_used_and_said_to_be_cut() {
    let planner = scripted("big", |call, _| {
        let prompt = last(call);
        if prompt.contains("Split the goal") {
            say(json!({"steps": ["Name the ship.", "Name its captain."]}).to_string())
        } else if prompt.ends_with("Name its captain.") {
            Act::Babble
        } else {
            say("It is told: word0 word1 word2 word3 word4.")
        }
    });
    let mut request = RunRequest::new("Find the ship and then name its captain.");
    request.strategy = Some(Strategy::Sequence);
    let ran = play(&planner, &[], &request);
    assert_eq!(ran.outcome.status, Status::Incomplete);
    assert!(ran.outcome.missing.iter().any(|one| one.contains("cut off at")), "{:?}", ran.outcome.missing);
}

#[test]
fn the_prompt_of_an_attempt_that_stalled_is_recorded() {
    let planner = scripted("big", |_, number| if number == 0 { Act::Stall } else { say("It is Paris.") });
    let mut request = RunRequest::new("What is the capital of France?");
    request.stall_after = Duration::from_millis(50);
    let ran = play(&planner, &[], &request);
    let prompts: Vec<&str> = ran
        .events
        .iter()
        .filter(|e| e["type"] == "task.output")
        .map(|e| e["prompt"].as_str().unwrap())
        .collect();
    assert_eq!(prompts, ["What is the capital of France?"; 2]);
}
