use proptest::prelude::*;

use super::*;
use crate::isa::Isa;
use crate::naive;

/// Every instruction set of this machine, with one thread and with more threads than there are rows.
fn cpus() -> Vec<Cpu> {
    let isas = Isa::ALL.into_iter();
    isas.flat_map(|isa| [1, 3].map(|threads| Cpu::with_isa(threads, isa))).flatten().collect()
}

/// Runs an op everywhere. The bits must agree with each other, and the values with the naive reference's.
fn check(len: usize, tolerance: f32, op: impl Fn(&Cpu, &mut [f32]), naive: impl Fn(&mut [f32])) {
    let mut expected = vec![0.0; len];
    naive(&mut expected);
    let mut first: Option<Vec<f32>> = None;
    for cpu in cpus() {
        let mut out = vec![0.0; len];
        op(&cpu, &mut out);
        for (i, (&out, &expected)) in out.iter().zip(&expected).enumerate() {
            let error = (out - expected).abs();
            let allowed = tolerance * expected.abs().max(1e-3);
            assert!(error <= allowed, "{}: element {i} is {out}, not {expected}", cpu.isa().name());
        }
        let same = first
            .get_or_insert_with(|| out.clone())
            .iter()
            .zip(&out)
            .all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{}, {} threads: other bits", cpu.isa().name(), cpu.threads());
    }
}

fn values(len: usize, range: f32) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-range..range, len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rms_norm_is_its_naive_twin(
        (x, weight) in (1usize..900, 0usize..6).prop_flat_map(|(w, rows)| (values(w * rows, 9.0), values(w, 2.0)))
    ) {
        check(
            x.len(),
            2e-6,
            |cpu, out| rms_norm(cpu, &x, &weight, 1e-5, out),
            |out| naive::ops::rms_norm(&x, &weight, 1e-5, out),
        );
    }

    #[test]
    fn silu_mul_is_its_naive_twin(
        (gate, up) in (0usize..10_000).prop_flat_map(|len| (values(len, 100.0), values(len, 9.0)))
    ) {
        check(
            gate.len(),
            1e-6,
            |cpu, out| silu_mul(cpu, &gate, &up, out),
            |out| naive::ops::silu_mul(&gate, &up, out),
        );
    }

    #[test]
    fn rope_is_its_naive_twin(
        pairs in 1usize..70,
        heads in 1usize..5,
        positions in prop::collection::vec(0u32..40_000, 0..40),
        halves: bool,
    ) {
        let style = if halves { RopeStyle::Halves } else { RopeStyle::Interleaved };
        let radians: Vec<f32> = (0..pairs).map(|i| 1e4f32.powf(-(i as f32) / pairs as f32)).collect();
        let freqs = RopeFreqs::new(&radians);
        let x: Vec<f32> = (0..positions.len() * heads * 2 * pairs).map(|i| (i as f32 * 0.7).sin()).collect();
        check(
            x.len(),
            // Two terms of size 1 may cancel; the tolerance is relative to no less than 1e-3.
            4e-4,
            |cpu, out| {
                out.copy_from_slice(&x);
                rope(cpu, out, heads, 2 * pairs, Rope { freqs: &freqs, style, positions: &positions });
            },
            |out| {
                out.copy_from_slice(&x);
                naive::ops::rope(out, heads, 2 * pairs, &positions, &radians, style);
            },
        );
    }
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let cpu = Cpu::new(2);
    let x: Vec<f32> = (0..7 * 1000).map(|i| (i as f32).sin()).collect();
    let weight = vec![1.5; 1000];
    let mut together = vec![0.0; x.len()];
    rms_norm(&cpu, &x, &weight, 1e-6, &mut together);
    for (x, together) in x.chunks(1000).zip(together.chunks(1000)) {
        let mut alone = vec![0.0; 1000];
        rms_norm(&cpu, x, &weight, 1e-6, &mut alone);
        assert_eq!(alone, together);
    }
}
