//! Popcounts, sums of products and accumulators in a family's cells: the operation of most lanes sits in the cell that adds them.
//!
//! A family's [`Layouts`] say which cells compute what. The modules around them, their models and the registers between levels are
//! the same in all families.

mod ccu2c;
mod nets;
mod xilinx7;

use std::sync::Arc;

use super::Cells;
use super::lane::{Lane, Registers};
use crate::{Builder, Module, Net, Role, bits_for};
use nets::{Addend, Nets, Node};

/// The layouts of a family.
pub(super) trait Layouts {
    /// The end of the names of its modules.
    fn kind(&self) -> &'static str;

    /// Registers inside a staged popcount of `lanes` lanes.
    fn stages(&self, lane: Lane, lanes: u32) -> u32;

    /// Whether a popcount of one lane less saves a level of adders. The accumulator behind it then adds the last lane as its carry.
    fn leaves_one(&self, _lanes: u32) -> bool {
        false
    }

    /// The popcount of `lanes` lanes modulo 2^`bits`, with so many registers between operands and count. The operands are a lane's,
    /// each a port; there are two lanes at least.
    fn popcount(&self, lane: Lane, size: (u32, u32), stages: u32) -> Placement;

    /// Whether inputs of so many planes are added as numbers ([`products`](Self::products)), in place of the counts of their planes.
    fn adds(&self, planes: usize) -> bool;

    /// Registers inside a staged sum of products.
    fn product_stages(&self, lane: Lane, lanes: u32, input: &[i64]) -> u32;

    /// The sum of products of [`Cells::products`], of so many bits and registers. The operands are the input's planes, then the
    /// lane's others.
    fn products(&self, lane: Lane, lanes: u32, input: &[i64], size: (u32, u32)) -> Placement;

    /// The next value of an accumulator.
    fn next_sum(&self, next: NextSum) -> Placement;
}

/// Cells that compute the bits of a module's output.
pub(super) struct Placement {
    cells: Box<dyn Placing>,
    outputs: Vec<Node>,
    /// What they are, for the module's header.
    says: String,
}

/// A layout of cells.
trait Placing {
    /// Places the cells that compute `outputs`, and makes their outputs known.
    fn place(&self, b: &mut Builder, nets: &mut Nets, outputs: &[Node]);
}

/// The layouts of cells; none of portable Verilog.
pub(super) fn layouts(cells: Cells) -> Option<&'static dyn Layouts> {
    match cells {
        Cells::Portable => None,
        Cells::Ccu2c => Some(&ccu2c::Ccu2c),
        Cells::Xilinx7 => Some(&xilinx7::Xilinx7),
    }
}

/// An accumulator's next value, `(first ? start : sum) + addend + carry`, where `start` is 0 unless it `starts`, and `carry` is 0 unless
/// it `carries`. Its operands are those in this order.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextSum {
    pub(super) bits: u32,
    /// Bits of the addend.
    pub(super) addend: u32,
    pub(super) starts: bool,
    pub(super) carries: bool,
}

impl NextSum {
    /// The ports of its operands.
    fn operands(self) -> Vec<&'static str> {
        let start = self.starts.then_some("start");
        let carry = self.carries.then_some("carry");
        ["first"].into_iter().chain(start).chain(["sum", "addend"]).chain(carry).collect()
    }

    /// The place of operand `name`.
    fn operand(self, name: &str) -> usize {
        self.operands().iter().position(|own| *own == name).expect("an operand")
    }

    /// The carry that the addition begins with.
    fn carry(self) -> Option<Node> {
        self.carries.then(|| Node::Operand(self.operand("carry"), 0))
    }

    /// Bit `bit` of the addend.
    fn added(self, bit: u32) -> Addend {
        let addend = self.operand("addend");
        if bit < self.addend { Addend::net(Node::Operand(addend, bit)) } else { Addend::zero() }
    }

    /// Bit `bit` of what it is added to.
    fn before(self, bit: u32) -> Addend {
        let (first, sum) = (Node::Operand(0, 0), Node::Operand(self.operand("sum"), bit));
        if self.starts {
            // start, sum, first: first ? start : sum.
            Addend { of: vec![Node::Operand(1, bit), sum, first], table: 0xac }
        } else {
            // sum, first: sum & ~first.
            Addend { of: vec![sum, first], table: 0b0010 }
        }
    }

    /// The module, in cells if there are any.
    pub(super) fn build(self, layouts: Option<&dyn Layouts>) -> Arc<Module> {
        let Self { bits, addend, starts, carries } = self;
        let (kind, start) = if starts { ("_start", "start") } else { ("", "0") };
        let (more, carry) = if carries { ("_carry", " + carry") } else { ("", "") };
        let cells = layouts.map_or("", |layouts| layouts.kind());
        let mut b = Builder::new(format!("next_sum_b{bits}_a{addend}{kind}{more}{cells}"));
        b.doc(format!("next = (first ? {start} : sum) + addend{carry}, modulo 2^{bits}. Combinational."));
        let names = self.operands();
        let input = |name: &&str| match *name {
            "first" => b.input("first", 1, Role::Control),
            "carry" => b.input("carry", 1, Role::Data),
            "addend" => b.input("addend", addend, Role::Data),
            other => b.input(other, bits, Role::Data),
        };
        let own: Vec<Net> = names.iter().map(input).collect();
        let start = if starts { own[1] } else { b.constant(bits, 0) };
        let before = b.mux(own[0], start, own[self.operand("sum")]);
        let wide = b.zero_extend(own[self.operand("addend")], bits);
        let mut next = b.add(before, wide);
        if carries {
            let carry = b.zero_extend(own[self.operand("carry")], bits);
            next = b.add(next, carry);
        }
        let next = b.named("next", next);
        b.output("next", next, Role::Data);
        let Some(layouts) = layouts else { return b.finish() };
        b.finish_realised(|model| {
            let placement = layouts.next_sum(self);
            let (b, operands) = like(model, &names, &placement.says);
            finish(b, &placement, &mut Nets::new(Lane::One, &names, operands, None), "next")
        })
    }
}

/// A module in construction with the documentation of `model` and what `says` of its cells, and its inputs.
fn like(model: &Module, inputs: &[&str], says: &str) -> (Builder, Vec<Net>) {
    let mut b = Builder::new(model.name.clone());
    model.doc.iter().for_each(|line| b.doc(line.clone()));
    b.doc(says);
    let input = |name: &&str| {
        let port = model.port(name).expect("a port of the model");
        b.input(*name, model.width(port.net), port.role)
    };
    let inputs = inputs.iter().map(input).collect();
    (b, inputs)
}

/// Finishes a module whose output is called `name`.
fn finish(mut b: Builder, placement: &Placement, nets: &mut Nets, name: &str) -> Arc<Module> {
    let outputs = &placement.outputs;
    placement.cells.place(&mut b, nets, outputs);
    let bits: Vec<Net> = outputs.iter().map(|node| nets.get(&mut b, node)).collect();
    let output = b.concat(&bits);
    let output = b.named(name, output);
    b.output(name, output, Role::Data);
    b.finish()
}

/// The popcount of `lanes` lanes in cells, modulo 2^`bits`, with so many registers inside.
pub(super) fn popcount(
    layouts: &dyn Layouts,
    lane: Lane,
    (lanes, bits): (u32, u32),
    stages: u32,
) -> Arc<Module> {
    // The model's registers need not be where the cells have theirs.
    lane.counting(lanes, bits, Registers::Behind(stages), layouts.kind()).finish_realised(|model| {
        let placement = layouts.popcount(lane, (lanes, bits), stages);
        let mut inputs = vec!["run"; usize::from(stages > 0)];
        inputs.extend(lane.operands());
        let (b, mut own) = like(model, &inputs, &placement.says);
        let run = (stages > 0).then(|| own.remove(0));
        finish(b, &placement, &mut Nets::new(lane, lane.operands(), own, run), "count")
    })
}

/// The module of [`Cells::products`], with so many registers.
pub(super) fn products(
    layouts: Option<&dyn Layouts>,
    lane: Lane,
    lanes: u32,
    input: &[i64],
    (bits, stages): (u32, u32),
) -> Arc<Module> {
    let signed = input.iter().any(|c| *c < 0);
    let kind = format!("{}{}", input.len(), if signed { "s" } else { "" });
    let cells = layouts.map_or("", |layouts| layouts.kind());
    let registers = if stages == 0 { String::new() } else { format!("_r{stages}") };
    let mut b = Builder::new(format!("{}_products_{lanes}_a{kind}_b{bits}{registers}{cells}", lane.name()));
    b.doc(format!(
        "Sum of {lanes} products, modulo 2^{bits}: of c[k] * count(a_k, w), c = {input:?}, where count is the"
    ));
    b.doc(format!("number of lanes in which {}.", lane.says()));
    b.doc(match stages {
        0 => "Combinational.".to_owned(),
        n => format!("Timing: {n} edges with run later."),
    });
    let planes: Vec<String> = (0..input.len()).map(|k| format!("a_{k}")).collect();
    let mut inputs = vec!["run"; usize::from(stages > 0)];
    inputs.extend(planes.iter().map(String::as_str));
    inputs.extend(&lane.operands()[1..]);
    let width = |name: &str| if name == "run" { (1, Role::Control) } else { (lanes, Role::Data) };
    let own: Vec<Net> = inputs.iter().map(|name| b.input(*name, width(name).0, width(name).1)).collect();
    let (run, own) = own.split_at(usize::from(stages > 0));
    let mut sum = b.constant(bits, 0);
    for (k, c) in input.iter().enumerate() {
        let mut operands = vec![own[k]];
        operands.extend(&own[input.len()..]);
        let hits = lane.value(&mut b, &operands);
        let hits = b.named(format!("hits_{k}"), hits);
        let shift = c.unsigned_abs().trailing_zeros();
        let count = b.popcount_low(hits, (bits - shift).min(bits_for(lanes.into())));
        let zeros = (shift > 0).then(|| b.constant(shift, 0));
        let parts: Vec<Net> = zeros.into_iter().chain([count]).collect();
        let term = b.concat(&parts);
        let term = b.zero_extend(term, bits);
        sum = if *c < 0 { b.sub(sum, term) } else { b.add(sum, term) };
    }
    // The model's registers need not be where the cells have theirs.
    for stage in 0..stages {
        sum = b.registered(&format!("sum_{stage}"), None, run[0], sum);
    }
    let sum = b.named("sum", sum);
    b.output("sum", sum, Role::Data);
    let Some(layouts) = layouts else { return b.finish() };
    b.finish_realised(|model| {
        let placement = layouts.products(lane, lanes, input, (bits, stages));
        let (b, mut own) = like(model, &inputs, &placement.says);
        let run = (stages > 0).then(|| own.remove(0));
        let mut nets = Nets::new(lane, &inputs[usize::from(stages > 0)..], own, run);
        finish(b, &placement, &mut nets, "sum")
    })
}

/// The bit of `table` whose index is `inputs`, the first the least significant: a LUT in a cell's model.
fn lut(b: &mut Builder, table: u64, inputs: &[Net]) -> Net {
    let Some((last, before)) = inputs.split_last() else { return b.constant(1, table & 1) };
    let off = lut(b, table, before);
    let on = lut(b, table >> (1 << before.len()), before);
    b.mux(*last, on, off)
}
