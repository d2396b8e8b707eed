//! Standalone activations: each channel of an integer stream is compared with thresholds.

use std::sync::Arc;

use stoxnor_hdl::Module;

use crate::arith::activation::Activation;
use crate::arith::kernel::{Fill, Sliding};
use crate::arith::pooled::WindowSum;
use crate::arith::window::Window;
use crate::diagnostic::Result;
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::resources::Resources;

/// The activation of every element, by channel: `y[..][c] = activation of row c of x[..][c]`. The shape is unchanged.
#[derive(Debug, Clone)]
pub struct Threshold {
    shape: Vec<usize>,
    /// The activation: channels with a single tap each.
    each: WindowSum,
}

impl Threshold {
    /// An activation of frames of `shape`, channels last: one for all members of an ensemble, or one per member.
    ///
    /// # Panics
    /// If there is no activation, or one does not fit the channels.
    pub fn new(shape: Vec<usize>, activations: Vec<Activation>) -> Self {
        assert!(!activations.is_empty(), "an activation");
        let channels = shape.last().copied().unwrap_or(1);
        let pixels = shape.iter().product::<usize>() / channels;
        let window = Window::plain([1, pixels], [1, 1]);
        let kernel = Sliding { window, channels, groups: channels, fill: Fill::Nothing };
        Self { shape, each: WindowSum::new(kernel, activations) }
    }

    /// The shape of the frames.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

impl Layer for Threshold {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        input.streams_as(&self.shape)?;
        Ok(Port { shape: self.shape.clone(), element: self.each.element(input.element)? })
    }

    fn members(&self) -> usize {
        self.each.activations().members()
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        self.each.activated(inputs[0].to_vec(), member)
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.each.fast(inputs[0], member)
    }

    fn fast_sums(&self, inputs: &[&Batch], _: usize) -> Batch {
        self.each.fast_sums(inputs[0])
    }

    fn lanes(&self) -> Lanes {
        let Sliding { window, channels, .. } = *self.each.kernel();
        Lanes::channelwise(channels, window.pixels(), window.pixels())
            .comparing(self.each.activations().steps())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        self.each.unit(name, inputs[0].element, fold, user).hardware()
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        self.each.unit("", inputs[0].element, fold, 0).schedule()
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        self.each.unit("", inputs[0].element, fold, 0).resources()
    }
}

/// The threshold layer.
pub const KIND: Kind = Kind { name: "threshold", samples };

/// Shape, input type, type and number of thresholds of the activation, and number of members.
type Form = (&'static [usize], Element, (Element, usize), i64);

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};

    use crate::layer::dense::staircase;

    let forms: [Form; 7] = [
        (&[3, 4, 2], Unsigned(8), (Bipolar, 1), 1),
        (&[6], Signed(5), (Unsigned(2), 3), 1),
        (&[2, 3], Unsigned(16), (Unsigned(4), 15), 1),
        (&[5, 1], Unsigned(8), (Signed(3), 7), 1),
        (&[2, 2, 4], Signed(20), (Bipolar, 1), 3),
        (&[4], Unsigned(3), (Unsigned(2), 3), 3),
        (&[2, 3], Bipolar, (Bipolar, 1), 3),
    ];
    let sample = |(shape, element, (to, steps), members): (&[usize], Element, (Element, usize), i64)| {
        let channels = shape[shape.len() - 1];
        let (least, most) = element.range();
        let stairs = |m: i64| {
            let mut stairs = staircase(channels, (least - m, most + 2 * m), to, steps);
            stairs.falls = (0..channels).map(|c| (c as i64 + m) % 3 == 1).collect();
            stairs
        };
        let layer = Threshold::new(shape.to_vec(), (0..members).map(stairs).collect());
        (vec![Port { shape: shape.to_vec(), element }], Arc::new(layer) as Arc<dyn Layer>)
    };
    forms.into_iter().map(sample).collect()
}
