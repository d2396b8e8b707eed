//! `stoxnor check`.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::args::{Check, Common};
use crate::cli::{inputs, view};
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::engine::wave;

/// Exit code if engines differ.
pub const DIFFERENT: u8 = 1;

pub fn run(arguments: &Check, common: &Common) -> Result<ExitCode> {
    if arguments.frames == Some(0) {
        return Err(Diagnostic::new(&CONFIG_VALUE, "no frame is asked for")
            .at("--frames")
            .help("give 1 or more")
            .into());
    }
    let model = common.model(&arguments.model.model)?;
    let network = model.network();
    let input = inputs::read(&model, &arguments.input)?;
    let count = arguments.frames.unwrap_or(usize::MAX).min(input.count());
    let frames = model.quantised(&input, count)?;
    let conditions = model.conditions(arguments.stall);
    let progress = common.progress((count * arguments.engines.len()) as u64);
    let report = model.check_quantised(&frames, &arguments.engines, &conditions, &progress)?;
    progress.finish_and_clear();
    let wave = arguments.wave.as_ref().map(|directory| {
        wave::write(
            directory,
            network,
            model.hardware(),
            &frames,
            &conditions,
            report.first_difference.as_ref(),
        )
    });
    let wave = wave.transpose()?;
    if common.json {
        view::json(&report);
    } else {
        view::report(&report, model.folds(), network, model.clock_mhz());
    }
    if let Some(path) = wave {
        // An informational message; a closed standard error is ignored.
        let _ = writeln!(std::io::stderr(), "waveform: {}", path.display());
    }
    Ok(if report.equal { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
