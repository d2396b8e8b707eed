//! Integer weight matrices and their bit matrices.

use crate::arith::bits::BitMatrix;

/// A matrix of small integers, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntMatrix {
    rows: usize,
    columns: usize,
    values: Vec<i16>,
}

/// The kind of a weight matrix, which determines the hardware multiplier: the narrowest kind that holds all values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightKind {
    /// +1 and -1: one bit.
    Binary,
    /// -1, 0 and +1: a sign and a mask.
    Ternary,
    /// Two's complement with this number of bits.
    Signed(u32),
}

impl WeightKind {
    /// Bits per weight in memory.
    pub fn bits(self) -> u32 {
        match self {
            Self::Binary => 1,
            Self::Ternary => 2,
            Self::Signed(bits) => bits,
        }
    }

    /// Number of bit planes whose popcounts are added.
    pub fn planes(self) -> usize {
        match self {
            Self::Binary | Self::Ternary => 1,
            Self::Signed(bits) => bits as usize,
        }
    }
}

impl std::fmt::Display for WeightKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Binary => f.write_str("binary"),
            Self::Ternary => f.write_str("ternary"),
            Self::Signed(bits) => write!(f, "int{bits}"),
        }
    }
}

impl IntMatrix {
    /// A matrix with elements `value(row, column)`.
    pub fn from_fn(rows: usize, columns: usize, mut value: impl FnMut(usize, usize) -> i16) -> Self {
        let values = (0..rows * columns).map(|at| value(at / columns, at % columns)).collect();
        Self { rows, columns, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `row`.
    pub fn row(&self, row: usize) -> &[i16] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// The value at (`row`, `column`).
    pub fn at(&self, row: usize, column: usize) -> i16 {
        self.row(row)[column]
    }

    /// The narrowest kind that holds every value.
    pub fn kind(&self) -> WeightKind {
        if self.values.iter().all(|v| v.abs() == 1) {
            WeightKind::Binary
        } else if self.values.iter().all(|v| v.abs() <= 1) {
            WeightKind::Ternary
        } else {
            let bits = |v: &i16| 17 - if *v < 0 { (!v).leading_zeros() } else { v.leading_zeros() };
            WeightKind::Signed(self.values.iter().map(bits).max().unwrap_or(1))
        }
    }

    /// The bit matrix of all elements for which `select` is true.
    pub fn bits(&self, select: impl Fn(i16) -> bool) -> BitMatrix {
        BitMatrix::from_fn(self.rows, self.columns, |r, c| select(self.at(r, c)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_narrowest_that_holds_all() {
        let kind = |values: &[i16]| IntMatrix::from_fn(1, values.len(), |_, c| values[c]).kind();
        assert_eq!(kind(&[1, -1]), WeightKind::Binary);
        assert_eq!(kind(&[1, 0, -1]), WeightKind::Ternary);
        assert_eq!(kind(&[1, -2]), WeightKind::Signed(2));
        assert_eq!(kind(&[2]), WeightKind::Signed(3));
        assert_eq!(kind(&[127, -128]), WeightKind::Signed(8));
        assert_eq!(kind(&[128]), WeightKind::Signed(9));
    }
}
