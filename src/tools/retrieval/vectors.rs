//! Vectors as an embedding model makes them, in less space.

/// A vector of length 1 in one byte a dimension, which changes a cosine by less than 0.01.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vector {
    /// What the values are multiplied by.
    pub(super) scale: f32,
    pub(super) values: Vec<i8>,
}

impl Vector {
    pub(super) fn new(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0f32, |most, x| most.max(x.abs()));
        let scale = largest / 127.0;
        // A vector of zeros stays one: `as` makes 0 of what isn't a number.
        Self { scale, values: vector.iter().map(|x| (x / scale).round() as i8).collect() }
    }

    pub(super) fn values(&self) -> Vec<f32> {
        self.values.iter().map(|value| f32::from(*value) * self.scale).collect()
    }

    /// The cosine, if both are of one model; 0 if they differ in length.
    pub(super) fn cosine(&self, other: &Self) -> f64 {
        if self.values.len() != other.values.len() {
            return 0.0;
        }
        let pairs = self.values.iter().zip(&other.values);
        let sum: i32 = pairs.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        f64::from(sum) * f64::from(self.scale) * f64::from(other.scale)
    }
}
