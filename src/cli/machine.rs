//! Detects cores, memory and instruction sets available to this process. Their speed is measured by `bench`.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Cores this process may use; two hardware threads of one core count once.
    pub cores_physical: usize,
    pub cores_logical: usize,
    /// The machine's memory or the container's limit, whichever is smaller.
    pub memory_bytes: u64,
    /// Memory that can be used now without swapping, also limited by the container and the process's own limits.
    pub memory_available_bytes: u64,
}

impl Machine {
    #[must_use]
    pub fn detect() -> Self {
        let logical = super::process_limits::cores();
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
        if let Some(limit) = super::process_limits::memory_limit() {
            available = available.min(models_bytes(limit));
        }
        Self {
            cores_physical: physical,
            cores_logical: logical,
            memory_bytes: total,
            memory_available_bytes: available,
        }
    }
}

/// Memory that models may use if the process has a limit of `limit_bytes`. Half of it, because a model's file and its
/// packed weights are mapped at the same time, and less, because threads and libraries reserve more than they use.
#[must_use]
pub fn models_bytes(limit_bytes: u64) -> u64 {
    const OTHERS_BYTES: u64 = 768 << 20;
    (limit_bytes.saturating_sub(OTHERS_BYTES) / 2).max(1)
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
