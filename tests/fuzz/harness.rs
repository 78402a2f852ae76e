//! The loop that all fuzz targets share. An input depends only on its number: it is one of the target's seeds, changed
//! a few times by bytes or by tokens. A failure shows the number and the input.
//!
//! `BANDMASTER_FUZZ_INPUTS` is the number of inputs for each target (default 2,000). If `BANDMASTER_FUZZ_SECONDS` is
//! set, a target runs for that long instead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const INPUTS_DEFAULT: u64 = 2_000;
/// Time limit for an input of a few kilobytes, generous enough for slow machines.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);
/// Longer inputs are cut, so that repeated doubling stays cheap.
const INPUT_BYTES_MAX: usize = 16 << 10;

/// A reader under test.
pub struct Target<'a> {
    pub name: &'a str,
    /// Valid inputs.
    pub seeds: &'a [&'a str],
    /// Tokens that mean something to the reader, inserted at random.
    pub words: &'a [&'a str],
    /// Reads an input and checks the result. Returns whether the input was accepted.
    pub read: &'a (dyn Fn(&[u8]) -> bool + Sync),
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// Numbers and texts at the limits of what a field may hold.
const EDGES: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "1.5",
    "1e308",
    "1e999",
    "-1e-400",
    "255",
    "256",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "NaN",
    "\u{feff}",
    "\u{202e}",
    "\u{1f469}\u{200d}\u{1f692}",
    "e\u{301}",
    "\u{0}",
    "\u{1b}[31m",
];

fn input(target: &Target, number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let mut text = random.one_of(target.seeds).to_owned();
    let rounds = 1 + random.below(5);
    if random.below(3) > 0 {
        for _ in 0..rounds {
            text = change_tokens(&text, target.words, &mut random);
        }
        cut(text.into_bytes())
    } else {
        let mut bytes = text.into_bytes();
        for _ in 0..rounds {
            change_bytes(&mut bytes, &mut random);
        }
        cut(bytes)
    }
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// Splits into runs of letters and digits, runs of white space, and single other characters.
fn tokens(text: &str) -> Vec<&str> {
    let kind = |c: char| if c.is_alphanumeric() { 1 } else { i32::from(c.is_whitespace()) * 2 };
    let mut found = Vec::new();
    let mut begin = 0;
    let mut before = None;
    for (at, c) in text.char_indices() {
        if at > 0 && (kind(c) == 0 || before != Some(kind(c))) {
            found.push(&text[begin..at]);
            begin = at;
        }
        before = Some(kind(c));
    }
    found.push(&text[begin..]);
    found
}

fn change_tokens(text: &str, words: &[&str], random: &mut Random) -> String {
    let mut tokens = tokens(text);
    let at = random.below(tokens.len());
    let end = (at + 1 + random.below(24)).min(tokens.len());
    match random.below(9) {
        0 | 1 => tokens[at] = random.one_of(words),
        2 => tokens[at] = random.one_of(EDGES),
        3 => tokens.insert(at, random.one_of(words)),
        4 => drop(tokens.drain(at..end)),
        5 => {
            let copied = tokens[at..end].to_vec();
            let to = random.below(tokens.len());
            tokens.splice(to..to, copied);
        }
        6 => {
            let other = random.below(tokens.len());
            tokens.swap(at, other);
        }
        7 => {
            // Repeats a part many times, to reach limits on nesting and repetition.
            let copied = tokens[at..end].to_vec();
            let times = 1 << random.below(9);
            tokens.splice(at..at, copied.iter().copied().cycle().take(copied.len() * times));
        }
        _ => tokens.truncate(at),
    }
    let mut text: String = tokens.concat();
    let end = (0..=text.len().min(INPUT_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes[at] = random.one_of(b"\0\n\r\t \"\\{}[]()<>,:;#%|-0"),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        _ => {
            let copied = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copied);
        }
    }
}

#[derive(Default)]
struct Counts {
    inputs: AtomicU64,
    accepted: AtomicU64,
}

pub fn fuzz(target: &Target) {
    for seed in target.seeds {
        assert!((target.read)(seed.as_bytes()), "{}: the seed is sound: {seed}", target.name);
    }
    let number_of = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is {text:?}: give a number")))
    };
    let until =
        number_of("BANDMASTER_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let inputs = match until {
        Some(_) => u64::MAX,
        None => number_of("BANDMASTER_FUZZ_INPUTS").unwrap_or(INPUTS_DEFAULT),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let counts = Counts::default();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for first in 0..threads {
            let counts = &counts;
            scope.spawn(move || {
                let mut number = first;
                while number < inputs && until.is_none_or(|until| Instant::now() < until) {
                    try_one(target, number, counts);
                    number += threads;
                }
            });
        }
    });
    let (inputs, accepted) = (counts.inputs.into_inner(), counts.accepted.into_inner());
    let seconds = started.elapsed().as_secs_f32();
    println!("{}: {inputs} inputs in {seconds:.1} s; {accepted} of them accepted", target.name);
    let enough = inputs < 1_000 || accepted > inputs / 200;
    assert!(enough, "{}: mutations are too strong: {accepted} of {inputs} accepted", target.name);
}

fn try_one(target: &Target, number: u64, counts: &Counts) {
    let bytes = input(target, number);
    let started = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| (target.read)(&bytes)));
    let took = started.elapsed();
    let Ok(accepted) = read else {
        panic!("{}: input {number} fails: {}", target.name, bytes.escape_ascii());
    };
    assert!(
        took < INPUT_TIME_MAX,
        "{}: input {number} takes {took:?}: {}",
        target.name,
        bytes.escape_ascii()
    );
    counts.inputs.fetch_add(1, Ordering::Relaxed);
    counts.accepted.fetch_add(u64::from(accepted), Ordering::Relaxed);
}
