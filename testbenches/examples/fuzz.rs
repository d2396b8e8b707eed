//! Random networks on all engines, for as long as asked: `cargo xtask fuzz`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::ProgressStyle;
use stoxnor_testbenches::random::fuzz::{Outcome, Plan, bar, fuzz, fuzz_import};
use stoxnor_testbenches::random::run::{Checks, Failure};
use stoxnor_testbenches::random::shrink::shrink;
use stoxnor_testbenches::random::{Recipe, cases};

const USAGE: &str = "usage: fuzz [--import] [--minutes N] [--graphs N] [--seed S] [--fifos N]

--import     random model files through the importer, in place of random networks through the engines
--minutes N  stop after so many minutes (10, where no number of graphs is given)
--graphs N   stop after so many graphs
--seed S     the first graph's seed; the others follow (a number of the clock's)
--fifos N    in every N-th graph each FIFO is shown to have no entry too many (20)";

/// Time for making one failure smaller.
const SHRINKING: Duration = Duration::from_secs(60);

fn asked() -> Option<(Plan, bool)> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let (mut minutes, mut graphs) = (None, None);
    let (mut seed, mut fifos) = (clock % 1_000_000 * 1_000_000, 20);
    let mut arguments = std::env::args().skip(1);
    let mut import = false;
    while let Some(name) = arguments.next() {
        if name == "--import" {
            import = true;
            continue;
        }
        let value: u64 = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--minutes" => minutes = Some(value),
            "--graphs" => graphs = Some(value),
            "--seed" => seed = value,
            "--fifos" => fifos = value.max(1),
            _ => return None,
        }
    }
    let minutes = minutes.unwrap_or(if graphs.is_some() { u64::MAX } else { 10 });
    Some((Plan { time: Duration::from_secs(minutes.saturating_mul(60)), graphs, seed, fifos }, import))
}

fn main() -> ExitCode {
    let Some((plan, import)) = asked() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // What a panic says is told with its recipe.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let bar = bar(plan);
    bar.set_style(
        ProgressStyle::with_template("{elapsed_precise} {pos} graphs, {per_sec}{msg}").expect("a template"),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    eprintln!("seeds from {}", plan.seed);
    let Outcome { graphs, failures, table } = match import {
        true => fuzz_import(plan, &bar),
        false => fuzz(plan, &bar, tell),
    };
    bar.finish_and_clear();
    eprint!("{table}");
    eprintln!("{graphs} graphs in {} s, {failures} failed", start.elapsed().as_secs());
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
            "kept as {}; `cargo test -p stoxnor-testbenches --test all kept` runs it",
            file.display()
        ),
        Err(error) => eprintln!("not kept: {}: {error}", file.display()),
    }
}
