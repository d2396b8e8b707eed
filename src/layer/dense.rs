//! Fully connected layers of binary, ternary, few-bit and stochastic weights.

use std::sync::Arc;

use rayon::prelude::*;
use stoxnor_hdl::Module;

use crate::activation::Activation;
use crate::arith::bits::BitMatrix;
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::stochastic::StochasticMatrix;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result, SUM_TOO_WIDE};
use crate::fold::{Folding, Lanes};
use crate::kernel::{self, Kernel};
use crate::layer::{Batch, Kind, Layer, Resources, Sample, Sampling};
use crate::matrix::{
    BitPlanes, Fly, MatrixUnit, Output, Realisation, Rom, Sampled, Sampler, WeightSource, sums_element,
};
use crate::network::{Element, Port, of_member};
use crate::schedule::Schedule;

/// `y[r] = sum over c of w[r][c] * x[c]`, with an optional activation. Stochastic weights differ from member to member.
#[derive(Debug, Clone)]
pub struct Dense {
    rows: usize,
    fan_in: usize,
    kind: WeightKind,
    /// Where the members come from; `None` for weights that are what they are.
    stochastic: Option<Stochastic>,
    /// The weights of each member; one where all have the same.
    members: Vec<Member>,
    /// None where the sums leave as they are, one for all members, or one for each.
    activations: Vec<Activation>,
}

/// Weights that are sampled.
#[derive(Debug, Clone)]
pub struct Stochastic {
    /// The real weights.
    pub matrix: StochasticMatrix,
    /// How hardware holds them.
    pub realisation: Realisation,
    /// Members that are built.
    pub members: usize,
}

/// The weights of one member.
#[derive(Debug, Clone)]
struct Member {
    weights: IntMatrix,
    planes: Vec<BitMatrix>,
}

impl Member {
    fn new(weights: IntMatrix, kind: WeightKind) -> Self {
        let planes = kernel::planes(&weights, kind);
        Self { weights, planes }
    }
}

impl Dense {
    /// Weights (rows by fan-in) and, unless the sums leave as they are, an activation.
    ///
    /// # Panics
    /// Where the activation does not fit the rows.
    pub fn new(weights: IntMatrix, activation: Option<Activation>) -> Self {
        Self::with(weights, activation.into_iter().collect())
    }

    /// Weights, and an activation for each member of an ensemble.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with(weights: IntMatrix, activations: Vec<Activation>) -> Self {
        let kind = weights.kind();
        let (rows, fan_in) = (weights.rows(), weights.columns());
        Self { rows, fan_in, kind, stochastic: None, members: vec![Member::new(weights, kind)], activations }
            .fitting()
    }

    /// Stochastic weights, and no activation, one for all members, or one for each.
    ///
    /// # Panics
    /// As [`new`](Self::new), and where there are several activations and not one for each member.
    pub fn stochastic(stochastic: Stochastic, activations: Vec<Activation>) -> Self {
        let matrix = &stochastic.matrix;
        let kind = matrix.rounding().law.kind();
        let member = |m: usize| Member::new(matrix.sample(m), kind);
        let members: Vec<Member> = (0..stochastic.members).into_par_iter().map(member).collect();
        assert!(activations.len() <= 1 || activations.len() == members.len(), "an activation a member");
        let (rows, fan_in) = (matrix.rows(), matrix.columns());
        Self { rows, fan_in, kind, stochastic: Some(stochastic), members, activations }.fitting()
    }

    fn fitting(self) -> Self {
        let steps = |a: &Activation| (a.element, a.steps());
        for activation in &self.activations {
            activation.assert_fits(self.rows);
            assert_eq!(steps(activation), steps(&self.activations[0]), "one kind of activation");
        }
        self
    }

    /// The weights of a member, rows by fan-in.
    pub fn weights_of(&self, member: usize) -> &IntMatrix {
        &of_member(&self.members, member).weights
    }

    /// The activation of a member.
    pub fn activation(&self, member: usize) -> Option<&Activation> {
        (!self.activations.is_empty()).then(|| of_member(&self.activations, member))
    }

    /// The sums of one frame in a member.
    pub fn sums(&self, x: &[i32], member: usize) -> Vec<i32> {
        assert_eq!(x.len(), self.fan_in, "elements of a frame");
        let weights = self.weights_of(member);
        let sum = |r: usize| weights.row(r).iter().zip(x).map(|(w, x)| i32::from(*w) * x).sum();
        (0..self.rows).map(sum).collect()
    }

    /// The smallest and the largest sum that inputs of a type can give, over all rows and members.
    pub fn sum_range(&self, input: Element) -> (i64, i64) {
        let (least, most) = input.range();
        let row = |row: &[i16]| {
            row.iter().fold((0, 0), |(low, high), w| {
                let ends = (i64::from(*w) * least, i64::from(*w) * most);
                (low + ends.0.min(ends.1), high + ends.0.max(ends.1))
            })
        };
        let rows = self.members.iter().flat_map(|m| (0..self.rows).map(|r| row(m.weights.row(r))));
        rows.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))).unwrap_or((0, 0))
    }

    fn sum_element(&self, input: Element) -> Element {
        let form = BitPlanes::new(self.kind, input);
        sums_element(self.sum_range(input), &form, &self.matrices())
    }

    fn matrices(&self) -> Vec<&IntMatrix> {
        self.members.iter().map(|m| &m.weights).collect()
    }

    /// The memory of the weights, or what stands in its place.
    fn source<'a>(&'a self, name: &'a str, form: &'a BitPlanes, fold: Folding) -> Box<dyn WeightSource + 'a> {
        let sampler = |s: &'a Stochastic| Sampler { name, matrix: &s.matrix, members: s.members, fold };
        match &self.stochastic {
            Some(s) if s.realisation == Realisation::Fly => Box::new(Fly(sampler(s))),
            Some(s) if s.realisation == Realisation::Sampled => Box::new(Sampled(sampler(s))),
            _ => Box::new(Rom { name, form, members: self.matrices(), fold }),
        }
    }
}

impl Dense {
    /// `size` numbers for each frame, set by `each(frame's numbers, row, sum)`.
    #[inline]
    fn each_sum<T: Copy + Default + Send>(
        &self,
        input: &Batch,
        member: usize,
        size: usize,
        each: impl Fn(&mut [T], usize, i32) + Sync,
    ) -> Vec<T> {
        let Batch::Planes { element, elements, words } = input else {
            panic!("a dense layer takes bit planes")
        };
        assert_eq!(*elements, self.fan_in, "elements of a frame");
        let frame_words = element.bits() as usize * self.fan_in.div_ceil(64);
        let Member { weights, planes } = of_member(&self.members, member);
        let kernel = Kernel::new(weights, self.kind, planes, *element);
        let mut out = vec![T::default(); words.len() / frame_words * size];
        out.par_chunks_mut(size).zip(words.par_chunks(frame_words)).for_each(|(to, frame)| {
            kernel.sums(frame, |row, sum| each(to, row, sum));
        });
        out
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let [input] = inputs else {
            return Err(Diagnostic::new(
                &MODEL_INVALID,
                format!("{} inputs where one is needed", inputs.len()),
            )
            .into());
        };
        if input.elements() != self.fan_in {
            let message =
                format!("{} elements come in where the weights take {}", input.elements(), self.fan_in);
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        let (least, most) = self.sum_range(input.element);
        if least < -(1 << 30) || most >= 1 << 30 {
            let message = format!("sums reach from {least} to {most}");
            return Err(Diagnostic::new(&SUM_TOO_WIDE, message)
                .help("use fewer bits for the weights or the inputs, or a smaller fan-in")
                .into());
        }
        let element = self.activation(0).map_or_else(|| self.sum_element(input.element), |a| a.element);
        Ok(Port { shape: vec![self.rows], element })
    }

    fn members(&self) -> usize {
        self.members.len().max(self.activations.len())
    }

    fn sampling(&self) -> Option<Sampling> {
        let Stochastic { matrix, realisation, .. } = self.stochastic.as_ref()?;
        Some(Sampling { rounding: matrix.rounding(), realisation: *realisation })
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        let sums = self.sums(inputs[0], member);
        match self.activation(member) {
            None => sums,
            Some(activation) => sums.iter().enumerate().map(|(row, y)| activation.value(row, *y)).collect(),
        }
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        let Some(activation) = self.activation(member) else { return self.fast_sums(inputs, member) };
        let (stride, planes) = (self.rows.div_ceil(64), activation.element.bits() as usize);
        let words = self.each_sum(inputs[0], member, planes * stride, |to: &mut [u64], row, sum| {
            let code = activation.element.encode(activation.value(row, sum));
            for k in 0..planes {
                to[k * stride + row / 64] |= (code >> k & 1) << (row % 64);
            }
        });
        Batch::Planes { element: activation.element, elements: self.rows, words }
    }

    fn fast_sums(&self, inputs: &[&Batch], member: usize) -> Batch {
        let values = self.each_sum(inputs[0], member, self.rows, |to: &mut [i32], row, sum| to[row] = sum);
        Batch::Integers { elements: self.rows, values }
    }

    fn weights(&self) -> Option<WeightKind> {
        Some(self.kind)
    }

    fn lanes(&self) -> Lanes {
        let lanes = Lanes::dense(self.rows, self.fan_in);
        match &self.stochastic {
            Some(stochastic) => lanes.sharing(stochastic.matrix.rounding().share),
            None => lanes,
        }
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let form = BitPlanes::new(self.kind, inputs[0].element);
        let source = self.source(name, &form, fold);
        let output = if self.activations.is_empty() {
            Output::Sums(self.sum_element(inputs[0].element))
        } else {
            Output::Activations(&self.activations)
        };
        MatrixUnit::new(name, self.matrices(), fold, user, &form, &*source, output).build()
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        let form = BitPlanes::new(self.kind, inputs[0].element);
        let source = self.source("", &form, fold);
        let (folds, steps) = (self.rows / fold.pe, self.fan_in / fold.simd);
        Schedule::matrix(folds as u64, steps as u64, crate::matrix::latency(&*source), source.sampling())
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        let fan_in = self.fan_in as u64;
        let form = BitPlanes::new(self.kind, inputs[0].element);
        let source = self.source("", &form, fold);
        let output = match self.activations[..] {
            [] => Output::Sums(self.sum_element(inputs[0].element)),
            _ => Output::Activations(&self.activations),
        };
        let unit = MatrixUnit::new("", self.matrices(), fold, 0, &form, &*source, output);
        Resources {
            lanes: (fold.pe * fold.simd) as u64,
            weight_bits: source.memory_bits(),
            threshold_bits: unit.table_bits(),
            buffer_bits: if fold.pe < self.rows { fan_in * u64::from(inputs[0].element.bits()) } else { 0 },
        }
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
        Activation::rising(element, least, (0..weights.rows()).map(row).collect())
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
            let expected: Vec<Vec<i32>> = frames.iter().map(|f| layer.reference(&[f], 0)).collect();
            assert_eq!(layer.fast(&[&batch], 0).unpack(), expected, "{layer:?}");
        }
    }
}
