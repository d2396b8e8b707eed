//! Transposition: streams the elements of a frame in the order of permuted axes.

use std::sync::Arc;

use stoxnor_hdl::Module;
use stoxnor_hdl::block::{LineBuffer, Loop};

use crate::arith::kernel::within_reach;
use crate::diagnostic::Result;
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::resources::Resources;
use crate::unit::window::LineBufferStage;

/// Axis i of the output is axis `axes[i]` of the input. Both streams are row-major.
#[derive(Debug, Clone)]
pub struct Transpose {
    shape: Vec<usize>,
    axes: Vec<usize>,
}

/// Names of the loops that read a frame, innermost first.
const LOOPS: [&str; 8] = ["run_0", "run_1", "run_2", "run_3", "run_4", "run_5", "run_6", "run_7"];

impl Transpose {
    /// A transposition of frames of `shape`. Axis i of the output is axis `axes[i]` of the input.
    ///
    /// # Panics
    /// If `axes` is no permutation, or there are more than 8 axes.
    pub fn new(shape: Vec<usize>, axes: Vec<usize>) -> Self {
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..shape.len()), "every axis once");
        assert!(shape.len() <= LOOPS.len(), "no more than {} axes", LOOPS.len());
        Self { shape, axes }
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    fn out(&self) -> Vec<usize> {
        self.axes.iter().map(|a| self.shape[*a]).collect()
    }

    /// Number of neighbouring elements that stay neighbours: the extent of the last axis if it stays last, else 1.
    fn together(&self) -> usize {
        match (self.axes.last(), self.shape.last()) {
            (Some(axis), Some(extent)) if axis + 1 == self.axes.len() => *extent,
            _ => 1,
        }
    }

    /// For each input axis, the distance of neighbouring elements.
    fn strides(&self) -> Vec<usize> {
        (0..self.shape.len()).map(|a| self.shape[a + 1..].iter().product()).collect()
    }

    fn transposed(&self, frame: &[i32]) -> Vec<i32> {
        let (strides, out) = (self.strides(), self.out());
        let from = |place: usize| {
            let mut rest = place;
            let axes = self.axes.iter().zip(&out).rev();
            axes.map(|(axis, extent)| {
                let at = rest % extent;
                rest /= extent;
                at * strides[*axis]
            })
            .sum::<usize>()
        };
        (0..frame.len()).map(|place| frame[from(place)]).collect()
    }

    /// The loops over words of `pe` elements, innermost first. Loops that form one contiguous run are merged.
    fn loops(&self, pe: usize) -> Vec<Loop> {
        let strides = self.strides();
        let mut loops: Vec<Loop> = Vec::new();
        for axis in self.axes.iter().rev() {
            let (count, words) = match strides[*axis] {
                1 => (self.shape[*axis] / pe, 1),
                stride => (self.shape[*axis], stride / pe),
            };
            match loops.last_mut() {
                _ if count == 1 => {}
                Some(inner) if inner.words * inner.count == words as u64 => inner.count *= count as u64,
                _ => loops.push(Loop::still(LOOPS[loops.len()], count as u64, words as u64)),
            }
        }
        loops
    }

    /// A ring buffer for elements that are read later than they arrive. If the first axis stays first, each index along it is
    /// freed once it is read.
    fn buffer(&self, input: &Port, fold: Folding, user: u32) -> LineBufferStage {
        let frame = (self.elements() / fold.pe) as u64;
        let mut inner = self.loops(fold.pe);
        let rows = inner.pop_if(|outermost| outermost.words * outermost.count == frame);
        LineBufferStage::alone(LineBuffer {
            width: fold.pe as u32 * input.element.bits(),
            depth: 2,
            frame,
            inner,
            outer: [
                Loop::still("x_position", 1, 0),
                rows.unwrap_or_else(|| Loop::still("y_position", 1, frame)),
            ],
            taps: vec![Loop::still("tap", 1, 0)],
            skip: 0,
            border: None,
            user,
        })
    }
}

impl Layer for Transpose {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        input.streams_as(&self.shape)?;
        within_reach(self.elements() / self.together())?;
        Ok(Port { shape: self.out(), element: input.element })
    }

    fn reference(&self, inputs: &[&[i32]], _: usize) -> Vec<i32> {
        self.transposed(inputs[0])
    }

    fn fast(&self, inputs: &[&Batch], _: usize) -> Batch {
        let batch = inputs[0];
        batch.each(batch.element(), self.elements(), |frame| self.transposed(frame))
    }

    fn lanes(&self) -> Lanes {
        let (together, elements) = (self.together(), self.elements());
        Lanes::channelwise(together, elements / together, elements / together)
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        self.buffer(&inputs[0], fold, user).buffer().build(name)
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        self.buffer(&inputs[0], fold, 0).schedule_alone()
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        Resources::buffer(self.buffer(&inputs[0], fold, 0).bits())
    }
}

/// The transposition layer.
pub const KIND: Kind = Kind { name: "transpose", samples };

fn samples() -> Vec<Sample> {
    let forms: [(&[usize], &[usize], Element); 7] = [
        (&[3, 4], &[1, 0], Element::Bipolar),
        (&[2, 3, 4], &[2, 0, 1], Element::Unsigned(2)),
        (&[2, 3, 4], &[1, 2, 0], Element::Signed(5)),
        (&[3, 2, 4], &[1, 0, 2], Element::Bipolar),
        (&[2, 2, 3], &[0, 2, 1], Element::Signed(20)),
        (&[2, 3, 2, 2], &[3, 1, 0, 2], Element::Bipolar),
        (&[2, 1, 3], &[1, 0, 2], Element::Unsigned(4)),
    ];
    let sample = |(shape, axes, element): (&[usize], &[usize], Element)| {
        let layer = Transpose::new(shape.to_vec(), axes.to_vec());
        (vec![Port { shape: shape.to_vec(), element }], Arc::new(layer) as Arc<dyn Layer>)
    };
    forms.into_iter().map(sample).collect()
}
