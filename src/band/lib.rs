//! From model names to a band that can be asked: finds its files, decides how much memory it may take, and loads it into
//! an engine. What was typed, what is shown meanwhile, and who asks the band are not known here.

mod error;
mod files;
mod load;
mod memory;

pub use error::BandError;
pub use files::{BandFiles, find};
pub use load::{LoadSettings, Loaded, Loader, Report, assemble, engine_config, load};
pub use memory::{Available, Memory, memory, memory_for, memory_to_serve};
