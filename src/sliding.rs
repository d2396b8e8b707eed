//! Sliding windows over streams: what layers with a kernel share.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use stoxnor_hdl::block::{Border, LineBuffer, Loop, Padding, fifo, widener};
use stoxnor_hdl::{Bits, Module};

use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, MODEL_TOO_LARGE, Result};
use crate::fold::Folding;
use crate::network::{Element, Port};
use crate::parts::in_a_row;
use crate::schedule::{Matrix, Pattern, Schedule, Timing};

/// Most words that a line buffer may give for a frame, counted as pixels: schedules go through them one by one. 2^23.
const MAX_SEEN: usize = 1 << 23;

/// Checks that schedules can go through as many pixels.
///
/// # Errors
/// Where they are too many.
pub fn within_reach(pixels: usize) -> Result<()> {
    if pixels <= MAX_SEEN {
        return Ok(());
    }
    let message = format!("{pixels} pixels are read for a frame; the limit is {MAX_SEEN}");
    Err(Diagnostic::new(&MODEL_TOO_LARGE, message).help("give a smaller image, or a smaller kernel").into())
}

/// What stands outside of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// This value of the input's type.
    Value(i32),
    /// 0 among values of +1 and -1: what counts nothing in a sum.
    Mask,
    /// No value: a bit beside the elements says that nothing is there. Not for products.
    Nothing,
}

impl Fill {
    /// The value; 0 for what counts nothing.
    pub fn value(self) -> i32 {
        match self {
            Self::Value(value) => value,
            Self::Mask | Self::Nothing => 0,
        }
    }
}

/// A kernel over frames of [height, width, channels], whose channels may be in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sliding {
    /// The geometry.
    pub window: Window,
    /// Channels of a pixel.
    pub channels: usize,
    /// Groups of channels; each position has an operand of taps times channels for each, tap by tap.
    pub groups: usize,
    /// What stands outside of the image.
    pub fill: Fill,
}

/// Taps of a kernel that are read at once, out of `taps` that the matrix unit takes at once and works on for `folds` steps: parts of a row, or
/// whole rows, and no more than it would wait for.
pub fn side_by_side([rows, columns]: [usize; 2], taps: usize, folds: usize) -> usize {
    let regular = |side: &usize| {
        let of_rows = || side.is_multiple_of(columns) && rows.is_multiple_of(side / columns);
        taps.is_multiple_of(*side) && (columns.is_multiple_of(*side) || of_rows())
    };
    let sides: Vec<usize> = (1..=taps).filter(regular).collect();
    let enough = sides.iter().copied().find(|side| side * folds >= taps);
    enough.or(sides.last().copied()).unwrap_or(1)
}

/// How a kernel's operands leave a line buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// Elements of a word.
    word: usize,
    /// Words of a pixel.
    words: usize,
    /// Words of an operand's tap.
    slices: usize,
    /// Operands of a position.
    operands: usize,
    /// Taps that are read side by side.
    side: usize,
    /// Beats of the line buffer that are joined to one.
    joined: usize,
    /// Joined beats that are kept while an operand is read again.
    queued: usize,
}

impl Sliding {
    /// Channels of a group.
    pub fn group(&self) -> usize {
        self.channels / self.groups
    }

    /// Elements of an operand.
    pub fn fan_in(&self) -> usize {
        self.window.taps() * self.group()
    }

    /// Whether one position sees every pixel once, in order.
    pub fn is_whole(&self) -> bool {
        self.window == Window::whole(self.window.input)
    }

    /// Shape of the frames that go in.
    pub fn shape(&self) -> [usize; 3] {
        [self.window.input[0], self.window.input[1], self.channels]
    }

    /// Checks that frames fit.
    ///
    /// # Errors
    /// A window that cannot be computed, and a frame of another size.
    pub fn accepts(&self, input: &Port) -> Result<()> {
        let message = match self.window.fault() {
            Some(fault) => fault,
            None if self.masked() && input.element != Element::Bipolar => {
                format!("a mask is for bipolar elements, not for {}", input.element)
            }
            None if self.window.pads() && !self.fits(input.element) => {
                format!("padding is no value of {} elements", input.element)
            }
            None => {
                input.streams_as(&self.shape())?;
                let seen = self.window.positions().saturating_mul(self.window.taps());
                return within_reach(seen.max(self.window.pixels()));
            }
        };
        Err(Diagnostic::new(&MODEL_INVALID, message).into())
    }

    /// Whether what stands outside of an image is a value of the input's type.
    fn fits(&self, input: Element) -> bool {
        match self.fill {
            Fill::Value(value) => input.decode(input.encode(value)) == value,
            Fill::Mask | Fill::Nothing => true,
        }
    }

    /// The geometry and what is computed, for a module's header.
    pub fn formula(&self, what: &str) -> Vec<String> {
        let Window {
            input: [h, w],
            kernel: [v, u],
            stride: [sy, sx],
            dilation: [dy, dx],
            before: [py, px],
            ..
        } = self.window;
        let [oh, ow] = self.window.output();
        let (channels, groups) = (self.channels, self.groups);
        vec![
            format!(
                "A kernel of {v} x {u} taps, {dy} x {dx} pixels apart, over {h} x {w} pixels of {channels} channels in {groups} groups:"
            ),
            format!(
                "at each of {oh} x {ow} positions, {sy} x {sx} pixels apart, the first {py} above and {px} left of the image, {what}."
            ),
        ]
    }

    /// Type of an operand's elements.
    pub fn operand(&self, input: Element) -> Element {
        if self.masked() { Element::Signed(2) } else { input }
    }

    /// Whether some elements of operands are 0 because nothing is there.
    pub fn masked(&self) -> bool {
        self.fill == Fill::Mask && self.window.pads()
    }

    /// Whether a bit above each beat's elements says that they are outside of the image.
    pub fn flagged(&self) -> bool {
        self.fill == Fill::Nothing && self.window.pads()
    }

    /// The operand of a group at a position, as numbers.
    pub fn gather(&self, frame: &[i32], position: usize, group: usize) -> Vec<i32> {
        let own = self.group();
        let outside = self.fill.value();
        let tap = |tap| {
            let pixel = self.window.pixel(position, tap);
            (0..own).map(move |c| pixel.map_or(outside, |p| frame[p * self.channels + group * own + c]))
        };
        (0..self.window.taps()).flat_map(tap).collect()
    }

    /// The operand of a group at a position, as bit planes that each begin on a word.
    pub fn gather_planes(
        &self,
        input: Element,
        frame: &[u64],
        position: usize,
        group: usize,
        to: &mut [u64],
    ) {
        let own = self.group();
        let planes = input.bits() as usize;
        let from_stride = (self.window.pixels() * self.channels).div_ceil(64);
        let stride = self.fan_in().div_ceil(64);
        to.fill(0);
        for tap in 0..self.window.taps() {
            let into = tap * own;
            match (self.window.pixel(position, tap), self.fill) {
                (Some(pixel), _) => {
                    let at = pixel * self.channels + group * own;
                    for k in 0..planes {
                        let plane = &frame[k * from_stride..][..from_stride];
                        if self.masked() {
                            copy(|i| !word(plane, at + i), own, &mut to[stride..], into);
                            copy(|_| u64::MAX, own, to, into);
                        } else {
                            copy(|i| word(plane, at + i), own, &mut to[k * stride..], into);
                        }
                    }
                }
                (None, Fill::Mask | Fill::Nothing) => {}
                (None, Fill::Value(value)) => {
                    let code = input.encode(value);
                    for k in (0..planes).filter(|k| code >> k & 1 == 1) {
                        copy(|_| u64::MAX, own, &mut to[k * stride..], into);
                    }
                }
            }
        }
    }

    /// Words of a packed operand.
    pub fn operand_words(&self, input: Element) -> usize {
        self.operand(input).bits() as usize * self.fan_in().div_ceil(64)
    }

    /// How operands are read for a folding, whose PE work on `groups` groups side by side and each operand passes `folds` groups of rows.
    fn reading(&self, fold: Folding, groups: usize, folds: usize) -> Reading {
        let own = self.group();
        let word = fold.simd.min(own) * groups;
        let taps = (fold.simd / own).max(1);
        let side = side_by_side(self.window.kernel, taps, folds);
        Reading {
            word,
            words: self.channels / word,
            slices: own / fold.simd.min(own),
            operands: self.groups / groups,
            side,
            joined: taps / side,
            // What is joined slowly while rows read again is taken fast afterwards.
            queued: if taps > side && self.fan_in() > fold.simd {
                (self.fan_in() / fold.simd).max(2)
            } else {
                0
            },
        }
    }

    /// The line buffer, of a ring of `depth` words.
    fn buffer(&self, input: Element, reading: Reading, depth: u64, user: u32) -> LineBuffer {
        let Window { input: [_, width], kernel, stride, dilation, before, .. } = self.window;
        let words = reading.words as u64;
        let of = |name, count: usize, pixels: [usize; 2]| {
            let [y, x] = pixels.map(|p| p as u64);
            Loop { name, count: count as u64, words: (y * width as u64 + x) * words, pixels: [y, x] }
        };
        let [dy, dx] = dilation;
        let (rows, columns) = (reading.side.div_ceil(kernel[1]), reading.side.min(kernel[1]));
        let tap = |t: usize| of("tap", 1, [t / columns * dy, t % columns * dx]);
        let slices = reading.slices as u64;
        let bits = reading.word as u32 * input.bits();
        LineBuffer {
            width: bits,
            depth,
            frame: self.window.pixels() as u64 * words,
            inner: vec![
                Loop::still("slice", slices, 1),
                of("kernel_x", kernel[1] / columns, [0, columns * dx]),
                of("kernel_y", kernel[0] / rows, [rows * dy, 0]),
                Loop::still("operand", reading.operands as u64, slices),
            ],
            outer: [
                of("x_position", self.window.output()[1], [0, stride[1]]),
                of("y_position", self.window.output()[0], [stride[0], 0]),
            ],
            taps: (0..reading.side).map(tap).collect(),
            border: self.window.pads().then(|| Border {
                extent: self.window.input.map(|e| e as u64),
                before: before.map(|e| e as u64),
                words,
                padding: match self.fill {
                    Fill::Mask => Padding::Mask,
                    Fill::Nothing => Padding::Flag,
                    Fill::Value(value) => {
                        let mut word = Bits::zero(bits);
                        for element in 0..reading.word as u32 {
                            word.insert(element * input.bits(), input.bits(), input.encode(value));
                        }
                        Padding::Word(word)
                    }
                },
            }),
            user,
        }
    }
}

/// 64 bits of a plane from bit `at` on; 0 behind its end.
pub(crate) fn word(plane: &[u64], at: usize) -> u64 {
    let (index, shift) = (at / 64, at % 64);
    let low = plane.get(index).copied().unwrap_or(0) >> shift;
    if shift == 0 { low } else { low | plane.get(index + 1).copied().unwrap_or(0) << (64 - shift) }
}

/// Adds `bits` bits to those of `to` from bit `into` on, `from(i)` giving 64 from the i-th on.
pub(crate) fn copy(from: impl Fn(usize) -> u64, bits: usize, to: &mut [u64], into: usize) {
    let mut done = 0;
    while done < bits {
        let (index, shift) = ((into + done) / 64, (into + done) % 64);
        let count = (64 - shift).min(bits - done);
        let mask = u64::MAX >> (64 - count);
        to[index] |= (from(done) & mask) << shift;
        done += count;
    }
}

/// What a line buffer feeds.
#[derive(Debug, Clone, Copy)]
pub struct Fed {
    /// PE and SIMD.
    pub fold: Folding,
    /// Groups of channels that are worked on side by side.
    pub groups: usize,
    /// How often an operand is read again behind the line buffer.
    pub folds: usize,
}

/// A kernel's operands as a stream: a line buffer and, where it gives less than a beat at a time, a widener and a FIFO.
#[derive(Debug)]
pub struct Front {
    buffer: LineBuffer,
    /// Beats that are joined to one.
    joined: u64,
    /// Beats of a FIFO.
    queued: u64,
}

impl Front {
    /// The smallest line buffer and FIFO with which what is `behind` is fed at the full rate: at its own interval, or as its frames come in.
    pub fn new(sliding: &Sliding, input: Element, fed: Fed, behind: Matrix, user: u32) -> Option<Self> {
        if sliding.window.is_pointwise() {
            return None;
        }
        let reading = sliding.reading(fed.fold, fed.groups, fed.folds);
        let buffer = sliding.buffer(input, reading, 2, user);
        let mut front = Self { buffer, joined: reading.joined as u64, queued: reading.queued as u64 };
        front.shrink(Some(behind));
        Some(front)
    }

    /// A line buffer alone, with the smallest ring that keeps the full rate.
    pub fn alone(buffer: LineBuffer) -> Self {
        let mut front = Self { buffer, joined: 1, queued: 0 };
        front.shrink(None);
        front
    }

    /// [`schedule`](Self::schedule) of a line buffer alone.
    pub fn schedule_alone(self) -> Schedule {
        self.schedule(&nothing())
    }

    /// Takes the smallest ring, and with it the smallest FIFO, that keep the full rate. What was found before is kept: a layer is asked for
    /// its schedule, its hardware and its resources one after another.
    fn shrink(&mut self, behind: Option<Matrix>) {
        type Found = HashMap<(LineBuffer, u64, u64, Option<Matrix>), [u64; 2]>;
        static FOUND: LazyLock<Mutex<Found>> = LazyLock::new(Mutex::default);
        let key = (self.buffer.clone(), self.joined, self.queued, behind);
        let found = |all: &Found| all.get(&key).copied();
        if let Some([depth, queued]) = FOUND.lock().ok().as_deref().and_then(found) {
            (self.buffer.depth, self.queued) = (depth, queued);
            return;
        }
        self.search(&behind.map_or_else(nothing, Schedule::matrix));
        if let Ok(mut all) = FOUND.lock() {
            all.insert(key, [self.buffer.depth, self.queued]);
        }
    }

    fn search(&mut self, behind: &Schedule) {
        let many = 8 * self.buffer.frame + 8;
        let ring = smallest(2, many, |depth| {
            self.buffer.depth = depth;
            self.keeps_rate(behind)
        });
        self.buffer.depth = ring.expect("a ring is large enough");
        if self.queued > 0 {
            let queue = smallest(2, self.queued, |depth| {
                self.queued = depth;
                self.keeps_rate(behind)
            });
            self.queued = queue.expect("it was");
        }
    }

    /// Whether frames that are always there are read at the full rate.
    fn keeps_rate(&self, behind: &Schedule) -> bool {
        let mut timing = Timing::default();
        let given = vec![0; (FRAMES * self.buffer.frame) as usize];
        let input = timing.source(given, Pattern::always());
        let read = Schedule::line_buffer(self.buffer.clone()).add(&mut timing, &[input]);
        let output = self.path(behind).add(&mut timing, &[read]);
        timing.sink(output, Pattern::always());
        timing.run();
        let beats = self.buffer.beats() as usize;
        let goal = behind.interval.max(self.buffer.interval());
        let taken = &timing.beats(read).accepted;
        let ends: Vec<u64> = taken.iter().skip(beats - 1).step_by(beats).copied().collect();
        // The first distance is that of a ring which fills.
        let done = timing.beats(input).accepted.len() as u64 == FRAMES * self.buffer.frame;
        done && ends.len() as u64 == FRAMES && ends.windows(2).skip(1).all(|w| w[1] - w[0] <= goal)
    }

    /// What is behind the line buffer.
    fn path(&self, behind: &Schedule) -> Schedule {
        let (beats, mut path) = (self.buffer.beats(), behind.clone());
        if self.queued > 0 {
            path = Schedule::fifo(beats / self.joined, self.queued).then(path);
        }
        if self.joined > 1 {
            path = Schedule::widener(beats, self.joined).then(path);
        }
        path
    }

    /// The line buffer.
    pub fn buffer(&self) -> &LineBuffer {
        &self.buffer
    }

    /// Bits of its memories.
    pub fn bits(&self) -> u64 {
        let ring = self.buffer.depth * u64::from(self.buffer.width) * self.buffer.taps.len() as u64;
        ring + self.queued * self.joined * u64::from(self.buffer.beat_width())
    }

    /// When beats move with `behind` behind.
    pub fn schedule(&self, behind: &Schedule) -> Schedule {
        Schedule::line_buffer(self.buffer.clone()).then(self.path(behind))
    }

    /// A module called `name` of the line buffer and `behind` it, whose beats move by `schedule`.
    pub fn module(
        &self,
        name: &str,
        mut doc: Vec<String>,
        schedule: &Schedule,
        behind: &Arc<Module>,
    ) -> Arc<Module> {
        let buffer = &self.buffer;
        let frame = schedule.beats(&vec![0; buffer.frame as usize]).1.offered;
        let [first, last] = [frame.first(), frame.last()].map(|t| t.copied().unwrap_or(0));
        doc.push(format!(
            "{} beats in, {} beats out, a frame every {} cycles.",
            buffer.frame,
            frame.len(),
            schedule.interval
        ));
        doc.push(format!(
            "Timing: where beats come and go at every edge, the first output beat is offered {first} edges after the first input beat, the last one {last}."
        ));
        let mut parts = vec![("window", buffer.build(&format!("{name}_window")))];
        let Self { joined, queued, .. } = *self;
        if joined > 1 {
            parts.push(("widener", widener(joined as u32, buffer.beat_width(), buffer.user)));
        }
        if queued > 0 {
            parts.push(("fifo", fifo(queued as u32, joined as u32 * buffer.beat_width(), buffer.user)));
        }
        let what = behind.name.strip_prefix(&format!("{name}_")).unwrap_or("behind");
        parts.push((what, Arc::clone(behind)));
        in_a_row(name, &doc, &parts)
    }
}

/// Frames with which a depth is tried: the first fills the ring, the others show the distance.
const FRAMES: u64 = 4;

/// What takes every beat.
fn nothing() -> Schedule {
    Schedule::new(0, |_, inputs| inputs[0])
}

/// The smallest number from `few` on for which `enough` holds, as it then does for all larger ones; nothing where it does not for `many`.
pub fn smallest(few: u64, many: u64, mut enough: impl FnMut(u64) -> bool) -> Option<u64> {
    // Upwards in steps that double, and then between the last two.
    let (mut low, mut step) = (few, 1);
    let mut high = few;
    while !enough(high) {
        if high >= many {
            return None;
        }
        low = high + 1;
        high = (high + step).min(many);
        step *= 2;
    }
    while low < high {
        let middle = low.midpoint(high);
        if enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use stoxnor_sim::Simulator;

    use super::*;
    use crate::arith::matrix::IntMatrix;
    use crate::matrix::Passes;
    use crate::product::{Product, Unit};

    /// The distance of the last beats of the fourth and the fifth frame of a module whose source and sink never stall; nothing where they don't
    /// come.
    fn interval(module: &Arc<Module>, frame: u64) -> Option<u64> {
        let mut s = Simulator::of_control(module);
        let port = |s: &Simulator, name: &str| s.port(name).expect("a stream");
        let [valid, ready, last] = ["s_valid", "s_ready", "s_last"].map(|n| port(&s, n));
        let [m_valid, m_ready, m_last] = ["m_valid", "m_ready", "m_last"].map(|n| port(&s, n));
        s.settle();
        s.edge(true);
        s.set_bit(valid, true);
        s.set_bit(m_ready, true);
        let (mut beat, mut ends) = (0, Vec::new());
        for cycle in 0..20_000u64 {
            s.set_bit(last, beat + 1 == frame);
            s.settle();
            if s.bit(ready) {
                beat = (beat + 1) % frame;
            }
            if s.bit(m_valid) && s.bit(m_last) {
                ends.push(cycle);
            }
            if let [.., fourth, fifth] = ends[..]
                && ends.len() == 5
            {
                return Some(fifth - fourth);
            }
            s.edge(false);
        }
        None
    }

    /// The ring is the smallest: with one word less, frames take longer, or never come.
    #[test]
    fn a_ring_has_not_a_word_more_than_the_schedule_needs() {
        let around = Window { before: [1, 1], after: [1, 1], ..Window::plain([6, 7], [3, 3]) };
        let strided = Window { stride: [2, 2], ..Window::plain([7, 7], [3, 3]) };
        let dilated = Window { dilation: [2, 1], ..Window::plain([7, 6], [2, 2]) };
        let mut found = Vec::new();
        for window in [Window::plain([6, 7], [3, 3]), around, strided, dilated] {
            for fold in [Folding { pe: 4, simd: 4 }, Folding { pe: 1, simd: 4 }] {
                let kernel = Sliding { window, channels: 4, groups: 1, fill: Fill::Value(1) };
                let sign = |r: usize, c: usize| if (r + c).is_multiple_of(2) { 1 } else { -1 };
                let product = Product::new(IntMatrix::from_fn(4, kernel.fan_in(), sign), vec![]);
                let passes = Passes { positions: window.positions(), group_rows: 4 };
                let (operand, range) = (Element::Bipolar, product.sum_range(Element::Bipolar, false));
                let unit = Unit { name: "matrix", operand, range, fold, passes, user: 0 };
                let (timing, matrix) = product.with_unit(unit, |u| (u.timing(), u.build()));
                let fed = Fed { fold, groups: 1, folds: passes.folds(fold) };
                let behind = Schedule::matrix(timing);
                let mut front = Front::new(&kernel, operand, fed, timing, 0).expect("a kernel");
                let goal = behind.interval.max(front.buffer.interval());
                let measure = |front: &Front| {
                    interval(&front.module("m", vec![], &behind, &matrix), window.pixels() as u64)
                };
                found.push(front.buffer.depth);
                assert_eq!(measure(&front), Some(goal), "{window:?} {fold:?}");
                front.buffer.depth -= 1;
                assert!(measure(&front).is_none_or(|found| found > goal), "{window:?} {fold:?}");
            }
        }
        // A position a cycle and one in four: two rows and three pixels, unless the next frame's beginning has to wait in it too.
        assert_eq!(found, [26, 17, 17, 17, 26, 17, 25, 14]);
    }
}
