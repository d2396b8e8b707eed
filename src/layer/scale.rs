//! Channel-wise scaling: an integer factor and an integer bias per channel.

use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::product::{Product, computable};
use crate::diagnostic::Result;
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::matrix::Unit;
use crate::unit::matrix::{MatrixUnit, RowGroups};
use crate::unit::resources::Resources;

/// `y[..][c] = factor[c] * x[..][c] + bias[c]`, with c the index along the last axis. The shape is unchanged.
///
/// The hardware is a matrix unit with one weight per row; each row uses one channel.
#[derive(Debug, Clone)]
pub struct Scale {
    shape: Vec<usize>,
    factors: Product,
    biases: Vec<i32>,
}

impl Scale {
    /// A scaling of frames of `shape`, channels last, with a 16-bit factor and a bias per channel.
    ///
    /// # Panics
    /// If factors or biases do not fit the channels, or a factor does not fit 16 bits.
    pub fn new(shape: Vec<usize>, factors: Vec<i32>, biases: Vec<i32>) -> Self {
        let channels = shape.last().copied().unwrap_or(1);
        assert_eq!((factors.len(), biases.len()), (channels, channels), "a factor and a bias a channel");
        let factor = |r: usize, _| i16::try_from(factors[r]).expect("a factor of 16 bits");
        let factors = Product::new(IntMatrix::from_fn(channels, 1, factor), Vec::new());
        Self { shape, factors, biases }
    }

    fn channels(&self) -> usize {
        self.biases.len()
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The minimum and maximum output for inputs of type `input`.
    pub fn range(&self, input: Element) -> (i64, i64) {
        let (min, max) = input.range();
        let ends = |(row, bias): (usize, &i32)| {
            let factor = i64::from(self.factors.weights_of(0).at(row, 0));
            [factor * min, factor * max].map(|y| y + i64::from(*bias))
        };
        let all = || self.biases.iter().enumerate().flat_map(ends);
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    }

    fn scaled(&self, frame: &[i32]) -> Vec<i32> {
        let factors = self.factors.weights_of(0);
        let value = |(i, x): (usize, &i32)| {
            let c = i % self.channels();
            i32::from(factors.at(c, 0)) * x + self.biases[c]
        };
        frame.iter().enumerate().map(value).collect()
    }

    fn with_unit<R>(
        &self,
        name: &str,
        input: &Port,
        fold: Folding,
        user: u32,
        use_it: impl FnOnce(MatrixUnit<'_>) -> R,
    ) -> R {
        let (operand, range) = (input.element, self.range(input.element));
        let passes = RowGroups { positions: self.elements() / self.channels(), group_rows: 1 };
        let unit = Unit { name, operand, range, fold, passes, user, masked: false };
        self.factors.with_unit(unit, |unit| use_it(unit.adding(&self.biases)))
    }
}

impl Layer for Scale {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        input.streams_as(&self.shape)?;
        // The products without bias must fit too.
        computable(self.factors.sum_range(input.element, false))?;
        let element = self.factors.element(input.element, self.range(input.element))?;
        Ok(Port { shape: self.shape.clone(), element })
    }

    fn reference(&self, inputs: &[&[i32]], _: usize) -> Vec<i32> {
        self.scaled(inputs[0])
    }

    fn fast(&self, inputs: &[&Batch], _: usize) -> Batch {
        let batch = inputs[0];
        let element = batch.element().and_then(|input| self.factors.element(input, self.range(input)).ok());
        batch.each(element, self.elements(), |frame| self.scaled(frame))
    }

    fn weights(&self) -> Option<WeightKind> {
        Some(self.factors.kind())
    }

    fn lanes(&self) -> Lanes {
        let pixels = self.elements() / self.channels();
        Lanes::channelwise(self.channels(), pixels, pixels)
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        self.with_unit(name, &inputs[0], fold, user, |unit| unit.build())
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        self.with_unit("", &inputs[0], fold, 0, |unit| Schedule::matrix(unit.timing()))
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        self.with_unit("", &inputs[0], fold, 0, |unit| Resources {
            lanes: fold.pe as u64,
            weight_bits: unit.weight_bits(),
            threshold_bits: unit.table_bits(),
            buffer_bits: 0,
        })
    }
}

/// The scaling layer.
pub const KIND: Kind = Kind { name: "scale", samples };

/// Shape, factors, biases and input.
type Form = (&'static [usize], &'static [i32], &'static [i32], Element);

fn samples() -> Vec<Sample> {
    let forms: [Form; 7] = [
        (&[2, 3, 4], &[1, -1, 1, 1], &[0, 5, -3, 7], Element::Unsigned(3)),
        (&[3, 2], &[3, -7], &[100, -1], Element::Signed(4)),
        (&[4], &[0, 1, -1, 1], &[2, 2, 2, 2], Element::Bipolar),
        (&[2, 2, 3], &[127, -128, 5], &[0, 0, 0], Element::Unsigned(8)),
        (&[5, 1], &[9], &[-70_000], Element::Signed(12)),
        (&[2, 2], &[20_000, -3], &[1, 1_000_000], Element::Signed(3)),
        (&[2, 2], &[1, -1], &[4, 4], Element::Bipolar),
    ];
    let sample = |(shape, factors, biases, element): (&[usize], &[i32], &[i32], Element)| {
        let layer = Scale::new(shape.to_vec(), factors.to_vec(), biases.to_vec());
        (vec![Port { shape: shape.to_vec(), element }], Arc::new(layer) as Arc<dyn Layer>)
    };
    forms.into_iter().map(sample).collect()
}
