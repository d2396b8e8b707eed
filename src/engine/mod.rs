//! Engines: five ways to compute the same integers, measured, compared, and shown as waves.
//!
//! May use: `network`, `lower`, `stoxnor-sim`. Used by: `emit`, the commands.

pub mod answers;
pub mod compare;
mod measure;
pub mod results;
mod simulators;
mod software;
pub mod wave;

use indicatif::ProgressBar;

use crate::diagnostic::Result;
use crate::lower::Hardware;
use crate::network::{Exit, Network};

pub use measure::{Figures, measure, passes_slowly};
pub use results::{Boundary, Conditions, Engine, Results};
pub use simulators::{cycle_limit, frames_to_beats, stimulus, verilator};

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
            simulators::run(engine, network, hardware, frames, conditions, progress)
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
