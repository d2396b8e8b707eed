//! `stoxnor run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::args::{Common, Run};
use crate::cli::{inputs, view};
use crate::data::arrays::write_npy;
use crate::diagnostic::Result;
use crate::engine::Engine;
use crate::network::Output;

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

/// The file of output `index`. The first output gets the given name. Others get the output's name before the extension, and also
/// the output's number if two files would have the same name.
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
    let model = common.model(&arguments.model.model)?;
    let network = model.network();
    let frames = inputs::read(&model, &arguments.input)?;
    let progress = common.progress(frames.count() as u64);
    let members = model.conditions(None).members(network, frames.count());
    let sums = model.sums(&frames, &members, arguments.engine, &progress)?;
    // Nothing is written unless all outputs can be computed.
    let mut written = Vec::new();
    for (index, output) in model.outputs(&sums, &members)?.into_iter().enumerate() {
        let file = file_of(&arguments.output, index, &network.outputs);
        write_npy(&file, &output.shape, &output.values)?;
        if let Some(path) = &arguments.sums {
            let place = network.place_of(index);
            let own: Vec<i64> = sums.iter().flat_map(|s| &s[place.clone()]).copied().collect();
            write_npy(&file_of(path, index, &network.outputs), &[frames.count(), place.len()], &own)?;
        }
        written.push(Written { name: output.name, file, shape: output.shape });
    }
    progress.finish_and_clear();
    let output_shape = written[0].shape.clone();
    let done = Done { engine: arguments.engine, frames: frames.count(), output_shape, outputs: written };
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
