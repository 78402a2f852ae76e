//! Paged attention: the query heads of a kv head times the query tokens are the rows of a small matmul.
