//! A naive reference for every op: obviously correct, and slow.

pub mod attention;
pub mod matmul;
pub mod ops;
