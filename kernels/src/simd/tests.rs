use super::*;
use crate::dispatch::Cpu;
use crate::isa::Isa;

/// Every instruction set of this machine.
fn cpus() -> Vec<Cpu> {
    Isa::ALL.into_iter().filter_map(|isa| Cpu::with_isa(1, isa)).collect()
}

/// Values of all magnitudes, and the special ones.
fn samples() -> Vec<f32> {
    let special = [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, f32::MAX];
    let spread = (0..1 << 16).map(|i: u32| f32::from_bits(i.wrapping_mul(0x9e37_79b9)));
    let near = (-20_000..20_000).map(|i| i as f32 * 0.005);
    special.into_iter().chain(spread).chain(near).collect()
}

/// All NaNs count as equal, whatever their payload.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

struct EveryOperation<'a>(&'a [f32]);

impl Kernel for EveryOperation<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut out = Vec::new();
        let vectors: Vec<S::V> = self.0.as_chunks().0.iter().map(|x| s.load(x)).collect();
        for (i, three) in vectors.windows(3).enumerate() {
            let (a, b, c) = (three[0], three[1], three[2]);
            let mut halves = [0; LANES];
            s.store_f16(a, &mut halves);
            let results = [
                s.splat(self.0[i]),
                s.splat_pair(&[self.0[i], self.0[i + 1]]),
                s.load_f16(&halves),
                s.add(a, b),
                s.sub(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.mul_add(a, b, c),
                s.min(a, b),
                s.max(a, b),
                s.zero_below(a, b, c),
                s.first(i % 17, a, b),
                s.pair_sums(a, b),
                s.splat(s.sum(a)),
                exp(s, a),
            ];
            out.extend(results.iter().flat_map(|&v| to_array(s, v)));
            out.push(if to_array(s, a).iter().any(|x| x.is_nan()) { 0.0 } else { s.max_lane(a) });
        }
        out
    }
}

#[test]
fn every_operation_gives_the_same_bits_on_every_instruction_set() {
    let samples = samples();
    let results: Vec<_> = cpus().iter().map(|cpu| bits(&cpu.vectorise(EveryOperation(&samples)))).collect();
    for other in &results[1..] {
        let differ = other.iter().zip(&results[0]).position(|(a, b)| a != b);
        assert_eq!(differ, None, "index modulo {}", 15 * LANES + 1);
    }
}

struct Halves;

impl Kernel for Halves {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        all.as_chunks().0.iter().flat_map(|x| to_array(s, s.load_f16(x))).collect()
    }
}

#[test]
fn every_f16_is_read_exactly() {
    let expected: Vec<f32> = (0..=u16::MAX).map(|x| f16::from_bits(x).to_f32()).collect();
    for cpu in cpus() {
        assert_eq!(bits(&cpu.vectorise(Halves)), bits(&expected), "{}", cpu.isa().name());
    }
}

struct Exp<'a>(&'a [f32]);

impl Kernel for Exp<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        self.0
            .chunks(LANES)
            .flat_map(|x| to_array(s, exp(s, load_partial(s, x))).into_iter().take(x.len()))
            .collect()
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let x: Vec<f32> = (-86_999..=87_999).map(|i| i as f32 * 0.001).collect();
    for cpu in cpus() {
        for (x, e) in x.iter().zip(cpu.vectorise(Exp(&x))) {
            let exact = f64::from(*x).exp();
            let unit = f64::from(f32::from_bits((exact as f32).to_bits() + 1)) - f64::from(exact as f32);
            assert!((f64::from(e) - exact).abs() <= 2.0 * unit, "exp({x}) = {e}, not {exact}");
        }
    }
}

#[test]
fn exp_beyond_its_range() {
    let x = [-87.001, -1e30, f32::NEG_INFINITY, f32::NAN, 88.0, 1e30, f32::INFINITY, 0.0];
    for cpu in cpus() {
        let e = cpu.vectorise(Exp(&x));
        assert_eq!(e[..3], [0.0; 3]);
        assert!(e[3].is_nan());
        assert!(e[4] > 1.6e38 && e[5] == e[4] && e[6] == e[4]);
        assert_eq!(e[7], 1.0);
    }
}

#[test]
fn exp_does_not_depend_on_the_lane() {
    let x: Vec<f32> = samples();
    for cpu in cpus() {
        let aligned = cpu.vectorise(Exp(&x));
        let shifted = cpu.vectorise(Exp(&x[5..]));
        assert_eq!(bits(&aligned[5..]), bits(&shifted));
    }
}
