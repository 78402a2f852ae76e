//! Bandmaster: a large local planner and several small quantized workers on one batched inference scheduler.
//!
//! Each room is a crate; ARCHITECTURE.md says what each is for and what it does not know.

pub mod cli;

pub use bandmaster_band as band;
pub use bandmaster_bench as bench;
pub use bandmaster_client as client;
pub use bandmaster_engine as engine;
pub use bandmaster_hub as hub;
pub use bandmaster_journal as journal;
pub use bandmaster_orchestrator as orchestrator;
pub use bandmaster_server as server;
pub use bandmaster_text as text;
pub use bandmaster_tools as tools;
