//! `stoxnor run`.

use std::process::ExitCode;

use serde::Serialize;

use super::args::{Common, Run};
use super::{Project, view};
use crate::data::{read_frames, write_npy};
use crate::diagnostic::{Diagnostic, Result, SIMULATION_STUCK};
use crate::engine::{self, Conditions, Engine};

#[derive(Serialize)]
struct Done {
    engine: Engine,
    frames: usize,
    output_shape: Vec<usize>,
}

pub fn run(arguments: &Run, common: &Common) -> Result<ExitCode> {
    let project = Project::load(&arguments.model.model, common)?;
    let network = &project.network;
    let shape = network.front.input_shape();
    let frames = read_frames(&arguments.input, shape.iter().product(), &shape[1..])?;
    let quantised = frames.quantise(network, project.scale, frames.count())?;
    let elements = network.output().elements();
    let progress = common.progress(frames.count() as u64);
    let sums: Vec<i64> = if arguments.engine == Engine::Fast {
        let values = engine::sums(network, &quantised).into_iter().flatten();
        values.map(i64::from).collect()
    } else {
        let hardware = project.lower();
        let results =
            engine::run(arguments.engine, network, &hardware, &quantised, Conditions::default(), &progress)?;
        results.last().map_or_else(Vec::new, |b| b.values.iter().map(|v| i64::from(*v)).collect())
    };
    progress.finish_and_clear();
    if sums.len() != elements * frames.count() {
        let message =
            format!("{} of {} frames came out before the cycle limit", sums.len() / elements, frames.count());
        return Err(Diagnostic::new(&SIMULATION_STUCK, message)
            .at(format!("engine {}", arguments.engine))
            .help("`stoxnor check` with this engine shows where it stands still")
            .into());
    }
    let outputs = sums.chunks(elements).map(|sums| network.finish(sums, 1)).collect::<Result<Vec<_>>>()?;
    let mut output_shape = vec![frames.count()];
    output_shape.extend(network.tail.output_shape().iter().skip(1));
    write_npy(&arguments.output, &output_shape, &outputs.concat())?;
    if let Some(path) = &arguments.sums {
        write_npy(path, &[frames.count(), elements], &sums)?;
    }
    let done = Done { engine: arguments.engine, frames: frames.count(), output_shape };
    if common.json {
        view::json(&done);
    } else {
        view::line(&format!(
            "{} by {}: {:?} in {}",
            view::count(done.frames, "frame"),
            done.engine,
            done.output_shape,
            arguments.output.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
