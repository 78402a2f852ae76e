//! A decoder's weights, packed for the kernels from the mapped file. Shapes and types are checked before anything is
//! packed. How the weights are used is not known here.

use std::collections::HashMap;
use std::sync::Arc;

use bandmaster_kernels::{Format, Matrix};

use crate::error::LoadError;
use crate::gguf::{Gguf, TensorInfo};
use crate::mapping::{FileChanged, Mapping};
use crate::packed::PackedMatrices;
use crate::packing::Packing;
use crate::spec::Spec;
use crate::tensors::{EMBEDDING, OUTPUT_NORM, checked};

/// All weights of a decoder.
pub(crate) struct Weights {
    /// Rows of the embedding, read from the file; `None` when they are those of `output`.
    pub embedding: Option<FileRows>,
    /// The layers in the order they run.
    pub layers: Vec<Layer>,
    /// Scale of the last norm, `width` numbers.
    pub norm: Vec<f32>,
    /// The output matrix, `vocab` rows of `width`.
    pub output: Matrix,
    /// The file of packed matrices, if the matrices are mapped from one.
    packed_file: Option<Arc<Mapping>>,
}

/// The weights of one layer.
pub(crate) struct Layer {
    pub attention_norm: Vec<f32>,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub attention_output: Linear,
    pub mlp_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
}

/// A matrix and the bias that is added to its product.
pub(crate) struct Linear {
    pub weight: Matrix,
    pub bias: Option<Vec<f32>>,
}

/// Rows of a matrix that is only looked up, read from the file. Its pages are shared with other processes and can be
/// evicted, and it need not be packed.
pub(crate) struct FileRows {
    gguf: Gguf,
    tensor: TensorInfo,
    format: Format,
    row_bytes: usize,
}

impl FileRows {
    /// Writes row `row` to `out`, which must be as long as a row.
    pub(crate) fn read(&self, row: usize, out: &mut [f32]) {
        let data = self.gguf.data(&self.tensor).expect("the type was checked at load");
        self.format.dequantize(&data[row * self.row_bytes..][..self.row_bytes], out);
    }
}

/// Reads a vector of `len` numbers.
fn vector(gguf: &Gguf, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
    let (tensor, format) = checked(gguf, name, &[len])?;
    let mut out = vec![0.0; len];
    format.dequantize(gguf.data(tensor)?, &mut out);
    Ok(out)
}

/// Tensors by name; each is taken out once.
struct Parts {
    matrices: HashMap<String, Matrix>,
    vectors: HashMap<String, Vec<f32>>,
}

impl Parts {
    fn matrix(&mut self, name: &str) -> Matrix {
        self.matrices.remove(name).expect("every matrix of the spec was packed, and each is taken once")
    }

    fn vector(&mut self, name: &str) -> Vec<f32> {
        self.vectors.remove(name).expect("every vector of the spec was read, and each is taken once")
    }

    /// Takes `blk.N.PART.weight`, and `blk.N.PART.bias` if there is one.
    fn linear(&mut self, layer: usize, part: &str) -> Linear {
        Linear {
            weight: self.matrix(&format!("blk.{layer}.{part}.weight")),
            bias: self.vectors.remove(&format!("blk.{layer}.{part}.bias")),
        }
    }

    fn layer(&mut self, index: usize) -> Layer {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        Layer {
            attention_norm: self.vector(&name("attn_norm")),
            q: self.linear(index, "attn_q"),
            k: self.linear(index, "attn_k"),
            v: self.linear(index, "attn_v"),
            attention_output: self.linear(index, "attn_output"),
            mlp_norm: self.vector(&name("ffn_norm")),
            gate: self.matrix(&name("ffn_gate")),
            up: self.matrix(&name("ffn_up")),
            down: self.matrix(&name("ffn_down")),
        }
    }
}

impl Weights {
    /// Packs the weights of `spec` from `gguf`, which stays open only if embedding rows are looked up in it.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing, has the wrong shape or type, or would not be used. Nothing was packed
    /// then.
    pub(crate) fn load(gguf: Gguf, spec: &Spec, packing: &Packing<'_>) -> Result<Weights, LoadError> {
        let (embedding_tensor, format) = checked(&gguf, EMBEDDING, &[spec.width, spec.vocab])?;
        let embedding_tensor = embedding_tensor.clone();
        let read = |(name, len): (String, usize)| vector(&gguf, &name, len).map(|numbers| (name, numbers));
        let vectors = spec.vectors().into_iter().map(read).collect::<Result<_, _>>()?;
        spec.refuse_unused(&gguf)?;
        let PackedMatrices { matrices, file } = packing.pack_all(&gguf, &spec.matrices())?;
        let mut parts = Parts { matrices, vectors };
        let layers = (0..spec.layers).map(|index| parts.layer(index)).collect();
        let output = parts.matrix(spec.output_name());
        let norm = parts.vector(OUTPUT_NORM);
        debug_assert!(parts.matrices.is_empty() && parts.vectors.is_empty(), "what is read is used");
        gguf.check()?;
        let embedding = (!spec.tied_embeddings).then(|| FileRows {
            row_bytes: format.row_bytes(spec.width),
            tensor: embedding_tensor,
            format,
            gguf,
        });
        Ok(Weights { embedding, layers, norm, output, packed_file: file })
    }

    /// Fails if a file that weights are still read from was changed.
    ///
    /// # Errors
    /// [`FileChanged`] names the file. What was computed since the last check can't be trusted.
    pub(crate) fn check(&self) -> Result<(), FileChanged> {
        self.packed_file.as_ref().map_or(Ok(()), |file| file.check())?;
        self.embedding.as_ref().map_or(Ok(()), |rows| rows.gguf.check())
    }

    /// Bytes of all matrices and vectors, without rows that are read from the file.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        let vector = |v: &Vec<f32>| v.len() * size_of::<f32>();
        let linear = |l: &Linear| l.weight.bytes() + l.bias.as_ref().map_or(0, vector);
        let layer = |l: &Layer| {
            let vectors = [&l.attention_norm, &l.mlp_norm].map(vector).iter().sum::<usize>();
            let linears = [&l.q, &l.k, &l.v, &l.attention_output].map(linear).iter().sum::<usize>();
            let matrices = [&l.gate, &l.up, &l.down];
            vectors + linears + matrices.map(Matrix::bytes).iter().sum::<usize>()
        };
        self.layers.iter().map(layer).sum::<usize>() + vector(&self.norm) + self.output.bytes()
    }
}

#[cfg(test)]
mod tests {
    use bandmaster_kernels::MatrixShape;

    use super::*;
    use crate::LoadOptions;
    use crate::tiny::{TinyShape, gguf_bytes};

    #[test]
    fn bytes_count_every_tensor_that_the_spec_asks_for() {
        for shape in [TinyShape::llama(), TinyShape::qwen2()] {
            let open = || Gguf::from_bytes(gguf_bytes(2, &shape)).unwrap();
            let (gguf, cpu) = (open(), Arc::new(bandmaster_kernels::Cpu::new(1)));
            let spec = Spec::from_gguf(&gguf).unwrap();
            let matrices = spec.matrices().into_iter().map(|matrix| {
                let (_, format) = checked(&gguf, &matrix.name, &[matrix.k, matrix.n]).unwrap();
                MatrixShape::new(format, matrix.n, matrix.k).unwrap().packed_bytes()
            });
            let vectors = spec.vectors().into_iter().map(|(_, len)| len * size_of::<f32>());
            let expected = matrices.chain(vectors).sum::<usize>();
            let packing = Packing::new(&LoadOptions::new(cpu, 1 << 20)).unwrap();
            assert_eq!(Weights::load(open(), &spec, &packing).unwrap().bytes(), expected);
        }
    }
}
