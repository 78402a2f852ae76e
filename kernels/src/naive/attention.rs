//! Attention, one query row at a time.
