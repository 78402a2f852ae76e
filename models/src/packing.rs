//! Packs matrices from the mapped file on several threads. It gives the file's pages back as it goes, so that a model
//! is never in memory twice. If a packed form lies beside the file, that is used instead.

use std::collections::HashMap;

use bandmaster_kernels::{Format, Matrix, MatrixShape, PackError, Slab};
use rayon::ThreadPool;
use rayon::iter::{ParallelBridge, ParallelIterator};

use crate::error::LoadError;
use crate::gguf::{Gguf, TensorInfo};
use crate::options::{LoadOptions, Progress};
use crate::packed::{self, Entry, PackedMatrices, PackedWriter};
use crate::tensors::{MatrixInfo, checked};

/// Bytes of the file per task: small enough to balance the load, large enough to make the start of a task negligible.
const SLAB_BYTES: usize = 1 << 20;
/// Rows per panel of packed weights.
const PANEL_ROWS: usize = 16;

pub(crate) struct Packing<'a> {
    threads: ThreadPool,
    exact: bool,
    keep_packed: bool,
    progress: Option<Progress<'a>>,
}

/// A matrix whose shape and type have been checked.
struct PackTask<'a> {
    tensor: &'a TensorInfo,
    format: Format,
    k: usize,
    shape: MatrixShape,
}

/// Lowers this thread's priority: loading a model must not halve the speed of those that are computing.
fn lower_priority() {
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
            .start_handler(|_| lower_priority())
            .build()
            .map_err(|error| LoadError::System {
                what: format!("start {count} threads"),
                source: std::io::Error::other(error),
            })?;
        let keep_packed = options.keep_packed && !options.exact;
        Ok(Packing { threads, exact: options.exact, keep_packed, progress: options.progress })
    }

    /// Packs all of `wanted`, the largest first: while most of the file is still mapped, little should be packed.
    pub(crate) fn pack_all(&self, gguf: &Gguf, wanted: &[MatrixInfo]) -> Result<PackedMatrices, LoadError> {
        let mut tasks = wanted.iter().map(|wanted| self.task(gguf, wanted)).collect::<Result<Vec<_>, _>>()?;
        tasks.sort_by_key(|task| std::cmp::Reverse(task.tensor.bytes));
        if !self.keep_packed {
            return self.pack_in_memory(gguf, &tasks);
        }
        let entries: Vec<Entry> =
            tasks.iter().map(|task| Entry { name: task.tensor.name.clone(), shape: task.shape }).collect();
        if let Some(packed) = packed::open(gguf, &entries, &self.threads) {
            if let Some(progress) = self.progress {
                progress(1.0);
            }
            return Ok(packed);
        }
        match PackedWriter::new(gguf, entries) {
            Some(writer) => self.pack_to_file(gguf, &tasks, writer),
            None => self.pack_in_memory(gguf, &tasks),
        }
    }

    fn pack_in_memory(&self, gguf: &Gguf, tasks: &[PackTask<'_>]) -> Result<PackedMatrices, LoadError> {
        let mut matrices = HashMap::with_capacity(tasks.len());
        self.each(tasks, |_, task| {
            let pack_error = |source| pack_error(task.tensor, source);
            let mut packer =
                Matrix::packer(self.packed_format(task.format), task.n(), task.k).map_err(pack_error)?;
            self.pack(gguf, task, packer.slabs(panels_each(task)))?;
            matrices.insert(task.tensor.name.clone(), packer.finish());
            Ok(())
        })?;
        Ok(PackedMatrices { matrices, file: None })
    }

    fn pack_to_file(
        &self,
        gguf: &Gguf,
        tasks: &[PackTask<'_>],
        mut writer: PackedWriter,
    ) -> Result<PackedMatrices, LoadError> {
        let packed = self.each(tasks, |index, task| {
            self.pack(gguf, task, task.shape.slabs(writer.matrix_bytes(index), panels_each(task)))
        });
        // A packed form of a file that changed meanwhile must not be kept.
        match packed.and_then(|()| gguf.check().map_err(LoadError::from)) {
            Ok(()) => match writer.finish(&self.threads) {
                Some(packed) => Ok(packed),
                None => self.pack_in_memory(gguf, tasks),
            },
            Err(error) => {
                writer.discard();
                Err(error)
            }
        }
    }

    /// Runs each task in order and reports progress.
    fn each<'g>(
        &self,
        tasks: &[PackTask<'g>],
        mut pack: impl FnMut(usize, &PackTask<'g>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let bytes: u64 = tasks.iter().map(|task| task.tensor.bytes).sum();
        let mut bytes_done = 0;
        for (index, task) in tasks.iter().enumerate() {
            pack(index, task)?;
            bytes_done += task.tensor.bytes;
            if let Some(progress) = self.progress {
                progress((bytes_done as f64 / bytes as f64) as f32);
            }
        }
        Ok(())
    }

    fn packed_format(&self, format: Format) -> Format {
        if self.exact { Format::F32 } else { format }
    }

    fn task<'g>(&self, gguf: &'g Gguf, wanted: &MatrixInfo) -> Result<PackTask<'g>, LoadError> {
        let (tensor, format) = checked(gguf, &wanted.name, &[wanted.k, wanted.n])?;
        let shape = MatrixShape::new(self.packed_format(format), wanted.n, wanted.k)
            .map_err(|source| pack_error(tensor, source))?;
        Ok(PackTask { tensor, format, k: wanted.k, shape })
    }

    fn pack<'s>(
        &self,
        gguf: &Gguf,
        task: &PackTask<'_>,
        mut slabs: impl ExactSizeIterator<Item = Slab<'s>> + Send,
    ) -> Result<(), LoadError> {
        let data = gguf.data(task.tensor)?;
        let row_bytes = task.format.row_bytes(task.k);
        let pack = |slab: Slab<'_>| {
            let rows = slab.rows();
            let raw = &data[rows.start * row_bytes..rows.end * row_bytes];
            if self.exact { slab.pack(&exact_bytes(task.format, task.k, raw)) } else { slab.pack(raw) }
        };
        let packed = match slabs.len() {
            0 | 1 => slabs.try_for_each(pack),
            _ => self.threads.install(|| slabs.par_bridge().try_for_each(pack)),
        };
        packed.map_err(|source| pack_error(task.tensor, source))?;
        gguf.release(task.tensor);
        Ok(())
    }
}

impl PackTask<'_> {
    fn n(&self) -> usize {
        self.tensor.elements() as usize / self.k
    }
}

fn panels_each(task: &PackTask<'_>) -> usize {
    (SLAB_BYTES / (task.format.row_bytes(task.k) * PANEL_ROWS)).max(1)
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
