//! The commands. Results go to standard output, everything else to standard error.
//!
//! May use every room.

mod args;
mod build;
mod calibrate;
mod check;
mod compile;
mod demo;
mod eval;
mod host;
mod inputs;
mod inspect;
mod run;
mod synth;
mod view;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use args::{Arguments, Command};
use clap::Parser;
use stoxnor_sim::work::{interrupt, prepare_for_interruption};

use crate::diagnostic::{Diagnostic, INTERNAL_ERROR, Result};

/// Exit code after SIGINT (Ctrl-C), SIGTERM or SIGHUP.
const INTERRUPTED: i32 = 130;

/// Runs the command that the arguments name. Exit codes: 0 for success (all engines equal), 1 if engines differ, 2 for bad input
/// or usage, 3 if an external tool is missing or failed, 70 for a fault of stoxnor itself, 130 if interrupted. No incomplete files
/// remain.
pub fn main() -> ExitCode {
    let Arguments { command, common } = Arguments::parse();
    prepare_for_interruption();
    // If no handler can be set, a signal ends the program in the default way.
    let _ = ctrlc::set_handler(|| {
        interrupt();
        std::process::exit(INTERRUPTED);
    });
    let done = guarded(|| match &command {
        Command::Demo => demo::run(&common),
        Command::Inspect(arguments) => inspect::run(arguments, &common),
        Command::Compile(arguments) => compile::run(arguments, &common),
        Command::Run(arguments) => run::run(arguments, &common),
        Command::Check(arguments) => check::run(arguments, &common),
        Command::Eval(arguments) => eval::run(arguments, &common),
        Command::Calibrate(arguments) => calibrate::run(arguments, &common),
        Command::Synth(arguments) => synth::run(arguments, &common),
        Command::Build(arguments) => build::run(arguments, &common),
        Command::Host(arguments) => host::run(arguments, &common),
    });
    done.unwrap_or_else(|errors| {
        view::diagnostics(&errors);
        ExitCode::from(errors.exit())
    })
}

/// Runs a command. A panic becomes a diagnostic that asks for a report; directories that were begun are removed on its way.
fn guarded(command: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    static PLACE: Mutex<Option<String>> = Mutex::new(None);
    let place = || PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| *place() = info.location().map(ToString::to_string)));
    let done = panic::catch_unwind(AssertUnwindSafe(command));
    panic::set_hook(before);
    done.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let version = env!("CARGO_PKG_VERSION");
        Err(Diagnostic::new(&INTERNAL_ERROR, format!("stoxnor {version} itself is at fault: {text}"))
            .at(place().take().unwrap_or_default())
            .help("please report this message, the command line, and the model if you may share it")
            .into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_diagnostic_that_asks_for_a_report() {
        let found = guarded(|| panic!("{} beats where 4 are due", 3)).unwrap_err();
        assert_eq!(found.exit(), 70);
        let one = &found.list()[0];
        assert!(one.message.contains("3 beats where 4 are due"), "{one}");
        assert!(one.at.as_ref().is_some_and(|at| at.contains("src/cli/mod.rs")), "{one}");
        assert!(one.help.as_ref().is_some_and(|help| help.contains("report")), "{one}");
        assert_eq!(guarded(|| Ok(ExitCode::SUCCESS)).unwrap(), ExitCode::SUCCESS);
    }
}
