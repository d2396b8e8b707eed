//! Sums of products by bit planes, and what their popcounts have to be multiplied with and added to.
//!
//! With x the planes of the input (coefficients d) and P(k) the number of places where plane k of the input and the sign of
//! the weight agree, and the weight is not 0, a sum of products is
//!
//! | input | weights +1, 0, -1 | weights of more bits (planes w, coefficients c) |
//! |---|---|---|
//! | bipolar | 2 P - active | 2 * sum of c(j) popcount(w(j) and x), minus the sum of the weights |
//! | other | sum of d(k) (P(k) - negatives) | sum of c(j) d(k) popcount(w(j) and x(k)) |
//!
//! where `active` and `negatives` count the row's weights that are not 0, and below 0. Hardware and the fast engine compute the
//! weighted popcounts; gain and constant of a row go into its thresholds.

use crate::arith::matrix::WeightKind;

/// How popcounts become sums for one kind of weights and one kind of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneSums {
    /// Kind of the weights.
    pub kind: WeightKind,
    /// Coefficients of the input's planes, least significant first.
    pub input: Vec<i64>,
    /// Coefficients of the weights' planes; one where weights are compared.
    pub weights: Vec<i64>,
    /// Factor of the weighted popcounts: 2 for a bipolar input, else 1.
    pub gain: i64,
}

impl PlaneSums {
    /// For an input of planes with coefficients `input`; `bipolar` says that it is one plane of +1 and -1.
    pub fn new(kind: WeightKind, input: Vec<i64>, bipolar: bool) -> Self {
        let weights = match kind {
            WeightKind::Signed(bits) => {
                (0..bits).map(|j| if j + 1 == bits { -(1 << j) } else { 1 << j }).collect()
            }
            _ => vec![1],
        };
        Self { kind, input, weights, gain: if bipolar { 2 } else { 1 } }
    }

    /// What is added to the gain times a row's weighted popcounts.
    pub fn constant(&self, row: &[i16]) -> i64 {
        let count = |f: fn(i16) -> bool| row.iter().filter(|w| f(**w)).count() as i64;
        match (self.kind, self.gain) {
            (WeightKind::Signed(_), 2) => -row.iter().map(|w| i64::from(*w)).sum::<i64>(),
            (WeightKind::Signed(_), _) => 0,
            (_, 2) => -count(|w| w != 0),
            _ => -count(|w| w < 0) * self.input.iter().sum::<i64>(),
        }
    }

    /// The smallest and the largest weighted popcount that a row, or any part of it, can give. Every lane can give 0, so a part
    /// of a row never leaves the range of the whole.
    pub fn range(&self, row: &[i16]) -> (i64, i64) {
        let negative = self.input.iter().filter(|d| **d < 0).sum::<i64>();
        let positive = self.input.iter().filter(|d| **d > 0).sum::<i64>();
        row.iter().fold((0, 0), |(low, high), &w| {
            let (a, b) = match self.kind {
                WeightKind::Signed(_) => {
                    let ends = (i64::from(w) * negative, i64::from(w) * positive);
                    (ends.0.min(ends.1), ends.0.max(ends.1))
                }
                // Planes that agree count; whether with the input or its complement, the extremes are the same.
                _ if w != 0 => (negative, positive),
                _ => (0, 0),
            };
            (low + a, high + b)
        })
    }
}
