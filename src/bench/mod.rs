//! Measures the engine and prints what was measured; a result is one struct with three renderings.
