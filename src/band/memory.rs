//! How much memory an engine may take for a band.

use bandmaster_hub::{Hub, LocalModel, Role, format_memory_size, memory_estimate};

use super::error::BandError;
use super::files::BandFiles;

/// Default limit of the KV cache for a whole band: about 50,000 tokens of the default band.
const KV_BYTES_DEFAULT_MAX: u64 = 2 << 30;
/// With less, a few sequences would keep evicting each other.
const KV_BYTES_MIN: u64 = 128 << 20;
/// Memory for the program itself, scratch buffers and tokenizers.
const OVERHEAD_BYTES: u64 = 250 << 20;

/// The memory that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvailableMemory {
    /// The limit for weights and KV cache, from `--memory` or its default.
    pub allowed_bytes: u64,
    /// Whether the user set that limit, and so can raise it.
    pub is_set: bool,
    /// What is free on the machine now; 0 where that is not known.
    pub free_bytes: u64,
}

impl AvailableMemory {
    fn bytes(self) -> u64 {
        if self.free_bytes > 0 { self.allowed_bytes.min(self.free_bytes) } else { self.allowed_bytes }
    }
}

/// Memory limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimits {
    /// For weights and KV cache of all models.
    pub bytes: u64,
    /// Limit of the KV cache, part of `bytes`.
    pub kv_bytes: u64,
    /// A sentence for the user if memory is short.
    pub note: Option<String>,
}

/// The engine's memory limits for a band. Models that don't fit together take turns in memory, as long as each fits
/// alone.
///
/// # Errors
/// [`BandError::TooLarge`] if the band can't fit.
pub fn limits_for_band(
    available: AvailableMemory,
    hub: &Hub,
    files: &BandFiles,
) -> Result<MemoryLimits, BandError> {
    let others_bytes = files.embeddings.as_ref().map_or(0, |model| model.memory_bytes);
    limits_for_models(available, hub, &files.writers(), others_bytes)
}

/// The same for `writers` beside other models that take `others_bytes`.
///
/// # Errors
/// The same as of [`limits_for_band`].
pub fn limits_for_models(
    available: AvailableMemory,
    hub: &Hub,
    writers: &[&LocalModel],
    others_bytes: u64,
) -> Result<MemoryLimits, BandError> {
    let needed: u64 = others_bytes + writers.iter().map(|model| model.memory_bytes).sum::<u64>();
    let (allowed, usable) = (available.allowed_bytes, available.bytes());
    let weights = |model: &&LocalModel| model.bytes + model.bytes / 20;
    let room = usable.saturating_sub(OVERHEAD_BYTES + others_bytes);
    let largest = writers.iter().map(weights).max().unwrap_or(0);
    let all: u64 = writers.iter().map(weights).sum();
    let mut note = None;
    if needed > usable {
        let parts =
            writers.iter().map(|model| format!("{} {}", model.name, format_memory_size(model.memory_bytes)));
        let parts = parts.collect::<Vec<_>>().join(", ");
        let limit = if allowed <= usable { "it may take only" } else { "the free memory is only" };
        let shortage = format!(
            "the band needs about {} ({parts}), but {limit} {}",
            format_memory_size(needed),
            format_memory_size(usable)
        );
        if largest + KV_BYTES_MIN > room {
            let raise = if available.is_set && allowed <= usable { "raise --memory or " } else { "" };
            return Err(BandError::TooLarge {
                shortage,
                choose: format!("{raise}{}", smaller_models(hub, usable)),
            });
        }
        let what = if all + KV_BYTES_MIN > room {
            "its models take turns in memory"
        } else {
            "the KV cache is smaller"
        };
        note = Some(format!("{shortage}: {what}"));
    }
    // Even if the estimates say otherwise, leave room for a minimal cache beside the largest model.
    let bytes = room.max(largest + KV_BYTES_MIN).min(all + KV_BYTES_DEFAULT_MAX);
    let kv_bytes = bytes.saturating_sub(largest).clamp(KV_BYTES_MIN, KV_BYTES_DEFAULT_MAX);
    Ok(MemoryLimits { bytes, kv_bytes, note })
}

/// The memory limits of a server's engine: everything available, because any model may be requested.
///
/// # Errors
/// [`BandError::TooLittleMemory`] if that is too little for any model.
pub fn limits_for_server(available: AvailableMemory) -> Result<MemoryLimits, BandError> {
    let usable_bytes = available.bytes();
    let bytes = usable_bytes.saturating_sub(OVERHEAD_BYTES);
    if bytes < 2 * KV_BYTES_MIN {
        return Err(BandError::TooLittleMemory { usable_bytes });
    }
    let kv_bytes = (bytes / 2).clamp(KV_BYTES_MIN, KV_BYTES_DEFAULT_MAX);
    Ok(MemoryLimits { bytes, kv_bytes, note: None })
}

/// Advice that names the largest installed models that would fit alone.
fn smaller_models(hub: &Hub, bytes: u64) -> String {
    let mut fitting = hub.installed();
    fitting.retain(|model| {
        matches!(model.role, Role::Planner | Role::Worker) && memory_estimate(model) <= bytes
    });
    fitting.sort_by_key(|model| std::cmp::Reverse(model.bytes));
    let named = fitting
        .iter()
        .take(3)
        .map(|model| format!("{} needs {}", model.name, format_memory_size(memory_estimate(model))));
    match named.collect::<Vec<_>>().join(", ") {
        named if named.is_empty() => {
            "choose a smaller model with --planner (none that fits is installed)".to_owned()
        }
        named => format!("choose a smaller model with --planner ({named})"),
    }
}
