//! How large the record of a run is, compared with what its models were asked and what they replied.

use bandmaster::orchestrator::{Input, RunRequest, StrategyName, state};

use super::scripted::*;

/// Words in an order that follows from `seed`, with few repetitions of longer stretches.
fn prose(seed: u64, words: usize) -> String {
    const WORDS: &str = "the barn stands near an old mill where three sisters sell wool cheese and honey to travellers who \
        cross the bridge before noon while dogs sleep under carts full of hay from fields that their father left in spring";
    let known: Vec<&str> = WORDS.split_whitespace().collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        known[(state >> 33) as usize % known.len()]
    };
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

/// Bytes of all columns of a run's rows, and of its prompts and outputs.
fn sizes(ran: &Ran) -> (u64, u64) {
    let id = &ran.outcome.id;
    let db = rusqlite::Connection::open(ran.record()).unwrap();
    let rows = |query: &str| db.query_row(query, [id], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let bytes = |column: &str| format!("length(CAST({column} AS BLOB))");
    let events = rows(&format!(
        "SELECT sum({} + 2 + 3 + {} + {}) FROM events WHERE run = ?1",
        bytes("run"),
        bytes("type"),
        bytes("body")
    ));
    let inputs = rows(&format!(
        "SELECT coalesce(sum({} + 1 + {} + {}), 0) FROM inputs WHERE run = ?1",
        bytes("run"),
        bytes("name"),
        bytes("text")
    ));
    let state = state(&ran.journal, id).unwrap();
    let said = state.tasks.iter().flat_map(|task| &task.attempts);
    (events + inputs, said.map(|attempt| (attempt.prompt.len() + attempt.output.len()) as u64).sum())
}

#[test]
fn a_record_is_hardly_larger_than_what_was_asked_and_replied() {
    let of_words = |words: usize| {
        let text = |(n, input): (usize, Input)| Input {
            text: format!("{}\n\n{}.", input.text, prose(n as u64 + 1, words)),
            ..input
        };
        RunRequest {
            inputs: farms(6).into_iter().enumerate().map(text).collect(),
            strategy: Some(StrategyName::Map),
            ..RunRequest::new(GOAL)
        }
    };
    // The limits are a little above what was measured.
    for (name, words, limit) in
        [("a line", 0, 2.0), ("half a page", 200, 1.5), ("two pages", 800, 1.5), ("a chapter", 4_000, 1.5)]
    {
        let reader = scripted("small", |call, _| reading(call));
        let ran = play(&obedient_planner(), &[reader], &of_words(words));
        let (record, said) = sizes(&ran);
        let ratio = record as f64 / said as f64;
        println!("map over 6 texts of {name}: {record} bytes for {said} of prompts and outputs, {ratio:.2}");
        assert!(ratio <= limit, "{name}: {ratio:.2}");
    }
}
