//! Elementwise sums of several streams: the joins of residual networks.

use std::sync::Arc;

use stoxnor_hdl::block::{join, stream_register};
use stoxnor_hdl::{Builder, Module, Net, Role, Stream};

use crate::arith::activation::Activation;
use crate::arith::kernel::{Fill, Sliding};
use crate::arith::pooled::WindowSum;
use crate::arith::product::computable;
use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::Port;
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::parts::{pass_images, summand};
use crate::unit::resources::Resources;

/// `y[i] = sum over k of factor[k] * x_k[i]`, with an optional activation per channel. It is a residual connection with its
/// requantisation. The shape is unchanged.
#[derive(Debug, Clone)]
pub struct Add {
    shape: Vec<usize>,
    factors: Vec<i32>,
    /// The activation: channels with a single tap each, which is the sum.
    each: WindowSum,
}

impl Add {
    /// A sum of inputs of `shape`, channels last, with a factor per input. There is no activation, one for all members of an
    /// ensemble, or one per member.
    ///
    /// # Panics
    /// If there are fewer than two inputs, a factor is 0, or an activation does not fit the channels.
    pub fn new(shape: Vec<usize>, factors: Vec<i32>, activations: Vec<Activation>) -> Self {
        assert!(factors.len() > 1 && !factors.contains(&0), "two inputs or more, none of them for nothing");
        let channels = shape.last().copied().unwrap_or(1);
        let pixels = shape.iter().product::<usize>() / channels.max(1);
        let window = Window::plain([1, pixels], [1, 1]);
        let kernel = Sliding { window, channels, groups: channels, fill: Fill::Nothing };
        Self { shape, factors, each: WindowSum::new(kernel, activations) }
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The minimum and maximum sum for inputs of these types.
    pub fn sum_range(&self, inputs: &[Element]) -> (i64, i64) {
        let ends = |(factor, input): (&i32, &Element)| {
            let (min, max) = input.range();
            let (a, b) = (i64::from(*factor) * min, i64::from(*factor) * max);
            (a.min(b), a.max(b))
        };
        let ends = self.factors.iter().zip(inputs).map(ends);
        ends.fold((0, 0), |(low, high), (min, max)| (low + min, high + max))
    }

    /// Element type of the sums.
    fn sum_element(&self, inputs: &[Element]) -> Element {
        let (min, max) = self.sum_range(inputs);
        Element::signed(min, max)
    }

    /// Element type of the output.
    fn element(&self, inputs: &[Element]) -> Element {
        self.each.activations().of(0).map_or_else(|| self.sum_element(inputs), |a| a.element)
    }

    fn sums(&self, inputs: &[&[i32]]) -> Vec<i32> {
        let sum = |i: usize| self.factors.iter().zip(inputs).map(|(factor, x)| factor * x[i]).sum();
        (0..self.elements()).map(sum).collect()
    }
}

impl Add {
    fn document(&self, b: &mut Builder, inputs: &[Element], fold: Folding) {
        let pe = fold.pe;
        let sum = |(k, (factor, input)): (usize, (&i32, &Element))| format!("{factor} * x{k}[i] ({input})");
        let terms: Vec<String> = self.factors.iter().zip(inputs).enumerate().map(sum).collect();
        let activated =
            if self.each.activations().of(0).is_some() { "the activation of its channel for " } else { "" };
        b.doc(format!(
            "Frames of {:?}, element by element: y[i] = {activated}{}.",
            self.shape,
            terms.join(" + ")
        ));
        let beats = self.elements() / pe;
        b.doc(format!("PE {pe}: {beats} beats of each stream in, {beats} out, {beats} cycles a frame."));
        let latency = match self.each.activations().of(0) {
            None => 1,
            Some(_) => self.each.unit("", self.sum_element(inputs), fold, 0).latency(),
        };
        b.doc(format!(
            "Timing: a beat is offered {latency} edges after all streams have given theirs; full rate."
        ));
    }

    /// The sums of one beat. `data` is the concatenation of the beats of all streams.
    fn adders(&self, b: &mut Builder, inputs: &[Element], pe: usize, data: Net) -> Net {
        let bits = self.sum_element(inputs).bits();
        let lane = |b: &mut Builder, lane: usize| {
            let mut at = 0;
            let mut sum: Option<Net> = None;
            for (k, (factor, input)) in self.factors.iter().zip(inputs).enumerate() {
                let x = b.slice(data, at + lane as u32 * input.bits(), input.bits());
                at += pe as u32 * input.bits();
                let x = b.named(format!("x{k}_{lane}"), x);
                let width = bits - factor.trailing_zeros();
                let x = summand(*input).number(b, &format!("number{k}_{lane}"), x, width);
                let x = b.named(format!("term{k}_{lane}"), x);
                sum = Some(times(b, sum, x, *factor, bits));
            }
            let sum = sum.expect("two inputs or more");
            b.named(format!("sum_{lane}"), sum)
        };
        let sums: Vec<Net> = (0..pe).map(|p| lane(b, p)).collect();
        b.concat(&sums)
    }
}

/// Adds `factor` * `x` to `sum`, in `bits` bits: one adder per 1 bit of the factor. The width of `x` may be smaller by the
/// factor's trailing zeros.
fn times(b: &mut Builder, mut sum: Option<Net>, x: Net, factor: i32, bits: u32) -> Net {
    for shift in (0..bits).filter(|shift| factor.unsigned_abs() >> shift & 1 == 1) {
        let low = if bits - shift < b.width(x) { b.slice(x, 0, bits - shift) } else { x };
        let term = match shift {
            0 => low,
            _ => {
                let zeros = b.constant(shift, 0);
                b.concat(&[zeros, low])
            }
        };
        sum = Some(match (sum, factor < 0) {
            (None, false) => term,
            (None, true) => {
                let zero = b.constant(bits, 0);
                b.sub(zero, term)
            }
            (Some(sum), false) => b.add(sum, term),
            (Some(sum), true) => b.sub(sum, term),
        });
    }
    sum.expect("a factor is not 0")
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
        Lanes::channelwise(channels, pixels, pixels).comparing(self.each.activations().steps())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let inputs = elements(inputs);
        let sum = self.sum_element(&inputs);
        let mut b = Builder::new(name);
        self.document(&mut b, &inputs, fold);
        let widths: Vec<u32> = inputs.iter().map(|x| fold.pe as u32 * x.bits()).collect();
        let joined = b.instance("u_join", &join(&widths, user));
        for (k, width) in widths.iter().enumerate() {
            let s = b.stream_input(&format!("s{k}"), *width, user);
            let ready = b.connect_stream(joined, &format!("s{k}"), s);
            b.output(format!("s{k}_ready"), ready, Role::Control);
        }
        let m_ready = b.input("m_ready", 1, Role::Control);
        let s = b.out_stream(joined, "m");
        let data = self.adders(&mut b, &inputs, fold.pe, s.data);
        let behind = match self.each.activations().of(0) {
            None => stream_register(fold.pe as u32 * sum.bits(), user),
            Some(_) => self.each.unit(&format!("{name}_threshold"), sum, fold, user).hardware(),
        };
        let out = b.instance(if behind.parameters.is_empty() { "u_out" } else { "u_threshold" }, &behind);
        pass_images(&mut b, out, &behind);
        let ready = b.connect_stream(out, "s", Stream { data, ..s });
        b.connect(joined, "m_ready", ready);
        b.connect(out, "m_ready", m_ready);
        let m = b.out_stream(out, "m");
        b.stream_output_forward("m", m);
        b.finish()
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        let inputs = elements(inputs);
        let beats = (self.elements() / fold.pe) as u64;
        let behind = match self.each.activations().of(0) {
            None => Schedule::register(beats),
            Some(_) => self.each.unit("", self.sum_element(&inputs), fold, 0).schedule(),
        };
        Schedule::join(beats).then(behind)
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        match self.each.activations().of(0) {
            None => Resources { lanes: fold.pe as u64, ..Resources::buffer(0) },
            Some(_) => self.each.unit("", self.sum_element(&elements(inputs)), fold, 0).resources(),
        }
    }
}

/// The add layer.
pub const KIND: Kind = Kind { name: "add", samples };

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};

    use crate::layer::dense::staircase;

    /// Shape, types and factors of the inputs, type and number of thresholds of the activation, number of members.
    type Form = (&'static [usize], &'static [(Element, i32)], Option<(Element, usize)>, i64);
    let forms: [Form; 8] = [
        (&[2, 3, 4], &[(Bipolar, 1), (Bipolar, 1)], None, 0),
        (&[6], &[(Bipolar, 1), (Bipolar, -1)], Some((Bipolar, 1)), 1),
        (&[3, 1, 2], &[(Unsigned(2), 1), (Unsigned(2), 1)], Some((Unsigned(2), 3)), 3),
        (&[4, 2], &[(Unsigned(2), 4), (Signed(4), 1)], Some((Signed(3), 7)), 1),
        (&[1], &[(Signed(1), -3), (Bipolar, 5)], None, 0),
        (&[2, 2, 3], &[(Bipolar, 1), (Unsigned(3), 2), (Signed(2), -1)], Some((Unsigned(1), 1)), 1),
        (&[8], &[(Signed(6), 1), (Signed(6), -1)], None, 0),
        (&[1, 5, 2], &[(Unsigned(16), 1), (Unsigned(1), 1)], Some((Unsigned(4), 15)), 1),
    ];
    let sample = |(shape, terms, activation, members): Form| {
        let inputs: Vec<Port> =
            terms.iter().map(|(element, _)| Port { shape: shape.to_vec(), element: *element }).collect();
        let factors: Vec<i32> = terms.iter().map(|(_, factor)| *factor).collect();
        let range = Add::new(shape.to_vec(), factors.clone(), vec![]).sum_range(&elements(&inputs));
        let channels = shape[shape.len() - 1];
        let stairs = |m: i64, (to, steps)| staircase(channels, (range.0 - m, range.1 + m), to, steps);
        let activations = (0..members).filter_map(|m| Some(stairs(m, activation?))).collect();
        let layer: Arc<dyn Layer> = Arc::new(Add::new(shape.to_vec(), factors, activations));
        (inputs, layer)
    };
    forms.into_iter().map(sample).collect()
}
