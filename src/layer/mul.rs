//! Element-wise products of two streams: gates, and squeeze and excite.

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

/// `y[i] = x_0[i] * x_1[i]`, with an optional activation of each channel's products. The shape stays.
///
/// A product with one value per channel, as in squeeze and excite, has an [`Upsample`](crate::layer::upsample::Upsample) layer in
/// front of that input.
#[derive(Debug, Clone)]
pub struct Mul {
    shape: Vec<usize>,
    /// The activation of products, each the one tap of a channel.
    each: WindowSum,
}

/// Type of the products of two elements.
fn product(a: Element, b: Element) -> Element {
    if (a, b) == (Element::Bipolar, Element::Bipolar) {
        return Element::Bipolar;
    }
    let (least, most) = Mul::range(a, b);
    Element::signed(least, most)
}

impl Mul {
    /// The shape of both inputs, channels last, and no activation, one for all members of an ensemble, or one for each.
    ///
    /// # Panics
    /// If an activation does not fit the channels.
    pub fn new(shape: Vec<usize>, activations: Vec<Activation>) -> Self {
        let channels = shape.last().copied().unwrap_or(1);
        let pixels = shape.iter().product::<usize>() / channels.max(1);
        let window = Window::plain([1, pixels], [1, 1]);
        let kernel = Sliding { window, channels, groups: channels, fill: Fill::Nothing };
        Self { shape, each: WindowSum::new(kernel, activations) }
    }

    /// The minimum and maximum product of two elements.
    pub fn range(a: Element, b: Element) -> (i64, i64) {
        let ((low, high), (least, most)) = (a.range(), b.range());
        let all = [low * least, low * most, high * least, high * most];
        all.iter().fold((i64::MAX, i64::MIN), |(l, h), v| (l.min(*v), h.max(*v)))
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Type of the output.
    fn element(&self, product: Element) -> Element {
        self.each.activations().of(0).map_or(product, |a| a.element)
    }

    fn products(&self, inputs: &[&[i32]]) -> Vec<i32> {
        (0..self.elements()).map(|i| inputs[0][i] * inputs[1][i]).collect()
    }

    fn document(&self, b: &mut Builder, inputs: [Element; 2], fold: Folding) {
        let pe = fold.pe;
        let activated =
            if self.each.activations().of(0).is_some() { "the activation of its channel for " } else { "" };
        b.doc(format!(
            "Frames of {:?}, element by element: y[i] = {activated}x0[i] ({}) * x1[i] ({}).",
            self.shape, inputs[0], inputs[1]
        ));
        let beats = self.elements() / pe;
        b.doc(format!("PE {pe}: {beats} beats of each stream in, {beats} out, {beats} cycles a frame."));
        let latency = match self.each.activations().of(0) {
            None => 1,
            Some(_) => self.each.unit("", product(inputs[0], inputs[1]), fold, 0).latency(),
        };
        b.doc(format!(
            "Timing: a beat is offered {latency} edges after both streams have given theirs; full rate."
        ));
    }

    /// The products of a beat of both streams, side by side in `data`.
    fn multipliers(b: &mut Builder, inputs: [Element; 2], pe: usize, data: Net) -> Net {
        let bits = product(inputs[0], inputs[1]).bits();
        let lane = |b: &mut Builder, lane: u32| {
            let mut at = 0;
            let mut x = inputs.iter().enumerate().map(|(k, input)| {
                let net = b.slice(data, at + lane * input.bits(), input.bits());
                at += pe as u32 * input.bits();
                (*input, k, b.named(format!("x{k}_{lane}"), net))
            });
            let (first, second) = (x.next().expect("two inputs"), x.next().expect("two inputs"));
            // One adder for each bit of the narrower input.
            let (wide, narrow) =
                if first.0.bits() < second.0.bits() { (second, first) } else { (first, second) };
            let product = match (wide.0, narrow.0) {
                (Element::Bipolar, Element::Bipolar) => b.xnor(wide.2, narrow.2),
                (wide_element, narrow_element) => {
                    let own = bits.max(wide_element.bits());
                    let (_, k, net) = wide;
                    let number = summand(wide_element).number(b, &format!("number{k}_{lane}"), net, own);
                    let number = if own > bits { b.slice(number, 0, bits) } else { number };
                    let number = b.named(format!("wide_{lane}"), number);
                    times(b, number, narrow_element, narrow.2)
                }
            };
            b.named(format!("product_{lane}"), product)
        };
        let products: Vec<Net> = (0..pe as u32).map(|p| lane(b, p)).collect();
        b.concat(&products)
    }
}

/// `number` times `factor`, a net of type `element`, modulo 2^(bits of `number`).
fn times(b: &mut Builder, number: Net, element: Element, factor: Net) -> Net {
    let bits = b.width(number);
    let zero = b.constant(bits, 0);
    let (planes, negative) = match element {
        Element::Bipolar => {
            let minus = b.sub(zero, number);
            return b.mux(factor, number, minus);
        }
        Element::Unsigned(planes) => (planes, false),
        Element::Signed(planes) => (planes, true),
    };
    let mut sum: Option<Net> = None;
    for plane in 0..planes.min(bits) {
        let shifted = match plane {
            0 => number,
            _ => {
                let (low, zeros) = (b.slice(number, 0, bits - plane), b.constant(plane, 0));
                b.concat(&[zeros, low])
            }
        };
        let bit = b.slice(factor, plane, 1);
        let term = b.mux(bit, shifted, zero);
        let top = negative && plane + 1 == planes;
        sum = Some(match (sum, top) {
            (None, false) => term,
            (None, true) => b.sub(zero, term),
            (Some(sum), false) => b.add(sum, term),
            (Some(sum), true) => b.sub(sum, term),
        });
    }
    sum.expect("an element has a bit")
}

fn elements(inputs: &[Port]) -> [Element; 2] {
    [inputs[0].element, inputs[1].element]
}

impl Layer for Mul {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        if inputs.len() != 2 {
            let message = format!("{} inputs where 2 are multiplied", inputs.len());
            return Err(Diagnostic::new(&MODEL_INVALID, message).into());
        }
        inputs.iter().try_for_each(|input| input.streams_as(&self.shape))?;
        let [a, b] = elements(inputs);
        computable(Self::range(a, b))?;
        Ok(Port { shape: self.shape.clone(), element: self.element(product(a, b)) })
    }

    fn members(&self) -> usize {
        self.each.activations().members()
    }

    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32> {
        self.each.activated(self.products(inputs), member)
    }

    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch {
        let types = inputs[0].element().zip(inputs[1].element());
        let activated = self.each.activations().of(member).map(|a| a.element);
        let element = activated.or_else(|| types.map(|(a, b)| product(a, b)));
        Batch::joined(inputs, element, self.elements(), |x| self.each.activated(self.products(x), member))
    }

    fn fast_sums(&self, inputs: &[&Batch], _: usize) -> Batch {
        Batch::joined(inputs, None, self.elements(), |x| self.products(x))
    }

    fn lanes(&self) -> Lanes {
        let channels = self.each.kernel().channels;
        let pixels = self.each.kernel().window.pixels();
        Lanes::channelwise(channels, pixels, pixels).comparing(self.each.activations().steps())
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let inputs = elements(inputs);
        let product = product(inputs[0], inputs[1]);
        let mut b = Builder::new(name);
        self.document(&mut b, inputs, fold);
        let widths = inputs.map(|x| fold.pe as u32 * x.bits());
        let joined = b.instance("u_join", &join(&widths, user));
        for (k, width) in widths.iter().enumerate() {
            let s = b.stream_input(&format!("s{k}"), *width, user);
            let ready = b.connect_stream(joined, &format!("s{k}"), s);
            b.output(format!("s{k}_ready"), ready, Role::Control);
        }
        let m_ready = b.input("m_ready", 1, Role::Control);
        let s = b.out_stream(joined, "m");
        let data = Self::multipliers(&mut b, inputs, fold.pe, s.data);
        let behind = match self.each.activations().of(0) {
            None => stream_register(fold.pe as u32 * product.bits(), user),
            Some(_) => self.each.unit(&format!("{name}_threshold"), product, fold, user).hardware(),
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
        let [a, b] = elements(inputs);
        let beats = (self.elements() / fold.pe) as u64;
        let behind = match self.each.activations().of(0) {
            None => Schedule::register(beats),
            Some(_) => self.each.unit("", product(a, b), fold, 0).schedule(),
        };
        Schedule::join(beats).then(behind)
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        let [a, b] = elements(inputs);
        match self.each.activations().of(0) {
            None => Resources { lanes: fold.pe as u64, ..Resources::buffer(0) },
            Some(_) => self.each.unit("", product(a, b), fold, 0).resources(),
        }
    }
}

/// Layers that multiply streams.
pub const KIND: Kind = Kind { name: "mul", samples };

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};

    use crate::layer::dense::staircase;

    /// Shape, types of the inputs, type and steps of an activation, members.
    type Form = (&'static [usize], [Element; 2], Option<(Element, usize)>, i64);
    let forms: [Form; 9] = [
        (&[2, 3, 4], [Bipolar, Bipolar], None, 0),
        (&[6], [Bipolar, Bipolar], Some((Bipolar, 1)), 1),
        (&[3, 1, 2], [Unsigned(2), Unsigned(3)], Some((Unsigned(2), 3)), 3),
        (&[4, 2], [Unsigned(2), Signed(4)], Some((Signed(3), 7)), 1),
        (&[1], [Signed(1), Signed(1)], None, 0),
        (&[2, 2, 3], [Bipolar, Unsigned(3)], Some((Unsigned(1), 1)), 1),
        (&[8], [Signed(6), Bipolar], None, 0),
        (&[5], [Signed(1), Signed(5)], None, 0),
        (&[1, 5, 2], [Unsigned(8), Signed(8)], Some((Unsigned(4), 15)), 1),
    ];
    let sample = |(shape, inputs, activation, members): Form| {
        let ports: Vec<Port> =
            inputs.iter().map(|element| Port { shape: shape.to_vec(), element: *element }).collect();
        let (least, most) = Mul::range(inputs[0], inputs[1]);
        let channels = shape[shape.len() - 1];
        let stairs = |m: i64, (to, steps)| staircase(channels, (least - m, most + m), to, steps);
        let activations = (0..members).filter_map(|m| Some(stairs(m, activation?))).collect();
        let layer: Arc<dyn Layer> = Arc::new(Mul::new(shape.to_vec(), activations));
        (ports, layer)
    };
    forms.into_iter().map(sample).collect()
}
