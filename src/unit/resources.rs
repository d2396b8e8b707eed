//! Resource counts of hardware units.

/// What a layer occupies, counted from its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Resources {
    /// Multiply-accumulate lanes, PE times SIMD.
    pub lanes: u64,
    /// Bits of weight memory.
    pub weight_bits: u64,
    /// Bits of the memory of thresholds, or of what is added to sums.
    pub threshold_bits: u64,
    /// Bits of buffers: operands to be read again.
    pub buffer_bits: u64,
}

impl Resources {
    /// A buffer and nothing else.
    pub fn buffer(buffer_bits: u64) -> Self {
        Self { lanes: 0, weight_bits: 0, threshold_bits: 0, buffer_bits }
    }
}
