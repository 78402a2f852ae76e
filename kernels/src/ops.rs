//! Row-wise ops: norm, rope, silu-mul.
