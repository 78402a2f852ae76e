//! How sure a figure is, from its own samples: they are drawn again and again with replacement, and the middle 95 % of
//! what comes of it are the interval (the percentile bootstrap; Efron 1979). What was measured is not known here.

use crate::bench::workload::TokenSource;

/// Times the samples are drawn.
pub const RESAMPLES: usize = 4000;
/// Share of the redrawn figures that an interval holds.
pub const CONFIDENCE: f64 = 0.95;
/// Same samples, same interval.
pub const SEED: u64 = 1;

/// Samples of a side below which nothing is decided.
pub const SAMPLES_MIN: usize = 3;

/// A figure as a function of how often each sample was drawn. Not finite where the drawn samples have no figure.
type Statistic = Box<dyn Fn(&[u32]) -> f64>;

/// Samples and the figure that is made of them.
pub struct Samples {
    /// How many.
    pub count: usize,
    /// Whether they are enough to tell two sides apart: at least [`SAMPLES_MIN`], and for a percentile so many values
    /// that one of them is expected beyond it. The slowest of 20 requests is no 99th percentile.
    pub enough: bool,
    statistic: Statistic,
}

/// How the samples of two sides belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// Not at all: each side is drawn for itself.
    Independent,
    /// One by one, in order: both sides are drawn alike.
    Each,
}

/// Values in ascending order, each with the place of the sample it belongs to.
struct Sorted(Vec<(f64, usize)>);

impl Sorted {
    /// `values[s]` are those of sample `s`.
    fn new(values: &[Vec<f64>]) -> Self {
        let with_place = values
            .iter()
            .enumerate()
            .flat_map(|(place, values)| values.iter().map(move |value| (*value, place)));
        let mut sorted: Vec<(f64, usize)> = with_place.collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(sorted)
    }

    fn total(&self, drawn: &[u32]) -> u64 {
        self.0.iter().map(|(_, place)| u64::from(drawn[*place])).sum()
    }

    /// The value at `rank` (from 1) of all drawn ones; not a number beyond the last.
    fn at_rank(&self, drawn: &[u32], rank: u64) -> f64 {
        let mut seen = 0;
        for (value, place) in &self.0 {
            seen += u64::from(drawn[*place]);
            if seen >= rank {
                return *value;
            }
        }
        f64::NAN
    }

    /// The mean of the two middle ones when their number is even, as [`crate::bench::measure::median`].
    fn median(&self, drawn: &[u32]) -> f64 {
        let total = self.total(drawn);
        let upper = self.at_rank(drawn, total / 2 + 1);
        if total % 2 == 1 { upper } else { f64::midpoint(self.at_rank(drawn, total / 2), upper) }
    }

    /// The nearest rank, as [`crate::bench::workflow::report::Percentiles`].
    fn percentile(&self, drawn: &[u32], share: f64) -> f64 {
        let total = self.total(drawn);
        self.at_rank(drawn, ((total as f64 * share).ceil() as u64).max(1))
    }
}

impl Samples {
    fn new(count: usize, statistic: impl Fn(&[u32]) -> f64 + 'static) -> Self {
        Self { count, enough: count >= SAMPLES_MIN, statistic: Box::new(statistic) }
    }

    /// `work` over the median of `seconds`.
    #[must_use]
    pub fn rate(work: f64, seconds: &[f64]) -> Self {
        let sorted = Sorted::new(&singly(seconds));
        Self::new(seconds.len(), move |drawn| work / sorted.median(drawn))
    }

    /// The median of `values`.
    #[must_use]
    pub fn median(values: &[f64]) -> Self {
        let sorted = Sorted::new(&singly(values));
        Self::new(values.len(), move |drawn| sorted.median(drawn))
    }

    /// A percentile of the values of all samples together; a sample may have several or none.
    #[must_use]
    pub fn percentile(values: &[Vec<f64>], share: f64) -> Self {
        let sorted = Sorted::new(values);
        let beyond = sorted.0.len() as f64 * (1.0 - share);
        let samples = Self::new(values.len(), move |drawn| sorted.percentile(drawn, share));
        // A hair below 1: 0.1 of 10 is not exactly 1 in floating point.
        Self { enough: samples.enough && beyond > 0.999, ..samples }
    }

    /// `scale` times the sum of the first numbers over the sum of the second ones.
    #[must_use]
    pub fn share(pairs: Vec<(f64, f64)>, scale: f64) -> Self {
        let count = pairs.len();
        let statistic = move |drawn: &[u32]| {
            let (mut above, mut below) = (0.0, 0.0);
            for ((first, second), times) in pairs.iter().zip(drawn) {
                above += first * f64::from(*times);
                below += second * f64::from(*times);
            }
            scale * above / below
        };
        Self::new(count, statistic)
    }

    /// One figure, of which nothing says how sure it is.
    #[must_use]
    pub fn single(value: f64) -> Self {
        Self::new(1, move |_| value)
    }

    /// The figure of the samples as they are.
    #[must_use]
    pub fn figure(&self) -> f64 {
        (self.statistic)(&vec![1; self.count])
    }
}

fn singly(values: &[f64]) -> Vec<Vec<f64>> {
    values.iter().map(|value| vec![*value]).collect()
}

/// Draws `count` places out of `count`, with replacement.
struct Draw {
    source: TokenSource,
    times: Vec<u32>,
}

impl Draw {
    fn new(seed: u64, count: usize) -> Self {
        Self { source: TokenSource::new(seed, count), times: vec![0; count] }
    }

    /// How often each was drawn.
    fn next(&mut self) -> &[u32] {
        self.times.fill(0);
        for place in self.source.take(self.times.len()) {
            self.times[place as usize] += 1;
        }
        &self.times
    }
}

/// The interval of `change(figure of a, figure of b)`; `None` where a side has fewer than two samples or most of the
/// redrawn ones have no figure.
#[must_use]
pub fn interval(
    a: &Samples,
    b: &Samples,
    pairing: Pairing,
    change: impl Fn(f64, f64) -> f64,
) -> Option<[f64; 2]> {
    if a.count.min(b.count) < 2 {
        return None;
    }
    let seed_b = if pairing == Pairing::Each { SEED } else { SEED + 1 };
    let (mut draw_a, mut draw_b) = (Draw::new(SEED, a.count), Draw::new(seed_b, b.count));
    let mut changes: Vec<f64> = (0..RESAMPLES)
        .map(|_| change((a.statistic)(draw_a.next()), (b.statistic)(draw_b.next())))
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
