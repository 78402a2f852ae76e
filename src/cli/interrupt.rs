//! Ctrl-C: the first ends what runs with what is finished, the second leaves at once. Before anything runs, the first
//! leaves.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::orchestrator::Cancel;

/// Exit status of what a person ended.
pub const INTERRUPTED: u8 = 130;

/// Listens for Ctrl-C.
pub struct Interrupt {
    /// Thrown by the first after [`Interrupt::arm`].
    pub cancel: Cancel,
    armed: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on, on a runtime that lives as long as what runs.
    pub fn listen(runtime: &tokio::runtime::Runtime) -> Self {
        let interrupt = Self { cancel: Cancel::new(), armed: Arc::new(AtomicBool::new(false)) };
        let (cancel, armed) = (interrupt.cancel.clone(), Arc::clone(&interrupt.armed));
        runtime.spawn(async move {
            let mut interrupted = false;
            while tokio::signal::ctrl_c().await.is_ok() {
                if interrupted || !armed.load(Ordering::SeqCst) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                interrupted = true;
                // Nobody may read stderr; the run ends all the same.
                let _ =
                    writeln!(std::io::stderr(), "\nending with what is finished; once more leaves at once");
                cancel.cancel();
            }
        });
        interrupt
    }

    /// There is something to end in order now.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }
}
