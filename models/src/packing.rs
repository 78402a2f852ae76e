//! Packs matrices from the mapped file on several threads and gives the file's pages back as it goes, so that a model is
//! never in memory twice.

use std::collections::HashMap;

use bandmaster_kernels::formats::Format;
use bandmaster_kernels::matrix::{Matrix, PackError, Packer, Slab};
use rayon::ThreadPool;
use rayon::iter::{ParallelBridge, ParallelIterator};

use crate::gguf::{Gguf, TensorInfo};
use crate::load::{LoadError, LoadOptions, Progress};
use crate::weights::{Wanted, checked};

/// Bytes of the file that one task packs: few enough to share out evenly, enough that starting it costs nothing.
const SLAB_BYTES: usize = 1 << 20;
/// Rows of a panel of packed weights.
const PANEL_ROWS: usize = 16;

/// Threads and settings for packing.
pub(crate) struct Packing<'a> {
    threads: ThreadPool,
    exact: bool,
    progress: Option<Progress<'a>>,
}

/// A matrix whose shape and type are known to be right.
struct Job<'a> {
    tensor: &'a TensorInfo,
    format: Format,
    k: usize,
    packer: Packer,
}

impl<'a> Packing<'a> {
    pub(crate) fn new(options: &LoadOptions<'a>) -> Result<Packing<'a>, LoadError> {
        let count = options.cpu.threads();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("pack-{index}"))
            .build()
            .map_err(|error| LoadError::System {
                what: format!("start {count} threads"),
                source: std::io::Error::other(error),
            })?;
        Ok(Packing { threads, exact: options.exact, progress: options.progress })
    }

    /// Packs all of `wanted`, the largest first: as long as much of the file is mapped, little is packed.
    pub(crate) fn pack_all(
        &self,
        gguf: &Gguf,
        wanted: &[Wanted],
    ) -> Result<HashMap<String, Matrix>, LoadError> {
        let mut jobs = wanted.iter().map(|wanted| self.job(gguf, wanted)).collect::<Result<Vec<_>, _>>()?;
        jobs.sort_by_key(|job| std::cmp::Reverse(job.tensor.bytes));
        let bytes: u64 = jobs.iter().map(|job| job.tensor.bytes).sum();
        let mut bytes_done = 0;
        let mut matrices = HashMap::with_capacity(jobs.len());
        for job in jobs {
            let Job { tensor, .. } = job;
            matrices.insert(tensor.name.clone(), self.pack(gguf, job)?);
            bytes_done += tensor.bytes;
            if let Some(progress) = self.progress {
                progress((bytes_done as f64 / bytes as f64) as f32);
            }
        }
        Ok(matrices)
    }

    /// Checks a tensor and makes room for it; pages are taken when they are packed.
    fn job<'g>(&self, gguf: &'g Gguf, wanted: &Wanted) -> Result<Job<'g>, LoadError> {
        let (tensor, format) = checked(gguf, &wanted.name, &[wanted.k, wanted.n])?;
        let packed_format = if self.exact { Format::F32 } else { format };
        let packer =
            Matrix::packer(packed_format, wanted.n, wanted.k).map_err(|source| pack_error(tensor, source))?;
        Ok(Job { tensor, format, k: wanted.k, packer })
    }

    fn pack(&self, gguf: &Gguf, job: Job<'_>) -> Result<Matrix, LoadError> {
        let Job { tensor, format, k, mut packer } = job;
        let data = gguf.data(tensor)?;
        let row_bytes = format.row_bytes(k);
        let panels_each = (SLAB_BYTES / (row_bytes * PANEL_ROWS)).max(1);
        let pack = |slab: Slab<'_>| {
            let rows = slab.rows();
            let raw = &data[rows.start * row_bytes..rows.end * row_bytes];
            if self.exact { slab.pack(&exact_bytes(format, k, raw)) } else { slab.pack(raw) }
        };
        let packed = {
            let mut slabs = packer.slabs(panels_each);
            match slabs.len() {
                0 | 1 => slabs.try_for_each(pack),
                _ => self.threads.install(|| slabs.par_bridge().try_for_each(pack)),
            }
        };
        packed.map_err(|source| pack_error(tensor, source))?;
        gguf.release(tensor);
        Ok(packer.finish())
    }
}

fn pack_error(tensor: &TensorInfo, source: PackError) -> LoadError {
    LoadError::Pack { tensor: tensor.name.clone(), source }
}

/// Whole rows of `k` weights as the bytes of F32 rows.
fn exact_bytes(format: Format, k: usize, raw: &[u8]) -> Vec<u8> {
    let mut row = vec![0.0; k];
    let mut bytes = Vec::with_capacity(raw.len() / format.row_bytes(k) * k * size_of::<f32>());
    for raw in raw.chunks_exact(format.row_bytes(k)) {
        format.dequantize(raw, &mut row);
        bytes.extend(row.iter().flat_map(|weight| weight.to_le_bytes()));
    }
    bytes
}
