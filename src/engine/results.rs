//! The conditions and the results of engine runs.

use crate::network::Network;

/// The conditions of an engine run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Seed of the stall patterns of source and sinks; `None` means no stalls.
    pub stall: Option<u64>,
    /// Members of each frame, used cyclically. If it is empty, every frame has the network's default number.
    pub members: Vec<u32>,
}

impl Conditions {
    /// Conditions with the stall seed `stall` and the network's default number of members.
    pub fn stalled(stall: Option<u64>) -> Self {
        Self { stall, ..Self::default() }
    }

    /// The number of members of each of `frames` frames.
    pub fn members(&self, network: &Network, frames: usize) -> Vec<u32> {
        if self.members.is_empty() {
            return vec![network.members(); frames];
        }
        self.members.iter().copied().cycle().take(frames).collect()
    }

    /// The number of members for latency and interval: that of the first frame.
    pub fn first_members(&self, network: &Network) -> u32 {
        self.members.first().copied().unwrap_or(network.members())
    }
}

/// An engine's results at one boundary: the output of a layer, or a sum over the members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundary {
    /// The elements of all frames, concatenated; if frames pass once per member, ordered by frame, then member. Incomplete if a
    /// simulation deadlocked.
    pub values: Vec<i32>,
    /// The cycle at which each beat was accepted, if the engine counts cycles.
    pub cycles: Option<Vec<u64>>,
}

/// The results of an engine: one entry per layer, then one per exit that is summed over the members.
pub type Results = Vec<Boundary>;
