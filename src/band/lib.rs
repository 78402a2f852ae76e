//! From model names to a band that can be asked: finds its files, decides how much memory it may take, and loads it into
//! an engine. What was typed, what is shown meanwhile, and who asks the band are not known here.

#![warn(unreachable_pub)]

mod error;
mod files;
mod load;
mod memory;

pub use bandmaster_models::KvType;
pub use bandmaster_models::heap::give_back as return_heap_memory;
pub use error::BandError;
pub use files::{BandFiles, find_files};
pub use load::{
    LoadProgress, LoadSettings, LoadedBand, Loader, assemble_band, engine_config, keep_vectors, load_band,
};
pub use memory::{AvailableMemory, MemoryLimits, limits_for_band, limits_for_models, limits_for_server};
