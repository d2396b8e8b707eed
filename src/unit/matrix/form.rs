//! Forms of a matrix unit: the encoding of weights and the processing elements that use it.

use std::fmt::Debug;

use stoxnor_hdl::block::{Cells, LEVELS, Lane, PopcountCuts, ProcessingElement, SEGMENT, running_parity};
use stoxnor_hdl::{Bits, Builder, Net, bits_for};

use crate::arith::matrix::{IntMatrix, WeightKind};
use crate::arith::planes::PlaneSums;
use crate::frame::element::Element;
use crate::unit::folding::{Counting, Cuts, Folding};
use crate::unit::matrix::{MatrixUnit, RawSums};

/// What the processing elements use in a step.
#[derive(Debug, Clone, Copy)]
pub struct Operands {
    /// The [prepared](Form::prepare) beat of the operand.
    pub operand: Net,
    /// The word of the weight source.
    pub weights: Net,
}

/// The control of the accumulators, [`latency`](Form::latency) edges with `run` behind the operands.
#[derive(Debug, Clone, Copy)]
pub struct Accumulate<'a> {
    /// The pipeline moves at the coming edge.
    pub run: Net,
    /// A step is added at the coming edge.
    pub enable: Net,
    /// First step of a row group; `None` if there is one step per row group.
    pub first: Option<Net>,
    /// For each processing element, the number that its sum begins with; none if that is 0.
    pub starts: &'a [Net],
}

/// A form defines the encoding of the weight memory and the processing elements. Layers do not depend on the form in use.
///
/// A processing element computes a *raw sum*. The sum of products is gain * raw sum + the row's constant.
pub trait Form: Debug {
    /// The position of a weight in the words of [`encode`](Self::encode), for the module's header.
    fn layout(&self, fold: Folding, steps: u64) -> String;

    /// The words of weights for the steps of a frame, in order.
    fn encode(&self, weights: &IntMatrix, fold: Folding) -> Vec<Bits>;

    /// Whether [`prepare`](Self::prepare) computes anything.
    fn prepares(&self) -> bool;

    /// The operand as the processing elements take it: what is computed from a beat once for all rows. Combinational.
    fn prepare(&self, b: &mut Builder, unit: &MatrixUnit<'_>, operand: Net) -> Net;

    /// Edges from the operands of a step to its accumulation.
    fn latency(&self, fold: Folding) -> u32;

    /// Builds the processing elements. Returns for each the net of its row's raw sum, or of whether the sum is not negative if sums
    /// begin with numbers of their own, valid one edge after the row's last step was accumulated.
    fn processing_elements(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        operands: Operands,
        accumulate: Accumulate<'_>,
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
    /// Whether agreements are counted by running parities: binary weights, at least two lanes.
    parity: bool,
    /// Whether binary weights are stored as their complements, which a carry cell's LUT can take: in all forms of cells.
    inverted: bool,
    /// Whether operands are +1, -1 and 0, with binary weights: agreements of operands that are not 0 are counted, and the number of
    /// these, which is the same for all rows, once.
    masked: bool,
}

impl BitPlanes {
    /// The form for weights of kind `kind` and inputs of type `input`.
    pub fn new(kind: WeightKind, input: Element) -> Self {
        let sums = PlaneSums::new(kind, input.planes(), input == Element::Bipolar);
        Self { sums, input, parity: false, inverted: false, masked: false }
    }

    /// The form for stored weights: with running parities where the folding asks for them and they can be (binary weights, and two
    /// lanes at least).
    #[must_use]
    pub fn stored(mut self, fold: Folding) -> Self {
        let binary = self.sums.kind == WeightKind::Binary;
        self.parity = fold.form == Counting::Parity && binary && fold.simd > 1;
        self.inverted = fold.form.cells() != Cells::Portable && binary;
        self
    }

    /// The form for operands of +1, -1 and 0. Binary weights then need one popcount a row, in place of one for each plane.
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.masked = self.sums.kind == WeightKind::Binary;
        self
    }

    /// Coefficients of the planes that a processing element takes.
    fn coefficients(&self) -> &[i64] {
        if self.masked { &[2] } else { &self.sums.input }
    }

    /// A processing element with sums of `bits` bits, each of one step.
    fn element(&self, fold: Folding, bits: u32) -> ProcessingElement<'_> {
        let simd = fold.simd as u32;
        ProcessingElement {
            lane: self.lane(),
            simd,
            input: self.coefficients(),
            weights: &self.sums.weights,
            bits,
            accumulates: false,
            present: self.masked.then(|| bits_for(simd.into())),
            starts: false,
            cuts: cuts(fold),
        }
    }

    fn lane(&self) -> Lane {
        match self.sums.kind {
            WeightKind::Binary if self.masked => Lane::MaskedXnor,
            WeightKind::Binary if self.parity => Lane::Parity,
            WeightKind::Binary if self.inverted => Lane::Xor,
            WeightKind::Binary => Lane::Xnor,
            WeightKind::Ternary => Lane::MaskedXnor,
            WeightKind::Signed(_) => Lane::And,
        }
    }

    fn code(&self, weight: i16) -> u64 {
        match self.sums.kind {
            WeightKind::Binary => u64::from((weight > 0) != self.inverted),
            WeightKind::Ternary => u64::from(weight > 0) | u64::from(weight != 0) << 1,
            WeightKind::Signed(_) => weight as u64,
        }
    }

    /// The bits of the weights of a row in a step.
    fn encode_lanes(&self, lanes: &[i16]) -> Vec<bool> {
        if self.parity {
            let mut odd = false;
            let parities = lanes.chunks_exact(2).enumerate().map(|(k, pair)| {
                odd &= !k.is_multiple_of(SEGMENT as usize);
                odd ^= (pair[0] < 0) ^ (pair[1] < 0);
                odd
            });
            let parities: Vec<bool> = parities.collect();
            return lanes.iter().step_by(2).map(|first| *first < 0).chain(parities).collect();
        }
        let plane = |j: u32| lanes.iter().map(move |weight| self.code(*weight) >> j & 1 == 1);
        (0..self.sums.kind.bits()).flat_map(plane).collect()
    }

    /// The planes of the operand for each channel group that is computed in parallel.
    fn planes_by_group(&self, b: &mut Builder, operand: Net, simd: u32, side: u32) -> Vec<Vec<Net>> {
        let planes = self.planes(b, operand, simd * side);
        // Groups in parallel use every `side`-th element.
        let mut own = |group: u32, k: usize, plane: Net| {
            if side == 1 {
                return plane;
            }
            let own: Vec<Net> = (0..simd).map(|lane| b.slice(plane, lane * side + group, 1)).collect();
            let own = b.concat(&own);
            let of = if planes.len() == 1 { String::new() } else { format!("_plane_{k}") };
            b.named(format!("operand{of}_of_{group}"), own)
        };
        (0..side)
            .map(|group| planes.iter().enumerate().map(|(k, plane)| own(group, k, *plane)).collect())
            .collect()
    }

    /// For each channel group that is computed in parallel, what its processing elements take of the prepared operand: ports and
    /// their nets.
    fn shared(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        operand: Net,
        run: Option<Net>,
    ) -> Vec<Vec<(String, Net)>> {
        let (simd, side) = (unit.fold.simd as u32, unit.passes.side(unit.fold) as u32);
        let count = self.sums.input.len();
        let port =
            |letter: &str, k: usize| if count == 1 { letter.to_owned() } else { format!("{letter}_{k}") };
        if self.parity {
            let firsts = simd.div_ceil(2);
            let mut part = |group: u32, k: usize| {
                let low = (group * count as u32 + k as u32) * simd;
                let parities = b.slice(operand, low + firsts, simd - firsts);
                [(port("a", k), b.slice(operand, low, firsts)), (port("t", k), parities)]
            };
            return (0..side).map(|group| (0..count).flat_map(|k| part(group, k)).collect()).collect();
        }
        let planes = self.planes_by_group(b, operand, simd, side);
        if self.masked {
            return planes.iter().enumerate().map(|(g, own)| present(b, unit.fold, g, own, run)).collect();
        }
        let ports =
            |own: Vec<Net>| own.into_iter().enumerate().map(|(k, plane)| (port("a", k), plane)).collect();
        planes.into_iter().map(ports).collect()
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

/// The ports of processing elements with masked operands, in channel group `group`: the sign, the mask, and the number of operands
/// that are not 0, with as many registers as the popcounts of the rows.
fn present(
    b: &mut Builder,
    fold: Folding,
    group: usize,
    planes: &[Net],
    run: Option<Net>,
) -> Vec<(String, Net)> {
    let &[mask, negative] = planes else { panic!("masked operands have two bits") };
    let positive = b.not(negative);
    let positive = b.named(format!("positive_{group}"), positive);
    let simd = fold.simd as u32;
    let module = cuts(fold).module(Lane::One, simd, bits_for(simd.into()));
    let names = (&*format!("u_present_{group}"), &*format!("present_{group}"));
    let mut count = cuts(fold).count(b, names, &module, &[("a", mask)], run);
    // Cells may count agreements later than elements.
    let [late, soon] = [Lane::MaskedXnor, Lane::One].map(|lane| cuts(fold).latency(lane, simd, 1));
    for stage in soon..late {
        count = b.registered(&format!("present_{group}_{stage}"), None, run.expect("latency"), count);
    }
    vec![("a".to_owned(), positive), ("active".to_owned(), mask), ("present".to_owned(), count)]
}

/// The registers and cells of a processing element.
fn cuts(fold: Folding) -> PopcountCuts {
    PopcountCuts {
        counts: fold.cuts.has(Cuts::Counts),
        levels: match fold.cuts {
            Cuts::Fewest | Cuts::Words | Cuts::Counts => 0,
            Cuts::Trees => LEVELS,
            Cuts::Levels => 2,
        },
        cells: fold.form.cells(),
    }
}

impl Form for BitPlanes {
    fn layout(&self, fold: Folding, steps: u64) -> String {
        let Folding { pe, simd, .. } = fold;
        let weight = format!("w[f * {pe} + p][s * {simd} + l]");
        let word = format!("of word f * {steps} + s");
        match self.sums.kind {
            WeightKind::Binary if self.parity => {
                let firsts = simd.div_ceil(2);
                format!(
                    "bit p * {simd} + k {word} is 1 where {weight} is -1, l = 2k (k < {firsts}); bit p * {simd} + {firsts} + k is the parity of the number of -1 from l = {} * (k / {SEGMENT}) to 2k+1",
                    2 * SEGMENT
                )
            }
            WeightKind::Binary => {
                let one = if self.inverted { "-1" } else { "+1" };
                format!("bit p * {simd} + l {word} is 1 where {weight} is {one}")
            }
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
        let bits = self.sums.kind.bits() as usize * simd;
        let mut words = Vec::with_capacity(weights.rows() / pe * (weights.columns() / simd));
        for group in 0..weights.rows() / pe {
            for step in 0..weights.columns() / simd {
                let mut word = Bits::zero((pe * bits) as u32);
                for p in 0..pe {
                    let lanes = &weights.row(group * pe + p)[step * simd..][..simd];
                    let ones = self.encode_lanes(lanes).into_iter().enumerate().filter(|(_, one)| *one);
                    ones.for_each(|(bit, _)| word.set((p * bits + bit) as u32, true));
                }
                words.push(word);
            }
        }
        words
    }

    fn prepares(&self) -> bool {
        self.parity
    }

    /// By running parities: for each channel group and plane the first lane of each pair, then the parities.
    fn prepare(&self, b: &mut Builder, unit: &MatrixUnit<'_>, operand: Net) -> Net {
        if !self.prepares() {
            return operand;
        }
        let simd = unit.fold.simd as u32;
        let module = running_parity(simd);
        let planes = self.planes_by_group(b, operand, simd, unit.passes.side(unit.fold) as u32);
        let mut parts = Vec::new();
        for (index, plane) in planes.into_iter().flatten().enumerate() {
            let firsts: Vec<Net> = (0..simd).step_by(2).map(|lane| b.slice(plane, lane, 1)).collect();
            parts.push(b.concat(&firsts));
            let name = if index == 0 { "u_parity".to_owned() } else { format!("u_parity_{index}") };
            let unit = b.instance(&name, &module);
            let paired = b.slice(plane, 0, simd / 2 * 2);
            b.connect(unit, "a", paired);
            parts.push(b.out(unit, "t"));
        }
        let prepared = b.concat(&parts);
        b.named("prepared", prepared)
    }

    fn latency(&self, fold: Folding) -> u32 {
        self.element(fold, 1).latency()
    }

    fn processing_elements(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        Operands { operand, weights }: Operands,
        Accumulate { run, enable, first, starts }: Accumulate<'_>,
    ) -> Vec<Net> {
        let simd = unit.fold.simd as u32;
        let bits = self.sums.kind.bits();
        let lane = self.lane();
        let element = ProcessingElement {
            accumulates: first.is_some(),
            starts: !starts.is_empty(),
            ..self.element(unit.fold, unit.sum_bits())
        };
        let run = (element.latency() > 0).then_some(run);
        let element = element.build();
        let shared = self.shared(b, unit, operand, run);
        (0..unit.fold.pe as u32)
            .map(|p| {
                let pe = b.instance(&format!("u_pe_{p}"), &element);
                run.iter().for_each(|run| b.connect(pe, "run", *run));
                b.connect(pe, "enable", enable);
                first.iter().for_each(|f| b.connect(pe, "first", *f));
                starts.get(p as usize).into_iter().for_each(|start| b.connect(pe, "start", *start));
                let group = p as usize / unit.passes.group_rows.min(unit.fold.pe);
                shared[group].iter().for_each(|(port, net)| b.connect(pe, port, *net));
                for j in 0..bits {
                    let own = b.slice(weights, (p * bits + j) * simd, simd);
                    let port = match lane {
                        Lane::MaskedXnor if j == 1 => "active".to_owned(),
                        Lane::And if bits > 1 => format!("w_{j}"),
                        _ => "w".to_owned(),
                    };
                    b.connect(pe, &port, own);
                }
                b.out(pe, if starts.is_empty() { "sum" } else { "reached" })
            })
            .collect()
    }

    fn range(&self, members: &[&IntMatrix]) -> (i64, i64) {
        if self.masked {
            let most = members[0].columns() as i64;
            return (-most, most);
        }
        let rows = members.iter().flat_map(|w| (0..w.rows()).map(|r| self.sums.range(w.row(r))));
        rows.fold((0, 0), |(low, high), (a, b)| (low.min(a), high.max(b)))
    }

    fn kind(&self) -> WeightKind {
        self.sums.kind
    }

    fn bits(&self, range: (i64, i64)) -> u32 {
        // Every plane gets at least one bit of the sum (two if it has two lanes), even if no weight uses it, so that no input of a
        // processing element is unused.
        let planes = self.coefficients().len() + self.sums.weights.len() - 1;
        crate::unit::matrix::width(range).max(planes as u32)
    }

    fn gain(&self) -> i64 {
        self.sums.gain
    }

    fn constant(&self, row: &[i16]) -> i64 {
        if self.masked { 0 } else { self.sums.constant(row) }
    }

    fn input(&self) -> Element {
        self.input
    }
}
