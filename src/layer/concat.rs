//! Concatenation of the channels of several streams.

use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::fold::{Folding, Lanes};
use crate::layer::{Batch, Kind, Layer, Resources, Sample};
use crate::network::{Element, Port};
use crate::schedule::Schedule;

/// At every pixel the channels of the first input, then those of the second, and so on. What leaves has the narrowest type that holds
/// the values of all inputs.
#[derive(Debug, Clone)]
pub struct Concat {
    /// Shape of what leaves, channels last.
    shape: Vec<usize>,
    /// Channels of each input.
    channels: Vec<usize>,
}

impl Concat {
    /// The extents in front of the channels (none for a vector), and the channels of each input.
    ///
    /// # Panics
    /// Where there are less than two inputs, or one has no channels.
    pub fn new(pixels: &[usize], channels: Vec<usize>) -> Self {
        assert!(channels.len() > 1 && !channels.contains(&0), "two inputs or more, all with channels");
        let shape = pixels.iter().copied().chain([channels.iter().sum()]).collect();
        Self { shape, channels }
    }

    fn pixels(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product()
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    fn joined(&self, inputs: &[&[i32]]) -> Vec<i32> {
        let of = |pixel: usize| {
            let own = move |(x, channels): (&&[i32], &usize)| x[pixel * channels..][..*channels].to_vec();
            inputs.iter().zip(&self.channels).flat_map(own)
        };
        (0..self.pixels()).flat_map(of).collect()
    }
}

impl Layer for Concat {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        if inputs.len() != self.channels.len() {
            let message = format!("{} inputs where {} are joined", inputs.len(), self.channels.len());
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        for (input, channels) in inputs.iter().zip(&self.channels) {
            input.streams_as(&[self.pixels(), *channels])?;
        }
        let element = Element::covering(inputs.iter().map(|port| port.element));
        Ok(Port { shape: self.shape.clone(), element })
    }

    fn reference(&self, inputs: &[&[i32]], _: usize) -> Vec<i32> {
        self.joined(inputs)
    }

    fn fast(&self, inputs: &[&Batch], _: usize) -> Batch {
        let types: Option<Vec<Element>> = inputs.iter().map(|batch| batch.element()).collect();
        Batch::joined(inputs, types.map(Element::covering), self.elements(), |x| self.joined(x))
    }

    fn lanes(&self) -> Lanes {
        Lanes::joined(&self.channels, self.pixels())
    }

    fn hardware(&self, _name: &str, _inputs: &[Port], _fold: Folding, _user: u32) -> Arc<Module> {
        todo!()
    }

    fn schedule(&self, _inputs: &[Port], _fold: Folding) -> Schedule {
        todo!()
    }

    fn resources(&self, _inputs: &[Port], fold: Folding) -> Resources {
        Resources { lanes: fold.pe as u64, ..Resources::buffer(0) }
    }
}

/// Layers that join channels.
pub const KIND: Kind = Kind { name: "concat", samples };

fn samples() -> Vec<Sample> {
    Vec::new()
}
