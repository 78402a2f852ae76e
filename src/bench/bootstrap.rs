//! Statistics over many items: the percentile bootstrap (Efron 1979), which resamples the items with replacement and
//! takes the middle 95 % of the results as the interval, and McNemar's test. What was measured is not known here.

use crate::random::TokenSource;

pub(crate) const RESAMPLES: usize = 4000;
/// How often an interval contains the true value.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Fixed, so that the same items give the same interval.
pub(crate) const SEED: u64 = 1;

/// The mean of one value per item; NaN without items.
#[must_use]
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Confidence interval of `change(mean of a, mean of b)` over the same items in the same order; both sides are
/// resampled alike. `None` for fewer than two items, or if most resamples have no finite result.
#[must_use]
pub(crate) fn interval(a: &[f64], b: &[f64], change: impl Fn(f64, f64) -> f64) -> Option<[f64; 2]> {
    let count = a.len().min(b.len());
    if count < 2 {
        return None;
    }
    let mut source = TokenSource::new(SEED, count);
    let mut changes: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sample = source.take(count);
            let mean = |values: &[f64]| {
                sample.iter().map(|index| values[*index as usize]).sum::<f64>() / count as f64
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

/// Exact McNemar test: of the items on which two sides differ, how likely a split is at least as uneven as this if both
/// sides are equally good. Two-sided, from the binomial distribution.
#[must_use]
pub(crate) fn mcnemar_p(only_a: u64, only_b: u64) -> f64 {
    let (fewer, all) = (only_a.min(only_b), only_a + only_b);
    // In logarithms, because 0.5 to the power of a few thousand is zero.
    let mut log_term = all as f64 * 0.5_f64.ln();
    let mut sum = log_term.exp();
    for chosen in 1..=fewer {
        log_term += ((all - chosen + 1) as f64 / chosen as f64).ln();
        sum += log_term.exp();
    }
    (2.0 * sum).min(1.0)
}
