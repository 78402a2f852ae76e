use super::*;

/// Checks one block with codes, scales and sign bits that can be worked out by hand.
fn check(format: Format, raw: &[u8], expected: &[(usize, f32)]) {
    let mut out = vec![0.0; format.block_len()];
    format.dequantize(raw, &mut out);
    for &(index, value) in expected {
        assert_eq!(out[index], value, "{} weight {index}", format.name());
    }
}

fn half_bytes(value: f32) -> [u8; 2] {
    f16::from_f32(value).to_le_bytes()
}

#[test]
fn blocks_dequantize_as_worked_out_by_hand() {
    let d = half_bytes(0.5);
    let m = half_bytes(-2.0);
    let nibbles: Vec<u8> = (0..16).map(|j| j | (15 - j) << 4).collect();

    check(Format::Q4_0, &[&d[..], &nibbles].concat(), &[(0, -4.0), (15, 3.5), (16, 3.5), (31, -4.0)]);
    check(Format::Q4_1, &[&d[..], &m, &nibbles].concat(), &[(0, -2.0), (3, -0.5), (16, 5.5), (31, -2.0)]);
    let high = 0x8001_0002_u32.to_le_bytes();
    check(Format::Q5_0, &[&d[..], &high, &nibbles].concat(), &[(0, -8.0), (1, 0.5), (16, 7.5), (31, 0.0)]);
    check(Format::Q5_1, &[&d[..], &m, &high, &nibbles].concat(), &[(0, -2.0), (1, 6.5), (31, 6.0)]);
    let signed: Vec<u8> = (0..32).map(|j| (j as i8 - 16) as u8).collect();
    check(Format::Q8_0, &[&d[..], &signed].concat(), &[(0, -8.0), (16, 0.0), (31, 7.5)]);
}

#[test]
fn superblocks_dequantize_as_worked_out_by_hand() {
    // Q4_K: d 0.5, dmin 2. Block 0: scale 3, min 1. Block 5: scale 1 | 2 << 4 = 33, min 2 | 1 << 4 = 18.
    let mut raw = vec![0u8; 144];
    raw[..2].copy_from_slice(&half_bytes(0.5));
    raw[2..4].copy_from_slice(&half_bytes(2.0));
    raw[4] = 3;
    raw[8] = 1;
    raw[5] = 2 << 6;
    raw[9] = 1 << 6;
    raw[13] = 1 | 2 << 4;
    raw[16] = 7;
    raw[16 + 2 * 32 + 31] = 9 << 4;
    check(Format::Q4K, &raw, &[(0, 8.5), (1, -2.0), (32, 0.0), (160, -36.0), (191, 0.5 * 33.0 * 9.0 - 36.0)]);

    // Q5_K: the same scales. The fifth bit of block 5 is bit 5 of `high`.
    let mut five = vec![0u8; 176];
    five[..16].copy_from_slice(&raw[..16]);
    five[16 + 31] = 1 << 5;
    five[48 + 2 * 32 + 31] = 9 << 4;
    check(Format::Q5K, &five, &[(191, 0.5 * 33.0 * 25.0 - 36.0), (190, -36.0)]);

    // Q6_K: weight 200 is half 1, block 2, index 8; scale 12.
    let mut six = vec![0u8; 210];
    six[64 + 8] = 5 << 4;
    six[128 + 32 + 8] = 3 << 4;
    six[192 + 12] = -3_i8 as u8;
    six[208..].copy_from_slice(&half_bytes(0.25));
    check(Format::Q6K, &six, &[(200, 0.25 * -3.0 * 21.0), (201, 0.25 * -3.0 * -32.0), (0, 0.0)]);

    // Q2_K: weight 130 is the third of the second half; scale 5, min 3.
    let mut two = vec![0u8; 84];
    two[8] = 5 | 3 << 4;
    two[16 + 32 + 2] = 2;
    two[80..82].copy_from_slice(&half_bytes(0.5));
    two[82..].copy_from_slice(&half_bytes(0.25));
    check(Format::Q2K, &two, &[(130, 5.0 - 0.75), (131, -0.75)]);

    // Q3_K: weight 0 with its high bit set, weight 1 without; scale 0 is 40 - 32.
    let mut three = vec![0u8; 110];
    three[0] = 1;
    three[32] = 3;
    three[33] = 3;
    three[96] = 8;
    three[104] = 2;
    three[108..].copy_from_slice(&half_bytes(0.5));
    check(Format::Q3K, &three, &[(0, 12.0), (1, -4.0), (2, -16.0)]);
}

#[test]
fn numbers_and_names_are_unique() {
    for format in Format::ALL {
        assert_eq!(Format::from_ggml(format.ggml_type()), Some(format));
        assert_eq!(Format::ALL.iter().filter(|other| other.name() == format.name()).count(), 1);
    }
    assert_eq!(Format::from_ggml(9), None);
}
