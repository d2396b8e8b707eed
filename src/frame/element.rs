//! Element types of streams.

/// The type of one stream element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// +1 (bit 1) or -1 (bit 0).
    Bipolar,
    /// 0 to 2^bits - 1.
    Unsigned(u32),
    /// Two's complement with this number of bits.
    Signed(u32),
}

impl Element {
    /// Bits of one element.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bipolar => 1,
            Self::Unsigned(bits) | Self::Signed(bits) => bits,
        }
    }

    /// The minimum and maximum value.
    pub fn range(self) -> (i64, i64) {
        match self {
            Self::Bipolar => (-1, 1),
            Self::Unsigned(bits) => (0, (1 << bits) - 1),
            Self::Signed(bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        }
    }

    /// The narrowest type that holds the values of all `elements`; their own type if they are equal.
    pub fn covering(elements: impl IntoIterator<Item = Self>) -> Self {
        let two = |a: Self, b: Self| match (a, b) {
            _ if a == b => a,
            (Self::Unsigned(a), Self::Unsigned(b)) => Self::Unsigned(a.max(b)),
            _ => {
                let (ends, others) = (a.range(), b.range());
                Self::signed(ends.0.min(others.0), ends.1.max(others.1))
            }
        };
        elements.into_iter().reduce(two).unwrap_or(Self::Bipolar)
    }

    /// The narrowest two's complement type that holds `min` to `max`.
    pub fn signed(min: i64, max: i64) -> Self {
        let bits = |v: i64| 65 - if v < 0 { (!v).leading_zeros() } else { v.leading_zeros() };
        Self::Signed(bits(min).max(bits(max)))
    }

    /// The coefficients of the bit planes, least significant first: a value is the sum of bit k times coefficient k. A bipolar
    /// value is twice its single bit, minus 1.
    pub fn planes(self) -> Vec<i64> {
        match self {
            Self::Bipolar => vec![1],
            Self::Unsigned(bits) => (0..bits).map(|k| 1 << k).collect(),
            Self::Signed(bits) => (0..bits).map(|k| if k + 1 == bits { -(1 << k) } else { 1 << k }).collect(),
        }
    }

    /// The bit pattern of `value`, in the low [`bits`](Self::bits) bits.
    pub fn encode(self, value: i32) -> u64 {
        match self {
            Self::Bipolar => u64::from(value > 0),
            Self::Unsigned(bits) | Self::Signed(bits) => value as u64 & (u64::MAX >> (64 - bits)),
        }
    }

    /// The value of a bit pattern: the inverse of [`encode`](Self::encode).
    pub fn decode(self, pattern: u64) -> i32 {
        match self {
            Self::Bipolar => {
                if pattern & 1 == 1 {
                    1
                } else {
                    -1
                }
            }
            Self::Unsigned(bits) => (pattern & (u64::MAX >> (64 - bits))) as i32,
            Self::Signed(bits) => ((pattern << (64 - bits)) as i64 >> (64 - bits)) as i32,
        }
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bipolar => f.write_str("bipolar"),
            Self::Unsigned(bits) => write!(f, "uint{bits}"),
            Self::Signed(bits) => write!(f, "int{bits}"),
        }
    }
}
