//! Limits how many grammars are compiled at the same time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Grammars that are compiled at the same time.
const COMPILES_MAX: usize = 4;
/// How many of them may be expensive. Each of those may take some tens of megabytes.
const EXPENSIVE_MAX: usize = 1;

#[derive(Default)]
pub(super) struct CompileSlots {
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Taken {
    all: usize,
    /// Expensive grammars are compiled one at a time, so that cheap ones do not wait for them.
    expensive: usize,
}

/// Permission to compile one grammar, given back when dropped.
pub(super) struct CompileSlot {
    slots: Arc<CompileSlots>,
    is_expensive: bool,
}

impl CompileSlot {
    /// Waits for a slot; `None` when none becomes free within `time_max`.
    pub(super) fn wait(slots: &Arc<CompileSlots>, is_expensive: bool, time_max: Duration) -> Option<Self> {
        let taken = slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut Taken| {
            taken.all >= COMPILES_MAX || (is_expensive && taken.expensive >= EXPENSIVE_MAX)
        };
        let waited = slots.freed.wait_timeout_while(taken, time_max, is_full);
        let (mut taken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        taken.all += 1;
        taken.expensive += usize::from(is_expensive);
        Some(Self { slots: Arc::clone(slots), is_expensive })
    }
}

impl Drop for CompileSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        taken.expensive -= usize::from(self.is_expensive);
        drop(taken);
        self.slots.freed.notify_all();
    }
}
