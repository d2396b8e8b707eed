//! Sums of products from popcounts of bit planes: the gain and the constant that turn popcounts into sums.
//!
//! Let plane k of the input have the coefficient d(k). P(k) is the number of positions where the weight is not 0 and plane k of
//! the input agrees with the weight's sign. A sum of products is
//!
//! | input | weights +1, 0, -1 | weights of more bits (planes w, coefficients c) |
//! |---|---|---|
//! | bipolar | 2 P - active | 2 * sum of c(j) popcount(w(j) and x), minus the sum of the weights |
//! | other | sum of d(k) (P(k) - negatives) | sum of c(j) d(k) popcount(w(j) and x(k)) |
//!
//! where `active` counts the row's nonzero weights and `negatives` its negative weights. Hardware and the fast engine compute the
//! weighted popcounts. The gain and constant of a row move into its thresholds.

use crate::arith::matrix::WeightKind;

/// The conversion of popcounts into sums, for one kind of weights and one type of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneSums {
    /// Kind of the weights.
    pub kind: WeightKind,
    /// Coefficients of the input planes, least significant first.
    pub input: Vec<i64>,
    /// Coefficients of the weight planes; a single 1 for binary and ternary weights.
    pub weights: Vec<i64>,
    /// Factor of the weighted popcounts: 2 for a bipolar input, else 1.
    pub gain: i64,
}

/// What is counted of a row of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Weights that are not 0.
    pub active: i64,
    /// Weights below 0.
    pub negatives: i64,
    /// Sum of the weights.
    pub total: i64,
}

impl Row {
    /// The counts of `weights`.
    pub fn of(weights: &[i16]) -> Self {
        let count = |f: fn(i16) -> bool| weights.iter().filter(|w| f(**w)).count() as i64;
        let total = weights.iter().map(|w| i64::from(*w)).sum();
        Self { active: count(|w| w != 0), negatives: count(|w| w < 0), total }
    }
}

impl PlaneSums {
    /// The conversion for input planes with coefficients `input`; `bipolar` marks a single plane of +1 and -1.
    pub fn new(kind: WeightKind, input: Vec<i64>, bipolar: bool) -> Self {
        let weights = match kind {
            WeightKind::Signed(bits) => {
                (0..bits).map(|j| if j + 1 == bits { -(1 << j) } else { 1 << j }).collect()
            }
            _ => vec![1],
        };
        Self { kind, input, weights, gain: if bipolar { 2 } else { 1 } }
    }

    /// The constant added to gain times a row's weighted popcounts.
    pub fn constant(&self, row: &[i16]) -> i64 {
        self.constant_of(&Row::of(row))
    }

    /// The same from the row's counts.
    pub fn constant_of(&self, row: &Row) -> i64 {
        match (self.kind, self.gain) {
            (WeightKind::Signed(_), 2) => -row.total,
            (WeightKind::Signed(_), _) => 0,
            (_, 2) => -row.active,
            _ => -row.negatives * self.input.iter().sum::<i64>(),
        }
    }

    /// The minimum and maximum weighted popcount of a row or any part of it. Every lane can contribute 0, so a part of a row
    /// stays within the range of the whole row.
    pub fn range(&self, row: &[i16]) -> (i64, i64) {
        let negative = self.input.iter().filter(|d| **d < 0).sum::<i64>();
        let positive = self.input.iter().filter(|d| **d > 0).sum::<i64>();
        row.iter().fold((0, 0), |(low, high), &w| {
            let (a, b) = match self.kind {
                WeightKind::Signed(_) => {
                    let ends = (i64::from(w) * negative, i64::from(w) * positive);
                    (ends.0.min(ends.1), ends.0.max(ends.1))
                }
                // An agreement counts once; the extremes are the same for the input and its complement.
                _ if w != 0 => (negative, positive),
                _ => (0, 0),
            };
            (low + a, high + b)
        })
    }
}
