//! `stoxnor demo`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::args::Common;
use super::check::DIFFERENT;
use super::{Project, view};
use crate::compare::{self, Report};
use crate::data::Frames;
use crate::diagnostic::Result;
use crate::emit;
use crate::engine::{Conditions, Engine};
use crate::import;
use crate::testbench;

/// The bundled model; the generator in `testbenches/examples` makes it.
const MODEL: &[u8] = include_bytes!("../../models/sampled_784_64_64_10.onnx");
const NAME: &str = "sampled_784_64_64_10";
/// Frames for the engines that need nothing installed, and for the external simulators.
const FRAMES: usize = 20;
const EXTERNAL_FRAMES: usize = 1;
/// Members of the frames, in turn.
const MEMBERS: [u32; 4] = [16, 1, 3, 8];
const EXTERNAL_MEMBERS: [u32; 1] = [2];
const SEED: u64 = 1;

#[derive(Serialize)]
struct Demo<'a> {
    equal: bool,
    checks: &'a [Report],
    not_installed: &'a [&'static str],
}

pub fn run(common: &Common) -> Result<ExitCode> {
    let start = Instant::now();
    let (config, config_sha256) = common.config()?;
    let network = import::read_with(NAME, MODEL, &config.import_options()?)?;
    let project = Project::new(network, &config, config_sha256, &common.members)?;
    let hardware = project.lower();
    let network = &project.network;
    let files = emit::files(
        network,
        &hardware,
        project.config_sha256.as_deref(),
        project.scale,
        &testbench::random_frames(network, 2, &[]),
    );
    let compiled = start.elapsed();

    let elements: usize = network.front.input_shape().iter().product();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let values = (0..FRAMES * elements).map(|_| f32::from(random.random::<u8>())).collect();
    let frames = Frames { elements, values }.quantise(network, project.scale, FRAMES)?;
    let progress = common.progress(3 * FRAMES as u64);
    let engines = [Engine::Reference, Engine::Fast, Engine::Rtl];
    let several = |members: &[u32]| match common.members.is_empty() {
        true => Conditions { stall: None, members: members.to_vec() },
        false => project.conditions(None),
    };
    let conditions = several(&MEMBERS);
    let mut reports = vec![compare::check(network, &hardware, &frames, &engines, &conditions, &progress)?];
    let mut absent = Vec::new();
    for (engine, program) in [(Engine::Verilator, "verilator"), (Engine::Icarus, "iverilog")] {
        if stoxnor_sim::version(Path::new(program), "--version").is_err() {
            absent.push(engine.name());
            continue;
        }
        let engines = [Engine::Rtl, engine];
        let frames = &frames[..EXTERNAL_FRAMES];
        reports.push(compare::check(
            network,
            &hardware,
            frames,
            &engines,
            &several(&EXTERNAL_MEMBERS),
            &progress,
        )?);
    }
    progress.finish_and_clear();
    let equal = reports.iter().all(|r| r.equal);
    if common.json {
        view::json(&Demo { equal, checks: &reports, not_installed: &absent });
    } else {
        show(&project, &reports, &absent);
        let bytes: usize = files.values().map(String::len).sum();
        view::line(&format!(
            "compiled in {} ms ({} files, {} kB of Verilog and memory images), checked in {:.1} s",
            compiled.as_millis(),
            files.len(),
            bytes / 1000,
            (start.elapsed() - compiled).as_secs_f64()
        ));
        view::line("your own model: stoxnor inspect MODEL.onnx, then stoxnor compile MODEL.onnx --out DIR");
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn show(project: &Project, reports: &[Report], absent: &[&str]) {
    view::line(&format!(
        "the bundled model {NAME} on random frames: an ensemble of sampled networks, engine against engine at every layer"
    ));
    view::line("");
    for report in reports {
        view::report(report, &project.folds, &project.network, project.clock_mhz);
        view::line("");
    }
    if !absent.is_empty() {
        view::line(&format!("not installed, so not compared: {}", absent.join(", ")));
    }
}
