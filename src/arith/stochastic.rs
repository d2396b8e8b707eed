//! Stochastic rounding of real weights to binary or ternary ones: the weights of every member of an ensemble.
//!
//! [`guide::stochastic`](crate::guide::stochastic) is the specification.

use crate::arith::lfsr;
use crate::arith::lfsr::Bits;
use crate::arith::matrix::{IntMatrix, WeightKind};

/// Maximum number of random bits per weight.
pub const MAX_BITS: u32 = 16;

/// A sampling law: the distribution of a rounded weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Law {
    /// +1 with probability (w + 1) / 2, else -1.
    Binary,
    /// The sign of w with probability |w|, else 0.
    Ternary,
}

impl Law {
    /// The kind of the rounded weights.
    pub fn kind(self) -> WeightKind {
        match self {
            Self::Binary => WeightKind::Binary,
            Self::Ternary => WeightKind::Ternary,
        }
    }
}

impl std::fmt::Display for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind().fmt(f)
    }
}

/// The stochastic rounding of a layer's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Rounding {
    /// The sampling law.
    pub law: Law,
    /// Random bits per weight, 1 to [`MAX_BITS`].
    pub bits: u32,
    /// Number of neighbouring rows that share random bits, at least 1.
    pub share: usize,
    /// The user's seed.
    pub seed: u64,
}

impl Rounding {
    /// The stored integer of a weight: P of the binary law, W of the ternary law.
    pub fn code(self, weight: f32) -> i32 {
        let one = f64::from(1u32 << self.bits);
        let w = f64::from(weight.clamp(-1.0, 1.0));
        let nearest = |x: f64| (x + 0.5).floor();
        match self.law {
            Law::Binary => nearest((w + 1.0) * 0.5 * one) as i32,
            Law::Ternary => nearest(w.abs() * one).copysign(w) as i32,
        }
    }

    /// The rounded weight for a stored integer and the random number `u`, which is below 2^bits.
    pub fn draw(self, code: i32, u: u32) -> i16 {
        match self.law {
            Law::Binary => {
                if (u as i32) < code {
                    1
                } else {
                    -1
                }
            }
            Law::Ternary => ((code + u as i32) >> self.bits) as i16,
        }
    }

    /// Index of the first random bit of row group `group`; a row has `columns` weights.
    pub fn start(self, group: usize, columns: usize) -> u64 {
        group as u64 * columns as u64 * u64::from(self.bits)
    }
}

/// The real weights of a layer, stored as the integers that members are drawn from; rows by fan-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StochasticMatrix {
    rounding: Rounding,
    /// The layer's number, from which seeds are derived.
    layer: u64,
    rows: usize,
    columns: usize,
    codes: Vec<i32>,
}

impl StochasticMatrix {
    /// Rounds `weight(row, column)` to the nearest stored integer, a multiple of 2^-bits in probability.
    pub fn from_fn(
        rounding: Rounding,
        layer: u64,
        (rows, columns): (usize, usize),
        mut weight: impl FnMut(usize, usize) -> f32,
    ) -> Self {
        assert!((1..=MAX_BITS).contains(&rounding.bits) && rounding.share > 0, "{rounding:?}");
        let codes = (0..rows * columns).map(|at| rounding.code(weight(at / columns, at % columns))).collect();
        Self { rounding, layer, rows, columns, codes }
    }

    /// The layer's number in the order of seeds.
    pub fn layer(&self) -> u64 {
        self.layer
    }

    /// The stochastic rounding.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, which is the fan-in.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The stored integer at (`row`, `column`).
    pub fn code(&self, row: usize, column: usize) -> i32 {
        self.codes[row * self.columns + column]
    }

    /// The LFSR seed of a member.
    pub fn seed(&self, member: usize) -> u64 {
        lfsr::seed(self.rounding.seed, self.layer, member as u64)
    }

    /// The rounded weights of a member.
    pub fn sample(&self, member: usize) -> IntMatrix {
        let Rounding { bits, share, .. } = self.rounding;
        let mut sequence = Bits::new(self.seed(member));
        let mut words: Vec<u32> = Vec::new();
        let mut group = usize::MAX;
        IntMatrix::from_fn(self.rows, self.columns, |row, column| {
            if row / share != group {
                // Row groups are consecutive in the sequence.
                group = row / share;
                words = (0..self.columns).map(|_| sequence.number(bits)).collect();
            }
            self.rounding.draw(self.code(row, column), words[column])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounding(law: Law, bits: u32, share: usize) -> Rounding {
        Rounding { law, bits, share, seed: 1 }
    }

    /// Over all random numbers the mean is the nearest multiple of the smallest step, for every weight on a fine grid.
    #[test]
    fn means_are_the_nearest_multiples() {
        for bits in [1, 2, 3, 5, 8] {
            let one = 1u32 << bits;
            for law in [Law::Binary, Law::Ternary] {
                let r = rounding(law, bits, 1);
                for i in -1100..=1100 {
                    let w = i as f32 / 1000.0;
                    let sum: i32 = (0..one).map(|u| i32::from(r.draw(r.code(w), u))).sum();
                    let error = (f64::from(sum) / f64::from(one) - f64::from(w.clamp(-1.0, 1.0))).abs();
                    // A binary step is twice as large: from -1 to +1.
                    let half = if law == Law::Binary { 1.0 } else { 0.5 } / f64::from(one);
                    assert!(error <= half + 1e-6, "{r:?} {w}: {error}");
                }
            }
        }
    }

    #[test]
    fn certain_weights_are_certain() {
        for bits in [1, 16] {
            for (law, w, drawn) in [
                (Law::Binary, 1.0, 1),
                (Law::Binary, -1.0, -1),
                (Law::Ternary, 1.0, 1),
                (Law::Ternary, 0.0, 0),
                (Law::Ternary, -1.0, -1),
            ] {
                let r = rounding(law, bits, 1);
                let all = [0, 1, (1 << bits) - 1];
                assert!(all.iter().all(|u| r.draw(r.code(w), *u) == drawn), "{law} {w}");
            }
        }
    }

    /// Every weight by the index of its bits, as the specification writes it.
    #[test]
    fn weights_take_the_bits_of_their_index() {
        for (bits, share) in [(1, 1), (3, 2), (2, 64), (16, 3), (5, 5)] {
            for law in [Law::Binary, Law::Ternary] {
                let (rows, columns) = (7, 11);
                let weight = |r: usize, c: usize| ((r * 29 + c * 13) % 41) as f32 / 20.0 - 1.0;
                let m = StochasticMatrix::from_fn(rounding(law, bits, share), 4, (rows, columns), weight);
                let sampled = m.sample(2);
                let sequence: Vec<bool> = Bits::new(m.seed(2)).take(rows * columns * bits as usize).collect();
                for r in 0..rows {
                    for c in 0..columns {
                        let first = (r / share * columns + c) * bits as usize;
                        let u = sequence[first..first + bits as usize]
                            .iter()
                            .fold(0, |n, b| n << 1 | u32::from(*b));
                        assert_eq!(sampled.at(r, c), m.rounding().draw(m.code(r, c), u));
                    }
                }
            }
        }
    }
}
