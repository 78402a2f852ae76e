//! What the kernel benches share: the threads and instruction set asked for, the machine's limits measured in the same run, and
//! a timed op.
//!
//! The number of threads is that of the machine's cores, or `BANDMASTER_BENCH_THREADS`; the instruction set is the machine's best, or
//! `BANDMASTER_BENCH_ISA` (scalar, avx2, avx-vnni, avx512-vnni).

#![allow(dead_code)] // Each bench uses a part.

use std::time::{Duration, Instant};

use bandmaster_kernels::{Cpu, Isa, limits};
use criterion::{BenchmarkId, Criterion, Throughput};

/// Weights or caches of one kind are this many bytes together, so that they are read from memory and not from a cache.
pub const COLD_BYTES: usize = 256 << 20;

/// What the machine can do.
pub struct Limits {
    pub int8_macs_per_s: Option<f64>,
    pub f32_macs_per_s: f64,
    pub bytes_per_s: f64,
}

fn threads() -> usize {
    let asked = std::env::var("BANDMASTER_BENCH_THREADS").ok().and_then(|threads| threads.parse().ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

pub fn cpu() -> Cpu {
    match std::env::var("BANDMASTER_BENCH_ISA") {
        Ok(name) => {
            let isa =
                Isa::ALL.into_iter().find(|isa| isa.name() == name).expect("the name of an instruction set");
            Cpu::with_isa(threads(), isa).expect("an instruction set of this machine")
        }
        Err(_) => Cpu::new(threads()),
    }
}

/// Measures the limits and prints them.
pub fn measure_limits(cpu: &Cpu) -> Limits {
    let buffer = vec![1u64; COLD_BYTES / 8];
    let limits = Limits {
        int8_macs_per_s: limits::int8_macs_per_s(cpu),
        f32_macs_per_s: limits::f32_macs_per_s(cpu),
        bytes_per_s: limits::memory_bytes_per_s(cpu, &buffer),
    };
    println!(
        "{} threads, {}: int8 {} GMAC/s, f32 {:.0} GMAC/s, memory {:.1} GB/s\n",
        cpu.threads(),
        cpu.isa().name(),
        limits.int8_macs_per_s.map_or("-".into(), |rate| format!("{:.0}", rate / 1e9)),
        limits.f32_macs_per_s / 1e9,
        limits.bytes_per_s / 1e9
    );
    limits
}

pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args()
}

/// Benches one op that does `elements` of something; returns the seconds of the fastest sample, infinite when it was filtered out.
pub fn fastest(
    c: &mut Criterion,
    group: &str,
    id: BenchmarkId,
    elements: usize,
    mut op: impl FnMut(),
) -> f64 {
    let mut fastest = f64::INFINITY;
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Elements(elements as u64));
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                op();
            }
            let took = start.elapsed();
            fastest = fastest.min(took.as_secs_f64() / iterations as f64);
            took
        });
    });
    group.finish();
    fastest
}

/// `figure` as a share of `limit`.
pub fn share(figure: f64, limit: f64) -> String {
    format!("{:.0} %", figure / limit * 100.0)
}
