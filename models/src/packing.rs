//! Packs matrices from the mapped file on several threads. It gives the file's pages back as it goes, so that a model
//! is never in memory twice. If a packed form lies beside the file, that is used instead.

use std::collections::HashMap;

use bandmaster_kernels::formats::Format;
use bandmaster_kernels::matrix::{Matrix, PackError, Shape, Slab};
use rayon::ThreadPool;
use rayon::iter::{ParallelBridge, ParallelIterator};

use crate::error::LoadError;
use crate::gguf::{Gguf, TensorInfo};
use crate::options::{LoadOptions, Progress};
use crate::packed::{self, Draft, Entry, Packed};
use crate::tensors::{Wanted, checked};

/// Bytes of the file per task: small enough to balance the load, large enough to make the start of a task negligible.
const SLAB_BYTES: usize = 1 << 20;
/// Rows per panel of packed weights.
const PANEL_ROWS: usize = 16;

pub(crate) struct Packing<'a> {
    threads: ThreadPool,
    exact: bool,
    keep: bool,
    progress: Option<Progress<'a>>,
}

/// A matrix whose shape and type have been checked.
struct Job<'a> {
    tensor: &'a TensorInfo,
    format: Format,
    k: usize,
    shape: Shape,
}

/// Lowers this thread's priority: loading a model must not halve the speed of those that are computing.
fn yield_to_others() {
    // Only Linux has a niceness per thread; elsewhere it would apply to the whole process. If it is refused, loading
    // slows others a little more.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 19);
}

impl<'a> Packing<'a> {
    pub(crate) fn new(options: &LoadOptions<'a>) -> Result<Packing<'a>, LoadError> {
        let count = options.cpu.threads();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("pack-{index}"))
            .start_handler(|_| yield_to_others())
            .build()
            .map_err(|error| LoadError::System {
                what: format!("start {count} threads"),
                source: std::io::Error::other(error),
            })?;
        let keep = options.keep_packed && !options.exact;
        Ok(Packing { threads, exact: options.exact, keep, progress: options.progress })
    }

    /// Packs all of `wanted`, the largest first: while most of the file is still mapped, little should be packed.
    pub(crate) fn pack_all(&self, gguf: &Gguf, wanted: &[Wanted]) -> Result<Packed, LoadError> {
        let mut jobs = wanted.iter().map(|wanted| self.job(gguf, wanted)).collect::<Result<Vec<_>, _>>()?;
        jobs.sort_by_key(|job| std::cmp::Reverse(job.tensor.bytes));
        if !self.keep {
            return self.pack_in_memory(gguf, &jobs);
        }
        let entries: Vec<Entry> =
            jobs.iter().map(|job| Entry { name: job.tensor.name.clone(), shape: job.shape }).collect();
        if let Some(packed) = packed::open(gguf, &entries, &self.threads) {
            if let Some(progress) = self.progress {
                progress(1.0);
            }
            return Ok(packed);
        }
        match Draft::new(gguf, entries) {
            Some(draft) => self.pack_to_file(gguf, &jobs, draft),
            None => self.pack_in_memory(gguf, &jobs),
        }
    }

    fn pack_in_memory(&self, gguf: &Gguf, jobs: &[Job<'_>]) -> Result<Packed, LoadError> {
        let mut matrices = HashMap::with_capacity(jobs.len());
        self.each(jobs, |_, job| {
            let pack_error = |source| pack_error(job.tensor, source);
            let mut packer =
                Matrix::packer(self.packed_format(job.format), job.n(), job.k).map_err(pack_error)?;
            self.pack(gguf, job, packer.slabs(panels_each(job)))?;
            matrices.insert(job.tensor.name.clone(), packer.finish());
            Ok(())
        })?;
        Ok(Packed { matrices, file: None })
    }

    fn pack_to_file(&self, gguf: &Gguf, jobs: &[Job<'_>], mut draft: Draft) -> Result<Packed, LoadError> {
        let packed = self.each(jobs, |index, job| {
            self.pack(gguf, job, job.shape.slabs(draft.room(index), panels_each(job)))
        });
        // A packed form of a file that changed meanwhile must not be kept.
        match packed.and_then(|()| gguf.check().map_err(LoadError::from)) {
            Ok(()) => match draft.finish(&self.threads) {
                Some(packed) => Ok(packed),
                None => self.pack_in_memory(gguf, jobs),
            },
            Err(error) => {
                draft.discard();
                Err(error)
            }
        }
    }

    /// Runs each job in order and reports progress.
    fn each<'g>(
        &self,
        jobs: &[Job<'g>],
        mut pack: impl FnMut(usize, &Job<'g>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let bytes: u64 = jobs.iter().map(|job| job.tensor.bytes).sum();
        let mut bytes_done = 0;
        for (index, job) in jobs.iter().enumerate() {
            pack(index, job)?;
            bytes_done += job.tensor.bytes;
            if let Some(progress) = self.progress {
                progress((bytes_done as f64 / bytes as f64) as f32);
            }
        }
        Ok(())
    }

    fn packed_format(&self, format: Format) -> Format {
        if self.exact { Format::F32 } else { format }
    }

    fn job<'g>(&self, gguf: &'g Gguf, wanted: &Wanted) -> Result<Job<'g>, LoadError> {
        let (tensor, format) = checked(gguf, &wanted.name, &[wanted.k, wanted.n])?;
        let shape = Shape::new(self.packed_format(format), wanted.n, wanted.k)
            .map_err(|source| pack_error(tensor, source))?;
        Ok(Job { tensor, format, k: wanted.k, shape })
    }

    fn pack<'s>(
        &self,
        gguf: &Gguf,
        job: &Job<'_>,
        mut slabs: impl ExactSizeIterator<Item = Slab<'s>> + Send,
    ) -> Result<(), LoadError> {
        let data = gguf.data(job.tensor)?;
        let row_bytes = job.format.row_bytes(job.k);
        let pack = |slab: Slab<'_>| {
            let rows = slab.rows();
            let raw = &data[rows.start * row_bytes..rows.end * row_bytes];
            if self.exact { slab.pack(&exact_bytes(job.format, job.k, raw)) } else { slab.pack(raw) }
        };
        let packed = match slabs.len() {
            0 | 1 => slabs.try_for_each(pack),
            _ => self.threads.install(|| slabs.par_bridge().try_for_each(pack)),
        };
        packed.map_err(|source| pack_error(job.tensor, source))?;
        gguf.release(job.tensor);
        Ok(())
    }
}

impl Job<'_> {
    fn n(&self) -> usize {
        self.tensor.elements() as usize / self.k
    }
}

fn panels_each(job: &Job<'_>) -> usize {
    (SLAB_BYTES / (job.format.row_bytes(job.k) * PANEL_ROWS)).max(1)
}

fn pack_error(tensor: &TensorInfo, source: PackError) -> LoadError {
    LoadError::Pack { tensor: tensor.name.clone(), source }
}

/// Converts whole rows of `k` weights to the bytes of F32 rows.
fn exact_bytes(format: Format, k: usize, raw: &[u8]) -> Vec<u8> {
    let mut row = vec![0.0; k];
    let mut bytes = Vec::with_capacity(raw.len() / format.row_bytes(k) * k * size_of::<f32>());
    for raw in raw.chunks_exact(format.row_bytes(k)) {
        format.dequantize(raw, &mut row);
        bytes.extend(row.iter().flat_map(|weight| weight.to_le_bytes()));
    }
    bytes
}
