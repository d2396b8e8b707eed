//! Sums of products on bit planes in 64-bit words: the arithmetic of the fast engine.

use std::ops::Range;

use crate::arith::bits::BitMatrix;
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::planes::PlaneSums;
use crate::frame::element::Element;

/// The bit planes of weights for a [`Kernel`]. Binary: sign. Ternary: sign, then nonzero. Signed: bits, least significant first.
pub fn planes(weights: &IntMatrix, kind: WeightKind) -> Vec<BitMatrix> {
    match kind {
        WeightKind::Binary => vec![weights.bits(|w| w > 0)],
        WeightKind::Ternary => vec![weights.bits(|w| w > 0), weights.bits(|w| w != 0)],
        WeightKind::Signed(bits) => (0..bits).map(|j| weights.bits(|w| w >> j & 1 == 1)).collect(),
    }
}

/// Computes a layer's sums from packed inputs of one element type, by [`PlaneSums`].
#[derive(Debug)]
pub struct Kernel<'a> {
    kind: WeightKind,
    /// The bit planes of the weights.
    planes: &'a [BitMatrix],
    /// Coefficients of the input planes.
    input: Vec<i32>,
    /// Coefficients of the weight planes.
    weights: Vec<i32>,
    /// Factor of the weighted popcounts.
    gain: i32,
    /// The constant added to each row's sum.
    constants: Vec<i32>,
}

impl<'a> Kernel<'a> {
    /// The kernel for weights and their [`planes`], and inputs of type `input`.
    pub fn new(weights: &IntMatrix, kind: WeightKind, planes: &'a [BitMatrix], input: Element) -> Self {
        let sums = PlaneSums::new(kind, input.planes(), input == Element::Bipolar);
        let narrow = |list: &[i64]| list.iter().map(|c| *c as i32).collect();
        Self {
            kind,
            planes,
            input: narrow(&sums.input),
            weights: narrow(&sums.weights),
            gain: sums.gain as i32,
            constants: (0..weights.rows()).map(|row| sums.constant(weights.row(row)) as i32).collect(),
        }
    }

    #[inline(always)]
    fn sums_of(&self, frame: &[u64], rows: Range<usize>, each: &mut impl FnMut(usize, i32)) {
        let planes = self.planes;
        let columns = planes[0].columns();
        let padding = (columns.div_ceil(64) * 64 - columns) as i32;
        match self.kind {
            WeightKind::Binary => self.rows(frame, rows, each, &Agreeing { weights: &planes[0], padding }),
            WeightKind::Ternary => {
                self.rows(frame, rows, each, &Active { signs: &planes[0], mask: &planes[1] })
            }
            WeightKind::Signed(_) => {
                self.rows(frame, rows, each, &Weighted { planes, coefficients: &self.weights })
            }
        }
    }

    /// Sums the counts of a frame's planes, weighted by their coefficients.
    #[inline(always)]
    fn rows(&self, frame: &[u64], rows: Range<usize>, each: &mut impl FnMut(usize, i32), lanes: &impl Count) {
        let stride = self.planes[0].columns().div_ceil(64);
        for (row, constant) in rows.clone().zip(&self.constants[rows]) {
            let planes = frame.chunks_exact(stride).zip(&self.input);
            let raw: i32 = planes.map(|(x, d)| d * lanes.count(row, x)).sum();
            each(row, self.gain * raw + constant);
        }
    }

    /// Calls `each(row, sum)` for each of `rows` with one operand. Uses the processor's popcount instruction if it has one.
    #[allow(unsafe_code)]
    pub fn sums(&self, frame: &[u64], rows: Range<usize>, mut each: impl FnMut(usize, i32)) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "popcnt")]
            fn with_instruction(
                kernel: &Kernel<'_>,
                frame: &[u64],
                rows: Range<usize>,
                each: &mut impl FnMut(usize, i32),
            ) {
                kernel.sums_of(frame, rows, each);
            }
            if std::arch::is_x86_feature_detected!("popcnt") {
                // SAFETY: the feature has just been detected.
                return unsafe { with_instruction(self, frame, rows, &mut each) };
            }
        }
        self.sums_of(frame, rows, &mut each);
    }
}

/// The popcount of one weight row and one plane of a frame. It is a trait, not a closure, so that it is inlined into the function
/// that may use the popcount instruction.
trait Count {
    fn count(&self, row: usize, x: &[u64]) -> i32;
}

/// Binary weights: counts positions that agree. Padding bits are 0 on both sides, so they agree and are subtracted.
struct Agreeing<'a> {
    weights: &'a BitMatrix,
    padding: i32,
}

impl Count for Agreeing<'_> {
    #[inline(always)]
    fn count(&self, row: usize, x: &[u64]) -> i32 {
        let words = x.iter().zip(self.weights.words(row));
        words.map(|(x, w)| (!(x ^ w)).count_ones()).sum::<u32>() as i32 - self.padding
    }
}

/// Ternary weights: counts positions with nonzero weight that agree.
struct Active<'a> {
    signs: &'a BitMatrix,
    mask: &'a BitMatrix,
}

impl Count for Active<'_> {
    #[inline(always)]
    fn count(&self, row: usize, x: &[u64]) -> i32 {
        let words = x.iter().zip(self.signs.words(row)).zip(self.mask.words(row));
        words.map(|((x, w), m)| (!(x ^ w) & m).count_ones()).sum::<u32>() as i32
    }
}

/// Multi-bit weights: counts positions where both bits are 1, weighted by the weight plane's coefficient.
struct Weighted<'a> {
    planes: &'a [BitMatrix],
    coefficients: &'a [i32],
}

impl Count for Weighted<'_> {
    #[inline(always)]
    fn count(&self, row: usize, x: &[u64]) -> i32 {
        let mut sum = 0;
        for (plane, c) in self.planes.iter().zip(self.coefficients) {
            sum += c * x.iter().zip(plane.words(row)).map(|(x, w)| (x & w).count_ones()).sum::<u32>() as i32;
        }
        sum
    }
}
