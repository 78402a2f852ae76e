//! Row-wise ops.
