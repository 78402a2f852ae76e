//! What a step of a model costs, learned while running as a linear function of what the step computes. Which sequences
//! a step is for is not known here.
//!
//! Least squares of relative errors over recent steps. Where those say nothing, the fit is pulled towards a prior from
//! the model's sizes, so that a model whose steps all look alike still predicts others.

use std::time::Duration;

use bandmaster_models::ModelInfo;

/// The weight of a step shrinks by this factor with each later one.
const MEMORY: f64 = 0.96;
/// Weight of the newest step of one token in the average of such steps.
const ALONE_WEIGHT: f64 = 0.1;
/// Weight of the prior, in steps.
const PRIOR_STEPS: f64 = 0.5;
/// Shorter measurements are ignored.
const SHORTEST_US: f64 = 1.0;
/// The prior assumes these rates: bytes read, and multiply-adds, per microsecond.
const PRIOR_BYTES_PER_US: f64 = 10_000.0;
const PRIOR_MULTIPLY_ADDS_PER_US: f64 = 300_000.0;
/// The prior assumes that a row of logits costs this share of a token's multiply-adds.
const PRIOR_ROW_SHARE: f64 = 0.2;

/// The work in a step, as far as its time depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Workload {
    pub tokens: usize,
    pub rows: usize,
    /// Pairs of a token and a token it attends to.
    pub pairs: usize,
}

impl Workload {
    /// `tokens` tokens behind `context` others, with `rows` rows of logits.
    #[must_use]
    pub(crate) fn of(tokens: usize, context: usize, rows: usize) -> Self {
        Self { tokens, rows, pairs: tokens * context + tokens * (tokens + 1) / 2 }
    }

    /// The sum of two workloads.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            rows: self.rows + other.rows,
            pairs: self.pairs + other.pairs,
        }
    }

    fn terms(self) -> [f64; TERMS] {
        [1.0, self.tokens as f64, self.rows as f64, self.pairs as f64]
    }
}

const TERMS: usize = 4;

/// Predicts the microseconds of a step: `a + b · tokens + r · rows + c · pairs`.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    prior: [f64; TERMS],
    line: [f64; TERMS],
    /// Sums over recent steps of products of terms, each in units of its prior and divided by the step's time.
    squares: [[f64; TERMS]; TERMS],
    sums: [f64; TERMS],
    /// Weighted number of steps in the sums.
    steps: f64,
    /// Microseconds of a step of one token: a recent average, lowered by any step that took less. The line, fitted to
    /// large steps, says little about it.
    alone_us: Option<f64>,
}

impl Cost {
    /// Starts from a prior that follows from the model's sizes.
    #[must_use]
    pub(crate) fn estimate(info: &ModelInfo) -> Self {
        let token = (info.parameters as f64 / PRIOR_MULTIPLY_ADDS_PER_US).max(0.01);
        Self::with_prior([
            (info.weight_bytes as f64 / PRIOR_BYTES_PER_US).max(0.1),
            token,
            token * PRIOR_ROW_SHARE,
            (info.kv_block_bytes as f64 / super::BLOCK_TOKENS as f64 / PRIOR_BYTES_PER_US).max(1e-6),
        ])
    }

    /// Starts from a fixed prior, for work whose sizes are unknown.
    #[must_use]
    pub(crate) fn unknown() -> Self {
        Self::with_prior([1_000.0, 100.0, 20.0, 0.05])
    }

    fn with_prior(prior: [f64; TERMS]) -> Self {
        Self {
            prior,
            line: prior,
            squares: Default::default(),
            sums: Default::default(),
            steps: 0.0,
            alone_us: None,
        }
    }

    /// Learns from a step that took `time`.
    pub(crate) fn observe(&mut self, workload: Workload, time: Duration) {
        let us = time.as_secs_f64() * 1e6;
        if us < SHORTEST_US {
            return;
        }
        let before = self.alone_us.unwrap_or(us);
        if (workload.tokens, workload.rows) == (1, 1) || us < before {
            self.alone_us = Some(before + ALONE_WEIGHT * (us - before));
        }
        let terms = workload.terms();
        let x: [f64; TERMS] = std::array::from_fn(|i| terms[i] * self.prior[i] / us);
        for (i, row) in self.squares.iter_mut().enumerate() {
            for (j, square) in row.iter_mut().enumerate() {
                *square = MEMORY * *square + x[i] * x[j];
            }
            self.sums[i] = MEMORY * self.sums[i] + x[i];
        }
        self.steps = MEMORY * self.steps + 1.0;
        let factors = self.fit();
        self.line = std::array::from_fn(|i| self.prior[i] * factors[i].max(0.0));
    }

    /// The factors by which to scale the prior, pulled towards the one factor that fits all terms together best.
    fn fit(&self) -> [f64; TERMS] {
        let total: f64 = self.sums.iter().sum();
        let square: f64 = self.squares.iter().flatten().sum();
        let overall = total / square.max(f64::MIN_POSITIVE);
        let pull = PRIOR_STEPS * square / (TERMS * TERMS) as f64 / self.steps;
        let mut rows: [[f64; TERMS + 1]; TERMS] = Default::default();
        for (i, row) in rows.iter_mut().enumerate() {
            row[..TERMS].copy_from_slice(&self.squares[i]);
            row[i] += pull;
            row[TERMS] = self.sums[i] + pull * overall;
        }
        solve(rows)
    }

    /// Expected microseconds of a step.
    #[must_use]
    pub(crate) fn predict_us(&self, workload: Workload) -> f64 {
        workload.terms().iter().zip(self.line).map(|(term, factor)| term * factor).sum()
    }

    /// Microseconds of a step before any token: reading the weights.
    #[must_use]
    pub(crate) fn step_us(&self) -> f64 {
        self.line[0]
    }

    /// Microseconds of a step of one token with its row of logits.
    #[must_use]
    pub(crate) fn alone_us(&self) -> f64 {
        self.alone_us.unwrap_or_else(|| self.step_us().max(self.prior[0]) + self.token_us())
    }

    /// Microseconds of one more token with its row of logits.
    #[must_use]
    pub(crate) fn token_us(&self) -> f64 {
        self.line[1] + self.line[2]
    }

    /// The most tokens, up to `most`, that fit into `us` microseconds beside `workload`. They follow `context` others;
    /// `rows` gives the rows of logits that a number of tokens needs.
    #[must_use]
    pub(crate) fn tokens_within(
        &self,
        us: f64,
        workload: Workload,
        context: usize,
        most: usize,
        rows: impl Fn(usize) -> usize,
    ) -> usize {
        let of = |tokens| Workload::of(tokens, context, rows(tokens));
        let fits = |tokens: usize| self.predict_us(workload.plus(of(tokens))) <= us;
        let (mut fitting, mut above) = (0, most + 1);
        while above - fitting > 1 {
            let middle = usize::midpoint(fitting, above);
            if fits(middle) { fitting = middle } else { above = middle }
        }
        fitting
    }
}

/// Solves a symmetric positive definite system by elimination. The last column is the right-hand side.
fn solve(mut rows: [[f64; TERMS + 1]; TERMS]) -> [f64; TERMS] {
    for i in 0..TERMS {
        let pivot = rows[i];
        for row in &mut rows[i + 1..] {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(pivot).for_each(|(value, above)| *value -= factor * above);
        }
    }
    let mut solution = [0.0; TERMS];
    for i in (0..TERMS).rev() {
        let known: f64 = (i + 1..TERMS).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][TERMS] - known) / rows[i][i];
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ModelInfo {
        ModelInfo {
            architecture: "test".into(),
            vocab: 100,
            context_tokens_max: 4096,
            kv_block_bytes: 16 * 12_288,
            kv_blocks_max: 100,
            weight_bytes: 400_000_000,
            parameters: 500_000_000,
        }
    }

    /// The machine to be learned: its costs are a line too.
    fn truth(workload: Workload) -> Duration {
        let us = 9_000.0
            + 1_100.0 * workload.tokens as f64
            + 300.0 * workload.rows as f64
            + 0.6 * workload.pairs as f64;
        Duration::from_secs_f64(us / 1e6)
    }

    fn off(cost: &Cost, workload: Workload) -> f64 {
        cost.predict_us(workload) / (truth(workload).as_secs_f64() * 1e6) - 1.0
    }

    #[test]
    fn a_line_is_learned_from_steps_of_all_kinds() {
        let mut cost = Cost::estimate(&info());
        for step in 0..200usize {
            let decodes = step % 9;
            let chunk = [0, 16, 64, 200][step % 4];
            let workload = Workload::of(chunk, step * 5, 0).plus(Workload {
                tokens: decodes,
                rows: decodes,
                pairs: decodes * 700,
            });
            if workload.tokens > 0 {
                cost.observe(workload, truth(workload));
            }
        }
        for workload in [Workload::of(1, 50, 1), Workload::of(100, 3000, 0), Workload::of(512, 0, 1)] {
            assert!(off(&cost, workload).abs() < 0.05, "{workload:?}: {}", off(&cost, workload));
        }
    }

    #[test]
    fn steps_that_look_alike_give_their_own_time_and_a_scaled_prior_for_others() {
        let mut cost = Cost::estimate(&info());
        let alike = Workload { tokens: 8, rows: 8, pairs: 8 * 200 };
        for _ in 0..50 {
            cost.observe(alike, truth(alike));
        }
        assert!(off(&cost, alike).abs() < 0.1, "{}", off(&cost, alike));
        let chunk = Workload::of(64, 0, 0);
        assert!(off(&cost, chunk).abs() < 0.8, "{}", off(&cost, chunk));
    }

    #[test]
    fn what_fits_is_the_most_that_is_within_the_time() {
        let mut cost = Cost::estimate(&info());
        for tokens in 1..200 {
            cost.observe(Workload::of(tokens, tokens * 3, 1), truth(Workload::of(tokens, tokens * 3, 1)));
        }
        let base = Workload::of(4, 100, 4);
        for us in [0.0, 5_000.0, 50_000.0, 1e9] {
            let tokens = cost.tokens_within(us, base, 1000, 512, |_| 0);
            let with = |tokens| cost.predict_us(base.plus(Workload::of(tokens, 1000, 0)));
            assert!(tokens == 0 || with(tokens) <= us);
            assert!(tokens == 512 || with(tokens + 1) > us);
        }
    }
}
