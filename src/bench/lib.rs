//! Measures models, servers and plans, and prints the results. A result is one struct with three renderings: JSON, a
//! table and Markdown. Flags, files and the catalog are not known here.

pub mod accuracy;
pub mod compare;
pub mod energy;
pub mod limits;
pub mod machine;
pub mod measure;
pub mod origin;
pub mod remote;
pub mod report;
pub mod row;
pub mod serve;
pub mod words;
pub mod workflow;
pub mod workload;

#[cfg(test)]
mod tests;
