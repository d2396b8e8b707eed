//! The layer trait: one layer in every form that the engines need.

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

/// What one layer computes, in every form that the engines need.
///
/// A frame is a list of integers in stream order (channel last, row-major); a bipolar element is +1 or -1.
pub trait Layer: fmt::Debug + Send + Sync {
    /// The kind's name, as it stands in `KINDS` and in the layer's name.
    fn kind(&self) -> &'static str;

    /// Shape and type of what leaves the layer, or why the inputs do not fit.
    fn output(&self, inputs: &[Port]) -> Result<Port>;

    /// Members that differ in what the layer computes, as many as are built; 1 where all compute the same.
    fn members(&self) -> usize {
        1
    }

    /// How its weights are sampled, where they are.
    fn sampling(&self) -> Option<Sampling> {
        None
    }

    /// One frame in one member (from 0), in plain integer arithmetic: the yardstick. May use [`arith`](crate::arith) and nothing of
    /// the hardware.
    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32>;

    /// Many frames at once in one member, on packed words.
    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch;

    /// The integers that its activation is applied to, as [`fast`](Self::fast) computes them; what leaves, where it has none.
    fn fast_sums(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.fast(inputs, member)
    }

    /// What its weights are, where it has some.
    fn weights(&self) -> Option<WeightKind> {
        None
    }

    /// What PE and SIMD may divide.
    fn lanes(&self) -> Lanes;

    /// The layer as a module named `name`: an input stream `s` (where there are several inputs, `s0`, `s1` and on), one output stream `m`
    /// of PE elements a beat, `user` user bits on all. Where members differ, a frame passes once for each member, the first one first, and the one user bit says
    /// that it is the last.
    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module>;

    /// When output beats come, given when input beats come.
    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule;

    /// What the layer occupies.
    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources;
}

/// A kind of layer, as the conformance kit sees it.
#[derive(Debug)]
pub struct Kind {
    /// The kind's name.
    pub name: &'static str,
    /// Layers that show every form of the kind.
    pub samples: fn() -> Vec<Sample>,
}

/// A layer, and the ports that feed it.
pub type Sample = (Vec<Port>, Arc<dyn Layer>);
