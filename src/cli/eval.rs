//! `stoxnor eval`.

use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use super::args::{Common, Eval};
use super::{Project, run, view};
use crate::data::{read_frames, read_labels};
use crate::diagnostic::{Diagnostic, INPUT_SHAPE, Result};
use crate::evaluate::{Confusion, Decision};

/// Its JSON: the contract's keys, and what the confusion matrix holds.
#[derive(Serialize)]
struct Evaluation {
    total: usize,
    results: Vec<MembersResult>,
    #[serde(flatten)]
    confusion: Confusion,
}

#[derive(Serialize)]
struct MembersResult {
    members: u32,
    correct: usize,
}

/// Frames that are computed between two steps of the progress bar.
const CHUNK: usize = 2000;

pub fn run(arguments: &Eval, common: &Common) -> Result<ExitCode> {
    let project = Project::load(&arguments.model.model, common)?;
    let network = &project.network;
    let shape = network.front.input_shape();
    let frames = read_frames(&arguments.images, shape.iter().product(), &shape[1..])?;
    let labels = read_labels(&arguments.labels)?;
    if labels.len() != frames.count() {
        let message = format!("{} labels for {} images", labels.len(), frames.count());
        return Err(Diagnostic::new(&INPUT_SHAPE, message)
            .at(arguments.labels.display().to_string())
            .help("give the labels of these images, one each, in the same order")
            .into());
    }
    let decision = Decision::of(network)?;
    let progress = common.progress(frames.count() as u64);
    let start = Instant::now();
    let mut answers = Vec::with_capacity(labels.len());
    for chunk in frames.values.chunks(CHUNK * frames.elements) {
        let chunk = crate::data::Frames { elements: frames.elements, values: chunk.to_vec() };
        let outputs = run::outputs(&project, &chunk, arguments.engine, &progress)?.1;
        answers.extend(outputs.iter().map(|o| decision.answer(o)));
        progress.set_position(answers.len() as u64);
    }
    progress.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let confusion = Confusion::new(&answers, &labels, decision.classes())?;
    let correct = confusion.correct();
    let total = labels.len();
    if common.json {
        view::json(&Evaluation { total, results: vec![MembersResult { members: 1, correct }], confusion });
        return Ok(ExitCode::SUCCESS);
    }
    view::line(&format!(
        "{correct} of {total} correct: {:.2} % ({:.0} images/s, engine {})",
        100.0 * correct as f64 / total as f64,
        total as f64 / seconds,
        arguments.engine
    ));
    if confusion.ties > 0 {
        view::line(&match decision {
            Decision::Score(border) => format!(
                "{} with a score of exactly {border}, taken as class 0",
                view::count(confusion.ties, "frame")
            ),
            _ => format!(
                "{} with several largest outputs; the first of them is the answer",
                view::count(confusion.ties, "frame")
            ),
        });
    }
    let rows = confusion.counts.iter().enumerate().map(|(class, row)| {
        let frames: usize = row.iter().sum();
        let answered: usize = confusion.counts.iter().map(|r| r[class]).sum();
        [class, frames, row[class], answered].map(|n| n.to_string()).to_vec()
    });
    view::table(&["class", "frames", "correct", "answered"], rows);
    if arguments.confusion {
        let classes: Vec<String> = (0..confusion.counts.len()).map(|c| c.to_string()).collect();
        let head: Vec<&str> =
            std::iter::once("label \\ answer").chain(classes.iter().map(String::as_str)).collect();
        let rows = confusion.counts.iter().enumerate().map(|(class, row)| {
            std::iter::once(class.to_string()).chain(row.iter().map(usize::to_string)).collect()
        });
        view::table(&head, rows);
    }
    Ok(ExitCode::SUCCESS)
}
