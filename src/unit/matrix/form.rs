//! Forms of a matrix unit: the encoding of weights and the processing elements that use it.

use std::fmt::Debug;

use stoxnor_hdl::block::{Lane, PopcountCuts, ProcessingElement};
use stoxnor_hdl::{Bits, Builder, Net};

use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::planes::PlaneSums;
use crate::frame::element::Element;
use crate::unit::folding::{Cuts, Folding};
use crate::unit::matrix::{MatrixUnit, RawSums};

/// What the processing elements use in a step.
#[derive(Debug, Clone, Copy)]
pub struct Operands {
    /// The beat of the operand.
    pub operand: Net,
    /// The word of the weight source.
    pub weights: Net,
}

/// The control of the accumulators, [`latency`](Form::latency) edges with `run` behind the operands.
#[derive(Debug, Clone, Copy)]
pub struct Accumulate {
    /// The pipeline moves at the coming edge.
    pub run: Net,
    /// A step is added at the coming edge.
    pub enable: Net,
    /// First step of a row group; `None` if there is one step per row group.
    pub first: Option<Net>,
}

/// A form defines the encoding of the weight memory and the processing elements. Layers do not depend on the form in use.
///
/// A processing element computes a *raw sum*. The sum of products is gain * raw sum + the row's constant.
pub trait Form: Debug {
    /// The position of a weight in the words of [`encode`](Self::encode), for the module's header.
    fn layout(&self, fold: Folding, steps: u64) -> String;

    /// The words of weights for the steps of a frame, in order.
    fn encode(&self, weights: &IntMatrix, fold: Folding) -> Vec<Bits>;

    /// Edges from the operands of a step to its accumulation.
    fn latency(&self, fold: Folding) -> u32;

    /// Builds the processing elements. Returns for each the net of its row's raw sum, valid one edge after the row's last step
    /// was accumulated.
    fn processing_elements(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        operands: Operands,
        accumulate: Accumulate,
    ) -> Vec<Net>;

    /// The range of raw sums over all rows and members, including partial sums.
    fn range(&self, members: &[&IntMatrix]) -> (i64, i64);

    /// Bits of a raw sum in `range`: at least the number it needs.
    fn bits(&self, range: (i64, i64)) -> u32;

    /// Kind of the weights.
    fn kind(&self) -> WeightKind;

    /// Factor of the raw sum, 1 or 2.
    fn gain(&self) -> i64;

    /// The constant that is added for a row.
    fn constant(&self, row: &[i16]) -> i64;

    /// Element type of the input stream.
    fn input(&self) -> Element;

    /// The raw sums of all rows in all members.
    fn raw_sums(&self, members: &[&IntMatrix]) -> RawSums {
        let range = self.range(members);
        let constants = |w: &&IntMatrix| (0..w.rows()).map(|row| self.constant(w.row(row))).collect();
        RawSums {
            range,
            bits: self.bits(range),
            gain: self.gain(),
            constants: members.iter().map(constants).collect(),
        }
    }
}

/// The form that combines input bit planes with weight bit planes, and weights the popcounts by the planes' coefficients.
///
/// In the word of fold f and step s, with weights of B bits, bit (p * B + j) * SIMD + l is bit j of the weight of row f * PE + p
/// and column s * SIMD + l. Binary weights: 1 is +1. Ternary weights: bit 0 is 1 for +1, bit 1 is 1 for nonzero. Other weights:
/// two's complement.
#[derive(Debug, Clone)]
pub struct BitPlanes {
    sums: PlaneSums,
    input: Element,
}

impl BitPlanes {
    /// The form for weights of kind `kind` and inputs of type `input`.
    pub fn new(kind: WeightKind, input: Element) -> Self {
        Self { sums: PlaneSums::new(kind, input.planes(), input == Element::Bipolar), input }
    }

    fn code(&self, weight: i16) -> u64 {
        match self.sums.kind {
            WeightKind::Binary => u64::from(weight > 0),
            WeightKind::Ternary => u64::from(weight > 0) | u64::from(weight != 0) << 1,
            WeightKind::Signed(_) => weight as u64,
        }
    }

    /// The bit planes of the operand, least significant first.
    fn planes(&self, b: &mut Builder, operand: Net, simd: u32) -> Vec<Net> {
        let bits = self.input.bits();
        if bits == 1 {
            return vec![operand];
        }
        (0..bits)
            .map(|k| {
                let plane: Vec<Net> = (0..simd).map(|lane| b.slice(operand, lane * bits + k, 1)).collect();
                let plane = b.concat(&plane);
                b.named(format!("operand_plane_{k}"), plane)
            })
            .collect()
    }
}

/// The registers of a processing element.
fn cuts(fold: Folding) -> PopcountCuts {
    PopcountCuts { counts: fold.cuts.has(Cuts::Counts), trees: fold.cuts.has(Cuts::Trees) }
}

impl Form for BitPlanes {
    fn layout(&self, fold: Folding, steps: u64) -> String {
        let Folding { pe, simd, .. } = fold;
        let weight = format!("w[f * {pe} + p][s * {simd} + l]");
        let word = format!("of word f * {steps} + s");
        match self.sums.kind {
            WeightKind::Binary => format!("bit p * {simd} + l {word} is 1 where {weight} is +1"),
            WeightKind::Ternary => {
                format!("bits (2 * p + j) * {simd} + l {word}: {weight} is +1 (j = 0), is not 0 (j = 1)")
            }
            WeightKind::Signed(bits) => {
                format!("bit ({bits} * p + j) * {simd} + l {word} is bit j of {weight}, two's complement")
            }
        }
    }

    fn encode(&self, weights: &IntMatrix, fold: Folding) -> Vec<Bits> {
        let Folding { pe, simd, .. } = fold;
        let bits = self.sums.kind.bits() as usize;
        let mut words = Vec::with_capacity(weights.rows() / pe * (weights.columns() / simd));
        for group in 0..weights.rows() / pe {
            for step in 0..weights.columns() / simd {
                let mut word = Bits::zero((pe * bits * simd) as u32);
                for p in 0..pe {
                    for lane in 0..simd {
                        let code = self.code(weights.at(group * pe + p, step * simd + lane));
                        for j in (0..bits).filter(|j| code >> j & 1 == 1) {
                            word.set(((p * bits + j) * simd + lane) as u32, true);
                        }
                    }
                }
                words.push(word);
            }
        }
        words
    }

    fn latency(&self, fold: Folding) -> u32 {
        cuts(fold).latency(fold.simd as u32, self.sums.input.len() * self.sums.weights.len())
    }

    fn processing_elements(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        Operands { operand, weights }: Operands,
        Accumulate { run, enable, first }: Accumulate,
    ) -> Vec<Net> {
        let simd = unit.fold.simd as u32;
        let bits = self.sums.kind.bits();
        let lane = match self.sums.kind {
            WeightKind::Binary => Lane::Xnor,
            WeightKind::Ternary => Lane::MaskedXnor,
            WeightKind::Signed(_) => Lane::And,
        };
        let element = ProcessingElement {
            lane,
            simd,
            input: &self.sums.input,
            weights: &self.sums.weights,
            bits: unit.raw.bits,
            accumulates: first.is_some(),
            cuts: cuts(unit.fold),
        };
        let run = (element.latency() > 0).then_some(run);
        let element = element.build();
        let side = unit.passes.side(unit.fold) as u32;
        let planes = self.planes(b, operand, simd * side);
        // Groups in parallel use every `side`-th element.
        let planes: Vec<Vec<Net>> = (0..side)
            .map(|group| {
                planes
                    .iter()
                    .enumerate()
                    .map(|(k, plane)| {
                        if side == 1 {
                            return *plane;
                        }
                        let own: Vec<Net> =
                            (0..simd).map(|lane| b.slice(*plane, lane * side + group, 1)).collect();
                        let own = b.concat(&own);
                        let of = if planes.len() == 1 { String::new() } else { format!("_plane_{k}") };
                        b.named(format!("operand{of}_of_{group}"), own)
                    })
                    .collect()
            })
            .collect();
        (0..unit.fold.pe as u32)
            .map(|p| {
                let pe = b.instance(&format!("u_pe_{p}"), &element);
                run.iter().for_each(|run| b.connect(pe, "run", *run));
                b.connect(pe, "enable", enable);
                first.iter().for_each(|f| b.connect(pe, "first", *f));
                let planes = &planes[p as usize / unit.passes.group_rows.min(unit.fold.pe)];
                for (k, plane) in planes.iter().enumerate() {
                    let port = if planes.len() == 1 { "a".to_owned() } else { format!("a_{k}") };
                    b.connect(pe, &port, *plane);
                }
                for j in 0..bits {
                    let own = b.slice(weights, (p * bits + j) * simd, simd);
                    let port = match lane {
                        Lane::MaskedXnor if j == 1 => "active".to_owned(),
                        Lane::And if bits > 1 => format!("w_{j}"),
                        _ => "w".to_owned(),
                    };
                    b.connect(pe, &port, own);
                }
                b.out(pe, "sum")
            })
            .collect()
    }

    fn range(&self, members: &[&IntMatrix]) -> (i64, i64) {
        let rows = members.iter().flat_map(|w| (0..w.rows()).map(|r| self.sums.range(w.row(r))));
        rows.fold((0, 0), |(low, high), (a, b)| (low.min(a), high.max(b)))
    }

    fn kind(&self) -> WeightKind {
        self.sums.kind
    }

    fn bits(&self, range: (i64, i64)) -> u32 {
        // Every plane gets at least one bit of the sum, even if no weight uses it, so that no input of a processing element is
        // unused.
        let planes = self.sums.input.len() + self.sums.weights.len() - 1;
        crate::unit::matrix::width(range).max(planes as u32)
    }

    fn gain(&self) -> i64 {
        self.sums.gain
    }

    fn constant(&self, row: &[i16]) -> i64 {
        self.sums.constant(row)
    }

    fn input(&self) -> Element {
        self.input
    }
}
