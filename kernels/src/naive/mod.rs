//! A naive reference for every op: obviously correct, and slow.

pub(crate) mod attention;
pub(crate) mod matmul;
pub(crate) mod ops;
