use proptest::prelude::*;

use super::*;
use crate::formats::Format;
use crate::naive::matmul as naive;
use crate::ops::{rms_norm, silu_mul};
use crate::quantize::ActivationSource;
use crate::random::random_weights;

/// One matmul to be checked.
#[derive(Debug, Clone)]
struct Case {
    format: Format,
    n: usize,
    k: usize,
    rows: usize,
    seed: u64,
}

impl Case {
    fn matrix(&self) -> (Matrix, Vec<f32>) {
        let raw = random_weights(self.format, self.n, self.k, self.seed);
        let w = naive::dequantize(self.format, self.k, &raw);
        (Matrix::pack(self.format, self.n, self.k, &raw).expect("packs"), w)
    }

    /// Activations with a few large ones, as in real models.
    fn x(&self) -> Vec<f32> {
        let raw = random_weights(Format::F32, self.rows, self.k, self.seed ^ 1);
        let mut x = naive::dequantize(Format::F32, self.k, &raw);
        x.iter_mut().step_by(37).for_each(|x| *x *= 20.0);
        x
    }
}

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(Format::ALL.to_vec())
}

fn cases() -> impl Strategy<Value = Case> {
    let k = prop::sample::select(vec![32, 96, 256, 512, 576, 896, 1792]);
    (formats(), 1usize..70, k, 1usize..70, any::<u64>())
        .prop_filter("whole blocks", |(format, _, k, _, _)| k % format.block_len() == 0)
        .prop_map(|(format, n, k, rows, seed)| Case { format, n, k, rows, seed })
}

fn isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available()).collect()
}

fn product(cpu: &Cpu, matrix: &Matrix, x: &[f32]) -> Vec<f32> {
    product_of(cpu, matrix, ActivationSource::Plain(x))
}

fn product_of(cpu: &Cpu, matrix: &Matrix, x: ActivationSource<'_>) -> Vec<f32> {
    let mut activations = Activations::new();
    activations.fill(cpu, x, matrix.k(), &[matrix]);
    let mut y = vec![f32::NAN; activations.rows() * matrix.n()];
    matmul(cpu, &activations, &mut [MatmulOutput { w: matrix, bias: None, add: false, y: &mut y }]);
    y
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|y| y.to_bits()).collect()
}

/// Fails if an element is further off than f32 rounding of a sum of these magnitudes explains.
fn assert_near(case: &Case, w: &[f32], x: &[f32], got: &[f32]) {
    let mut expected = vec![0.0; got.len()];
    naive::matmul(w, case.k, x, &mut expected);
    let magnitudes = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let mut sizes = vec![0.0; got.len()];
    naive::matmul(&magnitudes(w), case.k, &magnitudes(x), &mut sizes);
    for (i, ((got, expected), size)) in got.iter().zip(expected).zip(sizes).enumerate() {
        // With minimums, terms of both signs are larger than the weights they make.
        let tolerance = 4e-6 * size + 1e-30;
        assert!(
            (got - expected).abs() <= tolerance,
            "{case:?}: y[{i}] = {got}, expected {expected}, size {size}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn equals_the_naive_product_of_the_same_rounded_activations(case in cases()) {
        let (matrix, w) = case.matrix();
        let x = case.x();
        let seen = if case.format.is_float() { x.clone() } else { naive::round_to_int8(&x) };
        for isa in isas() {
            let cpu = Cpu::with_isa(1, isa).expect("available");
            assert_near(&case, &w, &seen, &product(&cpu, &matrix, &x));
        }
    }

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_scalar_kernel(case in cases()) {
        let (matrix, _) = case.matrix();
        let x = case.x();
        let cpus = isas().into_iter().map(|isa| Cpu::with_isa(2, isa).expect("available"));
        let mut results = cpus.map(|cpu| bits(&product(&cpu, &matrix, &x)));
        let first = results.next().expect("scalar is always available");
        for result in results {
            prop_assert_eq!(&first, &result);
        }
    }

    #[test]
    fn what_is_computed_on_the_way_has_the_bits_of_what_is_computed_before(case in cases()) {
        let (matrix, _) = case.matrix();
        let (x, k) = (case.x(), case.k);
        let (weight, eps) = (&x[..k], 1e-6);
        for isa in isas() {
            let cpu = Cpu::with_isa(2, isa).expect("available");
            let mut before = vec![0.0; x.len()];
            rms_norm(&cpu, &x, weight, eps, &mut before);
            let normed = product_of(&cpu, &matrix, ActivationSource::Normed { x: &x, weight, eps });
            prop_assert_eq!(bits(&normed), bits(&product(&cpu, &matrix, &before)));
        }
    }

    #[test]
    fn gate_and_up_in_one_pass_have_the_bits_of_each_by_itself(
        case in cases(),
        up_format in formats(),
        down_format in formats(),
        blocks in prop::sample::select(vec![1, 2, 3, 8, 16, 24]),
    ) {
        let (n, k) = (blocks * BLOCK, case.k);
        prop_assume!(k % up_format.block_len() == 0 && n % down_format.block_len() == 0);
        let gate = Case { n, ..case.clone() }.matrix().0;
        let up = Case { n, format: up_format, seed: !case.seed, ..case.clone() }.matrix().0;
        let down = Case { n: 20, k: n, format: down_format, ..case.clone() }.matrix().0;
        let x = case.x();
        for isa in isas() {
            let cpu = Cpu::with_isa(2, isa).expect("available");
            let mut activations = Activations::new();
            activations.fill(&cpu, ActivationSource::Plain(&x), k, &[&gate, &up]);
            let mut hidden = Activations::new();
            gated_matmul(&cpu, &activations, &gate, &up, &mut hidden, &[&down]);
            let mut y = vec![f32::NAN; case.rows * 20];
            matmul(&cpu, &hidden, &mut [MatmulOutput { w: &down, bias: None, add: false, y: &mut y }]);
            let (gates, ups) = (product(&cpu, &gate, &x), product(&cpu, &up, &x));
            let mut before = vec![0.0; gates.len()];
            silu_mul(&cpu, &gates, &ups, &mut before);
            prop_assert_eq!(bits(&y), bits(&product(&cpu, &down, &before)));
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_batch_and_with_any_number_of_threads(case in cases()) {
        let (matrix, _) = case.matrix();
        let x = case.x();
        let alone = Cpu::new(1);
        let expected: Vec<u32> = x.chunks(case.k).flat_map(|row| bits(&product(&alone, &matrix, row))).collect();
        for threads in 1..4 {
            let cpu = Cpu::new(threads);
            prop_assert_eq!(&expected, &bits(&product(&cpu, &matrix, &x)));
        }
    }
}

#[test]
fn float_rows_need_not_be_whole_blocks() {
    let case = Case { format: Format::F32, n: 20, k: 41, rows: 3, seed: 9 };
    let ((matrix, w), x) = (case.matrix(), case.x());
    assert_near(&case, &w, &x, &product(&Cpu::new(1), &matrix, &x));
}

#[test]
fn several_outputs_with_bias_and_residual_share_one_call() {
    let cpu = Cpu::new(2);
    let (rows, k) = (5, 256);
    let formats = [Format::Q4K, Format::Q6K, Format::F16, Format::Q5_0];
    let cases = formats.map(|format| Case { format, n: 40, k, rows, seed: 3 });
    let matrices: Vec<Matrix> = cases.iter().map(|case| case.matrix().0).collect();
    let x = cases[0].x();
    let bias: Vec<f32> = (0..40).map(|i| i as f32).collect();
    let mut activations = Activations::new();
    activations.fill(&cpu, ActivationSource::Plain(&x), k, &matrices.iter().collect::<Vec<_>>());
    let mut ys: Vec<Vec<f32>> = (0..4).map(|i| vec![i as f32; rows * 40]).collect();
    let mut outputs: Vec<MatmulOutput> = (matrices.iter().zip(&mut ys).enumerate())
        .map(|(i, (w, y))| MatmulOutput { w, bias: (i % 2 == 0).then_some(&bias[..]), add: i >= 2, y })
        .collect();
    matmul(&cpu, &activations, &mut outputs);
    for (i, (w, y)) in matrices.iter().zip(&ys).enumerate() {
        for (j, (y, plain)) in y.iter().zip(product(&cpu, w, &x)).enumerate() {
            let with_bias = if i % 2 == 0 { plain + bias[j % 40] } else { plain };
            let expected = if i >= 2 { i as f32 + with_bias } else { with_bias };
            assert_eq!(*y, expected, "output {i} at {j}");
        }
    }
}

#[test]
#[should_panic(expected = "were not filled for")]
fn activations_that_lack_a_form_are_refused() {
    let cpu = Cpu::new(1);
    let case = |format| Case { format, n: 16, k: 32, rows: 1, seed: 5 };
    let (five, eight) = (case(Format::Q5_0).matrix().0, case(Format::Q8_0).matrix().0);
    let mut activations = Activations::new();
    activations.fill(&cpu, ActivationSource::Plain(&[1.0; 32]), 32, &[&five]);
    matmul(&cpu, &activations, &mut [MatmulOutput { w: &eight, bias: None, add: false, y: &mut [0.0; 16] }]);
}
