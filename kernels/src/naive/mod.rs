//! A naive reference for every op: simple enough to be obviously correct, and slow.

pub mod attention;
pub mod matmul;
pub mod ops;
