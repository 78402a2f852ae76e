//! How sure a figure over many items is, from the items themselves: they are drawn again and again with replacement, and
//! the middle 95 % of what comes of it are the interval (the percentile bootstrap; Efron 1979). What was measured is not
//! known here.

use crate::bench::workload::TokenSource;

/// Times the items are drawn.
pub const RESAMPLES: usize = 4000;
/// How often an interval holds the true value.
pub const CONFIDENCE: f64 = 0.95;
/// The same items give the same interval.
pub const SEED: u64 = 1;

/// The mean of a value an item; not a number without items.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The interval of `change(mean of a, mean of b)` over the same items in the same order, both sides drawn alike; `None`
/// where there are fewer than two or most of the redrawn ones have no figure.
#[must_use]
pub fn interval(a: &[f64], b: &[f64], change: impl Fn(f64, f64) -> f64) -> Option<[f64; 2]> {
    let count = a.len().min(b.len());
    if count < 2 {
        return None;
    }
    let mut source = TokenSource::new(SEED, count);
    let mut changes: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = source.take(count);
            let mean = |values: &[f64]| {
                drawn.iter().map(|place| values[*place as usize]).sum::<f64>() / count as f64
            };
            change(mean(a), mean(b))
        })
        .filter(|change| change.is_finite())
        .collect();
    if changes.len() < RESAMPLES / 2 {
        return None;
    }
    changes.sort_by(f64::total_cmp);
    let outside = (changes.len() as f64 * (1.0 - CONFIDENCE) / 2.0) as usize;
    Some([changes[outside], changes[changes.len() - 1 - outside]])
}

/// McNemar's exact test: how likely it is that of the items on which two sides differ, the split is as uneven as this
/// when both are as good. Two-sided, from the binomial distribution.
#[must_use]
pub fn mcnemar_p(only_a: u64, only_b: u64) -> f64 {
    let (fewer, all) = (only_a.min(only_b), only_a + only_b);
    // In logarithms: 0.5 to the power of a few thousand is zero.
    let mut log_term = all as f64 * 0.5_f64.ln();
    let mut sum = log_term.exp();
    for chosen in 1..=fewer {
        log_term += ((all - chosen + 1) as f64 / chosen as f64).ln();
        sum += log_term.exp();
    }
    (2.0 * sum).min(1.0)
}
