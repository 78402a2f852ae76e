//! How much a goal is like the worked examples of each strategy: kernel ridge regression with a Gaussian kernel on the
//! vectors of their meaning (Saunders, Gammerman and Vovk 1998). Against the mean similarity of the nearest examples, it
//! is not misled by one example that is close by its topic alone.

/// The kernel falls to 1/e at a squared distance of 1, which is a cosine of 0.5.
const GAMMA: f64 = 1.0;
/// What is added to the kernel's diagonal. More makes scores smoother.
const RIDGE: f64 = 0.3;
/// A strategy with few examples counts as if it had more, up to this factor.
const WEIGHT_MAX: f64 = 3.0;

/// Scores by class, near 1 where a goal is like the examples of a class, and near 0 where it is not. `classes` has the
/// class of each example, below `count`. All vectors have length 1.
#[must_use]
pub(super) fn scores(goal: &[f32], examples: &[&[f32]], classes: &[usize], count: usize) -> Vec<f64> {
    let size = examples.len();
    let mut sizes = vec![0_usize; count];
    classes.iter().for_each(|class| sizes[*class] += 1);
    let used = sizes.iter().filter(|size| **size > 0).count();
    let mut kernel = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..=row {
            kernel[row * size + column] = similarity(examples[row], examples[column]);
        }
        let weight = (size as f64 / (used * sizes[classes[row]]) as f64).min(WEIGHT_MAX);
        kernel[row * size + row] += RIDGE / weight;
    }
    factorize(&mut kernel, size);
    // The scores are k(goal, examples) · (K + ridge)⁻¹ · membership, so that one system is solved for all classes.
    let mut dual: Vec<f64> = examples.iter().map(|example| similarity(goal, example)).collect();
    solve(&kernel, &mut dual);
    let mut found = vec![0.0; count];
    classes.iter().zip(&dual).for_each(|(class, share)| found[*class] += share);
    found
}

fn similarity(a: &[f32], b: &[f32]) -> f64 {
    let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    (-GAMMA * 2.0 * (1.0 - f64::from(cosine))).exp()
}

/// Replaces the lower triangle of a symmetric positive definite matrix by its Cholesky factor.
fn factorize(matrix: &mut [f64], size: usize) {
    for row in 0..size {
        for column in 0..=row {
            let (a, b) = (&matrix[row * size..][..column], &matrix[column * size..][..column]);
            let rest = matrix[row * size + column] - a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            matrix[row * size + column] = match row == column {
                true => rest.sqrt(),
                false => rest / matrix[column * size + column],
            };
        }
    }
}

/// Solves L·Lᵀ·x = b, where L is the Cholesky factor and `b` becomes x.
fn solve(factor: &[f64], b: &mut [f64]) {
    let size = b.len();
    for row in 0..size {
        let known: f64 = (0..row).map(|column| factor[row * size + column] * b[column]).sum();
        b[row] = (b[row] - known) / factor[row * size + row];
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|below| factor[below * size + row] * b[below]).sum();
        b[row] = (b[row] - known) / factor[row * size + row];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_scores_high_in_the_class_of_the_examples_it_is_like() {
        let at = |degrees: f32| vec![degrees.to_radians().cos(), degrees.to_radians().sin()];
        let examples = [at(0.0), at(10.0), at(80.0), at(90.0), at(100.0), at(45.0)];
        let examples: Vec<&[f32]> = examples.iter().map(Vec::as_slice).collect();
        let classes = [0, 0, 1, 1, 1, 0];
        let near = scores(&at(5.0), &examples, &classes, 3);
        assert!(near[0] > 0.7 && near[1] < 0.3 && near[2] == 0.0, "{near:?}");
        let far = scores(&at(92.0), &examples, &classes, 3);
        assert!(far[1] > 0.7 && far[0] < 0.3, "{far:?}");
        assert!(scores(&at(270.0), &examples, &classes, 3).iter().all(|score| score.abs() < 0.2));
        assert_eq!(scores(&at(0.0), &[], &[], 2), [0.0, 0.0]);
    }

    #[test]
    fn a_system_is_solved() {
        let mut matrix = vec![4.0, 2.0, 0.6, 2.0, 5.0, 1.5, 0.6, 1.5, 3.0];
        let full = matrix.clone();
        factorize(&mut matrix, 3);
        let mut x = vec![1.0, -2.0, 0.5];
        solve(&matrix, &mut x);
        for (row, expected) in [1.0, -2.0, 0.5].into_iter().enumerate() {
            let product: f64 = (0..3).map(|column| full[row * 3 + column] * x[column]).sum();
            assert!((product - expected).abs() < 1e-12, "{product} {expected}");
        }
    }
}
