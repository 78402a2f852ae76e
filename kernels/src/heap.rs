//! Returns freed memory to the system. The C library keeps it for later use: hundreds of megabytes after a few large
//! requests. Who freed it is not known here.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    /// `M_ARENA_MAX` of malloc.h.
    pub(super) const ARENAS_MAX: c_int = -8;

    unsafe extern "C" {
        // Both are safe at any time and from any thread: they take the allocator's own locks.
        pub(super) safe fn malloc_trim(pad: usize) -> c_int;
        pub(super) safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
}

/// Makes all threads that start from now on share one heap. With a heap each, glibc keeps up to 64 MB at the end of
/// every one and reserves as much address space.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::mallopt(glibc::ARENAS_MAX, 1);
}

/// Returns freed memory to the system if the C library keeps it (glibc does). Takes some milliseconds, during which
/// other threads may wait for memory.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::malloc_trim(0);
}
