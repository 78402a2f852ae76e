//! What SQL may do with the tables: read them, within limits, with functions that are exact and give the same result on
//! every day. Where tables come from is not known here.

mod compared;
mod exact;
mod functions;
mod guard;
#[cfg(test)]
mod tests;
mod tokens;
mod trace;

pub(super) use compared::compared;
pub(super) use exact::decimal_of;
pub(super) use functions::add_functions;
pub(super) use guard::{Guard, Interruption, STATEMENT_BYTES_MAX, protect, unprotect};
pub(super) use trace::{Traced, traced};

pub use compared::Compared;
pub use guard::Limits;
