//! The naive twin of every op: obviously right, never fast.
