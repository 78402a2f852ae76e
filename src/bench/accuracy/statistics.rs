//! How sure a share of right answers is, and whether two of them differ.

use serde::Serialize;

use crate::bench::workload::TokenSource;

/// Of the normal distribution: 95 % lie within so many standard deviations.
const Z_95: f64 = 1.959_963_984_540_054;
/// Draws of a bootstrap.
const RESAMPLES: usize = 10_000;

/// The share `correct / n` with 95 % certainty, after Wilson (1927): sound for few items and for shares near 0 and 1.
#[must_use]
pub fn wilson(correct: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (n, share) = (n as f64, correct as f64 / n as f64);
    let z2 = Z_95 * Z_95;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

/// Two cells compared on the items both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// Name of one cell.
    pub a: String,
    /// Name of the other.
    pub b: String,
    /// Items both have.
    pub n: usize,
    /// Share of right answers of `a` less that of `b`.
    pub difference: f64,
    /// The difference with 95 % certainty: bootstrap over items, 10,000 draws from a fixed seed.
    pub interval: [f64; 2],
    /// How probable so uneven a split of the items that only one has right is by chance: McNemar's test, exact.
    pub p: f64,
}

impl Paired {
    /// From what each had right, item by item.
    #[must_use]
    pub fn new(a: &str, b: &str, right: &[(bool, bool)]) -> Self {
        let differences: Vec<i32> = right.iter().map(|(a, b)| i32::from(*a) - i32::from(*b)).collect();
        let only = |sign: i32| differences.iter().filter(|difference| **difference == sign).count();
        Self {
            a: a.to_owned(),
            b: b.to_owned(),
            n: right.len(),
            difference: mean(differences.iter().copied()),
            interval: bootstrap(&differences),
            p: mcnemar(only(1), only(-1)),
        }
    }
}

fn mean(values: impl ExactSizeIterator<Item = i32>) -> f64 {
    let n = values.len().max(1) as f64;
    f64::from(values.sum::<i32>()) / n
}

fn bootstrap(differences: &[i32]) -> [f64; 2] {
    let n = differences.len();
    if n == 0 {
        return [-1.0, 1.0];
    }
    let mut source = TokenSource::new(1, n);
    let draw = |source: &mut TokenSource| mean(source.take(n).into_iter().map(|at| differences[at as usize]));
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| draw(&mut source)).collect();
    means.sort_by(f64::total_cmp);
    [means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40]]
}

/// Two-sided, from the binomial distribution with one half.
fn mcnemar(only_a: usize, only_b: usize) -> f64 {
    let n = only_a + only_b;
    let fewer = only_a.min(only_b);
    // In logarithms: a power of one half is too small for a number long before there are too many items.
    let mut log_choose = 0.0;
    let mut tail = 0.0;
    for k in 0..=fewer {
        tail += f64::exp(log_choose - n as f64 * std::f64::consts::LN_2);
        log_choose += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-5
    }

    #[test]
    fn wilson_intervals_are_the_known_ones() {
        for (correct, n, low, high) in [
            (0, 10, 0.0, 0.27754),
            (10, 10, 0.72246, 1.0),
            (5, 10, 0.23659, 0.76341),
            (1, 1, 0.20654, 1.0),
            (81, 263, 0.25528, 0.36623),
            (0, 0, 0.0, 1.0),
        ] {
            let [a, b] = wilson(correct, n);
            assert!(close(a, low) && close(b, high), "{correct}/{n}: {a} {b}");
        }
    }

    #[test]
    fn mcnemar_is_the_exact_binomial_test() {
        for (a, b, p) in
            [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (5, 0, 0.0625), (1, 9, 0.02148), (10, 20, 0.09874)]
        {
            assert!(close(mcnemar(a, b), p), "{a} {b}: {}", mcnemar(a, b));
        }
        assert!(mcnemar(1000, 3000) < 1e-100 && mcnemar(2000, 2010) > 0.8);
    }

    #[test]
    fn paired_difference_has_its_sign_and_an_interval_around_it() {
        let right: Vec<(bool, bool)> = (0..40).map(|n| (n % 4 != 0, n % 2 == 0)).collect();
        let paired = Paired::new("a", "b", &right);
        assert!(close(paired.difference, 0.25), "{}", paired.difference);
        assert!(paired.interval[0] < 0.25 && 0.25 < paired.interval[1], "{:?}", paired.interval);
        assert!(paired.interval[0] > -0.1 && paired.interval[1] < 0.6, "{:?}", paired.interval);
        assert_eq!(paired, Paired::new("a", "b", &right), "the same seed");
        let same = Paired::new("a", "b", &[(true, true), (false, false)]);
        assert_eq!((same.difference, same.interval, same.p), (0.0, [0.0, 0.0], 1.0));
        let other = Paired::new("b", "a", &right.iter().map(|(a, b)| (*b, *a)).collect::<Vec<_>>());
        assert!(close(other.difference, -0.25) && close(other.p, paired.p));
    }
}
