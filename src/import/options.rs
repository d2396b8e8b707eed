//! What the user says of stochastic weights and of the ensemble, put over what the file says.

use std::collections::BTreeMap;

use crate::arith::sampling::Realisation;
use crate::arith::stochastic::{Law, Rounding};
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::graph::op::stochastic::{DEFAULT_BITS, DEFAULT_SEED, DEFAULT_SHARE};

/// Members that are built where nobody says and the file is not calibrated.
pub const DEFAULT_MEMBERS: u32 = 16;

/// What the user states about sampling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SamplingOptions {
    /// By the name of a layer, what is said of its weights.
    pub layers: BTreeMap<String, LayerSampling>,
    /// The user's seed.
    pub seed: Option<u64>,
    /// Members of a frame.
    pub members: Option<u32>,
    /// Members that are built.
    pub max_members: Option<u32>,
}

/// What the user says of a layer's weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerSampling {
    /// They are sampled, and to what.
    pub law: Option<Law>,
    /// Random bits of a weight.
    pub bits: Option<u32>,
    /// Rows that share them.
    pub share: Option<usize>,
    /// How hardware holds the members.
    pub realisation: Option<Realisation>,
}

impl SamplingOptions {
    /// The rounding of the weights of layer `name`, and how hardware holds them; nothing where they are not sampled. `told` is what the
    /// file says, `calibrated` whether it holds constants for each member.
    ///
    /// # Errors
    /// Where something is said of weights that are not sampled, or something else than what the file was calibrated for.
    pub(crate) fn of(
        &self,
        name: &str,
        told: Option<Rounding>,
        calibrated: bool,
    ) -> Result<Option<(Rounding, Realisation)>> {
        let said = self.layers.get(name).copied().unwrap_or_default();
        let refuse = |message: String, help: &str| {
            let place = format!("layers.{name}.weights");
            Err(Diagnostic::new(&CONFIG_VALUE, message).at(place).help(help).into())
        };
        let Some(law) = said.law.or(told.map(|t| t.law)) else {
            if said != LayerSampling::default() {
                return refuse(
                    format!("something is said of the sampling of {name}, whose weights are not sampled"),
                    "say what they are sampled to: stochastic = \"ternary\" or \"binary\"",
                );
            }
            return Ok(None);
        };
        let rounding = Rounding {
            law,
            bits: said.bits.or(told.map(|t| t.bits)).unwrap_or(DEFAULT_BITS),
            share: said.share.or(told.map(|t| t.share)).unwrap_or(DEFAULT_SHARE),
            seed: self.seed.or(told.map(|t| t.seed)).unwrap_or(DEFAULT_SEED),
        };
        if calibrated && told != Some(rounding) {
            let told = told.map_or_else(
                || "weights that are not sampled".to_owned(),
                |t| format!("law {}, bits {}, share {}, seed {}", t.law, t.bits, t.share, t.seed),
            );
            return refuse(
                format!("the model's members are calibrated for {told}, and something else is asked for"),
                "leave law, bits, share and seed as they are, or calibrate the model anew",
            );
        }
        Ok(Some((rounding, said.realisation.unwrap_or_default())))
    }

    /// Members of a frame, and members that are built, for a file that is calibrated for so many.
    ///
    /// # Errors
    /// Where more are asked for than there are, or none.
    pub(crate) fn members(&self, calibrated: Option<u32>) -> Result<(u32, u32)> {
        let most = self.max_members.or(calibrated).unwrap_or(DEFAULT_MEMBERS);
        let members = self.members.unwrap_or(most);
        let refuse = |place: &str, message: String, most: u32| {
            Err(Diagnostic::new(&CONFIG_VALUE, message).at(place).help(format!("give 1 to {most}")).into())
        };
        if let Some(calibrated) = calibrated.filter(|c| most > *c) {
            let message = format!("{most} members where the model is calibrated for {calibrated}");
            return refuse("ensemble.max_members", message, calibrated);
        }
        if members > most {
            return refuse("ensemble.members", format!("{members} members where {most} are built"), most);
        }
        Ok((members, most))
    }
}

/// Most members that a file may be calibrated for, and that are built.
pub const MAX_MEMBERS: u32 = 256;

/// What is asked of the layers beside what the graph says.
#[derive(Debug, Clone, Copy)]
pub struct LayerOptions<'a> {
    /// Stochastic weights.
    pub sampling: &'a SamplingOptions,
    /// The file holds constants for each member.
    pub calibrated: bool,
    /// Rows whose activation falls keep their weights.
    pub keep_signs: bool,
    /// The input's quantiser is a layer.
    pub on_chip: Option<OnChip>,
}

/// What the user states about a model beside its file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The type of a real-valued input that the graph leaves unquantised: what enters the first layer is rounded to it.
    /// Graphs that quantise their input themselves don't need it, and it changes nothing there.
    pub input: Option<FixedPoint>,
    /// Stochastic weights and the ensemble of their members.
    pub sampling: SamplingOptions,
    /// The input's quantiser becomes a layer, and hardware takes the integers in front of it.
    pub on_chip: Option<OnChip>,
    /// Rows whose activation falls keep their weights, so that the sums are those of the graph.
    pub keep_signs: bool,
}

/// Signed two's complement fixed point: numbers are rounded half to even to multiples of 2^-`fraction_bits`, and
/// saturate at `bits` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPoint {
    /// Bits in all, 1 to 16.
    pub bits: u32,
    /// How many of them stand behind the point; -64 to 64.
    pub fraction_bits: i32,
}

/// What is known of integers in front of a graph.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OnChip {
    /// They are multiplied with the first number and divided by the second, in float32, before the graph takes them.
    pub scale: Option<(f32, f32)>,
}
