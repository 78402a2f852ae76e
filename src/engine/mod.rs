//! One scheduler for all models: schedule, run, commit. Token ids in, token ids out; text, plans and clocks are not
//! known here.

pub mod request;

pub use request::*;
