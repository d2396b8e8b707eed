//! `stoxnor calibrate`.

use std::process::ExitCode;

use serde::Serialize;

use crate::calibrate::calibrate;
use crate::cli::args::{Calibrate, Common};
use crate::cli::view;
use crate::data::arrays::{read_frames, write_whole};
use crate::data::hash::sha256;
use crate::data::scale::Scale;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::import::options::MAX_MEMBERS;
use crate::network::Network;

#[derive(Serialize)]
struct Done<'a> {
    out: String,
    sha256: String,
    members: usize,
    frames: usize,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    name: &'a str,
    statistics: usize,
}

pub fn run(arguments: &Calibrate, common: &Common) -> Result<ExitCode> {
    let config = common.config()?;
    let mut options = config.import_options()?;
    if arguments.frames == Some(0) {
        return Err(Diagnostic::new(&CONFIG_VALUE, "no frame is asked for")
            .at("--frames")
            .help("give 1 or more")
            .into());
    }
    if let [members] = common.members[..] {
        if !(1..=MAX_MEMBERS).contains(&members) {
            return Err(Diagnostic::new(&CONFIG_VALUE, format!("{members} members"))
                .at("--members")
                .help(format!("give 1 to {MAX_MEMBERS}"))
                .into());
        }
        (options.sampling.members, options.sampling.max_members) = (None, Some(members));
    } else if !common.members.is_empty() {
        return Err(Diagnostic::new(&CONFIG_VALUE, "several numbers of members")
            .at("--members")
            .help("give one: the most that a frame may have")
            .into());
    }
    let scale = config.input.scale.as_deref().map(Scale::parse).transpose()?;
    let path = &arguments.model.model;
    let bytes = crate::import::bytes(path)?;
    if crate::import::with_statistics(&bytes, &[], None).is_err()
        && crate::import::load_with(path, &options).is_ok()
    {
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "the model keeps tensors in files of their own")
            .at(path.display().to_string())
            .help("save it as one file: onnx.save_model without save_as_external_data")
            .into());
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let progress = common.progress(0);
    let mut count = 0;
    let images = &arguments.images;
    let frames = |network: &Network| {
        let shape = network.entries[0].front.input_shape();
        let frames = read_frames(images, shape.iter().product(), &shape[1..])?;
        count = arguments.frames.unwrap_or(usize::MAX).min(frames.count());
        frames.quantise(network, scale, count)
    };
    let found = calibrate(&name, &bytes, &options, frames, |layer| progress.set_message(layer.to_owned()))
        .map_err(|e| e.placed(&path.display().to_string()))?;
    progress.finish_and_clear();
    write_whole(&arguments.out, &found.bytes)?;
    let layers = found.layers.iter().map(|(name, statistics)| Layer { name, statistics: *statistics });
    let done = Done {
        out: arguments.out.display().to_string(),
        sha256: sha256(&found.bytes),
        members: found.members,
        frames: count,
        layers: layers.collect(),
    };
    if common.json {
        view::json(&done);
        return Ok(ExitCode::SUCCESS);
    }
    view::line(&format!(
        "{} calibrated on {}: {}",
        view::count(done.members, "member"),
        view::count(done.frames, "frame"),
        done.out
    ));
    let rows = done.layers.iter().map(|l| vec![l.name.to_owned(), l.statistics.to_string()]);
    view::table(&["layer", "statistics"], rows);
    Ok(ExitCode::SUCCESS)
}
