//! What the machine offers to this process: cores, memory, instruction sets, and how fast memory is.

use std::time::Instant;

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Facts, none of them measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Cores, two hardware threads counted as one, of those this process may use.
    pub cores_physical: usize,
    /// Hardware threads this process may use.
    pub cores_logical: usize,
    /// The smaller of the machine's memory and the container's limit.
    pub memory_bytes: u64,
    /// What could be taken now without swapping.
    pub memory_available_bytes: u64,
}

impl Machine {
    /// Looks at the machine.
    #[must_use]
    pub fn detect() -> Self {
        let logical = std::thread::available_parallelism().map_or(1, usize::from);
        let physical = System::physical_core_count().unwrap_or(logical).clamp(1, logical);
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let (mut total, mut available) = (0, 0);
        if let Ok(system) = System::new_with_specifics(memory) {
            (total, available) = (system.total_memory(), system.available_memory());
            if let Some(limits) = system.cgroup_limits().filter(|limits| limits.total_memory > 0) {
                total = total.min(limits.total_memory);
                available = available.min(limits.free_memory);
            }
        }
        Self {
            cores_physical: physical,
            cores_logical: logical,
            memory_bytes: total,
            memory_available_bytes: available,
        }
    }
}

/// Instruction sets of this processor that matter to the kernels.
#[must_use]
pub fn instruction_sets() -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let sets = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("f16c", is_x86_feature_detected!("f16c")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
            ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ];
        found.extend(sets.iter().filter(|(_, here)| *here).map(|(name, _)| *name));
    }
    #[cfg(target_arch = "aarch64")]
    {
        let sets = [
            ("neon", std::arch::is_aarch64_feature_detected!("neon")),
            ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
            ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
        ];
        found.extend(sets.iter().filter(|(_, here)| *here).map(|(name, _)| *name));
    }
    found
}

/// Bytes a second that `threads` read together from memory: the best of a few passes over buffers no cache holds.
#[must_use]
pub fn memory_read_rate(threads: usize) -> f64 {
    const THREAD_BYTES: usize = 64 << 20;
    const PASSES: usize = 4;
    let buffers: Vec<Vec<u64>> =
        (0..threads).map(|thread| vec![thread as u64 + 1; THREAD_BYTES / 8]).collect();
    let pass = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(|| std::hint::black_box(sum(buffer)));
            }
        });
        (threads * THREAD_BYTES) as f64 / start.elapsed().as_secs_f64()
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}

/// Eight sums side by side, so that the additions don't wait for each other.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 8];
    for eight in words.chunks_exact(8) {
        for (sum, word) in sums.iter_mut().zip(eight) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |all, one| all.wrapping_add(*one))
}
