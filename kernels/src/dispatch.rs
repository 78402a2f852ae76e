//! Which instructions this machine has, decided once, and the threads that run a step. Nothing is read from the
//! environment: whoever loads a model says how many threads it gets.

use crate::simd::Kernel;
use crate::team::Team;

/// The instruction set a [`Cpu`] uses. Results are the same bits for one instruction set; between two they may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Portable code, on every machine.
    Scalar,
    /// AVX2, FMA and F16C: x86-64 since 2013 (Intel) and 2015 (AMD).
    Avx2,
    /// The same and AVX-VNNI: Intel's since Alder Lake, AMD's since Zen 5.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI: Intel since Ice Lake, AMD since Zen 4.
    Avx512Vnni,
}

impl Isa {
    /// All of them, the best last.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512Vnni];

    /// The best instruction set of this machine.
    pub fn detect() -> Isa {
        Isa::ALL.into_iter().rfind(|isa| isa.available()).unwrap_or(Isa::Scalar)
    }

    /// Whether this machine can run it.
    pub fn available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => crate::x86_64::has_fma(),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => crate::x86_64::has_fma() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni => false,
        }
    }

    /// A short name for logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx-vnni",
            Isa::Avx512Vnni => "avx512-vnni",
        }
    }
}

/// An instruction set and a team of threads: what every kernel is called with. Share it as `Arc<Cpu>`.
#[derive(Debug)]
pub struct Cpu {
    /// Invariant: available on this machine; the kernels behind it rely on that.
    isa: Isa,
    team: Team,
}

impl Cpu {
    /// The best instruction set of this machine, run by `threads` threads, the calling one included (at least one).
    pub fn new(threads: usize) -> Cpu {
        Cpu { isa: Isa::detect(), team: Team::new(threads) }
    }

    /// As [`Cpu::new`] with the instruction set chosen; `None` where this machine lacks it.
    pub fn with_isa(threads: usize, isa: Isa) -> Option<Cpu> {
        isa.available().then(|| Cpu { isa, team: Team::new(threads) })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Members of the team, the calling thread included.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Calls `f(0)`, …, `f(chunks - 1)`, each once, on any member and in any order, and returns when all have returned.
    /// What the chunks wrote is then visible to the caller. A chunk's panic is raised here once all chunks have ended.
    /// Calls from several threads take turns; a call from inside a chunk runs on the calling member alone.
    pub fn run(&self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        self.team.run(chunks, f);
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
            _ => kernel.run(crate::simd::Portable),
        }
    }
}
