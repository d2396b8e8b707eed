//! The commands. Results go to standard output, everything else to standard error.

mod args;
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

use crate::config::{Config, Scale};
use crate::diagnostic::{Diagnostics, Result};
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
}

impl Project {
    fn load(model: &Path, common: &Common) -> Result<Self> {
        // A mistake in the configuration is told before a large model is read.
        let (config, config_sha256) = common.config()?;
        Self::new(import::load_with(model, &config.import_options()?)?, &config, config_sha256)
    }

    fn new(network: Network, config: &Config, config_sha256: Option<String>) -> Result<Self> {
        let folds = config.foldings(&network)?;
        let scale = config.input.scale.as_deref().map(Scale::parse).transpose()?;
        Ok(Self { network, folds, scale, clock_mhz: config.target.clock_mhz, config_sha256 })
    }

    fn lower(&self) -> Hardware {
        lower(&self.network, &self.folds)
    }
}
