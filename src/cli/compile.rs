//! `stoxnor compile`.

use std::process::ExitCode;

use serde::Serialize;

use super::args::{Common, Compile};
use super::{Project, view};
use crate::diagnostic::Result;
use crate::emit;
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
    let hardware = project.lower();
    let files = emit::files(&project.network, &hardware, project.config_sha256.as_deref());
    emit::write(&arguments.out, &files, arguments.force)?;
    let figures = Figures::of_schedule(&hardware);
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
            "top module {}; how to instantiate it: README.md there",
            hardware.design.top.name
        ));
        view::figures(figures);
    }
    Ok(ExitCode::SUCCESS)
}
