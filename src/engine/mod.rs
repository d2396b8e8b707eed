//! Engines: five implementations that compute the same integers, with measurement, comparison and waveforms.
//!
//! May use: `network`, `lower`, `stoxnor-sim`. Used by: `emit`, the commands.

pub mod answers;
pub mod compare;
mod measure;
pub mod results;
mod simulators;
mod software;
pub mod wave;

use std::fmt;
use std::str::FromStr;

use indicatif::ProgressBar;

use crate::diagnostic::Result;
use crate::engine::simulators::Simulation;
use crate::lower::Hardware;
use crate::network::{Exit, Network};

pub use measure::{Figures, measure, passes_slowly};
pub use results::{Boundary, Conditions, Results};
pub use simulators::{cycle_limit, entry_beats, frames_to_beats, stimulus, verilator};

/// An engine: one implementation of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Plain integer arithmetic, layer by layer: the reference.
    Reference,
    /// Packed 64-bit words, many frames at once.
    Fast,
    /// Cycle-accurate simulation of the modules.
    Rtl,
    /// The emitted Verilog, simulated by Verilator.
    Verilator,
    /// The emitted Verilog, simulated by Icarus Verilog.
    Icarus,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 5] = [Self::Reference, Self::Fast, Self::Rtl, Self::Verilator, Self::Icarus];

    /// Whether the engine counts cycles.
    pub fn has_cycles(self) -> bool {
        matches!(self, Self::Rtl | Self::Verilator | Self::Icarus)
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Fast => "fast",
            Self::Rtl => "rtl",
            Self::Verilator => "verilator",
            Self::Icarus => "icarus",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let all = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|e| e.name() == s)
            .ok_or_else(|| format!("no engine is called {s}; there are {}", all()))
    }
}

/// Runs one engine on frames of input integers. A frame holds those of all inputs, one input after another.
///
/// A simulation that deadlocks is not an error here: its results are incomplete, and a comparison shows where.
///
/// # Errors
/// If an external tool is missing or fails.
pub fn run(
    engine: Engine,
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    conditions: &Conditions,
    progress: &ProgressBar,
) -> Result<Results> {
    progress.set_message(engine.name());
    let members = conditions.members(network, frames.len());
    let simulation = Simulation { network, hardware, frames, conditions, progress };
    match engine {
        Engine::Reference => Ok(software::reference(network, frames, &members, progress)),
        Engine::Fast => Ok(software::fast(network, frames, &members, progress)),
        Engine::Rtl => simulation.rtl(),
        Engine::Verilator => simulation.verilator(),
        Engine::Icarus => simulation.icarus(),
    }
}

/// The integers of all exits for each frame, concatenated and summed over the frame's members. A frame is incomplete if the
/// engine's results are.
pub fn integers(network: &Network, results: &Results, members: &[u32]) -> Vec<Vec<i64>> {
    let layers = network.nodes.len();
    let summed = || network.exits.iter().filter(|exit| exit.summed);
    let of = |frame: usize, exit: &Exit| -> Vec<i64> {
        let at = summed().position(|other| other.layer == exit.layer);
        let boundary = &results[at.map_or(exit.layer, |at| layers + at)];
        let own = boundary.values.chunks(exit.port.elements()).nth(frame).unwrap_or_default();
        let times = if exit.summed { 1 } else { i64::from(members[frame]) };
        own.iter().map(|v| i64::from(*v) * times).collect()
    };
    (0..members.len()).map(|frame| network.exits.iter().flat_map(|exit| of(frame, exit)).collect()).collect()
}

/// The outputs at every boundary by the reference engine; `members` are the numbers of members of the frames.
pub fn reference(network: &Network, frames: &[Vec<i32>], members: &[u32]) -> Results {
    software::reference(network, frames, members, &ProgressBar::hidden())
}

/// The integers of all exits for each frame, summed over the network's default number of members; by the fast engine.
pub fn sums(network: &Network, frames: &[Vec<i32>]) -> Vec<Vec<i32>> {
    software::fast_sums(network, frames, &[network.members()]).remove(0)
}

/// For each number in `members`, the integers of all exits for each frame, summed over that many members; by the fast engine in a
/// single pass, for whole data sets.
pub fn sums_at(network: &Network, frames: &[Vec<i32>], members: &[u32]) -> Vec<Vec<Vec<i32>>> {
    software::fast_sums(network, frames, members)
}
