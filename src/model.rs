//! The main interface of the library: load, inspect, run, check and compile a model.
//!
//! May use every room below. Used by: the commands, and programs that use the crate.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;
use stoxnor_hdl::inline::inlined;
use stoxnor_hdl::verilog::is_identifier;

use crate::area::Area;
use crate::arith::matrix::WeightKind;
use crate::arith::sampling::Sampling;
use crate::config::{Config, EnsembleConfig, Memories};
use crate::data::arrays::{Frames, read_frames};
use crate::data::scale::Scale;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, INPUT_SHAPE, Result, SIMULATION_STUCK};
use crate::emit::Request;
use crate::emit::bench::{self, BenchFrames};
use crate::emit::integrate::axis::Wrap;
use crate::emit::readme::{Need, count};
use crate::engine::Engine;
use crate::engine::compare::{self, Report};
use crate::engine::results::Conditions;
use crate::engine::{self, Figures};
use crate::frame::element::Element;
use crate::frame::port::Port;
use crate::lower::{Hardware, lower};
use crate::network::{Doubt, Entry, LONGEST, Network, identifier};
use crate::synth::part::Part;
use crate::unit::family::Family;
use crate::unit::folding::{Comparing, Counting, Cuts, Folding};
use crate::unit::resources::Resources;
use crate::{emit, import};

/// A quantised network, folded onto hardware by a configuration.
///
/// ```
/// # fn main() -> stoxnor::Result<()> {
/// use stoxnor::{Config, Model};
///
/// let config = Config::parse("[layers.l2_dense]\npe = 4", "fold.toml")?;
/// let model = Model::load_with("models/dense_784_64_64_64_10.onnx", &config)?;
/// assert_eq!(model.layers()[1].pe, 4);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Model {
    network: Network,
    folds: Vec<Folding>,
    scale: Option<Scale>,
    clock_mhz: Option<f64>,
    family: Family,
    memories: Memories,
    config_sha256: Option<String>,
    /// Members of the frames, used cyclically; empty without an ensemble.
    members: Vec<u32>,
    hardware: OnceLock<Hardware>,
}

/// One layer of a [`Model`].
#[derive(Debug, Clone, Serialize)]
pub struct LayerInfo {
    /// Name in the configuration and in reports, such as `l3_dense`.
    pub name: String,
    /// Kind of the layer, such as `dense` or `conv`.
    pub kind: &'static str,
    /// The model file's node that the layer comes from.
    pub origin: String,
    /// Processing elements: rows that are computed in parallel.
    pub pe: usize,
    /// Inputs per processing element and cycle.
    pub simd: usize,
    /// Pipeline registers.
    pub cuts: Cuts,
    /// How agreements are counted.
    pub form: Counting,
    /// How sums are compared with thresholds; `None` for layers without thresholds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Comparing>,
    /// Cycles per frame and member.
    pub cycles: u64,
    /// Kind of the weights; `None` for layers without weights.
    pub weights: Option<WeightKind>,
    /// The sampling of the weights; `None` if they are deterministic or there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// The sums whose level another executor may see otherwise; `None` if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
    /// Element type of the first input.
    pub input: Element,
    /// Shape (channels last, without batch) and element type of the output.
    pub output: Port,
    /// Lanes and memory bits, counted from the layer's structure.
    #[serde(flatten)]
    pub resources: Resources,
}

/// One input of a [`Model`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputInfo {
    /// Its name in the model file.
    pub name: String,
    /// Shape of a frame, without batch.
    pub shape: Vec<usize>,
}

/// One output of the graph, for a number of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Name in the model file.
    pub name: String,
    /// The number of frames, then the output's shape without batch.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub values: Vec<f32>,
}

impl Model {
    /// Loads an ONNX or QONNX file with the default configuration.
    ///
    /// # Errors
    /// Every reason why the model is not supported.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &Config::default())
    }

    /// Loads an ONNX or QONNX file with a configuration.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if the configuration does not fit the model.
    pub fn load_with(path: impl AsRef<Path>, config: &Config) -> Result<Self> {
        // Errors in the configuration are reported before a large model is read.
        let options = config.import_options()?;
        Self::new(import::load_with(path.as_ref(), &options)?, config)
    }

    /// Reads an ONNX or QONNX file's bytes; `name` names the network and its top module.
    ///
    /// # Errors
    /// As [`load_with`](Self::load_with).
    pub fn from_bytes(name: &str, bytes: &[u8], config: &Config) -> Result<Self> {
        Self::new(import::read_with(name, bytes, &config.import_options()?)?, config)
    }

    fn new(mut network: Network, config: &Config) -> Result<Self> {
        if let Some(name) = &config.name {
            network.name = core_name(name)?;
        }
        if network.ensemble.is_none() && config.ensemble != EnsembleConfig::default() {
            return Err(no_members("ensemble"));
        }
        let members = network.ensemble.iter().map(|e| e.members).collect();
        let folds = config.foldings(&network)?;
        let scale = config.input.scale.as_deref().map(Scale::parse).transpose()?;
        let (clock_mhz, config_sha256) = (config.target.clock_mhz, config.sha256.clone());
        let memories = config.memories;
        Ok(Self {
            network,
            folds,
            scale,
            clock_mhz,
            family: config.target.family.unwrap_or_default(),
            memories,
            config_sha256,
            members,
            hardware: OnceLock::new(),
        })
    }

    /// Sets the numbers of members of the frames, used cyclically. Figures are those of the first number.
    ///
    /// # Errors
    /// If a number is 0 or exceeds max_members, or no weights are stochastic and a number is not 1.
    pub fn with_members(mut self, members: &[u32]) -> Result<Self> {
        let Some(ensemble) = &mut self.network.ensemble else {
            return if members.iter().all(|m| *m == 1) { Ok(self) } else { Err(no_members("--members")) };
        };
        let most = ensemble.max_members;
        if let Some(members) = members.iter().find(|m| !(1..=most).contains(*m)) {
            let message = format!("{members} members, and the hardware supports {most}");
            return Err(Diagnostic::new(&CONFIG_VALUE, message)
                .at("--members")
                .help(format!("give 1 to {most}; [ensemble] max_members builds more"))
                .into());
        }
        if let Some(first) = members.first() {
            ensemble.members = *first;
            self.members = members.to_vec();
            self.hardware = OnceLock::new();
        }
        Ok(self)
    }

    /// The model's name, a valid Verilog identifier.
    pub fn name(&self) -> &str {
        &self.network.name
    }

    /// Shape of one frame of the graph's first input, without batch.
    pub fn input_shape(&self) -> &[usize] {
        &self.network.entries[0].front.input_shape()[1..]
    }

    /// The graph's inputs, in its order. Inputs that no output depends on are left out.
    pub fn inputs(&self) -> Vec<InputInfo> {
        let info = |entry: &Entry| InputInfo {
            name: entry.name.clone(),
            shape: entry.front.input_shape()[1..].to_vec(),
        };
        self.network.entries.iter().map(info).collect()
    }

    /// The layers, in topological order.
    pub fn layers(&self) -> Vec<LayerInfo> {
        let info = |(index, fold): (usize, &Folding)| {
            let node = &self.network.nodes[index];
            let inputs = self.network.inputs(index);
            LayerInfo {
                name: node.name.clone(),
                kind: node.layer.kind(),
                origin: node.origin.clone(),
                pe: fold.pe,
                simd: fold.simd,
                cuts: fold.cuts,
                form: fold.form,
                thresholds: (node.layer.lanes().thresholds > 0).then_some(fold.thresholds),
                cycles: node.layer.lanes().cycles(*fold),
                weights: node.layer.weights(),
                sampling: node.layer.sampling(),
                doubt: self.network.doubts.get(&index).cloned(),
                input: inputs[0].element,
                output: node.output.clone(),
                resources: node.layer.resources(&inputs, *fold),
            }
        };
        self.folds.iter().enumerate().map(info).collect()
    }

    /// Latency and interval in clock cycles, exact for a source and sinks that never stall.
    pub fn figures(&self) -> Figures {
        let hardware = self.hardware();
        Figures::of_schedule(hardware, hardware.default_members())
    }

    /// Reads frames of the model's input from a npy or IDX file.
    ///
    /// # Errors
    /// If the file cannot be read, its frames do not fit the input, or the model has several inputs.
    pub fn read_frames(&self, path: impl AsRef<Path>) -> Result<Frames> {
        self.read_inputs(&[path.as_ref()])
    }

    /// Reads frames of all inputs: a file for each of [`inputs`](Self::inputs), in their order.
    ///
    /// # Errors
    /// If a file cannot be read or its frames do not fit the input, the files have different numbers of frames, or an input has no file.
    pub fn read_inputs(&self, paths: &[impl AsRef<Path>]) -> Result<Frames> {
        let inputs = self.inputs();
        if inputs.len() != paths.len() {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            let (inputs, files) = (count(names.len(), "input"), count(paths.len(), "file"));
            let message = format!("{files} for a model with {inputs} ({})", names.join(", "));
            return Err(Diagnostic::new(&INPUT_SHAPE, message).help("give a file for each input").into());
        }
        let read = |(input, path): (&InputInfo, &_)| {
            read_frames(AsRef::<Path>::as_ref(path), input.shape.iter().product(), &input.shape)
        };
        let frames = inputs.iter().zip(paths).map(read).collect::<Result<Vec<_>>>()?;
        Frames::of_inputs(&frames)
    }

    /// Computes the graph's outputs for some frames with an engine. All engines give the same numbers.
    ///
    /// # Errors
    /// If a frame does not fit the input, or an external tool is missing or fails.
    pub fn run(&self, frames: &Frames, engine: Engine) -> Result<Vec<Output>> {
        let members = self.conditions(None).members(&self.network, frames.count());
        let sums = self.sums(frames, &members, engine, &ProgressBar::hidden())?;
        self.outputs(&sums, &members)
    }

    /// Runs several engines and compares them at every layer boundary; the first engine is the reference.
    ///
    /// # Errors
    /// As [`run`](Self::run). Differences between engines are no error; the report shows them.
    pub fn check(&self, frames: &Frames, engines: &[Engine]) -> Result<Report> {
        let frames = self.quantised(frames, frames.count())?;
        self.check_quantised(&frames, engines, &self.conditions(None), &ProgressBar::hidden())
    }

    /// Writes Verilog, memory images, a test bench with random frames and a manifest to a new directory, all or nothing.
    ///
    /// # Errors
    /// If the directory exists or cannot be written.
    pub fn compile(&self, directory: impl AsRef<Path>) -> Result<()> {
        let frames = self.bench_frames(None, 2, &[])?;
        emit::write(directory.as_ref(), &self.files(&frames, Wrap::None), false)
    }

    /// The checked network.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// PE and SIMD of each layer.
    pub(crate) fn folds(&self) -> &[Folding] {
        &self.folds
    }

    /// The configured clock in MHz.
    pub(crate) fn clock_mhz(&self) -> Option<f64> {
        self.clock_mhz
    }

    /// Numbers of members of the frames, used cyclically; empty without an ensemble.
    pub(crate) fn members(&self) -> &[u32] {
        &self.members
    }

    /// The hardware of the network, with sized FIFOs; computed once.
    pub(crate) fn hardware(&self) -> &Hardware {
        self.hardware.get_or_init(|| {
            let mut hardware = lower(&self.network, &self.folds);
            hardware.design.top = self.family.placed(&hardware.design.top);
            if self.memories == Memories::Inline {
                hardware.design.top = inlined(&hardware.design.top);
            }
            hardware
        })
    }

    pub(crate) fn conditions(&self, stall: Option<u64>) -> Conditions {
        Conditions { stall, members: self.members.clone() }
    }

    /// The first `count` frames as integer inputs of the hardware.
    pub(crate) fn quantised(&self, frames: &Frames, count: usize) -> Result<Vec<Vec<i32>>> {
        let inputs = self.inputs();
        let wanted: usize = inputs.iter().map(|input| input.shape.iter().product::<usize>()).sum();
        if frames.elements != wanted {
            let what = if inputs.len() == 1 { "input has" } else { "inputs have" };
            let message = format!("frames of {} elements where the {what} {wanted}", frames.elements);
            let shapes: Vec<String> = inputs.iter().map(|input| format!("{:?}", input.shape)).collect();
            let help = match &shapes[..] {
                [one] => format!("give frames of the model's input, {one}"),
                all => format!("give frames of all inputs, {} (Frames::of_inputs)", all.join(" and ")),
            };
            return Err(Diagnostic::new(&INPUT_SHAPE, message).help(help).into());
        }
        frames.quantise(&self.network, self.scale, count)
    }

    /// [`check`](Self::check) with quantised frames.
    pub(crate) fn check_quantised(
        &self,
        frames: &[Vec<i32>],
        engines: &[Engine],
        conditions: &Conditions,
        progress: &ProgressBar,
    ) -> Result<Report> {
        compare::check(&self.network, self.hardware(), frames, engines, conditions, progress)
    }

    /// The integers of all exits for each frame, concatenated and summed over the frame's members.
    pub(crate) fn sums(
        &self,
        frames: &Frames,
        members: &[u32],
        engine: Engine,
        progress: &ProgressBar,
    ) -> Result<Vec<Vec<i64>>> {
        let network = &self.network;
        let quantised = self.quantised(frames, frames.count())?;
        if engine == Engine::Fast {
            let mut distinct = members.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            let sums = engine::sums_at(network, &quantised, &distinct);
            let of = |(frame, m): (usize, &u32)| {
                let at = distinct.binary_search(m).expect("it is one of them");
                sums[at][frame].iter().map(|v| i64::from(*v)).collect()
            };
            return Ok(members.iter().enumerate().map(of).collect());
        }
        let conditions = Conditions { stall: None, members: members.to_vec() };
        let results = engine::run(engine, network, self.hardware(), &quantised, &conditions, progress)?;
        let sums = engine::integers(network, &results, members);
        let whole = sums.iter().filter(|s| s.len() == network.exit_elements()).count();
        if whole == sums.len() {
            return Ok(sums);
        }
        let message = format!("{whole} of {} frames came out before the cycle limit", sums.len());
        Err(Diagnostic::new(&SIMULATION_STUCK, message)
            .at(format!("engine {engine}"))
            .help("`stoxnor check` with this engine shows where it stands still")
            .into())
    }

    /// The graph's outputs, from the hardware's integers for each frame.
    pub(crate) fn outputs(&self, sums: &[Vec<i64>], members: &[u32]) -> Result<Vec<Output>> {
        let output = |(index, output): (usize, &crate::network::Output)| {
            let mut shape = vec![sums.len()];
            shape.extend(output.tail.output_shape().iter().skip(1));
            let values = self.finished(sums, members, index)?.concat();
            Ok(Output { name: output.name.clone(), shape, values })
        };
        self.network.outputs.iter().enumerate().map(output).collect()
    }

    /// Output `index` of each frame.
    fn finished(&self, sums: &[Vec<i64>], members: &[u32], index: usize) -> Result<Vec<Vec<f32>>> {
        let finish = |(sums, members): (&Vec<i64>, &u32)| self.network.finish_output(index, sums, *members);
        sums.par_iter().zip(members).map(finish).collect()
    }

    /// The graph's first output for every frame, for each number of members. The fast engine needs a single pass for all.
    pub(crate) fn first_output_at(
        &self,
        frames: &Frames,
        counts: &[u32],
        engine: Engine,
        progress: &ProgressBar,
    ) -> Result<Vec<Vec<Vec<f32>>>> {
        if engine != Engine::Fast {
            let all = |m: &u32| {
                let members = vec![*m; frames.count()];
                self.finished(&self.sums(frames, &members, engine, progress)?, &members, 0)
            };
            return counts.iter().map(all).collect();
        }
        let finish = |sums: Vec<Vec<i32>>, members: u32| {
            let one = |sums: Vec<i32>| {
                let sums: Vec<i64> = sums.into_iter().map(i64::from).collect();
                self.network.finish(&sums, members)
            };
            sums.into_par_iter().map(one).collect::<Result<Vec<_>>>()
        };
        let sums = engine::sums_at(&self.network, &self.quantised(frames, frames.count())?, counts);
        sums.into_iter().zip(counts).map(|(sums, m)| finish(sums, *m)).collect()
    }

    /// The frames of a test bench: the first `count` of `frames`, or random ones.
    pub(crate) fn bench_frames(
        &self,
        frames: Option<&Frames>,
        count: usize,
        members: &[u32],
    ) -> Result<BenchFrames> {
        Ok(match frames {
            None => bench::random_frames(&self.network, count, members),
            Some(frames) => BenchFrames::new(&self.network, self.quantised(frames, count)?, members),
        })
    }

    /// What the hardware takes of each part that it can be put on.
    fn needs(&self) -> Vec<Need> {
        let families: Vec<Family> = match self.family {
            Family::Generic => Family::ALL.into_iter().filter(|family| *family != Family::Generic).collect(),
            one => vec![one],
        };
        let top = &self.hardware().design.top;
        let of = |family: Family| -> Vec<Need> {
            let cells = Area::estimate(top, &[], family).cells;
            let parts = Part::ALL.iter().filter(|part| part.family == family);
            parts.map(|part| Need { part: part.name, cells, fits: part.room.holds(&cells) }).collect()
        };
        families.into_par_iter().flat_map_iter(of).collect()
    }

    /// All files of a compilation: relative paths and their contents.
    pub(crate) fn files(&self, frames: &BenchFrames, wrap: Wrap) -> BTreeMap<String, String> {
        let (config_sha256, scale, family) = (self.config_sha256.as_deref(), self.scale, self.family);
        let request = Request { config_sha256, scale, family, frames, wrap, needs: &self.needs() };
        emit::files(&self.network, self.hardware(), &request)
    }
}

/// The diagnostic for ensemble settings of a model without stochastic weights.
fn no_members(place: &str) -> crate::diagnostic::Diagnostics {
    Diagnostic::new(&CONFIG_VALUE, "no layer is sampled, so there are no members")
        .at(place)
        .help("state it for a layer, [layers.l1_dense] weights = { stochastic = \"ternary\" }, or leave this out")
        .into()
}

/// A name that the user gives the core.
fn core_name(name: &str) -> Result<String> {
    if identifier(name) == name && is_identifier(name) {
        return Ok(name.to_owned());
    }
    let message = format!("the core cannot be called {name:?}");
    Err(Diagnostic::new(&CONFIG_VALUE, message)
        .at("--name")
        .help(format!(
            "give at most {LONGEST} lower-case letters, digits and underscores, a letter or an underscore first, and no word of Verilog, for example {}",
            identifier(name)
        ))
        .into())
}
