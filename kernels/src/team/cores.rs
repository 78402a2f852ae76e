//! Which core a thread runs on, and getting off one that another thread needs. Where the system can't be asked, nothing happens.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The core this thread runs on.
#[cfg(target_os = "linux")]
pub(super) fn current() -> usize {
    sched_getcpu()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn current() -> usize {
    usize::MAX
}

/// The cores a thread may run on.
pub(super) struct Cores {
    #[cfg(target_os = "linux")]
    allowed: Option<CpuSet>,
}

impl Cores {
    /// Those of the calling thread.
    #[cfg(target_os = "linux")]
    pub(super) fn allowed() -> Cores {
        Cores { allowed: sched_getaffinity(None).ok() }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn allowed() -> Cores {
        Cores {}
    }

    /// Moves the calling thread elsewhere if it runs on `core` and there is another; it stays away from `core` until it leaves one more.
    #[cfg(target_os = "linux")]
    pub(super) fn leave(&self, core: usize) {
        let Some(mut others) = self.allowed.filter(|_| current() == core) else { return };
        others.unset(core);
        if others.count() > 0 {
            // Refused, it shares the core, which is slow and right.
            let _ = sched_setaffinity(None, &others);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn leave(&self, _core: usize) {}
}
