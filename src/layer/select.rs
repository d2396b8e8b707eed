//! Selection of pixels and channels: cropping, strides, padding with constants, and channels in any order.

use std::sync::Arc;

use stoxnor_hdl::block::{Border, LineBuffer, Loop, Padding, stream_register};
use stoxnor_hdl::{Builder, Module, Net, Role, Stream};

use crate::arith::kernel::within_reach;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::folding::{Folding, Lanes};
use crate::unit::parts::{in_a_row, summand};
use crate::unit::resources::Resources;
use crate::unit::window::LineBufferStage;

/// The places that are read along one axis of an image: `first`, `first + step` and so on, `count` of them. Places below 0 and from the
/// image's extent on are padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// The first place.
    pub first: i64,
    /// The distance between two places, at least 1.
    pub step: usize,
    /// The number of places, at least 1.
    pub count: usize,
}

impl Places {
    /// All places of an axis.
    pub fn all(extent: usize) -> Self {
        Self { first: 0, step: 1, count: extent }
    }

    fn at(&self, i: usize) -> i64 {
        self.first + (i * self.step) as i64
    }

    /// Whether padding is read along an axis of `extent` places.
    fn pads(&self, extent: usize) -> bool {
        self.first < 0 || self.at(self.count - 1) >= extent as i64
    }
}

/// One channel of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// The input's channel; `None` if the channel is constant.
    pub from: Option<usize>,
    /// The value of padding, and of a constant channel.
    pub value: i32,
}

/// `y[i][j][c] = x[rows.first + i rows.step][columns.first + j columns.step][channels[c].from]`, and `channels[c].value` outside the image
/// and in constant channels. Frames of [height, width, channels] become [rows, columns, channels].
#[derive(Debug, Clone)]
pub struct Select {
    shape: [usize; 3],
    /// Rows and columns.
    places: [Places; 2],
    channels: Vec<Channel>,
}

impl Select {
    /// The shape of input frames, the rows and columns that are read, and the channels of the output.
    ///
    /// # Panics
    /// If a channel does not exist, or nothing is selected.
    pub fn new(shape: [usize; 3], places: [Places; 2], channels: Vec<Channel>) -> Self {
        assert!(channels.iter().all(|c| c.from.is_none_or(|from| from < shape[2])), "channels of the input");
        assert!(!channels.is_empty() && places.iter().all(|p| p.count > 0 && p.step > 0), "something");
        Self { shape, places, channels }
    }

    fn out(&self) -> [usize; 3] {
        [self.places[0].count, self.places[1].count, self.channels.len()]
    }

    fn pads(&self) -> bool {
        (0..2).any(|a| self.places[a].pads(self.shape[a]))
    }

    /// Whether all pixels are read in order, so that no line buffer is needed.
    fn is_whole(&self) -> bool {
        (0..2).all(|a| self.places[a] == Places::all(self.shape[a]))
    }

    /// Whether the output's channels are those of the input, in order.
    fn keeps_channels(&self) -> bool {
        self.channels.len() == self.shape[2]
            && self.channels.iter().enumerate().all(|(c, channel)| channel.from == Some(c))
    }

    /// Whether the channels of a pixel may come in several beats.
    fn splits(&self) -> bool {
        let value = self.channels[0].value;
        self.keeps_channels() && (!self.pads() || self.channels.iter().all(|c| c.value == value))
    }

    /// The constants that occur in the output.
    fn constants(&self) -> impl Iterator<Item = i32> {
        let pads = self.pads();
        self.channels.iter().filter(move |c| pads || c.from.is_none()).map(|c| c.value)
    }

    /// The output's type: the input's if it holds all constants, else the narrowest type that holds both.
    fn element(&self, input: Element) -> Element {
        let (least, most) = input.range();
        let fits = |v: &i32| input.decode(input.encode(*v)) == *v;
        if self.constants().all(|v| fits(&v)) {
            return input;
        }
        let ends = self.constants().map(i64::from).fold((least, most), |(a, b), v| (a.min(v), b.max(v)));
        match input {
            Element::Unsigned(_) if ends.0 >= 0 => Element::Unsigned(64 - ends.1.leading_zeros()),
            _ => Element::signed(ends.0, ends.1),
        }
    }

    fn selected(&self, frame: &[i32]) -> Vec<i32> {
        let [height, width, depth] = self.shape;
        let [rows, columns, _] = self.out();
        let inside = |at: i64, extent: usize| usize::try_from(at).ok().filter(|at| *at < extent);
        let pixel = |i: usize, j: usize| {
            let y = inside(self.places[0].at(i), height)?;
            Some(y * width + inside(self.places[1].at(j), width)?)
        };
        let mut out = Vec::with_capacity(rows * columns * self.channels.len());
        for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            let pixel = pixel(i, j);
            let of = |c: &Channel| pixel.zip(c.from).map_or(c.value, |(p, from)| frame[p * depth + from]);
            out.extend(self.channels.iter().map(of));
        }
        out
    }

    /// Words of a pixel, and elements of a word.
    fn words(&self, fold: Folding) -> (usize, usize) {
        if self.splits() { (self.shape[2] / fold.pe, fold.pe) } else { (1, self.shape[2]) }
    }

    /// The line buffer that reads the pixels; `None` if all are read in order.
    fn buffer(&self, input: &Port, fold: Folding, user: u32) -> Option<LineBufferStage> {
        if self.is_whole() {
            return None;
        }
        let [height, width, _] = self.shape.map(|e| e as u64);
        let (words, lanes) = self.words(fold);
        let words = words as u64;
        let [rows, columns] = self.places;
        let level = |name, places: Places, line: u64, pixels: [u64; 2]| {
            let step = places.step as u64;
            let pixels = pixels.map(|p| p * step);
            Loop { name, count: places.count as u64, words: step * line * words, pixels }
        };
        let border = self.pads().then(|| Border {
            extent: [height, width],
            before: self.places.map(|p| p.first.min(0).unsigned_abs()),
            words,
            padding: Padding::Flag,
        });
        let skip = self.places.map(|p| p.first.max(0).unsigned_abs());
        Some(LineBufferStage::alone(LineBuffer {
            width: lanes as u32 * input.element.bits(),
            depth: 2,
            frame: height * width * words,
            skip: (skip[0] * width + skip[1]) * words,
            inner: vec![Loop::still("slice", words, 1)],
            outer: [level("x_position", columns, 1, [0, 1]), level("y_position", rows, width, [1, 0])],
            taps: vec![Loop::still("tap", 1, 0)],
            border,
            user,
        }))
    }

    /// The wires from a beat of the line buffer to an output beat, and a register behind them.
    fn wires(&self, name: &str, input: Element, fold: Folding, user: u32) -> Arc<Module> {
        let to = self.element(input);
        let (_, lanes) = self.words(fold);
        let (bits, pads) = (input.bits(), self.pads());
        let width = fold.pe as u32 * to.bits();
        let mut b = Builder::new(name);
        b.doc(format!("Channels of {input} to {to}; constants in their places."));
        b.doc("Timing: a beat accepted at an edge is offered after that edge.");
        let s = b.stream_input("s", lanes as u32 * bits + u32::from(pads), user);
        let outside = pads.then(|| {
            let outside = b.slice(s.data, lanes as u32 * bits, 1);
            b.named("outside", outside)
        });
        let of = |(lane, channel): (usize, &Channel)| {
            let constant = b.constant(to.bits(), to.encode(channel.value));
            let from = if self.splits() { Some(lane) } else { channel.from };
            let Some(from) = from else { return constant };
            let x = b.slice(s.data, from as u32 * bits, bits);
            let mut x = b.named(format!("x_{lane}"), x);
            if to != input {
                x = summand(input).number(&mut b, &format!("number_{lane}"), x, to.bits());
            }
            match outside {
                Some(outside) => b.mux(outside, constant, x),
                None => x,
            }
        };
        let mut data: Vec<Net> = self.channels[..fold.pe].iter().enumerate().map(of).collect();
        let taken = |from: usize| self.splits() || self.channels.iter().any(|c| c.from == Some(from));
        // Every bit of a stream is read by something: channels that are not selected are masked by 0, and the flag if none is.
        let dropped: Vec<usize> = (0..lanes).filter(|from| !taken(*from)).collect();
        let mut parts: Vec<Net> = dropped.iter().map(|c| b.slice(s.data, *c as u32 * bits, bits)).collect();
        parts.extend(outside.filter(|_| dropped.len() == lanes));
        if !parts.is_empty() {
            let parts = b.concat(&parts);
            let parts = b.named("dropped", parts);
            let (any, zero) = (b.reduce_or(parts), b.constant(1, 0));
            let masked = b.and(any, zero);
            let masked = b.named("masked", masked);
            let masked = b.zero_extend(masked, to.bits());
            data[0] = b.or(data[0], masked);
        }
        let data = b.concat(&data);
        let m_ready = b.input("m_ready", 1, Role::Control);
        let out = b.instance("u_out", &stream_register(width, user));
        let ready = b.connect_stream(out, "s", Stream { data, ..s });
        b.output("s_ready", ready, Role::Control);
        b.connect(out, "m_ready", m_ready);
        let m = b.out_stream(out, "m");
        b.stream_output_forward("m", m);
        b.finish()
    }

    fn beats(&self, fold: Folding) -> u64 {
        (self.out().iter().product::<usize>() / fold.pe) as u64
    }
}

impl Layer for Select {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        input.streams_as(&self.shape)?;
        let [rows, columns, _] = self.out();
        within_reach(rows.saturating_mul(columns))?;
        let far = |(places, extent): (&Places, &usize)| {
            let end = places.at(places.count - 1) + 1;
            places.first < -(*extent as i64) || end > 2 * *extent as i64
        };
        if self.places.iter().zip(&self.shape).any(far) {
            let message = format!("more padding than the image of {:?} has rows or columns", self.shape);
            return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .help("pad by at most the image's height and width")
                .into());
        }
        if self.pads() && self.places.iter().any(|p| p.first > 0) {
            let message = "one selection both crops and pads";
            return Err(Diagnostic::new(&MODEL_INVALID, message).help("crop first, then pad").into());
        }
        Ok(Port { shape: self.out().to_vec(), element: self.element(input.element) })
    }

    fn reference(&self, inputs: &[&[i32]], _: usize) -> Vec<i32> {
        self.selected(inputs[0])
    }

    fn fast(&self, inputs: &[&Batch], _: usize) -> Batch {
        let batch = inputs[0];
        let element = batch.element().map(|input| self.element(input));
        batch.each(element, self.out().iter().product(), |frame| self.selected(frame))
    }

    fn lanes(&self) -> Lanes {
        let [height, width, depth] = self.shape;
        let [rows, columns, channels] = self.out();
        if self.splits() {
            return Lanes::channelwise(channels, height * width, rows * columns);
        }
        // A whole pixel at a time.
        Lanes {
            pe: vec![channels],
            simd: vec![depth],
            positions: rows * columns,
            pixels: height * width,
            ..Lanes::dense(channels, depth)
        }
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        let input = inputs[0].element;
        let mut doc = vec![format!(
            "Frames of {:?}: {} rows from {} by {}, {} columns from {} by {}, {} channels.",
            self.shape,
            self.places[0].count,
            self.places[0].first,
            self.places[0].step,
            self.places[1].count,
            self.places[1].first,
            self.places[1].step,
            self.channels.len()
        )];
        doc.push(format!(
            "{} beats out, a frame every {} cycles.",
            self.beats(fold),
            self.schedule(inputs, fold).interval
        ));
        let mut parts = Vec::new();
        if let Some(stage) = self.buffer(&inputs[0], fold, user) {
            parts.push(("window", stage.buffer().build(&format!("{name}_window"))));
        }
        parts.push(("wires", self.wires(&format!("{name}_wires"), input, fold, user)));
        in_a_row(name, &doc, &parts)
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        let register = Schedule::register(self.beats(fold));
        match self.buffer(&inputs[0], fold, 0) {
            Some(stage) => stage.schedule_alone().then(register),
            None => register,
        }
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        let bits = self.buffer(&inputs[0], fold, 0).map_or(0, |stage| stage.bits());
        Resources { lanes: fold.pe as u64, ..Resources::buffer(bits) }
    }
}

/// Layers of selection.
pub const KIND: Kind = Kind { name: "select", samples };

/// Shape, input, rows and columns as (first, step, count), and channels as (from, value).
type Form = ([usize; 3], Element, [(i64, usize, usize); 2], &'static [(Option<usize>, i32)]);

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};
    let forms: [Form; 10] = [
        // Channels alone: some, in another order and twice, with constants.
        ([2, 3, 4], Bipolar, [(0, 1, 2), (0, 1, 3)], &[(Some(2), 1), (Some(3), 1)]),
        (
            [1, 1, 3],
            Unsigned(3),
            [(0, 1, 1), (0, 1, 1)],
            &[(Some(2), 0), (Some(0), 0), (Some(0), 0), (Some(1), 0)],
        ),
        ([2, 2, 2], Bipolar, [(0, 1, 2), (0, 1, 2)], &[(None, 0), (Some(0), 0), (Some(1), 0), (None, 0)]),
        // Padding: of one value, of one for each channel, with a value that widens the type.
        ([3, 2, 2], Unsigned(2), [(-1, 1, 5), (-1, 1, 4)], &[(Some(0), 3), (Some(1), 3)]),
        ([2, 3, 2], Signed(4), [(-1, 1, 3), (0, 1, 5)], &[(Some(0), -2), (Some(1), 5)]),
        ([2, 2, 3], Bipolar, [(-2, 1, 4), (0, 1, 3)], &[(Some(0), 0), (Some(1), 0), (Some(2), 0)]),
        ([3, 3, 1], Unsigned(2), [(-1, 2, 3), (-1, 1, 5)], &[(Some(0), 9)]),
        // Cropping and strides.
        ([4, 5, 2], Bipolar, [(1, 1, 3), (2, 1, 2)], &[(Some(0), 1), (Some(1), 1)]),
        (
            [5, 4, 4],
            Signed(3),
            [(0, 2, 3), (1, 2, 2)],
            &[(Some(0), 0), (Some(1), 0), (Some(2), 0), (Some(3), 0)],
        ),
        ([4, 4, 2], Unsigned(4), [(0, 2, 2), (0, 2, 2)], &[(None, 0), (Some(0), 0), (Some(1), 0), (None, 0)]),
    ];
    let sample = |(shape, element, places, channels): Form| {
        let places = places.map(|(first, step, count)| Places { first, step, count });
        let channels = channels.iter().map(|(from, value)| Channel { from: *from, value: *value }).collect();
        let layer: Arc<dyn Layer> = Arc::new(Select::new(shape, places, channels));
        (vec![Port { shape: shape.to_vec(), element }], layer)
    };
    forms.into_iter().map(sample).collect()
}
