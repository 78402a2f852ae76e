use std::collections::BTreeMap;

use bandmaster_client::fake::{FakeServer, Script};
use bandmaster_client::{Client, Endpoint};

use super::servers::Servers;
use super::trace::Trace;
use super::*;

const TRACE: &str = r#"{"schema": "bandmaster.trace/1", "name": "t", "models": {"w": {"model": "fake"}}, "tasks": [
    {"id": "a", "model": "w", "prefix": {"name": "p", "tokens": 4}, "prompt_tokens": 2, "output_tokens": 3},
    {"id": "b", "model": "w", "prompt_tokens": 2, "output_tokens": 5},
    {"id": "c", "model": "w", "needs": ["a", "b"], "think_ms": 60, "prefix": {"name": "p", "tokens": 4}, "reads_needs": true,
     "prompt_tokens": 1, "output_tokens": 2},
    {"id": "d", "model": "w", "needs": ["c"], "text": "<s>as it was", "output_tokens": 1}]}"#;

fn trace() -> Trace {
    Trace::parse("t", TRACE).expect("a trace")
}

const SETTING: Setting = Setting { runs: 2, warm: true, seed: 1 };

/// Computes instantly, and records what it was told.
#[derive(Default)]
struct Scripted {
    jobs: Vec<(usize, usize, Prompt, u32)>,
    outlooks: Vec<(usize, Outlook)>,
    /// The task that fails.
    breaks: Option<usize>,
    /// The task that never ends; the cancel is triggered when the task starts.
    hangs: Option<(usize, Cancel)>,
}

impl Place for Scripted {
    fn is_ready(&self, _role: &str) -> bool {
        true
    }

    fn submit(&mut self, job: Job<'_>, tell: Teller) -> Result<(), String> {
        self.jobs.push((job.run, job.place, job.prompt.clone(), job.path_tokens));
        if self.breaks == Some(job.place) {
            tell.failed("no room".to_owned());
            return Ok(());
        }
        if let Some((_, cancel)) = self.hangs.as_ref().filter(|(place, _)| *place == job.place) {
            cancel.cancel();
            return Ok(());
        }
        for _ in 0..job.task.output_tokens {
            assert!(tell.token());
        }
        let counts = Counts { output_tokens: job.task.output_tokens, ..Counts::default() };
        tell.ended(format!(" out-{}", job.task.id), counts);
        Ok(())
    }

    fn loaded(&mut self, _role: String, _model: Late) {}

    fn look_ahead(&mut self, run: usize, outlook: Outlook) {
        self.outlooks.push((run, outlook));
    }
}

fn driven(place: &mut dyn Place, setting: Setting, stop: &Cancel) -> Result<Driven, WorkflowError> {
    let late = |_: &str| Err("nothing comes late".to_owned());
    drive(place, &late, &trace(), setting, stop, &mut |_| {})
}

#[test]
fn a_task_starts_when_its_needs_have_ended_and_reads_them_in_order() {
    let mut place = Scripted::default();
    let done = driven(&mut place, SETTING, &Cancel::new()).expect("nothing breaks");
    assert!(!done.interrupted);
    for (run, tasks) in done.runs.iter().enumerate() {
        let at = |task: usize| tasks.iter().find(|times| times.task == task).expect("all tasks ended");
        let thought = at(2).start - at(0).end.max(at(1).end);
        assert!(thought >= Duration::from_millis(60), "run {run} thought for {thought:?}");
        assert_eq!(at(1).tokens.len(), 5);
    }
    let prompt = |run: usize, task: usize| {
        let job = place.jobs.iter().find(|job| (job.0, job.1) == (run, task)).expect("it was submitted");
        match &job.2 {
            Prompt::Text(text) | Prompt::Question(text) => text.clone(),
        }
    };
    let prefix: String = prompt(0, 0).split_inclusive(' ').take(5).collect();
    assert!(prompt(0, 2).starts_with(prefix.trim_end()), "the prefix comes first");
    assert!(prompt(0, 2).contains(" out-a out-b "), "then what the needs wrote: {}", prompt(0, 2));
    assert!(prompt(0, 3).ends_with("<s>as it was") && prompt(0, 3) != prompt(1, 3), "no two runs open alike");
    assert!(
        prompt(1, 0).starts_with(prefix.trim_end()) && prompt(1, 0) != prompt(0, 0),
        "runs share prefixes only"
    );
    let paths: Vec<u32> =
        (0..4).map(|task| place.jobs.iter().find(|job| job.1 == task).expect("there").3).collect();
    assert_eq!(paths, [6, 8, 3, 1]);
}

#[test]
fn what_the_plan_knows_is_told_before_it_happens() {
    let mut place = Scripted::default();
    driven(&mut place, Setting { runs: 1, ..SETTING }, &Cancel::new()).expect("nothing breaks");
    let first = &place.outlooks[0].1;
    assert_eq!(first.prefixes.len(), 1);
    assert_eq!(first.prefixes[0].2, 0, "a reads it in the first step");
    let later =
        place.outlooks.iter().find(|(_, outlook)| outlook.beginnings.iter().any(|known| known.0 == 2));
    let known = &later.expect("c's beginning is known while its needs run").1;
    let words = |text: &str| text.split_whitespace().count();
    assert!(words(&known.beginnings.iter().find(|known| known.0 == 2).expect("c").2) >= 4);
    assert!(
        place.outlooks.last().expect("an end").1.prefixes.is_empty(),
        "nothing is expected after the end"
    );
    let mut quiet = Scripted::default();
    driven(&mut quiet, Setting { warm: false, ..SETTING }, &Cancel::new()).expect("nothing breaks");
    assert!(
        quiet
            .outlooks
            .iter()
            .all(|(_, outlook)| outlook.beginnings.is_empty() && outlook.prefixes.is_empty())
    );
}

#[test]
fn a_broken_task_ends_the_trace_with_its_name() {
    let mut place = Scripted { breaks: Some(1), ..Scripted::default() };
    let error = driven(&mut place, SETTING, &Cancel::new()).expect_err("b breaks");
    assert_eq!(error.to_string(), "task b: no room");
}

#[test]
fn an_interrupt_keeps_what_has_ended() {
    let cancel = Cancel::new();
    let mut place = Scripted { hangs: Some((2, cancel.clone())), ..Scripted::default() };
    let done = driven(&mut place, Setting { runs: 1, ..SETTING }, &cancel).expect("nothing breaks");
    assert!(done.interrupted);
    assert_eq!(done.runs[0].len(), 2, "a and b had ended");
}

/// The result of running the trace against a server with this script.
fn served(script: Script) -> Result<Driven, WorkflowError> {
    let server = FakeServer::start(script);
    let endpoint = Endpoint::new(&server.url, "fake", None, true).expect("it is here");
    let client = Client::new(Duration::from_secs(1)).expect("a client");
    let mut place = Servers::new(client, BTreeMap::from([("w".to_owned(), endpoint)])).expect("a thread");
    driven(&mut place, SETTING, &Cancel::new())
}

#[test]
fn a_server_runs_the_same_trace() {
    let done = served(Script::Good { ms: 1 }).expect("a good server");
    let task = done.runs[1].iter().find(|times| times.task == 1).expect("b");
    assert_eq!(
        (task.tokens.len(), task.counts),
        (5, Counts { prompt_tokens: 7, cached_tokens: 2, output_tokens: 5 })
    );
}

#[test]
fn a_server_that_does_other_work_or_breaks_is_an_error_with_the_task() {
    let check = |script: Script, says: &str| {
        let error = served(script.clone()).expect_err(says).to_string();
        assert!(error.starts_with("task ") && error.contains(says), "{script:?}: {error}");
    };
    check(Script::Short { tokens: 2 }, "wrote 2 of");
    check(Script::Status(500, "{}"), "answered 500");
    check(Script::Stalls, "nothing for 1 s");
    check(Script::Closes, "closed the stream");
}
