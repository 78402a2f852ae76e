//! One row of a throughput result.

/// One row of a throughput result: medians over the counted rounds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// Sequences that ran together.
    pub batch: usize,
    /// Prompt tokens of each.
    pub prompt_tokens: usize,
    /// Forward passes of each after the prompt.
    pub gen_tokens: usize,
    /// Prompt tokens of all sequences over `prefill_s`.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens of all sequences over `decode_s`.
    pub decode_tokens_per_s: f64,
    /// Seconds until every prompt was computed.
    pub prefill_s: f64,
    /// Seconds of all decode passes.
    pub decode_s: f64,
    /// Prompt tokens computed in a round.
    pub computed_tokens: usize,
    /// Prompt tokens that were shared instead of computed.
    pub cached_tokens: usize,
    /// Bytes of the cache blocks in use.
    pub kv_pool_bytes: usize,
    /// Highest resident size of the process so far; 0 where the system does not tell.
    pub peak_rss_bytes: u64,
    /// Slowest and fastest counted round, prefill then decode, in tokens per second.
    pub spread: [[f64; 2]; 2],
    /// Tokens of each that were in the cache before the prompt.
    #[serde(default)]
    pub depth_tokens: usize,
    /// Leading prompt tokens that all sequences shared.
    #[serde(default)]
    pub shared_prefix_tokens: usize,
    /// Threads the kernels ran on; 0 in results that do not tell.
    #[serde(default)]
    pub threads: usize,
    /// Seconds of prefill of every counted round, in order.
    #[serde(default)]
    pub prefill_rounds_s: Vec<f64>,
    /// Seconds of decoding of every counted round, in order.
    #[serde(default)]
    pub decode_rounds_s: Vec<f64>,
    /// What share of the machine's limits this is, when those were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_shares: Option<Shares>,
}

/// Shares of the limit, 1 being the limit itself. Above 1 is possible where weights stay in a cache of the processor.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Shares {
    /// Of the multiply-adds; `None` where their limit is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill: Option<f64>,
    /// Of what `decode_bound` names.
    pub decode: f64,
    /// What limits decoding at this batch.
    pub decode_bound: Bound,
}

/// What a pass can't be faster than.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The weights are read from memory no faster.
    Memory,
    /// The cores multiply and add no faster.
    Int8,
}

impl Bound {
    /// As it stands in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Int8 => "int8",
        }
    }
}
