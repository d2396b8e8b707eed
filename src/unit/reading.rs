//! The order in which a line buffer reads the operands of a kernel.

use stoxnor_hdl::Bits;
use stoxnor_hdl::block::{Border, LineBuffer, Loop, Padding};

use crate::arith::kernel::{Fill, Sliding};
use crate::arith::window::Window;
use crate::frame::element::Element;
use crate::unit::folding::{Folding, side_by_side};

/// The division of a kernel's operands into line buffer words and beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Elements per word.
    pub(crate) word: usize,
    /// Words per pixel.
    pub(crate) words: usize,
    /// Words per tap of an operand.
    pub(crate) slices: usize,
    /// Operands per position.
    pub(crate) operands: usize,
    /// Taps that are read in parallel.
    pub(crate) side: usize,
    /// Line buffer beats that a widener joins into one.
    pub(crate) joined: usize,
    /// Depth of the FIFO that holds joined beats while an operand is reused.
    pub(crate) queued: usize,
}

impl Sliding {
    /// The reading order for a folding. PE covers `groups` channel groups in parallel, and each operand is used by `folds` row
    /// groups.
    pub(crate) fn reading(&self, fold: Folding, groups: usize, folds: usize) -> Reading {
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
            // Beats that are joined slowly while the operand is reused are consumed quickly afterwards.
            queued: if taps > side && self.fan_in() > fold.simd {
                (self.fan_in() / fold.simd).max(2)
            } else {
                0
            },
        }
    }

    /// The line buffer with a ring of `depth` words.
    pub(crate) fn buffer(&self, input: Element, reading: Reading, depth: u64, user: u32) -> LineBuffer {
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
            skip: 0,
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
