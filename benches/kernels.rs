//! Matmul and row ops at the shapes of the default models, compared with the machine's limits measured in the same run;
//! and the cost of splitting an op between threads:
//!
//!     cargo bench --bench kernels
//!
//! Threads and instruction set: see `support`. Attention: see `kv_cache.rs`.

mod support;

use bandmaster_kernels::{
    ActivationSource, Activations, Cpu, Format, MatmulOutput, Matrix, Rope, RopeFreqs, RopeStyle,
    gated_matmul, matmul, random_weights, rope,
};
use criterion::{BenchmarkId, Criterion};
use support::{COLD_BYTES, Limits, fastest, share};

/// Outputs and inputs of the widest product of the 1.5B, 0.5B and 135M models.
const SHAPES: [(usize, usize); 3] = [(8960, 1536), (4864, 896), (1536, 576)];
const ROWS: [usize; 4] = [1, 8, 16, 128];

/// Copies of one matrix that together exceed the processor's caches.
fn weights(format: Format, n: usize, k: usize) -> Vec<Matrix> {
    let raw = random_weights(format, n, k, 1);
    let copies = COLD_BYTES.div_ceil(raw.len()).min(128);
    (0..copies).map(|_| Matrix::pack(format, n, k, &raw).expect("packs")).collect()
}

/// Benchmarks one product; returns the seconds of the fastest sample.
fn product(c: &mut Criterion, cpu: &Cpu, copies: &[Matrix], rows: usize) -> f64 {
    let (format, n, k) = (copies[0].format(), copies[0].n(), copies[0].k());
    let x: Vec<f32> = (0..rows * k).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let (mut activations, mut y) = (Activations::new(), vec![0.0; rows * n]);
    let mut copies = copies.iter().cycle();
    let id = BenchmarkId::new(format!("{}/{n}x{k}", format.name()), rows);
    fastest(c, "matmul", id, n * k * rows, || {
        let w = copies.next().expect("a cycle has no end");
        activations.fill(cpu, ActivationSource::Plain(&x), k, &[w]);
        matmul(cpu, &activations, &mut [MatmulOutput { w, bias: None, add: false, y: &mut y }]);
    })
}

fn line(limits: &Limits, w: &Matrix, rows: usize, seconds: f64) -> String {
    let macs = (w.n() * w.k() * rows) as f64 / seconds;
    let bytes = w.bytes() as f64 / seconds;
    let of_rate = limits.int8_macs_per_s.map_or("-".into(), |limit| share(macs, limit));
    format!(
        "| {} | {}x{} | {rows} | {:.0} | {of_rate} | {:.1} | {} |",
        w.format().name(),
        w.n(),
        w.k(),
        macs / 1e9,
        bytes / 1e9,
        share(bytes, limits.bytes_per_s)
    )
}

/// Ops on rows of activations between products; prints microseconds, and nanoseconds per value.
fn rows_of_activations(c: &mut Criterion, cpu: &Cpu) {
    println!("\n| op | rows x width | us | ns a value |\n|---|---|---|---|");
    let freqs = RopeFreqs::new(&[0.1; 32]);
    for (width, rows) in [(576, 1), (576, 16), (896, 128), (1536, 512)] {
        let matrix = weights(Format::Q8_0, 16, width).swap_remove(0);
        let mut x: Vec<f32> = (0..rows * width).map(|i| (i % 1000) as f32 / 500.0 - 1.0).collect();
        let (rows_of_x, weight) = (x.clone(), vec![1.0; width]);
        let positions: Vec<u32> = (0..rows as u32).collect();
        let mut activations = Activations::new();
        let turn = Rope { freqs: &freqs, style: RopeStyle::Halves, positions: &positions };
        let mut fill = |source: ActivationSource<'_>| activations.fill(cpu, source, width, &[&matrix]);
        let normed = ActivationSource::Normed { x: &rows_of_x, weight: &weight, eps: 1e-6 };
        let ops: [(&str, &mut dyn FnMut()); 2] = [
            ("rope", &mut || rope(cpu, &mut x, width / 64, 64, turn)),
            ("norm + quantize", &mut || fill(normed)),
        ];
        let mut print = |name: &str, op: &mut dyn FnMut()| {
            let id = BenchmarkId::new(name, format!("{rows}x{width}"));
            let seconds = fastest(c, "rows", id, rows * width, op);
            if seconds.is_finite() {
                let each = seconds * 1e9 / (rows * width) as f64;
                println!("| {name} | {rows} x {width} | {:.2} | {each:.2} |", seconds * 1e6);
            }
        };
        for (name, op) in ops {
            print(name, op);
        }
    }
}

/// The first half of an MLP: two products, silu-mul and quantizing in one pass; prints microseconds and GMAC/s.
fn mlp(c: &mut Criterion, cpu: &Cpu) {
    println!("\n| gate and up | rows | us | GMAC/s |\n|---|---|---|---|");
    for (format, n, k) in [(Format::Q4K, 8960, 1536), (Format::Q5_0, 4864, 896), (Format::Q4_1, 1536, 576)] {
        let pair = weights(format, n, k);
        let down = weights(Format::Q8_0, 16, n).swap_remove(0);
        for rows in ROWS {
            let x: Vec<f32> = (0..rows * k).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
            let (mut activations, mut hidden) = (Activations::new(), Activations::new());
            activations.fill(cpu, ActivationSource::Plain(&x), k, &[&pair[0], &pair[1]]);
            let id = BenchmarkId::new(format!("{}/{n}x{k}", format.name()), rows);
            let macs = 2 * n * k * rows;
            let seconds = fastest(c, "gated", id, macs, || {
                gated_matmul(cpu, &activations, &pair[0], &pair[1], &mut hidden, &[&down]);
            });
            if seconds.is_finite() {
                let rate = macs as f64 / seconds / 1e9;
                println!("| {} {n}x{k} | {rows} | {:.0} | {rate:.0} |", format.name(), seconds * 1e6);
            }
        }
    }
}

fn main() {
    let mut c = support::criterion();
    let cpu = support::cpu();
    let limits = support::measure_limits(&cpu);
    let mut table = Vec::new();
    for (n, k) in SHAPES {
        for format in Format::ALL.into_iter().filter(|format| k % format.block_len() == 0) {
            let copies = weights(format, n, k);
            for rows in ROWS {
                let seconds = product(&mut c, &cpu, &copies, rows);
                if seconds.is_finite() {
                    table.push(line(&limits, &copies[0], rows, seconds));
                }
            }
        }
    }
    rows_of_activations(&mut c, &cpu);
    for threads in [1, 2, 4, 16] {
        let cpu = Cpu::new(threads);
        for chunks in [4, 64] {
            let id = BenchmarkId::new(format!("{threads}-threads"), chunks);
            fastest(&mut c, "fork-join", id, 1, || cpu.run(chunks, &|_| {}));
        }
    }
    mlp(&mut c, &cpu);
    c.final_summary();
    println!("\n| weights | n x k | rows | GMAC/s | of int8 rate | GB/s | of memory rate |");
    println!("|---|---|---|---|---|---|---|");
    table.iter().for_each(|line| println!("{line}"));
}
