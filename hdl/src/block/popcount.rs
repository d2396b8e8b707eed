//! Popcounts by the cells that they are made of.

use std::sync::Arc;

use super::carry;
use super::lane::{Lane, Registers};
use crate::Module;

/// The cells that a popcount is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Cells {
    /// Any: portable Verilog.
    #[default]
    Portable,
    /// Carry cells of ECP5.
    Ccu2c,
}

impl Cells {
    /// The popcount of `lanes` lanes modulo 2^`bits`, with registers inside if `staged`. Running parities and single lanes are
    /// portable in any case.
    pub fn popcount(self, lane: Lane, lanes: u32, bits: u32, staged: bool) -> Arc<Module> {
        let stages = if staged { self.stages(lane, lanes) } else { 0 };
        match self.serving(lane, lanes) {
            Self::Portable => lane.counting(lanes, bits, Registers::Inside(stages), "").finish(),
            Self::Ccu2c => {
                let model = lane.counting(lanes, bits, Registers::Behind(stages), "_ccu2c");
                model.finish_realised(|model| carry::popcount(lane, (lanes, bits), stages, model))
            }
        }
    }

    /// Registers inside a staged popcount.
    pub fn stages(self, lane: Lane, lanes: u32) -> u32 {
        match self.serving(lane, lanes) {
            Self::Portable => lane.stages(lanes),
            Self::Ccu2c => carry::levels(lanes).saturating_sub(1),
        }
    }

    fn serving(self, lane: Lane, lanes: u32) -> Self {
        if lane == Lane::Parity || lanes < 2 { Self::Portable } else { self }
    }
}
