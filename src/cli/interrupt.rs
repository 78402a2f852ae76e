//! Ctrl-C: the first ends what runs with what is finished, the second leaves at once. Before anything runs, the first
//! leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::terminal;
use crate::orchestrator::Cancel;

/// Exit status of what a person ended.
pub const INTERRUPTED: u8 = 130;

pub struct Interrupt {
    /// Thrown by the first after [`Interrupt::arm`].
    pub cancel: Cancel,
    armed: Arc<AtomicBool>,
}

/// From now on a file that reaches the system's limit of its size (`ulimit -f`) is an error of that write, which is said,
/// and not the end of the process.
pub fn outlive_file_limits() {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use tokio::signal::unix::{SignalKind, signal};

        use super::surroundings::{has_file_limit, open_files};
        const SIGXFSZ: i32 = 25;
        const FILES_MIN: u64 = 16;
        // Listening takes a few open files. Where they lack, a command says so before it writes anything.
        if !has_file_limit() || open_files().is_some_and(|files| files < FILES_MIN) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let _runtime = runtime.enter();
        // A signal that is listened to once does nothing by itself any more.
        drop(signal(SignalKind::from_raw(SIGXFSZ)));
    }
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
                terminal::err("\nending with what is finished; once more leaves at once\n");
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
