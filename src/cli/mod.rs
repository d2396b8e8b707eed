//! The commands. Results go to standard output, everything else to standard error.
//!
//! May use every room.

mod args;
mod calibrate;
mod check;
mod compile;
mod demo;
mod eval;
mod inspect;
mod run;
mod view;

use std::process::ExitCode;

use args::{Arguments, Command};
use clap::Parser;
use stoxnor_sim::work::{interrupt, prepare_for_interruption};

/// Exit code after SIGINT (Ctrl-C), SIGTERM or SIGHUP.
const INTERRUPTED: i32 = 130;

/// Runs the command that the arguments name. Exit code 0: done, all equal; 1: engines differ; 2: bad input or usage; 3: an
/// external tool is missing or failed; 130: interrupted, with nothing half-written.
pub fn main() -> ExitCode {
    let Arguments { command, common } = Arguments::parse();
    prepare_for_interruption();
    // Where no handler can be set, a signal ends the program as it ends any other.
    let _ = ctrlc::set_handler(|| {
        interrupt();
        std::process::exit(INTERRUPTED);
    });
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
        view::diagnostics(&errors);
        ExitCode::from(errors.exit())
    })
}
