//! How a model is loaded.

use std::sync::Arc;

use bandmaster_kernels::Cpu;
use bandmaster_kernels::attention::KvType;

/// Receives how far loading is, from 0 to 1, ascending. Called from several threads.
pub type Progress<'a> = &'a (dyn Fn(f32) + Sync);

/// How a model is loaded.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    /// Runs the model; its number of threads also packs the weights.
    pub cpu: Arc<Cpu>,
    /// Longest context wanted, in tokens; the model's own limit holds too.
    pub context_tokens_max: Option<usize>,
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// Address space for keys and values, in bytes; whole blocks are used. Memory is taken block by block, later.
    pub kv_bytes_max: usize,
    /// Most tokens in one step; scratch memory is made for as many.
    pub step_tokens_max: usize,
    /// Turn every matrix into F32: slow and large, and exact arithmetic on the file's weights. An oracle for tests.
    pub exact: bool,
    /// Use the packed form beside the model's file, and leave one there ([`crate::packed_path`]) for the next load.
    pub keep_packed: bool,
    /// Told how far loading is.
    pub progress: Option<Progress<'a>>,
}

/// The default of [`LoadOptions::step_tokens_max`]: long enough that weights are read once for many tokens.
pub const STEP_TOKENS_MAX: usize = 512;

impl LoadOptions<'_> {
    /// A model's whole context with address space for `kv_bytes_max` bytes of keys and values, steps of
    /// [`STEP_TOKENS_MAX`] tokens, weights as they are in the file, nothing written beside it.
    #[must_use]
    pub fn new(cpu: Arc<Cpu>, kv_bytes_max: usize) -> LoadOptions<'static> {
        LoadOptions {
            cpu,
            context_tokens_max: None,
            kv_type: KvType::F16,
            kv_bytes_max,
            step_tokens_max: STEP_TOKENS_MAX,
            exact: false,
            keep_packed: false,
            progress: None,
        }
    }
}
