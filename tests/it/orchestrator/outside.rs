//! A strategy that is not part of the project: what it needs is public, and its runs are killed, resumed and replayed
//! like all others.

use std::sync::Arc;

use bandmaster::journal::{AsyncJournal, Event, Journal};
use bandmaster::orchestrator::{
    Band, Cancel, Draw, Ended, Goal, Job, Llm, Move, Outcome, Prompt, Reply, RunRequest, RunStart, RunState,
    Skill, Status, Strategy, StrategyName, Task, Verdict, Worker, recorded, replay, resume, run_with,
};

use super::scripted::*;

/// Has two drafts written at the same time, and takes the shorter one.
struct Shorter;

impl Strategy for Shorter {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let Some(choice) = state.task("choice") else {
            let draft = |number: usize| {
                let worker = goal.band.assign(Skill::Write, number);
                Task {
                    id: format!("draft{number}"),
                    job: Job::Step,
                    worker: worker.worker.clone(),
                    ladder: goal.band.ladder(worker, Skill::Write),
                    tokens_max: 200,
                    draw: Draw::Varied(number as u64),
                    ..Task::default()
                }
            };
            let needs = vec!["draft0".to_owned(), "draft1".to_owned()];
            let worker = goal.band.calculator().to_owned();
            let choice =
                Task { id: "choice".to_owned(), job: Job::Calculate, worker, needs, ..Task::default() };
            return Move::Add { tasks: vec![draft(0), draft(1), choice], proposed: None };
        };
        if !choice.has_ended() {
            return Move::Wait;
        }
        Move::Answer(Ended { answer: choice.output.clone(), error: choice.error.clone(), ..Ended::default() })
    }

    fn prompt(&self, _: &Task, goal: &Goal, _: &RunState) -> Prompt {
        Prompt { messages: goal.messages(goal.text.clone()), schema: None }
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        let text = reply.text.trim();
        if text.is_empty() { Verdict::reject("it is empty") } else { Verdict::Accept(text.to_owned()) }
    }

    fn calculate(&self, task: &Task, _: &Goal, state: &RunState) -> Result<String, String> {
        let drafts = task.needs.iter().filter_map(|need| state.result(need));
        drafts
            .min_by_key(|draft| draft.len())
            .map(str::to_owned)
            .ok_or_else(|| "there is no draft".to_owned())
    }
}

/// A band whose worker gives nothing at first.
fn band() -> Band {
    let planner = scripted("big", |_, _| Act::Panic);
    let worker = scripted("small", |call, _| match (call.temperature > 0.0, call.seed) {
        (true, 0) => say("Bees make honey in summer and sleep in winter."),
        // The second attempt at the second draft.
        (true, 257) => say("Bees make honey."),
        _ => say(""),
    });
    Band { planner, workers: vec![Worker::explicit(worker as Arc<dyn Llm>)], embed: None }
}

/// Runs the goal, or goes on with a run, in the record of a folder.
fn outcome(folder: &tempfile::TempDir, start: RunStart) -> Outcome {
    let journal = AsyncJournal::open(&record(folder)).unwrap();
    let (band, cancel, strategy) = (band(), Cancel::new(), Some(Arc::new(Shorter) as Arc<dyn Strategy>));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut observer = |_: &_| {};
    let run = run_with(strategy, &band, start, &journal, &mut observer, &cancel);
    let outcome = runtime.block_on(run).unwrap();
    runtime.shutdown_background();
    outcome
}

fn check(outcome: &Outcome) {
    assert_eq!((outcome.status, outcome.strategy), (Status::Completed, StrategyName::Other), "{outcome:?}");
    assert_eq!(outcome.answer, "Bees make honey.");
    let tasks: Vec<(&str, &str, u32)> =
        outcome.tasks.iter().map(|task| (task.id.as_str(), task.model.as_str(), task.attempts)).collect();
    assert_eq!(tasks, [("draft0", "small", 1), ("draft1", "small", 2), ("choice", "rule", 1)]);
}

#[test]
fn a_strategy_from_outside_runs_goes_on_after_a_kill_and_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let ran = outcome(&folder, RunStart::new(RunRequest::new("What do bees do?")));
    check(&ran);
    let journal = Journal::open(&record(&folder)).unwrap();
    let strategy = Arc::new(Shorter) as Arc<dyn Strategy>;
    let replayed = |journal: &Journal, id: &str| {
        let (run, start) = recorded(journal, id).unwrap();
        let replayed = replay(&run, &start, Some(&strategy));
        assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
        assert_eq!(replayed.answer, "Bees make honey.");
    };
    replayed(&journal, &ran.id);
    let events: Vec<Event> = journal.events(&ran.id, 0).unwrap();
    for left in 1..events.len() {
        let (folder, journal, id) = killed_after(&events[..left], &[]);
        let start = resume(&journal, &id).unwrap();
        drop(journal);
        check(&outcome(&folder, start));
        replayed(&Journal::open(&record(&folder)).unwrap(), &id);
    }
}
