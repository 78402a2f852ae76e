//! Statistics over rounds. A round is the unit: requests of one round share the machine's load and clock rate at that
//! moment, so they are not independent samples. Ratios of rounds are compared by Student's t-test on their logarithms,
//! in Welch's form if rounds are not paired, and several figures of one comparison share its error probability by
//! Holm's method (Holm 1979). What was measured is not known here.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::bootstrap::CONFIDENCE;

/// With fewer rounds per side, nothing is decided.
pub(super) const ROUNDS_MIN: usize = 3;

/// The estimate of B over A from the rounds of both sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// Geometric mean of B's rounds divided by that of A's.
    pub ratio: f64,
    /// Contains the true ratio with probability [`CONFIDENCE`]; `None` if a side has a single round.
    pub interval: Option<[f64; 2]>,
    /// How likely a ratio as far from 1 is if both sides are alike; `None` below [`ROUNDS_MIN`] rounds.
    pub p: Option<f64>,
}

/// The geometric mean of positive values.
#[must_use]
pub(super) fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// Compares the rounds of two sides; `paired` if a round of A and the same round of B did the same work.
#[must_use]
pub(super) fn estimate(a: &[f64], b: &[f64], paired: bool) -> Estimate {
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
    let (a, b) = (logs(a), logs(b));
    let rounds = a.len().min(b.len());
    let (difference, error) = if paired && a.len() == b.len() {
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
        let (mean, variance) = mean_and_variance(&differences);
        let n = differences.len() as f64;
        (mean, StandardError { squared: variance / n, freedom: n - 1.0 })
    } else {
        let ((mean_a, variance_a), (mean_b, variance_b)) = (mean_and_variance(&a), mean_and_variance(&b));
        (mean_b - mean_a, StandardError::welch(variance_a, a.len(), variance_b, b.len()))
    };
    Estimate {
        ratio: difference.exp(),
        interval: (rounds > 1).then(|| error.interval(difference).map(f64::exp)),
        p: (rounds >= ROUNDS_MIN).then(|| error.p(difference)),
    }
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (n - 1.0).max(1.0))
}

/// Standard error of a difference of means.
struct StandardError {
    squared: f64,
    /// Degrees of freedom of Student's distribution.
    freedom: f64,
}

impl StandardError {
    /// For two means of sides with different variance (Welch 1947).
    fn welch(variance_a: f64, count_a: usize, variance_b: f64, count_b: usize) -> Self {
        let (n_a, n_b) = (count_a as f64, count_b as f64);
        let (share_a, share_b) = (variance_a / n_a, variance_b / n_b);
        let squared = share_a + share_b;
        let below = share_a.powi(2) / (n_a - 1.0).max(1.0) + share_b.powi(2) / (n_b - 1.0).max(1.0);
        let freedom = if below > 0.0 { squared.powi(2) / below } else { n_a + n_b - 2.0 };
        Self { squared, freedom }
    }

    fn distribution(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, self.freedom).ok()
    }

    fn interval(&self, difference: f64) -> [f64; 2] {
        let quantile =
            self.distribution().map_or(f64::INFINITY, |t| t.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)));
        let reach = if self.squared > 0.0 { quantile * self.squared.sqrt() } else { 0.0 };
        [difference - reach, difference + reach]
    }

    fn p(&self, difference: f64) -> f64 {
        if self.squared <= 0.0 {
            // If rounds don't vary at all, any difference is real.
            return if difference == 0.0 { 1.0 } else { 0.0 };
        }
        let t = difference.abs() / self.squared.sqrt();
        self.distribution().map_or(1.0, |distribution: StudentsT| (2.0 * distribution.sf(t)).min(1.0))
    }
}

/// Which of several tests of one comparison hold if all together may be wrong with a probability of `level`.
#[must_use]
pub(super) fn holm(p: &[Option<f64>], level: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).filter(|index| p[*index].is_some()).collect();
    order.sort_by(|a, b| p[*a].unwrap_or(1.0).total_cmp(&p[*b].unwrap_or(1.0)));
    let mut holds = vec![false; p.len()];
    for (rank, index) in order.iter().enumerate() {
        if p[*index].unwrap_or(1.0) >= level / (order.len() - rank) as f64 {
            break;
        }
        holds[*index] = true;
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_test_gives_the_values_of_tables() {
        // 2.776 is the 97.5 % point with 4 degrees of freedom, 2.306 with 8.
        let paired = StandardError { squared: 1.0, freedom: 4.0 };
        assert!((paired.interval(0.0)[1] - 2.776).abs() < 1e-3);
        assert!((paired.p(2.776) - 0.05).abs() < 1e-4);
        let welch = StandardError::welch(2.0, 5, 2.0, 5);
        assert!((welch.freedom - 8.0).abs() < 1e-9 && (welch.squared - 0.8).abs() < 1e-9);
        assert!((welch.p(2.306 * 0.8_f64.sqrt()) - 0.05).abs() < 1e-4);
    }

    #[test]
    fn pairs_take_out_what_both_sides_have_in_common() {
        let a = [1.0, 2.0, 4.0, 8.0, 3.0];
        let b = a.map(|value| value * 1.1);
        let paired = estimate(&a, &b, true);
        assert!((paired.ratio - 1.1).abs() < 1e-9 && paired.p.is_some_and(|p| p < 1e-6), "{paired:?}");
        let apart = estimate(&a, &b, false);
        assert!((apart.ratio - 1.1).abs() < 1e-9 && apart.p.is_some_and(|p| p > 0.5), "{apart:?}");
        assert_eq!(estimate(&[1.0], &[2.0], true), Estimate { ratio: 2.0, interval: None, p: None });
        assert_eq!(estimate(&[1.0, 1.0], &[2.0, 2.0], false).p, None, "two rounds are too few");
        assert_eq!(estimate(&[2.0; 3], &[2.0; 3], false).p, Some(1.0));
    }

    #[test]
    fn many_figures_share_the_error_of_one() {
        let p = [Some(0.03), None, Some(0.001), Some(0.02), Some(0.9)];
        assert_eq!(holm(&p, 0.05), [false, false, true, false, false], "0.02 is beyond 0.05 / 3");
        assert_eq!(holm(&[Some(0.04)], 0.05), [true]);
        assert_eq!(holm(&[Some(0.01), Some(0.04)], 0.05), [true, true]);
        assert_eq!(holm(&[], 0.05), Vec::<bool>::new());
    }
}
