//! Tells long-running work whether anyone still waits for its result. Who waits, and for what, is not known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag shared between the one who waits and the one who works. Clones share the same flag.
#[derive(Debug, Clone, Default)]
pub struct Waited(Arc<AtomicBool>);

impl Waited {
    /// Whether the work should continue. Long-running work calls this now and then.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }

    /// Says that nobody waits for the result any more. The work stops the next time it looks.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
