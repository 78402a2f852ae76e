//! Attention of a tile of query rows. Every output element has one order of operations, whatever rows share the tile.

use std::ops::Range;

use super::{Call, SPLIT_TOKENS, Tile};
use crate::disjoint::Disjoint;
use crate::kv::{BLOCK_TOKENS, KvShape, KvType, SCALE_DIMS, q8_parts};
use crate::simd::{Kernel, LANES, Simd, exp, f16_to_f32, prefetch, to_array};

/// The running sums of this many rows fit into 32 registers beside keys, values and weights.
const STRIP_ROWS: usize = 7;
/// Rows per tile. They pass over a split's keys and values together, which thus come from the second-level cache.
pub(crate) const TILE_ROWS: usize = 4 * STRIP_ROWS;
const SPLIT_BLOCKS: usize = SPLIT_TOKENS / BLOCK_TOKENS;
/// How many blocks ahead keys and values are prefetched. The hardware can't predict where blocks lie.
const AHEAD_BLOCKS: usize = 3;
const LINE: usize = 32;

/// Each row's greatest score, and its sum of e^(score - greatest).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums {
    max: [f32; TILE_ROWS],
    sum: [f32; TILE_ROWS],
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { max: [f32::NEG_INFINITY; TILE_ROWS], sum: [0.0; TILE_ROWS] }
    }
}

pub(crate) struct TileInput<'a> {
    call: &'a Call<'a>,
    tile: &'a Tile,
}

impl<'a> TileInput<'a> {
    pub(crate) fn new(call: &'a Call<'a>, tile: &'a Tile) -> TileInput<'a> {
        TileInput { call, tile }
    }

    /// How many tokens of a split a row sees.
    #[inline(always)]
    fn visible(&self, row: usize, split: usize) -> usize {
        let visible = self.call.visible(self.tile.span, self.tile.first + row);
        visible.saturating_sub(split * SPLIT_TOKENS).min(SPLIT_TOKENS)
    }

    #[inline(always)]
    fn q(&self, row: usize) -> &'a [f32] {
        let start = self.call.row(self.tile, self.tile.first + row);
        &self.call.q[start..start + self.call.layer.shape.head_dim]
    }

    #[inline(always)]
    fn keys(&self, block: usize) -> &'a [u16] {
        let block = self.call.spans[self.tile.span].table[block];
        &self.call.pool[self.call.layer.keys(block, self.tile.kv_head)]
    }

    /// The keys needed [`AHEAD_BLOCKS`] after those of `block` or, after the last of `blocks`, the values from `first`.
    #[inline(always)]
    fn after_keys(&self, block: usize, first: usize, blocks: usize) -> &'a [u16] {
        let next = block + AHEAD_BLOCKS;
        if next < blocks { self.keys(next) } else { self.values((first + next - blocks).min(blocks - 1)) }
    }

    /// The values needed [`AHEAD_BLOCKS`] after those of `block` or, after the last of `blocks`, the next keys.
    #[inline(always)]
    fn after_values(&self, block: usize, blocks: usize) -> &'a [u16] {
        let next = block + AHEAD_BLOCKS;
        if next < blocks { self.values(next) } else { self.keys(next.min(self.blocks() - 1)) }
    }

    /// How many blocks the tile's last row sees.
    #[inline(always)]
    fn blocks(&self) -> usize {
        self.call.visible(self.tile.span, self.tile.first + self.tile.rows - 1).div_ceil(BLOCK_TOKENS)
    }

    #[inline(always)]
    fn values(&self, block: usize) -> &'a [u16] {
        let block = self.call.spans[self.tile.span].table[block];
        &self.call.pool[self.call.layer.values(block, self.tile.kv_head)]
    }
}

/// Folds the given splits, in order, into rows of `to`.
pub(crate) struct Attend<'a> {
    pub(crate) input: TileInput<'a>,
    pub(crate) splits: Range<usize>,
    pub(crate) to: &'a Disjoint<'a, f32>,
    /// Where each row of the tile starts in `to`. No other chunk touches these rows.
    pub(crate) rows: [usize; TILE_ROWS],
    pub(crate) sums: &'a mut Sums,
    /// Whether these are all splits, so that the rows must be divided by their sums.
    pub(crate) whole: bool,
}

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let tile_rows = self.input.tile.rows;
        for split in self.splits.clone() {
            if const { S::REGISTERS >= 32 } {
                self.strips_of_seven(s, split);
            } else {
                let first = (0..tile_rows).find(|&row| self.input.visible(row, split) > 0);
                for row in first.unwrap_or(tile_rows)..tile_rows {
                    self.strip::<S, 1>(s, split, row, Some(row) == first);
                }
            }
        }
        if self.whole {
            divide(s, self.to, &self.rows[..tile_rows], self.input.call.layer.shape.head_dim, &self.sums.sum);
        }
    }
}

impl Attend<'_> {
    #[inline(always)]
    fn strips_of_seven<S: Simd>(&mut self, s: S, split: usize) {
        let mut prefetches = true;
        for first in (0..self.input.tile.rows).step_by(STRIP_ROWS) {
            let end = self.input.tile.rows.min(first + STRIP_ROWS);
            // Rows of earlier tokens may see nothing of a later split.
            let first = (first..end).find(|&row| self.input.visible(row, split) > 0).unwrap_or(end);
            match end - first {
                1 => self.strip::<S, 1>(s, split, first, prefetches),
                2 => self.strip::<S, 2>(s, split, first, prefetches),
                3 => self.strip::<S, 3>(s, split, first, prefetches),
                4 => self.strip::<S, 4>(s, split, first, prefetches),
                5 => self.strip::<S, 5>(s, split, first, prefetches),
                6 => self.strip::<S, 6>(s, split, first, prefetches),
                7 => self.strip::<S, 7>(s, split, first, prefetches),
                _ => continue,
            }
            prefetches = false;
        }
    }

    /// Computes rows `first .. first + R`, each of which sees some of the split. Only the tile's first strip prefetches
    /// (`prefetches`); the others find its data in the cache.
    #[inline(always)]
    fn strip<S: Simd, const R: usize>(&mut self, s: S, split: usize, first: usize, prefetches: bool) {
        let visible: [usize; R] = std::array::from_fn(|r| self.input.visible(first + r, split));
        let mut scores = [[0.0; SPLIT_TOKENS]; R];
        let q8 = self.input.call.layer.shape.kv_type == KvType::Q8;
        if q8 {
            score::<S, R, true>(s, &self.input, split, (first, prefetches), visible[R - 1], &mut scores);
        } else {
            score::<S, R, false>(s, &self.input, split, (first, prefetches), visible[R - 1], &mut scores);
        }
        let mut part = Sums::default();
        for r in 0..R {
            (part.max[r], part.sum[r]) = softmax(s, &mut scores[r], visible[r]);
        }
        let is_first = split == self.splits.start;
        let rows = first..first + R;
        let weights = if is_first {
            self.sums.max[rows.clone()].copy_from_slice(&part.max[..R]);
            self.sums.sum[rows.clone()].copy_from_slice(&part.sum[..R]);
            None
        } else {
            Some(fold_weights(s, self.sums, rows.clone(), &part.max[..R], &part.sum[..R]))
        };
        let dim = self.input.call.layer.shape.head_dim;
        let mix =
            Mix { scores: &scores, visible, split, weights, rows: &self.rows[rows], to: self.to, prefetches };
        let mut at = 0;
        while at < dim {
            // R · D running sums, R weights and a vector of values must fit.
            let wide = const { S::REGISTERS >= 5 * R + 6 };
            let half_wide = const { S::REGISTERS >= 3 * R + 4 };
            at += match (dim - at, q8) {
                (64.., false) if wide => mix.columns::<S, 4, false>(s, &self.input, at),
                (64.., true) if wide => mix.columns::<S, 4, true>(s, &self.input, at),
                (32.., false) if half_wide => mix.columns::<S, 2, false>(s, &self.input, at),
                (32.., true) if half_wide => mix.columns::<S, 2, true>(s, &self.input, at),
                (_, false) => mix.columns::<S, 1, false>(s, &self.input, at),
                (_, true) => mix.columns::<S, 1, true>(s, &self.input, at),
            };
        }
    }
}

/// `scores[r][t] = q[r] · scale · k[t]` for a split's tokens, in whole blocks. Even and odd dimensions are summed
/// separately and then added, since keys lie in pairs; in `Q8` separately for each scale.
#[inline(always)]
fn score<S: Simd, const R: usize, const Q8: bool>(
    s: S,
    input: &TileInput,
    split: usize,
    (first, prefetches): (usize, bool),
    tokens: usize,
    scores: &mut [[f32; SPLIT_TOKENS]; R],
) {
    let mut q = [[[0.0; 2]; R]; KvShape::HEAD_DIM_MAX / 2];
    for r in 0..R {
        for (to, from) in q.iter_mut().zip(input.q(first + r).as_chunks::<2>().0) {
            to[r] = from.map(|x| x * input.call.scale);
        }
    }
    let dim = input.call.layer.shape.head_dim;
    let blocks = split * SPLIT_BLOCKS..split * SPLIT_BLOCKS + tokens.div_ceil(BLOCK_TOKENS);
    for block in blocks.clone() {
        let keys = input.keys(block);
        let ahead = if prefetches { input.after_keys(block, blocks.start, blocks.end) } else { keys };
        let mut scored = [s.splat(0.0); R];
        // Pairs of dimensions that are summed first: all of them, or those that share a scale.
        let together = if Q8 { SCALE_DIMS / 2 } else { KvShape::HEAD_DIM_MAX / 2 };
        for (group, q) in q[..dim / 2].chunks(together).enumerate() {
            let mut sums = [[s.splat(0.0); 2]; R];
            for (pair, q) in (group * together..).zip(q) {
                if prefetches {
                    prefetch(ahead, LINE * pair);
                }
                let [k0, k1] = if Q8 {
                    let halves = q8_parts(keys, dim).0[2 * BLOCK_TOKENS * pair..].as_chunks::<LANES>().0;
                    [s.load_i8(&halves[0]), s.load_i8(&halves[1])]
                } else {
                    let halves = keys[2 * BLOCK_TOKENS * pair..].as_chunks::<LANES>().0;
                    [s.load_f16(&halves[0]), s.load_f16(&halves[1])]
                };
                for r in 0..R {
                    let q = s.splat_pair(&q[r]);
                    sums[r] = [s.mul_add(q, k0, sums[r][0]), s.mul_add(q, k1, sums[r][1])];
                }
            }
            for r in 0..R {
                let score = s.pair_sums(sums[r][0], sums[r][1]);
                scored[r] = if Q8 {
                    s.mul_add(score, s.load_f16(&q8_parts(keys, dim).1[group]), scored[r])
                } else {
                    score
                };
            }
        }
        for (scored, scores) in scored.into_iter().zip(scores.iter_mut()) {
            s.store(scored, &mut scores.as_chunks_mut::<LANES>().0[block - blocks.start]);
        }
    }
}

/// Replaces the first `visible` scores by e^(score - greatest). Returns the greatest score and the sum.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32; SPLIT_TOKENS], visible: usize) -> (f32, f32) {
    let scores = &mut scores.as_chunks_mut::<LANES>().0[..visible.div_ceil(LANES)];
    let last = scores.len() - 1;
    let last_lanes = visible - last * LANES;
    let hidden = s.splat(f32::NEG_INFINITY);
    let mut max = s.first(last_lanes, s.load(&scores[last]), hidden);
    s.store(max, &mut scores[last]);
    for scores in &scores[..last] {
        max = s.max(s.load(scores), max);
    }
    let max = s.max_lane(max);
    let mut sum = s.splat(0.0);
    for scores in scores {
        let e = exp(s, s.sub(s.load(scores), s.splat(max)));
        s.store(e, scores);
        sum = s.add(sum, e);
    }
    (max, s.sum(sum))
}

/// The factors on the rows so far and on the new ones, by row of a strip.
struct Weights {
    old: [f32; LANES / 2],
    new: [f32; LANES / 2],
}

/// Adds a split's sums to those so far, both scaled to the greater of the two maxima. Returns the factors.
#[inline(always)]
fn fold_weights<S: Simd>(s: S, sums: &mut Sums, rows: Range<usize>, max: &[f32], sum: &[f32]) -> Weights {
    let (old_max, old_sum) = (&mut sums.max[rows.clone()], &mut sums.sum[rows]);
    let mut shifts = [0.0; LANES];
    for (r, (old, &new)) in old_max.iter_mut().zip(max).enumerate() {
        let greater = if *old > new { *old } else { new };
        (shifts[r], shifts[LANES / 2 + r]) = (*old - greater, new - greater);
        *old = greater;
    }
    let factors = to_array(s, exp(s, s.load(&shifts)));
    let weights = Weights {
        old: std::array::from_fn(|r| factors[r]),
        new: std::array::from_fn(|r| factors[LANES / 2 + r]),
    };
    for (r, (old, &new)) in old_sum.iter_mut().zip(sum).enumerate() {
        *old = new.mul_add(weights.new[r], *old * weights.old[r]);
    }
    weights
}

struct Mix<'a, const R: usize> {
    scores: &'a [[f32; SPLIT_TOKENS]; R],
    visible: [usize; R],
    split: usize,
    /// `None` for the first split, which is stored as it is.
    weights: Option<Weights>,
    rows: &'a [usize],
    to: &'a Disjoint<'a, f32>,
    prefetches: bool,
}

impl<const R: usize> Mix<'_, R> {
    /// Computes dimensions `at .. at + 16 D` and returns how many these are.
    #[inline(always)]
    fn columns<S: Simd, const D: usize, const Q8: bool>(&self, s: S, input: &TileInput, at: usize) -> usize {
        let mut sums = [[s.splat(0.0); D]; R];
        let (common, last) = (self.visible[0], self.visible[R - 1]);
        let (first_block, blocks) = (self.split * SPLIT_BLOCKS, last.div_ceil(BLOCK_TOKENS));
        for block in 0..blocks {
            let values = input.values(first_block + block);
            let ahead = if self.prefetches {
                input.after_values(first_block + block, first_block + blocks)
            } else {
                values
            };
            let tokens = block * BLOCK_TOKENS..last.min((block + 1) * BLOCK_TOKENS);
            let shared = common.clamp(tokens.start, tokens.end);
            let dim = input.call.layer.shape.head_dim;
            self.add::<S, D, Q8, false>(s, (values, ahead), dim, at, tokens.start..shared, &mut sums);
            self.add::<S, D, Q8, true>(s, (values, ahead), dim, at, shared..tokens.end, &mut sums);
        }
        for (r, sums) in sums.iter().enumerate() {
            let start = self.rows[r] + at;
            // SAFETY: no other chunk touches this row, and this one takes one part at a time.
            let to = unsafe { self.to.part(start..start + D * LANES) };
            let weights = self.weights.as_ref().map(|w| (w.old[r], w.new[r]));
            for (to, &new) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                fold(s, to, new, weights);
            }
        }
        D * LANES
    }

    /// Adds tokens of one block, in order, to all rows, or with `SOME` to the later ones that see them. A weight of
    /// zero would not do for the others, since what lies behind a row's last token may be NaN.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // the operands of one op
    fn add<S: Simd, const D: usize, const Q8: bool, const SOME: bool>(
        &self,
        s: S,
        (values, ahead): (&[u16], &[u16]),
        dim: usize,
        at: usize,
        tokens: Range<usize>,
        sums: &mut [[S::V; D]; R],
    ) {
        for token in tokens {
            let first = token % BLOCK_TOKENS * dim + at;
            if self.prefetches {
                (0..D * LANES).step_by(LINE).for_each(|line| prefetch(ahead, first + line));
            }
            for d in 0..D {
                let v = if Q8 {
                    let (codes, scales) = q8_parts(values, dim);
                    let codes = &codes[first + d * LANES..].as_chunks::<LANES>().0[0];
                    let scale = f16_to_f32(scales[(at + d * LANES) / SCALE_DIMS][token % BLOCK_TOKENS]);
                    s.mul(s.load_i8(codes), s.splat(scale))
                } else {
                    s.load_f16(&values[first + d * LANES..].as_chunks::<LANES>().0[0])
                };
                for (r, sums) in sums.iter_mut().enumerate() {
                    if !SOME || token < self.visible[r] {
                        sums[d] = s.mul_add(s.splat(self.scores[r][token]), v, sums[d]);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn fold<S: Simd>(s: S, to: &mut [f32; LANES], new: S::V, weights: Option<(f32, f32)>) {
    let folded = match weights {
        None => new,
        Some((old, weight)) => s.mul_add(new, s.splat(weight), s.mul(s.load(to), s.splat(old))),
    };
    s.store(folded, to);
}

/// Folds splits that were computed separately into rows of `to`.
pub(crate) struct Merge<'a> {
    pub(crate) tile_rows: usize,
    pub(crate) dim: usize,
    /// `[split][TILE_ROWS][dim]`.
    pub(crate) parts: &'a [f32],
    pub(crate) sums: &'a [Sums],
    pub(crate) to: &'a Disjoint<'a, f32>,
    /// Where each row of the tile starts in `to`. No other chunk touches these rows.
    pub(crate) rows: [usize; TILE_ROWS],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sums = self.sums[0];
        for (split, part) in self.sums.iter().enumerate() {
            for first in (0..self.tile_rows).step_by(STRIP_ROWS) {
                self.fold_strip(s, split, part, first..self.tile_rows.min(first + STRIP_ROWS), &mut sums);
            }
        }
        divide(s, self.to, &self.rows[..self.tile_rows], self.dim, &sums.sum);
    }
}

impl Merge<'_> {
    #[inline(always)]
    fn fold_strip<S: Simd>(&self, s: S, split: usize, part: &Sums, rows: Range<usize>, sums: &mut Sums) {
        // Rows that see nothing of this split stay as they are.
        let Some(first) = rows.clone().find(|&row| part.sum[row] != 0.0) else { return };
        let rows = first..rows.end;
        let weights = (split > 0)
            .then(|| fold_weights(s, sums, rows.clone(), &part.max[rows.clone()], &part.sum[rows.clone()]));
        for row in rows {
            let from = &self.parts[(split * TILE_ROWS + row) * self.dim..][..self.dim];
            // SAFETY: no other chunk touches this row, and this one takes one part at a time.
            let to = unsafe { self.to.part(self.rows[row]..self.rows[row] + self.dim) };
            let weights = weights.as_ref().map(|w| (w.old[row - first], w.new[row - first]));
            for (to, from) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(from.as_chunks::<LANES>().0) {
                fold(s, to, s.load(from), weights);
            }
        }
    }
}

#[inline(always)]
fn divide<S: Simd>(s: S, values: &Disjoint<f32>, rows: &[usize], dim: usize, sums: &[f32]) {
    for (&row, sum) in rows.iter().zip(sums) {
        let inverse = s.splat(1.0 / sum);
        // SAFETY: no other chunk touches this row, and this one takes one part at a time.
        let values = unsafe { values.part(row..row + dim) };
        for value in values.as_chunks_mut::<LANES>().0 {
            s.store(s.mul(s.load(value), inverse), value);
        }
    }
}
