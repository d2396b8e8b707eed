//! The command-line arguments, parsed by clap.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::arith::sampling::Realisation;
use crate::board::boards::Board;
use crate::config::{Config, Memories};
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::emit::integrate::axis::Wrap;
use crate::engine::Engine;
use crate::network::Node;
use crate::synth::fold::{Choice, Found, Goal, fold};
use crate::synth::part::Part;
use crate::unit::family::Family;

/// Trained bitwise neural networks to streaming XNOR-popcount FPGA hardware in plain Verilog.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile the bundled model, simulate it, cross-check every layer and report
    Demo,
    /// Show layers, shapes, types, folding, cycles and memory
    Inspect(Inspect),
    /// Write Verilog, memory images, a self-checking test bench and a manifest
    Compile(Compile),
    /// Compute the network's outputs for a set of inputs
    Run(Run),
    /// Run several engines on the same inputs and compare every layer boundary
    Check(Check),
    /// Count correct answers on a labelled data set
    Eval(Eval),
    /// Measure batch normalisation for every member of a stochastic network, and write it into the model
    Calibrate(Calibrate),
    /// Synthesise, place and route for a part, by yosys and nextpnr: area, clock and critical path
    Synth(Synth),
    /// Make a bitstream for a board, with the core on its serial line
    Build(Build),
    /// Compute the network's outputs on a board, over its serial line
    Host(Host),
}

#[derive(Debug, Args)]
pub struct Model {
    /// Model file: ONNX or QONNX
    pub model: PathBuf,
}

#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    pub model: Model,
    #[command(flatten)]
    pub target: Target,
}

/// A part that a network is estimated for.
#[derive(Debug, Args)]
pub struct Target {
    /// Part, for example ecp5-25k: estimate the cells there, and say whether the network fits; any other word shows all
    #[arg(long, value_name = "PART")]
    pub part: Option<&'static Part>,
    /// Fold for the most frames per second that fit the part; with --fps instead, fold as small as that rate allows
    #[arg(long, requires = "part", conflicts_with = "fps")]
    pub fit: bool,
}

#[derive(Debug, Args)]
pub struct Compile {
    #[command(flatten)]
    pub model: Model,
    #[command(flatten)]
    pub target: Target,
    /// Directory to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Inputs for the test bench, in the formats of check; random if omitted
    #[arg(long, value_name = "X.npy")]
    pub input: Vec<PathBuf>,
    /// Frames of the test bench
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub frames: usize,
    /// Ports around the core: none, or axis for AXI4-Stream
    #[arg(long, value_name = "PORTS", default_value = "none", hide_possible_values = true)]
    pub wrap: Wrap,
    /// Replace a directory that compile wrote before
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub model: Model,
    /// Inputs, [N, input shape]: npy of float32 or uint8, or IDX; NAME=X.npy for each input if the model has several
    #[arg(long, value_name = "X.npy", required = true)]
    pub input: Vec<PathBuf>,
    /// Output file for the graph's outputs: npy, float32, [N, output shape]
    #[arg(long, value_name = "Y.npy")]
    pub output: PathBuf,
    /// Engine that computes them
    #[arg(long, default_value = "fast", value_name = "ENGINE", hide_possible_values = true)]
    pub engine: Engine,
    /// Output file for the integers that the outputs are computed from: npy, int64, [N, elements]
    #[arg(long, value_name = "F.npy")]
    pub sums: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub model: Model,
    /// Inputs, [N, input shape]: npy of float32 or uint8, or IDX; NAME=X.npy for each input if the model has several
    #[arg(long, value_name = "X.npy", required = true)]
    pub input: Vec<PathBuf>,
    /// Engines to compare, the others with the first: reference, fast, rtl, verilator, icarus
    #[arg(long, value_delimiter = ',', default_value = "reference,fast,rtl", value_name = "A,B,...")]
    pub engines: Vec<Engine>,
    /// Compare only the first N frames
    #[arg(long, value_name = "N")]
    pub frames: Option<usize>,
    /// Seed of the stall patterns of source and sink; no stalls if omitted
    #[arg(long, value_name = "SEED")]
    pub stall: Option<u64>,
    /// Write a waveform (VCD) of the first difference, or of the first frame, into this directory
    #[arg(long, value_name = "DIR")]
    pub wave: Option<PathBuf>,
}

/// Delay before a progress bar appears.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    pub model: Model,
    /// Images: IDX (compressed or not) or npy, [N, input shape]
    #[arg(long, value_name = "X")]
    pub images: PathBuf,
    /// Labels: IDX or npy, [N]
    #[arg(long, value_name = "Y")]
    pub labels: PathBuf,
    /// Engine that computes the outputs
    #[arg(long, default_value = "fast", value_name = "ENGINE", hide_possible_values = true)]
    pub engine: Engine,
    /// Show the confusion matrix: how often each label got each answer
    #[arg(long)]
    pub confusion: bool,
}

#[derive(Debug, Args)]
pub struct Calibrate {
    #[command(flatten)]
    pub model: Model,
    /// Images to measure on, not test images: IDX (compressed or not) or npy, [N, input shape]
    #[arg(long, value_name = "X")]
    pub images: PathBuf,
    /// Measure on only the first N images
    #[arg(long, value_name = "N")]
    pub frames: Option<usize>,
    /// Output file for the calibrated model: ONNX
    #[arg(long, value_name = "MODEL2")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Synth {
    #[command(flatten)]
    pub model: Model,
    /// Part, for example ecp5-25k or ice40-up5k; any other word shows all
    #[arg(long, value_name = "PART")]
    pub part: &'static Part,
    /// Fold for the most frames per second that fit the part; with --fps instead, fold as small as that rate allows
    #[arg(long, conflicts_with = "fps")]
    pub fit: bool,
    /// Place and route with the seeds 1 to N, and report the fastest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub seeds: u32,
    /// Directory to write: Verilog, netlist, scripts and the tools' logs
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    pub model: Model,
    /// Board, for example icebreaker; any other word shows all
    #[arg(long, value_name = "BOARD")]
    pub board: &'static Board,
    /// Fold for the most frames per second that fit the part; with --fps instead, fold as small as that rate allows
    #[arg(long, conflicts_with = "fps")]
    pub fit: bool,
    /// Directory to write: bitstream, Verilog, netlist and the tools' logs
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Host {
    #[command(flatten)]
    pub model: Model,
    /// Serial port of the board, for example /dev/ttyUSB1
    #[arg(long, value_name = "DEV")]
    pub port: PathBuf,
    /// Board, whose clock and part complete the configuration as in build, and whose line is as fast
    #[arg(long, value_name = "BOARD")]
    pub board: &'static Board,
    /// As in build
    #[arg(long, conflicts_with = "fps")]
    pub fit: bool,
    /// Inputs, [N, input shape]: npy of float32 or uint8, or IDX
    #[arg(long, value_name = "X.npy", required = true)]
    pub input: Vec<PathBuf>,
    /// Output file for the graph's outputs: npy, float32, [N, output shape]
    #[arg(long, value_name = "Y.npy")]
    pub output: PathBuf,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Multiply every input by this number or quotient, for example 1/255
    #[arg(long, global = true, value_name = "S", allow_hyphen_values = true)]
    pub scale: Option<String>,
    /// Bits of the signed fixed-point type of an input that the graph doesn't quantise; needs --input-fraction
    #[arg(long, global = true, value_name = "N")]
    pub input_bits: Option<i64>,
    /// How many of --input-bits stand behind the point: the last bit stands for 2^-N
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true)]
    pub input_fraction: Option<i64>,
    /// Target rate of the folding in frames per second; needs a clock, or a part
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true)]
    pub fps: Option<f64>,
    /// Clock in MHz: for --fps, and to choose the pipeline registers
    #[arg(long, global = true, value_name = "F", allow_negative_numbers = true)]
    pub clock_mhz: Option<f64>,
    /// FPGA family: its delays choose the pipeline registers for --clock-mhz; ecp5 and xilinx7 count in their own cells, ice40 has written memories in block RAM
    #[arg(long, global = true, value_name = "FAMILY")]
    pub family: Option<Family>,
    /// Name of the core, with which the names of all its modules begin (default: the model's file name)
    #[arg(long, global = true, value_name = "NAME")]
    pub name: Option<String>,
    /// Where the contents of memories are: files beside the Verilog (the default), or inline in it
    #[arg(long, global = true, value_name = "WHERE")]
    pub memories: Option<Memories>,
    /// Members per frame: one number, or several, used in turn frame by frame (eval: each for all frames)
    #[arg(long, global = true, value_delimiter = ',', value_name = "M,...")]
    pub members: Vec<u32>,
    /// Seed of the sampled members
    #[arg(long, global = true, value_name = "S")]
    pub seed: Option<u64>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress bars
    #[arg(long, global = true)]
    pub quiet: bool,
}

impl Common {
    /// The configuration, with the command-line options applied.
    pub fn config(&self) -> Result<Config> {
        let mut config = self.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        config.target.frames_per_second = self.fps.or(config.target.frames_per_second);
        config.target.clock_mhz = self.clock_mhz.or(config.target.clock_mhz);
        config.target.family = self.family.or(config.target.family);
        config.name = self.name.clone().or(config.name);
        config.memories = self.memories.unwrap_or(config.memories);
        config.input.scale = self.scale.clone().or(config.input.scale);
        config.input.bits = self.input_bits.or(config.input.bits);
        config.input.fraction_bits = self.input_fraction.or(config.input.fraction_bits);
        config.ensemble.seed = self.seed.or(config.ensemble.seed);
        Ok(config)
    }

    /// Loads a model with the configuration and the members of the command line.
    pub fn model(&self, path: &Path) -> Result<crate::model::Model> {
        crate::model::Model::load_with(path, &self.config()?)?.with_members(&self.members)
    }

    /// The same for a part, whose family and clock complete the configuration: folded for it if the fastest that fits is asked for, or a
    /// rate.
    pub fn model_on(&self, path: &Path, target: &Target) -> Result<(crate::model::Model, Option<Found>)> {
        let mut config = self.config()?;
        let load =
            |config: &Config| crate::model::Model::load_with(path, config)?.with_members(&self.members);
        let Some(part) = target.part else { return Ok((load(&config)?, None)) };
        part.complete(&mut config)?;
        let goal = match config.target.frames_per_second {
            _ if target.fit => Goal::Fit,
            Some(_) => Goal::Interval(config.target_cycles(0)?),
            None => return Ok((load(&config)?, None)),
        };
        let model = load(&config)?;
        let nodes = &model.network().nodes;
        // The network in each realisation of the weights of which the configuration says nothing.
        let free = |node: &&Node| {
            let said = config.layers.get(&node.name).is_some_and(|layer| layer.weights.realisation.is_some());
            node.layer.sampling().is_some() && !said
        };
        let free: Vec<&str> = nodes.iter().filter(free).map(|node| node.name.as_str()).collect();
        let mut networks = vec![model.network().clone()];
        for realisation in Realisation::ALL.into_iter().filter(|_| !free.is_empty()) {
            let mut config = config.clone();
            for name in &free {
                config.layers.entry((*name).to_owned()).or_default().weights.realisation = Some(realisation);
            }
            networks.push(load(&config)?.network().clone());
        }
        let found = fold(&networks, &config, part, goal, &self.progress(0))?;
        for (index, Choice { network, fold, .. }) in found.layers.iter().enumerate() {
            let node = &networks[*network].nodes[index];
            let layer = config.layers.entry(node.name.clone()).or_default();
            (layer.pe, layer.simd) = (Some(fold.pe), Some(fold.simd));
            layer.weights.realisation = node.layer.sampling().map(|sampling| sampling.realisation);
        }
        Ok((load(&config)?, Some(found)))
    }

    /// The model for a board: as for its part, at its clock.
    pub fn model_on_board(
        &self,
        path: &Path,
        board: &Board,
        fit: bool,
    ) -> Result<(crate::model::Model, Option<Found>)> {
        let asked = self.config()?.target.clock_mhz;
        if asked.is_some_and(|clock| (clock - board.said.clock_mhz).abs() > 1e-9) {
            let message = format!("the clock of {} is {} MHz", board.said.title, board.said.clock_mhz);
            return Err(Diagnostic::new(&CONFIG_VALUE, message)
                .at(if self.clock_mhz.is_some() { "--clock-mhz" } else { "target.clock_mhz" })
                .help("leave it out")
                .into());
        }
        let own = Self { clock_mhz: Some(board.said.clock_mhz), ..self.clone() };
        let (model, found) = own.model_on(path, &Target { part: Some(board.part), fit })?;
        let network = model.network();
        if network.entries.len() > 1 || network.outputs.len() > 1 {
            return Err(Diagnostic::new(&CONFIG_VALUE, "the model has several inputs or outputs")
                .at(path.display().to_string())
                .help("a serial line takes models with one input and one output")
                .into());
        }
        if model.hardware().design.inputs[0].user > 8 {
            return Err(Diagnostic::new(&CONFIG_VALUE, "a serial line has a byte for the number of members")
                .at("ensemble.max_members")
                .help("give 255 or fewer")
                .into());
        }
        Ok((model, found))
    }

    /// A progress bar on standard error that appears after a second. It is hidden without a terminal, or with --quiet.
    pub fn progress(&self, total: u64) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:12} [{bar:30}] {pos}/{len} {per_sec} {eta}")
            .expect("a valid template")
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()).with_style(style);
        let later = bar.downgrade();
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            if let Some(bar) = later.upgrade().filter(|bar| !bar.is_finished()) {
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(TICK);
            }
        });
        bar
    }
}
