//! Matrices of bits: bit 1 is +1, bit 0 is -1.

use bitvec::prelude::*;

/// A matrix of +1 (bit 1) and -1 (bit 0), row by row; each row starts on a 64-bit word and is padded with 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitMatrix {
    rows: usize,
    columns: usize,
    bits: BitVec<u64, Lsb0>,
}

impl BitMatrix {
    /// A matrix that is +1 wherever `plus(row, column)` is true.
    pub fn from_fn(rows: usize, columns: usize, mut plus: impl FnMut(usize, usize) -> bool) -> Self {
        let stride = columns.div_ceil(64) * 64;
        let mut bits = bitvec![u64, Lsb0; 0; rows * stride];
        for row in 0..rows {
            for column in 0..columns {
                bits.set(row * stride + column, plus(row, column));
            }
        }
        Self { rows, columns, bits }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the element at (`row`, `column`) is +1.
    pub fn plus(&self, row: usize, column: usize) -> bool {
        assert!(column < self.columns, "column {column} of {}", self.columns);
        self.bits[row * self.stride() + column]
    }

    /// Row `row` as bits, column 0 first.
    pub fn row(&self, row: usize) -> &BitSlice<u64, Lsb0> {
        &self.bits[row * self.stride()..][..self.columns]
    }

    /// Row `row` as 64-bit words: column c is bit c mod 64 of word c / 64; padding bits are 0.
    pub fn words(&self, row: usize) -> &[u64] {
        let words = self.stride() / 64;
        &self.bits.as_raw_slice()[row * words..][..words]
    }

    /// Inverts the bit at (`row`, `column`).
    pub fn flip(&mut self, row: usize, column: usize) {
        let at = row * self.stride() + column;
        let old = self.plus(row, column);
        self.bits.set(at, !old);
    }

    fn stride(&self) -> usize {
        self.columns.div_ceil(64) * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_start_on_words_and_keep_their_bits() {
        let m = BitMatrix::from_fn(3, 70, |r, c| (r * 7 + c * 3) % 5 == 0);
        for r in 0..3 {
            assert_eq!(m.words(r).len(), 2);
            for c in 0..70 {
                assert_eq!(m.plus(r, c), (r * 7 + c * 3) % 5 == 0);
                assert_eq!(m.words(r)[c / 64] >> (c % 64) & 1 == 1, m.plus(r, c));
            }
            assert_eq!(m.words(r)[1] >> 6, 0, "padding is zero");
        }
    }
}
