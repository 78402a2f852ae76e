//! The naive twin of every op: obviously right, never fast.

pub mod attention;
pub mod matmul;
pub mod ops;
