//! Int8 activations, quantized once and shared by several matmuls.
