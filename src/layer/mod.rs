//! Layer kinds. One file each; [`KINDS`] lists them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use stoxnor_hdl::Module;

use crate::arith::matrix::WeightKind;
use crate::arith::stochastic::Rounding;
use crate::diagnostic::Result;
use crate::fold::{Folding, Lanes};
use crate::matrix::Realisation;
use crate::network::{Element, Port};
use crate::schedule::Schedule;

/// What one layer computes, in every form that the engines need.
///
/// A frame is a list of integers in stream order (channel last, row-major); a bipolar element is +1 or -1.
pub trait Layer: fmt::Debug + Send + Sync {
    /// The kind's name, as it stands in [`KINDS`] and in the layer's name.
    fn kind(&self) -> &'static str;

    /// Shape and type of what leaves the layer, or why the inputs do not fit.
    fn output(&self, inputs: &[Port]) -> Result<Port>;

    /// Members that differ in what the layer computes, as many as are built; 1 where all compute the same.
    fn members(&self) -> usize {
        1
    }

    /// How its weights are sampled, where they are.
    fn sampling(&self) -> Option<Sampling> {
        None
    }

    /// One frame in one member (from 0), in plain integer arithmetic: the yardstick. May use [`arith`](crate::arith) and nothing of
    /// the hardware.
    fn reference(&self, inputs: &[&[i32]], member: usize) -> Vec<i32>;

    /// Many frames at once in one member, on packed words.
    fn fast(&self, inputs: &[&Batch], member: usize) -> Batch;

    /// The integers that its activation is applied to, as [`fast`](Self::fast) computes them; what leaves, where it has none.
    fn fast_sums(&self, inputs: &[&Batch], member: usize) -> Batch {
        self.fast(inputs, member)
    }

    /// What its weights are, where it has some.
    fn weights(&self) -> Option<WeightKind> {
        None
    }

    /// What PE and SIMD may divide.
    fn lanes(&self) -> Lanes;

    /// The layer as a module named `name`: an input stream `s` (where there are several inputs, `s0`, `s1` and on), one output stream `m`
    /// of PE elements a beat, `user` user bits on all. Where members differ, a frame passes once for each member, the first one first, and the one user bit says
    /// that it is the last.
    fn hardware(&self, name: &str, inputs: &[Port], fold: Folding, user: u32) -> Arc<Module>;

    /// When output beats come, given when input beats come.
    fn schedule(&self, inputs: &[Port], fold: Folding) -> Schedule;

    /// What the layer occupies.
    fn resources(&self, inputs: &[Port], fold: Folding) -> Resources;
}

/// How a layer's weights are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sampling {
    /// The rounding of its real weights.
    #[serde(flatten)]
    pub rounding: Rounding,
    /// How hardware holds the members.
    pub realisation: Realisation,
}

/// What a layer occupies, counted from its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Resources {
    /// Multiply-accumulate lanes, PE times SIMD.
    pub lanes: u64,
    /// Bits of weight memory.
    pub weight_bits: u64,
    /// Bits of the memory of thresholds, or of what is added to sums.
    pub threshold_bits: u64,
    /// Bits of buffers: operands to be read again.
    pub buffer_bits: u64,
}

impl Resources {
    /// A buffer and nothing else.
    pub fn buffer(buffer_bits: u64) -> Self {
        Self { lanes: 0, weight_bits: 0, threshold_bits: 0, buffer_bits }
    }
}

/// Frames of one edge, packed for the fast engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// Frames of few-bit elements as bit planes. A frame is its planes, least significant first; a plane starts on a 64-bit
    /// word and has element e at bit e mod 64 of word e / 64. Padding is 0.
    Planes {
        /// Type of the elements.
        element: Element,
        /// Elements of a frame.
        elements: usize,
        /// The words of all frames, one after another.
        words: Vec<u64>,
    },
    /// Integer frames, one after another.
    Integers {
        /// Elements of a frame.
        elements: usize,
        /// The elements of all frames.
        values: Vec<i32>,
    },
}

impl Batch {
    /// Packs frames into bit planes.
    pub fn pack(element: Element, elements: usize, frames: &[Vec<i32>]) -> Self {
        let planes = element.bits() as usize;
        let stride = elements.div_ceil(64);
        let mut words = vec![0; frames.len() * planes * stride];
        words.par_chunks_mut(planes * stride).zip(frames).for_each(|(to, frame)| {
            assert_eq!(frame.len(), elements);
            if element == Element::Bipolar {
                for (word, chunk) in to.iter_mut().zip(frame.chunks(64)) {
                    *word = chunk.iter().rev().fold(0, |word, v| word << 1 | u64::from(*v > 0));
                }
                return;
            }
            for (e, value) in frame.iter().enumerate() {
                let code = element.encode(*value);
                for k in 0..planes {
                    to[k * stride + e / 64] |= (code >> k & 1) << (e % 64);
                }
            }
        });
        Self::Planes { element, elements, words }
    }

    /// Type of the elements, where the batch says it.
    pub fn element(&self) -> Option<Element> {
        match self {
            Self::Planes { element, .. } => Some(*element),
            Self::Integers { .. } => None,
        }
    }

    /// The frames as bit planes: integers in the narrowest two's complement that holds them and `also`, what will stand beside them.
    pub fn planes(&self, also: i32) -> Cow<'_, Self> {
        let Self::Integers { elements, values } = self else { return Cow::Borrowed(self) };
        let (least, most) =
            values.iter().fold((also, also), |(least, most), v| (least.min(*v), most.max(*v)));
        let element = Element::signed(least.into(), most.into());
        Cow::Owned(Self::pack(element, *elements, &self.unpack()))
    }

    /// What `compute` makes of each frame: `elements` elements of type `element`, as bit planes; as integers, where there is no type.
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

    /// What `compute` makes of the frames of several batches, as [`each`](Self::each) of one.
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

    /// Frames as bit planes of a type; as integers, where there is none.
    fn of_frames(element: Option<Element>, elements: usize, frames: &[Vec<i32>]) -> Self {
        match element {
            Some(element) => Self::pack(element, elements, frames),
            None => Self::Integers { elements, values: frames.concat() },
        }
    }

    /// Some of the frames.
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

/// A kind of layer, as the conformance kit sees it.
#[derive(Debug)]
pub struct Kind {
    /// The kind's name.
    pub name: &'static str,
    /// Layers that show every form of the kind.
    pub samples: fn() -> Vec<Sample>,
}

/// A layer, and the ports that feed it.
pub type Sample = (Vec<Port>, Arc<dyn Layer>);

macro_rules! kinds {
    ($($kind:ident,)*) => {
        $(pub mod $kind;)*

        /// Every layer kind.
        pub static KINDS: &[Kind] = &[$($kind::KIND),*];
    };
}

// A kind is its file and its line here.
kinds! {
    dense,
    conv,
    maxpool,
    avgpool,
    threshold,
    upsample,
    transpose,
    scale,
    topk,
    globalpool,
    add,
    concat,
}
