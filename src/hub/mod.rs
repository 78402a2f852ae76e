//! Finds, pulls, verifies and imports model files. Knows nothing of what is done with them.
