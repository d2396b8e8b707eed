//! Sums of products on bit planes in 64-bit words: what the fast engine computes with.

use std::ops::Range;

use crate::arith::bits::BitMatrix;
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::planes::PlaneSums;
use crate::frame::element::Element;

/// The bit planes of weights, as the kernels take them: what [`WeightKind`] says.
pub fn planes(weights: &IntMatrix, kind: WeightKind) -> Vec<BitMatrix> {
    match kind {
        WeightKind::Binary => vec![weights.bits(|w| w > 0)],
        WeightKind::Ternary => vec![weights.bits(|w| w > 0), weights.bits(|w| w != 0)],
        WeightKind::Signed(bits) => (0..bits).map(|j| weights.bits(|w| w >> j & 1 == 1)).collect(),
    }
}

/// The sums of a layer on packed inputs of one type, by [`PlaneSums`].
#[derive(Debug)]
pub struct Kernel<'a> {
    kind: WeightKind,
    /// The bits of the weights.
    planes: &'a [BitMatrix],
    /// Coefficients of the input's planes.
    input: Vec<i32>,
    /// Coefficients of the weights' planes.
    weights: Vec<i32>,
    /// Factor of the weighted popcounts.
    gain: i32,
    /// For each row, what is added.
    constants: Vec<i32>,
}

impl<'a> Kernel<'a> {
    /// For weights and their [`planes`], on inputs of type `input`.
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

    /// Weighs the counts of a frame's planes by their coefficients.
    #[inline(always)]
    fn rows(&self, frame: &[u64], rows: Range<usize>, each: &mut impl FnMut(usize, i32), lanes: &impl Count) {
        let stride = self.planes[0].columns().div_ceil(64);
        for (row, constant) in rows.clone().zip(&self.constants[rows]) {
            let planes = frame.chunks_exact(stride).zip(&self.input);
            let raw: i32 = planes.map(|(x, d)| d * lanes.count(row, x)).sum();
            each(row, self.gain * raw + constant);
        }
    }

    /// Calls `each(row, sum)` for each of `rows` with one operand, with the processor's own popcount instruction where it has one.
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

/// What one row of weights counts in one plane of a frame. A trait and no closure, so that each is inlined into the
/// function that may use the processor's popcount instruction.
trait Count {
    fn count(&self, row: usize, x: &[u64]) -> i32;
}

/// Binary weights: places that agree. Padding bits, 0 on both sides, agree and are taken off.
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

/// Ternary weights: active places that agree.
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

/// Weights of several planes: places where both are 1, weighted by the plane's coefficient.
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
