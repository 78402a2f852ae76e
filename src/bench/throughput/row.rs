//! One row of a throughput result.

/// One row of a throughput result: medians over the counted rounds.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// Number of sequences that ran together.
    pub batch: usize,
    /// Prompt tokens per sequence.
    pub prompt_tokens: usize,
    /// Generated tokens per sequence.
    pub gen_tokens: usize,
    /// Prompt tokens of all sequences divided by `prefill_s`.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens of all sequences divided by `decode_s`.
    pub decode_tokens_per_s: f64,
    /// Time until every prompt was computed.
    pub prefill_s: f64,
    /// Time of all decode passes.
    pub decode_s: f64,
    /// Prompt tokens computed in a round.
    pub computed_tokens: usize,
    /// Prompt tokens that were shared instead of computed.
    pub cached_tokens: usize,
    /// Size of the cache blocks in use.
    pub kv_pool_bytes: usize,
    /// Peak resident memory of the process so far; 0 if unknown.
    pub peak_rss_bytes: u64,
    /// Slowest and fastest counted round, prefill then decode, in tokens per second.
    pub spread: [[f64; 2]; 2],
    /// Tokens per sequence in the cache before the prompt.
    pub depth_tokens: usize,
    /// Prompt tokens at the start that all sequences shared.
    pub shared_prefix_tokens: usize,
    pub threads: usize,
    /// Time of prefill in every counted round, in order.
    pub prefill_rounds_s: Vec<f64>,
    /// Time of decoding in every counted round, in order.
    pub decode_rounds_s: Vec<f64>,
    /// Fraction of the machine's limits, if they were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_shares: Option<Shares>,
}

/// Fractions of the limits. Above 1 is possible if weights stay in the processor's caches.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Shares {
    /// Of int8 multiply-adds; `None` if that limit is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<f64>,
    /// Of the limit in `decode_bound`.
    pub decode: f64,
    pub decode_bound: Bound,
}

/// What limits the speed of a decode pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Reading the weights from memory.
    Memory,
    /// Multiplying and adding int8 values.
    Int8,
}

impl Bound {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Int8 => "int8",
        }
    }
}
