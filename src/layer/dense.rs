//! Fully connected layers with binary, ternary, multi-bit and stochastic weights.

use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::arith::activation::Activation;
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::packed::Input;
use crate::arith::product::Product;
use crate::arith::sampling::Sampling;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::matrix::RowGroups;
use crate::unit::matrix::Unit;
use crate::unit::resources::Resources;

pub use crate::arith::product::Stochastic;

/// A fully connected layer: a [`Product`] of the whole frame.
#[derive(Debug, Clone)]
pub struct Dense(Product);

impl Dense {
    /// A dense layer with weights (rows by fan-in) and an optional activation. Without one it outputs its sums.
    ///
    /// # Panics
    /// If the activation does not fit the rows.
    pub fn new(weights: IntMatrix, activation: Option<Activation>) -> Self {
        Self::with(weights, activation.into_iter().collect())
    }

    /// A dense layer with no activation, one for all members of an ensemble, or one per member.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with(weights: IntMatrix, activations: Vec<Activation>) -> Self {
        Self(Product::new(weights, activations))
    }

    /// A dense layer with stochastic weights, and no activation, one for all members, or one per member.
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the number of activations is neither 0, 1 nor that of members.
    pub fn stochastic(stochastic: Stochastic, activations: Vec<Activation>) -> Self {
        Self(Product::stochastic(stochastic, activations))
    }

    /// The weights and the activation.
    pub fn product(&self) -> &Product {
        &self.0
    }

    /// The minimum and maximum sum over all rows and members, for inputs of type `input`.
    pub fn sum_range(&self, input: Element) -> (i64, i64) {
        self.0.sum_range(input, false)
    }

    fn unit<'a>(&self, name: &'a str, input: &Port, fold: Folding, user: u32) -> Unit<'a> {
        let (operand, passes) = (input.element, RowGroups::once(self.0.rows()));
        Unit { name, operand, range: self.sum_range(operand), fold, passes, user, masked: false }
    }

    /// Calls `compute` with the operands of a batch.
    fn packed(&self, input: &Batch, compute: impl FnOnce(Input<'_>) -> Batch) -> Batch {
        let planes = input.planes(0);
        let Batch::Planes { element, elements, words } = &*planes else { unreachable!("bit planes") };
        assert_eq!(*elements, self.0.fan_in(), "elements of a frame");
        compute(Input { words, element: *element, elements: *elements, kernel: None })
    }
}

impl From<Product> for Dense {
    fn from(product: Product) -> Self {
        Self(product)
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        if input.elements() != self.0.fan_in() {
            let message =
                format!("{} elements come in where the weights take {}", input.elements(), self.0.fan_in());
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        let element = self.0.element(input.element, self.sum_range(input.element))?;
        Ok(Port { shape: vec![self.0.rows()], element })
    }

    fn members(&self) -> usize {
        self.0.members()
    }

    fn sampling(&self) -> Option<Sampling> {
        self.0.sampling()
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        let rows = 0..self.0.rows();
        self.0.activated(self.0.sums(inputs[0], rows.clone(), member), rows, member)
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.packed(inputs[0], |input| self.0.fast(input, member, self.0.rows()))
    }

    fn fast_sums(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.packed(inputs[0], |input| self.0.fast_sums(input, member, self.0.rows()))
    }

    fn weights(&self) -> Option<WeightKind> {
        Some(self.0.kind())
    }

    fn lanes(&self) -> Lanes {
        Lanes::dense(self.0.rows(), self.0.fan_in())
            .sharing(self.0.share())
            .counting(self.0.stored_binary())
            .comparing(self.0.thresholds())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        self.0.with_unit(self.unit(name, &inputs[0], fold, user), |unit| unit.build())
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        self.0.with_unit(self.unit("", &inputs[0], fold, 0), |unit| Schedule::matrix(unit.timing()))
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        self.0.resources(self.unit("", &inputs[0], fold, 0))
    }
}

/// The dense layer.
pub const KIND: Kind = Kind { name: "dense", samples };

/// Sample weights, chosen from `values`.
pub(crate) fn scattered(rows: usize, fan_in: usize, values: &[i16]) -> IntMatrix {
    let scatter = |r: usize, c: usize| (r * 31 + c * 17 + r * c + c * c / 3) % 97;
    IntMatrix::from_fn(rows, fan_in, |r, c| values[scatter(r, c) % values.len()])
}

/// A sample activation. Thresholds range from below the minimum sum to above the maximum, so that every value occurs, and so do
/// equal neighbours.
pub(crate) fn staircase(
    rows: usize,
    (least, most): (i64, i64),
    element: Element,
    steps: usize,
) -> Activation {
    let spread = |r: usize, t: usize| {
        let width = (most - least + 3) as usize;
        (least - 1) as i32 + ((t + 1) * width / (steps + 1) + r * 5 % 7) as i32 - 3
    };
    let row = |r: usize| (0..steps).map(|t| spread(r, t)).collect();
    Activation::rising(element, element.range().0 as i32, (0..rows).map(row).collect())
}

fn samples() -> Vec<Sample> {
    let bits: Vec<i16> = vec![1, -1];
    let trits: Vec<i16> = vec![0, 1, -1, 0, -1];
    let few: Vec<i16> = vec![-4, 3, 1, 0, -1, 2, -3];
    let many: Vec<i16> = vec![-128, 127, 5, 0, -77, 1, 64];
    let nine: Vec<i16> = vec![-255, 255, 130, 0, -256, -1, 64];
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
        (2, 6, &nine, Element::Unsigned(8), Some((Element::Unsigned(8), 255))),
        (3, 5, &nine, Element::Signed(9), None),
    ];
    forms
        .into_iter()
        .map(|(rows, fan_in, values, input, activation)| {
            let weights = scattered(rows, fan_in, values);
            let range = Dense::new(weights.clone(), None).sum_range(input);
            let activation = activation.map(|(element, steps)| staircase(rows, range, element, steps));
            let layer: Arc<dyn Layer> = Arc::new(Dense::new(weights, activation));
            (vec![Port { shape: vec![fan_in], element: input }], layer)
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
        for (ports, layer) in samples() {
            let port = &ports[0];
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
