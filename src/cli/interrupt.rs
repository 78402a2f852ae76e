//! Handles Ctrl-C: the first ends the work with what is finished, the second exits at once. Before any work has begun,
//! the first exits at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::terminal;
use crate::orchestrator::Cancel;

/// Exit status after Ctrl-C.
pub const INTERRUPTED: u8 = 130;

pub struct Interrupt {
    /// Cancelled by the first Ctrl-C after [`Interrupt::arm`].
    pub cancel: Cancel,
    armed: Arc<AtomicBool>,
}

/// Makes writing beyond the file size limit (`ulimit -f`) an error of that write, instead of a
/// signal that ends the process.
pub fn outlive_file_limits() {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use tokio::signal::unix::{SignalKind, signal};

        use super::process_limits::{has_file_limit, open_files};
        const SIGXFSZ: i32 = 25;
        const FILES_MIN: u64 = 16;
        // Listening for the signal takes a few open files. With too few, a command reports that before it writes
        // anything.
        if !has_file_limit() || open_files().is_some_and(|files| files < FILES_MIN) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let _runtime = runtime.enter();
        // After a signal has been listened to once, it no longer ends the process.
        drop(signal(SignalKind::from_raw(SIGXFSZ)));
    }
}

impl Interrupt {
    /// Listens on a runtime, which must live as long as the work.
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
                terminal::err("\nending with what is finished; press Ctrl-C again to leave at once\n");
                cancel.cancel();
            }
        });
        interrupt
    }

    /// Until it is armed again, Ctrl-C exits at once.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }

    /// From now on, Ctrl-C ends the work in an orderly way.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }
}
