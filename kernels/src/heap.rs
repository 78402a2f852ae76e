//! Memory that was freed goes back to the system. The C library keeps what it takes for soon needed again: hundreds of
//! megabytes after a few large requests. Who freed it is not known here.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    /// `M_ARENA_MAX` of malloc.h.
    pub const ARENAS_MAX: c_int = -8;

    unsafe extern "C" {
        // Both are safe at any time and from any thread: they take the allocator's own locks.
        pub safe fn malloc_trim(pad: usize) -> c_int;
        pub safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
}

/// Lets all threads that begin from now on share one heap. With one each, glibc keeps up to 64 MB at the end of every one,
/// and reserves as much address space.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::mallopt(glibc::ARENAS_MAX, 1);
}

/// Gives back what this process has freed, where its C library keeps such memory (glibc). Takes some milliseconds, in which
/// other threads may wait for memory.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::malloc_trim(0);
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Bytes of this process that are in memory.
    fn resident() -> usize {
        let counts = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = counts.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    #[test]
    fn freed_memory_goes_back_and_what_lives_stays_as_it_is() {
        const BLOCK: usize = 5000;
        const BLOCKS: usize = 40_000;
        // One of a hundred lives on, the last among them: without being asked, the C library keeps all between.
        let mut blocks: Vec<Option<Vec<u8>>> = (0..=BLOCKS).map(|n| Some(vec![n as u8; BLOCK])).collect();
        let lives = |n: usize| n.is_multiple_of(100);
        let full = resident();
        blocks.iter_mut().enumerate().filter(|(n, _)| !lives(*n)).for_each(|(_, block)| *block = None);
        super::give_back();
        let (left, freed) = (resident(), BLOCK * BLOCKS);
        // Other tests of this process take and free memory meanwhile, but not that much.
        assert!(left + freed / 2 < full, "{left} of {full} bytes after {freed} were freed");
        for (n, block) in blocks.iter().enumerate() {
            assert_eq!(
                block.as_ref().is_some_and(|block| block.iter().all(|byte| *byte == n as u8)),
                lives(n)
            );
        }
    }
}
