//! Packs matrices from the mapped file on several threads and gives the file's pages back as it goes, so that a model is
//! never in memory twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bandmaster_kernels::formats::Format;
use bandmaster_kernels::matrix::Matrix;

use crate::gguf::{Gguf, TensorInfo};
use crate::load::{LoadError, Progress};
use crate::weights::{Wanted, checked};

/// Bytes of the file that one task packs: small enough to share out evenly, large enough that starting it costs nothing.
const SLAB_BYTES: usize = 1 << 20;
