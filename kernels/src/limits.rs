//! The best rates at which this machine multiplies and reads, for reports to compare with. They vary from hour to hour
//! on shared machines: measure them in the same run as what is compared.

use std::hint::black_box;
use std::time::Instant;

use crate::dispatch::Cpu;
use crate::isa::Isa;
use crate::simd::{Kernel, LANES, Simd};

/// Seconds that the fastest of several runs took.
fn fastest(runs: usize, mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Int8 multiply-adds per second in a loop on registers, by all threads of `cpu` together. `None` for portable code.
pub fn int8_macs_per_s(cpu: &Cpu) -> Option<f64> {
    const ITERATIONS: usize = 100_000;
    let (multiply_add, macs): (unsafe fn(usize) -> i32, usize) = match cpu.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => (crate::x86_64::limits::avx512_vnni_loop, 64 * crate::x86_64::limits::SUMS),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => (crate::x86_64::limits::avx_vnni_loop, 32 * crate::x86_64::limits::SUMS),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => (crate::x86_64::limits::avx2_loop, 32 * crate::x86_64::limits::SUMS),
        _ => return None,
    };
    let chunk = |_| {
        // SAFETY: `cpu` is the proof that the instructions are there.
        black_box(unsafe { multiply_add(ITERATIONS) });
    };
    let seconds = fastest(50, || cpu.run(cpu.threads(), &chunk));
    Some((ITERATIONS * macs * cpu.threads()) as f64 / seconds)
}

/// F32 multiply-adds per second in a loop on registers, by all threads of `cpu` together. Below the machine's real rate
/// where vectorizing is left to the compiler (all but AVX-512).
pub fn f32_macs_per_s(cpu: &Cpu) -> f64 {
    const ITERATIONS: usize = 100_000;
    let chunk = |_| {
        black_box(cpu.vectorise(MulAdds(ITERATIONS)));
    };
    let seconds = fastest(50, || cpu.run(cpu.threads(), &chunk));
    (ITERATIONS * MulAdds::SUMS * LANES * cpu.threads()) as f64 / seconds
}

/// A loop of fused multiply-adds on registers.
struct MulAdds(usize);

impl MulAdds {
    /// Independent sums, enough to hide the latency.
    const SUMS: usize = 12;
}

impl Kernel for MulAdds {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut sums = [s.splat(1.0); Self::SUMS];
        let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(0.1)));
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = s.mul_add(*sum, a, b);
            }
        }
        sums.into_iter().map(|sum| s.sum(sum)).sum()
    }
}

/// Bytes per second that the threads of `cpu` read from `buffer`, which should be several times the last-level cache.
pub fn memory_bytes_per_s(cpu: &Cpu, buffer: &[u64]) -> f64 {
    // Pieces of the size of a matmul's chunks.
    let pieces: Vec<&[u64]> = buffer.chunks(16 << 10).collect();
    let read = |chunk: usize| {
        black_box(pieces[chunk].iter().fold(0, |all, word| all | word));
    };
    let seconds = fastest(10, || cpu.run(pieces.len(), &read));
    size_of_val(buffer) as f64 / seconds
}
