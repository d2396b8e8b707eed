//! Concatenation of the channels of several streams.

use std::sync::Arc;

use stoxnor_hdl::block::{in_turn, stream_register};
use stoxnor_hdl::{Builder, Module, Net, Role, Stream};

use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::Port;
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::parts::summand;
use crate::unit::resources::Resources;

/// At every pixel the channels of the first input, then those of the second, and so on. The output has the narrowest element type
/// that holds the values of all inputs.
#[derive(Debug, Clone)]
pub struct Concat {
    /// Shape of the output, channels last.
    shape: Vec<usize>,
    /// Number of channels of each input.
    channels: Vec<usize>,
}

impl Concat {
    /// A concatenation of inputs with the extents `pixels` before the channel axis (none for vectors), and `channels` channels
    /// per input.
    ///
    /// # Panics
    /// If there are fewer than two inputs, or one has no channels.
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

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let element = Element::covering(inputs.iter().map(|port| port.element));
        let (pe, width) = (fold.pe as u32, fold.pe as u32 * element.bits());
        let mut b = Builder::new(name);
        let beats = self.elements() / fold.pe;
        b.doc(format!(
            "Frames of {:?}: at each of {} pixels {:?} channels of the streams, one after another.",
            self.shape,
            self.pixels(),
            self.channels
        ));
        b.doc(format!("What leaves is {element}. PE {pe}: {beats} beats out, {beats} cycles a frame."));
        b.doc("Timing: a beat is offered after the edge that accepts it, in its stream's turn; full rate.");
        let counts: Vec<u32> = self.channels.iter().map(|channels| *channels as u32 / pe).collect();
        let turns = b.instance("u_in_turn", &in_turn(&counts, width, user));
        for (k, port) in inputs.iter().enumerate() {
            let s = b.stream_input(&format!("s{k}"), pe * port.element.bits(), user);
            let mut data = s.data;
            if port.element != element {
                let bits = port.element.bits();
                let lane = |lane: u32| {
                    let x = b.slice(data, lane * bits, bits);
                    let x = b.named(format!("x{k}_{lane}"), x);
                    summand(port.element).number(&mut b, &format!("number{k}_{lane}"), x, element.bits())
                };
                let lanes: Vec<Net> = (0..pe).map(lane).collect();
                data = b.concat(&lanes);
            }
            let ready = b.connect_stream(turns, &format!("s{k}"), Stream { data, ..s });
            b.output(format!("s{k}_ready"), ready, Role::Control);
        }
        let m_ready = b.input("m_ready", 1, Role::Control);
        let out = b.instance("u_out", &stream_register(width, user));
        let s = b.out_stream(turns, "m");
        let ready = b.connect_stream(out, "s", s);
        b.connect(turns, "m_ready", ready);
        b.connect(out, "m_ready", m_ready);
        let m = b.out_stream(out, "m");
        b.stream_output_forward("m", m);
        b.finish()
    }

    fn schedule(&self, _: &[Port], fold: Folding) -> Schedule {
        let counts = self.channels.iter().map(|channels| channels / fold.pe).collect();
        let beats = (self.elements() / fold.pe) as u64;
        Schedule::in_turn(beats, counts).then(Schedule::register(beats))
    }

    fn resources(&self, _inputs: &[Port], fold: Folding) -> Resources {
        Resources { lanes: fold.pe as u64, ..Resources::buffer(0) }
    }
}

/// The concatenation layer.
pub const KIND: Kind = Kind { name: "concat", samples };

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};

    /// Extents of the pixels; types and channels of the inputs.
    type Form = (&'static [usize], &'static [(Element, usize)]);
    let forms: [Form; 7] = [
        (&[2, 3], &[(Bipolar, 4), (Bipolar, 2)]),
        (&[], &[(Bipolar, 6), (Bipolar, 3)]),
        (&[3, 1], &[(Unsigned(2), 1), (Unsigned(4), 1)]),
        (&[2, 2], &[(Signed(3), 4), (Unsigned(3), 4), (Bipolar, 8)]),
        (&[], &[(Signed(1), 1), (Bipolar, 1)]),
        (&[1, 4], &[(Unsigned(1), 6), (Signed(5), 2)]),
        (&[5], &[(Bipolar, 3), (Bipolar, 3), (Bipolar, 3), (Bipolar, 3)]),
    ];
    let sample = |(pixels, parts): Form| {
        let port = |(element, channels): &(Element, usize)| Port {
            shape: pixels.iter().copied().chain([*channels]).collect(),
            element: *element,
        };
        let channels = parts.iter().map(|(_, channels)| *channels).collect();
        let layer: Arc<dyn Layer> = Arc::new(Concat::new(pixels, channels));
        (parts.iter().map(port).collect(), layer)
    };
    forms.into_iter().map(sample).collect()
}
