use std::collections::BTreeMap;

use bandmaster_client::{Client, Endpoint, FakeServer, Script};

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

const OPTIONS: TraceOptions = TraceOptions { runs: 2, warm: true, seed: 1 };

/// Computes instantly, and records what it was told.
#[derive(Default)]
struct Scripted {
    jobs: Vec<(usize, usize, Prompt, u32)>,
    lookaheads: Vec<(usize, Lookahead)>,
    /// The task that fails.
    breaks: Option<usize>,
    /// The task that never ends; the cancel is triggered when the task starts.
    hangs: Option<(usize, Cancel)>,
}

impl Backend for Scripted {
    fn is_ready(&self, _role: &str) -> bool {
        true
    }

    fn submit(&mut self, job: Job<'_>, events: EventSender) -> Result<(), String> {
        self.jobs.push((job.run, job.task_index, job.prompt.clone(), job.path_tokens));
        if self.breaks == Some(job.task_index) {
            events.failed("no room".to_owned());
            return Ok(());
        }
        if let Some((_, cancel)) = self.hangs.as_ref().filter(|(task, _)| *task == job.task_index) {
            cancel.cancel();
            return Ok(());
        }
        for _ in 0..job.task.output_tokens {
            assert!(events.token());
        }
        let usage = Usage { completion_tokens: job.task.output_tokens, ..Usage::default() };
        events.ended(format!(" out-{}", job.task.id), usage);
        Ok(())
    }

    fn loaded(&mut self, _role: String, _model: Arc<LoadedModel>) {}

    fn look_ahead(&mut self, run: usize, lookahead: Lookahead) {
        self.lookaheads.push((run, lookahead));
    }
}

fn run(
    backend: &mut dyn Backend,
    options: TraceOptions,
    stop: &Cancel,
) -> Result<TraceResult, WorkflowError> {
    let late = |_: &str| Err("nothing comes late".to_owned());
    run_trace(backend, &late, &trace(), options, stop, &mut |_| {})
}

#[test]
fn a_task_starts_when_its_needs_have_ended_and_reads_them_in_order() {
    let mut backend = Scripted::default();
    let done = run(&mut backend, OPTIONS, &Cancel::new()).expect("nothing breaks");
    assert!(!done.interrupted);
    for (run, tasks) in done.runs.iter().enumerate() {
        let at = |task: usize| tasks.iter().find(|times| times.task == task).expect("all tasks ended");
        let thought = at(2).start - at(0).end.max(at(1).end);
        assert!(thought >= Duration::from_millis(60), "run {run} thought for {thought:?}");
        assert_eq!(at(1).tokens.len(), 5);
    }
    let prompt = |run: usize, task: usize| {
        let job = backend.jobs.iter().find(|job| (job.0, job.1) == (run, task)).expect("it was submitted");
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
        (0..4).map(|task| backend.jobs.iter().find(|job| job.1 == task).expect("there").3).collect();
    assert_eq!(paths, [6, 8, 3, 1]);
}

#[test]
fn a_backend_learns_what_the_plan_knows_in_advance() {
    let mut backend = Scripted::default();
    run(&mut backend, TraceOptions { runs: 1, ..OPTIONS }, &Cancel::new()).expect("nothing breaks");
    let first = &backend.lookaheads[0].1;
    assert_eq!(first.prefixes.len(), 1);
    assert_eq!(first.prefixes[0].2, 0, "a reads it in the first step");
    let later = backend
        .lookaheads
        .iter()
        .find(|(_, lookahead)| lookahead.prompt_starts.iter().any(|known| known.0 == 2));
    let known = &later.expect("c's beginning is known while its needs run").1;
    let words = |text: &str| text.split_whitespace().count();
    assert!(words(&known.prompt_starts.iter().find(|known| known.0 == 2).expect("c").2) >= 4);
    assert!(
        backend.lookaheads.last().expect("an end").1.prefixes.is_empty(),
        "nothing is expected after the end"
    );
    let mut quiet = Scripted::default();
    run(&mut quiet, TraceOptions { warm: false, ..OPTIONS }, &Cancel::new()).expect("nothing breaks");
    assert!(
        quiet
            .lookaheads
            .iter()
            .all(|(_, lookahead)| lookahead.prompt_starts.is_empty() && lookahead.prefixes.is_empty())
    );
}

#[test]
fn a_broken_task_ends_the_trace_with_its_name() {
    let mut backend = Scripted { breaks: Some(1), ..Scripted::default() };
    let error = run(&mut backend, OPTIONS, &Cancel::new()).expect_err("b breaks");
    assert_eq!(error.to_string(), "task b: no room");
}

#[test]
fn an_interrupt_keeps_what_has_ended() {
    let cancel = Cancel::new();
    let mut backend = Scripted { hangs: Some((2, cancel.clone())), ..Scripted::default() };
    let done = run(&mut backend, TraceOptions { runs: 1, ..OPTIONS }, &cancel).expect("nothing breaks");
    assert!(done.interrupted);
    assert_eq!(done.runs[0].len(), 2, "a and b had ended");
}

/// The result of running the trace against a server with this script.
fn run_on_server(script: Script) -> Result<TraceResult, WorkflowError> {
    let server = FakeServer::start(script);
    let endpoint = Endpoint::new(&server.url, "fake", None, true).expect("it is here");
    let client = Client::new(Duration::from_secs(1)).expect("a client");
    let mut backend =
        ServerBackend::new(client, BTreeMap::from([("w".to_owned(), endpoint)])).expect("a thread");
    run(&mut backend, OPTIONS, &Cancel::new())
}

#[test]
fn a_server_runs_the_same_trace() {
    let done = run_on_server(Script::Good { ms: 1 }).expect("a good server");
    let task = done.runs[1].iter().find(|times| times.task == 1).expect("b");
    assert_eq!(
        (task.tokens.len(), task.usage),
        (5, Usage { prompt_tokens: 7, cached_tokens: 2, completion_tokens: 5 })
    );
}

#[test]
fn a_server_that_does_other_work_or_breaks_is_an_error_with_the_task() {
    let check = |script: Script, says: &str| {
        let error = run_on_server(script.clone()).expect_err(says).to_string();
        assert!(error.starts_with("task ") && error.contains(says), "{script:?}: {error}");
    };
    check(Script::Short { tokens: 2 }, "wrote 2 of");
    check(Script::Status(500, "{}"), "answered 500");
    check(Script::Stalls, "nothing for 1 s");
    check(Script::Closes, "closed the stream");
}

#[test]
fn a_round_without_runs_has_no_times() {
    let round = Round::new(&trace(), &[], None);
    assert_eq!((round.p95_run_s(), round.mean_run_s(), round.wall_s), (0.0, 0.0, 0.0));
}
