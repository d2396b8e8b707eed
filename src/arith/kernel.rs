//! Sliding kernels over images: geometry, padding and operands.

use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, MODEL_TOO_LARGE, Result};
use crate::frame::element::Element;
use crate::frame::port::Port;

/// Upper bound on the words that a line buffer outputs per frame, counted as pixels: 2^23. Schedules visit them one by one.
const MAX_SEEN: usize = 1 << 23;

/// Checks that the number of pixels per frame is within the limit of schedules.
///
/// # Errors
/// If `pixels` exceeds 2^23.
pub fn within_reach(pixels: usize) -> Result<()> {
    if pixels <= MAX_SEEN {
        return Ok(());
    }
    let message = format!("{pixels} pixels are read for a frame; the limit is {MAX_SEEN}");
    Err(Diagnostic::new(&MODEL_TOO_LARGE, message).help("give a smaller image, or a smaller kernel").into())
}

/// The padding outside of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// A constant of the input's type.
    Value(i32),
    /// 0, while the inputs are bipolar (+1 or -1): padding does not contribute to a sum. Needs a valid mask.
    Mask,
    /// No value: a flag bit beside the elements marks padding. Not for products.
    Nothing,
}

impl Fill {
    /// The padding value; 0 for [`Mask`](Self::Mask) and [`Nothing`](Self::Nothing).
    pub fn value(self) -> i32 {
        match self {
            Self::Value(value) => value,
            Self::Mask | Self::Nothing => 0,
        }
    }
}

/// The 64 bits of a plane from bit `at` on; bits beyond its end are 0.
pub(crate) fn word(plane: &[u64], at: usize) -> u64 {
    let (index, shift) = (at / 64, at % 64);
    let low = plane.get(index).copied().unwrap_or(0) >> shift;
    if shift == 0 { low } else { low | plane.get(index + 1).copied().unwrap_or(0) << (64 - shift) }
}

/// ORs up to 64 bits of a plane, from bit `at` on, into `to`, from bit `into` on.
fn copy_word(plane: &[u64], at: usize, bits: usize, to: &mut [u64], into: usize) {
    let value = word(plane, at) & u64::MAX >> (64 - bits);
    let (index, shift) = (into / 64, into % 64);
    to[index] |= value << shift;
    if shift + bits > 64 {
        to[index + 1] |= value >> (64 - shift);
    }
}

/// ORs `bits` bits into `to`, from bit `into` on. `from(i)` returns the 64 source bits from bit i on.
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

/// A kernel that slides over frames of shape [height, width, channels], with optional channel groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sliding {
    /// The geometry of the window.
    pub window: Window,
    /// Channels per pixel.
    pub channels: usize,
    /// Number of channel groups. At each position every group has an operand of taps times channels per group, tap by tap.
    pub groups: usize,
    /// The padding.
    pub fill: Fill,
}

impl Sliding {
    /// Channels per group.
    pub fn group(&self) -> usize {
        self.channels / self.groups
    }

    /// Elements per operand.
    pub fn fan_in(&self) -> usize {
        self.window.taps() * self.group()
    }

    /// Whether the kernel has one position that sees every pixel once, in order.
    pub fn is_whole(&self) -> bool {
        self.window == Window::whole(self.window.input)
    }

    /// Shape of the input frames.
    pub fn shape(&self) -> [usize; 3] {
        [self.window.input[0], self.window.input[1], self.channels]
    }

    /// Checks that input frames fit the kernel.
    ///
    /// # Errors
    /// If the window is invalid, the frame has another number of elements, or the padding is no value of the element type.
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

    /// Whether the padding value is a value of the input's type.
    fn fits(&self, input: Element) -> bool {
        match self.fill {
            Fill::Value(value) => input.decode(input.encode(value)) == value,
            Fill::Mask | Fill::Nothing => true,
        }
    }

    /// The geometry and the formula `what`, for a module's header.
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

    /// Element type of an operand.
    pub fn operand(&self, input: Element) -> Element {
        if self.masked() { Element::Signed(2) } else { input }
    }

    /// Whether operands may hold padding that counts as 0 ([`Fill::Mask`]).
    pub fn masked(&self) -> bool {
        self.fill == Fill::Mask && self.window.pads()
    }

    /// Whether a flag bit above each beat's elements marks padding ([`Fill::Nothing`]).
    pub fn flagged(&self) -> bool {
        self.fill == Fill::Nothing && self.window.pads()
    }

    /// The operand of a group at a position, as integers.
    pub fn gather(&self, frame: &[i32], position: usize, group: usize) -> Vec<i32> {
        let own = self.group();
        let outside = self.fill.value();
        let tap = |tap| {
            let pixel = self.window.pixel(position, tap);
            (0..own).map(move |c| pixel.map_or(outside, |p| frame[p * self.channels + group * own + c]))
        };
        (0..self.window.taps()).flat_map(tap).collect()
    }

    /// The operand of a group at a position, as bit planes that each start on a 64-bit word.
    pub fn gather_planes(
        &self,
        input: Element,
        frame: &[u64],
        position: usize,
        group: usize,
        to: &mut [u64],
    ) {
        let Window { input: [_, across], kernel: [_, wide], dilation, .. } = self.window;
        let own = self.group();
        let planes = input.bits() as usize;
        let from_stride = (self.window.pixels() * self.channels).div_ceil(64);
        let stride = self.fan_in().div_ceil(64);
        to.fill(0);
        let [rows, columns] = self.window.seen(position);
        // Neighbouring taps of a row of pixels, whose elements follow one another.
        let run = if dilation[1] == 1 && self.groups == 1 { columns.len() } else { 1 };
        for (y, tap_y) in rows.clone() {
            for (x, tap_x) in columns.clone().step_by(run.max(1)) {
                let at = (y * across + x) * self.channels + group * own;
                let (into, bits) = ((tap_y * wide + tap_x) * own, run * own);
                if self.masked() {
                    copy(|i| !word(frame, at + i), bits, &mut to[stride..], into);
                    copy(|_| u64::MAX, bits, to, into);
                    continue;
                }
                let planes = frame.chunks_exact(from_stride).zip(to.chunks_exact_mut(stride)).take(planes);
                if bits <= 64 {
                    planes.for_each(|(plane, to)| copy_word(plane, at, bits, to, into));
                } else {
                    planes.for_each(|(plane, to)| copy(|i| word(plane, at + i), bits, to, into));
                }
            }
        }
        let Fill::Value(value) = self.fill else { return };
        let code = input.encode(value);
        if code == 0 || rows.len() * columns.len() == self.window.taps() {
            return;
        }
        for tap in (0..self.window.taps()).filter(|tap| self.window.pixel(position, *tap).is_none()) {
            for k in (0..planes).filter(|k| code >> k & 1 == 1) {
                copy(|_| u64::MAX, own, &mut to[k * stride..], tap * own);
            }
        }
    }

    /// Where the words of an operand are from the word of its first tap on, if operands can be read where they are: groups of channels
    /// start on words.
    pub fn in_place(&self) -> Option<Vec<usize>> {
        let Window { input: [_, across], kernel: [high, wide], dilation: [down, right], .. } = self.window;
        let (own, words) = (self.group(), self.channels / 64);
        let tap = |y: usize, x: usize| (y * down * across + x * right) * words;
        let of_tap = move |at: usize| (0..own / 64).map(move |word| at + word);
        let taps = (0..high).flat_map(|y| (0..wide).map(move |x| (y, x)));
        (own % 64 == 0).then(|| taps.flat_map(|(y, x)| of_tap(tap(y, x))).collect())
    }

    /// The word in a plane where the operand of a group at a position begins; `None` if it sees padding.
    pub fn place(&self, position: usize, group: usize) -> Option<usize> {
        let pixel = self.window.first(position)?;
        Some((pixel * self.channels + group * self.group()) / 64)
    }
}
