//! The KV cache: attention over it and writing to it, compared with the machine's limits measured in the same run; and
//! the cost of allocating and finding its blocks:
//!
//!     cargo bench --bench kv_cache
//!
//! Threads and instruction set: see `support`.

mod support;

use bandmaster::engine::hash::{chain_hash, root_hash};
use bandmaster::engine::{BLOCK_TOKENS, Blocks, ModelId, Prefix};
use bandmaster_kernels::{
    AttentionScratch, AttentionSpan, Cpu, KvLayer, KvShape, KvSlot, KvType, Rope, RopeFreqs, RopeStyle,
    attention, kv_write,
};
use criterion::{BenchmarkId, Criterion};
use support::{COLD_BYTES, Limits, fastest, share};

/// Query heads, KV heads and head width of the 1.5B, 0.5B and 135M models.
const SHAPES: [(usize, usize, usize); 3] = [(12, 2, 128), (14, 2, 64), (9, 3, 64)];
/// Sequences, new tokens per sequence, and tokens before them: one or several sequences decoding, and
/// a chunk of a prompt.
const WORK: [(usize, usize, usize); 4] = [(1, 1, 4095), (16, 1, 511), (16, 1, 4095), (1, 512, 3584)];

/// A cache with several layers, of which one is read at a time, so that it comes from memory.
struct Cache {
    layers: Vec<KvLayer>,
    pool: Vec<u16>,
    heads: usize,
    /// One block table per sequence.
    tables: Vec<Vec<u32>>,
}

impl Cache {
    fn new(
        (heads, kv_heads, head_dim): (usize, usize, usize),
        kv_type: KvType,
        (sequences, new, context): (usize, usize, usize),
    ) -> Cache {
        let shape = KvShape { kv_heads, head_dim, kv_type };
        let each = (context + new).div_ceil(BLOCK_TOKENS);
        let blocks = sequences * each;
        let layers = (COLD_BYTES / (blocks * shape.layer_elems() * 2)).clamp(1, 32);
        let stride = layers * shape.layer_elems();
        let layer = |i| KvLayer { shape, block_stride_elems: stride, offset_elems: i * shape.layer_elems() };
        // 1.0 where it is read as f16.
        let pool = vec![0x3c00; blocks * stride];
        let table = |s: usize| (0..each).map(|i| (i * sequences + s) as u32).collect();
        Cache {
            layers: (0..layers).map(layer).collect(),
            pool,
            heads,
            tables: (0..sequences).map(table).collect(),
        }
    }

    /// Bytes of keys and values of `tokens` tokens in one layer.
    fn bytes(&self, tokens: usize) -> usize {
        tokens * self.layers[0].shape.layer_elems() * 2 / BLOCK_TOKENS
    }
}

/// Benchmarks attention and prints one line: the work, its time, and its share of the limits.
fn attend(
    c: &mut Criterion,
    cpu: &Cpu,
    limits: &Limits,
    shape: (usize, usize, usize),
    kv_type: KvType,
    work: (usize, usize, usize),
) {
    let ((heads, kv_heads, dim), (sequences, new, context)) = (shape, work);
    let cache = Cache::new(shape, kv_type, work);
    let q = vec![0.01; sequences * new * heads * dim];
    let (mut out, mut scratch) = (q.clone(), AttentionScratch::default());
    let spans = cache.tables.iter().enumerate().map(|(s, table)| AttentionSpan {
        first_row: s * new,
        rows: new,
        context,
        table,
    });
    let spans: Vec<AttentionSpan> = spans.collect();
    let mut layers = cache.layers.iter().cycle();
    let seen: usize = (0..new).map(|i| context + i + 1).sum();
    let macs = sequences * seen * heads * dim * 2;
    let id = BenchmarkId::new(
        format!("{heads}/{kv_heads}x{dim}-{kv_type:?}"),
        format!("{sequences}x{new}@{context}"),
    );
    let seconds = fastest(c, "attention", id, macs, || {
        let layer = *layers.next().expect("a cycle has no end");
        attention(cpu, &cache.pool, layer, cache.heads, 0.125, &q, &spans, &mut scratch, &mut out);
    });
    if seconds.is_finite() {
        let (macs, bytes) =
            (macs as f64 / seconds, (sequences * cache.bytes(context + new)) as f64 / seconds);
        println!(
            "| {heads}/{kv_heads} x {dim} | {kv_type:?} | {sequences} x {new} at {context} | {:.0} | {:.0} | {} | {:.1} | {} |",
            seconds * 1e6,
            macs / 1e9,
            share(macs, limits.f32_macs_per_s),
            bytes / 1e9,
            share(bytes, limits.bytes_per_s)
        );
    }
}

/// Benchmarks writing the keys and values of one step.
fn write(c: &mut Criterion, cpu: &Cpu, kv_type: KvType, rows: usize) {
    let mut cache = Cache::new((14, 2, 64), kv_type, (1, rows, 0));
    let k = vec![0.5; rows * 2 * 64];
    let slots: Vec<KvSlot> = (0..rows)
        .map(|r| KvSlot { block: (r / BLOCK_TOKENS) as u32, index: (r % BLOCK_TOKENS) as u32 })
        .collect();
    let id = BenchmarkId::new(format!("{kv_type:?}"), rows);
    let layer = cache.layers[0];
    let freqs = RopeFreqs::new(&[0.1; 32]);
    let positions: Vec<u32> = (0..rows as u32).collect();
    let turn = Some(Rope { freqs: &freqs, style: RopeStyle::Halves, positions: &positions });
    fastest(c, "kv-write", id, rows, || kv_write(cpu, &mut cache.pool, layer, &k, &k, turn, &slots));
}

/// The tokens of a prompt with their chained hashes, by block.
fn prompt(seed: u64, blocks: usize) -> Vec<([u32; BLOCK_TOKENS], u64)> {
    let mut hash = root_hash(0);
    let block = |b: usize| {
        let tokens = std::array::from_fn(|t| (seed as usize * 1_000_003 + b * 31 + t) as u32);
        hash = chain_hash(hash, &tokens);
        (tokens, hash)
    };
    (0..blocks).map(block).collect()
}

/// Benchmarks allocating blocks for new prompts, which evicts the least recently used ones, and finding the
/// blocks of a known prompt.
fn blocks(c: &mut Criterion) {
    const POOL: usize = 1 << 14;
    const PROMPT: usize = 256;
    let model = ModelId(0);
    let mut all = Blocks::new(POOL);
    all.add_pool(1, POOL);
    let take = |all: &mut Blocks, prompt: &[([u32; BLOCK_TOKENS], u64)]| {
        let (mut prefix, mut table) = (Prefix::Empty(0), Vec::with_capacity(prompt.len()));
        for (tokens, hash) in prompt {
            let block = all.alloc(model).expect("cached blocks can be had");
            all.fill(model, block, prefix, tokens, *hash);
            prefix = all.prefix_of(model, block);
            table.push(block);
        }
        // Tails first, as a sequence releases them.
        table.into_iter().rev().for_each(|block| all.release(model, block));
    };
    let mut seed = 0;
    fastest(c, "blocks", BenchmarkId::new("alloc-fill-release", PROMPT), PROMPT, || {
        seed += 1;
        take(&mut all, &prompt(seed, PROMPT));
        all.residency_changes.clear();
    });
    let known = prompt(0, PROMPT);
    take(&mut all, &known);
    fastest(c, "blocks", BenchmarkId::new("find", PROMPT), PROMPT, || {
        let mut prefix = Prefix::Empty(0);
        for (tokens, hash) in &known {
            let block = all.find_full(model, prefix, *hash, tokens).expect("it was filled");
            prefix = all.prefix_of(model, block);
        }
    });
}

fn main() {
    let mut c = support::criterion();
    let cpu = support::cpu();
    let limits = support::measure_limits(&cpu);
    println!(
        "| heads | cache | sequences x new at context | us | GMAC/s | of f32 rate | GB/s | of memory rate |\n|---|---|---|---|---|---|---|---|"
    );
    for shape in SHAPES {
        for work in WORK {
            for kv_type in [KvType::F16, KvType::Q8] {
                attend(&mut c, &cpu, &limits, shape, kv_type, work);
            }
        }
    }
    for kv_type in [KvType::F16, KvType::Q8] {
        [1, 16, 512].into_iter().for_each(|rows| write(&mut c, &cpu, kv_type, rows));
    }
    blocks(&mut c);
    c.final_summary();
}
