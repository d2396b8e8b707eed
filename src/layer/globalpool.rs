//! Global average pooling: sums over all pixels. The division is part of the thresholds, or of the host's computation.

use std::sync::Arc;

use stoxnor_hdl::block::{counter, frame_sum};
use stoxnor_hdl::{Builder, Module, Role, Stream};

use crate::arith::activation::Activation;
use crate::arith::kernel::{Fill, Sliding};
use crate::arith::pooled::{WindowSum, sum_range};
use crate::arith::product::computable;
use crate::arith::window::Window;
use crate::diagnostic::Result;
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::channel::ChannelUnit;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::parts::{SUM_LATENCY, in_a_row, summand};
use crate::unit::resources::Resources;

/// `y[c] = sum over pixels p of x[p][c]`, with an optional activation per channel. Frames of [height, width, channels] become [1,
/// 1, channels].
///
/// Unlike a pooling whose kernel is the whole image, it buffers no pixels, only the running sums.
#[derive(Debug, Clone)]
pub struct GlobalPool {
    shape: [usize; 3],
    /// The activation: channels with a single tap each, which is the sum.
    each: WindowSum,
}

impl GlobalPool {
    /// A pooling of frames of `shape`. There is no activation, one for all members of an ensemble, or one per member.
    ///
    /// # Panics
    /// If an activation does not fit the channels.
    pub fn new(shape: [usize; 3], activations: Vec<Activation>) -> Self {
        let channels = shape[2];
        let window = Window::plain([1, 1], [1, 1]);
        let kernel = Sliding { window, channels, groups: channels, fill: Fill::Nothing };
        Self { shape, each: WindowSum::new(kernel, activations) }
    }

    fn pixels(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// The minimum and maximum sum for inputs of type `input`.
    pub fn sum_range(&self, input: Element) -> (i64, i64) {
        sum_range(input, self.pixels())
    }

    /// Element type of the sums.
    fn sum_element(&self, input: Element) -> Element {
        let (min, max) = self.sum_range(input);
        Element::signed(min, max)
    }

    fn activated(&self) -> bool {
        self.each.activations().of(0).is_some()
    }

    /// Element type of the output.
    fn element(&self, input: Element) -> Element {
        self.each.activations().of(0).map_or_else(|| self.sum_element(input), |a| a.element)
    }

    fn sums(&self, frame: &[i32]) -> Vec<i32> {
        let channel = |c| frame.iter().skip(c).step_by(self.shape[2]).sum();
        (0..self.shape[2]).map(channel).collect()
    }

    /// The unit that compares the sums with thresholds.
    fn threshold<'a>(&'a self, name: &'a str, input: Element, fold: Folding, user: u32) -> ChannelUnit<'a> {
        self.each.unit(name, self.sum_element(input), fold, user)
    }

    /// The module that adds the pixels and outputs the sums at the last one.
    fn adder(&self, name: &str, input: Element, pe: usize, user: u32) -> Arc<Module> {
        let (channels, pixels) = (self.shape[2], self.pixels());
        let groups = channels / pe;
        let sum = frame_sum(groups as u32, pe as u32, summand(input), self.sum_element(input).bits(), user);
        let mut b = Builder::new(name);
        b.doc(format!("{pixels} pixels of {channels} channels of {input} elements:"));
        b.doc("element r of a frame is the sum of x[p][r] over all pixels p.");
        b.doc(format!("PE {pe}: {} beats in, {groups} beats out.", pixels * groups));
        b.doc(format!(
            "Timing: the sums are offered {SUM_LATENCY} edges after their beats of the last pixel; full rate."
        ));
        let s = b.stream_input("s", pe as u32 * input.bits(), user);
        let m_ready = b.input("m_ready", 1, Role::Control);
        let adder = b.instance("u_adder", &sum);
        b.connect(adder, "m_ready", m_ready);
        let ready = b.out(adder, "s_ready");
        b.output("s_ready", ready, Role::Control);
        let ends = if pixels > 1 {
            let take = b.and(ready, s.valid);
            let take = b.named("take", take);
            let done = match counter(&mut b, "group", groups as u64, take) {
                Some((_, end)) => {
                    let done = b.and(take, end);
                    b.named("pixel_done", done)
                }
                None => take,
            };
            let (_, end) = counter(&mut b, "pixel", pixels as u64, done).expect("several");
            end
        } else {
            b.constant(1, 1)
        };
        let user: Vec<_> = [Some(ends), s.user].into_iter().flatten().collect();
        let user = Some(b.concat(&user));
        b.connect_stream(adder, "s", Stream { user, ..s });
        let m = b.out_stream(adder, "m");
        b.stream_output_forward("m", m);
        b.finish()
    }
}

impl Layer for GlobalPool {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        input.streams_as(&self.shape)?;
        computable(self.sum_range(input.element))?;
        Ok(Port { shape: vec![1, 1, self.shape[2]], element: self.element(input.element) })
    }

    fn members(&self) -> usize {
        self.each.activations().members()
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        self.each.activated(self.sums(inputs[0]), member)
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        let batch = inputs[0];
        let activated = self.each.activations().of(member).map(|a| a.element);
        let element = activated.or_else(|| batch.element().map(|input| self.sum_element(input)));
        batch.each(element, self.shape[2], |frame| self.each.activated(self.sums(frame), member))
    }

    fn fast_sums(&self, inputs: &[&Batch], _: usize) -> Batch {
        inputs[0].each(None, self.shape[2], |frame| self.sums(frame))
    }

    fn lanes(&self) -> Lanes {
        Lanes::channelwise(self.shape[2], self.pixels(), 1).comparing(self.each.activations().steps())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let input = inputs[0].element;
        if !self.activated() {
            return self.adder(name, input, fold.pe, user);
        }
        let adder = self.adder(&format!("{name}_sum"), input, fold.pe, user);
        let threshold = self.threshold(&format!("{name}_threshold"), input, fold, user).hardware();
        in_a_row(
            name,
            &["The activation of the sum over all pixels.".to_owned()],
            &[("sum", adder), ("threshold", threshold)],
        )
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        let (groups, pixels) = ((self.shape[2] / fold.pe) as u64, self.pixels() as u64);
        let sum = Schedule::frame_sum(groups, pixels as u32);
        if self.activated() {
            sum.then(self.threshold("", inputs[0].element, fold, 0).schedule())
        } else {
            sum
        }
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        let input = inputs[0].element;
        let sums = self.shape[2] as u64 * u64::from(self.sum_element(input).bits());
        match self.activated() {
            false => Resources { lanes: fold.pe as u64, ..Resources::buffer(sums) },
            true => Resources { buffer_bits: sums, ..self.threshold("", input, fold, 0).resources() },
        }
    }
}

/// The global average pooling layer.
pub const KIND: Kind = Kind { name: "globalpool", samples };

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};

    use crate::layer::dense::staircase;

    let forms = [
        ([2, 3, 4], Bipolar, None, 0),
        ([3, 3, 2], Bipolar, Some((Bipolar, 1)), 1),
        ([1, 4, 6], Unsigned(2), Some((Unsigned(2), 3)), 3),
        ([2, 2, 1], Signed(5), None, 0),
        ([1, 1, 3], Bipolar, Some((Unsigned(1), 1)), 1),
        ([1, 1, 2], Unsigned(3), None, 0),
        ([2, 2, 2], Signed(1), Some((Signed(2), 3)), 3),
        ([4, 4, 1], Unsigned(16), Some((Unsigned(4), 15)), 1),
    ];
    let sample = |(shape, element, activation, members): ([usize; 3], Element, Option<_>, i64)| {
        let (least, most) = sum_range(element, shape[0] * shape[1]);
        let stairs = |m: i64, (to, steps)| staircase(shape[2], (least - m, most + m), to, steps);
        let activations = (0..members).filter_map(|m| Some(stairs(m, activation?))).collect();
        let layer: Arc<dyn Layer> = Arc::new(GlobalPool::new(shape, activations));
        (vec![Port { shape: shape.to_vec(), element }], layer)
    };
    forms.into_iter().map(sample).collect()
}
