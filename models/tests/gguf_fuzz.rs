//! Feeds damaged files to the GGUF reader. It must return an error or a valid table, without a panic and with little
//! more memory than the file's size. `BANDMASTER_FUZZ_INPUTS` sets the number of inputs (default 20,000).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bandmaster_models::Spec;
use bandmaster_models::gguf::{Gguf, GgufError, Value, Writer};

const INPUTS_DEFAULT: u64 = 20_000;
/// What the reader may allocate beyond the file's size: its slack for tables, and error messages.
const SLACK_BYTES: usize = (64 << 10) + (8 << 10);

/// The system's allocator, with a count of each thread's bytes.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending no longer counts.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's promises are the system allocator's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's promises are the system allocator's.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and returns the most bytes that this thread held meanwhile, beyond those it held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

/// SplitMix64. An input depends only on its number.
struct Random(u64);

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
}

/// Valid files of different structure, each a few hundred bytes.
fn seeds() -> Vec<Vec<u8>> {
    let mut model = Writer::new();
    model
        .set("general.architecture", "llama")
        .set("llama.block_count", &2u32)
        .set("llama.rope.freq_base", &1e5f32)
        .set("llama.context_length", &64u32)
        .set("llama.embedding_length", &32u32)
        .set("llama.feed_forward_length", &64u32)
        .set("llama.attention.head_count", &2u32)
        .set("llama.attention.layer_norm_rms_epsilon", &1e-5f32)
        .set("llama.attention.sliding_window_pattern", &[true, false])
        .set("llama.rope.scaling.type", "none")
        .set("tokenizer.ggml.tokens", &["a", "bc", "é"])
        .set("tokenizer.ggml.token_type", &[1i32, 3, 1]);
    model.tensor("token_embd.weight", &[32, 2], 8, &[7; 68]).tensor("output_norm.weight", &[3], 0, &[1; 12]);
    let mut odd = Writer::new();
    odd.set("general.alignment", &32u64)
        .set("nested", &vec![vec![1u8, 2], vec![], vec![3]])
        .set("flags", &[true, false])
        .set("big", &[u64::MAX])
        .set("small", &[i64::MIN])
        .set("double", &[0.5f64])
        .set("split.no", &0u16)
        .set("split.count", &1u16);
    odd.tensor("k", &[256, 1, 1, 1], 12, &[3; 144]).tensor("unknown", &[5], 4711, &[0; 5]);
    let mut vocabulary = Writer::new();
    vocabulary.set("general.architecture", "qwen2").set("tokenizer.ggml.merges", &["a b", "ab c", "abc d"]);
    vec![model.finish(), odd.finish(), vocabulary.finish()]
}

/// Edge values for lengths, counts, types and offsets.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    8,
    9,
    12,
    31,
    32,
    255,
    256,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 62,
    i64::MAX as u64,
    u64::MAX - 31,
    u64::MAX,
];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 | 3 => overwrite(bytes, at, &EDGES[random.below(EDGES.len())].to_le_bytes()),
        4 => overwrite(bytes, at, &(EDGES[random.below(EDGES.len())] as u32).to_le_bytes()),
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..end)),
        _ => {
            let copied: [u8; 16] = std::array::from_fn(|i| bytes[(at + i).min(end - 1)]);
            let to = random.below(bytes.len());
            bytes.splice(to..to, copied[..end - at].iter().copied());
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let len = with.len().min(bytes.len() - at);
    bytes[at..at + len].copy_from_slice(&with[..len]);
}

/// Reads everything an open file offers.
fn use_all(gguf: &Gguf) {
    let mut values = 0;
    for (key, value) in gguf.metadata() {
        values += match value {
            Value::Array(array) => array.iter().count(),
            _ => 1,
        };
        assert!(gguf.get(key).is_some(), "`{key}` is listed and not found");
    }
    std::hint::black_box(values);
    for tensor in gguf.tensors() {
        assert_eq!(gguf.tensor(&tensor.name), Some(tensor));
        match gguf.data(tensor) {
            Ok(data) => assert_eq!(data.len() as u64, tensor.bytes),
            Err(error) => assert!(matches!(error, GgufError::UnknownType { .. }), "{error}"),
        }
    }
    std::hint::black_box(gguf.value::<Vec<&str>>("tokenizer.ggml.tokens").is_ok());
    std::hint::black_box(gguf.required::<u32>("llama.block_count").is_ok());
    std::hint::black_box(Spec::from_gguf(gguf).is_ok());
}

/// Opens `bytes` and returns whether that succeeded.
fn open(bytes: &[u8]) -> bool {
    let owned = bytes.to_vec();
    let (opened, peak) = peak_of(|| Gguf::from_bytes(owned));
    assert!(peak <= bytes.len() + SLACK_BYTES, "{peak} bytes taken for a file of {}", bytes.len());
    match opened {
        Ok(gguf) => {
            use_all(&gguf);
            true
        }
        Err(error) => {
            std::hint::black_box(error);
            false
        }
    }
}

/// Runs inputs `first, first + step, …` and returns how many opened.
fn run(seeds: &[Vec<u8>], inputs: u64, first: u64, step: u64) -> u64 {
    let mut bytes = Vec::new();
    let mut opened = 0;
    for number in (first..inputs).step_by(step as usize) {
        let mut random = Random(number);
        bytes.clear();
        bytes.extend_from_slice(&seeds[random.below(seeds.len())]);
        for _ in 0..1 + random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        match catch_unwind(AssertUnwindSafe(|| open(&bytes))) {
            Ok(success) => opened += u64::from(success),
            Err(_) => panic!("input {number}: {}", bytes.escape_ascii()),
        }
    }
    opened
}

#[test]
fn damaged_files_never_panic_nor_take_more_memory_than_their_size() {
    let inputs = match std::env::var("BANDMASTER_FUZZ_INPUTS") {
        Ok(text) => text.parse().expect("BANDMASTER_FUZZ_INPUTS is a number"),
        Err(_) => INPUTS_DEFAULT,
    };
    let seeds = seeds();
    assert!(seeds.iter().all(|seed| open(seed)), "the seeds are sound");
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let started = std::time::Instant::now();
    let opened: u64 = std::thread::scope(|scope| {
        let seeds = &seeds;
        let running: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || run(seeds, inputs, first, threads))).collect();
        running.into_iter().map(|thread| thread.join().expect("no input fails")).sum()
    });
    println!("{inputs} inputs in {:.1} s; {opened} of them still opened", started.elapsed().as_secs_f32());
    if inputs >= 1000 {
        assert!(
            opened > inputs / 100 && opened < inputs,
            "mutations too strong or too weak: {opened} opened"
        );
    }
}

/// Repeats the first inputs from the disk. The same ones open, and truncating an open file is reported.
#[test]
fn damaged_files_open_from_the_disk_as_from_memory_and_are_told_when_they_are_cut() {
    let (seeds, folder) = (seeds(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("m.gguf");
    let mut opened = 0;
    for number in 0..400 {
        let mut random = Random(number);
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        std::fs::write(&path, &bytes).expect("written");
        let in_memory = Gguf::from_bytes(bytes.clone());
        match Gguf::open(&path) {
            Ok(gguf) => {
                assert!(in_memory.is_ok(), "input {number}");
                assert!(gguf.check().is_ok(), "input {number}: nobody has changed it");
                use_all(&gguf);
                let file = std::fs::File::options().write(true).open(&path).expect("opened");
                file.set_len(random.below(bytes.len()) as u64).expect("cut");
                assert!(gguf.check().is_err(), "input {number}: it was cut");
                opened += 1;
            }
            // A part of a split model needs the others.
            Err(error) => assert!(in_memory.is_err(), "input {number}: {error}"),
        }
    }
    assert!(opened > 50, "{opened}");
}

#[test]
fn a_file_of_tables_takes_no_more_memory_than_its_size() {
    let mut tensors = Writer::new();
    tensors.set("general.alignment", &1u32);
    let mut keys = Writer::new();
    for number in 0..20_000u32 {
        tensors.tensor(&number.to_string(), &[1], 4711, &[]);
        keys.set(&number.to_string(), &true);
    }
    assert!(!open(&tensors.finish()), "a table larger than what it describes is refused");
    assert!(open(&keys.finish()));
}
