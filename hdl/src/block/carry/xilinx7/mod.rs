//! Slices of Xilinx' 7-series: LUTs of two outputs, and carry cells.
//!
//! A LUT6_2 has two functions of five inputs: the sum and the carry of two lanes of two operands each and of one more bit, the sum of
//! the lanes before. So a pair of lanes costs one LUT and leaves one bit of weight 2. Two lanes of three operands fit a LUT too, if its
//! functions are the propagation and the generation of a carry cell's bit, in which the one more bit comes as the carry.
//!
//! Bits of equal weight are counted six at a time, by two LUTs and two bits of a carry cell, until there are three or fewer in every
//! column. The last adder has three operands: a LUT a bit.
//!
//! Inputs of several bits are planes whose lanes begin in columns of their own, so that all planes share counters and adder.

mod cell;
mod heap;

use super::nets::{Addend, Node};
use super::{Layouts, NextSum, Placement};
use crate::bits_for;
use crate::block::lane::Lane;
use heap::Heap;

/// Layouts in LUT6_2 and CARRY4.
pub(super) struct Xilinx7;

/// The bits of the sum of a popcount.
fn lanes_of(lane: Lane, lanes: u32, bits: u32, stages: u32) -> Heap {
    let mut heap = Heap::new(bits, stages);
    let lanes: Vec<Addend> = (0..lanes).map(|at| lane.addend(0, 1, at)).collect();
    heap.count(&lanes, 0);
    heap
}

/// The bits of a sum of products.
fn planes_of(lane: Lane, lanes: u32, input: &[i64], (bits, stages): (u32, u32)) -> Heap {
    let mut heap = Heap::new(bits, stages);
    for (k, c) in input.iter().enumerate() {
        let column = c.unsigned_abs().trailing_zeros();
        let mut own: Vec<Addend> = (0..lanes).map(|at| lane.addend(k, input.len(), at)).collect();
        if *c < 0 {
            // -x is (1 - x) - 1.
            for lane in &mut own {
                let all = u8::MAX >> (8 - (1 << lane.of.len()));
                lane.table ^= all;
            }
            let less = (u64::from(lanes) << column).wrapping_neg();
            let ones = (0..bits).filter(|bit| less >> (*bit).min(63) & 1 == 1);
            ones.for_each(|bit| heap.push(bit as usize, Node::Constant(true)));
        }
        heap.count(&own, column as usize);
    }
    heap
}

impl Layouts for Xilinx7 {
    fn kind(&self) -> &'static str {
        "_xilinx7"
    }

    fn stages(&self, lane: Lane, lanes: u32) -> u32 {
        lanes_of(lane, lanes, bits_for(lanes.into()), 0).registers_needed()
    }

    fn popcount(&self, lane: Lane, (lanes, bits): (u32, u32), stages: u32) -> Placement {
        let mut heap = lanes_of(lane, lanes, bits.min(bits_for(lanes.into())), stages);
        let outputs = heap.sum();
        let says = "LUTs add pairs of lanes and the sum of the pair before, counters take six bits of a column, the last adder three.";
        Placement { cells: Box::new(heap), outputs, says: says.to_owned() }
    }

    fn adds(&self, planes: usize) -> bool {
        planes > 1
    }

    fn product_stages(&self, lane: Lane, lanes: u32, input: &[i64]) -> u32 {
        let bits = bits_for(lanes.into()) + input.len() as u32 + 1;
        planes_of(lane, lanes, input, (bits, 0)).registers_needed()
    }

    fn products(&self, lane: Lane, lanes: u32, input: &[i64], size: (u32, u32)) -> Placement {
        let mut heap = planes_of(lane, lanes, input, size);
        let outputs = heap.sum();
        let says = "LUTs add pairs of lanes of each plane, counters take six bits of a column, the last adder three. A negative plane is added as its complement.";
        Placement { cells: Box::new(heap), outputs, says: says.to_owned() }
    }

    fn next_sum(&self, next: NextSum) -> Placement {
        let mut heap = Heap::new(next.bits, 0);
        let bit = |bit: u32| {
            let (added, before) = (next.added(bit), next.before(bit));
            let own = added.of.len();
            let inputs = [added.of.clone(), before.of.clone()].concat();
            let sum = |bits: u32| added.value(bits as u16) ^ before.value((bits >> own) as u16);
            let five = |bits: u32| added.value(bits as u16);
            let (sum, five) = heap.lut(&inputs, &sum, Some(&five));
            (sum, (own > 0).then_some(five))
        };
        let bits: Vec<_> = (0..next.bits).map(bit).collect();
        let (outputs, _) = heap.chain(next.carry(), &bits);
        let says = "A chain of carry cells, each bit behind a LUT that selects and adds.".to_owned();
        Placement { cells: Box::new(heap), outputs, says }
    }
}
