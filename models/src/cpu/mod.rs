//! Runs a [`Spec`] with the CPU kernels. A row of logits depends only on the tokens up to it, whatever else is in the
//! batch. Which sequences there are, and who gets which block, is not known here.

mod decoder;
mod kv;
mod workspace;

use std::sync::Arc;

use bandmaster_kernels::{BLOCK_TOKENS, Cpu, KvShape, KvType, RopeFreqs, RopeStyle};

use crate::batch::{Batch, BatchLimits};
use crate::error::{ForwardError, LoadError};
use crate::gguf::Gguf;
use crate::model::{Model, ModelInfo, OnRow};
use crate::options::LoadOptions;
use crate::packing::Packing;
use crate::spec::{RopePairs, Spec};
use crate::weights::Weights;
use kv::KvPool;
use workspace::Workspace;

/// A decoder on the CPU with its weights, cache and scratch memory. A step allocates nothing once another of at least
/// its length and positions has run.
pub struct CpuModel {
    info: ModelInfo,
    spec: Spec,
    weights: Weights,
    rope: RopeFreqs,
    rope_style: RopeStyle,
    /// The factor on attention scores.
    attention_scale: f32,
    cpu: Arc<Cpu>,
    kv: KvPool,
    space: Workspace,
    step_tokens_max: usize,
}

impl CpuModel {
    pub(crate) fn new(gguf: Gguf, options: &LoadOptions<'_>) -> Result<CpuModel, LoadError> {
        let spec = Spec::from_gguf(&gguf)?;
        let step_tokens_max = above_zero("step_tokens_max", options.step_tokens_max)?;
        let context = options.context_tokens_max.unwrap_or(usize::MAX).min(spec.context_tokens_max);
        let context_tokens_max = above_zero("context_tokens_max", context)?;
        let kv = reserve_kv(&spec, options.kv_type, options.kv_bytes_max)?;
        let (architecture, parameters) =
            (spec.architecture.clone(), gguf.tensors().iter().map(|tensor| tensor.elements()).sum());
        let packing = Packing::new(options)?;
        let weights = Weights::load(gguf, &spec, &packing)?;
        let magnitude = spec.rope.magnitude();
        Ok(CpuModel {
            info: ModelInfo {
                architecture,
                vocab: spec.vocab,
                context_tokens_max,
                kv_block_bytes: kv.block_bytes(),
                kv_blocks_max: kv.blocks(),
                weight_bytes: weights.bytes(),
                parameters,
            },
            rope: RopeFreqs::new(&spec.rope.radians_per_position(spec.head_dim)),
            rope_style: match spec.rope.pairs {
                RopePairs::Adjacent => RopeStyle::Interleaved,
                RopePairs::Halves => RopeStyle::Halves,
            },
            // Both q and k have the magnitude as a factor.
            attention_scale: magnitude * magnitude / (spec.head_dim as f32).sqrt(),
            space: Workspace::new(&spec, step_tokens_max),
            cpu: Arc::clone(&options.cpu),
            weights,
            spec,
            kv,
            step_tokens_max,
        })
    }

    /// The description of the decoder that is run.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
}

fn above_zero(option: &'static str, value: usize) -> Result<usize, LoadError> {
    if value > 0 { Ok(value) } else { Err(LoadError::Zero(option)) }
}

fn reserve_kv(spec: &Spec, kv_type: KvType, bytes_max: usize) -> Result<KvPool, LoadError> {
    let shape = KvShape { kv_heads: spec.kv_heads, head_dim: spec.head_dim, kv_type };
    let too_large = || LoadError::KvBytes { given: bytes_max, block_bytes: usize::MAX };
    let block_bytes = KvPool::bytes_of_block(shape, spec.layers).ok_or_else(too_large)?;
    let blocks = bytes_max / block_bytes;
    if blocks == 0 {
        return Err(LoadError::KvBytes { given: bytes_max, block_bytes });
    }
    KvPool::reserve(shape, spec.layers, blocks.min(u32::MAX as usize)).map_err(|source| LoadError::System {
        what: format!("reserve {bytes_max} bytes of address space for keys and values"),
        source,
    })
}

impl Model for CpuModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn forward(&mut self, batch: &Batch, on_row: OnRow<'_>) -> Result<(), ForwardError> {
        batch.check(&BatchLimits {
            vocab: self.info.vocab,
            blocks: self.info.kv_blocks_max,
            context_tokens: self.info.context_tokens_max,
            step_tokens: self.step_tokens_max,
            block_tokens: BLOCK_TOKENS,
        })?;
        for &copy in &batch.copies {
            self.kv.copy(copy);
        }
        if !batch.tokens.is_empty() {
            self.run(batch, on_row);
        }
        // Checked after the step, so that a file that changed during it is noticed before the rows are used.
        self.weights.check()?;
        Ok(())
    }

    fn commit_block(&mut self, block: u32) {
        self.kv.commit_block(block);
    }

    fn decommit_block(&mut self, block: u32) {
        self.kv.decommit_block(block);
    }
}
