//! Whole runs on scripted models, drawn from seeds: runs whose calls fail, that are stopped, killed at any event, taken
//! up and forked. Nothing here waits or reads a clock. `BANDMASTER_SIMULATIONS` is the number of worlds, and
//! `BANDMASTER_SIMULATION_FIRST` the seed of the first one.

mod audit;
mod driver;
mod graph;
mod graph_plan;
mod moves;
pub(crate) mod play;
mod random;
mod replies;
mod world;

pub(crate) use graph_plan::any as any_json;
pub(crate) use random::Random;

use driver::{Disturbed, Driver, Happened};
use random::hash;
use world::World;

use crate::band::Skill;
use crate::goal::WorkerInfo;
use crate::outcome::{Outcome, Status, TaskReport};
use crate::request::StrategyName;

/// Plays worlds until one fails, and says which. `count` is their number in an ordinary test run.
fn worlds(count: u64, mut play: impl FnMut(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("BANDMASTER_SIMULATION_FIRST").unwrap_or(0);
    let count = number("BANDMASTER_SIMULATIONS").unwrap_or(count);
    for seed in first..first + count {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(seed)));
        if let Err(panic) = played {
            eprintln!(
                "the world of seed {seed} failed: BANDMASTER_SIMULATION_FIRST={seed} BANDMASTER_SIMULATIONS=1"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

/// A task's id, status, output and number of attempts.
type TaskResult = (String, Status, String, u32);

/// What must not depend on how often the process was killed: the answer, the status, and each task with its output.
fn result(outcome: &Outcome) -> (String, Status, Vec<TaskResult>, Vec<String>) {
    let of = |task: &TaskReport| (task.id.clone(), task.status, task.output.clone(), task.attempts);
    let mut tasks: Vec<TaskResult> = outcome.tasks.iter().chain(&outcome.planner_tasks).map(of).collect();
    // The planner looks into questions in the order in which they are asked.
    tasks.sort_by(|a, b| a.0.cmp(&b.0));
    (outcome.answer.clone(), outcome.status, tasks, outcome.missing.clone())
}

#[test]
fn every_run_ends_and_its_record_is_sound_whatever_disturbs_it() {
    let mut sum = Happened::default();
    let mut statuses = std::collections::BTreeMap::<String, usize>::new();
    let (mut events, mut replans) = (0, 0);
    worlds(50, |seed| {
        let mut random = Random::new(hash(seed, &["disturbed"], &[]));
        let mut world = World::new(seed);
        world.is_pure = random.one_in(2);
        let disturbed = Disturbed {
            seed,
            kills: random.below(5),
            forks: random.below(3),
            stops: random.below(3),
            resumes: random.below(4),
            declines: random.below(2),
            other_bands: random.one_in(3),
            folds_all: random.one_in(20),
            skips_replay: false,
            stuck_records: random.below(3),
        };
        let mut driver = Driver::new(&world, disturbed);
        let outcome = driver.run();
        *statuses.entry(format!("{} {}", outcome.strategy, outcome.status)).or_default() += 1;
        events += driver.record.len();
        sum.kills += driver.happened.kills;
        sum.forks += driver.happened.forks;
        sum.stops += driver.happened.stops;
        sum.resumes += driver.happened.resumes;
        sum.stuck += driver.happened.stuck;
        sum.approved += driver.happened.approved;
        sum.edited += driver.happened.edited;
        sum.declined += driver.happened.declined;
        sum.answered += driver.happened.answered;
        sum.parts += driver.happened.parts;
        sum.dropped += driver.happened.dropped;
        replans += driver.record.iter().filter(|event| event.kind == "replan.started").count();
        sum.in_flight_max = sum.in_flight_max.max(driver.happened.in_flight_max);
    });
    eprintln!("{events} events, {replans} replans, {sum:?}, {statuses:?}");
    if std::env::var_os("BANDMASTER_SIMULATIONS").is_none() {
        let happened = [sum.kills, sum.forks, sum.stops, sum.resumes, sum.stuck, sum.parts];
        let least = happened.into_iter().min();
        assert!(least > Some(5), "a simulation without disturbances would show nothing: {sum:?}");
    }
}

/// Whether a strategy dropped tasks. Which of them had ended by then depends on the order in which calls end.
fn dropped(driver: &Driver) -> bool {
    driver.record.iter().any(|event| event.body["error"] == "nobody needs it")
}

/// Whether readings of a question that the plan did not ask in the end were dropped. How far they came by then depends on
/// the order in which calls end; the answer does not.
fn asked_otherwise(driver: &Driver) -> bool {
    driver.record.iter().any(|event| event.body["error"] == "the planner asks for something else in the end")
}

/// Whether a call of the planner failed after tasks had followed from it. If the run was stopped before that, they are not
/// there, and another plan is drawn.
fn stands(driver: &Driver) -> bool {
    let plan = |kind: &str| {
        driver.record.iter().position(|event| event.kind == kind && event.body["task"] == "plan")
    };
    plan("task.partial").is_some() && plan("task.failed").is_some()
}

#[test]
fn a_killed_run_ends_as_it_would_have_in_whatever_order_its_calls_end() {
    let mut kills = 0;
    worlds(30, |seed| {
        let world = World::new(seed).without_budget();
        let mut undisturbed = Driver::new(&world, Disturbed { seed, ..Disturbed::default() });
        let expected = undisturbed.run();
        let disturbed = Disturbed { seed: seed + 1, kills: 1 + seed as usize % 4, ..Disturbed::default() };
        let mut driver = Driver::new(&world, disturbed);
        let outcome = driver.run();
        kills += driver.happened.kills;
        if !dropped(&undisturbed) && !dropped(&driver) {
            let (mut is, mut expected) = (result(&outcome), result(&expected));
            if asked_otherwise(&undisturbed) || asked_otherwise(&driver) {
                (is.2, expected.2) = (Vec::new(), Vec::new());
            }
            assert_eq!(is, expected, "{} kills", driver.happened.kills);
        }
    });
    eprintln!("{kills} kills");
}

#[test]
fn a_stopped_run_that_is_resumed_ends_as_it_would_have_unless_something_is_tried_again() {
    let mut stops = 0;
    worlds(30, |seed| {
        let world = World::new(seed).without_budget();
        let mut undisturbed = Driver::new(&world, Disturbed { seed, ..Disturbed::default() });
        let expected = undisturbed.run();
        let disturbed = Disturbed { seed: seed + 1, stops: 1, resumes: 1, ..Disturbed::default() };
        let mut driver = Driver::new(&world, disturbed);
        let outcome = driver.run();
        // What had failed or was cut off is tried again after the end.
        let tried_again = driver.record.iter().any(|event| {
            let status = event.body["status"].as_str();
            event.kind == "task.finished"
                && (matches!(status, Some("failed" | "skipped")) || event.body["cut"] == true)
        });
        let happened = (driver.happened.stops, driver.happened.resumes);
        if happened == (1, 1) && !tried_again && !dropped(&undisturbed) && !stands(&undisturbed) {
            stops += 1;
            assert_eq!(result(&outcome), result(&expected));
        }
    });
    eprintln!("{stops} stops");
}

#[test]
fn a_fork_at_every_event_of_a_run_of_twelve_tasks_ends() {
    let world = World::of_twelve_tasks(0);
    let mut driver = Driver::new(&world, Disturbed::default());
    let expected = driver.run();
    assert_eq!(expected.tasks.len(), 12, "{:?}", expected.tasks);
    for at in 1..=driver.record.len() {
        let disturbed = Disturbed { seed: at as u64, skips_replay: at % 16 > 0, ..Disturbed::default() };
        let outcome = Driver::fork_of(&world, &driver.record, at, disturbed);
        assert_eq!(result(&outcome), result(&expected), "fork at event {at}");
    }
}

#[test]
fn of_many_tasks_no_more_than_64_have_a_call_at_a_time() {
    let world = World::of_many_tasks();
    let mut driver = Driver::new(&world, Disturbed { skips_replay: true, ..Disturbed::default() });
    let outcome = driver.run();
    assert!(outcome.tasks.len() > 64, "{} tasks", outcome.tasks.len());
    assert_eq!(driver.happened.in_flight_max, 64);
}

/// Without this, the simulation could be one of runs that fail at their first step.
#[test]
fn a_world_without_trouble_completes_its_run_without_a_second_attempt() {
    for seed in 0..40 {
        let world = World::new(seed).without_budget().without_trouble();
        let outcome = Driver::new(&world, Disturbed { seed, ..Disturbed::default() }).run();
        if !world.strategy.is_available() || world.band.planner.context_tokens < 8192 {
            continue;
        }
        let arithmetic = world.facts.arithmetic.as_deref() == Some("6 / 0");
        let planned = outcome.planner_tasks.iter().all(|task| task.attempts == 1);
        assert!(planned && (outcome.is_whole() || arithmetic), "seed {seed}: {outcome:#?}");
    }
}

#[test]
fn a_run_whose_planner_is_dead_or_talks_nonsense_is_completed_by_another_model() {
    let mut completed = 0;
    for seed in 0..120 {
        let mut world = World::new(seed).without_budget().without_trouble();
        let reader = WorkerInfo {
            worker: "reader".to_owned(),
            model: "model of reader".to_owned(),
            context_tokens: 8192,
            skills: vec![Skill::Find, Skill::Read, Skill::Write],
        };
        world.band.workers.insert(0, reader);
        let planner = world.band.planner.model.clone();
        let is_dead = seed % 2 == 0;
        if is_dead { &mut world.dead } else { &mut world.nonsense }.push(planner.clone());
        world.band.workers.retain(|worker| worker.model != planner);
        let driven = Driver::new(&world, Disturbed { seed, ..Disturbed::default() }).run();
        // A free plan begins with the tasks that the planner had written before it died.
        let (is_custom, is_simple) = (
            matches!(world.strategy, StrategyName::Other | StrategyName::Free),
            matches!(
                world.strategy,
                StrategyName::Direct | StrategyName::Sequence | StrategyName::Vote | StrategyName::Follow
            ),
        );
        if is_custom || (is_simple && !is_dead) || world.facts.arithmetic.is_some() {
            // What only the planner does is not replaced because it was rejected.
            continue;
        }
        completed += 1;
        assert!(driven.is_whole(), "seed {seed}: {driven:#?}");
    }
    assert!(completed > 30, "{completed}");
}
