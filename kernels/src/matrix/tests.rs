use proptest::prelude::*;

use super::*;
use crate::random::random_weights;

#[test]
fn packed_rows_dequantize_to_the_bits_of_the_file() {
    for format in Format::ALL {
        for (n, k) in [(1, 256), (16, 512), (37, 768)] {
            let raw = random_weights(format, n, k, 7);
            let matrix = Matrix::pack(format, n, k, &raw).expect("packs");
            let (mut expected, mut got) = (vec![0.0; k], vec![0.0; k]);
            for (row, raw) in raw.chunks_exact(format.row_bytes(k)).enumerate() {
                format.dequantize(raw, &mut expected);
                matrix.dequantize_row(row, &mut got);
                // -0.0 and 0.0 are the same weight.
                assert_eq!(expected, got, "{} row {row} of {n}x{k}", format.name());
            }
        }
    }
}

#[test]
fn packing_keeps_about_the_bytes_of_the_file() {
    for format in Format::ALL {
        let (n, k) = (64, 1024);
        let matrix = Matrix::packer(format, n, k).expect("packs").finish();
        let ratio = matrix.bytes() as f64 / (n * format.row_bytes(k)) as f64;
        assert!((0.99..1.04).contains(&ratio), "{}: {ratio}", format.name());
    }
}

proptest! {
    #[test]
    fn slabs_pack_to_the_same_bytes_as_the_whole(n in 1usize..100, panels_each in 1usize..4, seed: u64) {
        let (format, k) = (Format::Q5_0, 96);
        let raw = random_weights(format, n, k, seed);
        let whole = Matrix::pack(format, n, k, &raw).expect("packs");
        let mut packer = Matrix::packer(format, n, k).expect("packs");
        for slab in packer.slabs(panels_each) {
            let range = slab.byte_range();
            slab.pack(&raw[range]).expect("packs");
        }
        prop_assert_eq!(&whole.data[..], &packer.finish().data[..]);
    }
}

#[test]
fn what_cannot_be_packed_is_said() {
    let error = |format, n, k, raw: &[u8]| Matrix::pack(format, n, k, raw).expect_err("refused").to_string();
    assert!(error(Format::Q4K, 1, 896, &[]).contains("896 weights do not divide into Q4_K blocks of 256"));
    assert!(error(Format::Q8_0, 2, 32, &[0; 34]).contains("68 bytes, got 34"));
}
