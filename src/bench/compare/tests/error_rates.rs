//! Tests how often chance is taken for a difference, and a difference for chance, over a hundred comparisons of random
//! loads.

use super::*;

/// The verdicts of a hundred comparisons of loads in which B's times are `slower` times A's. Rounds vary by up to 3 %,
/// and the machine drifts by up to 1.5 % between the two measurements.
fn verdicts_of_a_hundred(slower: f64, same_seed: bool) -> Vec<Vec<Verdict>> {
    (0..100)
        .map(|trial: u64| {
            let drift = noisy(trial + 7000, 2, 1.0, 0.015);
            let side = |index: u64, factor: f64| load(1000 * trial + index, 5, 64, 100.0 * factor, 0.03, 0.5);
            let (a, mut b) = (side(0, drift[0]), side(1, drift[1] * slower));
            if !same_seed {
                b["seed"] = json!(2);
            }
            verdicts(&compared(&a, &b, false).expect("they can be compared"))
        })
        .collect()
}

#[test]
fn a_server_is_not_told_apart_from_itself() {
    for same_seed in [true, false] {
        let all = verdicts_of_a_hundred(1.0, same_seed);
        let is_called =
            |verdicts: &&Vec<Verdict>| verdicts.iter().any(|verdict| *verdict != Verdict::Undecided);
        let called = all.iter().filter(is_called).count();
        assert!(called <= 5, "{called} of 100 comparisons call something, same seed: {same_seed}");
    }
}

#[test]
fn a_tenth_slower_is_found() {
    for same_seed in [true, false] {
        let all = verdicts_of_a_hundred(1.1, same_seed);
        let found = all.iter().filter(|verdicts| verdicts.contains(&Verdict::Worse)).count();
        let wrong = all.iter().flatten().filter(|verdict| **verdict == Verdict::Better).count();
        assert!(
            found >= 90 && wrong == 0,
            "{found} of 100 found, {wrong} called better, same seed: {same_seed}"
        );
    }
}

/// In alternating rounds, a machine that drifts by a fifth slows both sides alike.
#[test]
fn alternating_rounds_cancel_a_drifting_machine() {
    let verdicts_at = |slower: f64| -> Vec<Vec<Verdict>> {
        let of = |trial: u64| {
            let drift = noisy(trial + 9000, 5, 1.0, 0.2);
            let side = |index: u64, factor: f64| -> Value {
                let factors = noisy(1000 * trial + index, 5, 1.0, 0.02);
                let middle = |round: usize| 100.0 * factor * drift[round] * factors[round];
                let times = |round: usize| {
                    noisy(
                        trial ^ ((round as u64 + 1) << 32) ^ (index << 20),
                        64,
                        middle(round),
                        0.5 * middle(round),
                    )
                };
                serve(&(0..5).map(times).collect::<Vec<_>>())
            };
            let mut both = side(1, 1.0);
            both["against"] = side(2, slower);
            let text = both.to_string();
            let (a, b) = (Side::parse("both.json", &text), Side::against("both.json", &text));
            let comparison =
                compare(a.expect("A"), b.expect("B"), false, CHANGE_MIN).expect("they can be compared");
            verdicts(&comparison)
        };
        (0..100).map(of).collect()
    };
    let called = verdicts_at(1.0).iter().flatten().filter(|verdict| **verdict != Verdict::Undecided).count();
    assert!(called <= 5, "{called}");
    let found = verdicts_at(1.1).iter().filter(|verdicts| verdicts.contains(&Verdict::Worse)).count();
    assert!(found >= 90, "{found}");
    let alone = Side::against("one.json", &serve(&[vec![1.0]]).to_string()).err().expect("it is alone");
    assert!(alone.to_string().contains("--against"), "{alone}");
}
