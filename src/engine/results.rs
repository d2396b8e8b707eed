//! The engines by name, the conditions they run under, and what they give.

use crate::network::Network;
use std::fmt;
use std::str::FromStr;

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

    fn from_str(s: &str) -> Result<Self, String> {
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
