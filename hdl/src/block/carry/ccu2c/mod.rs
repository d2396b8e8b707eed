//! Carry cells of ECP5.
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

use super::nets::{Addend, Node};
use super::{Layouts, NextSum, Placement};
use crate::block::lane::Lane;
use layout::{Half, Layout, Number};

/// Layouts in CCU2C.
pub(super) struct Ccu2c;

/// Lanes whose numbers are added one after another, before the sums meet in a tree.
const GROUP: u32 = 4;

/// The fewest bits of inputs that are added as numbers: below, popcounts of planes are smaller.
const NUMBER_BITS: usize = 3;

/// Levels of adders of a popcount of `lanes` lanes.
fn levels(lanes: u32) -> u32 {
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

impl Layouts for Ccu2c {
    fn kind(&self) -> &'static str {
        "_ccu2c"
    }

    fn stages(&self, _: Lane, lanes: u32) -> u32 {
        levels(lanes).saturating_sub(1)
    }

    fn leaves_one(&self, lanes: u32) -> bool {
        lanes > 3 && levels(lanes - 1) < levels(lanes)
    }

    fn popcount(&self, lane: Lane, (lanes, bits): (u32, u32), stages: u32) -> Placement {
        let mut layout = Layout::new(bits, stages);
        let of = |at: u32| lane.addend(0, 1, at);
        let count = layout.count(&of, 0, lanes);
        let outputs = layout.chains(&count);
        let says = "Chains of carry cells, level by level: adders of two numbers and of one lane, the carry that they begin with.";
        Placement { cells: Box::new(layout), outputs, says: says.to_owned() }
    }

    fn adds(&self, planes: usize) -> bool {
        planes >= NUMBER_BITS
    }

    fn product_stages(&self, _: Lane, lanes: u32, _: &[i64]) -> u32 {
        product_levels(lanes).saturating_sub(1)
    }

    fn products(&self, lane: Lane, lanes: u32, input: &[i64], (bits, stages): (u32, u32)) -> Placement {
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
        let top = if range.0 < 0 { outputs[outputs.len() - 1].clone() } else { Node::Constant(false) };
        outputs.resize(bits as usize, top);
        let says = format!(
            "Adders in carry cells: {GROUP} lanes one after another, then a tree. A number is a_k ~^ w in all planes, masked where lanes are."
        );
        Placement { cells: Box::new(layout), outputs, says }
    }

    fn next_sum(&self, next: NextSum) -> Placement {
        let begins = next.carry().map(|carry| Half::load(&Addend::net(carry)));
        let first = usize::from(begins.is_some());
        let half = |bit: u32| Half::add(&next.added(bit), &next.before(bit));
        let cells = Box::new(Layout::of(begins.into_iter().chain((0..next.bits).map(half)).collect()));
        let outputs = (first..first + next.bits as usize).map(Node::Sum).collect();
        Placement {
            cells,
            outputs,
            says: "A chain of carry cells, each of which selects and adds.".to_owned(),
        }
    }
}
