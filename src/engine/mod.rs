//! The engines: five ways to compute the same integers.

mod cycle;
mod measure;
mod software;

use std::fmt;
use std::str::FromStr;

use indicatif::ProgressBar;

pub use cycle::{cycle_limit, frames_to_beats, stimulus, verilator};
pub use measure::{Figures, measure, passes_slowly};

use crate::diagnostic::Result;
use crate::lower::Hardware;
use crate::network::{Exit, Network};

/// One way to compute the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Plain integer Rust, layer by layer.
    Reference,
    /// Packed words, many frames at once.
    Fast,
    /// The modules, cycle by cycle.
    Rtl,
    /// The emitted Verilog in Verilator.
    Verilator,
    /// The emitted Verilog in Icarus.
    Icarus,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 5] = [Self::Reference, Self::Fast, Self::Rtl, Self::Verilator, Self::Icarus];

    /// Whether it counts cycles.
    pub fn has_cycles(self) -> bool {
        matches!(self, Self::Rtl | Self::Verilator | Self::Icarus)
    }

    /// Its name on the command line.
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

/// How engines are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Seed of the stall patterns of the source and the sink; without it neither stalls.
    pub stall: Option<u64>,
    /// Members of an ensemble for each frame, from the start again where there are more frames; the network's own number where
    /// nothing is given.
    pub members: Vec<u32>,
}

impl Conditions {
    /// Stalled or not, with the network's own number of members.
    pub fn stalled(stall: Option<u64>) -> Self {
        Self { stall, ..Self::default() }
    }

    /// Members of each of `frames` frames.
    pub fn members(&self, network: &Network, frames: usize) -> Vec<u32> {
        if self.members.is_empty() {
            return vec![network.members(); frames];
        }
        self.members.iter().copied().cycle().take(frames).collect()
    }

    /// The number of members that figures are measured at: that of the first frame.
    pub fn first_members(&self, network: &Network) -> u32 {
        self.members.first().copied().unwrap_or(network.members())
    }
}

/// What an engine gives at one boundary: the output of a layer, or the sums over the members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundary {
    /// The elements of all frames, one frame after another, where it passes once for each member one member after another. Shorter
    /// than that where a simulation got stuck.
    pub values: Vec<i32>,
    /// For each beat the cycle at which it was accepted, where the engine counts cycles.
    pub cycles: Option<Vec<u64>>,
}

/// What an engine gives: one entry a layer, and one for each exit whose integers are summed over the members of an ensemble.
pub type Results = Vec<Boundary>;

/// Runs one engine on frames of input integers.
///
/// A simulation that gets stuck is not an error here: its results are short, and a comparison shows where.
///
/// # Errors
/// Where an external tool is missing or fails.
pub fn run(
    engine: Engine,
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    conditions: &Conditions,
    progress: &ProgressBar,
) -> Result<Results> {
    progress.set_message(engine.name());
    match engine {
        Engine::Reference => {
            Ok(software::reference(network, frames, &conditions.members(network, frames.len()), progress))
        }
        Engine::Fast => {
            Ok(software::fast(network, frames, &conditions.members(network, frames.len()), progress))
        }
        Engine::Rtl | Engine::Verilator | Engine::Icarus => {
            cycle::run(engine, network, hardware, frames, conditions, progress)
        }
    }
}

/// The integers of all exits for each frame, one exit after another, summed over its members, out of what an engine gave; shorter where
/// that is.
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

/// Every boundary by the reference, for frames of these numbers of members.
pub fn reference(network: &Network, frames: &[Vec<i32>], members: &[u32]) -> Results {
    software::reference(network, frames, members, &ProgressBar::hidden())
}

/// The integers of all exits for every frame, by the fast engine, summed over the network's own number of members.
pub fn sums(network: &Network, frames: &[Vec<i32>]) -> Vec<Vec<i32>> {
    software::fast_sums(network, frames, &[network.members()]).remove(0)
}

/// For each of several numbers of members the sums of all exits over them, for every frame, by the fast engine in one pass: what whole
/// data sets are run with.
pub fn sums_at(network: &Network, frames: &[Vec<i32>], members: &[u32]) -> Vec<Vec<Vec<i32>>> {
    software::fast_sums(network, frames, members)
}
