mod error_rates;

use serde_json::{Value, json};

use super::html::escape;
use super::metrics::Better;
use super::read::Side;
use super::{CHANGE_MIN, Comparison, Row, Verdict, compare};
use crate::bootstrap::{interval, mcnemar_p};
use crate::random::TokenSource;

/// Changes a result's JSON.
type Edit = fn(&mut Value);

/// `count` values around `middle`, none farther away than `spread`.
fn noisy(seed: u64, count: usize, middle: f64, spread: f64) -> Vec<f64> {
    let random = TokenSource::new(seed, 1 << 20).take(count);
    random.iter().map(|value| middle + spread * (f64::from(*value) / f64::from(1 << 19) - 1.0)).collect()
}

fn result(kind: &str, body: Value) -> Value {
    let mut result = json!({
        "schema": format!("bandmaster.bench.{kind}/1"), "command": "bandmaster bench", "version": "0.1.0",
        "machine": {"cpu": "Abacus 9", "cores": 4, "isa": "avx2", "memory_bytes": 8_000_000_000_u64, "load_1m": 0.1},
    });
    let fields = result.as_object_mut().expect("it is an object");
    fields.extend(body.as_object().expect("it is an object").clone());
    result
}

fn throughput(prefill: &[f64], decode: &[f64]) -> Value {
    result(
        "throughput",
        json!({"threads": 2, "model": {"name": "m", "bytes": 1000}, "rows": [{
            "batch": 4, "prompt_tokens": 128, "gen_tokens": 24, "computed_tokens": 512, "threads": 2,
            "prefill_s": prefill[0], "decode_s": decode[0], "prefill_rounds_s": prefill, "decode_rounds_s": decode,
        }]}),
    )
}

fn workflow(walls: &[f64]) -> Value {
    result(
        "workflow",
        json!({"trace": "fanout", "runs": 1, "models": {"w": "m"}, "rounds_wall_s": walls,
               "prompt_tokens": 1000, "output_tokens": 500}),
    )
}

/// A result with one round of requests for each list of latencies in milliseconds.
fn serve(rounds: &[Vec<f64>]) -> Value {
    let request = |round: usize, ms: &f64| {
        json!({"round": round, "at_ms": 0, "ttft_ms": ms / 4.0, "e2e_ms": ms, "itl_ms": [ms / 8.0, ms / 9.0],
               "prompt_tokens": 100, "cached_tokens": 10, "output_tokens": 10, "error": null})
    };
    let samples: Vec<Value> = rounds
        .iter()
        .enumerate()
        .flat_map(|(round, times)| times.iter().map(move |ms| request(round, ms)))
        .collect();
    result(
        "serve",
        json!({"url": "http://localhost:1", "model": "m", "workload": "chat", "seed": 1,
               "mode": {"closed": {"concurrency": 8}}, "requests": samples.len(), "errors": 0,
               "output_tokens_per_s": 100.0, "samples": samples}),
    )
}

/// Rounds of `count` requests around `middle`. Rounds differ by up to `between`, requests of a round by up
/// to `within`, both as fractions.
fn load(seed: u64, rounds: usize, count: usize, middle: f64, between: f64, within: f64) -> Value {
    let factors = noisy(seed, rounds, 1.0, between);
    let times: Vec<Vec<f64>> = factors
        .iter()
        .enumerate()
        .map(|(round, factor)| {
            noisy(seed ^ ((round as u64 + 1) << 32), count, middle * factor, middle * factor * within)
        })
        .collect();
    serve(&times)
}

fn accuracy(right: &[bool]) -> Value {
    let item = |(index, correct): (usize, &bool)| {
        json!({"id": format!("q{index}"), "correct": correct, "answer": "", "strategy": "direct",
               "tokens": 100 + index, "wall_s": 1.0})
    };
    let items: Vec<Value> = right.iter().enumerate().map(item).collect();
    result(
        "accuracy",
        json!({"suite": "s.jsonl", "suite_sha256": "ab", "strategy": "direct", "items": items}),
    )
}

fn compared(a: &Value, b: &Value, partial: bool) -> Result<Comparison, String> {
    let side = |file: &str, value: &Value| Side::parse(file, &value.to_string());
    let (a, b) = (side("A.json", a), side("B.json", b));
    let both = a.and_then(|a| compare(a, b?, partial, CHANGE_MIN));
    both.map_err(|error| error.to_string())
}

fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    comparison.rows.iter().map(|row| row.verdict).collect()
}

#[test]
fn interval_over_items_is_narrow_where_they_agree() {
    let a = noisy(1, 30, 10.0, 9.0);
    let larger: Vec<f64> = a.iter().map(|value| value * 1.1).collect();
    let found = interval(&a, &larger, |a, b| b / a).expect("there are items");
    assert!(found.iter().all(|ratio| (ratio - 1.1).abs() < 1e-9), "{found:?}");
    assert_eq!(
        found.map(f64::to_bits),
        interval(&a, &larger, |a, b| b / a).expect("again").map(f64::to_bits)
    );
    let other = interval(&a, &noisy(2, 30, 10.0, 9.0), |a, b| b / a).expect("there are items");
    assert!(other[0] < 0.9 && other[1] > 1.1, "{other:?}");
    assert_eq!(interval(&[1.0], &[1.0], |a, b| b / a), None);
}

#[test]
fn one_run_a_side_decides_nothing() {
    let comparison = compared(&load(1, 1, 200, 100.0, 0.0, 0.2), &load(2, 1, 200, 200.0, 0.0, 0.2), false);
    let comparison = comparison.expect("they can be compared");
    assert!(comparison.rows.iter().all(|row| row.verdict == Verdict::Undecided), "{:?}", comparison.rows);
    assert!(
        comparison.remarks().iter().any(|remark| remark.contains("--repeat 5")),
        "{:?}",
        comparison.remarks()
    );
}

#[test]
fn a_warm_cache_is_not_compared_with_a_cold_one() {
    let cold = load(1, 5, 20, 100.0, 0.01, 0.1);
    let mut warm = load(1, 5, 20, 50.0, 0.01, 0.1);
    for request in warm["samples"].as_array_mut().expect("requests") {
        request["cached_tokens"] = json!(90);
    }
    let comparison = compared(&cold, &warm, false).expect("they can be compared");
    for row in &comparison.rows {
        let message = row.refused.as_deref().expect("all rows are refused");
        assert!(message.contains("found in the cache"), "{message}");
    }
    let mut workflow_cold = workflow(&[1.0, 1.1, 1.2]);
    workflow_cold["cached_tokens"] = json!(0);
    let mut workflow_warm = workflow_cold.clone();
    workflow_warm["cached_tokens"] = json!(800);
    let comparison = compared(&workflow_cold, &workflow_warm, false).expect("they can be compared");
    assert_eq!(verdicts(&comparison), [Verdict::Refused]);
}

#[test]
fn mcnemar_is_the_binomial_of_the_items_that_differ() {
    let check = |only_a, only_b, expected: f64| {
        let p = mcnemar_p(only_a, only_b);
        assert!((p - expected).abs() < 1e-9, "{only_a} {only_b}: {p}");
    };
    check(0, 0, 1.0);
    check(5, 5, 1.0);
    check(0, 5, 2.0 / 32.0);
    check(1, 9, 22.0 / 1024.0);
    check(9, 1, 22.0 / 1024.0);
    let large = mcnemar_p(3000, 3200);
    assert!((0.011..0.012).contains(&large), "{large}");
}

#[test]
fn rounds_decide_when_there_are_three() {
    let slow = [2.0, 2.02, 2.04];
    let fast = [1.0, 1.02, 1.01];
    let of = |count: usize| {
        let (a, b) = (throughput(&slow[..count], &slow[..count]), throughput(&fast[..count], &slow[..count]));
        compared(&a, &b, false).expect("they can be compared")
    };
    let three = of(3);
    assert_eq!(verdicts(&three), [Verdict::Better, Verdict::Undecided]);
    let row = &three.rows[0];
    assert!((row.ratio.expect("there is one") - 2.0).abs() < 1e-3, "{row:?}");
    assert!((row.a.expect("there is one") - 512.0 / 2.02).abs() < 0.1, "{row:?}");
    assert_eq!((row.a_samples, row.b_samples, row.better), (3, 3, Better::Higher));
    let two = of(2);
    assert_eq!(verdicts(&two), [Verdict::Undecided; 2], "two are too few, whatever they say");
    assert!(two.rows[0].interval.is_some());
    let one = of(1);
    assert_eq!((one.rows[0].interval, one.rows[0].verdict), (None, Verdict::Undecided));
    let walls = compared(&workflow(&slow), &workflow(&fast), false).expect("they can be compared");
    assert_eq!(verdicts(&walls), [Verdict::Better], "less time is better");
}

#[test]
fn results_from_before_there_were_rounds_have_one_sample() {
    let mut old = throughput(&[2.0], &[3.0]);
    let row = old["rows"][0].as_object_mut().expect("it is an object");
    for name in ["prefill_rounds_s", "decode_rounds_s", "threads"] {
        row.remove(name);
    }
    let comparison = compared(&old, &old, false).expect("they can be compared");
    assert_eq!(comparison.rows[0].a_samples, 1);
    assert_eq!(verdicts(&comparison), [Verdict::Undecided; 2]);
}

fn of<'a>(comparison: &'a Comparison, metric: &str) -> &'a Row {
    comparison.rows.iter().find(|row| row.metric == metric).expect("it is there")
}

#[test]
fn a_round_gives_one_figure_of_each_kind() {
    let (a, b) = (load(1, 5, 40, 100.0, 0.01, 0.2), load(2, 5, 40, 60.0, 0.01, 0.2));
    let comparison = compared(&a, &b, false).expect("they can be compared");
    let row = of(&comparison, "request p50, ms");
    assert_eq!((row.verdict, row.a_samples), (Verdict::Better, 5));
    assert_eq!(of(&comparison, "between tokens p90, ms").verdict, Verdict::Better);
    let last = of(&comparison, "first token p99, ms");
    assert_eq!((last.verdict, last.p), (Verdict::Undecided, None), "40 requests have no 99th percentile");
    let rate = of(&comparison, "output tokens/s");
    assert_eq!(rate.verdict, Verdict::Better);
    // All 40 requests of a round begin together, and the slowest takes about 120 ms.
    assert!(rate.a.is_some_and(|rate| (3_000.0..3_600.0).contains(&rate)), "{rate:?}");
    let open = |mut result: Value| {
        result["mode"] = json!({"open": {"rate": 2.5}});
        result
    };
    let comparison = compared(&open(a), &open(b), false).expect("they can be compared");
    assert_eq!(
        (comparison.rows[0].p, comparison.rows[0].verdict),
        (None, Verdict::Undecided),
        "the rate was given"
    );
}

#[test]
fn rounds_are_paired_by_their_numbers() {
    // The rounds differ far more than the two sides do.
    let factors = [100.0, 200.0, 400.0, 800.0, 300.0];
    let side = |factor: f64, left_out: u64| {
        let rounds: Vec<Vec<f64>> = factors.iter().map(|ms| vec![ms * factor; 20]).collect();
        let mut result = serve(&rounds);
        let samples = result["samples"].as_array_mut().expect("a list");
        samples.retain(|sample| sample["round"] != json!(left_out));
        result["requests"] = json!(samples.len());
        result
    };
    let p = |left_out_a: u64, left_out_b: u64| {
        let compared = compared(&side(1.0, left_out_a), &side(1.1, left_out_b), false);
        of(&compared.expect("they can be compared"), "request p50, ms").p.expect("four rounds decide")
    };
    assert!(p(1, 1) < 1e-3, "the same rounds are pairs: {}", p(1, 1));
    assert!(p(1, 3) > 0.2, "other rounds at the same place are none: {}", p(1, 3));
}

#[test]
fn failed_requests_are_noted_and_in_no_figure() {
    let a = serve(&[vec![100.0; 100], vec![100.0; 100]]);
    let mut b = a.clone();
    b["errors"] = json!(1);
    b["samples"][3] = json!({"round": 0, "at_ms": 0, "ttft_ms": null, "e2e_ms": null, "error": "503"});
    let comparison = compared(&a, &b, false).expect("they can be compared");
    assert_eq!(comparison.rows[0].b_samples, 2);
    assert!(comparison.notes.iter().any(|note| note.contains("1 of 200 requests of B failed")));
    for index in 0..200 {
        b["samples"][index]["error"] = json!("503");
    }
    let none = compared(&a, &b, false).expect("they can be compared");
    assert!(none.rows.iter().all(|row| row.verdict == Verdict::Refused), "{:?}", none.rows);
}

#[test]
fn accuracies_are_compared_item_by_item() {
    let mut right = [false; 30];
    right[..10].fill(true);
    let a = accuracy(&right);
    right[10..20].fill(true);
    let better = compared(&a, &accuracy(&right), false).expect("they can be compared");
    let row = &better.rows[0];
    assert_eq!((row.verdict, row.ratio), (Verdict::Better, None));
    assert!((row.difference.expect("there is one") - 1.0 / 3.0).abs() < 1e-9);
    assert!(row.p.is_some_and(|p| (p - 2.0 / 1024.0).abs() < 1e-9), "{row:?}");
    let cells = better.cells();
    assert_eq!(cells[1].last().map(String::as_str), Some("better (p 0.002)"));
    assert!(better.rows[1].ratio.is_some_and(|ratio| (ratio - 1.0).abs() < 1e-9));
    // Four in the same direction: resampling never loses them, yet fair coins do this in one of eight cases.
    right[14..20].fill(false);
    let chance = compared(&a, &accuracy(&right), false).expect("they can be compared");
    let row = &chance.rows[0];
    assert!(row.interval.is_some_and(|[low, _]| low > 0.0), "{row:?}");
    assert_eq!(row.verdict, Verdict::Undecided, "p is {:?}", row.p);
}

#[test]
fn goals_are_compared_by_their_answers() {
    let right = [true, false, true, false, true, true];
    let (mut a, b) = (accuracy(&right), accuracy(&right));
    assert_eq!(compared(&a, &b, false).expect("they can be compared").rows[0].metric, "accuracy");
    let goals = |mut result: Value, right: [bool; 6]| {
        for (index, right) in right.into_iter().enumerate() {
            result["items"][index]["answer_right"] = json!(right);
        }
        result
    };
    // None had the best strategy, and yet A's answers are right.
    for index in 0..6 {
        a["items"][index]["correct"] = json!(false);
    }
    let comparison = compared(&goals(a, [true; 6]), &goals(b, right), false).expect("they can be compared");
    let row = &comparison.rows[0];
    assert_eq!((row.metric, row.a, row.b), ("answers right", Some(1.0), Some(4.0 / 6.0)));
    assert_eq!(row.p, Some(mcnemar_p(2, 0)));
}

#[test]
fn failed_items_are_noted() {
    let a = accuracy(&[true, false, false]);
    let mut b = a.clone();
    for index in [1, 2] {
        b["items"][index]["error"] = json!(format!("q{index} timed out"));
    }
    let notes = |a: &Value, b: &Value| compared(a, b, false).expect("they can be compared").notes;
    assert!(notes(&a, &a).is_empty());
    assert_eq!(notes(&a, &b), ["B: 2 of 3 items failed: q1 timed out; they count as wrong"]);
    assert_eq!(notes(&b, &b).len(), 2);
}

/// B is A changed by `edit`; the refusal must contain every expected part.
fn check_refused(a: Value, edit: Edit, expected: &[&str]) {
    let mut b = a.clone();
    edit(&mut b);
    let message = compared(&a, &b, false).expect_err(expected[0]);
    for part in expected {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn other_machines_and_other_rows_are_refused_with_both_values() {
    let check = check_refused;
    let throughput = || throughput(&[1.0], &[1.0]);
    check(
        throughput(),
        |b| b["machine"]["cpu"] = json!("Other"),
        &["machines: cpu is Abacus 9 in A.json and Other in B.json"],
    );
    check(throughput(), |b| b["machine"]["cores"] = json!(2), &["cores is 4 in A.json and 2 in B.json"]);
    check(throughput(), |b| b["machine"]["isa"] = json!("scalar"), &["isa is avx2", "scalar in B.json"]);
    check(
        throughput(),
        |b| b["machine"]["memory_bytes"] = json!(4_000_000_000_u64),
        &["memory is 8000000000 bytes"],
    );
    check(throughput(), |b| b["model"]["name"] = json!("n"), &["work: model is m in A.json and n in B.json"]);
    check(throughput(), |b| b["model"]["bytes"] = json!(1001), &["model bytes is 1000 in A.json and 1001"]);
    check(
        throughput(),
        |b| b["rows"][0]["prompt_tokens"] = json!(64),
        &["prompt tokens is 128 in A.json and 64"],
    );
    check(
        throughput(),
        |b| b["rows"][0]["gen_tokens"] = json!(25),
        &["generated tokens is 24 in A.json and 25"],
    );
    check(throughput(), |b| b["rows"][0]["batch"] = json!(8), &["batch is 4 in A.json and 8 in B.json"]);
    check(
        throughput(),
        |b| b["rows"][0]["depth_tokens"] = json!(8),
        &["depth is 0 in A.json and 8 in B.json"],
    );
    check(
        throughput(),
        |b| *b = workflow(&[1.0]),
        &["bandmaster.bench.throughput/1", "bandmaster.bench.workflow/1"],
    );
    check(throughput(), |b| b["interrupted"] = json!(true), &["B.json is part of", "--partial"]);
}

#[test]
fn other_work_is_refused_with_both_values() {
    let check = check_refused;
    check(
        workflow(&[1.0]),
        |b| b["trace"] = json!("copy"),
        &["trace is fanout in A.json and copy in B.json"],
    );
    check(workflow(&[1.0]), |b| b["runs"] = json!(2), &["runs is 1 in A.json and 2 in B.json"]);
    check(
        workflow(&[1.0]),
        |b| b["models"] = json!({"w": "n"}),
        &["models is w=m in A.json and w=n in B.json"],
    );
    check(
        serve(&[vec![1.0]]),
        |b| b["workload"] = json!("mixed"),
        &["workload is chat in A.json and mixed in B.json"],
    );
    check(serve(&[vec![1.0]]), |b| b["requests"] = json!(2), &["requests is 1 in A.json and 2 in B.json"]);
    check(
        serve(&[vec![1.0]]),
        |b| b["mode"]["closed"]["concurrency"] = json!(4),
        &["closed, concurrency 8", "closed, concurrency 4"],
    );
    check(serve(&[vec![1.0]]), |b| b["mode"] = json!({"open": {"rate": 2.5}}), &["open, 2.5 requests/s"]);
    check(
        accuracy(&[true]),
        |b| b["suite_sha256"] = json!("cd"),
        &["suite_sha256 is ab in A.json and cd in B.json"],
    );
    check(
        accuracy(&[true; 3]),
        |b| b["items"] = json!([b["items"][0]]),
        &["A.json lacks 0", "B.json, which lacks 2", "`q1`"],
    );
}

#[test]
fn what_one_compares_may_differ_and_is_shown() {
    let check = |a: Value, edit: Edit, name: &str, expected: [&str; 2]| {
        let mut b = a.clone();
        edit(&mut b);
        let comparison = compared(&a, &b, false).expect("they can be compared");
        let setting = comparison.settings.iter().find(|setting| setting.name == name).expect("it is shown");
        let shown = [&setting.a, &setting.b].map(|value| value.clone().unwrap_or_default());
        assert_eq!(shown, expected, "{name}");
    };
    check(throughput(&[1.0], &[1.0]), |b| b["threads"] = json!(4), "threads", ["2", "4"]);
    check(throughput(&[1.0], &[1.0]), |b| b["version"] = json!("0.2.0"), "version", ["0.1.0", "0.2.0"]);
    check(throughput(&[1.0], &[1.0]), |b| b["kv_type"] = json!("q8"), "kv_type", ["", "q8"]);
    check(serve(&[vec![1.0]]), |b| b["model"] = json!("peer"), "model", ["m", "peer"]);
    check(serve(&[vec![1.0]]), |b| b["seed"] = json!(2), "seed", ["1", "2"]);
    check(serve(&[vec![1.0]]), |b| b["commit"] = json!("abc"), "commit", ["", "abc"]);
    check(serve(&[vec![1.0]]), |b| b["models_sha256"] = json!({"m": "ab"}), "models_sha256", ["", "m=ab"]);
    check(accuracy(&[true]), |b| b["strategy"] = json!("vote"), "strategy", ["direct", "vote"]);
    check(
        workflow(&[1.0]),
        |b| {
            b["urls"] = json!({"w": "http://x"});
            b["models"] = json!({"w": "peer"});
        },
        "urls",
        ["", "w=http://x"],
    );
}

#[test]
fn rows_with_other_token_counts_are_refused_alone() {
    let a = throughput(&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]);
    let with = |computed: u64| {
        let mut b = throughput(&[0.5, 0.5, 0.5], &[0.5, 0.5, 0.5]);
        b["rows"][0]["computed_tokens"] = json!(computed);
        compared(&a, &b, false).expect("they can be compared")
    };
    assert_eq!(verdicts(&with(508)), [Verdict::Better; 2], "less than a hundredth");
    let refused = with(498);
    assert_eq!(verdicts(&refused), [Verdict::Refused, Verdict::Better]);
    assert_eq!(refused.rows[0].refused.as_deref(), Some("row refused: A computed 512 tokens, B 498"));
    let mut b = workflow(&[1.0]);
    b["output_tokens"] = json!(400);
    let refused = compared(&workflow(&[1.0]), &b, false).expect("they can be compared");
    assert_eq!(refused.rows[0].refused.as_deref(), Some("row refused: A generated 500 tokens, B 400"));
}

#[test]
fn threads_of_a_sweep_are_matched_and_those_of_the_result_are_not() {
    let sweep = |threads: u64, others: u64| {
        let mut result = throughput(&[1.0], &[1.0]);
        result["threads"] = json!(threads);
        result["rows"][0]["threads"] = json!(threads);
        let mut other = result["rows"][0].clone();
        other["threads"] = json!(others);
        result["rows"].as_array_mut().expect("it is an array").push(other);
        result
    };
    let comparison = compared(&sweep(2, 1), &sweep(4, 1), false).expect("they can be compared");
    assert_eq!(verdicts(&comparison), [Verdict::Undecided; 4]);
    let comparison = compared(&sweep(2, 1), &sweep(1, 2), false).expect("they can be compared");
    let refused: Vec<_> = comparison.rows.iter().filter_map(|row| row.refused.as_deref()).collect();
    let (only_a, only_b) = ("row refused: only A has it", "row refused: only B has it");
    assert_eq!(refused, [only_a, only_a, only_b, only_b]);
}

#[test]
fn parts_are_compared_when_that_is_wanted() {
    let mut part = accuracy(&[true, false, true]);
    part["items"] = json!([part["items"][0], part["items"][2]]);
    part["interrupted"] = json!(true);
    let whole = accuracy(&[true, false, false]);
    let comparison = compared(&whole, &part, true).expect("parts are allowed");
    assert_eq!(comparison.rows[0].b_samples, 2);
    assert!((comparison.rows[0].difference.expect("there is one") - 0.5).abs() < 1e-9);
    assert!(comparison.notes.iter().any(|note| note.contains("2 items that both have (A has 3, B has 2)")));
    let mut part = serve(&[vec![10.0; 5]]);
    part["interrupted"] = json!(true);
    let comparison = compared(&serve(&[vec![10.0; 8]]), &part, true).expect("parts are allowed");
    assert!(comparison.rows.iter().all(|row| row.refused.is_none()), "tokens are compared by request");
}

#[test]
fn what_is_no_result_is_said_with_the_place() {
    let check = |text: &str, expected: &[&str]| {
        let message = Side::parse("X.json", text).err().expect(expected[0]).to_string();
        for part in expected.iter().chain(&["X.json"]) {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    };
    let edited = |mut value: Value, edit: Edit| {
        edit(&mut value);
        value.to_string()
    };
    check("", &["is empty", "measure again"]);
    check(" \n", &["is empty"]);
    check("{\"schema\": NaN}", &["line 1 column"]);
    check("hello", &["line 1 column"]);
    check("[1]", &["not a JSON object"]);
    check("{}", &["no `schema`"]);
    check("{\"schema\": \"bandmaster.bench.serve/2\"}", &["bandmaster.bench.serve/2", "serve/1"]);
    check("{\"schema\": \"bandmaster.bench.compare/1\"}", &["bandmaster.bench.compare/1"]);
    check("{\"schema\": \"bandmaster.trace/1\"}", &["bandmaster.trace/1"]);
    check(
        "{\"schema\": \"bandmaster.bench.accuracy-matrix/1\"}",
        &["one cell per file", "one strategy, model and budget per file"],
    );
    check("{\"schema\": \"throughput/1\"}", &["schema `throughput/1`"]);
    check("{\"schema\": \"bandmaster.bench.workflow/1\"}", &["missing field", "line 1"]);
    let rounds = || throughput(&[1.0], &[1.0]);
    check(&edited(rounds(), |v| v["rows"] = json!([])), &["no rows"]);
    check(
        &edited(rounds(), |v| v["rows"][0]["prefill_rounds_s"] = json!([1.0, null])),
        &["null in place of a number", "line 1"],
    );
    check(&edited(rounds(), |v| v["rows"][0]["decode_s"] = json!(-1.0)), &["-1 is below zero"]);
    check(&edited(rounds(), |v| v["rows"][0]["decode_s"] = json!("1")), &["expected f64"]);
    check(&edited(rounds(), |v| v["machine"] = json!(null)), &["MachineFacts"]);
    check(
        &edited(serve(&[vec![1.0]]), |v| v["samples"][0]["e2e_ms"] = json!(null)),
        &["samples[0]", "e2e_ms"],
    );
    check(&edited(accuracy(&[true, true]), |v| v["items"][1]["id"] = json!("q0")), &["two items", "`q0`"]);
}

#[test]
fn page_stands_alone_and_takes_names_as_text() {
    assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    let mut a = throughput(&[1.0, 1.1, 1.2], &[1.0, 1.1, 1.2]);
    a["model"]["name"] = json!("<script>alert(1)</script>");
    a["command"] = json!("bandmaster \"<img src=x>\" & more");
    let b = throughput(&[0.5, 0.51, 0.52], &[1.0, 1.1, 1.2]);
    let mut b = b.clone();
    b["model"]["name"] = a["model"]["name"].clone();
    let page = compared(&a, &b, false).expect("they can be compared").html();
    for part in ["<script", "<img", "http://", "https://", "NaN", "inf"] {
        assert!(!page.contains(part), "{part} in {page}");
    }
    for part in [
        "&lt;script&gt;",
        "&quot;&lt;img src=x&gt;&quot; &amp; more",
        "prefers-color-scheme: dark",
        "mark better",
        "mark undecided",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert_eq!(page.matches("<circle").count(), 2, "a mark a figure");
    let points =
        compared(&accuracy(&[true, false]), &accuracy(&[true, true]), false).expect("they can be compared");
    assert!(points.html().contains("B minus A in points"));
}
