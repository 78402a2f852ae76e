//! y = x · wᵀ on dequantized weights.
