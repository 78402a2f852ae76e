//! What Ctrl-C does.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::orchestrator::Cancel;

/// Exit status of what a person ended.
pub const INTERRUPTED: u8 = 130;

/// Ctrl-C: the first ends the work with what is finished, the second leaves at once. Before there is any, the first
/// leaves.
pub struct Interrupt {
    /// What the first one throws.
    pub cancel: Cancel,
    armed: Arc<AtomicBool>,
}

impl Interrupt {
    /// Begins to listen, on a task of the runtime.
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
                // Nobody may read stderr; the work ends all the same.
                let _ =
                    writeln!(std::io::stderr(), "\nending with what is finished; once more leaves at once");
                cancel.cancel();
            }
        });
        interrupt
    }

    /// From now on there is something to end in order.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }
}
