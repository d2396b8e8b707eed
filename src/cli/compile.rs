//! `stoxnor compile`.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::args::{Common, Compile};
use crate::cli::{inputs, view};
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::emit;
use crate::engine::Figures;
use crate::synth::estimate::Estimate;
use crate::synth::fold::Found;

#[derive(Serialize)]
struct Compiled<'a> {
    out: &'a str,
    top: &'a str,
    files: Vec<&'a str>,
    #[serde(flatten)]
    figures: Figures,
    #[serde(flatten)]
    estimate: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folding: Option<Found>,
}

pub fn run(arguments: &Compile, common: &Common) -> Result<ExitCode> {
    let (model, folding) = common.model_on(&arguments.model.model, &arguments.target)?;
    if arguments.frames == 0 {
        return Err(Diagnostic::new(&CONFIG_VALUE, "no frame is asked for")
            .at("--frames")
            .help("give 1 or more")
            .into());
    }
    let given = &arguments.input;
    let input = if given.is_empty() { None } else { Some(inputs::read(&model, given)?) };
    let frames = model.bench_frames(input.as_ref(), arguments.frames, &common.members)?;
    let files = model.files(&frames, arguments.wrap);
    emit::write(&arguments.out, &files, arguments.force)?;
    let hardware = model.hardware();
    let figures = model.figures();
    let estimate = arguments.target.part.map(|part| Estimate::new(model.network(), hardware, part));
    if common.json {
        view::json(&Compiled {
            out: &arguments.out.display().to_string(),
            top: &hardware.design.top.name,
            files: files.keys().map(String::as_str).collect(),
            figures,
            estimate,
            folding,
        });
    } else {
        view::line(&emit::summary(&arguments.out, &files));
        view::line(&format!(
            "top module {}; how to instantiate it: README.md there; test bench: make -C {}/tb icarus",
            hardware.design.top.name,
            arguments.out.display()
        ));
        view::figures(figures, model.network(), model.clock_mhz());
        if let Some(estimate) = &estimate {
            view::estimate(estimate);
        }
        if let Some(folding) = &folding {
            view::folding(folding);
        }
    }
    Ok(ExitCode::SUCCESS)
}
