//! The commands. Results go to standard output, everything else to standard error.

mod args;
mod calibrate;
mod check;
mod compile;
mod demo;
mod eval;
mod inspect;
mod run;
mod view;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use annotate_snippets::{Group, Level, Origin, Renderer};
use clap::Parser;

use crate::config::{Config, EnsembleConfig, Scale};
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Diagnostics, Result};
use crate::engine::Conditions;
use crate::fold::Folding;
use crate::import;
use crate::lower::{Hardware, lower};
use crate::network::Network;
use args::{Arguments, Command, Common};

/// Runs the command that the arguments name. Exit code 0: done, all equal; 1: engines differ; 2: bad input or usage; 3: an
/// external tool is missing or failed.
pub fn main() -> ExitCode {
    let Arguments { command, common } = Arguments::parse();
    let done = match command {
        Command::Demo => demo::run(&common),
        Command::Inspect(arguments) => inspect::run(&arguments, &common),
        Command::Compile(arguments) => compile::run(&arguments, &common),
        Command::Run(arguments) => run::run(&arguments, &common),
        Command::Check(arguments) => check::run(&arguments, &common),
        Command::Eval(arguments) => eval::run(&arguments, &common),
        Command::Calibrate(arguments) => calibrate::run(&arguments, &common),
    };
    done.unwrap_or_else(|errors| {
        report(&errors);
        ExitCode::from(errors.exit())
    })
}

fn report(errors: &Diagnostics) {
    let renderer = if std::io::stderr().is_terminal() { Renderer::styled() } else { Renderer::plain() };
    let mut list = errors.list().iter().peekable();
    while let Some(diagnostic) = list.next() {
        let title = Level::ERROR.primary_title(&diagnostic.message).id(diagnostic.code.word);
        let mut group = Group::with_title(title);
        if let Some(place) = &diagnostic.at {
            group = group.element(Origin::path(place));
        }
        // One way out of many mistakes in a row is said once, after the last.
        let repeated = list.peek().is_some_and(|next| next.help == diagnostic.help);
        if let Some(help) = diagnostic.help.as_ref().filter(|_| !repeated) {
            group = group.element(Level::HELP.message(help));
        }
        // A standard error that is gone takes nothing away but these words: the exit code says it too.
        let _ = writeln!(std::io::stderr(), "{}\n", renderer.render(&[group]));
    }
}

/// A model on its way to hardware, with the choices of configuration and command line.
struct Project {
    network: Network,
    folds: Vec<Folding>,
    scale: Option<Scale>,
    clock_mhz: Option<f64>,
    config_sha256: Option<String>,
    /// Members of the frames, in turn; the network's own number where the command line says nothing.
    members: Vec<u32>,
}

impl Project {
    fn load(model: &Path, common: &Common) -> Result<Self> {
        // A mistake in the configuration is told before a large model is read.
        let (config, config_sha256) = common.config()?;
        let network = import::load_with(model, &config.import_options()?)?;
        Self::new(network, &config, config_sha256, &common.members)
    }

    fn new(
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

    fn lower(&self) -> Hardware {
        lower(&self.network, &self.folds)
    }

    fn conditions(&self, stall: Option<u64>) -> Conditions {
        Conditions { stall, members: self.members.clone() }
    }
}

/// The members that frames have in turn. The first number becomes the network's own, which figures are said for.
///
/// # Errors
/// Where more are asked for than are built, or none; or something is said of members where nothing is sampled.
fn members_of(network: &mut Network, config: &Config, asked: &[u32]) -> Result<Vec<u32>> {
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
