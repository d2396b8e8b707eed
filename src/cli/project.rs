//! A model on its way to hardware, with the choices of configuration and command line.

use std::path::Path;

use args::Common;

use crate::cli::args;
use crate::config::{Config, EnsembleConfig};
use crate::data::scale::Scale;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::engine::results::Conditions;
use crate::import;
use crate::lower::{Hardware, lower};
use crate::network::Network;
use crate::unit::folding::Folding;

/// A model on its way to hardware, with the choices of configuration and command line.
pub struct Project {
    pub network: Network,
    pub folds: Vec<Folding>,
    pub scale: Option<Scale>,
    pub clock_mhz: Option<f64>,
    pub config_sha256: Option<String>,
    /// Members of the frames, in turn; the network's own number where the command line says nothing.
    pub members: Vec<u32>,
}

impl Project {
    pub fn load(model: &Path, common: &Common) -> Result<Self> {
        // A mistake in the configuration is told before a large model is read.
        let (config, config_sha256) = common.config()?;
        let network = import::load_with(model, &config.import_options()?)?;
        Self::new(network, &config, config_sha256, &common.members)
    }

    pub fn new(
        mut network: Network,
        config: &Config,
        config_sha256: Option<String>,
        members: &[u32],
    ) -> Result<Self> {
        let members = members_of(&mut network, config, members)?;
        let folds = config.foldings(&network)?;
        let scale = config.input.scale.as_deref().map(Scale::parse).transpose()?;
        Ok(Self { network, folds, scale, clock_mhz: config.target.clock_mhz, config_sha256, members })
    }

    pub fn lower(&self) -> Hardware {
        lower(&self.network, &self.folds)
    }

    pub fn conditions(&self, stall: Option<u64>) -> Conditions {
        Conditions { stall, members: self.members.clone() }
    }
}

/// The members that frames have in turn. The first number becomes the network's own, which figures are said for.
///
/// # Errors
/// Where more are asked for than are built, or none; or something is said of members where nothing is sampled.
pub fn members_of(network: &mut Network, config: &Config, asked: &[u32]) -> Result<Vec<u32>> {
    let refuse = |message: String, place: &str, help: String| {
        Err(Diagnostic::new(&CONFIG_VALUE, message).at(place).help(help).into())
    };
    let Some(ensemble) = &mut network.ensemble else {
        let none = "no layer is sampled, so there are no members";
        let help = "state it for a layer, [layers.l1_dense] weights = { stochastic = \"ternary\" }, or leave this out";
        if config.ensemble != EnsembleConfig::default() {
            return refuse(none.to_owned(), "ensemble", help.to_owned());
        }
        if asked.iter().any(|m| *m != 1) {
            return refuse(none.to_owned(), "--members", help.to_owned());
        }
        return Ok(Vec::new());
    };
    if let Some(members) = asked.iter().find(|m| !(1..=ensemble.max_members).contains(*m)) {
        let most = ensemble.max_members;
        let message = format!("{members} members where {most} are built");
        let help = format!("give 1 to {most}; [ensemble] max_members builds more");
        return refuse(message, "--members", help);
    }
    ensemble.members = asked.first().copied().unwrap_or(ensemble.members);
    Ok(if asked.is_empty() { vec![ensemble.members] } else { asked.to_vec() })
}
