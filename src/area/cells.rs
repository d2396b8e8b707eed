//! Numbers of cells, and what the tools' libraries call the cells.

use std::ops::AddAssign;

use serde::Serialize;

use crate::unit::family::Family;

/// Numbers of cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cells {
    /// LUTs: of 4 inputs, of 6 on Xilinx. A CCU2C counts as two, a Gowin ALU and a Xilinx shift register as one; memories in LUTs
    /// are not counted.
    pub lut: u64,
    /// Flip-flops.
    pub ff: u64,
    /// Carry cells.
    pub carry: u64,
    /// Memories in LUTs, of four LUTs each.
    pub lut_ram: u64,
    /// Block RAMs: of 4 kbit on iCE40, 18 kbit elsewhere.
    pub ram: u64,
    /// Multipliers.
    pub dsp: u64,
}

impl AddAssign for Cells {
    fn add_assign(&mut self, other: Self) {
        let Self { lut, ff, carry, lut_ram, ram, dsp } = other;
        self.lut += lut;
        self.ff += ff;
        self.carry += carry;
        self.lut_ram += lut_ram;
        self.ram += ram;
        self.dsp += dsp;
    }
}

/// Names of block RAMs, as others in [`Cells::add`], in yosys' techlibs/{ice40,ecp5,gowin,xilinx}/cells_sim.v.
const BLOCK_RAMS: &[&str] =
    &["DP16KD", "PDPW16KD", "SB_RAM40", "SPX9", "SDPX9", "SDPB", "SP", "DPB", "DPX9", "pROM", "RAMB18"];
/// LUTs that a memory in LUTs takes.
const LUTS_OF_RAM: u64 = 4;

impl Cells {
    /// LUTs with those that are memories.
    pub fn luts(&self) -> u64 {
        self.lut + LUTS_OF_RAM * self.lut_ram
    }

    /// Counts a cell of a family's library.
    pub(crate) fn add(&mut self, kind: &str, family: Family) {
        let begins = |with: &[&str]| with.iter().any(|with| kind.starts_with(with));
        if begins(BLOCK_RAMS) {
            self.ram += 1;
        } else if begins(&["RAMB36"]) {
            self.ram += 2;
        } else if begins(&["TRELLIS_DPR16X4", "RAM16S", "RAM32", "RAM64"]) {
            self.lut_ram += 1;
        } else if begins(&["LUT", "SB_LUT4", "INV", "SRL"]) {
            self.lut += 1;
        } else if begins(&["CCU2C", "ALU", "CARRY4", "SB_CARRY"]) {
            self.carry += 1;
            self.lut += match family {
                Family::Ecp5 => 2,
                Family::Gowin => 1,
                Family::Generic | Family::Ice40 | Family::Xilinx7 => 0,
            };
        } else if begins(&["SB_DFF", "TRELLIS_FF", "DFF", "FDRE", "FDSE", "FDCE", "FDPE"]) {
            self.ff += 1;
        } else if begins(&["MULT", "SB_MAC16", "DSP48"]) {
            self.dsp += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tools' netlists call their cells, and what each counts.
    #[test]
    fn every_family_counts_its_cells() {
        let of = |family: Family, kinds: &[&str]| {
            let mut cells = Cells::default();
            kinds.iter().for_each(|kind| cells.add(kind, family));
            let Cells { lut, ff, carry, lut_ram, ram, dsp } = cells;
            [lut, ff, carry, lut_ram, ram, dsp]
        };
        let ice40 = ["SB_LUT4", "SB_DFFESR", "SB_CARRY", "SB_RAM40_4K", "SB_MAC16", "SB_GB"];
        assert_eq!(of(Family::Ice40, &ice40), [1, 1, 1, 0, 1, 1]);
        let ecp5 = ["LUT4", "TRELLIS_FF", "CCU2C", "TRELLIS_DPR16X4", "DP16KD", "MULT18X18D"];
        assert_eq!(of(Family::Ecp5, &ecp5), [3, 1, 1, 1, 1, 1]);
        let gowin = ["LUT3", "DFFRE", "ALU", "RAM16SDP4", "SDPX9B", "MULT18X18"];
        assert_eq!(of(Family::Gowin, &gowin), [2, 1, 1, 1, 1, 1]);
        let xilinx = ["LUT6_2", "FDRE", "CARRY4", "RAM32M", "RAMB36E1", "DSP48E1", "SRL16E", "MUXF7"];
        assert_eq!(of(Family::Xilinx7, &xilinx), [2, 1, 1, 1, 2, 1]);
    }
}
