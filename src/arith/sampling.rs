//! How weights are sampled for the members of an ensemble.

use std::fmt::Debug;

use crate::arith::stochastic::Rounding;

/// What belongs to a member, of a list that holds one for all members or one for each.
pub(crate) fn of_member<T>(list: &[T], member: usize) -> &T {
    if list.len() == 1 { &list[0] } else { &list[member] }
}

/// How a layer's weights are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sampling {
    /// The rounding of its real weights.
    #[serde(flatten)]
    pub rounding: Rounding,
    /// How hardware holds the members.
    pub realisation: Realisation,
}

/// How hardware holds the members of stochastic weights. All give the same weights, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Realisation {
    /// The real weights, rounded as they are used.
    #[default]
    Fly,
    /// The real weights, rounded once a member into one half of a memory while the other half is used.
    Sampled,
    /// The members themselves.
    Stored,
}
