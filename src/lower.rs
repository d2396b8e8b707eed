//! From the network to modules: layers in a chain, with width converters and FIFOs between them.

use std::sync::Arc;

use stoxnor_hdl::block::{fifo, narrower, widener};
use stoxnor_hdl::{Builder, InstanceId, Module, Net, Role, Stream, check};
use stoxnor_sim::{Design, StreamShape};

use crate::fold::Folding;
use crate::network::Network;
use crate::schedule::Schedule;

/// A network as hardware.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// The top module and the streams at layer boundaries, in the order of the layers.
    pub design: Design,
    /// The folding of each layer.
    pub folds: Vec<Folding>,
    /// What beats pass on their way, in order.
    pub stages: Vec<Stage>,
    /// Beats of a frame at the input.
    pub input_beats: u64,
}

/// Something that beats pass.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Instance name without its `u_`.
    pub name: String,
    /// The layer that it is, where it is one.
    pub layer: Option<usize>,
    /// When beats pass it.
    pub schedule: Schedule,
}

/// Edges from a FIFO's accepting a beat to its offering it.
const FIFO_LATENCY: u64 = 2;

/// Builds the hardware of a network.
///
/// Between two layers stand, in this order, a widener, a narrower (where SIMD is not the PE before) and a FIFO of one frame.
/// The FIFO lets the layer before go on while the layer behind works through its frame, so the slowest layer never idles.
///
/// # Panics
/// Where a module breaks a rule of [`check`]: a fault of ours, not of the user.
pub fn lower(network: &Network, folds: &[Folding]) -> Hardware {
    let input = &network.input;
    let first = folds[0];
    let input_bits = first.simd as u32 * input.element.bits();
    let mut chain =
        Chain { b: Builder::new(format!("{}_top", network.name)), stages: Vec::new(), taps: Vec::new() };
    chain.b.doc(format!("Top of {}: {} layers in a chain.", network.name, network.nodes.len()));
    chain.b.doc(format!(
        "Input beats of {} {} elements, output beats of {} {} elements; element 0 in the least significant bits.",
        first.simd,
        input.element,
        folds[folds.len() - 1].pe,
        network.output().element
    ));
    let s = chain.b.stream_input("s", input_bits, 0);
    let s_ready = chain.b.wire("input_ready", 1);
    chain.b.output("s_ready", s_ready, Role::Control);
    let mut at = Position { stream: s, ready: s_ready, lanes: first.simd, bits: input.element.bits() };
    for (index, node) in network.nodes.iter().enumerate() {
        let fold = folds[index];
        if index > 0 {
            let elements = network.nodes[index - 1].output.elements();
            at = chain.adapt(at, &node.name, elements, fold.simd);
        }
        let module = node.layer.hardware(&node.name, &network.inputs(index), fold, 0);
        let bits = node.output.element.bits();
        let width = fold.pe as u32 * bits;
        let stage = Stage {
            name: node.name.clone(),
            layer: Some(index),
            schedule: node.layer.schedule(&network.inputs(index), fold),
        };
        let tap = format!("{}_m", node.name);
        at = chain.place(at, stage, &module, Some(&tap), fold.pe, bits);
        chain.taps.push(StreamShape { name: tap, width, user: 0 });
    }
    let m_ready = chain.b.stream_output("m", at.stream);
    chain.b.drive(at.ready, m_ready);
    let latency = path(&chain.stages, (input.elements() / first.simd) as u64).latency();
    let interval = chain.stages.iter().map(|s| s.schedule.interval).max().unwrap_or(1);
    chain.b.doc(format!("Timing: the last output beat {latency} cycles after the first input beat; a frame every {interval} cycles."));
    let top = chain.b.finish();
    let issues = check::check(&top);
    assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
    Hardware {
        design: Design {
            top,
            input: StreamShape { name: "s".to_owned(), width: input_bits, user: 0 },
            taps: chain.taps,
        },
        folds: folds.to_vec(),
        stages: chain.stages,
        input_beats: (input.elements() / first.simd) as u64,
    }
}

/// The end of the chain so far.
#[derive(Clone, Copy)]
struct Position {
    stream: Stream,
    /// The wire that takes the ready of what comes next.
    ready: Net,
    /// Elements of a beat.
    lanes: usize,
    /// Bits of an element.
    bits: u32,
}

struct Chain {
    b: Builder,
    stages: Vec<Stage>,
    taps: Vec<StreamShape>,
}

impl Chain {
    /// Puts an instance at the end of the chain. Its output stream's ready becomes a wire called `<tap>_ready`.
    fn place(
        &mut self,
        at: Position,
        stage: Stage,
        module: &Arc<Module>,
        tap: Option<&str>,
        lanes: usize,
        bits: u32,
    ) -> Position {
        let instance = self.b.instance(&format!("u_{}", stage.name), module);
        self.pass_parameters(instance, module, &stage.name);
        let ready = self.b.connect_stream(instance, "s", at.stream);
        self.b.drive(at.ready, ready);
        let name = tap.map_or_else(|| format!("{}_m", stage.name), str::to_owned);
        let m_ready = self.b.wire(format!("{name}_ready"), 1);
        self.b.connect(instance, "m_ready", m_ready);
        self.stages.push(stage);
        Position { stream: self.b.out_stream(instance, "m"), ready: m_ready, lanes, bits }
    }

    /// Every memory image can be replaced by a parameter of the top: `<INSTANCE>_<PARAMETER>`.
    fn pass_parameters(&mut self, instance: InstanceId, module: &Module, name: &str) {
        for parameter in module.parameters.iter().filter(|p| p.image.is_some()) {
            let own = format!("{name}_{}", parameter.name).to_uppercase();
            let from = self.b.parameter(own, parameter.image.clone());
            self.b.bind(instance, &parameter.name, from);
        }
    }

    /// Brings beats to `lanes` elements and buffers a frame of `elements` in front of layer `name`.
    fn adapt(&mut self, mut at: Position, name: &str, elements: usize, lanes: usize) -> Position {
        let joint = lcm(at.lanes, lanes);
        let bits = at.bits;
        if joint > at.lanes {
            let ratio = joint / at.lanes;
            let module = widener(ratio as u32, at.lanes as u32 * bits, 0);
            let schedule = Schedule::widener((elements / at.lanes) as u64, ratio as u64);
            let stage = Stage { name: format!("{name}_widener"), layer: None, schedule };
            at = self.place(at, stage, &module, None, joint, bits);
        }
        if joint > lanes {
            let ratio = joint / lanes;
            let module = narrower(ratio as u32, lanes as u32 * bits, 0);
            let schedule = Schedule::narrower((elements / joint) as u64, ratio as u64);
            let stage = Stage { name: format!("{name}_narrower"), layer: None, schedule };
            at = self.place(at, stage, &module, None, lanes, bits);
        }
        let beats = elements / lanes;
        let module = fifo((beats as u32).max(2), lanes as u32 * bits, 0);
        let schedule = Schedule::buffer(beats as u64, FIFO_LATENCY);
        let stage = Stage { name: format!("{name}_fifo"), layer: None, schedule };
        self.place(at, stage, &module, None, lanes, bits)
    }
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

/// The edges of one frame on its way through the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// For each stage, when the stage behind it (or the sink) accepts its output beats.
    pub accepted: Vec<Vec<u64>>,
}

impl Path {
    /// Cycles from the first input beat to the last output beat.
    pub fn latency(&self) -> u64 {
        self.accepted.last().and_then(|beats| beats.last()).copied().unwrap_or(0)
    }
}

/// The edges of the first frame, its input offered from cycle 0 on: the closed form of the whole chain.
fn path(stages: &[Stage], input_beats: u64) -> Path {
    let mut offered: Vec<u64> = vec![0; input_beats as usize];
    let mut accepted = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let beats = stage.schedule.beats(&offered);
        if index > 0 {
            accepted.push(beats.accepted);
        }
        offered = beats.offered;
    }
    // The sink takes one beat a cycle.
    accepted.push(Schedule::buffer(offered.len() as u64, 0).beats(&offered).accepted);
    Path { accepted }
}

impl Hardware {
    /// The edges of the first frame at every stage, from the schedules.
    pub fn path(&self) -> Path {
        path(&self.stages, self.input_beats)
    }

    /// Cycles from the first frame's first input beat to its last output beat, from the schedules.
    pub fn latency(&self) -> u64 {
        self.path().latency()
    }

    /// Cycles between frames, from the schedules: those of the slowest stage.
    pub fn interval(&self) -> u64 {
        self.stages.iter().map(|s| s.schedule.interval).max().unwrap_or(1)
    }

    /// Beats of a frame at each layer boundary.
    pub fn boundary_beats(&self, network: &Network) -> Vec<usize> {
        network.nodes.iter().zip(&self.folds).map(|(node, fold)| node.output.elements() / fold.pe).collect()
    }
}
