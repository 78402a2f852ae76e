//! How fast this machine multiplies and reads at best, for reports to compare with. Rates move from hour to hour on shared machines:
//! measure them in the same run as what is compared.

use std::hint::black_box;
use std::time::Instant;

use crate::dispatch::{Cpu, Isa};

/// Seconds of the fastest of several runs.
fn fastest(runs: usize, mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Int8 multiply-adds a second of a plain `vpdpbusd` loop on registers, all threads of `cpu` together. `None` where the instruction set has no such instruction.
pub fn int8_macs_per_s(cpu: &Cpu) -> Option<f64> {
    match cpu.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => {
            let iterations = 100_000;
            let chunk = |_| {
                // SAFETY: this `Isa` has AVX-512 VNNI.
                black_box(unsafe { crate::x86_64::limits::multiply_add_loop(iterations) });
            };
            let seconds = fastest(50, || cpu.run(cpu.threads(), &chunk));
            let macs = iterations * crate::x86_64::limits::MACS_PER_ITERATION * cpu.threads();
            Some(macs as f64 / seconds)
        }
        _ => None,
    }
}

/// Bytes a second that the threads of `cpu` together read from `buffer`, which should be several times the last cache.
pub fn memory_bytes_per_s(cpu: &Cpu, buffer: &[u64]) -> f64 {
    // Pieces of the size of a matmul's chunks.
    let pieces: Vec<&[u64]> = buffer.chunks(16 << 10).collect();
    let read = |chunk: usize| {
        black_box(pieces[chunk].iter().fold(0, |all, word| all | word));
    };
    let seconds = fastest(10, || cpu.run(pieces.len(), &read));
    size_of_val(buffer) as f64 / seconds
}
