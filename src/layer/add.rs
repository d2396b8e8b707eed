//! Element-wise sums of several streams: what joins the branches of a residual network.

use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::activation::Activation;
use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::fold::{Folding, Lanes};
use crate::layer::{Batch, Kind, Layer, Resources, Sample};
use crate::network::{Element, Port};
use crate::product::computable;
use crate::schedule::Schedule;
use crate::sliding::{Fill, Sliding};
use crate::summed::Summed;

/// `y[i] = sum over k of factor[k] * x_k[i]`, with an optional activation of each channel's sums: a residual connection, and its
/// requantisation. The shape stays.
#[derive(Debug, Clone)]
pub struct Add {
    shape: Vec<usize>,
    factors: Vec<i32>,
    /// The activation of sums, each the one tap of a channel.
    each: Summed,
}

impl Add {
    /// The shape of all inputs, channels last, a factor for each input, and no activation, one for all members of an ensemble, or one
    /// for each.
    ///
    /// # Panics
    /// Where there are less than two inputs, a factor is 0, or an activation does not fit the channels.
    pub fn new(shape: Vec<usize>, factors: Vec<i32>, activations: Vec<Activation>) -> Self {
        assert!(factors.len() > 1 && !factors.contains(&0), "two inputs or more, none of them for nothing");
        let channels = shape.last().copied().unwrap_or(1);
        let pixels = shape.iter().product::<usize>() / channels.max(1);
        let window = Window::plain([1, pixels], [1, 1]);
        let kernel = Sliding { window, channels, groups: channels, fill: Fill::Nothing };
        Self { shape, factors, each: Summed::new(kernel, activations) }
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The smallest and the largest sum that inputs of these types can give.
    pub fn sum_range(&self, inputs: &[Element]) -> (i64, i64) {
        let ends = |(factor, input): (&i32, &Element)| {
            let (least, most) = input.range();
            let (a, b) = (i64::from(*factor) * least, i64::from(*factor) * most);
            (a.min(b), a.max(b))
        };
        let ends = self.factors.iter().zip(inputs).map(ends);
        ends.fold((0, 0), |(low, high), (least, most)| (low + least, high + most))
    }

    /// Type of the sums.
    fn sum_element(&self, inputs: &[Element]) -> Element {
        let (least, most) = self.sum_range(inputs);
        Element::signed(least, most)
    }

    /// Type of what leaves.
    fn element(&self, inputs: &[Element]) -> Element {
        self.each.activations().of(0).map_or_else(|| self.sum_element(inputs), |a| a.element)
    }

    fn sums(&self, inputs: &[&[i32]]) -> Vec<i32> {
        let sum = |i: usize| self.factors.iter().zip(inputs).map(|(factor, x)| factor * x[i]).sum();
        (0..self.elements()).map(sum).collect()
    }
}

fn elements(inputs: &[Port]) -> Vec<Element> {
    inputs.iter().map(|port| port.element).collect()
}

impl Layer for Add {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        if inputs.len() != self.factors.len() {
            let message = format!("{} inputs where {} are added", inputs.len(), self.factors.len());
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        inputs.iter().try_for_each(|input| input.streams_as(&self.shape))?;
        computable(self.sum_range(&elements(inputs)))?;
        Ok(Port { shape: self.shape.clone(), element: self.element(&elements(inputs)) })
    }

    fn members(&self) -> usize {
        self.each.activations().members()
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        self.each.activated(self.sums(inputs), member)
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        let types: Option<Vec<Element>> = inputs.iter().map(|batch| batch.element()).collect();
        let activated = self.each.activations().of(member).map(|a| a.element);
        let element = activated.or_else(|| types.map(|types| self.sum_element(&types)));
        Batch::joined(inputs, element, self.elements(), |x| self.each.activated(self.sums(x), member))
    }

    fn fast_sums(&self, inputs: &[&Batch], _: usize) -> Batch {
        Batch::joined(inputs, None, self.elements(), |x| self.sums(x))
    }

    fn lanes(&self) -> Lanes {
        let channels = self.each.kernel().channels;
        let pixels = self.each.kernel().window.pixels();
        Lanes::channelwise(channels, pixels, pixels)
    }

    fn hardware(&self, _name: &str, _inputs: &[Port], _fold: Folding, _user: u32) -> Arc<Module> {
        todo!()
    }

    fn schedule(&self, _inputs: &[Port], _fold: Folding) -> Schedule {
        todo!()
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        match self.each.activations().of(0) {
            None => Resources { lanes: fold.pe as u64, ..Resources::buffer(0) },
            Some(_) => self.each.unit("", self.sum_element(&elements(inputs)), fold.pe, 0).resources(),
        }
    }
}

/// Layers that add streams.
pub const KIND: Kind = Kind { name: "add", samples };

fn samples() -> Vec<Sample> {
    Vec::new()
}
