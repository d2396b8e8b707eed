//! The conditions that engines run under, and what they give.

use crate::network::Network;

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
