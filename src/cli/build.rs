//! `stoxnor build`.

use std::process::ExitCode;

use crate::board::build::build;
use crate::cli::args::{Build, Common};
use crate::cli::view;
use crate::diagnostic::Result;

pub fn run(arguments: &Build, common: &Common) -> Result<ExitCode> {
    let board = arguments.board;
    let (model, folding) = common.model_on_board(&arguments.model.model, board, arguments.fit)?;
    let progress = common.progress(0);
    let built = build(model.network(), model.hardware(), board, &arguments.out, &progress)?;
    if !built.met {
        view::warn(&format!(
            "{} runs at {} MHz, and the design reaches {:.1}: its results may be wrong",
            board.said.title, built.clock_mhz, built.fmax_mhz
        ));
    }
    if common.json {
        view::json(&built);
        return Ok(ExitCode::SUCCESS);
    }
    view::line(&format!(
        "{} in {}: the clock is {} MHz, the design reaches {:.1} ({})",
        built.bitstream,
        arguments.out.display(),
        built.clock_mhz,
        built.fmax_mhz,
        built.tools.join(", ")
    ));
    view::figures(model.figures(), model.network(), Some(built.clock_mhz));
    if let Some(folding) = &folding {
        view::folding(folding);
    }
    view::line(&format!("load it with: {}", built.flash));
    Ok(ExitCode::SUCCESS)
}
