//! `stoxnor compile`.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::args::{Common, Compile};
use crate::cli::project::Project;
use crate::cli::view;
use crate::data::arrays::read_frames;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::emit;
use crate::emit::bench;
use crate::emit::bench::BenchFrames;
use crate::engine::Figures;

#[derive(Serialize)]
struct Compiled<'a> {
    out: &'a str,
    top: &'a str,
    files: Vec<&'a str>,
    #[serde(flatten)]
    figures: Figures,
}

pub fn run(arguments: &Compile, common: &Common) -> Result<ExitCode> {
    let project = Project::load(&arguments.model.model, common)?;
    if arguments.frames == 0 {
        return Err(Diagnostic::new(&CONFIG_VALUE, "no frame is asked for")
            .at("--frames")
            .help("give 1 or more")
            .into());
    }
    let network = &project.network;
    let frames = match &arguments.input {
        None => bench::random_frames(network, arguments.frames, &common.members),
        Some(path) => {
            let shape = network.front.input_shape();
            let frames = read_frames(path, shape.iter().product(), &shape[1..])?;
            BenchFrames::new(
                network,
                frames.quantise(network, project.scale, arguments.frames)?,
                &common.members,
            )
        }
    };
    let hardware = project.lower();
    let files = emit::files(network, &hardware, project.config_sha256.as_deref(), project.scale, &frames);
    emit::write(&arguments.out, &files, arguments.force)?;
    let figures = Figures::of_schedule(&hardware, hardware.default_members());
    if common.json {
        view::json(&Compiled {
            out: &arguments.out.display().to_string(),
            top: &hardware.design.top.name,
            files: files.keys().map(String::as_str).collect(),
            figures,
        });
    } else {
        view::line(&emit::summary(&arguments.out, &files));
        view::line(&format!(
            "top module {}; how to instantiate it: README.md there; test bench: make -C {}/tb icarus",
            hardware.design.top.name,
            arguments.out.display()
        ));
        view::figures(figures, network, project.clock_mhz);
    }
    Ok(ExitCode::SUCCESS)
}
