use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::packed::{copy_from, in_json, literals, unpack};
use super::super::tests::fork;
use super::super::{Event, Journal, Sources, Viewer};
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
        let fork = fork(&journal, &run, at as u64);
        for body in &more {
            journal.append(&fork, "task.output", 0, body).unwrap();
        }
        let expected_of_fork = [&expected[..at], &[json!({"run": fork})], &plain(&more)].concat();
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
    assert!(somebody.fork(&run, 1, 0, |_| (String::new(), json!({}))).is_err());
}

#[test]
fn forks_of_forks_are_read_however_many_there_are() {
    let (journal, first) = recorded(&["the only input of all of them".to_owned()], &[json!({"n": 0})]);
    let mut run = first.clone();
    for n in 1..500 {
        // Half of them share what the one before shares itself.
        let at = if n % 2 == 0 { 1 } else { journal.events(&run, 0).unwrap().len() };
        run = fork(&journal, &run, at as u64);
    }
    assert_eq!(journal.inputs(&run).unwrap().len(), 1);
    let deep = (0..1_000).fold(first, |run, n| fork(&journal, &run, n + 1));
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

/// A run in `journal` with one input.
fn run_with(journal: &Journal, input: &str) -> String {
    let run = journal.create_run().unwrap().id;
    journal.keep_input(&run, 0, "a", input).unwrap();
    run
}

/// The runs whose texts are kept, and the memory of all.
fn kept(journal: &Journal) -> (usize, usize) {
    let indexes = journal.file.indexes.lock();
    let with_texts = indexes.iter().filter(|used| !used.index.is_left_out() && !used.index.text.is_empty());
    (with_texts.count(), indexes.iter().map(|used| used.index.bytes()).sum())
}

#[test]
fn two_runs_with_many_inputs_are_written_in_turn_without_reading_them_again() {
    let journal = Journal::in_memory().unwrap();
    let all = noise(2 * 50 * 50_000);
    let mut parts = all.as_bytes().chunks(50_000).map(|part| std::str::from_utf8(part).unwrap());
    let runs = [(); 2].map(|()| {
        let run = journal.create_run().unwrap().id;
        let inputs: Vec<&str> = parts.by_ref().take(50).collect();
        inputs.iter().enumerate().for_each(|(at, text)| journal.keep_input(&run, at, "a", text).unwrap());
        (run, inputs)
    });
    let began = Instant::now();
    for n in 0..100 {
        for (run, inputs) in &runs {
            journal
                .append(run, "task.output", 0, &json!({"prompt": &inputs[n / 2][100 * n..][..4_000]}))
                .unwrap();
        }
    }
    let (took, (runs_kept, bytes)) = (began.elapsed(), kept(&journal));
    println!("200 events of two runs in turn: {took:?}, {bytes} bytes");
    assert_eq!(runs_kept, 2);
    assert!(bytes < 16 << 20, "{bytes}");
    for (run, _) in &runs {
        let stored = stored_bytes(&journal, run);
        assert!(stored < 20_000, "{stored}");
    }
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_full_table_takes_windows_out_and_still_finds_long_stretches() {
    let text = noise(3 << 20);
    let mut index = Index::default();
    for (at, part) in (0..).zip(text.as_bytes().chunks(50_000)) {
        index.add(Source::Input(at), part);
    }
    assert!(index.windows.sparse > 0 && index.bytes() < 8 << 20, "{}", index.bytes());
    for (seq, at) in (1..).zip([1_u32, 700_003, 1_500_001, 3_100_001]) {
        let repeated = &text[at as usize..][..2_000];
        let packed = index.pack(seq, repeated).expect("it is known");
        assert!(packed.len() < 100, "{at}: {}", packed.len());
    }
}

#[test]
fn a_run_without_memory_for_its_texts_is_written_without_them_until_there_is() {
    let mut journal = Journal::in_memory().unwrap();
    Arc::get_mut(&mut journal.file).unwrap().indexes.bytes_max = 700 << 10;
    let inputs = [noise(60_000), noise(60_000).to_uppercase()];
    let [first, second] = [0, 1].map(|n| run_with(&journal, &inputs[n]));
    let prompt = |n: usize| json!({"prompt": &inputs[n][..30_000]});
    for _ in 0..3 {
        journal.append(&first, "task.output", 0, &prompt(0)).unwrap();
        journal.append(&second, "task.output", 0, &prompt(1)).unwrap();
        assert_eq!(kept(&journal).0, 1);
    }
    assert!(kept(&journal).1 <= 700 << 10);
    assert!(stored_bytes(&journal, &first) < 1_000);
    let before = stored_bytes(&journal, &second);
    // The first time its texts were read.
    assert!((60_000..61_000).contains(&before), "{before}");
    // The other run ends.
    journal.file.indexes.take(&first);
    journal.append(&second, "task.output", 0, &prompt(1)).unwrap();
    assert!(stored_bytes(&journal, &second) < before + 1_000);
    assert_eq!(read(&journal, &second, 0), [prompt(1), prompt(1), prompt(1), prompt(1)]);
}

#[test]
fn whoever_follows_a_run_reads_each_input_once() {
    let input = noise(30_000);
    let (journal, run) = recorded(std::slice::from_ref(&input), &[]);
    let mut sources = Sources::default();
    for seq in 1..4 {
        let body = json!({"prompt": &input[..20_000]});
        journal.append(&run, "task.output", 0, &body).unwrap();
        let events = journal.events_with(&run, seq - 1, &mut sources).unwrap();
        assert_eq!(events.into_iter().map(|event| event.body).collect::<Vec<_>>(), [body]);
        // It can't be read any more, and need not be.
        journal.with(|db| db.execute("UPDATE inputs SET text = 'other' WHERE run = ?1", [&run])).unwrap();
    }
    assert_eq!(journal.events(&run, 2).unwrap()[0].kind, super::super::DAMAGED);
}

#[test]
fn a_text_that_does_not_fit_beside_the_kept_ones_still_refers_to_them() {
    let known = noise(KEPT_BYTES_MAX - 1_000);
    let mut index = Index::default();
    index.add(Source::Input(0), known.as_bytes());
    for seq in 1..4 {
        let body = format!("{}{}", &known[1_000_000..1_100_000], "new ".repeat(5_000));
        let packed = index.pack(seq, &body).expect("most of it is known");
        assert!(packed.len() < 21_000, "{}", packed.len());
        assert_eq!(index.text.len(), known.len());
    }
    assert!(index.bytes() <= 33 << 20, "{}", index.bytes());
}

#[test]
fn a_repeated_stretch_in_a_long_new_text_is_found_at_any_alignment() {
    let source = noise(200_000);
    for shift in 0..9 {
        let mut index = Index::default();
        index.add(Source::Input(0), source.as_bytes());
        let new = noise(20_000 + shift).to_uppercase();
        let body = format!("{new}{}", &source[100_000..101_000]);
        let packed = index.pack(1, &body).expect("the end is known");
        assert!(packed.len() < new.len() + 100, "{shift}: {} of {}", packed.len(), body.len());
    }
}
