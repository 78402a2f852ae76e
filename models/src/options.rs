//! What a caller can choose when loading a model.

use std::sync::Arc;

use bandmaster_kernels::{Cpu, KvType};

/// Receives the fraction of loading that is done, ascending to 1. Called on the loading thread.
pub type Progress<'a> = &'a (dyn Fn(f32) + Sync);

/// Options for loading a model; [`LoadOptions::new`] sets the defaults.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    /// The threads that run the model. Packing uses as many threads of its own.
    pub cpu: Arc<Cpu>,
    /// Longest context wanted, in tokens. The model's own limit applies too.
    pub context_tokens_max: Option<usize>,
    /// Element type of keys and values in the cache.
    pub kv_type: KvType,
    /// Address space for keys and values, in bytes, rounded down to whole blocks. Memory is taken block by block.
    pub kv_bytes_max: usize,
    /// Most tokens in one step. Scratch memory is reserved for this many.
    pub step_tokens_max: usize,
    /// Convert every matrix to F32: slow and large, but exact arithmetic on the file's weights. A reference for tests.
    pub exact: bool,
    /// Use the packed form beside the model's file ([`crate::packed_path`]), and write one for the next load.
    pub keep_packed: bool,
    /// Called as loading advances; `None` when nobody wants to know.
    pub progress: Option<Progress<'a>>,
}

/// The default of [`LoadOptions::step_tokens_max`], large enough that weights are read once for many tokens.
pub const STEP_TOKENS_MAX: usize = 512;

impl LoadOptions<'_> {
    /// The model's whole context, `kv_bytes_max` bytes of address space for keys and values, steps of
    /// [`STEP_TOKENS_MAX`] tokens, weights as they are in the file, and nothing written beside it.
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
