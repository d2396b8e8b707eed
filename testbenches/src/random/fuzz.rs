//! Random networks on several engines, for as long as asked.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::draw::{Size, draw};
use super::run::{Checks, Failure, run_with};
use super::{Counts, Recipe, onnx};

/// How long networks are drawn and run, and from which seed.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// No network begins after this time.
    pub time: Duration,
    /// Networks at most.
    pub graphs: Option<u64>,
    /// Seed of the first network; the others follow.
    pub seed: u64,
    /// In every so many networks each FIFO is shown to have no entry too many.
    pub fifos: u64,
}

/// What was drawn and run.
#[derive(Debug)]
pub struct Outcome {
    /// Networks that were run.
    pub graphs: u64,
    /// Networks that failed.
    pub failures: u64,
    /// What the networks were made of, or became, in lines.
    pub table: String,
}

/// Draws and runs networks on all cores; `failed` is told of every failure, one at a time.
pub fn fuzz(plan: Plan, bar: &ProgressBar, failed: impl Fn(&Recipe, Failure, &Checks<'_>) + Sync) -> Outcome {
    let counts = Mutex::new(Counts::default());
    let one = |index: u64| -> Option<(Recipe, Failure)> {
        let recipe = draw(plan.seed.wrapping_add(index), Size::WHOLE);
        match run_with(&recipe, &checks(plan, index)) {
            Ok(features) => {
                counts.lock().expect("no panics here").add(&features);
                None
            }
            Err(failure) => Some((recipe, failure)),
        }
    };
    let (graphs, failures) = on_all_cores(plan, bar, one, |index, (recipe, failure)| {
        failed(&recipe, failure, &checks(plan, index))
    });
    Outcome { graphs, failures, table: counts.into_inner().expect("no panics here").table() }
}

fn checks(plan: Plan, index: u64) -> Checks<'static> {
    Checks { fifos: index.is_multiple_of(plan.fifos), ..Checks::PLAIN }
}

/// Draws model files, and compares what the importer makes of them with the float32 executor.
pub fn fuzz_import(plan: Plan, bar: &ProgressBar) -> Outcome {
    let counts: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let one = |index: u64| -> Option<String> {
        let seed = plan.seed.wrapping_add(index);
        match onnx::check(seed, &onnx::draw(seed)) {
            Ok(outcome) => {
                *counts.lock().expect("no panics here").entry(outcome.word()).or_default() += 1;
                None
            }
            Err(what) => Some(format!("seed {seed}: {what}")),
        }
    };
    let (graphs, failures) = on_all_cores(plan, bar, one, |_, what| eprintln!("{what}"));
    let counts = counts.into_inner().expect("no panics here");
    let table = counts.iter().map(|(word, count)| format!("{count:>8} {word}\n")).collect();
    Outcome { graphs, failures, table }
}

/// Calls `one` with the numbers from 0 on, on all cores, until the plan ends; `failed` is told of failures, one at a time. Gives the
/// number of calls and of failures.
fn on_all_cores<F>(
    plan: Plan,
    bar: &ProgressBar,
    one: impl Fn(u64) -> Option<F> + Sync,
    failed: impl Fn(u64, F) + Sync,
) -> (u64, u64) {
    let start = Instant::now();
    let [next, graphs, failures] = std::array::from_fn(|_| AtomicU64::new(0));
    let telling = Mutex::new(());
    let worker = || {
        while start.elapsed() < plan.time {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if plan.graphs.is_some_and(|graphs| index >= graphs) {
                return;
            }
            if let Some(failure) = one(index) {
                failures.fetch_add(1, Ordering::Relaxed);
                let _one_at_a_time = telling.lock();
                bar.suspend(|| failed(index, failure));
            }
            graphs.fetch_add(1, Ordering::Relaxed);
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    (graphs.into_inner(), failures.into_inner())
}

/// A bar that counts the networks of a plan.
pub fn bar(plan: Plan) -> ProgressBar {
    plan.graphs.map_or_else(ProgressBar::no_length, ProgressBar::new)
}
