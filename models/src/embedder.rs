//! Sentence embeddings: BERT over token ids, mean-pooled. Text and tokenizers are not known here.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};

#[cfg(test)]
mod tests;

/// A folder that holds no usable embedding model, or tokens that can't be embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// A file of the model can't be read.
    #[error("cannot read {}: {source}; pull the embedding model again", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `config.json` is not that of a BERT model.
    #[error("{} does not describe a BERT model: {source}; pull the embedding model again", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The weights are damaged or don't fit the configuration.
    #[error("{} does not hold the weights that config.json describes: {source}; pull the embedding model again", file.display())]
    Weights {
        /// The file.
        file: PathBuf,
        /// Why, with the tensor's name.
        source: candle_core::Error,
    },
    /// Nothing to embed, or more than the model has positions for.
    #[error("{tokens} tokens can't be embedded: 1 to {tokens_max} can; shorten or split the text")]
    Length {
        /// Tokens given.
        tokens: usize,
        /// Positions of the model.
        tokens_max: usize,
    },
    /// A token id outside of the vocabulary.
    #[error(
        "token {token} is outside the embedding vocabulary of {vocab}: it was made with another model's tokenizer"
    )]
    Token {
        /// The offending id.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The forward pass failed: a bug, or no memory.
    #[error("the embedding could not be computed: {0}")]
    Forward(#[from] candle_core::Error),
}

/// A loaded embedding model. Shared between threads; one call runs on all of them.
pub struct Embedder {
    bert: BertModel,
    width: usize,
    vocab: usize,
    tokens_max: usize,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Embedder { bert: _, width, vocab, tokens_max } = self;
        write!(f, "Embedder {{ width: {width}, vocab: {vocab}, tokens_max: {tokens_max} }}")
    }
}

impl Embedder {
    /// Loads `config.json` and `model.safetensors` from the folder `dir`.
    ///
    /// # Errors
    /// [`EmbedderError`] when a file is missing, damaged, or not a BERT model's.
    pub fn load(dir: &Path) -> Result<Embedder, EmbedderError> {
        let config_file = dir.join("config.json");
        let text = match std::fs::read(&config_file) {
            Ok(text) => text,
            Err(source) => return Err(EmbedderError::Io { file: config_file, source }),
        };
        let config: Config = match serde_json::from_slice(&text) {
            Ok(config) => config,
            Err(source) => return Err(EmbedderError::Config { file: config_file, source }),
        };
        let file = dir.join("model.safetensors");
        if let Err(source) = std::fs::File::open(&file) {
            return Err(EmbedderError::Io { file, source });
        }
        let bert = match load_weights(&file, &config) {
            Ok(bert) => bert,
            Err(source) => return Err(EmbedderError::Weights { file, source }),
        };
        Ok(Embedder {
            bert,
            width: config.hidden_size,
            vocab: config.vocab_size,
            tokens_max: config.max_position_embeddings,
        })
    }

    /// Numbers in an embedding, e.g. 384.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The most tokens a text may have, special ones included.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// The embedding of one text, special tokens included in `token_ids`: the mean of the last layer over all tokens,
    /// scaled to length 1, so that a dot product is the cosine.
    ///
    /// # Errors
    /// [`EmbedderError::Length`] for no tokens or too many, [`EmbedderError::Token`] for an id that doesn't exist.
    pub fn embed(&self, token_ids: &[u32]) -> Result<Vec<f32>, EmbedderError> {
        let tokens = token_ids.len();
        if tokens == 0 || tokens > self.tokens_max {
            return Err(EmbedderError::Length { tokens, tokens_max: self.tokens_max });
        }
        if let Some(&token) = token_ids.iter().find(|&&token| token as usize >= self.vocab) {
            return Err(EmbedderError::Token { token, vocab: self.vocab });
        }
        let ids = Tensor::new(token_ids, &Device::Cpu)?.unsqueeze(0)?;
        let states = self.bert.forward(&ids, &ids.zeros_like()?, None)?;
        let mut mean = states.squeeze(0)?.mean(0)?.to_vec1::<f32>()?;
        let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
        mean.iter_mut().for_each(|x| *x /= length);
        Ok(mean)
    }
}

/// Reads the weights through a map, which is closed again: candle copies what it takes.
fn load_weights(file: &Path, config: &Config) -> candle_core::Result<BertModel> {
    // SAFETY: the map lives within this function and is never written through. Another process that shortens the file
    // meanwhile is outside of what any mapping can promise; model files are replaced by rename, never written in place.
    let weights = unsafe { VarBuilder::from_mmaped_safetensors(&[file], DType::F32, &Device::Cpu)? };
    BertModel::load(weights, config)
}
