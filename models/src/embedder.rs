//! Sentence embeddings: a BERT encoder over token ids, with mean pooling. Text and tokenizers are not known here.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bandmaster_kernels::{ActivationSource, Activations, Cpu, Format, MatmulOutput, Matrix, matmul};
use safetensors::{Dtype, SafeTensors};

use crate::mapping::Mapping;

#[cfg(test)]
mod tests;

/// Why an embedding model can't be loaded, or tokens can't be embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// A file of the model can't be read.
    #[error("cannot read {}: {source}; pull the embedding model again", file.display())]
    Io {
        /// Path of the file.
        file: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// `config.json` does not describe a BERT model.
    #[error("{} does not describe a BERT model: {reason}; pull the embedding model again", file.display())]
    Config {
        /// Path of the file.
        file: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The weights are damaged or don't fit the configuration.
    #[error("{} does not hold the weights that config.json describes: {reason}; pull the embedding model again", file.display())]
    Weights {
        /// Path of the file.
        file: PathBuf,
        /// What is wrong, with the tensor's name.
        reason: String,
    },
    /// There are no tokens, or more than the model has positions for.
    #[error("{tokens} tokens can't be embedded: 1 to {tokens_max} can; shorten or split the text")]
    Length {
        /// Number of tokens given.
        tokens: usize,
        /// Number of positions of the model.
        tokens_max: usize,
    },
    /// A token id is outside the vocabulary.
    #[error(
        "token {token} is outside the embedding vocabulary of {vocab}: it was made with another model's tokenizer"
    )]
    Token {
        /// The id that is too large.
        token: u32,
        /// Number of ids in the vocabulary.
        vocab: usize,
    },
}

/// The network's sizes, from `config.json`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    width: usize,
    layers: usize,
    heads: usize,
    ffn: usize,
    tokens_max: usize,
    vocab: usize,
    norm_eps: f32,
}

/// y = x · wᵀ + b.
struct Linear {
    weight: Matrix,
    bias: Vec<f32>,
}

/// Layer normalization with scale and shift.
struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
    eps: f32,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    down_norm: Norm,
}

/// A loaded embedding model. Threads may share it; one call at a time runs on the threads of `cpu`.
pub struct Embedder {
    cpu: Arc<Cpu>,
    shape: Shape,
    /// Word embeddings, F32 bytes as in the file: [vocab, width]. They are copied, so that no file stays mapped.
    words: Vec<u8>,
    /// Position embeddings plus that of the first token type: [tokens_max, width].
    positions: Vec<f32>,
    embedded_norm: Norm,
    layers: Vec<Layer>,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Embedder {
    /// Loads `config.json` and `model.safetensors` from the folder `dir`.
    ///
    /// # Errors
    /// [`EmbedderError`] when a file is missing, damaged, or not of a BERT model.
    pub fn load(dir: &Path, cpu: Arc<Cpu>) -> Result<Embedder, EmbedderError> {
        let shape = read_shape(&dir.join("config.json"))?;
        let path = dir.join("model.safetensors");
        let io = |source| EmbedderError::Io { file: path.clone(), source };
        let file = Mapping::open(&path).map_err(io)?;
        let read = Parts::read(&file, shape);
        // Checked before the result is used, since a file truncated meanwhile reads as zeros.
        file.check().map_err(|changed| io(std::io::Error::other(changed)))?;
        let Parts { words, positions, embedded_norm, layers } =
            read.map_err(|reason| EmbedderError::Weights { file: path.clone(), reason })?;
        Ok(Embedder { cpu, shape, words, positions, embedded_norm, layers })
    }

    /// Embeds texts, given as token ids with the special tokens, in one pass over the weights. An embedding is the mean
    /// of the last layer over all tokens of its text, scaled to length 1 so that dot products are cosines. It has the
    /// same bits whatever other texts there are.
    ///
    /// # Errors
    /// [`EmbedderError::Length`] for a text with no tokens or too many, [`EmbedderError::Token`] for an id outside the
    /// vocabulary. One such text fails all.
    pub fn embed_all(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedderError> {
        let width = self.shape.width;
        let mut states = Vec::new();
        for text in texts {
            self.check(text)?;
            states.append(&mut self.embed_tokens(text));
        }
        for layer in &self.layers {
            self.attend(layer, texts, &mut states);
            self.feed_forward(layer, &mut states);
        }
        Ok(ranges(texts, width).map(|range| mean_direction(&states[range], width)).collect())
    }

    fn check(&self, token_ids: &[u32]) -> Result<(), EmbedderError> {
        let (tokens, Shape { vocab, tokens_max, .. }) = (token_ids.len(), self.shape);
        if tokens == 0 || tokens > tokens_max {
            return Err(EmbedderError::Length { tokens, tokens_max });
        }
        match token_ids.iter().find(|&&token| token as usize >= vocab) {
            Some(&token) => Err(EmbedderError::Token { token, vocab }),
            None => Ok(()),
        }
    }

    fn embed_tokens(&self, token_ids: &[u32]) -> Vec<f32> {
        let width = self.shape.width;
        let mut states = self.positions[..token_ids.len() * width].to_vec();
        for (row, &token) in states.chunks_exact_mut(width).zip(token_ids) {
            let word = &self.words[token as usize * width * 4..][..width * 4];
            row.iter_mut().zip(floats(word)).for_each(|(x, w)| *x += w);
        }
        self.embedded_norm.apply(&mut states);
        states
    }

    /// Each text's tokens attend to all tokens of that text. The result is added to `states` and normalized.
    fn attend(&self, layer: &Layer, texts: &[&[u32]], states: &mut [f32]) {
        let Layer { query, key, value, attention_output, .. } = layer;
        let [query, key, value] = self.linear(states, [query, key, value]);
        let mut mixed = vec![0.0; states.len()];
        let (width, head_dim) = (self.shape.width, self.shape.width / self.shape.heads);
        for text in ranges(texts, width) {
            let (key, value) = (&key[text.clone()], &value[text.clone()]);
            let rows = query[text.clone()].chunks_exact(width).zip(mixed[text].chunks_exact_mut(width));
            for (row, out) in rows {
                for head in (0..width).step_by(head_dim) {
                    let (query, out) = (&row[head..head + head_dim], &mut out[head..head + head_dim]);
                    attend_head(query, key, value, width, head, out);
                }
            }
        }
        let [out] = self.linear(&mixed, [attention_output]);
        states.iter_mut().zip(out).for_each(|(x, y)| *x += y);
        layer.attention_norm.apply(states);
    }

    /// Applies the feed-forward part, adds the result to `states`, and normalizes.
    fn feed_forward(&self, layer: &Layer, states: &mut [f32]) {
        let [mut wide] = self.linear(states, [&layer.up]);
        wide.iter_mut().for_each(|x| *x = gelu(*x));
        let [out] = self.linear(&wide, [&layer.down]);
        states.iter_mut().zip(out).for_each(|(x, y)| *x += y);
        layer.down_norm.apply(states);
    }

    fn linear<const N: usize>(&self, x: &[f32], of: [&Linear; N]) -> [Vec<f32>; N] {
        let k = of[0].weight.k();
        let mut activations = Activations::new();
        activations.fill(&self.cpu, ActivationSource::Plain(x), k, &of.map(|linear| &linear.weight));
        let mut out = of.map(|linear| vec![0.0; x.len() / k * linear.weight.n()]);
        let mut pairs = of.iter().zip(out.iter_mut());
        let mut outputs: [MatmulOutput<'_>; N] = std::array::from_fn(|_| {
            let (linear, y) = pairs.next().expect("as many outputs as matrices");
            MatmulOutput { w: &linear.weight, bias: Some(&linear.bias), add: false, y }
        });
        matmul(&self.cpu, &activations, &mut outputs);
        out
    }
}

/// The range of each text in rows of `width`.
fn ranges<'a>(texts: &'a [&[u32]], width: usize) -> impl Iterator<Item = Range<usize>> + 'a {
    texts.iter().scan(0, move |end, text| {
        let start = *end;
        *end += text.len() * width;
        Some(start..*end)
    })
}

/// The mean of rows of `width`, scaled to length 1.
fn mean_direction(rows: &[f32], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0_f32; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    mean.iter_mut().for_each(|x| *x /= length);
    mean
}

/// `out` = softmax(query · keysᵀ / √dim) · values, for one head of one token. Heads start at column `start` of `width`.
fn attend_head(query: &[f32], keys: &[f32], values: &[f32], width: usize, start: usize, out: &mut [f32]) {
    let scale = 1.0 / (query.len() as f32).sqrt();
    let rows = keys.chunks_exact(width).map(|row| &row[start..start + query.len()]);
    let mut shares: Vec<f32> =
        rows.map(|key| query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>() * scale).collect();
    let most = shares.iter().copied().fold(f32::MIN, f32::max);
    shares.iter_mut().for_each(|share| *share = (*share - most).exp());
    let total: f32 = shares.iter().sum();
    for (share, row) in shares.iter().zip(values.chunks_exact(width)) {
        let value = &row[start..start + query.len()];
        out.iter_mut().zip(value).for_each(|(o, v)| *o += share / total * v);
    }
}

impl Norm {
    fn apply(&self, rows: &mut [f32]) {
        let width = self.scale.len();
        for row in rows.chunks_exact_mut(width) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
            let inverse = 1.0 / (variance + self.eps).sqrt();
            let terms = self.scale.iter().zip(&self.shift);
            row.iter_mut()
                .zip(terms)
                .for_each(|(x, (scale, shift))| *x = (*x - mean) * inverse * scale + shift);
        }
    }
}

/// x · Φ(x), with erf within 1.5e-7 by Abramowitz and Stegun 7.1.26.
fn gelu(x: f32) -> f32 {
    let z = f64::from(x.abs()) / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = terms.iter().fold(0.0, |sum, term| sum * t + term) * t;
    let erf = (1.0 - polynomial * (-z * z).exp()).copysign(f64::from(x));
    (f64::from(x) * 0.5 * (1.0 + erf)) as f32
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

fn read_shape(file: &Path) -> Result<Shape, EmbedderError> {
    let text = std::fs::read(file).map_err(|source| EmbedderError::Io { file: file.into(), source })?;
    let wrong = |reason: String| EmbedderError::Config { file: file.into(), reason };
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let count = |key: &str| match json[key].as_u64() {
        Some(count @ 1..=10_000_000) => Ok(count as usize),
        _ => Err(wrong(format!("`{key}` is {}", json[key]))),
    };
    let shape = Shape {
        width: count("hidden_size")?,
        layers: count("num_hidden_layers")?,
        heads: count("num_attention_heads")?,
        ffn: count("intermediate_size")?,
        tokens_max: count("max_position_embeddings")?,
        vocab: count("vocab_size")?,
        norm_eps: json["layer_norm_eps"].as_f64().unwrap_or(1e-12) as f32,
    };
    // Relatives of BERT have the same tensors but other positions or layers.
    let family = json["model_type"].as_str().unwrap_or("bert");
    if family != "bert" {
        return Err(wrong(format!("`model_type` is {family}, but only bert is supported")));
    }
    let positions = json["position_embedding_type"].as_str().unwrap_or("absolute");
    if positions != "absolute" {
        return Err(wrong(format!(
            "`position_embedding_type` is {positions}, but only absolute is supported"
        )));
    }
    let fits = shape.width.is_multiple_of(shape.heads)
        && shape.width.is_multiple_of(32)
        && shape.ffn.is_multiple_of(32);
    match json["hidden_act"].as_str() {
        Some("gelu") if fits => Ok(shape),
        Some("gelu") => Err(wrong(format!(
            "widths {} and {} with {} heads are not supported",
            shape.width, shape.ffn, shape.heads
        ))),
        _ => Err(wrong(format!("`hidden_act` is {}, but only gelu is supported", json["hidden_act"]))),
    }
}

/// Prefixes of tensors that can be ignored, with the reason.
const IGNORED: &[(&str, &str)] = &[
    ("embeddings.position_ids", "the numbers 0, 1, 2 and so on"),
    ("pooler.", "for pooling by the first token; embeddings are means"),
    ("cls.", "for predicting masked words"),
];

struct Parts {
    words: Vec<u8>,
    positions: Vec<f32>,
    embedded_norm: Norm,
    layers: Vec<Layer>,
}

impl Parts {
    fn read(file: &[u8], shape: Shape) -> Result<Self, String> {
        let tensors = SafeTensors::deserialize(file).map_err(|error| error.to_string())?;
        let reader = Reader { tensors, shape, names_read: RefCell::default() };
        let Shape { width, tokens_max, vocab, .. } = shape;
        let words = reader.raw("embeddings.word_embeddings.weight", &[vocab, width])?.to_vec();
        let mut positions = reader.vector("embeddings.position_embeddings.weight", &[tokens_max, width])?;
        let types = reader.first_row("embeddings.token_type_embeddings.weight")?;
        for row in positions.chunks_exact_mut(width) {
            row.iter_mut().zip(&types).for_each(|(position, of_type)| *position += of_type);
        }
        let embedded_norm = reader.norm("embeddings.LayerNorm")?;
        let layers = (0..shape.layers).map(|index| reader.layer(index)).collect::<Result<_, _>>()?;
        reader.refuse_unused()?;
        Ok(Self { words, positions, embedded_norm, layers })
    }
}

struct Reader<'a> {
    tensors: SafeTensors<'a>,
    shape: Shape,
    /// Names that were read, without the `bert.` prefix that some files have.
    names_read: RefCell<HashSet<String>>,
}

impl Reader<'_> {
    fn raw(&self, name: &str, shape: &[usize]) -> Result<&[u8], String> {
        self.names_read.borrow_mut().insert(name.to_owned());
        let tensor = self.tensors.tensor(name).or_else(|_| self.tensors.tensor(&format!("bert.{name}")));
        let tensor = tensor.map_err(|_| format!("tensor {name} is missing"))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            let (dtype, found) = (tensor.dtype(), tensor.shape());
            return Err(format!("tensor {name} is {dtype:?} {found:?}, wanted F32 {shape:?}"));
        }
        Ok(tensor.data())
    }

    /// Refuses a file with a tensor that the embedding would ignore.
    fn refuse_unused(&self) -> Result<(), String> {
        let names_read = self.names_read.borrow();
        let used = |name: &str| {
            let name = name.strip_prefix("bert.").unwrap_or(name);
            names_read.contains(name) || IGNORED.iter().any(|(start, _)| name.starts_with(start))
        };
        match self.tensors.names().into_iter().find(|name| !used(name)) {
            Some(name) => Err(format!("tensor {name} would be ignored")),
            None => Ok(()),
        }
    }

    fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        Ok(floats(self.raw(name, shape)?).collect())
    }

    fn first_row(&self, name: &str) -> Result<Vec<f32>, String> {
        let width = self.shape.width;
        // There are one or two token types; sentences use the first.
        let all = self.vector(name, &[2, width]).or_else(|_| self.vector(name, &[1, width]))?;
        Ok(all[..width].to_vec())
    }

    fn norm(&self, name: &str) -> Result<Norm, String> {
        let shape = [self.shape.width];
        Ok(Norm {
            scale: self.vector(&format!("{name}.weight"), &shape)?,
            shift: self.vector(&format!("{name}.bias"), &shape)?,
            eps: self.shape.norm_eps,
        })
    }

    fn linear(&self, name: &str, n: usize, k: usize) -> Result<Linear, String> {
        let raw = self.raw(&format!("{name}.weight"), &[n, k])?;
        let weight = Matrix::pack(Format::F32, n, k, raw).map_err(|error| error.to_string())?;
        Ok(Linear { weight, bias: self.vector(&format!("{name}.bias"), &[n])? })
    }

    fn layer(&self, index: usize) -> Result<Layer, String> {
        let Shape { width, ffn, .. } = self.shape;
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        Ok(Layer {
            query: self.linear(&name("attention.self.query"), width, width)?,
            key: self.linear(&name("attention.self.key"), width, width)?,
            value: self.linear(&name("attention.self.value"), width, width)?,
            attention_output: self.linear(&name("attention.output.dense"), width, width)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            up: self.linear(&name("intermediate.dense"), ffn, width)?,
            down: self.linear(&name("output.dense"), width, ffn)?,
            down_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }
}
