//! A strategy that is not part of the project: what it needs is public, and its runs are killed, resumed and replayed
//! like all others.

use std::sync::Arc;

use bandmaster::journal::{AsyncJournal, Event, Journal};
use bandmaster::orchestrator::{
    Band, Cancel, Draw, Ended, Goal, Job, Llm, Move, Outcome, Prompt, RunRequest, RunStart, RunState, Skill,
    Status, Strategy, StrategyName, Task, Worker, recorded, replay, resume, run_with,
};

use super::scripted::*;

/// Has two drafts written at the same time, and takes the shorter one.
struct Shorter;

impl Strategy for Shorter {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let Some(choice) = state.task("choice") else {
            let draft = |number: usize| {
                let worker = goal.band.assign(Skill::Write, number);
                let ladder = goal.band.ladder(worker, Skill::Write);
                Task {
                    draw: Draw::Varied(number as u64),
                    ..Task::new(format!("draft{number}"), Job::Step, ladder)
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
        Prompt::new(goal.messages(goal.text.clone()))
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

/// A strategy from outside with what it is run on.
pub(super) struct Outside {
    pub(super) strategy: Arc<dyn Strategy>,
    pub(super) band: fn() -> Band,
    pub(super) request: RunRequest,
}

impl Outside {
    /// Runs the goal, or goes on with a run, in the record of a folder.
    pub(super) fn outcome(&self, folder: &tempfile::TempDir, start: RunStart) -> Outcome {
        let journal = AsyncJournal::open(&record(folder)).unwrap();
        let (band, cancel, strategy) = ((self.band)(), Cancel::new(), Some(Arc::clone(&self.strategy)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut observer = |_: &_| {};
        let run = run_with(strategy, &band, start, &journal, &mut observer, &cancel);
        let outcome = runtime.block_on(run).unwrap();
        runtime.shutdown_background();
        outcome
    }

    /// Runs the goal, and again with a kill after each event. `check` looks at each outcome.
    pub(super) fn survives_kills(&self, check: impl Fn(&Outcome)) {
        let folder = tempfile::tempdir().unwrap();
        let ran = self.outcome(&folder, RunStart::new(self.request.clone()));
        check(&ran);
        let journal = Journal::open(&record(&folder)).unwrap();
        let replayed = |journal: &Journal, id: &str| {
            let (run, start) = recorded(journal, id).unwrap();
            let replayed = replay(&run, &start, Some(&self.strategy));
            assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
            assert!(replayed.changed_prompts.is_empty(), "{:?}", replayed.changed_prompts);
            assert_eq!(replayed.answer, ran.answer);
        };
        replayed(&journal, &ran.id);
        let events: Vec<Event> = journal.events(&ran.id, 0).unwrap();
        for left in 1..events.len() {
            let (folder, journal, id) = killed_after(&events[..left], &self.request.inputs);
            let start = resume(&journal, &id).unwrap();
            drop(journal);
            check(&self.outcome(&folder, start));
            replayed(&Journal::open(&record(&folder)).unwrap(), &id);
        }
    }
}

#[test]
fn a_strategy_from_outside_runs_goes_on_after_a_kill_and_is_replayed() {
    let request = RunRequest::new("What do bees do?");
    let shorter = Outside { strategy: Arc::new(Shorter), band, request };
    shorter.survives_kills(|outcome| {
        let ended = (outcome.status, outcome.strategy, outcome.answer.as_str());
        assert_eq!(ended, (Status::Completed, StrategyName::Other, "Bees make honey."), "{outcome:?}");
        let tasks: Vec<(&str, &str, u32)> =
            outcome.tasks.iter().map(|task| (task.id.as_str(), task.model.as_str(), task.attempts)).collect();
        assert_eq!(tasks, [("draft0", "small", 1), ("draft1", "small", 2), ("choice", "rule", 1)]);
    });
}
