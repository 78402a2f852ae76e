//! Tests the AVX-VNNI kernel on machines that have its instruction only in the AVX-512 encoding.

use super::*;
use crate::activations::Activations;
use crate::dispatch::Cpu;
use crate::formats::Format;
use crate::matrix::Matrix;
use crate::quantize::ActivationSource;
use crate::random::random_weights;
use crate::scalar::scalar_kernel;
use crate::shapes::PANELS_MAX;

/// AVX-VNNI's instruction in the encoding of AVX-512, to run the AVX-VNNI kernel on machines that lack the other.
struct OtherCoding;

impl Dot for OtherCoding {
    const SIGNED_BYTES: bool = Vnni::SIGNED_BYTES;

    #[inline(always)]
    unsafe fn dot<const SIGNED: bool>(acc: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_dpbusd_epi32(acc, w, x) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512vnni,avx512vl")]
    unsafe fn run<C: Codes, F: Factors>(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
        // SAFETY: this function's instructions.
        unsafe { multiply::<OtherCoding, C, F>(layout, panels, x, sums) }
    }
}

#[test]
fn the_kernel_for_avx_vnni_has_the_bits_of_the_scalar_one() {
    if !crate::Isa::Avx512Vnni.available() {
        return bandmaster_test_support::skip("this processor has no AVX-512 VNNI");
    }
    let cpu = Cpu::new(1);
    for format in Format::ALL.into_iter().filter(|format| !format.is_float()) {
        for rows in [1, 2, 7, 64] {
            let (n, k) = (32, 512);
            let matrix = Matrix::pack(format, n, k, &random_weights(format, n, k, 3)).expect("packs");
            let x: Vec<f32> = (0..rows * k).map(|i| ((i * 7919) % 1000) as f32 - 500.0).collect();
            let mut activations = Activations::new();
            activations.fill(&cpu, ActivationSource::Plain(&x), k, &[&matrix]);
            let layout = matrix.layout();
            let Layout::Codes { planes, scales, .. } = layout else { unreachable!("no floats here") };
            let (tile, panels) = (activations.tile(0, layout), matrix.panels_in(0..PANELS_MAX));
            let mut wanted = vec![[0.0; LANES]; PANELS_MAX * rows];
            let mut found = wanted.clone();
            scalar_kernel(layout, panels, &tile, &mut wanted);
            // SAFETY: AVX-512 VNNI was detected, and it implies the others.
            unsafe { kernel::<OtherCoding>(planes, scales)(layout, panels, &tile, &mut found) };
            assert_eq!(wanted, found, "{} with {rows} rows", format.name());
        }
    }
}
