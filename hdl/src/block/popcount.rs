//! Popcounts by the cells that they are made of.

use std::sync::Arc;

use super::carry::{self, Layouts, NextSum};
use super::lane::Lane;
use crate::Module;

/// The cells that a popcount is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Cells {
    /// Any: portable Verilog.
    #[default]
    Portable,
    /// Carry cells of ECP5.
    Ccu2c,
    /// LUTs of two outputs and carry cells of Xilinx' 7-series.
    Xilinx7,
}

impl Cells {
    /// All cells.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Ccu2c, Self::Xilinx7];

    /// The popcount of `lanes` lanes modulo 2^`bits`, with a register behind every `levels` levels inside (none for 0). A family's
    /// cells have as many as their layout asks for. Running parities and single lanes are portable in any case.
    pub fn popcount(self, lane: Lane, lanes: u32, bits: u32, levels: u32) -> Arc<Module> {
        match self.layouts(lane, lanes) {
            None => lane.popcount_in_stages(lanes, bits, levels),
            Some(layouts) => carry::popcount(layouts, lane, (lanes, bits), self.stages(lane, lanes, levels)),
        }
    }

    /// Registers inside such a popcount.
    pub fn stages(self, lane: Lane, lanes: u32, levels: u32) -> u32 {
        match self.layouts(lane, lanes) {
            None => lane.stages(lanes, levels),
            Some(_) if levels == 0 => 0,
            Some(layouts) => layouts.stages(lane, lanes),
        }
    }

    /// Whether `lanes` inputs of so many planes are added as numbers ([`products`](Self::products)), in place of the counts of their
    /// planes.
    pub fn adds(self, lane: Lane, lanes: u32, planes: usize) -> bool {
        self.layouts(lane, lanes).is_some_and(|layouts| layouts.adds(planes))
    }

    /// The sum over all lanes of products of numbers and weights, modulo 2^`bits`: the sum of `input[k]` times the popcount of input
    /// plane k. The planes are those of an unsigned or a two's complement number, `lane` is an XNOR (or an XOR) of a plane and the
    /// weights, masked or not. With registers if `staged`: [`product_stages`](Self::product_stages).
    ///
    /// Ports `run` (with registers), `a_0`, `a_1`, ..., `w`, `active` (masked lanes) and `sum`.
    pub fn products(self, lane: Lane, lanes: u32, input: &[i64], bits: u32, staged: bool) -> Arc<Module> {
        let stages = if staged { self.product_stages(lane, lanes, input) } else { 0 };
        carry::products(self.layouts(lane, lanes), lane, lanes, input, (bits, stages))
    }

    /// Registers of a staged sum of products.
    pub fn product_stages(self, lane: Lane, lanes: u32, input: &[i64]) -> u32 {
        self.layouts(lane, lanes).map_or(0, |layouts| layouts.product_stages(lane, lanes, input))
    }

    /// Whether the last of `lanes` lanes is better added by the accumulator behind a popcount of the others.
    pub fn leaves_one(self, lane: Lane, lanes: u32) -> bool {
        self.layouts(lane, lanes).is_some_and(|layouts| layouts.leaves_one(lanes))
    }

    /// The next value of an accumulator of `bits` bits: `(first ? start : sum) + addend + carry`, where `start` is 0 unless `starts`,
    /// and `carry` is 0 unless `carries`. Combinational; ports `first`, `start`, `sum`, `addend` of `addend` bits, `carry`, and `next`.
    pub fn next_sum(self, bits: u32, addend: u32, starts: bool, carries: bool) -> Arc<Module> {
        NextSum { bits, addend, starts, carries }.build(carry::layouts(self))
    }

    /// The end of the names of modules that have such cells.
    pub(super) fn kind(self) -> &'static str {
        carry::layouts(self).map_or("", Layouts::kind)
    }

    fn layouts(self, lane: Lane, lanes: u32) -> Option<&'static dyn Layouts> {
        carry::layouts(self).filter(|_| lane != Lane::Parity && lanes > 1)
    }
}
