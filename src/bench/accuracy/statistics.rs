//! Confidence intervals of accuracies, and paired comparisons.

use serde::Serialize;

use crate::bootstrap::{interval, mcnemar_p};

/// 95 % of a normal distribution lie within this many standard deviations.
const Z_95: f64 = 1.959_963_984_540_054;

/// 95 % confidence interval of `correct / n`, after Wilson (1927): sound for few items and for fractions near 0 and 1.
#[must_use]
pub(super) fn wilson(correct: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (n, share) = (n as f64, correct as f64 / n as f64);
    let z2 = Z_95 * Z_95;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

/// Two cells compared on the items that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairedDifference {
    /// Name of the first cell.
    pub a: String,
    /// Name of the second cell.
    pub b: String,
    /// Number of items that both have.
    pub n: usize,
    /// Accuracy of `a` minus that of `b`.
    pub difference: f64,
    /// 95 % confidence interval of the difference: bootstrap over items with a fixed seed; `None`
    /// for fewer than two items.
    pub interval: Option<[f64; 2]>,
    /// Exact McNemar test: how likely it is by chance that the items only one of them has
    /// right are split this unevenly.
    pub p: f64,
}

impl PairedDifference {
    /// From whether each had an item right, item by item.
    #[must_use]
    pub fn new(a: &str, b: &str, right: &[(bool, bool)]) -> Self {
        let each = |of: fn(&(bool, bool)) -> bool| {
            right.iter().map(|pair| f64::from(u8::from(of(pair)))).collect::<Vec<f64>>()
        };
        let (of_a, of_b) = (each(|pair| pair.0), each(|pair| pair.1));
        let only = |wanted: (bool, bool)| right.iter().filter(|pair| **pair == wanted).count() as u64;
        let (only_a, only_b) = (only((true, false)), only((false, true)));
        Self {
            a: a.to_owned(),
            b: b.to_owned(),
            n: right.len(),
            difference: (only_a as f64 - only_b as f64) / right.len().max(1) as f64,
            interval: interval(&of_a, &of_b, |a, b| a - b),
            p: mcnemar_p(only_a, only_b),
        }
    }
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
    fn paired_difference_has_its_sign_and_an_interval_around_it() {
        let right: Vec<(bool, bool)> = (0..40).map(|n| (n % 4 != 0, n % 2 == 0)).collect();
        let paired = PairedDifference::new("a", "b", &right);
        assert!(close(paired.difference, 0.25), "{}", paired.difference);
        let [low, high] = paired.interval.unwrap();
        assert!((-0.1..0.25).contains(&low) && (0.26..0.6).contains(&high), "{low} {high}");
        // Of 40 items 20 are right only in `a` and 10 only in `b`: twice the sum of C(30, 0..=10), over 2³⁰.
        assert!(close(paired.p, 0.09874), "{}", paired.p);
        assert_eq!(paired, PairedDifference::new("a", "b", &right), "the same seed");
        let same = PairedDifference::new("a", "b", &[(true, true), (false, false)]);
        assert_eq!((same.difference, same.interval, same.p), (0.0, Some([0.0, 0.0]), 1.0));
        assert_eq!(PairedDifference::new("a", "b", &[(true, false)]).interval, None, "one item says nothing");
        let other = PairedDifference::new("b", "a", &right.iter().map(|(a, b)| (*b, *a)).collect::<Vec<_>>());
        assert!(close(other.difference, -0.25) && close(other.p, paired.p));
    }
}
