//! Resource counts of hardware units.

/// The resources of a layer, counted from its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Resources {
    /// Multiply-accumulate lanes, PE times SIMD.
    pub lanes: u64,
    /// Bits of weight memory.
    pub weight_bits: u64,
    /// Bits of threshold memory, or of memory for constants that are added to sums.
    pub threshold_bits: u64,
    /// Bits of buffers.
    pub buffer_bits: u64,
}

impl Resources {
    /// Bits of all memories.
    pub fn memory_bits(&self) -> u64 {
        self.weight_bits + self.threshold_bits + self.buffer_bits
    }

    /// The resources of a buffer only.
    pub fn buffer(buffer_bits: u64) -> Self {
        Self { lanes: 0, weight_bits: 0, threshold_bits: 0, buffer_bits }
    }
}
