//! Synthesis: a network's hardware on a part, by yosys and nextpnr.
//!
//! May use: `area`, `config`, `emit`, `engine`, `lower`, `network`, `unit`. Used by: the commands.

pub mod estimate;
pub mod fold;
pub mod harness;
pub mod netlist;
pub mod part;
pub mod timing;
pub mod tools;

use std::path::Path;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use crate::area::Cells;
use crate::diagnostic::Result;
use crate::emit;
use crate::engine::Figures;
use crate::lower::Hardware;
use crate::network::{Network, Node};
use crate::synth::estimate::Estimate;
use crate::synth::netlist::Names;
use crate::synth::part::{Part, Room};
use crate::synth::timing::{Routed, Span};
use crate::synth::tools::Tools;

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The part.
    pub part: &'static Part,
    /// The clock that is asked for, in MHz.
    pub clock_mhz: f64,
    /// Places and routes with the seeds 1 to this; the fastest is reported. 0 stands for synthesis alone.
    pub seeds: u32,
    /// A directory that does not exist yet, for Verilog, netlist, scripts and logs.
    pub out: Option<&'a Path>,
}

/// What the tools say of a network on a part.
#[derive(Debug, Serialize)]
pub struct Synthesis {
    /// The part's name.
    pub part: &'static str,
    /// Cells of the core, without the registers in place of pins.
    #[serde(flatten)]
    pub cells: Cells,
    /// The estimate of the same cells, made without a tool.
    pub estimate: Cells,
    /// What the part has.
    pub available: Room,
    /// Whether LUTs, flip-flops and block RAMs are enough.
    pub fits: bool,
    /// The clock that was asked for.
    pub clock_mhz: f64,
    /// The clock that the routed core reaches, the best of the seeds. `None` where it does not fit or no tool routes the part.
    pub fmax_mhz: Option<f64>,
    /// Frames per second at that clock.
    pub fps: Option<f64>,
    /// Latency in microseconds at that clock.
    pub latency_us: Option<f64>,
    /// Latency and interval in cycles.
    #[serde(flatten)]
    pub figures: Figures,
    /// Cells of each layer, with the FIFOs and converters in front of it.
    pub layers: Vec<Share>,
    /// The critical path: the layers that it crosses.
    pub critical_path: Vec<Span>,
    /// The clock of every seed, in MHz.
    pub seeds: Vec<Seed>,
    /// Versions of the tools.
    pub tools: Vec<String>,
}

/// Cells of a layer.
#[derive(Debug, Serialize)]
pub struct Share {
    /// The layer; `-` stands for what belongs to none.
    pub name: String,
    /// Its cells.
    #[serde(flatten)]
    pub cells: Cells,
    /// The estimate of them.
    pub estimate: Cells,
    /// Bits of its weights, thresholds and buffers, in whatever they are.
    pub memory_bits: u64,
}

/// The clock of one seed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Seed {
    /// The seed.
    pub seed: u32,
    /// The clock in MHz.
    pub fmax_mhz: f64,
}

/// Synthesises, places and routes.
///
/// # Errors
/// If a tool is missing or fails, or the files cannot be written.
pub fn synthesise(
    network: &Network,
    hardware: &Hardware,
    figures: Figures,
    request: &Request<'_>,
    progress: &ProgressBar,
) -> Result<Synthesis> {
    let part = request.part;
    let fresh = request.out.map(emit::directory::Fresh::new).transpose()?;
    let route = part.routes() && request.seeds > 0;
    let tools = Tools::find(part, route)?;
    let versions = tools.versions()?;
    let mut files = emit::rtl(network, &hardware.design.top);
    files.insert(harness::FILE.to_owned(), harness::text(&hardware.design.top));
    files.insert(tools::SCRIPT.to_owned(), tools::script(part, harness::TOP));
    files.extend(part.pins().map(|pins| (part::PINS.to_owned(), pins)));
    let mut work = tools::work(&files)?;
    progress.set_length(u64::from(request.seeds) + 1);
    progress.set_message("yosys");
    let nodes: Vec<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
    let netlist = tools.synthesise(work.path());
    let netlist = tools::kept(&mut work, netlist)?;
    let names = Names::new(nodes.clone(), &hardware.design.top);
    let area = netlist::count(&netlist, &names, part)?;
    let estimate = Estimate::new(network, hardware, part);
    let share = |(index, (name, cells)): (usize, (String, Cells))| {
        let resources = |node: &Node| node.layer.resources(&network.inputs(index), hardware.folds[index]);
        let memory_bits = network.nodes.get(index).map_or(0, |node| resources(node).memory_bits());
        let estimate = estimate.layers.iter().find(|row| row.name == name);
        Share { name, cells, estimate: estimate.map_or_else(Cells::default, |row| row.cells), memory_bits }
    };
    let cells = area.cells;
    let layers = area.layers.into_iter().enumerate().map(share).collect();
    progress.inc(1);
    let mut fits = part.room.holds(&cells);
    let mut routed: Vec<(u32, Routed)> = Vec::new();
    if fits && route {
        progress.set_message("nextpnr");
        let route = |seed: u32| {
            let found = tools.route(work.path(), request.clock_mhz, seed, &[])?;
            progress.inc(1);
            found.map(|report| Ok((seed, Routed::read(&report, &names)?))).transpose()
        };
        let all: Result<Vec<_>> = (1..=request.seeds).into_par_iter().map(route).collect();
        routed = tools::kept(&mut work, all)?.into_iter().flatten().collect();
        fits = !routed.is_empty();
    }
    progress.finish_and_clear();
    let seeds = routed.iter().map(|(seed, one)| Seed { seed: *seed, fmax_mhz: one.fmax_mhz }).collect();
    let best = routed.into_iter().map(|(_, one)| one).max_by(|a, b| a.fmax_mhz.total_cmp(&b.fmax_mhz));
    let fmax_mhz = best.as_ref().map(|best| best.fmax_mhz);
    let synthesis = Synthesis {
        part: part.name,
        cells,
        estimate: estimate.estimate,
        available: part.room,
        fits,
        clock_mhz: request.clock_mhz,
        fmax_mhz,
        fps: fmax_mhz.map(|clock| clock * 1e6 / figures.interval as f64),
        latency_us: fmax_mhz.map(|clock| figures.latency as f64 / clock),
        figures,
        layers,
        critical_path: best.map_or_else(Vec::new, |best| best.path),
        seeds,
        tools: versions,
    };
    if let Some(fresh) = fresh {
        fresh.fill(work.path())?;
        let json = serde_json::to_string_pretty(&synthesis).expect("plain values");
        fresh.write(REPORT, &(json + "\n"))?;
        fresh.put()?;
    }
    Ok(synthesis)
}

/// The report in the directory of `--out`.
const REPORT: &str = "report.json";
