//! `stoxnor run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use crate::cli::args::{Common, Run};
use crate::cli::project::Project;
use crate::cli::view;
use crate::data::arrays::{Frames, read_frames, write_npy};
use crate::diagnostic::{Diagnostic, Result, SIMULATION_STUCK};
use crate::engine;
use crate::engine::results::{Conditions, Engine};
use crate::network::{Network, Output};

#[derive(Serialize)]
struct Done {
    engine: Engine,
    frames: usize,
    /// Of the first output.
    output_shape: Vec<usize>,
    outputs: Vec<Written>,
}

/// An output and its file.
#[derive(Serialize)]
struct Written {
    name: String,
    file: PathBuf,
    shape: Vec<usize>,
}

/// The file of output `index`: as it is given for the first one, with the output's name before the extension for others, and their
/// numbers too where two names would make the same file.
fn file_of(given: &Path, index: usize, outputs: &[Output]) -> PathBuf {
    if index == 0 {
        return given.to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let name = |output: &Output| output.name.chars().map(plain).collect::<String>();
    let own = name(&outputs[index]);
    let distinct: BTreeSet<String> = outputs[1..].iter().map(name).collect();
    let number = if distinct.len() + 1 < outputs.len() { format!("_{index}") } else { String::new() };
    let extension = given.extension().unwrap_or_default().to_string_lossy();
    given.with_extension(format!("{own}{number}.{extension}").trim_end_matches('.'))
}

pub fn run(arguments: &Run, common: &Common) -> Result<ExitCode> {
    let project = Project::load(&arguments.model.model, common)?;
    let network = &project.network;
    let shape = network.front.input_shape();
    let frames = read_frames(&arguments.input, shape.iter().product(), &shape[1..])?;
    let progress = common.progress(frames.count() as u64);
    let members = project.conditions(None).members(network, frames.count());
    let sums = sums(&project, &frames, &members, arguments.engine, &progress)?;
    // Nothing is written where one of them cannot be computed.
    let finished = |index| finished(network, &sums, &members, index);
    let values = (0..network.outputs.len()).map(finished).collect::<Result<Vec<_>>>()?;
    let mut outputs = Vec::new();
    for (index, (output, values)) in network.outputs.iter().zip(values).enumerate() {
        let mut shape = vec![frames.count()];
        shape.extend(output.tail.output_shape().iter().skip(1));
        let file = file_of(&arguments.output, index, &network.outputs);
        write_npy(&file, &shape, &values.concat())?;
        if let Some(path) = &arguments.sums {
            let place = network.place_of(index);
            let own: Vec<i64> = sums.iter().flat_map(|s| &s[place.clone()]).copied().collect();
            write_npy(&file_of(path, index, &network.outputs), &[frames.count(), place.len()], &own)?;
        }
        outputs.push(Written { name: output.name.clone(), file, shape });
    }
    progress.finish_and_clear();
    let output_shape = outputs[0].shape.clone();
    let done = Done { engine: arguments.engine, frames: frames.count(), output_shape, outputs };
    if common.json {
        view::json(&done);
    } else {
        let frames = view::count(done.frames, "frame");
        for Written { file, shape, .. } in &done.outputs {
            view::line(&format!("{frames} by {}: {shape:?} in {}", done.engine, file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Output `index` of every frame, of the integers that left the hardware.
pub fn finished(
    network: &Network,
    sums: &[Vec<i64>],
    members: &[u32],
    index: usize,
) -> Result<Vec<Vec<f32>>> {
    let finish = |(sums, members): (&Vec<i64>, &u32)| network.finish_output(index, sums, *members);
    sums.par_iter().zip(members).map(finish).collect()
}

/// The integers of all exits for each frame, one exit after another, summed over its members.
pub fn sums(
    project: &Project,
    frames: &Frames,
    members: &[u32],
    engine: Engine,
    progress: &ProgressBar,
) -> Result<Vec<Vec<i64>>> {
    let network = &project.network;
    let quantised = frames.quantise(network, project.scale, frames.count())?;
    if engine == Engine::Fast {
        let mut distinct = members.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let sums = engine::sums_at(network, &quantised, &distinct);
        let of = |(frame, m): (usize, &u32)| {
            let at = distinct.binary_search(m).expect("it is one of them");
            sums[at][frame].iter().map(|v| i64::from(*v)).collect()
        };
        return Ok(members.iter().enumerate().map(of).collect());
    }
    let hardware = project.lower();
    let conditions = Conditions { stall: None, members: members.to_vec() };
    let results = engine::run(engine, network, &hardware, &quantised, &conditions, progress)?;
    let sums = engine::integers(network, &results, members);
    let whole = sums.iter().filter(|s| s.len() == network.exit_elements()).count();
    if whole == sums.len() {
        return Ok(sums);
    }
    let message = format!("{whole} of {} frames came out before the cycle limit", sums.len());
    Err(Diagnostic::new(&SIMULATION_STUCK, message)
        .at(format!("engine {engine}"))
        .help("`stoxnor check` with this engine shows where it stands still")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::step::HostGraph;

    #[test]
    fn no_two_outputs_have_one_file() {
        let output =
            |name: &str| Output { name: name.to_owned(), layer: 0, tail: HostGraph::identity(vec![1, 1]) };
        let outputs = ["y", "a/b", "a_b", "a_b_1"].map(output);
        let files = |given: &str| (0..4).map(|k| file_of(Path::new(given), k, &outputs)).collect::<Vec<_>>();
        let named = |names: [&str; 4]| names.map(PathBuf::from).to_vec();
        assert_eq!(files("d/y.npy"), named(["d/y.npy", "d/y.a_b_1.npy", "d/y.a_b_2.npy", "d/y.a_b_1_3.npy"]));
        assert_eq!(files("y"), named(["y", "y.a_b_1", "y.a_b_2", "y.a_b_1_3"]));
    }
}
