//! Fully connected layers of binary, ternary and few-bit weights.

use std::sync::Arc;

use rayon::prelude::*;
use stoxnor_hdl::Module;

use crate::arith::bits::BitMatrix;
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::planes::PlaneSums;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result, SUM_TOO_WIDE};
use crate::fold::{Folding, Lanes};
use crate::layer::{Batch, Kind, Layer, Resources, Sample};
use crate::matrix::{BitPlanes, Form, LATENCY, MatrixUnit, Output, Rom, sums_element, threshold_bits};
use crate::network::{Element, Port};
use crate::schedule::Schedule;

/// `y[r] = sum over c of w[r][c] * x[c]`, with an optional activation.
#[derive(Debug, Clone)]
pub struct Dense {
    weights: IntMatrix,
    kind: WeightKind,
    /// The bits of the weights, as the kernels take them: what [`WeightKind`] says.
    planes: Vec<BitMatrix>,
    activation: Option<Activation>,
}

/// A staircase: `least` plus the number of thresholds that the sum reaches; for bipolar elements -1 below the one threshold
/// and +1 from it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// Type of what leaves.
    pub element: Element,
    /// The value where no threshold is reached.
    pub least: i32,
    /// For each row the thresholds of the sum y, ascending, reached where y >= t; as many in every row.
    pub thresholds: Vec<Vec<i32>>,
}

impl Activation {
    /// A bipolar activation: one threshold a row.
    pub fn bipolar(thresholds: impl IntoIterator<Item = i32>) -> Self {
        let thresholds = thresholds.into_iter().map(|t| vec![t]).collect();
        Self { element: Element::Bipolar, least: -1, thresholds }
    }

    /// The value for a row's sum.
    pub fn value(&self, row: usize, sum: i32) -> i32 {
        let reached = match self.thresholds[row][..] {
            [one] => i32::from(one <= sum),
            ref all => all.partition_point(|t| *t <= sum) as i32,
        };
        self.least + reached * self.step()
    }

    /// From one value to the next.
    fn step(&self) -> i32 {
        if self.element == Element::Bipolar { 2 } else { 1 }
    }

    /// Thresholds a row.
    pub fn steps(&self) -> usize {
        self.thresholds.first().map_or(0, Vec::len)
    }
}

impl Dense {
    /// Weights (rows by fan-in) and, unless the sums leave as they are, an activation.
    ///
    /// # Panics
    /// Where the activation has not the same number of ascending thresholds for every row, or a value outside its element's range.
    pub fn new(weights: IntMatrix, activation: Option<Activation>) -> Self {
        if let Some(a) = &activation {
            assert_eq!(a.thresholds.len(), weights.rows(), "one list of thresholds a row");
            assert!(
                a.thresholds.iter().all(|t| t.len() == a.steps() && t.is_sorted()),
                "ascending, as many in every row"
            );
            let (least, most) = a.element.range();
            let top = i64::from(a.least) + a.steps() as i64 * i64::from(a.step());
            assert!(
                a.steps() > 0 && i64::from(a.least) >= least && top <= most,
                "values within the element's range"
            );
        }
        let kind = weights.kind();
        let planes = match kind {
            WeightKind::Binary => vec![weights.bits(|w| w > 0)],
            WeightKind::Ternary => vec![weights.bits(|w| w > 0), weights.bits(|w| w != 0)],
            WeightKind::Signed(bits) => (0..bits).map(|j| weights.bits(|w| w >> j & 1 == 1)).collect(),
        };
        Self { weights, kind, planes, activation }
    }

    /// The weights, rows by fan-in.
    pub fn matrix(&self) -> &IntMatrix {
        &self.weights
    }

    /// The activation.
    pub fn activation(&self) -> Option<&Activation> {
        self.activation.as_ref()
    }

    /// The sums of one frame.
    pub fn sums(&self, x: &[i32]) -> Vec<i32> {
        assert_eq!(x.len(), self.weights.columns(), "elements of a frame");
        let sum = |r: usize| self.weights.row(r).iter().zip(x).map(|(w, x)| i32::from(*w) * x).sum();
        (0..self.weights.rows()).map(sum).collect()
    }

    /// The smallest and the largest sum that inputs of a type can give, over all rows.
    pub fn sum_range(&self, input: Element) -> (i64, i64) {
        let (least, most) = input.range();
        let ends = |w: &i16| (i64::from(*w) * least, i64::from(*w) * most);
        let low = |r: usize| self.weights.row(r).iter().map(ends).map(|(a, b)| a.min(b)).sum();
        let high = |r: usize| self.weights.row(r).iter().map(ends).map(|(a, b)| a.max(b)).sum();
        let rows = 0..self.weights.rows();
        (rows.clone().map(low).min().unwrap_or(0), rows.map(high).max().unwrap_or(0))
    }
}

impl Dense {
    fn sum_element(&self, input: Element) -> Element {
        sums_element(self.sum_range(input), &BitPlanes::new(self.kind, input), &self.weights)
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let fan_in = self.weights.columns();
        let [input] = inputs else {
            return Err(Diagnostic::new(
                &MODEL_INVALID,
                format!("{} inputs where one is needed", inputs.len()),
            )
            .into());
        };
        if input.elements() != fan_in {
            let message = format!("{} elements come in where the weights take {fan_in}", input.elements());
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        let (least, most) = self.sum_range(input.element);
        if least < -(1 << 30) || most >= 1 << 30 {
            let message = format!("sums reach from {least} to {most}");
            return Err(Diagnostic::new(&SUM_TOO_WIDE, message)
                .help("use fewer bits for the weights or the inputs, or a smaller fan-in")
                .into());
        }
        let element = self.activation.as_ref().map_or_else(|| self.sum_element(input.element), |a| a.element);
        Ok(Port { shape: vec![self.weights.rows()], element })
    }

    fn reference(&self, inputs: &[&[i32]]) -> Vec<i32> {
        let sums = self.sums(inputs[0]);
        match &self.activation {
            None => sums,
            Some(activation) => sums.iter().enumerate().map(|(row, y)| activation.value(row, *y)).collect(),
        }
    }

    fn fast(&self, inputs: &[&Batch]) -> Batch {
        let Batch::Planes { element, elements, words } = inputs[0] else {
            panic!("a dense layer takes bit planes")
        };
        let (rows, fan_in) = (self.weights.rows(), self.weights.columns());
        assert_eq!(*elements, fan_in, "elements of a frame");
        let frame_words = element.bits() as usize * fan_in.div_ceil(64);
        let frames = words.len() / frame_words;
        let kernel = Kernel::new(self, *element);
        match &self.activation {
            Some(activation) => {
                let stride = rows.div_ceil(64);
                let out_planes = activation.element.bits() as usize;
                let mut out = vec![0u64; frames * out_planes * stride];
                out.par_chunks_mut(out_planes * stride).zip(words.par_chunks(frame_words)).for_each(
                    |(to, frame)| {
                        kernel.sums(frame, |row, sum| {
                            let code = activation.element.encode(activation.value(row, sum));
                            for k in 0..out_planes {
                                to[k * stride + row / 64] |= (code >> k & 1) << (row % 64);
                            }
                        });
                    },
                );
                Batch::Planes { element: activation.element, elements: rows, words: out }
            }
            None => {
                let mut out = vec![0; frames * rows];
                out.par_chunks_mut(rows).zip(words.par_chunks(frame_words)).for_each(|(to, frame)| {
                    kernel.sums(frame, |row, sum| to[row] = sum);
                });
                Batch::Integers { elements: rows, values: out }
            }
        }
    }

    fn weights(&self) -> Option<WeightKind> {
        Some(self.kind)
    }

    fn lanes(&self) -> Lanes {
        Lanes::dense(self.weights.rows(), self.weights.columns())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let form = BitPlanes::new(self.kind, inputs[0].element);
        let source = Rom::new(format!("{name}_weights.mem"), form.encode(&self.weights, fold));
        let output = match &self.activation {
            Some(activation) => Output::Activation(activation),
            None => Output::Sums(self.sum_element(inputs[0].element)),
        };
        MatrixUnit { name, weights: &self.weights, fold, user, form: &form, source: &source, output }.build()
    }

    fn schedule(&self, _inputs: &[Port], fold: Folding) -> Schedule {
        let folds = self.weights.rows() / fold.pe;
        let steps = self.weights.columns() / fold.simd;
        Schedule::matrix(folds as u64, steps as u64, LATENCY)
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        let (rows, fan_in) = (self.weights.rows() as u64, self.weights.columns() as u64);
        let form = BitPlanes::new(self.kind, inputs[0].element);
        let threshold_bits = u64::from(threshold_bits(&form, &self.weights));
        let steps = self.activation.as_ref().map_or(0, |a| a.steps() as u64);
        Resources {
            lanes: (fold.pe * fold.simd) as u64,
            weight_bits: rows * fan_in * u64::from(self.kind.bits()),
            threshold_bits: rows * steps * threshold_bits,
            buffer_bits: if fold.pe < self.weights.rows() {
                fan_in * u64::from(inputs[0].element.bits())
            } else {
                0
            },
        }
    }
}

/// The sums of a layer on packed inputs of one type, by [`PlaneSums`].
struct Kernel<'a> {
    dense: &'a Dense,
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
    fn new(dense: &'a Dense, input: Element) -> Self {
        let sums = PlaneSums::new(dense.kind, input.planes(), input == Element::Bipolar);
        let narrow = |list: &[i64]| list.iter().map(|c| *c as i32).collect();
        let rows = 0..dense.weights.rows();
        Self {
            dense,
            input: narrow(&sums.input),
            weights: narrow(&sums.weights),
            gain: sums.gain as i32,
            constants: rows.map(|row| sums.constant(dense.weights.row(row)) as i32).collect(),
        }
    }

    /// Calls `each(row, sum)` for every row of one frame.
    #[inline(always)]
    fn sums_of(&self, frame: &[u64], each: &mut impl FnMut(usize, i32)) {
        let columns = self.dense.weights.columns();
        let padding = (columns.div_ceil(64) * 64 - columns) as i32;
        let planes = &self.dense.planes;
        match self.dense.kind {
            WeightKind::Binary => self.rows(frame, each, &Agreeing { weights: &planes[0], padding }),
            WeightKind::Ternary => self.rows(frame, each, &Active { signs: &planes[0], mask: &planes[1] }),
            WeightKind::Signed(_) => {
                self.rows(frame, each, &Weighted { planes, coefficients: &self.weights })
            }
        }
    }

    /// Weighs the counts of a frame's planes by their coefficients.
    #[inline(always)]
    fn rows(&self, frame: &[u64], each: &mut impl FnMut(usize, i32), lanes: &impl Count) {
        let stride = self.dense.weights.columns().div_ceil(64);
        for (row, constant) in self.constants.iter().enumerate() {
            let planes = frame.chunks_exact(stride).zip(&self.input);
            let raw: i32 = planes.map(|(x, d)| d * lanes.count(row, x)).sum();
            each(row, self.gain * raw + constant);
        }
    }

    /// [`sums_of`](Self::sums_of), with the processor's own popcount instruction where it has one.
    #[allow(unsafe_code)]
    fn sums(&self, frame: &[u64], mut each: impl FnMut(usize, i32)) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "popcnt")]
            fn with_instruction(kernel: &Kernel<'_>, frame: &[u64], each: &mut impl FnMut(usize, i32)) {
                kernel.sums_of(frame, each);
            }
            if std::arch::is_x86_feature_detected!("popcnt") {
                // SAFETY: the feature has just been detected.
                return unsafe { with_instruction(self, frame, &mut each) };
            }
        }
        self.sums_of(frame, &mut each);
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

/// Dense layers.
pub const KIND: Kind = Kind { name: "dense", samples };

fn samples() -> Vec<Sample> {
    let scatter = |r: usize, c: usize, n: usize| (r * 31 + c * 17 + r * c + c * c / 3) % n;
    let weights = |rows, fan_in, values: &[i16]| {
        let values = values.to_vec();
        IntMatrix::from_fn(rows, fan_in, |r, c| values[scatter(r, c, 97) % values.len()])
    };
    let thresholds = |weights: &IntMatrix, input: Element, element: Element, steps: usize| {
        // From below the least sum to above the largest, so that every value occurs somewhere, and equal neighbours too.
        let (least, most) = Dense::new(weights.clone(), None).sum_range(input);
        let spread = |r: usize, t: usize| {
            let width = (most - least + 3) as usize;
            (least - 1) as i32 + ((t + 1) * width / (steps + 1) + r * 5 % 7) as i32 - 3
        };
        let least = element.range().0 as i32;
        let row = |r: usize| (0..steps).map(|t| spread(r, t)).collect();
        Activation { element, least, thresholds: (0..weights.rows()).map(row).collect() }
    };
    let bits: Vec<i16> = vec![1, -1];
    let trits: Vec<i16> = vec![0, 1, -1, 0, -1];
    let few: Vec<i16> = vec![-4, 3, 1, 0, -1, 2, -3];
    let many: Vec<i16> = vec![-128, 127, 5, 0, -77, 1, 64];
    let forms = [
        (1, 1, &bits, Element::Bipolar, Some((Element::Bipolar, 1))),
        (6, 12, &bits, Element::Bipolar, Some((Element::Bipolar, 1))),
        (8, 70, &bits, Element::Bipolar, Some((Element::Bipolar, 1))),
        (5, 9, &bits, Element::Bipolar, None),
        (4, 6, &bits, Element::Unsigned(2), Some((Element::Unsigned(2), 3))),
        (4, 6, &bits, Element::Signed(3), Some((Element::Signed(2), 3))),
        (4, 10, &trits, Element::Bipolar, Some((Element::Bipolar, 1))),
        (4, 10, &trits, Element::Unsigned(4), Some((Element::Signed(3), 7))),
        (6, 4, &trits, Element::Signed(2), None),
        (4, 6, &few, Element::Bipolar, Some((Element::Unsigned(1), 1))),
        (4, 6, &few, Element::Unsigned(3), Some((Element::Unsigned(4), 15))),
        (3, 8, &few, Element::Signed(16), None),
        (2, 6, &many, Element::Signed(8), Some((Element::Unsigned(8), 255))),
        (2, 6, &many, Element::Bipolar, None),
    ];
    forms
        .into_iter()
        .map(|(rows, fan_in, values, input, activation)| {
            let weights = weights(rows, fan_in, values);
            let activation = activation.map(|(element, steps)| thresholds(&weights, input, element, steps));
            let layer: Arc<dyn Layer> = Arc::new(Dense::new(weights, activation));
            (Port { shape: vec![fan_in], element: input }, layer)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_show_every_kind_of_weights() {
        let kinds: Vec<String> = samples()
            .iter()
            .map(|(_, layer)| format!("{layer:?}"))
            .map(|text| text.split("kind: ").nth(1).unwrap().split([',', '(']).next().unwrap().to_owned())
            .collect();
        for kind in ["Binary", "Ternary", "Signed"] {
            assert!(kinds.iter().any(|k| k == kind), "{kind}");
        }
    }

    #[test]
    fn fast_equals_reference() {
        for (port, layer) in samples() {
            let n = port.elements();
            let (least, most) = port.element.range();
            let value = |f: usize, e: usize| {
                let v = least + ((e * e * 7 + f * 5 + e * f) as i64 * 131) % (most - least + 1);
                if port.element == Element::Bipolar && v == 0 { 1 } else { v as i32 }
            };
            let frames: Vec<Vec<i32>> = (0..9).map(|f| (0..n).map(|e| value(f, e)).collect()).collect();
            let batch = Batch::pack(port.element, n, &frames);
            assert_eq!(batch.unpack(), frames);
            let expected: Vec<Vec<i32>> = frames.iter().map(|f| layer.reference(&[f])).collect();
            assert_eq!(layer.fast(&[&batch]).unpack(), expected, "{layer:?}");
        }
    }
}
