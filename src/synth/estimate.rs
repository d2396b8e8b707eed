//! What a network takes of a part, estimated without a tool.

use serde::Serialize;

use crate::area::{Area, Cells};
use crate::lower::Hardware;
use crate::network::Network;
use crate::synth::part::{Part, Room};

/// The estimate for a part.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// The part's name.
    pub part: &'static str,
    /// All cells.
    pub estimate: Cells,
    /// What the part has.
    pub available: Room,
    /// Whether LUTs, flip-flops and block RAMs are enough.
    pub fits: bool,
    /// Parts of the family that have enough, where this one has not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_fit: Vec<&'static str>,
    /// The cells of each layer, with the FIFOs and converters in front of it; `-` stands for what belongs to none.
    #[serde(rename = "estimates")]
    pub layers: Vec<Row>,
}

/// The cells of a layer.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its cells.
    #[serde(flatten)]
    pub cells: Cells,
}

impl Estimate {
    /// Estimates a network's hardware on a part.
    pub fn new(network: &Network, hardware: &Hardware, part: &Part) -> Self {
        let nodes: Vec<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
        let Area { cells, layers } = Area::estimate(&hardware.design.top, &nodes, part.family);
        let fits = part.room.holds(&cells);
        let others = Part::ALL.iter().filter(|other| other.family == part.family && other.room.holds(&cells));
        Self {
            part: part.name,
            estimate: cells,
            available: part.room,
            fits,
            would_fit: others.filter(|_| !fits).map(|other| other.name).collect(),
            layers: layers.into_iter().map(|(name, cells)| Row { name, cells }).collect(),
        }
    }

    /// What is too much, and what to do about it; `None` where the network fits.
    pub fn warning(&self) -> Option<String> {
        if self.fits {
            return None;
        }
        let Cells { ff, ram, .. } = self.estimate;
        let larger = match &self.would_fit[..] {
            [] => "no larger part of the family would hold it".to_owned(),
            parts => format!("{} would hold it", parts.join(", ")),
        };
        Some(format!(
            "the network will not fit {}: it takes about {} of {} LUTs, memories in LUTs included, {ff} of {} flip-flops and {ram} of {} block RAMs; {larger}; \
             --fit finds a folding that fits, where there is one",
            self.part,
            self.estimate.luts(),
            self.available.lut,
            self.available.ff,
            self.available.ram
        ))
    }
}
