//! Random networks on several engines, for as long as asked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::draw::{Size, draw};
use super::run::{Checks, Failure, run_with};
use super::{Counts, Recipe};

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
#[derive(Debug, Default)]
pub struct Outcome {
    /// Networks that were run.
    pub graphs: u64,
    /// Networks that failed.
    pub failures: u64,
    /// What the networks were made of.
    pub counts: Counts,
}

/// Draws and runs networks on all cores; `failed` is told of every failure, one at a time.
pub fn fuzz(plan: Plan, bar: &ProgressBar, failed: impl Fn(&Recipe, Failure, &Checks<'_>) + Sync) -> Outcome {
    let start = Instant::now();
    let (next, outcome, telling) = (AtomicU64::new(0), Mutex::new(Outcome::default()), Mutex::new(()));
    let one = |index: u64| {
        let recipe = draw(plan.seed.wrapping_add(index), Size::WHOLE);
        let checks = Checks { fifos: index.is_multiple_of(plan.fifos), ..Checks::PLAIN };
        let result = run_with(&recipe, &checks);
        {
            let mut outcome = outcome.lock().expect("no panics here");
            outcome.graphs += 1;
            match &result {
                Ok(features) => outcome.counts.add(features),
                Err(_) => outcome.failures += 1,
            }
        }
        if let Err(failure) = result {
            let _one_at_a_time = telling.lock();
            bar.suspend(|| failed(&recipe, failure, &checks));
        }
        bar.inc(1);
    };
    let worker = || {
        while start.elapsed() < plan.time {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if plan.graphs.is_some_and(|graphs| index >= graphs) {
                return;
            }
            one(index);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    outcome.into_inner().expect("no panics here")
}

/// A bar that counts the networks of a plan.
pub fn bar(plan: Plan) -> ProgressBar {
    plan.graphs.map_or_else(ProgressBar::no_length, ProgressBar::new)
}
