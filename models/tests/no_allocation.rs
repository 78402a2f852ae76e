//! A step allocates nothing once one of at least its length and positions has run. This test is a program without the
//! usual harness, whose main thread allocates while a test runs: here every allocation of the process counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bandmaster_kernels::Cpu;
use bandmaster_models::gguf::Gguf;
use bandmaster_models::tiny::{self, TinyShape};
use bandmaster_models::{Batch, KvType, LoadOptions, Model, load_gguf};

/// Counts allocations by all threads: this one and the thread pool's.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `sequences` spans of `tokens` new tokens behind `context`. The last row of each is wanted.
fn batch(sequences: usize, tokens: usize, context: usize) -> Batch {
    let mut batch = Batch::default();
    for s in 0..sequences {
        let table: Vec<u32> = (0..32).map(|i| (s * 32 + i) as u32).collect();
        let ids: Vec<u32> = (0..tokens).map(|i| (i * 7 + s) as u32 % 100).collect();
        batch.push_span(&ids, context, &table);
        batch.rows.push((batch.tokens.len() - 1) as u32);
    }
    batch
}

/// The threads that packed the weights end some time after the load, and allocate as they do.
fn wait_for_packers() {
    let name =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    let packs = || {
        // Only Linux lists the threads of a process.
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        tasks.map(name).any(|name| name.starts_with("pack-"))
    };
    while packs() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn main() {
    for (shape, kv_type) in [(TinyShape::llama(), KvType::F16), (TinyShape::qwen2(), KvType::Q8)] {
        let gguf = Gguf::from_bytes(tiny::gguf_bytes(7, &shape)).unwrap();
        let options = LoadOptions { kv_type, ..LoadOptions::new(Arc::new(Cpu::new(2)), 64 << 20) };
        let mut model = load_gguf(gguf, &options).unwrap();
        // A prompt, many decoding sequences, one decoding so far on that its attention is split, and a mixture.
        let steps =
            [batch(1, 300, 0), batch(16, 1, 20), batch(1, 1, 500), batch(1, 200, 300), batch(8, 5, 60)];
        let mut run = || steps.iter().for_each(|batch| model.forward(batch, &|_, _| ()).unwrap());
        run();
        wait_for_packers();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        run();
        run();
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{kv_type:?}");
        drop(std::hint::black_box(vec![0_u8]));
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 1, "an allocation is counted");
    }
    println!("a step allocates nothing once one as long was seen: ok");
}
