//! Random networks on all engines, for as long as asked: `cargo xtask fuzz`.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use stoxnor_testbenches::random::draw::{Size, draw};
use stoxnor_testbenches::random::run::{Checks, Failure, run_with};
use stoxnor_testbenches::random::shrink::shrink;
use stoxnor_testbenches::random::{Counts, Recipe, cases};

const USAGE: &str = "usage: fuzz [--minutes N] [--graphs N] [--seed S] [--fifos N]

--minutes N  stop after so many minutes (10, where no number of graphs is given)
--graphs N   stop after so many graphs
--seed S     the first graph's seed; the others follow (a number of the clock's)
--fifos N    in every N-th graph each FIFO is shown to have no entry too many (20)";

/// Time for making one failure smaller.
const SHRINKING: Duration = Duration::from_secs(60);

struct Asked {
    minutes: u64,
    graphs: u64,
    seed: u64,
    fifos: u64,
}

fn asked() -> Option<Asked> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let (mut minutes, mut graphs) = (None, None);
    let mut asked = Asked { minutes: 0, graphs: 0, seed: clock % 1_000_000 * 1_000_000, fifos: 20 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value: u64 = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--minutes" => minutes = Some(value),
            "--graphs" => graphs = Some(value),
            "--seed" => asked.seed = value,
            "--fifos" => asked.fifos = value.max(1),
            _ => return None,
        }
    }
    asked.minutes = minutes.unwrap_or(if graphs.is_some() { u64::MAX } else { 10 });
    asked.graphs = graphs.unwrap_or(u64::MAX);
    Some(asked)
}

fn main() -> ExitCode {
    let Some(asked) = asked() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // What a panic says is told with its recipe.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let bar = ProgressBar::new(asked.graphs);
    bar.set_style(
        ProgressStyle::with_template("{elapsed_precise} {pos} graphs, {per_sec}{msg}").expect("a template"),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    let (next, counts, failures) = (AtomicU64::new(0), Mutex::new(Counts::default()), AtomicU64::new(0));
    let one = |index: u64| {
        let recipe = draw(asked.seed.wrapping_add(index), Size::WHOLE);
        let checks = Checks { fifos: index.is_multiple_of(asked.fifos), ..Checks::PLAIN };
        match run_with(&recipe, &checks) {
            Ok(features) => counts.lock().expect("no panics here").add(&features),
            Err(failure) => {
                failures.fetch_add(1, Ordering::Relaxed);
                bar.suspend(|| tell(&recipe, failure, &checks));
            }
        }
        bar.inc(1);
    };
    eprintln!("seeds from {}", asked.seed);
    let end = Duration::from_secs(asked.minutes.saturating_mul(60));
    let worker = || {
        while start.elapsed() < end {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= asked.graphs {
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
    bar.finish_and_clear();
    let (done, failures) = (bar.position(), failures.into_inner());
    eprint!("{}", counts.into_inner().expect("no panics here").table());
    eprintln!("{done} graphs in {} s, {failures} failed", start.elapsed().as_secs());
    ExitCode::from(u8::from(failures > 0))
}

/// Prints a failure, makes it smaller and keeps it.
fn tell(recipe: &Recipe, failure: Failure, checks: &Checks<'_>) {
    eprintln!("seed {}: {failure}", recipe.seed);
    let (small, failure) = shrink(recipe, failure, checks, SHRINKING);
    let file = cases().join(format!("seed_{}.json", recipe.seed));
    eprintln!("made smaller: {failure}\n{}", small.json());
    match std::fs::write(&file, small.json()) {
        Ok(()) => eprintln!(
            "kept as {}; `cargo test -p stoxnor-testbenches --test random kept` runs it",
            file.display()
        ),
        Err(error) => eprintln!("not kept: {}: {error}", file.display()),
    }
}
