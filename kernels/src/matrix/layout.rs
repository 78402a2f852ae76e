//! The packed layout of a panel: 16 rows side by side, so that a vector register holds 4 consecutive codes of each row.
//!
//! A block is 32 codes of each of the 16 rows: 8 vectors of 64 bytes, vector v holding codes 4v..4v+4 of row r at byte
//! 4r. The vectors are stored as bit planes. Codes of 4 to 6 bits have planes of nibbles (vector v in the low half of
//! 64-byte plane v, v + 4 in its high half), codes of 2 and 3 bits planes of pairs (vector v in bits 2·(v mod 4) of
//! plane v/4). Codes of 3 and 5 bits add one plane of last bits (vector v in bit v), codes of 6 bits two of pairs. In
//! front of one block, or of a group of eight, stand the scales as the file has them: never widened to f32.

use half::{bf16, f16};

use crate::formats::{Format, q3_scale, scale_and_min};

/// Rows per panel.
pub(crate) const LANES: usize = 16;
/// Codes per row in a block.
pub(crate) const BLOCK: usize = 32;
/// Blocks that share a header in the K formats.
pub(crate) const GROUP_BLOCKS: usize = 8;
/// Bytes of one header entry: an f16 per row.
const HEADER: usize = 2 * LANES;
/// Bytes of a block's small scales in the K formats: two per row.
const SUBSCALES: usize = 2 * LANES;

/// How many bits of each code are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planes {
    Two,
    Three,
    Four,
    Five,
    Six,
    Eight,
}

/// Which scales accompany the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// Per block: d. Weight = d·q.
    D,
    /// Per block: d, m. Weight = d·q + m.
    DM,
    /// Per group: d, dmin. Per block: scale, min (u8). Weight = d·scale·q − dmin·min.
    Group,
    /// Per group: d. Per half block: scale (i8). Weight = d·scale·q.
    GroupHalves,
    /// Per group: d, dmin. Per half block: scale and min in the halves of a byte. Weight = d·scale·q − dmin·min.
    GroupHalfMins,
}

/// The contents of a packed panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    F32,
    F16,
    BF16,
    /// Unsigned codes; the weight's q is the code minus `offset`.
    Codes {
        planes: Planes,
        scales: Scales,
        offset: u8,
    },
}

impl Planes {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Planes::Two => 128,
            Planes::Three => 192,
            Planes::Four => 256,
            Planes::Five => 320,
            Planes::Six => 384,
            Planes::Eight => 512,
        }
    }
}

impl Scales {
    /// Blocks that share one header.
    pub(crate) const fn blocks(self) -> usize {
        match self {
            Scales::D | Scales::DM => 1,
            Scales::Group | Scales::GroupHalves | Scales::GroupHalfMins => GROUP_BLOCKS,
        }
    }

    /// Whether a value is added to every weight of a block.
    pub(crate) const fn have_mins(self) -> bool {
        matches!(self, Scales::DM | Scales::Group | Scales::GroupHalfMins)
    }

    /// Whether the halves of a block have scales of their own.
    pub(crate) const fn of_halves(self) -> bool {
        matches!(self, Scales::GroupHalves | Scales::GroupHalfMins)
    }

    /// Bytes of the header in front of a group's first block.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Scales::D => HEADER,
            Scales::DM => 2 * HEADER,
            Scales::Group | Scales::GroupHalfMins => 2 * HEADER + GROUP_BLOCKS * SUBSCALES,
            Scales::GroupHalves => HEADER + GROUP_BLOCKS * SUBSCALES,
        }
    }
}

/// One block of a panel, unpacked.
pub(crate) struct Block {
    /// `codes[v][4r + i]` is code `4v + i` of row r.
    pub(crate) codes: [[u8; 4 * LANES]; 8],
    /// Each row's scale for the first and second 16 codes.
    pub(crate) scales: [[f32; LANES]; 2],
    /// Added to every weight of the row, per half; zero if the format has none.
    pub(crate) mins: [[f32; LANES]; 2],
}

impl Layout {
    pub(crate) const fn of(format: Format) -> Layout {
        let (planes, scales, offset) = match format {
            Format::F32 => return Layout::F32,
            Format::F16 => return Layout::F16,
            Format::BF16 => return Layout::BF16,
            Format::Q4_0 => (Planes::Four, Scales::D, 8),
            Format::Q4_1 => (Planes::Four, Scales::DM, 0),
            Format::Q5_0 => (Planes::Five, Scales::D, 16),
            Format::Q5_1 => (Planes::Five, Scales::DM, 0),
            Format::Q8_0 => (Planes::Eight, Scales::D, 128),
            Format::Q4K => (Planes::Four, Scales::Group, 0),
            Format::Q5K => (Planes::Five, Scales::Group, 0),
            Format::Q6K => (Planes::Six, Scales::GroupHalves, 32),
            Format::Q2K => (Planes::Two, Scales::GroupHalfMins, 0),
            Format::Q3K => (Planes::Three, Scales::GroupHalves, 4),
        };
        Layout::Codes { planes, scales, offset }
    }

    pub(crate) const fn panel_bytes(self, k: usize) -> usize {
        match self {
            Layout::F32 => 4 * LANES * k,
            Layout::F16 | Layout::BF16 => 2 * LANES * k,
            Layout::Codes { planes, scales, .. } => {
                k / BLOCK * planes.bytes() + k / BLOCK / scales.blocks() * scales.bytes()
            }
        }
    }

    /// Packs up to 16 rows, each `row_bytes` of `raw`, into a zeroed panel.
    pub(crate) fn pack_panel(self, format: Format, raw: &[u8], row_bytes: usize, panel: &mut [u8]) {
        match self {
            Layout::F32 => pack_floats::<4>(raw, row_bytes, panel),
            Layout::F16 | Layout::BF16 => pack_floats::<2>(raw, row_bytes, panel),
            Layout::Codes { planes, scales, .. } => {
                let blocks = scales.blocks();
                let group_bytes = scales.bytes() + blocks * planes.bytes();
                let raw_bytes = blocks * BLOCK / format.block_len() * format.block_bytes();
                for (group, out) in panel.chunks_exact_mut(group_bytes).enumerate() {
                    let (header, out) = out.split_at_mut(scales.bytes());
                    for (lane, row) in raw.chunks_exact(row_bytes).enumerate() {
                        let raw = &row[group * raw_bytes..][..raw_bytes];
                        put_scales(format, scales, raw, lane, header);
                        for (i, out) in out.chunks_exact_mut(planes.bytes()).enumerate() {
                            put_codes(planes, codes(format, raw, i), lane, out);
                        }
                    }
                }
            }
        }
    }

    /// Writes the exact weights of one row of a panel to `out`.
    pub(crate) fn unpack_lane(self, panel: &[u8], lane: usize, out: &mut [f32]) {
        let lanes =
            |size: usize| panel.chunks_exact(size * LANES).map(move |all| &all[lane * size..][..size]);
        match self {
            Layout::F32 => {
                for (y, b) in out.iter_mut().zip(lanes(4)) {
                    *y = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
            Layout::F16 => {
                for (y, b) in out.iter_mut().zip(lanes(2)) {
                    *y = f16::from_le_bytes([b[0], b[1]]).to_f32();
                }
            }
            Layout::BF16 => {
                for (y, b) in out.iter_mut().zip(lanes(2)) {
                    *y = bf16::from_le_bytes([b[0], b[1]]).to_f32();
                }
            }
            Layout::Codes { planes, scales, offset } => {
                for (b, y) in out.chunks_exact_mut(BLOCK).enumerate() {
                    let (header, i, plane) = locate(planes, scales, panel, b);
                    let words = unpack_words(planes, plane, lane);
                    let (scale, min) = lane_scales(scales, header, i, lane);
                    for (j, y) in y.iter_mut().enumerate() {
                        let code = words[j / 4].to_le_bytes()[j % 4];
                        *y = scale[j / 16] * (f32::from(code) - f32::from(offset)) + min[j / 16];
                    }
                }
            }
        }
    }
}

/// Unpacks block `b` of a panel of codes, all rows.
pub(crate) fn unpack_block(planes: Planes, scales: Scales, panel: &[u8], b: usize) -> Block {
    let (header, i, plane) = locate(planes, scales, panel, b);
    let mut block = Block { codes: [[0; 64]; 8], scales: [[0.0; LANES]; 2], mins: [[0.0; LANES]; 2] };
    for lane in 0..LANES {
        for (codes, word) in block.codes.iter_mut().zip(unpack_words(planes, plane, lane)) {
            codes[4 * lane..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let (scale, min) = lane_scales(scales, header, i, lane);
        for half in 0..2 {
            (block.scales[half][lane], block.mins[half][lane]) = (scale[half], min[half]);
        }
    }
    block
}

/// The header of block `b`, its index in the group, and its planes.
fn locate(planes: Planes, scales: Scales, panel: &[u8], b: usize) -> (&[u8], usize, &[u8]) {
    let (group, i) = (b / scales.blocks(), b % scales.blocks());
    let group_bytes = scales.bytes() + scales.blocks() * planes.bytes();
    let group = &panel[group * group_bytes..][..group_bytes];
    (&group[..scales.bytes()], i, &group[scales.bytes() + i * planes.bytes()..][..planes.bytes()])
}

/// A row's scales for the two halves of a block, and what is added to the weights of each.
fn lane_scales(scales: Scales, header: &[u8], i: usize, lane: usize) -> ([f32; 2], [f32; 2]) {
    let half = |entry: usize| {
        let at = entry * HEADER + 2 * lane;
        f16::from_le_bytes([header[at], header[at + 1]]).to_f32()
    };
    match scales {
        Scales::D => ([half(0); 2], [0.0; 2]),
        Scales::DM => ([half(0); 2], [half(1); 2]),
        Scales::Group => {
            let small = &header[2 * HEADER + i * SUBSCALES..][..SUBSCALES];
            let scale = half(0) * f32::from(small[lane]);
            ([scale; 2], [-(half(1) * f32::from(small[LANES + lane])); 2])
        }
        Scales::GroupHalves => {
            let small = &header[HEADER + i * SUBSCALES..][..SUBSCALES];
            ([0, LANES].map(|h| half(0) * f32::from(small[h + lane] as i8)), [0.0; 2])
        }
        Scales::GroupHalfMins => {
            let small = &header[2 * HEADER + i * SUBSCALES..][..SUBSCALES];
            let small = [0, LANES].map(|h| small[h + lane]);
            (
                small.map(|byte| half(0) * f32::from(byte & 15)),
                small.map(|byte| -(half(1) * f32::from(byte >> 4))),
            )
        }
    }
}

fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(bytes[4 * index..][..4].try_into().expect("four bytes"))
}

/// The low four bits of `bits` as four bytes that are 0 or 1.
fn spread(bits: u32) -> u32 {
    ((bits & 15) * 0x0020_4081) & 0x0101_0101
}

/// The 32 codes of block `i` of the file's block(s) `raw`, four per word.
fn codes(format: Format, raw: &[u8], i: usize) -> [u32; 8] {
    const NIBBLES: u32 = 0x0f0f_0f0f;
    let halves = |low: &[u8], v: usize| word(low, v % 4) >> (v / 4 * 4) & NIBBLES;
    match format {
        Format::Q4_0 => std::array::from_fn(|v| halves(&raw[2..], v)),
        Format::Q4_1 => std::array::from_fn(|v| halves(&raw[4..], v)),
        Format::Q5_0 => {
            std::array::from_fn(|v| halves(&raw[6..], v) | spread(word(&raw[2..], 0) >> (4 * v)) << 4)
        }
        Format::Q5_1 => {
            std::array::from_fn(|v| halves(&raw[8..], v) | spread(word(&raw[4..], 0) >> (4 * v)) << 4)
        }
        // Two's complement plus 128.
        Format::Q8_0 => std::array::from_fn(|v| word(&raw[2..], v) ^ 0x8080_8080),
        Format::Q4K => {
            let low = &raw[16 + i / 2 * 32..][..32];
            std::array::from_fn(|v| word(low, v) >> (i % 2 * 4) & NIBBLES)
        }
        Format::Q5K => {
            let (high, low) = (&raw[16..48], &raw[48 + i / 2 * 32..][..32]);
            std::array::from_fn(|v| {
                word(low, v) >> (i % 2 * 4) & NIBBLES | (word(high, v) >> i & 0x0101_0101) << 4
            })
        }
        Format::Q6K => {
            let (half, i) = (i / 4, i % 4);
            let (low, high) = (&raw[half * 64 + i % 2 * 32..][..32], &raw[128 + half * 32..][..32]);
            std::array::from_fn(|v| {
                word(low, v) >> (i / 2 * 4) & NIBBLES | (word(high, v) >> (2 * i) & 0x0303_0303) << 4
            })
        }
        Format::Q2K => {
            let low = &raw[16 + i / 4 * 32..][..32];
            std::array::from_fn(|v| word(low, v) >> (i % 4 * 2) & 0x0303_0303)
        }
        Format::Q3K => {
            let (high, low) = (&raw[..32], &raw[32 + i / 4 * 32..][..32]);
            std::array::from_fn(|v| {
                word(low, v) >> (i % 4 * 2) & 0x0303_0303 | (word(high, v) >> i & 0x0101_0101) << 2
            })
        }
        Format::F32 | Format::F16 | Format::BF16 => {
            unreachable!("{} has no codes in `Layout::of`", format.name())
        }
    }
}

fn put_codes(planes: Planes, codes: [u32; 8], lane: usize, out: &mut [u8]) {
    let mut put = |plane: usize, word: u32| {
        out[plane * 64 + 4 * lane..][..4].copy_from_slice(&word.to_le_bytes());
    };
    let last_bits =
        |shift: u32| (0..8).fold(0, |bits, v: usize| bits | (codes[v] >> shift & 0x0101_0101) << v);
    let pairs = |h: usize, shift: u32| {
        (0..4).fold(0, |bits, v| bits | (codes[4 * h + v] >> shift & 0x0303_0303) << (2 * v))
    };
    match planes {
        Planes::Eight => return (0..8).for_each(|v| put(v, codes[v])),
        Planes::Two | Planes::Three => (0..2).for_each(|h| put(h, pairs(h, 0))),
        Planes::Four | Planes::Five | Planes::Six => {
            (0..4).for_each(|v| put(v, codes[v] & 0x0f0f_0f0f | (codes[v + 4] & 0x0f0f_0f0f) << 4));
        }
    }
    match planes {
        Planes::Three => put(2, last_bits(2)),
        Planes::Five => put(4, last_bits(4)),
        Planes::Six => (0..2).for_each(|h| put(4 + h, pairs(h, 4))),
        Planes::Two | Planes::Four | Planes::Eight => {}
    }
}

/// The 32 codes of one row of a block, four per word: the inverse of `put_codes`.
fn unpack_words(planes: Planes, plane: &[u8], lane: usize) -> [u32; 8] {
    let get = |index: usize| word(&plane[index * 64 + 4 * lane..], 0);
    let nibbles = |v: usize| get(v % 4) >> (v / 4 * 4) & 0x0f0f_0f0f;
    let pairs = |v: usize| get(v / 4) >> (v % 4 * 2) & 0x0303_0303;
    match planes {
        Planes::Two => std::array::from_fn(pairs),
        Planes::Three => std::array::from_fn(|v| pairs(v) | (get(2) >> v & 0x0101_0101) << 2),
        Planes::Four => std::array::from_fn(nibbles),
        Planes::Five => std::array::from_fn(|v| nibbles(v) | (get(4) >> v & 0x0101_0101) << 4),
        Planes::Six => {
            std::array::from_fn(|v| nibbles(v) | (get(4 + v / 4) >> (v % 4 * 2) & 0x0303_0303) << 4)
        }
        Planes::Eight => std::array::from_fn(get),
    }
}

fn put_scales(format: Format, scales: Scales, raw: &[u8], lane: usize, header: &mut [u8]) {
    let mut put = |entry: usize, half: &[u8]| {
        header[entry * HEADER + 2 * lane..][..2].copy_from_slice(half);
    };
    match scales {
        Scales::D => put(0, &raw[..2]),
        Scales::DM => {
            put(0, &raw[..2]);
            put(1, &raw[2..4]);
        }
        Scales::Group => {
            put(0, &raw[..2]);
            put(1, &raw[2..4]);
            for i in 0..GROUP_BLOCKS {
                let small = &mut header[2 * HEADER + i * SUBSCALES..][..SUBSCALES];
                (small[lane], small[LANES + lane]) = scale_and_min(&raw[4..16], i);
            }
        }
        Scales::GroupHalves => {
            let (d, of_sixteens) = half_scales(format, raw);
            put(0, d);
            for (i, pair) in of_sixteens.chunks_exact(2).enumerate() {
                let small = &mut header[HEADER + i * SUBSCALES..][..SUBSCALES];
                (small[lane], small[LANES + lane]) = (pair[0] as u8, pair[1] as u8);
            }
        }
        Scales::GroupHalfMins => {
            put(0, &raw[80..82]);
            put(1, &raw[82..84]);
            for (i, pair) in raw[..16].chunks_exact(2).enumerate() {
                let small = &mut header[2 * HEADER + i * SUBSCALES..][..SUBSCALES];
                (small[lane], small[LANES + lane]) = (pair[0], pair[1]);
            }
        }
    }
}

/// The bytes of d, and the scales of all groups of 16 in a file's block.
fn half_scales(format: Format, raw: &[u8]) -> (&[u8], [i8; 2 * GROUP_BLOCKS]) {
    if format == Format::Q3K {
        (&raw[108..110], std::array::from_fn(|i| q3_scale(&raw[96..108], i)))
    } else {
        (&raw[208..210], std::array::from_fn(|i| raw[192 + i] as i8))
    }
}

/// Turns rows of floats of `SIZE` bytes into columns of 16.
fn pack_floats<const SIZE: usize>(raw: &[u8], row_bytes: usize, panel: &mut [u8]) {
    for (lane, row) in raw.chunks_exact(row_bytes).enumerate() {
        for (column, value) in panel.chunks_exact_mut(SIZE * LANES).zip(row.chunks_exact(SIZE)) {
            column[lane * SIZE..][..SIZE].copy_from_slice(value);
        }
    }
}
