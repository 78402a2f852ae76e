//! Numbers that are the same in every process: chained hashes of token blocks, and the random numbers of sampling.

/// Hash of the empty prefix of a salt. Each model has its own index of chains, so neither the model nor the cache type
/// needs to be hashed until blocks leave the process.
#[must_use]
pub fn root_hash(salt: u64) -> u64 {
    mix(salt ^ 0x6a09_e667_f3bc_c908)
}

/// Hash of a prefix and one more full block; stable across processes.
#[must_use]
pub fn chain_hash(prefix: u64, tokens: &[u32]) -> u64 {
    tokens
        .iter()
        .fold(prefix, |hash, &token| mix(hash ^ u64::from(token).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014).
#[must_use]
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The `index`-th random number in `[0, 1)` for the token at `position`. A function of its arguments alone, so that
/// batches, chunks and preemption can't change what is sampled.
#[must_use]
pub fn uniform(seed: u64, position: u64, index: u64) -> f64 {
    let bits = mix(mix(mix(seed) ^ position) ^ index);
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}
