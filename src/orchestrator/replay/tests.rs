use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use bandmaster_journal::RunRow;
use serde_json::Value;

use super::*;
use crate::advance::Waits;
use crate::band::{Finish, Reply};
use crate::choice::why::StrategyWhy;
use crate::event::{Asked, InputInfo};
use crate::goal::{RULE, plain_goal};
use crate::outcome::TokenUsage;
use crate::plan::{Job, Task};
use crate::request::{Input, RunRequest, StrategyName};
use crate::strategy::{Ended, Move, Prompt, Verdict};

/// So many steps at the same time, and a sum of all of them.
struct Wide(usize);

impl Strategy for Wide {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        if let Some(sum) = state.result("sum") {
            return Move::Answer(Ended { answer: sum.to_owned(), ..Ended::default() });
        }
        if !state.tasks.is_empty() {
            return Move::Wait;
        }
        let ladder = vec![goal.band.planner.worker.clone()];
        let step = |number: usize| Task {
            id: format!("t{number}"),
            job: Job::Step,
            worker: ladder[0].clone(),
            ladder: ladder.clone(),
            tokens_max: 9,
            ..Task::default()
        };
        let mut tasks: Vec<Task> = (0..self.0).map(step).collect();
        let needs = tasks.iter().map(|task| task.id.clone()).collect();
        let (id, worker) = ("sum".to_owned(), RULE.to_owned());
        tasks.push(Task { id, job: Job::Calculate, worker, needs, ..Task::default() });
        Move::Add { tasks, proposed: None }
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        let prompt = format!("{} of {}", task.id, goal.inputs[0].text);
        Prompt { messages: goal.messages(prompt), ..Prompt::default() }
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        Verdict::Accept(reply.text.clone())
    }

    fn calculate(&self, task: &Task, _: &Goal, state: &RunState) -> Result<String, String> {
        let results = task.needs.iter().filter_map(|need| state.result(need)?.parse::<u64>().ok());
        Ok(results.sum::<u64>().to_string())
    }
}

/// The record of a run of [`Wide`], and how it was started.
fn recorded(steps: usize) -> (RecordedRun, RunStart, Arc<dyn Strategy>) {
    let strategy: Arc<dyn Strategy> = Arc::new(Wide(steps));
    let text = "one text that all of them read ".repeat(2_000);
    let inputs = vec![Input { name: "a.md".to_owned(), text }];
    let request = RunRequest { inputs, ..RunRequest::new("count") };
    let band = plain_goal("").band;
    let goal = Goal::new(&request, Default::default(), band.clone());
    let mut core = Core::new(Arc::new(goal), RunState::new("r", 0), Some(Arc::clone(&strategy)));
    let mut events = Vec::new();
    let mut put = |event: &EventKind| {
        let mut body = serde_json::to_value(event).unwrap();
        let kind = body.as_object_mut().and_then(|fields| fields.shift_remove("type")).unwrap();
        let kind = kind.as_str().unwrap().to_owned();
        events.push(Event { seq: events.len() as u64 + 1, ms: events.len() as u64 / 9, kind, body });
        events.last().unwrap().ms
    };
    let started = EventKind::RunStarted {
        run: "r".to_owned(),
        goal: "count".to_owned(),
        inputs: vec![InputInfo { name: "a.md".to_owned(), tokens: 9, ..InputInfo::default() }],
        planner: String::new(),
        workers: Vec::new(),
        asked: Asked::default(),
        band: Some(band),
    };
    let chosen = EventKind::StrategyChosen { strategy: StrategyName::Other, why: StrategyWhy::default() };
    for event in [started, chosen] {
        core.take(put(&event), &event);
    }
    let mut in_flight: VecDeque<Planned> = VecDeque::new();
    loop {
        let ms = core.state.wall_ms;
        let (follow, waits) = core.advance(ms);
        for event in &follow {
            put(event);
        }
        if waits == Waits::Over {
            break;
        }
        let known: HashSet<String> = in_flight.iter().map(|planned| planned.task.clone()).collect();
        in_flight.extend(core.calls(&|task, _| known.contains(task)));
        let planned = in_flight.pop_front().expect("something is in progress");
        let event = EventKind::TaskOutput {
            output: planned.task[1..].to_owned(),
            task: planned.task,
            attempt: planned.attempt,
            worker: planned.worker,
            model: String::new(),
            prompt: String::new(),
            sampling: Value::Null,
            usage: TokenUsage::default(),
            end: CallEnd::Reply(Finish::Stop),
            steps: [0, 0],
            prompt_template: None,
        };
        core.take(ms, &event);
        put(&event);
    }
    events.iter_mut().for_each(|event| event.ms = 0);
    let row = RunRow { id: "r".to_owned(), created_ms: 0 };
    (RecordedRun { row, left: true, events }, RunStart::new(request), strategy)
}

#[test]
fn a_run_of_many_tasks_is_replayed_in_a_time_that_grows_with_its_events() {
    let (run, start, strategy) = recorded(2_000);
    let began = Instant::now();
    let replayed = replay(&run, &start, Some(&strategy));
    let took = began.elapsed();
    println!("{} events replayed in {took:?}", run.events.len());
    assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
    assert_eq!((replayed.answer.as_str(), replayed.calls.len()), ("1999000", 2_000));
    assert!(replayed.calls.iter().all(|call| call.accepted && call.call.messages.len() == 1));
    // Seconds without optimisation on a busy machine; it once took minutes.
    assert!(took.as_secs() < 30, "{took:?}");
}

#[test]
fn a_difference_is_named_and_what_follows_is_compared_with_what_is_recorded() {
    let (mut run, start, strategy) = recorded(5);
    let ended =
        run.events.iter_mut().filter(|event| event.kind == "task.finished" && event.body["task"] == "t3");
    ended.for_each(|event| event.body["output"] = "30".into());
    let replayed = replay(&run, &start, Some(&strategy));
    let seqs: Vec<u64> = replayed.differences.iter().map(|difference| difference.seq).collect();
    let changed = run.events.iter().find(|event| event.body["output"] == "30").unwrap().seq;
    // The sum follows from the result that is recorded, so it differs as well, and nothing else does.
    assert_eq!((seqs[0], seqs.len()), (changed, 2), "{:#?}", replayed.differences);
    assert_eq!(replayed.answer, "10", "the answer is the recorded one");
}
