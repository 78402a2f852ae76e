//! Weights packed for the kernels: 16 output rows in lanes, about as many bytes as the file.
