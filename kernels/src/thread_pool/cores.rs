//! Which core a thread runs on, and leaving one that another thread needs. Does nothing where the system can't tell.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

#[cfg(target_os = "linux")]
pub(super) fn current() -> usize {
    sched_getcpu()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn current() -> usize {
    usize::MAX
}

/// The cores that a thread may run on.
pub(super) struct Cores {
    #[cfg(target_os = "linux")]
    allowed: Option<CpuSet>,
}

impl Cores {
    #[cfg(target_os = "linux")]
    pub(super) fn allowed() -> Cores {
        Cores { allowed: sched_getaffinity(None).ok() }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn allowed() -> Cores {
        Cores {}
    }

    /// Moves the calling thread off `core` if it may run elsewhere. It then avoids `core` until it leaves another one.
    #[cfg(target_os = "linux")]
    pub(super) fn leave(&self, core: usize) {
        let Some(mut others) = self.allowed.filter(|_| current() == core) else { return };
        others.unset(core);
        if others.count() > 0 {
            // If refused, the thread shares the core, which is slow but correct.
            let _ = sched_setaffinity(None, &others);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn leave(&self, _core: usize) {}
}
