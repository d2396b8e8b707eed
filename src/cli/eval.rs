//! `stoxnor eval`.

use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use crate::cli::args::{Common, Eval};
use crate::cli::{inputs, view};
use crate::data::arrays::{Frames, read_labels};
use crate::diagnostic::{Diagnostic, INPUT_SHAPE, Result};
use crate::engine::answers::{Confusion, Decision};

/// The JSON output: the keys of the documented contract, and the confusion matrix.
#[derive(Serialize)]
struct Evaluation {
    total: usize,
    results: Vec<MembersResult>,
    #[serde(flatten)]
    confusion: Confusion,
}

#[derive(Serialize)]
pub struct MembersResult {
    pub members: u32,
    pub correct: usize,
}

/// Frames that are computed between two updates of the progress bar.
const CHUNK: usize = 2000;

pub fn run(arguments: &Eval, common: &Common) -> Result<ExitCode> {
    let model = common.model(&arguments.model.model)?;
    let network = model.network();
    inputs::only_one(&model, "eval")?;
    let frames = model.read_frames(&arguments.images)?;
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
    let counts = if model.members().is_empty() { vec![1] } else { model.members().to_vec() };
    let mut answers = vec![Vec::with_capacity(labels.len()); counts.len()];
    for chunk in frames.values.chunks(CHUNK * frames.elements) {
        let chunk = Frames { elements: frames.elements, values: chunk.to_vec() };
        let outputs = model.first_output_at(&chunk, &counts, arguments.engine, &progress)?;
        for (answers, outputs) in answers.iter_mut().zip(outputs) {
            answers.extend(outputs.iter().map(|o| decision.answer(o)));
        }
        progress.set_position(answers[0].len() as u64);
    }
    progress.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let confusions = answers
        .iter()
        .map(|answers| Confusion::new(answers, &labels, decision.classes()))
        .collect::<Result<Vec<_>>>()?;
    let total = labels.len();
    let results: Vec<MembersResult> = counts
        .iter()
        .zip(&confusions)
        .map(|(members, confusion)| MembersResult { members: *members, correct: confusion.correct() })
        .collect();
    let confusion = confusions.into_iter().next_back().expect("one number of members at least");
    if common.json {
        view::json(&Evaluation { total, results, confusion });
        return Ok(ExitCode::SUCCESS);
    }
    let correct = confusion.correct();
    if results.len() > 1 {
        table(total, &results);
    }
    let members = if network.ensemble.is_some() {
        format!(" with {}", view::count(counts[counts.len() - 1] as usize, "member"))
    } else {
        String::new()
    };
    view::line(&format!(
        "{correct} of {total} correct{members}: {} ({:.0} images/s, engine {})",
        percent(correct, total),
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

fn percent(part: usize, total: usize) -> String {
    format!("{:.2} %", 100.0 * part as f64 / total as f64)
}

/// Prints the errors by number of members.
pub fn table(total: usize, results: &[MembersResult]) {
    let row = |r: &MembersResult| {
        vec![r.members.to_string(), r.correct.to_string(), percent(total - r.correct, total)]
    };
    view::table(&["members", "correct", "errors"], results.iter().map(row));
}
