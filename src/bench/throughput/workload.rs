//! Throughput workloads: token counts, batch sizes and repeats.

/// One throughput measurement of all its batch sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Prompt tokens of each sequence.
    pub prompt_tokens: usize,
    /// Per sequence; the end-of-sequence token is ignored.
    pub gen_tokens: usize,
    /// Batch sizes; each gives one row.
    pub batches: Vec<usize>,
    /// Tokens in the cache before the prompt, not counted in any rate.
    pub depth_tokens: usize,
    /// Prompt tokens at the start that all sequences share and that are computed once.
    pub shared_prefix_tokens: usize,
    /// Rounds before each row that are not counted.
    pub warmup: usize,
    /// Counted rounds of each row; figures are their medians.
    pub repeat: usize,
    /// Threads of the kernels, for the report only: the caller loads the model with that many.
    pub threads: usize,
    /// Seed for the random tokens.
    pub seed: u64,
}

/// A throughput measurement that can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// Names a count that must not be zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A shared prefix can only be at the very beginning.
    #[error("--shared-prefix is the beginning of a prompt: leave --depth out")]
    SharedBehindDepth,
    /// Each sequence needs at least one token of its own.
    #[error(
        "--shared-prefix {shared} must be smaller than --prompt-tokens {prompt}: each sequence needs a token of its own"
    )]
    SharedTooLong { shared: usize, prompt: usize },
}

impl Workload {
    /// The measurements of `--all`, with 128 prompt and 24 generated tokens: batch sizes, depths, a shared prefix, and
    /// a single sequence on 1, 2, 4, ... threads up to `cores`. Those with `threads` threads come first and together.
    #[must_use]
    pub fn sweep(threads: usize, cores: usize, warmup: usize, repeat: usize) -> Vec<Self> {
        let alone = Self {
            prompt_tokens: 128,
            gen_tokens: 24,
            batches: vec![1],
            depth_tokens: 0,
            shared_prefix_tokens: 0,
            warmup,
            repeat,
            threads,
            seed: 0,
        };
        // One measurement per batch size: if 16 don't fit, 8 may.
        let mut workloads =
            [1, 4, 8, 16].map(|batch| Self { batches: vec![batch], ..alone.clone() }).to_vec();
        workloads.extend([1024, 4096].map(|depth_tokens| Self { depth_tokens, ..alone.clone() }));
        workloads.push(Self { batches: vec![16], shared_prefix_tokens: 112, ..alone.clone() });
        let counts = std::iter::successors(Some(1), |count: &usize| count.checked_mul(2));
        let others = counts.take_while(|count| *count <= cores).filter(|count| *count != threads);
        workloads.extend(others.map(|threads| Self { threads, ..alone.clone() }));
        for (seed, workload) in workloads.iter_mut().enumerate() {
            workload.seed = seed as u64;
        }
        workloads
    }

    /// Tokens that a sequence has at the end.
    #[must_use]
    pub fn sequence_tokens(&self) -> usize {
        self.depth_tokens.saturating_add(self.prompt_tokens).saturating_add(self.gen_tokens)
    }

    /// Checks that the counts can be measured.
    ///
    /// # Errors
    /// `WorkloadError` naming the flag to change.
    pub fn validate(&self) -> Result<(), WorkloadError> {
        let counts = [
            (self.prompt_tokens, "--prompt-tokens"),
            (self.gen_tokens, "--gen-tokens"),
            (self.repeat, "--repeat"),
            (self.batches.iter().copied().min().unwrap_or(0), "every --batch"),
        ];
        if let Some((_, name)) = counts.iter().find(|(count, _)| *count == 0) {
            return Err(WorkloadError::Zero(name));
        }
        if self.shared_prefix_tokens >= self.prompt_tokens {
            return Err(WorkloadError::SharedTooLong {
                shared: self.shared_prefix_tokens,
                prompt: self.prompt_tokens,
            });
        }
        if self.shared_prefix_tokens > 0 && self.depth_tokens > 0 {
            return Err(WorkloadError::SharedBehindDepth);
        }
        Ok(())
    }
}
