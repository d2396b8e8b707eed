//! `stoxnor demo`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use crate::cli::args::Common;
use crate::cli::check::DIFFERENT;
use crate::cli::eval::MembersResult;
use crate::cli::{eval, view};
use crate::data::arrays::Frames;
use crate::data::idx;
use crate::diagnostic::Result;
use crate::emit::bench::BenchFrames;
use crate::emit::integrate::axis::Wrap;
use crate::engine::Engine;
use crate::engine::answers::{Confusion, Decision};
use crate::engine::compare::Report;
use crate::engine::results::Conditions;
use crate::model::Model;

/// The bundled model, which `train/` creates.
const MODEL: &[u8] = include_bytes!("../../models/mnist_784_256_256_10.onnx");
const NAME: &str = "mnist_784_256_256_10";
/// Images and labels from the MNIST test set; `models/README.md` states their source.
const IMAGES: &[u8] = include_bytes!("../../models/mnist_sample_images.idx3.gz");
const LABELS: &[u8] = include_bytes!("../../models/mnist_sample_labels.idx1.gz");
/// Numbers of frames for the built-in engines and for the external simulators, and the members of the frames, in turn.
const FRAMES: usize = 2;
const MEMBERS: [u32; 2] = [4, 2];
const EXTERNAL_FRAMES: usize = 1;
const EXTERNAL_MEMBERS: [u32; 1] = [2];
/// The numbers of members that the ensemble is evaluated with.
const EVALUATED: [u32; 5] = [1, 2, 4, 8, 16];

#[derive(Serialize)]
struct Demo<'a> {
    equal: bool,
    checks: &'a [Report],
    not_installed: &'a [&'static str],
    evaluation: Evaluation,
}

#[derive(Serialize)]
struct Evaluation {
    total: usize,
    results: Vec<MembersResult>,
}

pub fn run(common: &Common) -> Result<ExitCode> {
    let start = Instant::now();
    let model = Model::from_bytes(NAME, MODEL, &common.config()?)?.with_members(&common.members)?;
    let network = model.network();
    let (shape, pixels) = idx::of_bytes(IMAGES).expect("a sound file is bundled");
    let (_, labels) = idx::of_bytes(LABELS).expect("a sound file is bundled");
    let elements = pixels.len() / shape[0];
    let images = Frames { elements, values: pixels.into_iter().map(f32::from).collect() };
    let frames = model.quantised(&images, FRAMES)?;
    let bench = BenchFrames::new(network, frames.clone(), &[]);
    let files = model.files(&bench, Wrap::None);
    let compiled = start.elapsed();

    let progress = common.progress(3 * FRAMES as u64 + 3 * EXTERNAL_FRAMES as u64);
    let built = network.ensemble.as_ref().map_or(1, |e| e.max_members);
    let conditions = |members: &[u32]| match common.members.is_empty() {
        true => Conditions { stall: None, members: members.iter().map(|m| *m.min(&built)).collect() },
        false => model.conditions(None),
    };
    let engines = [Engine::Reference, Engine::Fast, Engine::Rtl];
    let check = |frames: &[Vec<i32>], engines: &[Engine], members: &[u32]| {
        model.check_quantised(frames, engines, &conditions(members), &progress)
    };
    let mut reports = vec![check(&frames, &engines, &MEMBERS)?];
    let (there, absent): (Vec<_>, Vec<_>) = [(Engine::Verilator, "verilator"), (Engine::Icarus, "iverilog")]
        .into_iter()
        .partition(|(_, program)| stoxnor_sim::version(Path::new(program), "--version").is_ok());
    if !there.is_empty() {
        let engines: Vec<Engine> = [Engine::Rtl].into_iter().chain(there.iter().map(|(e, _)| *e)).collect();
        reports.push(check(&frames[..EXTERNAL_FRAMES], &engines, &EXTERNAL_MEMBERS)?);
    }
    let absent: Vec<&str> = absent.iter().map(|(engine, _)| engine.name()).collect();
    let checked = start.elapsed();
    let evaluation = evaluate(&model, &images, &labels, common)?;
    progress.finish_and_clear();
    let equal = reports.iter().all(|r| r.equal);
    if common.json {
        view::json(&Demo { equal, checks: &reports, not_installed: &absent, evaluation });
    } else {
        show(&model, &reports, &absent, &evaluation);
        let bytes: usize = files.values().map(String::len).sum();
        view::line(&format!(
            "compiled in {} ms ({} files, {} kB of Verilog and memory images), checked in {:.1} s, evaluated in {:.1} s",
            compiled.as_millis(),
            files.len(),
            bytes / 1000,
            (checked - compiled).as_secs_f64(),
            (start.elapsed() - checked).as_secs_f64()
        ));
        view::line("your own model: stoxnor inspect MODEL.onnx, then stoxnor compile MODEL.onnx --out DIR");
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// Counts correct answers on the bundled images, for several numbers of members.
fn evaluate(model: &Model, images: &Frames, labels: &[u8], common: &Common) -> Result<Evaluation> {
    let built = model.network().ensemble.as_ref().map_or(1, |e| e.max_members);
    let counts: Vec<u32> = if common.members.is_empty() {
        EVALUATED.into_iter().filter(|m| *m <= built).collect()
    } else {
        common.members.clone()
    };
    let labels: Vec<usize> = labels.iter().map(|l| usize::from(*l)).collect();
    let decision = Decision::of(model.network())?;
    let progress = indicatif::ProgressBar::hidden();
    let outputs = model.first_output_at(images, &counts, Engine::Fast, &progress)?;
    let result = |(members, outputs): (&u32, Vec<Vec<f32>>)| {
        let answers: Vec<_> = outputs.iter().map(|o| decision.answer(o)).collect();
        let correct = Confusion::new(&answers, &labels, decision.classes())?.correct();
        Ok(MembersResult { members: *members, correct })
    };
    let results = counts.iter().zip(outputs).map(result).collect::<Result<Vec<_>>>()?;
    Ok(Evaluation { total: labels.len(), results })
}

fn show(model: &Model, reports: &[Report], absent: &[&str], evaluation: &Evaluation) {
    view::line(&format!(
        "the bundled model {NAME}: an ensemble of sampled networks on MNIST images, engine against engine at every layer"
    ));
    view::line("");
    for report in reports {
        view::report(report, model.folds(), model.network(), model.clock_mhz());
        view::line("");
    }
    if !absent.is_empty() {
        view::line(&format!("not installed, so not compared: {}", absent.join(", ")));
        view::line("");
    }
    view::line(&format!("{} images of the MNIST test set, by the fast engine", evaluation.total));
    eval::table(evaluation.total, &evaluation.results);
    view::line("on all 10,000: README.md");
    view::line("");
}
