//! The numbers of a decoder, packed for the kernels from the mapped file. Shapes and types are checked before anything is
//! packed; how the weights are used is not known here.

use std::collections::HashMap;

use bandmaster_kernels::formats::Format;
use bandmaster_kernels::matrix::Matrix;

use crate::gguf::{Gguf, TensorInfo};
use crate::load::LoadError;
use crate::packing::Packing;
use crate::spec::Spec;

/// All weights of a decoder.
pub struct Weights {
    /// Where rows of the embedding are read; `None` when they are those of `output`.
    pub embedding: Option<FileRows>,
    /// In the order they are run.
    pub layers: Vec<Layer>,
    /// Scale of the last norm, `width` numbers.
    pub norm: Vec<f32>,
    /// `vocab` rows of `width`.
    pub output: Matrix,
}

/// Weights of one layer.
#[allow(missing_docs)]
pub struct Layer {
    pub attention_norm: Vec<f32>,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    /// Scale of the norm of a head of q, `head_dim` numbers.
    pub q_norm: Option<Vec<f32>>,
    /// As `q_norm`, of k.
    pub k_norm: Option<Vec<f32>>,
    pub attention_output: Matrix,
    pub mlp_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
}

/// A matrix and what is added to its product.
#[allow(missing_docs)]
pub struct Linear {
    pub weight: Matrix,
    pub bias: Option<Vec<f32>>,
}

/// Rows of a matrix that is only looked up, read from the file: its pages are shared with other processes and can be
/// evicted, and packing them would take time for nothing.
pub struct FileRows {
    gguf: Gguf,
    tensor: TensorInfo,
    format: Format,
    row_bytes: usize,
}

impl FileRows {
    /// Writes row `row` to `out`, which is as long as a row.
    pub fn read(&self, row: usize, out: &mut [f32]) {
        let data = self.gguf.data(&self.tensor).expect("the type was checked at load");
        self.format.dequantize(&data[row * self.row_bytes..][..self.row_bytes], out);
    }
}

/// A matrix that the decoder needs: `n` rows of `k`.
pub(crate) struct Wanted {
    pub name: String,
    pub n: usize,
    pub k: usize,
}

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";

impl Spec {
    /// The name of the tensor that is the output matrix.
    fn output_name(&self) -> &'static str {
        if self.tied_embeddings { EMBEDDING } else { OUTPUT }
    }

    /// Every matrix that is multiplied with.
    fn matrices(&self) -> Vec<Wanted> {
        let (width, mlp) = (self.width, self.mlp_width);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let shapes = [
            ("attn_q", q, width),
            ("attn_k", kv, width),
            ("attn_v", kv, width),
            ("attn_output", width, q),
            ("ffn_gate", mlp, width),
            ("ffn_up", mlp, width),
            ("ffn_down", width, mlp),
        ];
        let of_layer =
            |layer| shapes.map(|(part, n, k)| Wanted { name: format!("blk.{layer}.{part}.weight"), n, k });
        let output = Wanted { name: self.output_name().to_owned(), n: self.vocab, k: width };
        (0..self.layers).flat_map(of_layer).chain([output]).collect()
    }
}

/// The tensor called `name`, if it has this shape and a type that can be computed with.
pub(crate) fn checked<'a>(
    gguf: &'a Gguf,
    name: &str,
    shape: &[usize],
) -> Result<(&'a TensorInfo, Format), LoadError> {
    let tensor = gguf.required_tensor(name)?;
    let trimmed = tensor.shape.iter().rposition(|&n| n != 1).map_or(1, |last| last + 1);
    let same = trimmed <= shape.len()
        && shape.iter().enumerate().all(|(i, &n)| tensor.shape.get(i).copied().unwrap_or(1) == n as u64);
    if !same {
        return Err(LoadError::Shape {
            tensor: name.to_owned(),
            wanted: shape.to_vec(),
            found: tensor.shape.clone(),
        });
    }
    let format = Format::from_ggml(tensor.ggml_type)
        .ok_or_else(|| LoadError::Type { tensor: name.to_owned(), found: tensor.type_name() })?;
    Ok((tensor, format))
}

/// Reads a small tensor of `len` numbers.
fn vector(gguf: &Gguf, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
    let (tensor, format) = checked(gguf, name, &[len])?;
    let mut out = vec![0.0; len];
    format.dequantize(gguf.data(tensor)?, &mut out);
    Ok(out)
}

/// Packed matrices by name, taken out one by one.
struct Packed<'a> {
    gguf: &'a Gguf,
    matrices: HashMap<String, Matrix>,
}

impl Packed<'_> {
    fn take(&mut self, name: &str) -> Matrix {
        self.matrices.remove(name).expect("every matrix of the spec was packed, and each is taken once")
    }

    fn layer(&mut self, spec: &Spec, index: usize) -> Result<Layer, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let gguf = self.gguf;
        let numbers = |part: &str, len: usize| vector(gguf, &name(part), len);
        let numbers_if = |there: bool, part, len| there.then(|| numbers(part, len)).transpose();
        Ok(Layer {
            attention_norm: numbers("attn_norm.weight", spec.width)?,
            q: Linear {
                weight: self.take(&name("attn_q.weight")),
                bias: numbers_if(spec.qkv_bias, "attn_q.bias", q)?,
            },
            k: Linear {
                weight: self.take(&name("attn_k.weight")),
                bias: numbers_if(spec.qkv_bias, "attn_k.bias", kv)?,
            },
            v: Linear {
                weight: self.take(&name("attn_v.weight")),
                bias: numbers_if(spec.qkv_bias, "attn_v.bias", kv)?,
            },
            q_norm: numbers_if(spec.qk_norm, "attn_q_norm.weight", spec.head_dim)?,
            k_norm: numbers_if(spec.qk_norm, "attn_k_norm.weight", spec.head_dim)?,
            attention_output: self.take(&name("attn_output.weight")),
            mlp_norm: numbers("ffn_norm.weight", spec.width)?,
            gate: self.take(&name("ffn_gate.weight")),
            up: self.take(&name("ffn_up.weight")),
            down: self.take(&name("ffn_down.weight")),
        })
    }
}

impl Weights {
    /// Packs the weights of `spec` from `gguf`, which is kept open only when rows are looked up in it.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape or type than is needed; nothing was packed then.
    pub(crate) fn load(gguf: Gguf, spec: &Spec, packing: &Packing<'_>) -> Result<Weights, LoadError> {
        let (embedding_tensor, format) = checked(&gguf, EMBEDDING, &[spec.width, spec.vocab])?;
        let embedding_tensor = embedding_tensor.clone();
        let matrices = packing.pack_all(&gguf, &spec.matrices())?;
        let mut packed = Packed { gguf: &gguf, matrices };
        let layers = (0..spec.layers).map(|i| packed.layer(spec, i)).collect::<Result<Vec<_>, _>>()?;
        let output = packed.take(spec.output_name());
        let norm = vector(&gguf, "output_norm.weight", spec.width)?;
        let embedding = (!spec.tied_embeddings).then(|| FileRows {
            row_bytes: format.row_bytes(spec.width),
            tensor: embedding_tensor,
            format,
            gguf,
        });
        Ok(Weights { embedding, layers, norm, output })
    }

    /// Bytes of all matrices and vectors in memory; rows that are read from the file are not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let vector = |v: &Vec<f32>| v.len() * size_of::<f32>();
        let linear = |l: &Linear| l.weight.bytes() + l.bias.as_ref().map_or(0, vector);
        let layer = |l: &Layer| {
            let vectors = [&l.attention_norm, &l.mlp_norm].map(vector).iter().sum::<usize>();
            let linears = [&l.q, &l.k, &l.v].map(linear).iter().sum::<usize>();
            let matrices = [&l.attention_output, &l.gate, &l.up, &l.down];
            vectors + linears + matrices.map(Matrix::bytes).iter().sum::<usize>()
        };
        self.layers.iter().map(layer).sum::<usize>() + vector(&self.norm) + self.output.bytes()
    }
}
