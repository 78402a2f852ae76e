//! Weight formats of GGUF files: sizes and exact dequantization.
