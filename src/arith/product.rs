//! Sums of products with binary, ternary, multi-bit and stochastic weights, and their activations: shared by dense and
//! convolution layers.

use std::ops::Range;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::arith::activation::{Activation, Activations};
use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::packed::{self, Blocks, Input, Output, Tile};
use crate::arith::sampling::{Realisation, Sampling, of_member};
use crate::arith::stairs::Stairs;
use crate::arith::stochastic::StochasticMatrix;
use crate::diagnostic::{Diagnostic, Result, SUM_TOO_WIDE};
use crate::frame::batch::Batch;
use crate::frame::element::Element;

/// `y[r] = sum over c of w[r][c] * x[c]`, with an optional activation. Stochastic weights differ between members.
#[derive(Debug, Clone)]
pub struct Product {
    rows: usize,
    fan_in: usize,
    kind: WeightKind,
    /// The real weights and the realisation; `None` for deterministic weights.
    pub(crate) stochastic: Option<Stochastic>,
    /// The weights of each member; a single entry if all members share them.
    members: Vec<Member>,
    pub(crate) activations: Activations,
}

/// Stochastic weights of a layer.
#[derive(Debug, Clone)]
pub struct Stochastic {
    /// The real weights.
    pub matrix: StochasticMatrix,
    /// How the hardware realises the members.
    pub realisation: Realisation,
    /// max_members, the number of members that the hardware supports.
    pub members: usize,
}

/// The weights of one member.
#[derive(Debug, Clone)]
struct Member {
    weights: IntMatrix,
    /// The same for the fast engine, made when it is first used.
    blocks: OnceLock<Blocks>,
}

impl From<IntMatrix> for Member {
    fn from(weights: IntMatrix) -> Self {
        Self { weights, blocks: OnceLock::new() }
    }
}

impl Product {
    /// A product with deterministic weights (rows by fan-in), and no activation, one for all members, or one per member.
    ///
    /// # Panics
    /// If an activation does not fit the rows, or two have different types or numbers of thresholds.
    pub fn new(weights: IntMatrix, activations: Vec<Activation>) -> Self {
        let kind = weights.kind();
        let (rows, fan_in) = (weights.rows(), weights.columns());
        let activations = Activations::new(activations, rows);
        Self { rows, fan_in, kind, stochastic: None, members: vec![weights.into()], activations }
    }

    /// A product with stochastic weights, and no activation, one for all members, or one per member.
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the number of activations is neither 0, 1 nor that of members.
    pub fn stochastic(stochastic: Stochastic, activations: Vec<Activation>) -> Self {
        let matrix = &stochastic.matrix;
        let kind = matrix.rounding().law.kind();
        let member = |m: usize| matrix.sample(m).into();
        let members: Vec<Member> = (0..stochastic.members).into_par_iter().map(member).collect();
        assert!(activations.len() <= 1 || activations.len() == members.len(), "an activation a member");
        let (rows, fan_in) = (matrix.rows(), matrix.columns());
        let activations = Activations::new(activations, rows);
        Self { rows, fan_in, kind, stochastic: Some(stochastic), members, activations }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Weights per row.
    pub fn fan_in(&self) -> usize {
        self.fan_in
    }

    /// Kind of the weights.
    pub fn kind(&self) -> WeightKind {
        self.kind
    }

    /// Whether the weights are binary and stay as they are stored.
    pub fn stored_binary(&self) -> bool {
        let stored = self.stochastic.as_ref().is_none_or(|s| s.realisation == Realisation::Stored);
        stored && self.kind == WeightKind::Binary
    }

    /// The weights of a member, rows by fan-in.
    pub fn weights_of(&self, member: usize) -> &IntMatrix {
        &of_member(&self.members, member).weights
    }

    /// The activation of a member.
    pub fn activation(&self, member: usize) -> Option<&Activation> {
        self.activations.of(member)
    }

    /// Number of thresholds per row; 0 if the sums are the output.
    pub fn thresholds(&self) -> usize {
        self.activations.steps()
    }

    /// Number of members with different results; 1 if all members compute the same.
    pub fn members(&self) -> usize {
        self.members.len().max(self.activations.members())
    }

    /// The sampling of the weights; `None` if they are deterministic.
    pub fn sampling(&self) -> Option<Sampling> {
        let Stochastic { matrix, realisation, .. } = self.stochastic.as_ref()?;
        Some(Sampling { rounding: matrix.rounding(), layer: matrix.layer(), realisation: *realisation })
    }

    /// Number of rows that share random bits; all rows if weights are deterministic.
    pub fn share(&self) -> usize {
        self.stochastic.as_ref().map_or(self.rows, |s| s.matrix.rounding().share)
    }

    /// The sums of `rows` for one operand, in a member.
    pub fn sums(&self, x: &[i32], rows: Range<usize>, member: usize) -> Vec<i32> {
        assert_eq!(x.len(), self.fan_in, "elements of an operand");
        let weights = self.weights_of(member);
        let sum = |r: usize| weights.row(r).iter().zip(x).map(|(w, x)| i32::from(*w) * x).sum();
        rows.map(sum).collect()
    }

    /// The outputs for the sums of `rows`.
    pub fn activated(&self, sums: Vec<i32>, rows: Range<usize>, member: usize) -> Vec<i32> {
        rows.zip(sums).map(|(row, y)| self.activations.value(member, row, y)).collect()
    }

    /// The minimum and maximum sum over all rows and members, for inputs of type `input`. `padded` says that some inputs may be 0
    /// instead.
    pub fn sum_range(&self, input: Element, padded: bool) -> (i64, i64) {
        let (min, max) = input.range();
        let row = |row: &[i16]| {
            row.iter().fold((0, 0), |(low, high), w| {
                let ends = (i64::from(*w) * min, i64::from(*w) * max);
                let (mut min, mut max) = (ends.0.min(ends.1), ends.0.max(ends.1));
                if padded {
                    (min, max) = (min.min(0), max.max(0));
                }
                (low + min, high + max)
            })
        };
        let rows = self.members.iter().flat_map(|m| (0..self.rows).map(|r| row(m.weights.row(r))));
        rows.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))).unwrap_or((0, 0))
    }

    pub(crate) fn matrices(&self) -> Vec<&IntMatrix> {
        self.members.iter().map(|m| &m.weights).collect()
    }
}

impl Product {
    /// The outputs of a batch in a member. Its operands see the rows of their group: each has `group_rows`.
    pub fn fast(&self, input: Input<'_>, member: usize, group_rows: usize) -> Batch {
        let Some(activation) = self.activation(member) else {
            return self.fast_sums(input, member, group_rows);
        };
        let elements = input.positions() * self.rows;
        let values = Values { stairs: Stairs::new(activation, group_rows), elements, rows: self.rows };
        let words = packed::compute(self.blocks(member, group_rows), input, &values);
        Batch::Planes { element: activation.element, elements, words }
    }

    /// [`fast`](Self::fast) without the activation.
    pub fn fast_sums(&self, input: Input<'_>, member: usize, group_rows: usize) -> Batch {
        let elements = input.positions() * self.rows;
        let sums = Integers { elements, rows: self.rows };
        Batch::Integers { elements, values: packed::compute(self.blocks(member, group_rows), input, &sums) }
    }

    fn blocks(&self, member: usize, group_rows: usize) -> &Blocks {
        let Member { weights, blocks } = of_member(&self.members, member);
        blocks.get_or_init(|| Blocks::new(weights, self.kind, group_rows))
    }
}

/// Sums as they are.
struct Integers {
    elements: usize,
    rows: usize,
}

impl Output for Integers {
    type Item = i32;

    fn size(&self) -> usize {
        self.elements
    }

    fn at(&self, frame: usize, position: usize) -> usize {
        frame * self.elements + position * self.rows
    }

    fn put(&self, tile: &Tile<'_>, to: &mut [i32]) {
        for (at, sums) in tile.at.iter().zip(tile.sums) {
            to[at + tile.row..][..tile.rows].copy_from_slice(&sums[..tile.rows]);
        }
    }
}

/// The values of an activation as bit planes; places are those of bits.
struct Values<'a> {
    stairs: Stairs<'a>,
    elements: usize,
    rows: usize,
}

impl Values<'_> {
    /// Words of a plane.
    fn stride(&self) -> usize {
        self.elements.div_ceil(64)
    }
}

impl Output for Values<'_> {
    type Item = u64;

    fn size(&self) -> usize {
        self.stairs.planes() * self.stride()
    }

    fn at(&self, frame: usize, position: usize) -> usize {
        frame * self.size() * 64 + position * self.rows
    }

    fn put(&self, tile: &Tile<'_>, to: &mut [u64]) {
        let stride = self.stride();
        self.stairs.bits(tile, |k, bits| {
            for (at, bits) in tile.at.iter().zip(bits) {
                let (word, shift) = (k * stride + (at + tile.row) / 64, (at + tile.row) % 64);
                to[word] |= u64::from(bits) << shift;
                if shift + tile.rows > 64 {
                    to[word + 1] |= u64::from(bits) >> (64 - shift);
                }
            }
        });
    }
}

/// Checks that sums from `least` to `most` fit 31 bits.
///
/// # Errors
/// If they do not.
pub fn computable((least, most): (i64, i64)) -> Result<()> {
    if least >= -(1 << 30) && most < 1 << 30 {
        return Ok(());
    }
    Err(Diagnostic::new(&SUM_TOO_WIDE, format!("sums reach from {least} to {most}"))
        .help("use fewer bits for the weights or the inputs, or a smaller fan-in")
        .into())
}
