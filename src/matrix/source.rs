//! Where a matrix unit's weights come from.

use std::fmt::Debug;
use std::sync::Arc;

use stoxnor_hdl::block::counter;
use stoxnor_hdl::{Bits, Builder, Image, Net};

/// The control that a weight source follows.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The pipeline moves at the coming edge.
    pub run: Net,
    /// A step is issued at the coming edge.
    pub issue: Net,
}

/// Gives a matrix unit one word of weights for each step, in the order of the steps, frame after frame.
pub trait WeightSource: Debug {
    /// Edges from a step's issue to its word, at least 1.
    fn latency(&self) -> u32;

    /// Builds the source into a matrix unit; returns the net that holds the word.
    fn hardware(&self, b: &mut Builder, step: Step) -> Net;
}

/// Weights in a ROM with a registered read.
#[derive(Debug)]
pub struct Rom {
    image: Arc<Image>,
}

impl Rom {
    /// One word for each step of a frame, in order; `file` is the memory image's name.
    pub fn new(file: String, words: Vec<Bits>) -> Self {
        Self { image: Arc::new(Image { file, words }) }
    }
}

impl WeightSource for Rom {
    fn latency(&self) -> u32 {
        1
    }

    fn hardware(&self, b: &mut Builder, step: Step) -> Net {
        let depth = self.image.words.len();
        let at = counter(b, "weight_at", depth as u64, step.issue);
        let address = at.map_or_else(|| b.constant(1, 0), |(q, _)| q);
        let memory = super::memory(b, "u_weights", "WEIGHTS_FILE", depth as u32, &self.image);
        b.connect(memory, "address", address);
        b.connect(memory, "enable", step.run);
        b.out(memory, "data")
    }
}
