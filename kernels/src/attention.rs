//! Paged attention. The query heads of a kv head times the query tokens are the rows of a small matmul, so that keys
//! and values are read once per group.
//!
//! A row's bits depend only on the tokens it sees. These are split at absolute multiples of 256 tokens; each split has
//! its own maximum and sum, and splits are folded in order. One thread may fold as it goes, or several may compute
//! splits that are folded afterwards: the operations are the same.

mod tile;

use crate::disjoint::Disjoint;
use crate::dispatch::Cpu;
use crate::kv::{BLOCK_TOKENS, KvLayer};
use tile::{Attend, Merge, Sums, TILE_ROWS, TileInput};

/// Tokens per split, counted from the start of the context.
pub(crate) const SPLIT_TOKENS: usize = 256;
/// A tile whose share of the work is above 1 / (this · threads) has its splits computed separately.
const SHARES_PER_THREAD: usize = 4;

/// Consecutive query rows of one context.
#[derive(Debug, Clone, Copy)]
pub struct AttentionSpan<'a> {
    /// The span's first row in `q` and `out`.
    pub first_row: usize,
    /// Number of rows; row i sees `context + i + 1` tokens.
    pub rows: usize,
    /// Number of tokens before that of the first row.
    pub context: usize,
    /// Ids of the cache blocks: entry i holds tokens `16 i .. 16 i + 16`. Must cover `context + rows` tokens.
    pub table: &'a [u32],
}

/// Scratch memory of [`attention`], reused from call to call.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    /// First the tiles whose splits are computed separately, then the others.
    tiles: Vec<Tile>,
    splits: Vec<Split>,
    /// For each of `splits`, `TILE_ROWS` rows of mixed values, and their sums.
    mixed: Vec<f32>,
    sums: Vec<Sums>,
}

/// Some rows of one span and one kv head. The rows of a group are numbered by token, and within a token by query head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    span: usize,
    kv_head: usize,
    first: usize,
    rows: usize,
    splits: usize,
    /// Index of its first split in [`AttentionScratch::splits`], if they are computed separately.
    first_split: usize,
}

#[derive(Debug, Clone, Copy)]
struct Split {
    tile: usize,
    split: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pool: &'a [u16],
    layer: KvLayer,
    heads: usize,
    scale: f32,
    q: &'a [f32],
    spans: &'a [AttentionSpan<'a>],
}

/// Causal attention, softmax(q · kᵀ · scale) · v, over the cache, in which the rows' own keys and values must be too.
/// `q` and `out` are `[rows, heads, head_dim]`; `heads` is a multiple of the kv heads. Rows of no span stay unchanged.
///
/// # Panics
/// If shapes do not fit, spans overlap or do not ascend, or a table is too short.
#[allow(clippy::too_many_arguments)] // the operands of one op
pub fn attention(
    cpu: &Cpu,
    pool: &[u16],
    layer: KvLayer,
    heads: usize,
    scale: f32,
    q: &[f32],
    spans: &[AttentionSpan],
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    let call = Call { pool, layer, heads, scale, q, spans };
    call.check(out.len());
    let AttentionScratch { tiles, splits, mixed, sums } = scratch;
    let separate = call.plan(cpu.threads(), tiles, splits);
    let dim = layer.shape.head_dim;
    let part_elems = TILE_ROWS * dim;
    grow(mixed, splits.len() * part_elems, 0.0);
    grow(sums, splits.len(), Sums::default());
    let (out, parts, part_sums) = (Disjoint::new(out), Disjoint::new(mixed), Disjoint::new(sums));
    // A split computed separately goes to its part of the scratch, any other tile to its rows of the output.
    cpu.run(splits.len() + tiles.len() - separate, &|i| {
        let (tile, range, to, rows, sums) = if let Some(&Split { tile, split }) = splits.get(i) {
            // SAFETY: entry i belongs to this chunk alone.
            let sums = unsafe { &mut part_sums.part(i..i + 1)[0] };
            *sums = Sums::default();
            let rows = std::array::from_fn(|row| i * part_elems + row * dim);
            (&tiles[tile], split..split + 1, &parts, rows, sums)
        } else {
            let tile = &tiles[separate + i - splits.len()];
            (tile, 0..tile.splits, &out, call.rows_of(tile), &mut Sums::default())
        };
        let whole = i >= splits.len();
        cpu.vectorise(Attend { input: TileInput::new(&call, tile), splits: range, to, rows, sums, whole });
    });
    cpu.run(separate, &|i| {
        let tile = &tiles[i];
        let range = tile.first_split..tile.first_split + tile.splits;
        let (parts, sums) = (&mixed[range.start * part_elems..], &sums[range]);
        cpu.vectorise(Merge { tile_rows: tile.rows, dim, parts, sums, to: &out, rows: call.rows_of(tile) });
    });
}

fn grow<T: Clone>(memory: &mut Vec<T>, len: usize, empty: T) {
    if memory.len() < len {
        memory.resize(len, empty);
    }
}

impl Call<'_> {
    fn check(&self, out_len: usize) {
        self.layer.shape.check();
        let (kv_heads, width) = (self.layer.shape.kv_heads, self.width());
        assert!(kv_heads > 0 && self.heads.is_multiple_of(kv_heads), "{} heads over {kv_heads}", self.heads);
        assert!(self.q.len() == out_len && out_len.is_multiple_of(width), "attention: rows of q and out");
        let mut end = 0;
        for span in self.spans {
            // Ascending, so that no two spans write to one row.
            assert!(span.first_row >= end, "attention: spans ascend and do not overlap");
            end = span.first_row + span.rows;
            let tokens = span.context + span.rows;
            let blocks = span.table.len();
            assert!(blocks * BLOCK_TOKENS >= tokens, "{tokens} tokens do not fit in {blocks} blocks");
        }
        assert!(end * width <= out_len, "attention: {end} rows are more than q has");
    }

    fn width(&self) -> usize {
        self.heads * self.layer.shape.head_dim
    }

    /// Query heads per kv head.
    fn group(&self) -> usize {
        self.heads / self.layer.shape.kv_heads
    }

    /// How many tokens a row of a group sees.
    fn visible(&self, span: usize, row: usize) -> usize {
        self.spans[span].context + row / self.group() + 1
    }

    /// Where a row of a group starts in `q` and `out`.
    fn row(&self, tile: &Tile, row: usize) -> usize {
        let (token, head) = (row / self.group(), row % self.group());
        let token = self.spans[tile.span].first_row + token;
        token * self.width() + (tile.kv_head * self.group() + head) * self.layer.shape.head_dim
    }

    fn rows_of(&self, tile: &Tile) -> [usize; TILE_ROWS] {
        std::array::from_fn(|i| if i < tile.rows { self.row(tile, tile.first + i) } else { 0 })
    }

    /// Divides the call into tiles. Returns how many have their splits computed separately; these come first.
    fn plan(&self, threads: usize, tiles: &mut Vec<Tile>, splits: &mut Vec<Split>) -> usize {
        tiles.clear();
        splits.clear();
        // Head by head, in the order in which threads made q.
        for kv_head in 0..self.layer.shape.kv_heads {
            for (span, AttentionSpan { rows, .. }) in self.spans.iter().enumerate() {
                let rows = rows * self.group();
                for first in (0..rows).step_by(TILE_ROWS) {
                    let rows = TILE_ROWS.min(rows - first);
                    let splits = self.visible(span, first + rows - 1).div_ceil(SPLIT_TOKENS);
                    tiles.push(Tile { span, kv_head, first, rows, splits, first_split: 0 });
                }
            }
        }
        let cost = |tile: &Tile| tile.rows * tile.splits;
        let total: usize = tiles.iter().map(cost).sum();
        let is_separate =
            |tile: &Tile| threads > 1 && tile.splits > 1 && cost(tile) * threads * SHARES_PER_THREAD > total;
        let mut separate = 0;
        for i in 0..tiles.len() {
            if is_separate(&tiles[i]) {
                tiles[i].first_split = splits.len();
                splits.extend((0..tiles[i].splits).map(|split| Split { tile: separate, split }));
                tiles.swap(separate, i);
                separate += 1;
            }
        }
        separate
    }
}

#[cfg(test)]
mod tests;
