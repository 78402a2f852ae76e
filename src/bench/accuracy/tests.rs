use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bandmaster_orchestrator::{
    BoxFuture, Call, CallError, CallErrorKind, CallUsage, Finish, Llm, Message, Progress, Reply, Status,
    Strategy, TaskReport, TokenUsage,
};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::judge::{Fit, judge, strategy_by_rules};
use super::solve::ItemOutcome;
use super::suite::Item;
use super::*;
use crate::machine::Machine;
use crate::origin::{Build, Origin};

type Script = dyn Fn(&str) -> Result<String, CallError> + Send + Sync;

/// A model that answers from a script and records its calls.
struct Scripted {
    script: Box<Script>,
    seen: Mutex<Vec<Call>>,
    /// How many calls must have arrived before any of them is answered.
    together: Barrier,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

fn scripted(script: impl Fn(&str) -> Result<String, CallError> + Send + Sync + 'static) -> Arc<Scripted> {
    together(1, script)
}

fn together(
    calls: usize,
    script: impl Fn(&str) -> Result<String, CallError> + Send + Sync + 'static,
) -> Arc<Scripted> {
    Arc::new(Scripted {
        script: Box::new(script),
        seen: Mutex::default(),
        together: Barrier::new(calls),
        under_way: AtomicUsize::new(0),
        most_under_way: AtomicUsize::new(0),
    })
}

fn answering(text: &'static str) -> Arc<Scripted> {
    scripted(move |_| Ok(text.to_owned()))
}

impl Llm for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn context_tokens(&self) -> usize {
        4096
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn prompt_tokens(&self, messages: &[Message]) -> usize {
        messages.iter().map(|message| self.count_tokens(&message.content)).sum()
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        _progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        self.seen.lock().unwrap().push(call.clone());
        Box::pin(async move {
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_under_way.fetch_max(now, Ordering::SeqCst);
            self.together.wait().await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let text = (self.script)(&call.messages.last().unwrap().content)?;
            let usage = CallUsage {
                prompt_tokens: self.prompt_tokens(&call.messages) as u64,
                completion_tokens: self.count_tokens(&text) as u64,
                ..CallUsage::default()
            };
            Ok(Reply { text, finish: Finish::Stop, usage })
        })
    }
}

fn failure(message: &str) -> CallError {
    CallError { kind: CallErrorKind::Resource, message: message.to_owned() }
}

fn suite(lines: &[Value]) -> Suite {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("suite.jsonl");
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    Suite::read(&path).unwrap()
}

/// The sandbox, if Python can be run.
pub(super) fn python() -> Option<Sandbox> {
    match block_on(Sandbox::find()) {
        Ok(sandbox) => Some(sandbox),
        Err(error) if error.to_string().contains("not on the path") => {
            bandmaster_test_support::skip("python3 is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn block_on<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(what)
}

fn evaluation(suite: Suite, model: &Arc<Scripted>) -> Evaluation {
    let sandbox = if suite.needs_python() { python() } else { None };
    let planner = Arc::clone(model) as Arc<dyn Llm>;
    Evaluation {
        suite: Arc::new(suite),
        band: Band { planner, workers: Vec::new(), embed: None },
        sandbox,
        concurrency: 1,
        interrupt: Cancel::new(),
        is_unreachable: Arc::new(|| false),
        target: "scripted".to_owned(),
        origin: origin(),
        setup: Setup { url: None, limit: None, threads: Some(2), context_tokens: Some(4096) },
    }
}

/// `count` questions `q0`, `q1`, ..., to which `yes` is the right answer.
fn questions(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({"id": n, "question": format!("q{n}"), "answer": "yes"})).collect()
}

fn cell(method: Method) -> Cell {
    let budget = TokenBudget::Unlimited;
    Cell { name: method.to_string(), model: "scripted".to_owned(), method, budget, seed: 0 }
}

fn report(evaluation: &Evaluation, cell: &Cell) -> AccuracyReport {
    let result = block_on(run_cell(evaluation, cell, &mut |_| {})).unwrap();
    AccuracyReport::new(evaluation, cell, result)
}

fn origin() -> Origin {
    Origin {
        machine: Machine::here("avx2"),
        command: "bandmaster".to_owned(),
        version: "0".to_owned(),
        build: Build::default(),
    }
}

fn item(line: Value) -> Item {
    suite(&[line]).items.remove(0)
}

fn double(body: &str) -> Value {
    json!({"task_id": "double", "prompt": "def double(x):\n    \"\"\"Twice.\"\"\"\n", "entry_point": "double",
           "test": "def check(candidate):\n    assert candidate(2) == 4\n", "answer": body})
}

#[test]
fn every_kind_of_suite_is_played_and_judged() {
    for (lines, right, wrong) in [
        (json!({"question": "q", "answer": "2 + 2\n#### 4"}), "It is 4.", "It is 5."),
        (json!({"question": "q", "answer": "Paris"}), " paris. ", "London"),
        (json!({"prompt": "q", "answer_must": ["(?i)paris", "\\d"]}), "PARIS 1", "PARIS"),
        (json!({"goal": "g", "answer_must": ["a"], "max_tasks": 1}), "a", "b"),
        (
            json!({"goal": "g", "answer_must": ["def"], "python_check": "assert f(1) == 2"}),
            "```python\ndef f(x):\n    return x + 1\n```",
            "```python\ndef f(x):\n    return x\n```",
        ),
        (double(""), "```python\ndef double(x):\n    return 2 * x\n```", "def double(x):\n    return x"),
        (double(""), "    return 2 * x", "    return x"),
    ] {
        for (answer, correct) in [(right, true), (wrong, false)] {
            for method in [Method::Alone, Method::Fixed(Strategy::Direct)] {
                let evaluation = evaluation(suite(std::slice::from_ref(&lines)), &answering(answer));
                if evaluation.suite.needs_python() && evaluation.sandbox.is_none() {
                    continue;
                }
                let report = report(&evaluation, &cell(method));
                assert_eq!(report.correct == 1, correct, "{answer} {method}: {:?}", report.items);
                assert_eq!(report.items[0].faults.is_empty(), correct);
                assert!(report.tokens > 0 && report.n == 1 && report.errors == 0 && !report.interrupted);
            }
        }
    }
}

#[test]
fn failing_model_makes_an_item_an_error_and_the_suite_goes_on() {
    let lines = questions(3);
    for method in [Method::Alone, Method::Fixed(Strategy::Direct)] {
        let model = scripted(|prompt| match prompt {
            "q1" => Err(failure("it broke")),
            _ => Ok("yes".to_owned()),
        });
        let report = report(&evaluation(suite(&lines), &model), &cell(method));
        assert_eq!((report.n, report.correct, report.errors), (3, 2, 1), "{method}");
        assert!(report.items[1].faults.join(" ").contains("it broke"), "{:?}", report.items[1]);
        let error = report.items[1].error.clone().unwrap();
        assert!(error.contains("it broke"), "{error}");
        let failures = report.failures().unwrap();
        assert_eq!(failures, format!("{method}: 1 of 3 items failed: {error}"));
        assert!(!report.is_all_failed() && report.items[0].error.is_none());
        assert!(report.items[1].line().contains(" ERROR "), "{}", report.items[1].line());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["errors"], &json["items"][1]["error"]), (&json!(1), &json!(error)));
        let markdown = MatrixReport::new(origin(), false, vec![report]).markdown();
        assert!(markdown.contains("| errors |") && markdown.contains(&failures), "{markdown}");
    }
}

#[test]
fn cell_of_errors_alone_says_so() {
    let model = scripted(|_| Err(failure("it broke")));
    let broken = report(&evaluation(suite(&questions(2)), &model), &cell(Method::Alone));
    assert_eq!((broken.n, broken.errors, broken.is_all_failed()), (2, 2, true));
    let well = report(&evaluation(suite(&questions(2)), &answering("yes")), &cell(Method::Alone));
    assert!(!well.is_all_failed() && well.failures().is_none());
    let rows = MatrixReport::new(origin(), false, vec![well]).rows();
    assert!(!rows[0].contains(&"errors".to_owned()), "{rows:?}");
}

/// The result of three questions whose calls fail with these messages or are answered.
fn with_failures(errors: [Option<&'static str>; 3]) -> Result<Vec<bool>, String> {
    const NOBODY: &str = "http://h: nobody there";
    let gone = Arc::new(AtomicBool::new(false));
    let last = Arc::clone(&gone);
    let model = scripted(move |prompt| {
        let at: usize = prompt.trim_start_matches('q').parse().unwrap();
        last.store(errors[at] == Some(NOBODY), Ordering::Relaxed);
        errors[at].map_or_else(|| Ok("yes".to_owned()), |error| Err(failure(error)))
    });
    let gone: IsUnreachable = Arc::new(move || gone.load(Ordering::Relaxed));
    let evaluation = Evaluation { is_unreachable: gone, ..evaluation(suite(&questions(3)), &model) };
    let result = block_on(run_cell(&evaluation, &cell(Method::Alone), &mut |_| {}));
    result
        .map(|result| result.items.iter().map(|item| item.error.is_some()).collect())
        .map_err(|error| error.to_string())
}

#[test]
fn an_unreachable_server_ends_the_measurement_unless_it_answered_before() {
    let gone = Some("http://h: nobody there");
    assert_eq!(with_failures([gone; 3]), Err("http://h: nobody there".to_owned()));
    assert_eq!(with_failures([Some("503"), gone, None]), Err("http://h: nobody there".to_owned()));
    assert_eq!(with_failures([None, gone, gone]), Ok(vec![false, true, true]), "it went away later");
    assert_eq!(with_failures([Some("503"), None, gone]), Ok(vec![true, false, true]));
    assert_eq!(with_failures([Some("503"); 3]), Ok(vec![true; 3]), "somebody is there");
}

#[test]
fn interrupted_cell_keeps_what_is_finished() {
    let evaluation = evaluation(suite(&questions(5)), &answering("yes"));
    let interrupt = evaluation.interrupt.clone();
    let mut reported = 0;
    let result = block_on(run_cell(&evaluation, &cell(Method::Alone), &mut |_| {
        reported += 1;
        if reported == 2 {
            interrupt.cancel();
        }
    }));
    let report = AccuracyReport::new(&evaluation, &cell(Method::Alone), result.unwrap());
    assert_eq!((report.n, report.correct, report.interrupted), (2, 2, true));
}

#[test]
fn items_run_side_by_side_and_are_reported_in_order() {
    let model = together(3, |_| Ok("yes".to_owned()));
    let evaluation = Evaluation { concurrency: 3, ..evaluation(suite(&questions(9)), &model) };
    // With fewer at a time, they would wait for each other for ever.
    let cell = cell(Method::Alone);
    let mut ignore = |_: &ItemReport| {};
    let run = async {
        tokio::time::timeout(Duration::from_secs(60), run_cell(&evaluation, &cell, &mut ignore)).await
    };
    let result = block_on(run).expect("three are under way together").unwrap();
    let report = AccuracyReport::new(&evaluation, &cell, result);
    assert_eq!(model.most_under_way.load(Ordering::SeqCst), 3);
    let ids: Vec<&str> = report.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn alone_is_one_plain_call_with_the_files_before_the_goal() {
    let line = json!({"goal": "What is it? ", "files": {"a.md": "A text."}, "answer_must": ["x"]});
    let model = answering("x");
    let evaluation = evaluation(suite(&[line]), &model);
    report(&evaluation, &cell(Method::Alone));
    let as_many = TokenBudget::ByItem(HashMap::from([("1".to_owned(), 300)]));
    for budget in [as_many, TokenBudget::PerItem(300), TokenBudget::PerItem(10)] {
        report(&evaluation, &Cell { budget, ..cell(Method::Alone) });
    }
    let seen = model.seen.lock().unwrap();
    let prompt = "Attached text (a.md):\nA text.\n\nWhat is it?";
    assert!(seen.iter().all(|call| call.messages.len() == 1 && call.messages[0].content == prompt));
    assert!(seen.iter().all(|call| call.schema.is_none() && call.temperature == 0.0));
    let limits: Vec<u32> = seen.iter().map(|call| call.tokens_max).collect();
    assert_eq!(limits, [1024, 300 - 8, 300 - 8, 64]);
}

#[test]
fn a_suite_of_choices_calls_no_model() {
    let lines = [
        json!({"goal": "Fix the file I sent you.", "best": "ask"}),
        json!({"goal": "Who wrote it?", "best": "vote", "tolerated": ["direct"]}),
        json!({"goal": "Who wrote it?", "best": "map"}),
    ];
    let model = scripted(|_| panic!("asked"));
    let report = report(&evaluation(suite(&lines), &model), &cell(Method::Auto));
    let found: Vec<_> = report.items.iter().map(|item| (item.correct, item.choice)).collect();
    assert_eq!(
        found,
        [(true, Some(Fit::Best)), (false, Some(Fit::Tolerated)), (false, Some(Fit::Wrong))],
        "{:?}",
        report.items
    );
    let choice = report.choice.unwrap();
    assert_eq!((choice.best, choice.tolerated, choice.n), (1, 1, 3));
    assert_eq!(report.items[1].faults, ["chose direct"]);
    let rules = report.rules.unwrap();
    assert_eq!((rules.best, rules.tolerated, rules.n), (1, 1, 3));
}

#[test]
fn rules_of_thumb_look_at_files_and_words() {
    let with = |goal: &str, files: usize| {
        let files: HashMap<String, String> = (0..files).map(|n| (format!("{n}.md"), "t".into())).collect();
        strategy_by_rules(&item(json!({"goal": goal, "files": files, "best": "map"})))
    };
    assert_eq!(with("Summarise the attached reports.", 3), Strategy::Map);
    assert_eq!(with("Summarise the ATTACHED reports.", 0), Strategy::Ask);
    assert_eq!(with("Fix what I sent you.", 0), Strategy::Ask);
    assert_eq!(with("Summarise the attached reports.", 2), Strategy::Direct);
    assert_eq!(with("Who wrote it?", 0), Strategy::Direct);
}

fn task(started_ms: u64, finished_ms: u64) -> TaskReport {
    TaskReport {
        id: "t".to_owned(),
        worker: "w".to_owned(),
        model: "m".to_owned(),
        needs: Vec::new(),
        status: Status::Completed,
        attempts: 1,
        usage: TokenUsage::default(),
        started_ms,
        finished_ms,
        output: String::new(),
        error: None,
    }
}

/// Faults of a goal whose best strategy is map with at least three tasks at once and at most five
/// in all; `vote` is acceptable.
fn goal_faults(method: Method, strategy: Strategy, times: &[(u64, u64)]) -> String {
    let item = item(json!({"goal": "g", "best": "map", "tolerated": ["vote"], "answer_must": ["a"],
                           "min_parallel": 3, "max_tasks": 5}));
    let tasks = times.iter().map(|(start, end)| task(*start, *end)).collect();
    let outcome =
        ItemOutcome { answer: "a".into(), strategy: Some(strategy), tasks, ..ItemOutcome::default() };
    let faults = block_on(judge(&item, method, &outcome, None));
    assert!(faults.answer.is_empty());
    faults.conduct.join("; ")
}

#[test]
fn strategy_and_tasks_are_judged_if_the_strategy_suits() {
    use Strategy::{Direct, Map, Vote};
    let together = [(0, 10), (1, 9), (2, 8)];
    let in_turn = [(0, 10), (10, 20), (20, 30)];
    let many = [(0, 10); 6];
    for (method, strategy, times, faults) in [
        (Method::Auto, Map, &together[..], ""),
        (Method::Auto, Map, &in_turn, "only 1 at once"),
        (Method::Auto, Map, &many, "6 tasks"),
        (Method::Auto, Vote, &in_turn, ""),
        (Method::Auto, Direct, &in_turn, "chose direct; "),
        (Method::Auto, Direct, &many, "chose direct; 6 tasks"),
        (Method::Fixed(Map), Map, &in_turn, "only 1 at once"),
        (Method::Fixed(Direct), Direct, &many, ""),
    ] {
        let found = goal_faults(method, strategy, times);
        assert_eq!(found, faults.trim_end_matches("; "), "{method} {strategy} {times:?}");
    }
}

#[test]
fn cells_are_compared_item_by_item_on_right_answers() {
    let lines: Vec<Value> = (0..4)
        .map(|n| json!({"id": n, "goal": format!("g{n}"), "best": "vote", "answer_must": ["yes"]}))
        .collect();
    let evaluation =
        evaluation(suite(&lines), &scripted(|prompt| Ok(if prompt == "g0" { "no" } else { "yes" }.into())));
    let auto = report(&evaluation, &cell(Method::Auto));
    assert_eq!((auto.correct, auto.answers_right), (0, Some(3)), "direct is not what was best");
    let alone = report(&evaluation, &cell(Method::Alone));
    assert_eq!((alone.correct, alone.answers_right), (3, Some(3)));
    assert_eq!(auto.tokens_by_item().len(), 4);
    let matrix = MatrixReport::new(origin(), false, vec![auto, alone]);
    assert_eq!(matrix.paired.len(), 1);
    assert_eq!((matrix.paired[0].n, matrix.paired[0].difference, matrix.paired[0].p), (4, 0.0, 1.0));
    let json = serde_json::to_value(&matrix).unwrap();
    assert_eq!(json["schema"], "bandmaster.bench.accuracy-matrix/1");
    let first = &json["cells"][0];
    assert_eq!(first["schema"], "bandmaster.bench.accuracy/1");
    for field in
        "machine command version threads context_tokens seed concurrency suite suite_sha256 kind strategy \
                  model n errors"
            .split_whitespace()
    {
        assert!(!first[field].is_null(), "{field}");
    }
    for field in ["url", "limit", "budget_tokens", "energy_j", "sandbox"] {
        assert!(first.get(field).is_some(), "{field}");
    }
    let markdown = matrix.markdown();
    assert!(markdown.contains("| auto | scripted | 0/4 | 0.0 |"), "{markdown}");
    assert!(markdown.contains("auto minus alone: +0.0 points"), "{markdown}");
    assert!(markdown.contains("three rules without any model: strategy chosen 0/4 best"), "{markdown}");
}

/// The cells of a matrix over three questions, by name, with the model's calls.
fn measured(matrix: &Matrix) -> (Vec<AccuracyReport>, Vec<Call>) {
    let model = answering("yes");
    let evaluation = evaluation(suite(&questions(3)), &model);
    let (mut cells, mut items) = (Vec::new(), 0);
    block_on(matrix.measure(&evaluation, &mut |progress| match progress {
        MatrixProgress::Item { ended, .. } => {
            items += 1;
            assert_eq!(ended, (items - 1) % 3 + 1);
        }
        MatrixProgress::Cell(report) => cells.push(*report),
    }))
    .unwrap();
    let calls = model.seen.lock().unwrap().clone();
    (cells, calls)
}

#[test]
fn every_method_is_measured_with_every_budget() {
    let direct = Method::Fixed(Strategy::Direct);
    let matrix = Matrix {
        methods: vec![direct, Method::Alone],
        budgets: vec![None, Some(900)],
        baseline: false,
        seed: 3,
        targets: 2,
    };
    assert!(!matrix.is_one_cell());
    let (cells, calls) = measured(&matrix);
    let names: Vec<&str> = cells.iter().map(|cell| cell.cell.as_str()).collect();
    let expected = [
        "scripted direct",
        "scripted direct in 900 tokens",
        "scripted alone",
        "scripted alone in 900 tokens",
    ];
    assert_eq!(names, expected);
    let budgets: Vec<Option<u64>> = cells.iter().map(|cell| cell.budget_tokens).collect();
    assert_eq!(budgets, [None, Some(900), None, Some(900)]);
    assert!(cells.iter().all(|cell| (cell.n, cell.correct, cell.seed) == (3, 3, 3)));
    assert!(calls.len() >= 12);
    let one = Matrix { methods: vec![direct], budgets: vec![None], targets: 1, ..matrix };
    assert!(one.is_one_cell());
    assert_eq!(measured(&one).0[0].cell, "direct");
}

#[test]
fn a_baseline_gets_the_tokens_that_the_cell_before_it_used() {
    let methods = vec![Method::Fixed(Strategy::Direct), Method::Alone];
    let matrix = Matrix { methods, budgets: vec![None], baseline: true, seed: 0, targets: 1 };
    assert!(!matrix.is_one_cell());
    assert!(Matrix { methods: vec![Method::Alone], ..matrix.clone() }.is_one_cell());
    let (cells, _) = measured(&matrix);
    let names: Vec<&str> = cells.iter().map(|cell| cell.cell.as_str()).collect();
    assert_eq!(names, ["direct", "alone, with the tokens of direct", "alone"]);
    assert_eq!(cells[1].strategy, "alone");
}
