//! Freed memory is really returned to the system. The test is a process of its own, so that nobody else allocates.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

/// Resident bytes of this process.
fn resident() -> usize {
    let counts = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = counts.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn freed_memory_goes_back_and_what_lives_stays_as_it_is() {
    const BLOCK: usize = 5000;
    const BLOCKS: usize = 40_000;
    // One block in a hundred stays, including the last: without a trim the C library keeps everything in between.
    let mut blocks: Vec<Option<Vec<u8>>> = (0..=BLOCKS).map(|n| Some(vec![n as u8; BLOCK])).collect();
    let lives = |n: usize| n.is_multiple_of(100);
    let full = resident();
    blocks.iter_mut().enumerate().filter(|(n, _)| !lives(*n)).for_each(|(_, block)| *block = None);
    bandmaster_kernels::heap::give_back();
    let (left, freed) = (resident(), BLOCK * BLOCKS);
    assert!(left + freed / 2 < full, "{left} of {full} bytes after {freed} were freed");
    for (n, block) in blocks.iter().enumerate() {
        assert_eq!(block.as_ref().is_some_and(|block| block.iter().all(|byte| *byte == n as u8)), lives(n));
    }
}
