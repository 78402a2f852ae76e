use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::packed::{copy_from, in_json, literals, unpack};
use super::super::{Event, Journal, Viewer};
use super::*;

/// Words that look like what packed bodies are made of, and others.
const WORDS: [&str; 10] = [
    "the sheep of the farm by the river",
    "\"worker\":\"planner\",\"model\":",
    "\u{1}\u{0}\u{0}\u{0}\u{0}\u{5}",
    "line\nline\ttab \\ \"quoted\"",
    "äöü 草泥马 🐑🐑🐑🐑🐑🐑",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "$ref:1:2:3",
    "{\"task\":\"t1\",\"attempt\":1,\"worker\":\"planner\"}",
    " ",
    "12345678901234567890",
];

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![4 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => "\\PC{0,20}"];
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn bodies() -> impl Strategy<Value = Vec<Value>> {
    let body = prop::collection::btree_map(text(), value(), 0..4);
    prop::collection::vec(body.prop_map(|fields| Value::Object(fields.into_iter().collect())), 1..12)
}

/// A journal with a run that has these inputs and events.
fn recorded(inputs: &[String], bodies: &[Value]) -> (Journal, String) {
    let journal = Journal::in_memory().unwrap();
    let run = journal.create_run().unwrap().id;
    for (position, text) in inputs.iter().enumerate() {
        journal.keep_input(&run, position, "a", text).unwrap();
    }
    for body in bodies {
        journal.append(&run, "task.output", 0, body).unwrap();
    }
    (journal, run)
}

fn read(journal: &Journal, run: &str, after: u64) -> Vec<Value> {
    journal.events(run, after).unwrap().into_iter().map(|Event { body, .. }| body).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_recorded_is_read_back(
        inputs in prop::collection::vec(text(), 0..3), bodies in bodies(), more in bodies(), after in 0usize..12,
    ) {
        // What is written as text and read as JSON is what a body without packing would be.
        let plain = |bodies: &[Value]| -> Vec<Value> {
            bodies.iter().map(|body| serde_json::from_str(&body.to_string()).unwrap()).collect()
        };
        let (journal, run) = recorded(&inputs, &bodies);
        let expected = plain(&bodies);
        let after = after.min(bodies.len());
        prop_assert_eq!(&read(&journal, &run, after as u64), &expected[after..]);
        // A fork refers to what it shares, also when it is all that is left.
        let at = after.max(1);
        let fork = journal.fork(&run, at as u64).unwrap().id;
        for body in &more {
            journal.append(&fork, "task.output", 0, body).unwrap();
        }
        let expected_of_fork = [&expected[..at], &plain(&more)].concat();
        prop_assert_eq!(&read(&journal, &fork, 0), &expected_of_fork);
        prop_assert_eq!(&read(&journal, &run, 0), &expected);
        journal.delete(&run).unwrap();
        prop_assert_eq!(&read(&journal, &fork, 0), &expected_of_fork);
        // Whoever writes it next knows nothing of it yet.
        journal.file.indexes.take(&fork);
        for body in &bodies {
            journal.append(&fork, "task.output", 0, body).unwrap();
        }
        prop_assert_eq!(&read(&journal, &fork, 0), &[expected_of_fork, expected].concat());
    }

    #[test]
    fn a_changed_byte_is_noticed(bodies in bodies(), at in any::<usize>(), change in 1u8..) {
        let mut index = Index::default();
        let mut sources: Vec<Vec<u8>> = Vec::new();
        for (seq, body) in (1..).zip(&bodies) {
            let body = body.to_string();
            let Some(mut packed) = index.pack(seq, &body) else {
                sources.push(body.into());
                continue;
            };
            sources.push(literals(&packed).unwrap().to_vec());
            let unpacked = |packed: &[u8]| unpack(packed, |reference, to| match reference.source {
                Source::Dictionary => copy_from(DICTIONARY.as_bytes(), reference, to),
                Source::Input(_) => Err("there is none".to_owned()),
                Source::Event(other) => {
                    copy_from(sources.get(other as usize - 1).ok_or("there is none")?, reference, to)
                }
            });
            prop_assert_eq!(unpacked(&packed), Ok(body.clone()));
            let at = at % packed.len();
            packed[at] ^= change;
            // A longer number with the same value changes nothing.
            prop_assert!(unpacked(&packed).is_err() || unpacked(&packed) == Ok(body));
        }
    }
}

/// Bytes of a run's bodies in the file.
fn stored_bytes(journal: &Journal, run: &str) -> usize {
    let sum = "SELECT sum(length(CAST(body AS BLOB))) FROM events WHERE run = ?1";
    journal.with(|db| db.query_row(sum, [run], |row| row.get::<_, i64>(0))).unwrap() as usize
}

/// A text without repetitions.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    (0..bytes).map(letter).collect()
}

#[test]
fn what_an_input_or_an_earlier_event_says_is_stored_once() {
    let input = format!("{}\n\"quoted\"\n{}", noise(20_000), "ä".repeat(100));
    let prompt = |n: usize| json!({"prompt": format!("Read this.\n{}\nQuestion {n}.", &input[100..20_000])});
    let reply = noise(5_000).to_uppercase();
    let bodies =
        [prompt(1), prompt(2), json!({"output": reply}), json!({"task": "t", "output": reply, "usage": {}})];
    let (journal, run) = recorded(std::slice::from_ref(&input), &bodies);
    assert_eq!(read(&journal, &run, 0), bodies);
    let stored = stored_bytes(&journal, &run);
    assert!((5_000..5_300).contains(&stored), "{stored}");
}

#[test]
fn a_damaged_source_is_noticed_by_those_who_share_it() {
    let text = noise(1_000);
    let bodies = [json!({"a": text}), json!({"b": text}), json!({"c": "other words, which nobody shares"})];
    let (journal, run) = recorded(&[], &bodies);
    for damage in ["'{\"a\": \"other\"}'", "x'0100000000'", "replace(body, 'a', 'b')"] {
        let change = format!("UPDATE events SET body = {damage} WHERE seq = 1");
        journal.with(|db| db.execute(&change, [])).unwrap();
        let events = journal.events(&run, 1).unwrap();
        assert_eq!(events[0].kind, super::super::DAMAGED, "{damage}");
        let why = events[0].body["why"].as_str().unwrap();
        assert!(why.contains("share"), "{damage}: {why}");
        assert_eq!(events[1].body, bodies[2], "{damage}");
    }
}

#[test]
fn who_does_not_see_a_run_reads_nothing_of_it() {
    let (journal, run) = recorded(&["text".to_owned()], &[json!({"a": 1})]);
    let somebody = journal.seen_by(&Viewer::named("somebody".into(), false));
    assert!(somebody.events(&run, 0).unwrap().is_empty() && somebody.inputs(&run).unwrap().is_empty());
    assert!(somebody.fork(&run, 1).is_err());
}

#[test]
fn forks_of_forks_are_read_however_many_there_are() {
    let (journal, first) = recorded(&["the only input of all of them".to_owned()], &[json!({"n": 0})]);
    let mut run = first.clone();
    for n in 1..500 {
        // Half of them share what the one before shares itself.
        let at = if n % 2 == 0 { 1 } else { journal.events(&run, 0).unwrap().len() };
        run = journal.fork(&run, at as u64).unwrap().id;
        journal.append(&run, "run.forked", 0, &json!({"n": n})).unwrap();
    }
    assert_eq!(journal.inputs(&run).unwrap().len(), 1);
    let deep = (0..2_000_u64).fold(first, |run, n| {
        let fork = journal.fork(&run, n.div_ceil(2) + 1).unwrap().id;
        if n % 2 == 0 {
            journal.append(&fork, "run.forked", 0, &json!({"n": n})).unwrap();
        }
        fork
    });
    let began = Instant::now();
    let events = journal.events(&deep, 0).unwrap();
    println!("the {} events of 1,000 forks of forks are read in {:?}", events.len(), began.elapsed());
    let (listed, _) = journal.listed(None, 1).unwrap();
    assert_eq!((events.len(), listed[0].run.as_ref().unwrap().events.len()), (1_001, 1_000));
}

#[test]
fn an_event_of_a_run_with_large_inputs_is_packed_in_a_moment() {
    let input = noise(1 << 20);
    let (journal, run) = recorded(std::slice::from_ref(&input), &[json!({"goal": "g"})]);
    let mut longest = Duration::ZERO;
    let began = Instant::now();
    for n in 0..100 {
        let part = &input[n * 8_000..][..8_000];
        let at = Instant::now();
        journal.append(&run, "task.output", 0, &json!({"prompt": part, "output": noise(200)})).unwrap();
        longest = longest.max(at.elapsed());
    }
    let took = began.elapsed();
    println!("100 events with 8 kB prompts of a 1 MiB input: {took:?}, the longest {longest:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(stored_bytes(&journal, &run) < 20_000);
    let new = json!({"prompt": in_json(&noise(1 << 20).to_uppercase())});
    let began = Instant::now();
    journal.append(&run, "task.output", 0, &new).unwrap();
    println!("an event with 1 MiB of new text: {:?}", began.elapsed());
}
