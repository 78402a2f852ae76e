//! Follows what the lines of several small files share: a request id stands in a log beside a host, the host in a table
//! beside a team, the team in a list beside a phone number. Who asks, and what is made of the lines, is not known here.
//!
//! 1. `records.rs` reads a file as records, one for each row, entry or section, or finds that it is prose.
//! 2. `words.rs` compares values, whatever their case and punctuation.
//! 3. `trail.rs` begins with the goal and the sentences of the prose, and takes every record that they or the records
//!    taken so far name by a value that stands in no other record of its file. `chain.rs` lists the ways through them.

mod chain;
mod link;
mod records;
#[cfg(test)]
mod tests;
mod trail;
mod words;

pub use chain::Chain;
pub use link::{Link, Sentence};
pub use records::Record;
pub use trail::{Trail, follow};
