//! What happens when a model has no room, a planner fails, a budget ends, or the record can't be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bandmaster::journal::{AsyncJournal, Event, Journal};
use bandmaster::orchestrator::{
    Band, BoxFuture, Budget, Call, CallError, Cancel, Ended, Finish, Goal, Job, Llm, Move, Outcome, Progress,
    Prompt, Reply, RunRequest, RunStart, RunState, Status, Strategy, StrategyName, Task, Verdict, fork,
    labels, resume, run_with, state,
};
use serde_json::json;

use super::scripted::*;

/// Goes on after a kill that left `events`.
fn after_kill(events: &[Event], planner: &Arc<Scripted>) -> Ran {
    let (folder, journal, id) = killed_after(events, &[]);
    let start = resume(&journal, &id).unwrap();
    drop(journal);
    go_on(folder, planner, &[], start)
}

/// A run of one call that a budget of 60 tokens ends, and its events.
fn ended_by_a_budget() -> (Ran, Vec<Event>) {
    let budget = Budget { tokens: Some(60), ..Budget::default() };
    let request = RunRequest { budget, ..RunRequest::new("Tell me a long story.") };
    let ran = play(&scripted("big", |_, _| Act::Babble), &[], &request);
    let events = ran.journal.events(&ran.outcome.id, 0).unwrap();
    (ran, events)
}

#[test]
fn a_kill_while_a_budget_ends_the_run_makes_no_call_again() {
    let (ran, events) = ended_by_a_budget();
    assert_eq!(ran.outcome.status, Status::Incomplete);
    let reached = events.iter().position(|event| event.kind == "budget.reached").unwrap();
    let output = events.iter().position(|event| event.kind == "task.output").unwrap();
    for left in reached.min(output) + 1..events.len() {
        let planner = scripted("big", |_, _| Act::Babble);
        let after = after_kill(&events[..left], &planner);
        let calls = planner.seen.lock().unwrap().len();
        assert_eq!(calls, 0, "{left} events left, the last is {}", events[left - 1].kind);
        assert_eq!(after.outcome.status, Status::Incomplete);
        assert!(
            after.outcome.missing.iter().any(|missing| missing.contains("60 tokens")),
            "{:?}",
            after.outcome
        );
    }
}

#[test]
fn a_kill_after_a_resume_leaves_what_is_left_of_the_new_budget() {
    let (ran, _) = ended_by_a_budget();
    let id = ran.outcome.id.clone();
    let resumed = resume(&ran.journal, &id).unwrap();
    // It has its 60 tokens anew.
    let planner = scripted("big", |_, _| Act::Babble);
    let ran = ran.go_on(&planner, &[], resumed);
    let first = planner.seen.lock().unwrap()[0].tokens_max;
    let events = ran.journal.events(&id, 0).unwrap();
    let begun = events.iter().rposition(|event| event.kind == "task.started" || event.kind == "task.retried");
    let planner = scripted("big", |_, _| Act::Babble);
    after_kill(&events[..=begun.unwrap()], &planner);
    let again = planner.seen.lock().unwrap()[0].tokens_max;
    assert_eq!((first, again), (60, 60), "what was used before the first end doesn't count");
}

#[test]
fn a_budget_below_a_second_is_told_as_it_was_given() {
    let budget = Budget { time: Some(std::time::Duration::from_millis(200)), ..Budget::default() };
    let ran =
        play(&scripted("big", |_, _| Act::Stall), &[], &RunRequest { budget, ..RunRequest::new("Who?") });
    assert!(
        ran.outcome.missing.contains(&"the budget of 0.2 seconds was reached".to_owned()),
        "{:?}",
        ran.outcome
    );
}

#[test]
fn a_budget_of_tasks_ends_in_an_answer_from_what_was_read() {
    let mut request = map_request(4);
    request.budget.tasks = Some(2);
    let ran = play(&obedient_planner(), &[scripted("small", |call, _| reading(call))], &request);
    assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::Incomplete, 3));
    assert!(ran.outcome.answer.contains("Farm number 1: 20") && ran.outcome.answer.contains("Total: 30"));
    assert!(ran.outcome.answer.contains("farm2.md was not read: the budget of 2 tasks was reached"));
    assert_eq!(ran.count("budget.reached"), 1);
    let resumed = resume(&ran.journal, &ran.outcome.id).unwrap();
    let ran = ran.go_on(&obedient_planner(), &[scripted("small", |call, _| reading(call))], resumed);
    assert!(ran.outcome.status == Status::Completed && ran.outcome.answer.contains("Total: 100"));
}

#[test]
fn a_budget_of_depth_ends_in_an_answer_from_the_first_steps() {
    let planner = scripted("big", |call, _| {
        let prompt = last(call);
        if prompt.contains("Split the goal") {
            say(json!({"steps": ["Name the ship.", "Name its captain."]}).to_string())
        } else {
            say("The ship is the Anna.")
        }
    });
    let mut request = RunRequest::new("Find the ship and then name its captain.");
    (request.strategy, request.budget.depth) = (Some(StrategyName::Sequence), Some(1));
    let ran = play(&planner, &[], &request);
    assert_eq!(ran.outcome.status, Status::Incomplete);
    assert!(ran.outcome.answer.starts_with("The ship is the Anna."), "{}", ran.outcome.answer);
    let missing = "the step \"Name its captain.\": the budget of 1 task in a row was reached";
    assert!(ran.outcome.missing.contains(&missing.to_owned()), "{:?}", ran.outcome.missing);
}

#[test]
fn a_text_with_no_room_anywhere_is_read_in_parts_and_a_dead_planner_is_replaced() {
    let mut request = map_request(2);
    let filler = "Here it speaks of the weather and the road.\n\n".repeat(60);
    request.inputs[0].text = format!("{filler}{}", request.inputs[0].text);
    let is_long = |call: &Call| last(call).split_whitespace().count() > 400;
    let no_room = || Act::Fail(bandmaster::orchestrator::CallErrorKind::Resource);
    let worker = scripted("small", move |call, _| match last(call) {
        prompt if prompt.contains("look up in every single text") => say(slots()),
        _ if is_long(call) => no_room(),
        prompt if prompt.contains("\"\"\"") && !prompt.contains(" keeps ") => {
            say(json!({"subject": "", "answer": null}).to_string())
        }
        prompt if prompt.contains("\"\"\"") => reading(call),
        _ => say("It is told."),
    });
    let planner = scripted("big", |_, _| Act::Panic);
    let ran = play(&planner, &[worker], &request);
    assert!(ran.outcome.answer.contains("Total: 30"), "{:#?}", ran.outcome);
    let plan = &ran.outcome.planner_tasks[0];
    assert_eq!((plan.model.as_str(), plan.attempts), ("small", 3), "the planner stalled twice");
    assert_eq!((ran.outcome.status, ran.outcome.missing.len()), (Status::Completed, 0), "{:?}", ran.outcome);
}

#[test]
fn with_another_goal_and_another_result_a_fork_does_what_follows_again() {
    let worker = || scripted("small", |call, _| reading(call));
    let ran = play(&obedient_planner(), &[worker()], &map_request(3));
    let id = ran.outcome.id.clone();
    let last = ran.events.len() as u64;
    let chosen = ran.types().iter().position(|kind| *kind == "strategy.chosen").unwrap() as u64 + 1;
    let set = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let refused = fork(&ran.journal, &id, last, set("goal", "Who was here?")).unwrap_err().to_string();
    assert!(refused.contains(&format!("fork at event {chosen} or before")), "{refused}");
    let sheep = json!({"subject": "Farm number 1", "answer": 500}).to_string();
    let forked = fork(&ran.journal, &id, last, set("output.t2", &sheep)).unwrap();
    let small = worker();
    let ran = ran.go_on(&obedient_planner(), &[Arc::clone(&small)], forked);
    assert!(ran.outcome.answer.contains("Total: 540"), "{}", ran.outcome.answer);
    assert_eq!(small.seen.lock().unwrap().len(), 0, "nothing is read again");
    let another = fork(&ran.journal, &id, chosen, set("goal", "Name the farms.")).unwrap();
    let ran = ran.go_on(&obedient_planner(), &[worker()], another);
    let state = state(&ran.journal, &ran.outcome.id).unwrap();
    assert_eq!(state.goal, "Name the farms.");
    assert_eq!(ran.count("strategy.chosen"), 1, "with the facts of the new goal");
}

#[test]
fn a_record_shows_the_failure_modes_of_its_run() {
    let planner = scripted("big", |_, number| {
        if number == 0 { say("again and again it is so ".repeat(12)) } else { say("It is Paris.") }
    });
    let ran = play(&planner, &[], &RunRequest::new("What is the capital of France?"));
    let found = labels(&state(&ran.journal, &ran.outcome.id).unwrap());
    let names: Vec<(&str, &str)> =
        found.iter().map(|label| (label.mode.name(), label.task.as_str())).collect();
    assert_eq!(names, [("unaware_of_end", "t1")]);
}

/// A run whose record is locked by another process goes on, and the record is whole when it can be written.
#[test]
fn a_run_whose_record_is_locked_is_answered_and_recorded_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    drop(Journal::open(&record(&folder)).unwrap());
    let other = std::sync::Mutex::new(rusqlite::Connection::open(record(&folder)).unwrap());
    let (planner, mut locked) = (obedient_planner(), false);
    let band = Band { planner: planner as Arc<dyn Llm>, workers: Vec::new(), embed: None };
    let journal = AsyncJournal::open(&record(&folder)).unwrap();
    let mut observer = |event: &bandmaster::orchestrator::RunEvent| {
        if event.seq == 2 && !std::mem::replace(&mut locked, true) {
            other.lock().unwrap().execute_batch("BEGIN EXCLUSIVE").unwrap();
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cancel = Cancel::new();
    let run = run_with(None, &band, RunStart::new(map_request(1)), &journal, &mut observer, &cancel);
    let outcome: Outcome = runtime.block_on(run).unwrap();
    assert_eq!(outcome.status, Status::Completed);
    assert!(outcome.warnings.iter().any(|warning| warning.contains("locked")), "{:?}", outcome.warnings);
    other.lock().unwrap().execute_batch("COMMIT").unwrap();
    let began = std::time::Instant::now();
    loop {
        let recorded = state(&Journal::open(&record(&folder)).unwrap(), &outcome.id).unwrap();
        if recorded.outcome.is_some() {
            assert_eq!(recorded.answer, outcome.answer);
            break;
        }
        assert!(began.elapsed().as_secs() < 20, "the record is never written: {recorded:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    runtime.shutdown_background();
}

/// Begins a slow task and a fast one, drops the slow one when the fast one has ended, and then begins a third.
struct Drops;

fn task(id: &str) -> Task {
    let worker = bandmaster::orchestrator::PLANNER.to_owned();
    let ladder = vec![worker.clone()];
    Task { id: id.to_owned(), job: Job::Step, worker, ladder, tokens_max: 50, ..Task::default() }
}

impl Strategy for Drops {
    fn next(&self, _: &Goal, state: &RunState) -> Move {
        let has_ended = |id: &str| state.task(id).is_some_and(|task| task.has_ended());
        match state.tasks.len() {
            0 => Move::Add { tasks: vec![task("slow"), task("fast")], proposed: None },
            2 if has_ended("fast") && !has_ended("slow") => {
                Move::Drop { tasks: vec!["slow".to_owned()], why: "nobody needs it".to_owned() }
            }
            2 if has_ended("slow") => Move::add(task("last")),
            3 if has_ended("last") => {
                let answer = state.result("last").unwrap_or_default().to_owned();
                Move::Answer(Ended { answer, ..Ended::default() })
            }
            _ => Move::Wait,
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        Prompt::new(goal.messages(task.id.clone()))
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        Verdict::Accept(reply.text.clone())
    }
}

/// A model whose slow call never ends by itself. The last call says whether the slow one has left it.
struct Watched {
    has_left: Arc<AtomicBool>,
}

struct Leaves(Arc<AtomicBool>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Llm for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn context_tokens(&self) -> usize {
        4096
    }

    fn count_tokens(&self, text: &str) -> usize {
        count(text)
    }

    fn prompt_tokens(&self, _: &[bandmaster::orchestrator::Message]) -> usize {
        1
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(async move {
            progress(Progress::Prompt("p"));
            let text = match last(call) {
                "slow" => {
                    let _leaves = Leaves(Arc::clone(&self.has_left));
                    std::future::pending().await
                }
                "fast" => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    "done".to_owned()
                }
                _ => {
                    // The time of about one step.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    self.has_left.load(Ordering::SeqCst).to_string()
                }
            };
            Ok(Reply { text, finish: Finish::Stop, usage: Default::default() })
        })
    }
}

#[test]
fn a_dropped_task_leaves_its_model_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = AsyncJournal::open(&record(&folder)).unwrap();
    let planner: Arc<dyn Llm> = Arc::new(Watched { has_left: Arc::default() });
    let band = Band { planner, workers: Vec::new(), embed: None };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (start, cancel) = (RunStart::new(RunRequest::new("Go.")), Cancel::new());
    let mut observer = |_: &_| {};
    let run = run_with(Some(Arc::new(Drops)), &band, start, &journal, &mut observer, &cancel);
    let outcome = runtime.block_on(run).unwrap();
    runtime.shutdown_background();
    assert_eq!(outcome.answer, "true", "{outcome:?}");
    assert_eq!(outcome.tasks[0].status, Status::Skipped);
}
