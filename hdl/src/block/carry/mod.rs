//! Popcounts, sums of products and accumulators in carry cells of ECP5: the operation of most lanes sits in the cell that adds them.
//!
//! A half of a cell adds two bits and the carry, and its LUT computes each of the two from the operands of a lane. So a lane costs
//! no LUT of its own.
//!
//! The cells between two registers of a popcount are one chain. Between two adders, a half loads the carry of the next one with a
//! lane and gives the carry of the last one as its sum. An adder counts one lane by its incoming carry and splits the others
//! between its operands, down to single lanes: n levels of adders count 2^(n+1) - 1 lanes.
//!
//! Inputs of several bits are numbers: (x ~^ w) & active is x, -1 - x or 0 in every bit plane at once. Such numbers are added as they
//! are, four lanes one after another and these sums in a tree, each adder a chain of its own.

mod cell;
mod layout;

use std::sync::Arc;

use super::lane::Lane;
use crate::{Builder, Module, Net, Role, bits_for};
use layout::{Addend, Half, Layout, Nets, Node, Number};

/// Lanes whose numbers are added one after another, before the sums meet in a tree.
const GROUP: u32 = 4;

/// Levels of adders of a popcount of `lanes` lanes.
pub(super) fn levels(lanes: u32) -> u32 {
    match lanes {
        0 | 1 => 0,
        2 | 3 => 1,
        more => 1 + levels(more / 2),
    }
}

/// Levels of adders of a sum of the products of `lanes` lanes.
fn product_levels(lanes: u32) -> u32 {
    lanes.min(GROUP) - 1 + lanes.div_ceil(GROUP).next_power_of_two().trailing_zeros()
}

/// A module in construction with the documentation of `model`, and its inputs.
fn like(model: &Module, inputs: &[&str]) -> (Builder, Vec<Net>) {
    let mut b = Builder::new(model.name.clone());
    model.doc.iter().for_each(|line| b.doc(line.clone()));
    let input = |name: &&str| {
        let port = model.port(name).expect("a port of the model");
        b.input(*name, model.width(port.net), port.role)
    };
    let inputs = inputs.iter().map(input).collect();
    (b, inputs)
}

/// Finishes a module whose output is called `name`.
fn finish(mut b: Builder, layout: &mut Layout, nets: &mut Nets, name: &str, outputs: &[Node]) -> Arc<Module> {
    layout.cells(&mut b, nets, outputs);
    let bits: Vec<Net> = outputs.iter().map(|node| nets.get(&mut b, node)).collect();
    let output = b.concat(&bits);
    let output = b.named(name, output);
    b.output(name, output, Role::Data);
    b.finish()
}

/// The popcount `model` in cells: of `lanes` lanes modulo 2^`bits`, with `stages` registers between operands and count.
pub(super) fn popcount(lane: Lane, (lanes, bits): (u32, u32), stages: u32, model: &Module) -> Arc<Module> {
    let mut layout = Layout::new(bits, stages);
    let of = |lane_index: u32| lane.addend(0, 1, lane_index);
    let count = layout.count(&of, 0, lanes);
    let outputs = layout.chains(&count);
    let mut inputs = vec!["run"; usize::from(stages > 0)];
    inputs.extend(lane.operands());
    let (mut b, mut own) = like(model, &inputs);
    b.doc("Chains of carry cells, level by level: adders of two numbers and of one lane, the carry that they begin with.");
    let run = (stages > 0).then(|| own.remove(0));
    let mut nets = Nets::new(lane, lane.operands(), own, run);
    finish(b, &mut layout, &mut nets, "count", &outputs)
}

/// The sum over all lanes of products of numbers and weights, in cells, modulo 2^`bits`: the sum of `input[k]` times the popcount of
/// input plane k. The planes are those of an unsigned or a two's complement number, `lane` is an XNOR (or an XOR) of a plane and the
/// weights, masked or not. With registers if `staged`: [`product_stages`].
///
/// Ports `run` (with registers), `a_0`, `a_1`, ..., `w`, `active` (masked lanes) and `sum`.
pub fn products(lane: Lane, lanes: u32, input: &[i64], bits: u32, staged: bool) -> Arc<Module> {
    let stages = if staged { product_stages(lanes) } else { 0 };
    let signed = input.iter().any(|c| *c < 0);
    let kind = format!("{}{}", input.len(), if signed { "s" } else { "" });
    let registers = if stages == 0 { String::new() } else { format!("_r{stages}") };
    let mut b = Builder::new(format!("{}_products_{lanes}_a{kind}_b{bits}{registers}_ccu2c", lane.name()));
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
    b.finish_realised(|model| {
        let mut layout = Layout::new(bits, stages);
        let range = input.iter().fold((0, 0), |(low, high), c| (low + c.min(&0), high + c.max(&0)));
        let number = |at: u32| {
            let bits = (0..input.len()).map(|k| lane.addend(k, input.len(), at)).collect();
            Number { bits, range, level: 0 }
        };
        let mut sums: Vec<Number> = (0..lanes)
            .step_by(GROUP as usize)
            .map(|low| {
                let more = low + 1..(low + GROUP).min(lanes);
                more.fold(number(low), |sum, at| layout.add(sum, number(at)))
            })
            .collect();
        while sums.len() > 1 {
            let mut pairs = Vec::new();
            let mut rest = sums.into_iter();
            while let Some(one) = rest.next() {
                pairs.push(match rest.next() {
                    Some(other) => layout.add(one, other),
                    None => one,
                });
            }
            sums = pairs;
        }
        let sum = sums.pop().expect("a lane");
        let mut outputs = layout.chains(&sum);
        let top = if signed { outputs[outputs.len() - 1].clone() } else { Node::Zero };
        outputs.resize(bits as usize, top);
        let (mut b, mut own) = like(model, &inputs);
        b.doc(format!(
            "Adders in carry cells: {GROUP} lanes one after another, then a tree. A number is a_k ~^ w in all planes, masked where lanes are."
        ));
        let run = (stages > 0).then(|| own.remove(0));
        let mut nets = Nets::new(lane, &inputs[usize::from(stages > 0)..], own, run);
        finish(b, &mut layout, &mut nets, "sum", &outputs)
    })
}

/// Registers of [`products`] of so many lanes.
pub fn product_stages(lanes: u32) -> u32 {
    product_levels(lanes).saturating_sub(1)
}

/// The next value of an accumulator of `bits` bits, in cells: `(first ? start : sum) + addend`, where `start` is 0 unless `starts`.
/// Combinational; ports `first`, `start`, `sum`, `addend` of `addend` bits, and `next`.
pub fn next_sum(bits: u32, addend: u32, starts: bool) -> Arc<Module> {
    let kind = if starts { "_start" } else { "" };
    let mut b = Builder::new(format!("next_sum_b{bits}_a{addend}{kind}_ccu2c"));
    let start = if starts { "start" } else { "0" };
    b.doc(format!("next = (first ? {start} : sum) + addend, modulo 2^{bits}. Combinational."));
    let ports = |b: &mut Builder| {
        let mut ports = vec![b.input("first", 1, Role::Control)];
        ports.extend(starts.then(|| b.input("start", bits, Role::Data)));
        ports.extend([b.input("sum", bits, Role::Data), b.input("addend", addend, Role::Data)]);
        ports
    };
    let own = ports(&mut b);
    let start = if starts { own[1] } else { b.constant(bits, 0) };
    let before = b.mux(own[0], start, own[own.len() - 2]);
    let wide = b.zero_extend(own[own.len() - 1], bits);
    let next = b.add(before, wide);
    let next = b.named("next", next);
    b.output("next", next, Role::Data);
    let mut names = vec!["first"];
    names.extend(starts.then_some("start"));
    names.extend(["sum", "addend"]);
    b.finish_realised(|model| {
        let (mut b, operands) = like(model, &names);
        b.doc("A chain of carry cells, each of which selects and adds.");
        let (sum, last) = (operands.len() - 2, operands.len() - 1);
        let half = |bit: u32| {
            let added = if bit < addend { Addend::net(Node::Operand(last, bit)) } else { Addend::zero() };
            let (first, kept) = (Node::Operand(0, 0), Node::Operand(sum, bit));
            let kept = match starts {
                // start, sum, first: first ? start : sum.
                true => Addend { of: vec![Node::Operand(1, bit), kept, first], table: 0xac },
                // sum, first: sum & ~first.
                false => Addend { of: vec![kept, first], table: 0b0010 },
            };
            Half::add(&added, &kept)
        };
        let mut layout = Layout::of((0..bits).map(half).collect());
        let mut nets = Nets::new(Lane::One, &names, operands, None);
        let outputs: Vec<Node> = (0..bits as usize).map(Node::Sum).collect();
        finish(b, &mut layout, &mut nets, "next", &outputs)
    })
}
