//! The machine that a result was measured on.

use std::fs;

use sysinfo::System;

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Machine {
    /// The processor's brand name.
    pub cpu: String,
    /// Logical processors available to this process.
    pub cores: usize,
    /// Instruction set that the kernels chose.
    pub isa: String,
    pub memory_bytes: u64,
    /// Operating system and architecture, e.g. `linux x86_64`.
    pub os: String,
    /// Load average over the last minute when the measurement began; 0 if unknown.
    pub load_1m: f64,
    /// Best rate of memory reads, if measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes_per_s: Option<f64>,
    /// Best rate of int8 multiply-adds, if measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_macs_per_s: Option<f64>,
}

impl Machine {
    /// Reads the facts of this machine; `isa` is the instruction set that the kernels chose.
    #[must_use]
    pub fn here(isa: &str) -> Self {
        let load_1m = System::load_average().map_or(0.0, |load| load.one);
        let (cpu, memory_bytes) = System::new().map_or((String::new(), 0), |mut system| {
            system.refresh_memory();
            system.refresh_cpu_all();
            let brand = system.cpus().first().map_or("", |cpu| cpu.brand());
            (brand.trim().to_owned(), system.total_memory())
        });
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            isa: isa.to_owned(),
            memory_bytes,
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            load_1m,
            memory_bytes_per_s: None,
            int8_macs_per_s: None,
        }
    }

    /// A warning if the machine is busy with something else.
    #[must_use]
    pub fn busy_warning(&self) -> Option<String> {
        let share = self.load_1m / self.cores as f64;
        (share > 0.3).then(|| {
            format!(
                "the machine is busy (load {:.1} on {} cores): figures will be low and unsteady",
                self.load_1m, self.cores
            )
        })
    }
}

/// Peak resident memory of this process so far.
#[must_use]
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
