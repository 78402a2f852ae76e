use proptest::prelude::*;

use super::*;

/// One head's keys (or values) of a token after a round trip through a Q8 block, and the scales of their groups.
fn written(x: &[f32], keys: bool, index: usize) -> (Vec<f32>, Vec<f32>) {
    let dim = x.len();
    let shape = KvShape { kv_heads: 1, head_dim: dim, kv_type: KvType::Q8 };
    let layer = KvLayer { shape, block_stride_elems: shape.layer_elems(), offset_elems: 0 };
    let mut pool = vec![0xffff; shape.layer_elems()];
    let slots = [KvSlot { block: 0, index: index as u32 }];
    kv_write(&Cpu::new(1), &mut pool, layer, x, x, None, &slots);
    let range = if keys { layer.keys(0, 0) } else { layer.values(0, 0) };
    let (codes, scales) = q8_parts(&pool[range], dim);
    let scales: Vec<f32> = scales.iter().map(|scales| f16::from_bits(scales[index]).to_f32()).collect();
    let code =
        |d: usize| codes[if keys { (d / 2 * BLOCK_TOKENS + index) * 2 + d % 2 } else { index * dim + d }];
    ((0..dim).map(|d| f32::from(code(d)) * scales[d / SCALE_DIMS]).collect(), scales)
}

proptest! {
    #[test]
    fn numbers_in_bytes_are_within_half_a_step(
        x in prop::sample::select(vec![16, 48, 64, 256]).prop_flat_map(|dim| prop::collection::vec(-1.0f32..1.0, dim)),
        magnitude in prop::sample::select(vec![0.05f32, 1.0, 300.0, 1e5]),
        keys: bool,
        index in 0..BLOCK_TOKENS,
    ) {
        let x: Vec<f32> = x.iter().map(|x| x * magnitude).collect();
        let (found, scales) = written(&x, keys, index);
        for (d, (x, found)) in x.iter().zip(&found).enumerate() {
            let scale = scales[d / SCALE_DIMS];
            // The scale is rounded to f16, so the largest may be off by a little more than half a step.
            prop_assert!((x - found).abs() <= scale * 0.5001 + x.abs() / 2048.0, "{x} as {found}, scale {scale}");
        }
    }
}

#[test]
fn zeros_stay_and_what_is_no_number_is_not_hidden() {
    for keys in [true, false] {
        assert_eq!(written(&[0.0; 32], keys, 3).0, [0.0; 32]);
        let mut x = [1.0; 64];
        x[40] = f32::NAN;
        let (found, _) = written(&x, keys, 15);
        assert!(found[..32].iter().all(|&x| (x - 1.0).abs() < 1e-3), "the other group is whole");
        assert!(found[32..].iter().all(|x| x.is_nan()), "a group with NaN is NaN");
        x[40] = f32::INFINITY;
        assert!(written(&x, keys, 0).0[32..].iter().all(|x| x.is_nan()));
        let tiny = written(&[1e-9; 16], keys, 1).0;
        assert!(tiny.iter().all(|&x| x.abs() < 1e-5), "{tiny:?}");
    }
}
