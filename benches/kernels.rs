//! Matmul at the shapes of the default models, against what the machine can do at best, measured in the same run:
//!
//!     cargo bench --bench kernels
//!
//! The number of threads is that of the machine's cores, or `BANDMASTER_BENCH_THREADS`; the instruction set is the machine's best, or
//! `BANDMASTER_BENCH_ISA` (scalar, avx2, avx-vnni, avx512-vnni).

use std::time::{Duration, Instant};

use bandmaster_kernels::activations::{Activations, Source};
use bandmaster_kernels::formats::Format;
use bandmaster_kernels::matmul::{Output, matmul};
use bandmaster_kernels::matrix::Matrix;
use bandmaster_kernels::naive::matmul::random_weights;
use bandmaster_kernels::{Cpu, Isa, limits};
use criterion::{BenchmarkId, Criterion, Throughput};

const FORMATS: [Format; 6] =
    [Format::Q4K, Format::Q6K, Format::Q5_0, Format::Q8_0, Format::Q4_1, Format::F32];
/// Outputs and inputs of the widest product of the 1.5B, 0.5B and 135M models.
const SHAPES: [(usize, usize); 3] = [(8960, 1536), (4864, 896), (1536, 576)];
const ROWS: [usize; 4] = [1, 8, 16, 128];
/// Weights of one kind are this many bytes together, so that one row reads memory and no cache.
const WEIGHT_BYTES: usize = 256 << 20;

/// What the machine can do.
struct Limits {
    macs_per_s: Option<f64>,
    bytes_per_s: f64,
}

fn threads() -> usize {
    let asked = std::env::var("BANDMASTER_BENCH_THREADS").ok().and_then(|threads| threads.parse().ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn cpu() -> Cpu {
    match std::env::var("BANDMASTER_BENCH_ISA") {
        Ok(name) => {
            let isa =
                Isa::ALL.into_iter().find(|isa| isa.name() == name).expect("the name of an instruction set");
            Cpu::with_isa(threads(), isa).expect("an instruction set of this machine")
        }
        Err(_) => Cpu::new(threads()),
    }
}

fn measure_limits(cpu: &Cpu) -> Limits {
    let buffer = vec![1u64; WEIGHT_BYTES / 8];
    let limits = Limits {
        macs_per_s: limits::int8_macs_per_s(cpu),
        bytes_per_s: limits::memory_bytes_per_s(cpu, &buffer),
    };
    let macs =
        limits.macs_per_s.map_or("no int8 instruction".into(), |rate| format!("{:.0} GMAC/s", rate / 1e9));
    println!(
        "{} threads, {}: int8 {macs}, memory {:.1} GB/s\n",
        cpu.threads(),
        cpu.isa().name(),
        limits.bytes_per_s / 1e9
    );
    limits
}

/// Copies of one matrix that together exceed the caches.
fn weights(format: Format, n: usize, k: usize) -> Vec<Matrix> {
    let raw = random_weights(format, n, k, 1);
    let copies = WEIGHT_BYTES.div_ceil(raw.len()).min(128);
    (0..copies).map(|_| Matrix::pack(format, n, k, &raw).expect("packs")).collect()
}

/// Benches one product; returns the seconds of the fastest sample.
fn bench(c: &mut Criterion, cpu: &Cpu, copies: &[Matrix], rows: usize) -> f64 {
    let (format, n, k) = (copies[0].format(), copies[0].n(), copies[0].k());
    let x: Vec<f32> = (0..rows * k).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let (mut activations, mut y) = (Activations::new(), vec![0.0; rows * n]);
    let (mut fastest, mut copy) = (f64::INFINITY, 0);
    let mut group = c.benchmark_group("matmul");
    group.throughput(Throughput::Elements((n * k * rows) as u64));
    group.bench_function(BenchmarkId::new(format!("{}/{n}x{k}", format.name()), rows), |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                copy = (copy + 1) % copies.len();
                let w = &copies[copy];
                activations.fill(cpu, Source::Plain(&x), k, &[w]);
                matmul(cpu, &activations, &mut [Output { w, bias: None, add: false, y: &mut y }]);
            }
            let took = start.elapsed();
            fastest = fastest.min(took.as_secs_f64() / iterations as f64);
            took
        });
    });
    group.finish();
    fastest
}

fn main() {
    let mut c = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    let cpu = cpu();
    let limits = measure_limits(&cpu);
    let mut table = Vec::new();
    for (n, k) in SHAPES {
        for format in FORMATS.into_iter().filter(|format| k % format.block_len() == 0) {
            let copies = weights(format, n, k);
            for rows in ROWS {
                let seconds = bench(&mut c, &cpu, &copies, rows);
                if seconds.is_finite() {
                    table.push(line(&limits, &copies[0], rows, seconds));
                }
            }
        }
    }
    c.final_summary();
    println!("\n| weights | n x k | rows | GMAC/s | of int8 rate | GB/s | of memory rate |");
    println!("|---|---|---|---|---|---|---|");
    table.iter().for_each(|line| println!("{line}"));
}

fn line(limits: &Limits, w: &Matrix, rows: usize, seconds: f64) -> String {
    let macs = (w.n() * w.k() * rows) as f64 / seconds;
    let bytes = w.bytes() as f64 / seconds;
    let share = limits.macs_per_s.map_or("-".into(), |limit| format!("{:.0} %", macs / limit * 100.0));
    format!(
        "| {} | {}x{} | {rows} | {:.0} | {share} | {:.1} | {:.0} % |",
        w.format().name(),
        w.n(),
        w.k(),
        macs / 1e9,
        bytes / 1e9,
        bytes / limits.bytes_per_s * 100.0
    )
}
