//! Batches of frames, packed for the fast engine.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::frame::element::Element;

/// Frames of one stream, packed for the fast engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// Frames as bit planes. A frame is its planes, least significant first. Each plane starts on a 64-bit word; element e is bit
    /// e mod 64 of word e / 64. Padding bits are 0.
    Planes {
        /// Type of the elements.
        element: Element,
        /// Elements per frame.
        elements: usize,
        /// The words of all frames, concatenated.
        words: Vec<u64>,
    },
    /// Frames as integers.
    Integers {
        /// Elements per frame.
        elements: usize,
        /// The elements of all frames, concatenated.
        values: Vec<i32>,
    },
}

/// An 8 x 8 matrix of bits, a row a byte, transposed (Warren, "Hacker's Delight", 2nd edition, 7-3).
fn transposed(x: u64) -> u64 {
    let swap = |x: u64, mask: u64, shift: u32| {
        let t = (x ^ x >> shift) & mask;
        x ^ t ^ t << shift
    };
    let x = swap(x, 0x00aa_00aa_00aa_00aa, 7);
    let x = swap(x, 0x0000_cccc_0000_cccc, 14);
    swap(x, 0x0000_0000_f0f0_f0f0, 28)
}

impl Batch {
    /// Packs frames into bit planes.
    pub fn pack(element: Element, elements: usize, frames: &[impl AsRef<[i32]> + Sync]) -> Self {
        let planes = element.bits() as usize;
        let stride = elements.div_ceil(64);
        let mut words = vec![0; frames.len() * planes * stride];
        words.par_chunks_mut(planes * stride).zip(frames).for_each(|(to, frame)| {
            let frame = frame.as_ref();
            assert_eq!(frame.len(), elements);
            if element == Element::Bipolar {
                for (word, chunk) in to.iter_mut().zip(frame.chunks(64)) {
                    *word = chunk.iter().rev().fold(0, |word, v| word << 1 | u64::from(*v > 0));
                }
                return;
            }
            for (word, chunk) in frame.chunks(64).enumerate() {
                let mut planes_of = [0; 64];
                for (byte, values) in chunk.chunks(8).enumerate() {
                    for low in (0..planes).step_by(8) {
                        let codes = values
                            .iter()
                            .rev()
                            .fold(0, |codes, value| codes << 8 | element.encode(*value) >> low & 0xff);
                        let turned = transposed(codes).to_le_bytes();
                        for (k, bits) in (low..planes).zip(turned) {
                            planes_of[k] |= u64::from(bits) << (8 * byte);
                        }
                    }
                }
                (0..planes).for_each(|k| to[k * stride + word] = planes_of[k]);
            }
        });
        Self::Planes { element, elements, words }
    }

    /// The element type; `None` for integers.
    pub fn element(&self) -> Option<Element> {
        match self {
            Self::Planes { element, .. } => Some(*element),
            Self::Integers { .. } => None,
        }
    }

    /// The frames as bit planes. Integers get the narrowest two's complement type that also holds `also`, a padding value.
    pub fn planes(&self, also: i32) -> Cow<'_, Self> {
        let Self::Integers { elements, values } = self else { return Cow::Borrowed(self) };
        let (min, max) = values.iter().fold((also, also), |(min, max), v| (min.min(*v), max.max(*v)));
        let element = Element::signed(min.into(), max.into());
        Cow::Owned(Self::pack(element, *elements, &self.unpack()))
    }

    /// Applies `compute` to each frame. The results have `elements` elements of type `element`, as bit planes; or integers if
    /// `element` is `None`.
    #[must_use]
    pub fn each(
        &self,
        element: Option<Element>,
        elements: usize,
        compute: impl Fn(&[i32]) -> Vec<i32> + Sync,
    ) -> Self {
        let frames: Vec<Vec<i32>> = self.unpack().par_iter().map(|frame| compute(frame)).collect();
        Self::of_frames(element, elements, &frames)
    }

    /// Applies `compute` to the corresponding frames of several batches; see [`each`](Self::each).
    pub fn joined(
        batches: &[&Self],
        element: Option<Element>,
        elements: usize,
        compute: impl Fn(&[&[i32]]) -> Vec<i32> + Sync,
    ) -> Self {
        let inputs: Vec<Vec<Vec<i32>>> = batches.iter().map(|batch| batch.unpack()).collect();
        let frame = |index: usize| {
            let x: Vec<&[i32]> = inputs.iter().map(|frames| &frames[index][..]).collect();
            compute(&x)
        };
        let frames: Vec<Vec<i32>> = (0..inputs[0].len()).into_par_iter().map(frame).collect();
        Self::of_frames(element, elements, &frames)
    }

    /// A batch of `frames`: bit planes of type `element`, or integers if it is `None`.
    fn of_frames(element: Option<Element>, elements: usize, frames: &[Vec<i32>]) -> Self {
        match element {
            Some(element) => Self::pack(element, elements, frames),
            None => Self::Integers { elements, values: frames.concat() },
        }
    }

    /// The frames with the given indices.
    #[must_use]
    pub fn select(&self, frames: &[usize]) -> Self {
        fn of<T: Copy>(list: &[T], size: usize, frames: &[usize]) -> Vec<T> {
            frames.iter().flat_map(|f| list[f * size..][..size].iter().copied()).collect()
        }
        match self {
            Self::Planes { element, elements, words } => {
                let size = element.bits() as usize * elements.div_ceil(64);
                Self::Planes { element: *element, elements: *elements, words: of(words, size, frames) }
            }
            Self::Integers { elements, values } => {
                Self::Integers { elements: *elements, values: of(values, *elements, frames) }
            }
        }
    }

    /// The frames as lists of integers.
    pub fn unpack(&self) -> Vec<Vec<i32>> {
        match self {
            Self::Planes { element, elements, words } => {
                let planes = element.bits() as usize;
                let stride = elements.div_ceil(64);
                let value = |frame: &[u64], e: usize| {
                    let bit = |k: usize| (frame[k * stride + e / 64] >> (e % 64) & 1) << k;
                    element.decode((0..planes).map(bit).sum())
                };
                words
                    .chunks(planes * stride)
                    .map(|frame| (0..*elements).map(|e| value(frame, e)).collect())
                    .collect()
            }
            Self::Integers { elements, values } => values.chunks(*elements).map(<[i32]>::to_vec).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_packed_and_unpacked() {
        let types = [
            Element::Bipolar,
            Element::Signed(1),
            Element::Unsigned(3),
            Element::Unsigned(8),
            Element::Signed(13),
        ];
        for element in types.into_iter().chain([Element::Signed(24)]) {
            let (least, most) = element.range();
            for elements in [1, 7, 8, 63, 64, 65, 200] {
                let value = |e: usize, f: usize| {
                    let v = least + ((e * e * 77_777 + f * 12_345 + e * f) as i64) % (most - least + 1);
                    if element == Element::Bipolar && v == 0 { 1 } else { v as i32 }
                };
                let frames: Vec<Vec<i32>> =
                    (0..3).map(|f| (0..elements).map(|e| value(e, f)).collect()).collect();
                let batch = Batch::pack(element, elements, &frames);
                assert_eq!(batch.unpack(), frames, "{element}, {elements}");
                let Batch::Planes { words, .. } = batch else { unreachable!("planes") };
                let stride = elements.div_ceil(64);
                for (e, frame) in (0..elements).flat_map(|e| frames.iter().enumerate().map(move |f| (e, f))) {
                    for k in 0..element.bits() as usize {
                        let word = words[(frame.0 * element.bits() as usize + k) * stride + e / 64];
                        assert_eq!(word >> (e % 64) & 1, element.encode(frame.1[e]) >> k & 1);
                    }
                }
            }
        }
    }
}
