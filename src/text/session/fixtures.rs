//! A model for tests that says what it is told to.

use std::sync::Arc;

use bandmaster_engine::{Engine, EngineConfig, EngineHandle};
use bandmaster_models::{Batch, ForwardError, Model, ModelInfo, OnRow};

use super::LoadedModel;
use super::WeightsLoader;
use crate::tokenizer::fixtures;
use crate::{Tokenizer, Tokenizers};

/// Context length of the parrot.
pub const CONTEXT_TOKENS: usize = 1024;

/// A model that always says its script: the token after position `p` is `script[p - prompt]`, then the end of sequence.
#[derive(Clone)]
struct Parrot {
    info: ModelInfo,
    script: Vec<u32>,
    end: u32,
    /// The position of the prompt's last token, inferred from the batches so far.
    prompt: usize,
    /// The last position that was computed.
    answered: usize,
}

impl Model for Parrot {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn forward(&mut self, batch: &Batch, on_row: OnRow<'_>) -> Result<(), ForwardError> {
        for span in batch.spans.iter().filter(|span| span.tokens.len() > 1) {
            // The engine may cut a prompt anywhere: a single token may be left for a batch of its own.
            self.prompt = span.context + span.tokens.len();
            self.answered = self.prompt;
        }
        for (place, &row) in batch.rows.iter().enumerate() {
            let span = batch.spans.iter().find(|span| span.tokens.contains(&(row as usize))).unwrap();
            let position = span.context + row as usize - span.tokens.start;
            if span.tokens.len() > 1 || !(self.prompt..=self.answered + 1).contains(&position) {
                self.prompt = position;
            }
            self.answered = position;
            let next = self.script.get(position - self.prompt).copied().unwrap_or(self.end);
            let mut logits = vec![0.0; self.info.vocab];
            logits[next as usize] = 9.0;
            on_row(place, &mut logits);
        }
        Ok(())
    }

    fn commit_block(&mut self, _block: u32) {}
    fn decommit_block(&mut self, _block: u32) {}
}

pub fn engine() -> EngineHandle {
    Engine::start(EngineConfig::with_memory_bytes(1 << 20)).unwrap()
}

pub fn parrot(says: &str) -> Arc<LoadedModel> {
    parrot_with(says, &[])
}

pub fn parrot_with(says: &str, control: &[&str]) -> Arc<LoadedModel> {
    // The parrot finds the end of a prompt by the lengths of spans, which draft tokens would change.
    let config = EngineConfig { speculate: false, ..EngineConfig::with_memory_bytes(1 << 24) };
    let engine = Engine::start(config).unwrap();
    let control: Vec<(&str, i32)> = control.iter().map(|text| (*text, 3)).collect();
    let gguf = || fixtures::byte_level_with("gpt-2", &[], &control);
    let tokenizer = Tokenizer::from_gguf(&gguf()).unwrap();
    let model = Parrot {
        info: ModelInfo {
            architecture: "parrot".into(),
            vocab: tokenizer.vocab_size(),
            context_tokens_max: CONTEXT_TOKENS,
            kv_block_bytes: 4096,
            kv_blocks_max: 256,
            weight_bytes: 0,
            parameters: 0,
        },
        script: tokenizer.encode(says, false),
        end: tokenizer.eos().unwrap(),
        prompt: 0,
        answered: 0,
    };
    let weights: WeightsLoader = Box::new(move |_| Ok(Box::new(model.clone())));
    LoadedModel::load_gguf(&engine, &Tokenizers::default(), "parrot", gguf(), weights).unwrap()
}
