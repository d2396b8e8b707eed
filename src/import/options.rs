//! The user's settings for stochastic weights and the ensemble. They override those of the file.

use std::collections::BTreeMap;

use crate::arith::sampling::Realisation;
use crate::arith::stochastic::{Law, Rounding};
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::graph::op::stochastic::{DEFAULT_BITS, DEFAULT_SEED, DEFAULT_SHARE};

/// The default of `max_members` for a model that is not calibrated.
pub const DEFAULT_MEMBERS: u32 = 16;

/// The user's settings for stochastic weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SamplingOptions {
    /// Settings of the weights of a layer, by layer name.
    pub layers: BTreeMap<String, LayerSampling>,
    /// The seed of the pseudo-random generators.
    pub seed: Option<u64>,
    /// Members per frame, the number of samples that are averaged.
    pub members: Option<u32>,
    /// The number of members that the hardware supports.
    pub max_members: Option<u32>,
}

/// The user's settings for the stochastic weights of one layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerSampling {
    /// The sampling law: the values that weights are rounded to. `None` takes the file's.
    pub law: Option<Law>,
    /// Random bits per weight.
    pub bits: Option<u32>,
    /// The number of rows that share random bits.
    pub share: Option<usize>,
    /// How the hardware realises the members.
    pub realisation: Option<Realisation>,
}

impl SamplingOptions {
    /// The rounding and the realisation of the weights of layer `name`; `None` if its weights are deterministic. `told` is the
    /// file's rounding, `calibrated` says whether the file has constants for each member.
    ///
    /// # Errors
    /// If settings are given for deterministic weights, or settings differ from those that the file was calibrated for.
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

    /// Members per frame and max_members, for a file that is calibrated for `calibrated` members.
    ///
    /// # Errors
    /// If max_members exceeds `calibrated`, or members exceed max_members.
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
            return refuse(
                "ensemble.members",
                format!("{members} members, and the hardware supports {most} (max_members)"),
                most,
            );
        }
        Ok((members, most))
    }
}

/// The upper bound of max_members, and of the members that a file may be calibrated for.
pub const MAX_MEMBERS: u32 = 256;

/// Options of the layer passes.
#[derive(Debug, Clone, Copy)]
pub struct LayerOptions<'a> {
    /// The user's settings for stochastic weights.
    pub sampling: &'a SamplingOptions,
    /// Whether the file has constants for each member.
    pub calibrated: bool,
    /// Rows with a decreasing activation keep their weights.
    pub keep_signs: bool,
    /// The input quantiser becomes a layer.
    pub on_chip: Option<OnChip>,
}

/// The user's settings for the import of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The fixed-point type of a real-valued input that the graph does not quantise: the first layer's input is rounded to it. It
    /// has no effect on a graph that quantises its own input.
    pub input: Option<FixedPoint>,
    /// Stochastic weights and the ensemble.
    pub sampling: SamplingOptions,
    /// The input quantiser becomes a layer, and the input of the hardware is the integers before it.
    pub on_chip: Option<OnChip>,
    /// Rows with a decreasing activation keep their weights, so that a layer's sums equal the graph's. By default such weights
    /// are negated.
    pub keep_signs: bool,
}

/// A signed two's complement fixed-point type. Numbers are rounded half to even to multiples of 2^-`fraction_bits` and saturate
/// at `bits` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPoint {
    /// Total number of bits, 1 to 16.
    pub bits: u32,
    /// Number of fraction bits, -64 to 64.
    pub fraction_bits: i32,
}

/// Options of an input quantiser in hardware.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OnChip {
    /// Scale p/q of the integer input: the graph's input is the integer times `p`, divided by `q`, in float32.
    pub scale: Option<(f32, f32)>,
}
