//! The layer trait: a layer in every form that the engines need.

use std::fmt;
use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::arith::matrix::WeightKind;
use crate::arith::sampling::Sampling;
use crate::diagnostic::Result;
use crate::frame::batch::Batch;
use crate::frame::port::Port;
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::resources::Resources;

/// A layer in every form that the engines need.
///
/// A frame is a list of integers in stream order (channels last, row-major). A bipolar element is +1 or -1.
pub trait Layer: fmt::Debug + Send + Sync {
    /// Name of the layer kind, as in `KINDS` and in the layer's name.
    fn kind(&self) -> &'static str;

    /// Shape and element type of the output, or the reason why the inputs do not fit.
    fn output(&self, inputs: &[Port]) -> Result<Port>;

    /// Number of members whose results differ; it equals max_members, or 1 if all members compute the same.
    fn members(&self) -> usize {
        1
    }

    /// The sampling of the weights; `None` if they are deterministic or there are none.
    fn sampling(&self) -> Option<Sampling> {
        None
    }

    /// Computes one frame in one member (from 0) in plain integer arithmetic: the reference for all engines. It may use
    /// [`arith`](crate::arith) but nothing of the hardware.
    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32>;

    /// Computes a batch of frames in one member, on packed words.
    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch;

    /// The sums before the activation, computed as by [`fast`](Self::fast); the output if there is no activation.
    fn fast_sums(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.fast(inputs, member)
    }

    /// Kind of the weights; `None` for layers without weights.
    fn weights(&self) -> Option<WeightKind> {
        None
    }

    /// The legal foldings.
    fn lanes(&self) -> Lanes;

    /// Builds the layer as a module named `name`. Its input stream is `s` (with several inputs `s0`, `s1`, ...), its output
    /// stream `m` has PE elements per beat, and all streams have `user` user bits. If members differ, a frame passes once per
    /// member, member 0 first, and the single user bit marks the last member.
    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module>;

    /// The edges of output beats, as a function of those of input beats.
    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule;

    /// The resources of the layer.
    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources;
}

/// A kind of layer, as the conformance tests see it.
#[derive(Debug)]
pub struct Kind {
    /// The kind's name.
    pub name: &'static str,
    /// Sample layers that cover every form of the kind.
    pub samples: fn() -> Vec<Sample>,
}

/// The input ports of a sample layer, and the layer.
pub type Sample = (Vec<Port>, Arc<dyn Layer>);
