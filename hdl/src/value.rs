//! Two-state values of any width.

use std::fmt;

/// A value of `width` bits; bit 0 is the least significant. Bits above the width are always 0.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bits {
    width: u32,
    words: Vec<u64>,
}

/// The number of bits that hold every value from 0 to `max`, at least 1.
pub fn bits_for(max: u64) -> u32 {
    (64 - max.leading_zeros()).max(1)
}

/// The number of bits that address `count` entries, at least 1.
pub fn index_bits(count: u64) -> u32 {
    bits_for(count.saturating_sub(1))
}

impl Bits {
    /// All zeros.
    pub fn zero(width: u32) -> Self {
        Self { width, words: vec![0; width.div_ceil(64) as usize] }
    }

    /// `value` in `width` bits.
    ///
    /// # Panics
    /// If `value` needs more bits.
    #[track_caller]
    pub fn new(width: u32, value: u64) -> Self {
        assert!(width >= 64 || value >> width == 0, "{value} does not fit {width} bits");
        let mut bits = Self::zero(width);
        if let Some(first) = bits.words.first_mut() {
            *first = value;
        }
        bits
    }

    /// From 64-bit words, least significant first; bits above `width` are dropped.
    pub fn from_words(width: u32, words: impl IntoIterator<Item = u64>) -> Self {
        let mut bits = Self::zero(width);
        for (to, from) in bits.words.iter_mut().zip(words) {
            *to = from;
        }
        if !width.is_multiple_of(64) {
            *bits.words.last_mut().expect("width is not 0") &= u64::MAX >> (64 - width % 64);
        }
        bits
    }

    /// Parses hexadecimal digits, most significant first, as [`Display`](fmt::Display) and simulators print them.
    ///
    /// `None` if a character is no hexadecimal digit (such as the `x` of a four-state simulator), or a bit above the width is
    /// set.
    pub fn from_hex(width: u32, digits: &str) -> Option<Self> {
        let mut bits = Self::zero(width);
        for (at, digit) in digits.trim().bytes().rev().enumerate() {
            let value = u64::from(char::from(digit).to_digit(16)?);
            for bit in 0..4 {
                if value >> bit & 1 == 1 {
                    let index = at as u32 * 4 + bit;
                    if index >= width {
                        return None;
                    }
                    bits.set(index, true);
                }
            }
        }
        Some(bits)
    }

    /// Number of bits.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// 64-bit words, least significant first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Bit `index`.
    pub fn bit(&self, index: u32) -> bool {
        assert!(index < self.width, "bit {index} of {}", self.width);
        self.words[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// Sets bit `index`.
    pub fn set(&mut self, index: u32, on: bool) {
        assert!(index < self.width, "bit {index} of {}", self.width);
        let mask = 1 << (index % 64);
        let word = &mut self.words[(index / 64) as usize];
        *word = if on { *word | mask } else { *word & !mask };
    }

    /// Writes the low `width` bits of `value` at `low`.
    pub fn insert(&mut self, low: u32, width: u32, value: u64) {
        for bit in 0..width {
            self.set(low + bit, value >> bit & 1 == 1);
        }
    }

    /// The `width` (at most 64) bits from `low` upwards.
    pub fn extract(&self, low: u32, width: u32) -> u64 {
        assert!(width <= 64 && low + width <= self.width, "bits {low}+{width} of {}", self.width);
        let (word, shift) = ((low / 64) as usize, low % 64);
        let mut value = self.words.get(word).map_or(0, |w| w >> shift);
        if shift != 0 {
            value |= self.words.get(word + 1).map_or(0, |w| w << (64 - shift));
        }
        if width == 64 { value } else { value & !(u64::MAX << width) }
    }

    /// The value; `None` if it does not fit 64 bits.
    pub fn to_u64(&self) -> Option<u64> {
        self.words.iter().skip(1).all(|w| *w == 0).then(|| self.words.first().copied().unwrap_or(0))
    }
}

/// Hexadecimal digits for `$readmemh`: most significant first, as many as the width needs.
impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for digit in (0..self.width.div_ceil(4)).rev() {
            let low = digit * 4;
            write!(f, "{:x}", self.extract(low, 4.min(self.width - low)))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}'h{self}", self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn widths_of_counts_and_indices() {
        assert_eq!([0, 1, 2, 3, 4, 255, 256].map(bits_for), [1, 1, 2, 2, 3, 8, 9]);
        assert_eq!([0, 1, 2, 3, 4, 5].map(index_bits), [1, 1, 1, 2, 2, 3]);
    }

    proptest! {
        #[test]
        fn hex_round_trips(width in 1u32..200, words in prop::collection::vec(any::<u64>(), 4)) {
            let bits = Bits::from_words(width, words);
            prop_assert_eq!(Bits::from_hex(width, &bits.to_string()), Some(bits.clone()));
        }

        #[test]
        fn what_is_inserted_is_extracted(low in 0u32..150, width in 1u32..=64, value: u64) {
            let mut bits = Bits::zero(250);
            let value = value & (u64::MAX >> (64 - width));
            bits.insert(low, width, value);
            prop_assert_eq!(bits.extract(low, width), value);
        }
    }

    #[test]
    fn hex_of_a_four_state_simulator_is_refused() {
        assert_eq!(Bits::from_hex(8, "x3"), None);
        assert_eq!(Bits::from_hex(3, "8"), None);
    }
}
