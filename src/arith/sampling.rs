//! The sampling of stochastic weights for the members of an ensemble.

use std::fmt::Debug;

use crate::arith::stochastic::Rounding;

/// A member's entry of a list that has one entry for all members, or one per member.
pub(crate) fn of_member<T>(list: &[T], member: usize) -> &T {
    if list.len() == 1 { &list[0] } else { &list[member] }
}

/// The sampling of a layer's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sampling {
    /// The stochastic rounding of the real weights.
    #[serde(flatten)]
    pub rounding: Rounding,
    /// The layer's number in the order of seeds.
    #[serde(skip)]
    pub layer: u64,
    /// How the hardware realises the members.
    pub realisation: Realisation,
}

/// How the hardware realises the members of stochastic weights. All realisations give bit-identical weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Realisation {
    /// On the fly: the real weights are stored, and rounded whenever they are used.
    #[default]
    Fly,
    /// The real weights are stored, and rounded once per member into one half of a double buffer while the other half is used.
    Sampled,
    /// The rounded weights of every member are stored.
    Stored,
}

impl Realisation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fly, Self::Sampled, Self::Stored];
}
