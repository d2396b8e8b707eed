//! `stoxnor run`.

use std::process::ExitCode;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use super::args::{Common, Run};
use super::{Project, view};
use crate::data::{Frames, read_frames, write_npy};
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
    let progress = common.progress(frames.count() as u64);
    let members = project.conditions(None).members(network, frames.count());
    let (sums, outputs) = outputs(&project, &frames, &members, arguments.engine, &progress)?;
    progress.finish_and_clear();
    let mut output_shape = vec![frames.count()];
    output_shape.extend(network.tail.output_shape().iter().skip(1));
    write_npy(&arguments.output, &output_shape, &outputs.concat())?;
    if let Some(path) = &arguments.sums {
        write_npy(path, &[frames.count(), network.output().elements()], &sums)?;
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

/// The last layer's integers, summed over the members of each frame, one frame after another; and for each frame the graph's outputs.
pub fn outputs(
    project: &Project,
    frames: &Frames,
    members: &[u32],
    engine: Engine,
    progress: &ProgressBar,
) -> Result<(Vec<i64>, Vec<Vec<f32>>)> {
    let network = &project.network;
    let quantised = frames.quantise(network, project.scale, frames.count())?;
    let elements = network.output().elements();
    let sums: Vec<i64> = if engine == Engine::Fast {
        let mut distinct = members.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let sums = engine::sums_at(network, &quantised, &distinct);
        let of = |(frame, m): (usize, &u32)| distinct.binary_search(m).map(|at| &sums[at][frame]);
        members.iter().enumerate().flat_map(of).flatten().map(|v| i64::from(*v)).collect()
    } else {
        let hardware = project.lower();
        let conditions = Conditions { stall: None, members: members.to_vec() };
        let results = engine::run(engine, network, &hardware, &quantised, &conditions, progress)?;
        results.last().map_or_else(Vec::new, |b| b.values.iter().map(|v| i64::from(*v)).collect())
    };
    if sums.len() != elements * frames.count() {
        let message =
            format!("{} of {} frames came out before the cycle limit", sums.len() / elements, frames.count());
        return Err(Diagnostic::new(&SIMULATION_STUCK, message)
            .at(format!("engine {engine}"))
            .help("`stoxnor check` with this engine shows where it stands still")
            .into());
    }
    let finish = |(sums, members): (&[i64], &u32)| network.finish(sums, *members);
    let outputs = sums.par_chunks(elements).zip(members).map(finish).collect::<Result<Vec<_>>>()?;
    Ok((sums, outputs))
}
