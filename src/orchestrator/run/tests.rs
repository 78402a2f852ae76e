use std::sync::Mutex;

use super::*;
use crate::band::{BoxFuture, Call, CallError, CallUsage, Finish, Message, Progress, Reply};
use crate::outcome::Status;
use crate::plan::{Job, Task};
use crate::replay::{replay, verify};
use crate::start::{recorded, resume};
use crate::strategy::{Ended, Move, Prompt, Verdict};

type Listener<'a> = &'a mut (dyn FnMut(Progress<'_>) + Send);

/// Replies to a call, or hangs.
type Script = fn(&Call, Listener<'_>) -> Option<Reply>;

struct Scripted {
    context_tokens: usize,
    script: Script,
    /// Most tokens, temperature and seed of each call.
    calls: Mutex<Vec<(u32, f32, u64)>>,
}

impl Llm for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn prompt_tokens(&self, _: &[Message]) -> usize {
        10
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: Listener<'a>,
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        self.calls.lock().unwrap().push((call.tokens_max, call.temperature, call.seed));
        Box::pin(async move {
            progress(Progress::Prompt(asked(call)));
            progress(Progress::Prefill { computed: 10, cached: 4, total: 10 });
            match (self.script)(call, progress) {
                Some(reply) => Ok(reply),
                None => std::future::pending().await,
            }
        })
    }
}

fn asked(call: &Call) -> &str {
    &call.messages.last().unwrap().content
}

fn reply(text: &str, finish: Finish, completion_tokens: u64) -> Reply {
    let usage = CallUsage { prompt_tokens: 10, cached_tokens: 4, completion_tokens, ..CallUsage::default() };
    Reply { text: text.to_owned(), finish, usage }
}

/// A planner alone, the record of its runs, and a strategy if it is not one of the project's.
struct Desk {
    planner: Arc<Scripted>,
    journal: AsyncJournal,
    strategy: Option<Arc<dyn Strategy>>,
}

impl Desk {
    fn new(context_tokens: usize, script: Script, strategy: Option<Arc<dyn Strategy>>) -> Self {
        let planner = Arc::new(Scripted { context_tokens, script, calls: Mutex::default() });
        Self { planner, journal: AsyncJournal::in_memory().unwrap(), strategy }
    }

    fn band(&self) -> Band {
        Band { planner: Arc::clone(&self.planner) as Arc<dyn Llm>, workers: Vec::new(), embed: None }
    }

    /// Works on a run to its end.
    async fn run(&self, start: RunStart) -> Outcome {
        self.run_until(start, &Cancel::new()).await
    }

    /// Works on a run until it ends or is cancelled.
    async fn run_until(&self, start: RunStart, cancel: &Cancel) -> Outcome {
        let band = self.band();
        let mut observer = |_: &RunEvent| {};
        let run = run_with(self.strategy.clone(), &band, start, &self.journal, &mut observer, cancel);
        tokio::time::timeout(Duration::from_secs(60), run).await.expect("it ends").unwrap()
    }

    async fn resume(&self, id: &str) -> Outcome {
        let id = id.to_owned();
        let start = self.journal.read(move |journal| resume(journal, &id)).await.unwrap();
        self.run(start).await
    }

    /// Replays a run and makes its accepted calls again. Returns them, and the state before the run's end.
    async fn verify(&self, id: &str) -> (Vec<(String, u32)>, RunState) {
        let id = id.to_owned();
        let (mut run, start) = self.journal.read(move |journal| recorded(journal, &id)).await.unwrap();
        let replayed = replay(&run, &start, self.strategy.as_ref());
        assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
        let verified = verify(&self.band(), &replayed).await;
        assert!(verified.differences.is_empty(), "{:#?}", verified.differences);
        let accepted = replayed.calls.into_iter().filter(|call| call.accepted);
        let accepted: Vec<(String, u32)> = accepted.map(|call| (call.task, call.attempt)).collect();
        assert_eq!(verified.outputs, accepted.len());
        run.events.pop();
        (accepted, RunState::fold(&run.row.id, 0, &run.events))
    }

    fn calls(&self) -> Vec<(u32, f32, u64)> {
        std::mem::take(&mut self.planner.calls.lock().unwrap())
    }
}

fn direct() -> RunRequest {
    RunRequest { strategy: Some(StrategyName::Direct), seed: 3, ..RunRequest::new("Tell a long story.") }
}

/// A story of 3000 words, as far as the call's limit and the context allow.
fn story(call: &Call, context_tokens: u32) -> Option<Reply> {
    let room = call.tokens_max.min(context_tokens - 10);
    let words: Vec<String> = (0..room.min(3000)).map(|number| format!("word{number}")).collect();
    let finish = if room < 3000 { Finish::Length } else { Finish::Stop };
    Some(reply(&words.join(" "), finish, words.len() as u64))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_cut_off_is_made_with_more_room_at_each_resume() {
    let desk = Desk::new(8192, |call, _| story(call, 8192), None);
    let mut outcome = desk.run(RunStart::new(direct())).await;
    let first = desk.calls();
    let mut room = first[0].0;
    assert_eq!((outcome.status, &first[..]), (Status::Incomplete, &[(room, 0.0, 3)][..]));
    while !outcome.is_whole() {
        let before = outcome.answer.clone();
        outcome = desk.resume(&outcome.id).await;
        room *= 2;
        assert_eq!(desk.calls(), [(room, 0.0, 3)]);
        assert!(outcome.answer.len() > before.len() && outcome.answer.starts_with(&before), "it goes on");
    }
    assert!(outcome.is_whole() && outcome.answer.ends_with("word2999"), "{outcome:?}");
    let attempts = outcome.tasks[0].attempts;
    let (accepted, _) = desk.verify(&outcome.id).await;
    let expected: Vec<(String, u32)> = (1..=attempts).map(|attempt| ("t1".to_owned(), attempt)).collect();
    assert!(attempts > 2 && accepted == expected, "each was the result for a while: {accepted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_cut_off_at_the_end_of_the_context_is_not_made_again() {
    let desk = Desk::new(1500, |call, _| story(call, 1500), None);
    let mut outcome = desk.run(RunStart::new(direct())).await;
    assert_eq!((outcome.status, desk.calls().len()), (Status::Incomplete, 1));
    for calls in [1, 0, 0] {
        outcome = desk.resume(&outcome.id).await;
        assert_eq!((outcome.status, desk.calls().len()), (Status::Incomplete, calls));
        assert_eq!(outcome.answer.split(' ').count(), 1490, "as much as the context holds");
        assert!(outcome.missing[0].contains("cut off at 1490 tokens"), "{:?}", outcome.missing);
    }
    desk.verify(&outcome.id).await;
}

/// Two steps at the same time, of which the second is dropped when the first has ended, or before it begins.
struct Drops {
    at_once: bool,
}

impl Strategy for Drops {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let ladder = || [goal.band.planner.worker.clone()];
        let Some((fast, slow)) = state.task("fast").zip(state.task("slow")) else {
            let tasks = ["fast", "slow"].map(|id| Task::new(id, Job::Step, ladder()));
            return Move::Add { tasks: tasks.to_vec(), proposed: None };
        };
        match fast.accepted() {
            Some(answer) if slow.has_ended() => {
                Move::Answer(Ended { answer: answer.to_owned(), ..Ended::default() })
            }
            None if slow.has_ended() || !self.at_once => Move::Wait,
            _ => Move::Drop { tasks: vec!["slow".to_owned()], why: "nobody needs it".to_owned() },
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        Prompt::new(goal.messages(task.id.clone()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_dropped_call_has_used_is_part_of_the_record() {
    for (at_once, tokens) in [(false, (6 + 2) + (6 + 1)), (true, 6 + 1)] {
        let script: Script = |call, progress| {
            if asked(call) == "slow" {
                progress(Progress::Text("once"));
                progress(Progress::Text(" upon"));
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
            Some(reply("done", Finish::Stop, 1))
        };
        let desk = Desk::new(4096, script, Some(Arc::new(Drops { at_once })));
        let outcome = desk.run(RunStart::new(RunRequest::new("do it"))).await;
        assert_eq!((outcome.status, outcome.answer.as_str()), (Status::Completed, "done"), "{outcome:?}");
        assert_eq!(desk.calls().len(), if at_once { 1 } else { 2 });
        let (accepted, before) = desk.verify(&outcome.id).await;
        assert_eq!(accepted, [("fast".to_owned(), 1)]);
        // A process that is killed before the run's end leaves no less to the next one.
        assert_eq!((outcome.usage.tokens.computed(), before.used().tokens), (tokens, tokens));
        let slow = before.task("slow").unwrap();
        assert_eq!((slow.status, slow.output.as_str()), (Status::Skipped, ""));
        let text = if at_once { "" } else { "once upon" };
        assert_eq!(
            (slow.attempts[0].output.as_str(), &slow.attempts[0].end),
            (text, &Some(CallEnd::Stopped))
        );
    }
}

/// A step whose first reply can be used in part, and whose second one is worse.
struct Keeps;

impl Strategy for Keeps {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let ladder = || vec![goal.band.planner.worker.clone(); 2];
        match state.task("t1") {
            None => Move::add(Task::new("t1", Job::Step, ladder())),
            Some(task) if !task.has_ended() => Move::Wait,
            Some(task) => Move::Answer(Ended { answer: task.output.clone(), ..Ended::default() }),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        Prompt::new(goal.messages(task.id.clone()))
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        let kept = reply.text.strip_suffix(" and nonsense").map(str::to_owned);
        Verdict::Reject { why: "it has nonsense".to_owned(), kept }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_that_is_verified_is_the_one_whose_reply_was_used() {
    let script: Script = |call, _| {
        let text = if call.temperature == 0.0 { "sense and nonsense" } else { "nonsense" };
        Some(reply(text, Finish::Stop, 3))
    };
    let desk = Desk::new(4096, script, Some(Arc::new(Keeps)));
    let outcome = desk.run(RunStart::new(RunRequest::new("do it"))).await;
    assert_eq!((outcome.answer.as_str(), outcome.tasks[0].attempts), ("sense", 2));
    assert_eq!(desk.verify(&outcome.id).await.0, [("t1".to_owned(), 1)]);
}

/// A strategy that has an answer as soon as its run is being stopped.
struct Hasty;

impl Strategy for Hasty {
    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        match state.task("t1") {
            _ if state.is_stopped() => Move::Answer(Ended { answer: "half".to_owned(), ..Ended::default() }),
            None => Move::add(Task::new("t1", Job::Step, [goal.band.planner.worker.clone()])),
            Some(_) => Move::Wait,
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        Prompt::new(goal.messages(task.id.clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_ends_after_its_calls() {
    let desk = Desk::new(4096, |_, _| None, Some(Arc::new(Hasty)));
    let cancel = Cancel::new();
    let stop = async {
        while desk.planner.calls.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(desk.run_until(RunStart::new(RunRequest::new("do it")), &cancel), stop);
    assert_eq!((outcome.status, outcome.answer.as_str()), (Status::Cancelled, "half"));
    assert_eq!(outcome.tasks[0].status, Status::Cancelled, "{outcome:?}");
}
