//! Whether somebody still waits for work that takes long. Who waits, and for what, is not known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by who waits and who works: the one says when it waits no longer, the other looks now and then.
#[derive(Debug, Clone, Default)]
pub struct Waited(Arc<AtomicBool>);

impl Waited {
    /// Looked at now and then by whoever works long.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }

    /// Nobody waits any more: the work ends where it is.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
