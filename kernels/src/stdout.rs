//! Whether standard output was open when the process started. If not, the standard library opens `/dev/null` in its
//! place before `main`, and output is lost without an error. So it is checked before that. Who writes to standard
//! output is not known here.

use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether standard output was closed when the process started. Known on Linux and macOS only, elsewhere false.
#[must_use]
pub fn was_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
mod first {
    use std::ffi::c_int;
    use std::sync::atomic::Ordering;

    unsafe extern "C" {
        fn fcntl(descriptor: c_int, command: c_int, ...) -> c_int;
    }

    /// The system's loader calls the functions in this section before `main`.
    #[used]
    #[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        const STDOUT: c_int = 1;
        const F_GETFD: c_int = 1;
        // SAFETY: F_GETFD takes no further argument and changes nothing. For a closed descriptor it returns -1.
        let flags = unsafe { fcntl(STDOUT, F_GETFD) };
        super::CLOSED.store(flags == -1, Ordering::Relaxed);
    }
}
