//! Max pooling in one and two dimensions, on elements of any type.

use std::sync::Arc;

use rayon::prelude::*;
use stoxnor_hdl::Module;

use crate::arith::kernel::{Fill, Sliding, copy, word};
use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, MODEL_INVALID, Result};
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::frame::port::{Port, one};
use crate::network::layer::{Kind, Layer, Sample};
use crate::schedule::Schedule;
use crate::unit::channel::{ChannelUnit, Reduce};
use crate::unit::folding::{Folding, Lanes};
use crate::unit::resources::Resources;

/// The maximum of each channel at every position of a kernel, or the minimum in channels whose later activation is decreasing.
/// Padding is ignored.
///
/// Frames of [height, width, channels] become [output height, output width, channels].
#[derive(Debug, Clone)]
pub struct MaxPool {
    kernel: Sliding,
    falls: Vec<bool>,
}

impl MaxPool {
    /// A pooling by `kernel`, in which every channel is a group. `falls` says for each channel whether the minimum is taken
    /// instead of the maximum; it is empty if no channel has that. The kernel's padding value is ignored.
    ///
    /// # Panics
    /// If the kernel's groups are not single channels, or `falls` does not fit them.
    pub fn new(kernel: Sliding, falls: Vec<bool>) -> Self {
        assert_eq!(kernel.groups, kernel.channels, "a group for each channel");
        assert!(falls.is_empty() || falls.len() == kernel.channels, "one direction a channel");
        Self { kernel, falls }
    }

    /// The kernel.
    pub fn kernel(&self) -> &Sliding {
        &self.kernel
    }

    fn falls(&self, channel: usize) -> bool {
        self.falls.get(channel).copied().unwrap_or(false)
    }

    /// The kernel with the padding that the hardware reads: the minimum value, or a flag for "no value" if some channels take the
    /// minimum.
    fn filled(&self, input: Element) -> Sliding {
        let fill = match self.falls.contains(&true) {
            false => Fill::Value(input.range().0 as i32),
            true => Fill::Nothing,
        };
        Sliding { fill, ..self.kernel.clone() }
    }

    fn with_unit<R>(
        &self,
        name: &str,
        input: &Port,
        fold: Folding,
        user: u32,
        use_it: impl FnOnce(ChannelUnit<'_>) -> R,
    ) -> R {
        let (kernel, input) = (&self.filled(input.element), input.element);
        use_it(ChannelUnit {
            name,
            kernel,
            input,
            fold,
            user,
            reduce: Reduce::Most(&self.falls),
            zones: None,
        })
    }

    fn elements(&self) -> usize {
        self.kernel.window.positions() * self.kernel.channels
    }

    /// The pixels that the taps see at a position, without padding.
    fn seen(&self, position: usize) -> impl Iterator<Item = usize> {
        let [rows, columns] = self.kernel.window.seen(position);
        let across = self.kernel.window.input[1];
        rows.flat_map(move |(y, _)| columns.clone().map(move |(x, _)| y * across + x))
    }

    fn pooled(&self, frame: &[i32]) -> Vec<i32> {
        let channels = self.kernel.channels;
        let value = |position: usize, channel: usize| {
            let values = self.seen(position).map(|pixel| frame[pixel * channels + channel]);
            let found = if self.falls(channel) { values.min() } else { values.max() };
            found.expect("a position sees a pixel")
        };
        let positions = 0..self.kernel.window.positions();
        positions.flat_map(|p| (0..channels).map(move |c| (p, c))).map(|(p, c)| value(p, c)).collect()
    }

    /// Pools frames of bit planes on words: 64 channels are compared at once, from their highest bits on. All bits are inverted for a
    /// minimum, and the highest ones of two's complement, so that the larger pattern is wanted.
    fn fast_planes(&self, input: Element, words: &[u64], elements: usize) -> Vec<u64> {
        let Sliding { window, channels, .. } = &self.kernel;
        let planes = input.bits() as usize;
        let mut falls = vec![0u64; channels.div_ceil(64)];
        (0..*channels).filter(|c| self.falls(*c)).for_each(|c| falls[c / 64] |= 1 << (c % 64));
        let signed = matches!(input, Element::Signed(_));
        let turned =
            |k: usize, word: usize| if signed && k + 1 == planes { !falls[word] } else { falls[word] };
        let (stride, size) = (elements.div_ceil(64), self.elements().div_ceil(64));
        let mut out = vec![0; words.len() / (planes * stride) * planes * size];
        out.par_chunks_mut(planes * size).zip(words.par_chunks(planes * stride)).for_each(|(to, frame)| {
            // Word by word the planes of the largest elements so far, those that are compared, and a plane of the result.
            let (mut most, mut next) = (vec![0; planes * falls.len()], vec![0; planes]);
            let mut pixel = vec![0; falls.len()];
            for position in 0..window.positions() {
                most.fill(0);
                for seen in self.seen(position) {
                    for (i, most) in most.chunks_mut(planes).enumerate() {
                        let at = seen * channels + i * 64;
                        let (mut larger, mut same) = (0, u64::MAX);
                        for k in (0..planes).rev() {
                            next[k] = word(&frame[k * stride..][..stride], at) ^ turned(k, i);
                            larger |= same & next[k] & !most[k];
                            same &= !(next[k] ^ most[k]);
                        }
                        for (most, next) in most.iter_mut().zip(&next) {
                            *most = next & larger | *most & !larger;
                        }
                    }
                }
                for (k, to) in to.chunks_mut(size).enumerate() {
                    let of_word = |i: usize| most[i * planes + k] ^ turned(k, i);
                    pixel.iter_mut().enumerate().for_each(|(i, to)| *to = of_word(i));
                    copy(|i| word(&pixel, i), *channels, to, position * channels);
                }
            }
        });
        out
    }
}

impl Layer for MaxPool {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn output(&self, inputs: &[Port]) -> Result<Port> {
        let input = one(inputs)?;
        self.kernel.accepts(input)?;
        if (0..self.kernel.window.positions()).any(|p| self.seen(p).next().is_none()) {
            return Err(Diagnostic::new(&MODEL_INVALID, "a position sees nothing but padding").into());
        }
        let [height, width] = self.kernel.window.output();
        Ok(Port { shape: vec![height, width, self.kernel.channels], element: input.element })
    }

    fn reference(&self, inputs: &[&[i32]], _: usize) -> Vec<i32> {
        self.pooled(inputs[0])
    }

    fn fast(&self, inputs: &[&Batch], _: usize) -> Batch {
        match inputs[0] {
            Batch::Planes { element, elements, words } => {
                let words = self.fast_planes(*element, words, *elements);
                Batch::Planes { element: *element, elements: self.elements(), words }
            }
            batch @ Batch::Integers { .. } => batch.each(None, self.elements(), |frame| self.pooled(frame)),
        }
    }

    fn lanes(&self) -> Lanes {
        Lanes::pool(&self.kernel)
    }

    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module> {
        self.with_unit(name, &inputs[0], fold, user, |unit| unit.hardware())
    }

    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule {
        self.with_unit("", &inputs[0], fold, 0, |unit| unit.schedule())
    }

    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources {
        self.with_unit("", &inputs[0], fold, 0, |unit| unit.resources())
    }
}

/// The max pooling layer.
pub const KIND: Kind = Kind { name: "maxpool", samples };

/// Sample windows for pooling: without overlap, with overlap and padding, dilated, along one axis, with one tap, and the whole
/// image.
pub(crate) fn windows() -> [Window; 6] {
    let plain = Window::plain;
    [
        Window { stride: [2, 2], ..plain([4, 6], [2, 2]) },
        Window { stride: [2, 2], before: [1, 1], after: [1, 1], ..plain([5, 4], [3, 3]) },
        Window { dilation: [2, 1], before: [1, 0], after: [1, 1], ..plain([4, 3], [2, 2]) },
        Window { stride: [1, 2], before: [0, 1], ..plain([1, 9], [1, 3]) },
        Window { stride: [2, 3], ..plain([3, 4], [1, 1]) },
        Window::whole([3, 2]),
    ]
}

fn samples() -> Vec<Sample> {
    use Element::{Bipolar, Signed, Unsigned};
    let [apart, padded, dilated, line, single, whole] = windows();
    let none: &[bool] = &[];
    let mixed: &[bool] = &[false, true, true, false];
    let forms = [
        (apart, 4, Bipolar, none),
        (padded, 4, Bipolar, mixed),
        (padded, 2, Bipolar, none),
        (apart, 4, Unsigned(2), mixed),
        (padded, 4, Signed(3), mixed),
        (padded, 2, Unsigned(4), none),
        (dilated, 2, Signed(1), &mixed[..2]),
        (dilated, 1, Signed(20), none),
        (line, 4, Signed(2), mixed),
        (line, 1, Unsigned(1), &mixed[1..2]),
        (single, 2, Signed(4), &mixed[1..3]),
        (whole, 2, Unsigned(16), &mixed[..2]),
        (whole, 70, Bipolar, none),
    ];
    let sample = |(window, channels, element, falls): (Window, usize, Element, &[bool])| {
        let kernel = Sliding { window, channels, groups: channels, fill: Fill::Nothing };
        let port = Port { shape: kernel.shape().to_vec(), element };
        (vec![port], Arc::new(MaxPool::new(kernel, falls.to_vec())) as Arc<dyn Layer>)
    };
    forms.into_iter().map(sample).collect()
}
