use proptest::prelude::*;

use super::*;

/// The definition: sorts everything and sums in double precision.
fn remaining(row: &[f32], sampling: &Sampling, allowed: Option<&[u32]>) -> Vec<(u32, f64)> {
    let may = |token: u32| allowed.is_none_or(|words| words[token as usize / 32] >> (token % 32) & 1 == 1);
    let mut tokens: Vec<(u32, f64)> =
        row.iter().enumerate().map(|(t, &l)| (t as u32, f64::from(l))).collect();
    tokens.retain(|&(token, logit)| may(token) && logit > f64::NEG_INFINITY);
    tokens.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = tokens[0].1;
    for (_, logit) in &mut tokens {
        *logit = ((*logit - best) / f64::from(sampling.temperature)).exp();
    }
    if sampling.top_k > 0 {
        tokens.truncate(sampling.top_k as usize);
    }
    let total: f64 = tokens.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    let mut count = 0;
    for &(_, weight) in &tokens {
        sum += weight;
        count += 1;
        if sum >= f64::from(sampling.top_p) * total && sampling.top_p < 1.0 {
            break;
        }
    }
    tokens.truncate(count);
    tokens.retain(|&(_, weight)| weight >= f64::from(sampling.min_p));
    tokens
}

/// The token that `number` falls on, and whether it is so near an edge that rounding decides.
fn naive(row: &[f32], sampling: &Sampling, allowed: Option<&[u32]>, number: f64) -> (u32, bool) {
    let mut tokens = remaining(row, sampling, allowed);
    if sampling.top_k == 0 && sampling.top_p >= 1.0 {
        tokens.sort_by_key(|&(token, _)| token);
    }
    let total: f64 = tokens.iter().map(|(_, weight)| weight).sum();
    let mut left = number * total;
    for &(token, weight) in &tokens {
        let near = left.abs() < 1e-5 * total || (left - weight).abs() < 1e-5 * total;
        left -= weight;
        if left < 0.0 {
            return (token, near);
        }
    }
    (tokens[tokens.len() - 1].0, true)
}

fn rows() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![8 => -12.0f32..12.0, 1 => Just(3.0f32), 1 => Just(f32::NEG_INFINITY)];
    (prop::collection::vec(logit, 1..700), 0usize..1000).prop_map(|(mut row, sure)| {
        let sure = sure % row.len();
        row[sure] = 1.5;
        row
    })
}

fn samplings() -> impl Strategy<Value = Sampling> {
    let top_p = prop_oneof![Just(1.0f32), 0.01f32..1.0];
    let min_p = prop_oneof![Just(0.0f32), 0.0f32..0.5];
    let top_k = prop_oneof![Just(0u32), 1u32..80];
    (0.2f32..3.0, top_k, top_p, min_p, any::<u64>()).prop_map(|(temperature, top_k, top_p, min_p, seed)| {
        Sampling { temperature, top_k, top_p, min_p, seed, ..Sampling::greedy() }
    })
}

proptest! {
    #[test]
    fn samples_what_sorting_everything_samples(row in rows(), sampling in samplings(), position in 0usize..5000) {
        let number = uniform(sampling.seed, position as u64, 0);
        let (token, near) = naive(&row, &sampling, None, number);
        // Where a top-p or min-p cut is within rounding of a token, the token may be in or out, which shifts all edges.
        let wide = remaining(&row, &Sampling { top_p: (sampling.top_p * 1.00001).min(1.0), min_p: sampling.min_p * 0.9999, ..sampling.clone() }, None);
        let narrow = remaining(&row, &Sampling { top_p: sampling.top_p * 0.99999, min_p: sampling.min_p * 1.0001, ..sampling.clone() }, None);
        prop_assume!(!near && (wide.len() == narrow.len() || sampling.top_p >= 1.0 && sampling.min_p == 0.0));
        let sampler = Sampler::new(sampling, None, &[]);
        let sampled = sample(&mut row.clone(), &sampler, None, position, &mut Scratch::default());
        prop_assert_eq!(sampled.map(|sampled| sampled.token), Ok(token));
    }

    #[test]
    fn greedy_takes_the_first_of_the_best(row in rows()) {
        let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let first = row.iter().position(|&logit| logit == best).map(|place| place as u32);
        let sampler = Sampler::new(Sampling::greedy(), None, &[]);
        let sampled = sample(&mut row.clone(), &sampler, None, 0, &mut Scratch::default());
        prop_assert_eq!(sampled.map(|sampled| sampled.token).ok(), first);
    }

    #[test]
    fn a_masked_token_is_never_sampled(row in rows(), sampling in samplings(), words in prop::collection::vec(any::<u32>(), 22)) {
        let sampler = Sampler::new(sampling, None, &[]);
        let any = (0..row.len()).any(|t| words[t / 32] >> (t % 32) & 1 == 1 && row[t] > f32::NEG_INFINITY);
        let sampled = sample(&mut row.clone(), &sampler, Some(&words), 7, &mut Scratch::default());
        prop_assert_eq!(sampled.is_ok(), any);
        if let Ok(Sampled { token, .. }) = sampled {
            prop_assert!(words[token as usize / 32] >> (token % 32) & 1 == 1);
        }
    }

    #[test]
    fn selection_equals_sorting(row in rows(), count in 0usize..800) {
        let mut scratch = Scratch::default();
        chunk_maxima(&row, &mut scratch.maxima);
        select(&row, count, &mut scratch);
        let mut sorted: Vec<(f32, u32)> = row.iter().zip(0..).map(|(&logit, token)| (logit, token)).collect();
        sorted.retain(|(logit, _)| *logit > f32::NEG_INFINITY);
        sorted.sort_by(by_logit);
        sorted.truncate(count);
        prop_assert_eq!(&scratch.candidates, &sorted);
    }

    #[test]
    fn exp_is_exp(x in -86.0f32..=0.0) {
        let exact = f64::from(x).exp();
        prop_assert!((f64::from(exp(x)) - exact).abs() <= 2.5e-7 * exact);
    }

    #[test]
    fn log_probabilities_are_those_of_the_unaltered_row(row in rows(), target in 0usize..700) {
        let target = (target % row.len()) as u32;
        let total: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = |token: u32| (f64::from(row[token as usize]) - total.ln()) as f32;
        let scored = score(&row, target, 3, &mut Scratch::default());
        prop_assert!(row[target as usize] == f32::NEG_INFINITY || (scored.logprob - expected(target)).abs() < 1e-4);
        let sampling = Sampling { logit_bias: vec![(target, 1e4)], repetition_penalty: 2.0, ..Sampling::greedy() };
        let sampler = Sampler::new(sampling, Some(3), &[target]);
        let sampled = sample(&mut row.clone(), &sampler, None, 0, &mut Scratch::default()).expect("some logit is finite");
        let logprobs = sampled.logprobs.expect("asked for");
        prop_assert_eq!(&logprobs.top, &scored.top);
        prop_assert!(sampled.token != target || (logprobs.logprob - scored.logprob).abs() < 1e-4);
    }
}

#[test]
fn penalties_count_what_was_generated_and_what_was_prompted() {
    let sampling = Sampling {
        repetition_penalty: 2.0,
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        ..Sampling::greedy()
    };
    let mut sampler = Sampler::new(sampling, None, &[0, 1]);
    [2, 2, 1].into_iter().for_each(|token| sampler.count_token(token));
    let mut row = [4.0, -4.0, 4.0, 4.0];
    adjust(&mut row, &sampler, &mut Vec::new());
    assert_eq!(row, [2.0, -8.75, 1.0, 4.0]);
}

#[test]
fn a_mask_wins_over_biases_that_leave_nothing_of_it() {
    let forbidden = f32::NEG_INFINITY;
    let check = |biases: &[(u32, f32)], penalty: f32, mask: u32, expected: u32| {
        let sampling = Sampling {
            logit_bias: biases.to_vec(),
            repetition_penalty: penalty,
            temperature: 0.7,
            ..Sampling::greedy()
        };
        let sampler = Sampler::new(sampling, Some(2), &[1]);
        let sampled = sample(&mut [4.0, -4.0, 4.0, 1.0], &sampler, Some(&[mask]), 0, &mut Scratch::default())
            .expect("sampled");
        assert_eq!(sampled.token, expected, "{biases:?}");
        assert!(sampled.logprobs.expect("asked for").logprob.is_finite());
    };
    check(&[(1, forbidden)], 1.0, 0b0010, 1);
    check(&[(1, forbidden)], 1.3, 0b0010, 1);
    check(&[(1, forbidden), (1, 5.0)], 1.0, 0b0010, 1);
    check(&[(0, forbidden), (2, forbidden)], 1.0, 0b1101, 3);
    check(&[(0, forbidden)], 1.0, 0b0101, 2);
}

#[test]
fn the_error_says_why_no_token_can_be_sampled() {
    let forbidden = f32::NEG_INFINITY;
    let why = |row: &[f32], biases: &[(u32, f32)], allowed: Option<&[u32]>| {
        let sampler = Sampler::new(Sampling { logit_bias: biases.to_vec(), ..Sampling::greedy() }, None, &[]);
        sample(&mut row.to_vec(), &sampler, allowed, 0, &mut Scratch::default()).unwrap_err()
    };
    assert_eq!(why(&[1.0, 2.0], &[(0, forbidden), (1, forbidden)], None), SampleError::LogitBias);
    assert_eq!(why(&[forbidden, 2.0], &[(1, forbidden)], None), SampleError::LogitBias);
    assert_eq!(why(&[f32::NAN, f32::NAN], &[(1, forbidden)], None), SampleError::NoFiniteLogit);
    assert_eq!(why(&[forbidden, f32::NAN], &[], None), SampleError::NoFiniteLogit);
    assert_eq!(why(&[1.0, forbidden], &[(0, 1.0)], Some(&[0b10])), SampleError::NoFiniteLogit);
}

#[test]
fn samples_follow_the_probabilities() {
    let row = [0.0f32, 1.0, 2.0];
    let sampling = Sampling { temperature: 1.0, ..Sampling::greedy() };
    let mut counts = [0usize; 3];
    for seed in 0..20_000 {
        let sampler = Sampler::new(Sampling { seed, ..sampling.clone() }, None, &[]);
        let sampled =
            sample(&mut row.clone(), &sampler, None, 11, &mut Scratch::default()).expect("finite logits");
        counts[sampled.token as usize] += 1;
    }
    // 0.0900, 0.2447, 0.6652 of 20,000, within five standard deviations.
    for (count, expected) in counts.into_iter().zip([1800.6f64, 4894.6, 13304.8]) {
        assert!((count as f64 - expected).abs() < 5.0 * expected.sqrt(), "{counts:?}");
    }
}

#[test]
fn rows_without_finite_logits_sample_nothing() {
    for row in [vec![f32::NAN; 5], vec![f32::NEG_INFINITY; 90]] {
        for temperature in [0.0, 1.0] {
            let sampler = Sampler::new(Sampling { temperature, ..Sampling::greedy() }, Some(2), &[]);
            assert_eq!(
                sample(&mut row.clone(), &sampler, None, 0, &mut Scratch::default()),
                Err(SampleError::NoFiniteLogit)
            );
        }
    }
}
