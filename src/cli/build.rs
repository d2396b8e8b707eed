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
    if let (Some(false), Some(fmax)) = (built.met, built.fmax_mhz) {
        view::warn(&format!(
            "{} runs at {} MHz, and the design reaches {fmax:.1}: its results may be wrong",
            board.said.title, built.clock_mhz
        ));
    }
    if common.json {
        view::json(&built);
        return Ok(ExitCode::SUCCESS);
    }
    let out = arguments.out.display();
    view::line(&match (&built.bitstream, built.fmax_mhz) {
        (Some(bitstream), Some(fmax)) => format!(
            "{bitstream} in {out}: the clock is {} MHz, the design reaches {fmax:.1} ({})",
            built.clock_mhz,
            built.tools.join(", ")
        ),
        _ => format!(
            "Verilog, pins and a script for the vendor's tool in {out}: no open tool routes {}",
            board.part.name
        ),
    });
    view::figures(model.figures(), model.network(), Some(built.clock_mhz));
    if let Some(folding) = &folding {
        view::folding(folding);
    }
    let what = if built.bitstream.is_some() { "load it with" } else { "make and load the bitstream with" };
    view::line(&format!("{what}: {}", built.flash));
    Ok(ExitCode::SUCCESS)
}
