//! Sums of products with binary, ternary, few-bit and stochastic weights, and their activations: what dense and convolution layers
//! share.

use std::ops::Range;

use rayon::prelude::*;

use crate::arith::activation::{Activation, Activations};
use crate::arith::bits::BitMatrix;
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::packed;
use crate::arith::packed::Kernel;
use crate::arith::sampling::{Realisation, Sampling, of_member};
use crate::arith::stochastic::StochasticMatrix;
use crate::diagnostic::{Diagnostic, Result, SUM_TOO_WIDE};
use crate::frame::batch::Batch;
use crate::frame::element::Element;

/// `y[r] = sum over c of w[r][c] * x[c]`, with an optional activation. Stochastic weights differ from member to member.
#[derive(Debug, Clone)]
pub struct Product {
    rows: usize,
    fan_in: usize,
    kind: WeightKind,
    /// Where the members come from; `None` for weights that are what they are.
    pub(crate) stochastic: Option<Stochastic>,
    /// The weights of each member; one where all have the same.
    members: Vec<Member>,
    pub(crate) activations: Activations,
}

/// Weights that are sampled.
#[derive(Debug, Clone)]
pub struct Stochastic {
    /// The real weights.
    pub matrix: StochasticMatrix,
    /// How hardware holds them.
    pub realisation: Realisation,
    /// Members that are built.
    pub members: usize,
}

/// The weights of one member.
#[derive(Debug, Clone)]
struct Member {
    weights: IntMatrix,
    planes: Vec<BitMatrix>,
}

impl Member {
    fn new(weights: IntMatrix, kind: WeightKind) -> Self {
        let planes = packed::planes(&weights, kind);
        Self { weights, planes }
    }
}

impl Product {
    /// Weights (rows by fan-in), and no activation, one for all members, or one for each member of an ensemble.
    ///
    /// # Panics
    /// Where an activation does not fit the rows, or two are of different kinds.
    pub fn new(weights: IntMatrix, activations: Vec<Activation>) -> Self {
        let kind = weights.kind();
        let (rows, fan_in) = (weights.rows(), weights.columns());
        let activations = Activations::new(activations, rows);
        Self { rows, fan_in, kind, stochastic: None, members: vec![Member::new(weights, kind)], activations }
    }

    /// Stochastic weights, and no activation, one for all members, or one for each.
    ///
    /// # Panics
    /// As [`new`](Self::new), and where there are several activations and not one for each member.
    pub fn stochastic(stochastic: Stochastic, activations: Vec<Activation>) -> Self {
        let matrix = &stochastic.matrix;
        let kind = matrix.rounding().law.kind();
        let member = |m: usize| Member::new(matrix.sample(m), kind);
        let members: Vec<Member> = (0..stochastic.members).into_par_iter().map(member).collect();
        assert!(activations.len() <= 1 || activations.len() == members.len(), "an activation a member");
        let (rows, fan_in) = (matrix.rows(), matrix.columns());
        let activations = Activations::new(activations, rows);
        Self { rows, fan_in, kind, stochastic: Some(stochastic), members, activations }
    }

    /// Rows of the weights.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Weights of a row.
    pub fn fan_in(&self) -> usize {
        self.fan_in
    }

    /// Kind of the weights.
    pub fn kind(&self) -> WeightKind {
        self.kind
    }

    /// The weights of a member, rows by fan-in.
    pub fn weights_of(&self, member: usize) -> &IntMatrix {
        &of_member(&self.members, member).weights
    }

    /// The activation of a member.
    pub fn activation(&self, member: usize) -> Option<&Activation> {
        self.activations.of(member)
    }

    /// Members that differ in what is computed; 1 where all compute the same.
    pub fn members(&self) -> usize {
        self.members.len().max(self.activations.members())
    }

    /// How the weights are sampled, where they are.
    pub fn sampling(&self) -> Option<Sampling> {
        let Stochastic { matrix, realisation, .. } = self.stochastic.as_ref()?;
        Some(Sampling { rounding: matrix.rounding(), realisation: *realisation })
    }

    /// Rows that share random bits; all where no bits are random.
    pub fn share(&self) -> usize {
        self.stochastic.as_ref().map_or(self.rows, |s| s.matrix.rounding().share)
    }

    /// The sums of `rows` for one operand in a member.
    pub fn sums(&self, x: &[i32], rows: Range<usize>, member: usize) -> Vec<i32> {
        assert_eq!(x.len(), self.fan_in, "elements of an operand");
        let weights = self.weights_of(member);
        let sum = |r: usize| weights.row(r).iter().zip(x).map(|(w, x)| i32::from(*w) * x).sum();
        rows.map(sum).collect()
    }

    /// What leaves for the sums of `rows`.
    pub fn activated(&self, sums: Vec<i32>, rows: Range<usize>, member: usize) -> Vec<i32> {
        rows.zip(sums).map(|(row, y)| self.activations.value(member, row, y)).collect()
    }

    /// The smallest and the largest sum that inputs of a type can give, over all rows and members; `padded` where some inputs may be
    /// 0 instead.
    pub fn sum_range(&self, input: Element, padded: bool) -> (i64, i64) {
        let (least, most) = input.range();
        let row = |row: &[i16]| {
            row.iter().fold((0, 0), |(low, high), w| {
                let ends = (i64::from(*w) * least, i64::from(*w) * most);
                let (mut least, mut most) = (ends.0.min(ends.1), ends.0.max(ends.1));
                if padded {
                    (least, most) = (least.min(0), most.max(0));
                }
                (low + least, high + most)
            })
        };
        let rows = self.members.iter().flat_map(|m| (0..self.rows).map(|r| row(m.weights.row(r))));
        rows.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))).unwrap_or((0, 0))
    }

    pub(crate) fn matrices(&self) -> Vec<&IntMatrix> {
        self.members.iter().map(|m| &m.weights).collect()
    }
}

/// One operand of a frame and where its sums go.
#[derive(Debug, Clone)]
pub struct Operand<'a> {
    /// Bit planes, each on whole words, least significant first.
    pub words: &'a [u64],
    /// The rows that take it.
    pub rows: Range<usize>,
    /// Place of row 0's element in the output frame.
    pub at: usize,
}

/// Takes the operands of a frame.
pub type OperandSink<'a> = dyn FnMut(Operand<'_>) + 'a;

impl Product {
    /// `size` numbers for each frame, set by `each(frame's numbers, row, place, sum)`. `operands` tells a frame's operands, of type `element`.
    fn each_sum<T: Copy + Default + Send>(
        &self,
        (words, frame_words): (&[u64], usize),
        (element, member): (Element, usize),
        size: usize,
        operands: impl Fn(&[u64], &mut OperandSink<'_>) + Sync,
        each: impl Fn(&mut [T], usize, usize, i32) + Sync,
    ) -> Vec<T> {
        let Member { weights, planes } = of_member(&self.members, member);
        let kernel = Kernel::new(weights, self.kind, planes, element);
        let mut out = vec![T::default(); words.len() / frame_words * size];
        out.par_chunks_mut(size).zip(words.par_chunks(frame_words)).for_each(|(to, frame)| {
            operands(frame, &mut |Operand { words, rows, at }| {
                kernel.sums(words, rows, |row, sum| each(to, row, at + row, sum));
            });
        });
        out
    }

    /// What leaves for many frames, each of `frame_words` words, in a member: `elements` of each. `operands` tells a frame's operands, of type
    /// `element`.
    pub fn fast(
        &self,
        frames: (&[u64], usize),
        of: (Element, usize),
        elements: usize,
        operands: impl Fn(&[u64], &mut OperandSink<'_>) + Sync,
    ) -> Batch {
        let Some(activation) = self.activation(of.1) else {
            return self.fast_sums(frames, of, elements, operands);
        };
        let (stride, planes) = (elements.div_ceil(64), activation.element.bits() as usize);
        let words = self.each_sum(frames, of, planes * stride, operands, |to: &mut [u64], row, at, sum| {
            let code = activation.element.encode(activation.value(row, sum));
            for k in 0..planes {
                to[k * stride + at / 64] |= (code >> k & 1) << (at % 64);
            }
        });
        Batch::Planes { element: activation.element, elements, words }
    }

    /// [`fast`](Self::fast), without the activation.
    pub fn fast_sums(
        &self,
        frames: (&[u64], usize),
        of: (Element, usize),
        elements: usize,
        operands: impl Fn(&[u64], &mut OperandSink<'_>) + Sync,
    ) -> Batch {
        let values = self.each_sum(frames, of, elements, operands, |to: &mut [i32], _, at, sum| to[at] = sum);
        Batch::Integers { elements, values }
    }
}

/// Checks that sums from `least` to `most` can be computed with.
///
/// # Errors
/// Where they are too wide.
pub fn computable((least, most): (i64, i64)) -> Result<()> {
    if least >= -(1 << 30) && most < 1 << 30 {
        return Ok(());
    }
    Err(Diagnostic::new(&SUM_TOO_WIDE, format!("sums reach from {least} to {most}"))
        .help("use fewer bits for the weights or the inputs, or a smaller fan-in")
        .into())
}
