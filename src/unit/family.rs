//! FPGA families: how long their paths take, and the pipeline registers that a clock needs.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stoxnor_hdl::Module;
use stoxnor_hdl::placing::in_block_ram;

use crate::schedule::Stalls;
use crate::unit::folding::{Counting, Cuts, Roms};

/// Bits of a written memory from which it asks for block RAM on iCE40. Devices have 176 (up5k) to 240 (hx8k) logic cells for each
/// block RAM; in TFC_1W1A a bit took 2.7 to 4.4 cells, so 48 bits take 130 or more.
const BLOCK_RAM_BITS: u64 = 48;

/// An FPGA family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Any family; the delays are those of `ecp5`.
    #[default]
    Generic,
    /// Lattice iCE40; the delays are those of the slow `UltraPlus` devices.
    Ice40,
    /// Lattice ECP5.
    Ecp5,
    /// Gowin LittleBee and Arora.
    Gowin,
    /// Xilinx 7-series.
    Xilinx7,
}

/// Delays in ns, each with the routing behind it.
struct Delays {
    /// From the clock to the output of a block RAM without output register.
    memory: f64,
    /// From the clock to the output of a register.
    register: f64,
    /// One LUT, with the setup of the register behind it.
    lut: f64,
    /// One level of adders in a popcount.
    level: f64,
    /// An adder or a comparison of whole sums.
    sum: f64,
}

/// The lengths of the paths of a layer's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    /// Lanes of a popcount; `None` without a matrix unit.
    pub lanes: Option<usize>,
    /// Whether the popcount is laid out in the family's cells.
    pub carry: bool,
    /// Pairs of an input plane and a weight plane, whose popcounts are added.
    pub pairs: usize,
    /// Thresholds of a row.
    pub thresholds: usize,
    /// Whether levels are searched for.
    pub search: bool,
}

/// Levels of a balanced tree of `n` operands.
fn levels(n: usize) -> f64 {
    f64::from(n.max(1).next_power_of_two().trailing_zeros())
}

impl FromStr for Family {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|family| family.name() == s);
        found.ok_or_else(|| format!("no family is called {s}; there are {}", all()))
    }
}

impl Family {
    /// All families.
    pub const ALL: [Self; 5] = [Self::Generic, Self::Ice40, Self::Ecp5, Self::Gowin, Self::Xilinx7];

    /// The name in configuration and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Ice40 => "ice40",
            Self::Ecp5 => "ecp5",
            Self::Gowin => "gowin",
            Self::Xilinx7 => "xilinx7",
        }
    }

    /// The form of matrix units in cells of the family, and the fewest lanes for which it is taken to pay.
    pub fn form(self) -> Option<(Counting, usize)> {
        match self {
            Self::Ecp5 => Some((Counting::Carry, 8)),
            Self::Xilinx7 => Some((Counting::Slice, 4)),
            Self::Generic | Self::Ice40 | Self::Gowin => None,
        }
    }

    /// A design with its memories where the family has room for them. iCE40 has no memories in LUTs: what is not in block RAM is
    /// flip-flops, decoders and multiplexers.
    pub fn placed(self, top: &Arc<Module>) -> Arc<Module> {
        match self {
            Self::Ice40 => in_block_ram(top, BLOCK_RAM_BITS),
            Self::Generic | Self::Ecp5 | Self::Gowin | Self::Xilinx7 => Arc::clone(top),
        }
    }

    /// How read-only memories become block RAM.
    pub fn roms(self) -> Roms {
        if self == Self::Ecp5 { Roms::Ecp5 } else { Roms::Inferred }
    }

    /// Fitted to routed networks of this project: ECP5-25 speed 6, up5k and GW1NR-9 (nextpnr); Xilinx by its data sheet, unrouted.
    fn delays(self) -> Delays {
        match self {
            Self::Generic | Self::Ecp5 | Self::Gowin => {
                Delays { memory: 5.8, register: 0.5, lut: 1.5, level: 1.6, sum: 2.5 }
            }
            Self::Ice40 => Delays { memory: 5.0, register: 1.4, lut: 3.5, level: 4.7, sum: 4.0 },
            Self::Xilinx7 => Delays { memory: 2.5, register: 0.5, lut: 0.8, level: 1.0, sum: 1.2 },
        }
    }

    /// The longest path in ns between two registers of a unit.
    fn longest(self, paths: Paths, cuts: Cuts) -> f64 {
        let Delays { memory, register, lut, level, sum } = self.delays();
        let from = if cuts.has(Cuts::Words) { register } else { memory };
        let counted = if paths.thresholds > 1 { levels(paths.thresholds) * level } else { 0.0 };
        let compared = match cuts.has(Cuts::Counts) {
            // The bit that a comparison finds is a part of the next address.
            _ if paths.search => from + sum + lut,
            true => (from + sum).max(register + counted),
            false => from + sum + counted,
        };
        // From the stall to the enable of a counter, through the stream register and the handshake where it is no flip-flop.
        let handshake = match cuts.stalls() {
            Stalls::Blocked => 5.0,
            Stalls::Full => 3.0,
        };
        let compared = compared.max(register + handshake * lut);
        let Some(lanes) = paths.lanes else { return compared };
        // A level of carry cells goes into a chain and out of it again, and has a register behind it. In slices the pairs of a segment,
        // or two levels of counters, are between two registers: both as long as three levels.
        let (level, together) = match (paths.carry, self) {
            (false, _) if cuts.has(Cuts::Levels) => (level, 2.0),
            (false, _) => (level, 3.0),
            (true, Self::Xilinx7) => (sum, 3.0),
            (true, _) => (sum, 1.0),
        };
        let (tree, planes) = (lut + levels(lanes) * level, levels(paths.pairs) * sum);
        let products = match cuts {
            Cuts::Fewest | Cuts::Words => from + tree + planes + sum,
            Cuts::Counts => (from + tree).max(register + planes + sum),
            Cuts::Trees | Cuts::Levels => register + lut + levels(lanes).min(together) * level,
        };
        // Clock to output of a block RAM; of ECP5's with its output register, where there is one.
        let memory = if self.roms() == Roms::Ecp5 { from } else { memory };
        products.max(compared).max(memory)
    }

    /// The fewest registers with which a unit reaches a clock in MHz, as far as any do.
    pub fn cuts(self, clock_mhz: f64, paths: Paths) -> Cuts {
        let enough = |cuts: &Cuts| self.longest(paths, *cuts) * clock_mhz <= 1e3;
        let best = Cuts::ALL.map(|cuts| self.longest(paths, cuts)).into_iter().fold(f64::INFINITY, f64::min);
        let least = |cuts: &Cuts| self.longest(paths, *cuts) <= best;
        Cuts::ALL.into_iter().find(enough).or_else(|| Cuts::ALL.into_iter().find(least)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(family: Family, clock: f64, lanes: usize) -> Cuts {
        family.cuts(clock, Paths { lanes: Some(lanes), carry: false, pairs: 1, thresholds: 1, search: false })
    }

    #[test]
    fn a_higher_clock_needs_more_registers() {
        let of = |clock| cuts(Family::Ecp5, clock, 64);
        assert_eq!([20.0, 60.0, 80.0, 120.0, 180.0].map(of), Cuts::ALL);
        assert_eq!(of(1000.0), Cuts::Levels, "out of reach: all that help");
    }

    #[test]
    fn narrow_and_fast_units_need_fewer() {
        assert_eq!(cuts(Family::Generic, 100.0, 1), Cuts::Fewest);
        assert_eq!(cuts(Family::Generic, 100.0, 4), Cuts::Words);
        assert_eq!(cuts(Family::Generic, 100.0, 64), Cuts::Trees);
        assert!(cuts(Family::Xilinx7, 100.0, 16) < cuts(Family::Ice40, 100.0, 16));
        assert_eq!(cuts(Family::Ice40, 1000.0, 1), Cuts::Counts, "a tree of one lane has no register inside");
    }

    #[test]
    fn a_channel_unit_counts_its_thresholds() {
        let of = |clock, thresholds, search| {
            let paths = Paths { lanes: None, carry: false, pairs: 1, thresholds, search };
            Family::Generic.cuts(clock, paths)
        };
        assert_eq!([1, 3, 255].map(|n| of(100.0, n, false)), [Cuts::Fewest, Cuts::Words, Cuts::Counts]);
        assert_eq!([100.0, 110.0].map(|clock| of(clock, 255, true)), [Cuts::Fewest, Cuts::Words]);
    }
}
