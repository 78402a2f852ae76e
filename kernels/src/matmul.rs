//! y = x · wᵀ in three shapes of work with one accumulation order.
