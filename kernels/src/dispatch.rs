//! Chooses this machine's instructions, and owns the threads that run a step. Nothing is read from the environment:
//! whoever loads a model sets the number of threads.

use std::ops::Range;

use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::has_fma;
use crate::matrix::layout::Layout;
use crate::quantize::{ActivationSource, Quantized, quantize_block, quantize_gated, quantize_tile};
use crate::scalar::scalar_kernel;
use crate::shapes::{self, Sums};
use crate::simd::{Kernel, Portable};
use crate::thread_pool::ThreadPool;

/// An instruction set and a pool of threads, which every kernel needs. Share it as `Arc<Cpu>`.
#[derive(Debug)]
pub struct Cpu {
    /// Invariant: available on this machine. The kernels chosen by it rely on that.
    isa: Isa,
    pool: ThreadPool,
}

impl Cpu {
    /// Uses the best instruction set of this machine and `threads` threads, including the calling one (at least one).
    pub fn new(threads: usize) -> Cpu {
        Cpu { isa: Isa::detect(), pool: ThreadPool::new(threads) }
    }

    /// As [`Cpu::new`], with a given instruction set. `None` if this machine lacks it.
    pub fn with_isa(threads: usize, isa: Isa) -> Option<Cpu> {
        isa.available().then(|| Cpu { isa, pool: ThreadPool::new(threads) })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads, including the calling one.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Calls `f(0)`, …, `f(chunks - 1)`, each once, on any thread and in any order. Returns when all have returned;
    /// their writes are then visible. A chunk's panic is raised here once all chunks have ended. Calls from several
    /// threads take turns. A call from inside a chunk runs on its own thread alone.
    pub fn run(&self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        self.pool.run(chunks, f);
    }

    /// Runs a kernel with this instruction set's vectors, on the calling thread.
    #[inline]
    pub(crate) fn vectorise<K: Kernel>(&self, kernel: K) -> K::Output {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Cpu` is only made with an instruction set that is available.
            Isa::Avx512Vnni => unsafe { crate::x86_64::simd::Avx512::assume() }.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Scalar | Isa::Avx2 | Isa::AvxVnni => crate::x86_64::simd::run_portable(kernel),
            #[cfg(not(target_arch = "x86_64"))]
            _ => kernel.run(Portable),
        }
    }
}

/// The matmul kernel for weights of this layout.
pub(crate) fn kernel(isa: Isa, layout: Layout) -> shapes::Kernel {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => crate::x86_64::matmul::kernel(layout),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => crate::x86_64::avx2::avx2_kernel(layout),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => crate::x86_64::avx2::avx_vnni_kernel(layout),
        #[cfg(target_arch = "x86_64")]
        Isa::Scalar if has_fma() => crate::x86_64::scalar::scalar_kernel_with_fma,
        _ => scalar_kernel,
    }
}

/// [`quantize_tile`] for the instructions this machine has.
pub(crate) type Quantizer = unsafe fn(&Quantized, ActivationSource<'_>, usize, Range<usize>);

pub(crate) fn quantizer(cpu: &Cpu) -> Quantizer {
    match cpu.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => crate::x86_64::quantize::quantize_tile,
        #[cfg(target_arch = "x86_64")]
        _ if has_fma() => crate::x86_64::quantize::quantize_tile_with_fma,
        _ => |out, x, row, blocks| {
            // SAFETY: the promise of whoever calls this pointer.
            unsafe { quantize_tile(Portable, out, x, row, blocks, quantize_block) }
        },
    }
}

/// [`quantize_gated`] for the instructions this machine has.
pub(crate) type GatedQuantizer = unsafe fn(&Quantized, &Sums, &Sums, usize, usize);

pub(crate) fn gated_quantizer(cpu: &Cpu) -> GatedQuantizer {
    match cpu.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => crate::x86_64::quantize::quantize_gated,
        #[cfg(target_arch = "x86_64")]
        _ if has_fma() => crate::x86_64::quantize::quantize_gated_with_fma,
        _ => |out, gate, up, row, block| {
            // SAFETY: the promise of whoever calls this pointer.
            unsafe { quantize_gated(Portable, out, gate, up, row, block, quantize_block) }
        },
    }
}
