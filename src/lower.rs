//! From the network to modules: layers in a chain, with width converters and FIFOs between them.

use std::sync::Arc;

use stoxnor_hdl::block::{fifo, frame_sum, narrower, replay, replay_user, widener};
use stoxnor_hdl::{Builder, InstanceId, Module, Net, Role, Stream, check};
use stoxnor_sim::{Design, StreamShape};

use crate::fold::Folding;
use crate::network::{ENSEMBLE, Element, Ensemble, Network};
use crate::parts::{SUM_LATENCY, summand};
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
    /// Elements of an input beat.
    pub input_lanes: usize,
    /// Beats of a frame at the input.
    pub input_beats: u64,
    /// The streams that are watched, in order: what leaves each layer, then the sums over the members.
    pub boundaries: Vec<Boundary>,
    /// Members that are built, and the default; `None` without an ensemble.
    pub members: Option<Built>,
}

/// Members of an ensemble, as built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Built {
    /// Members of a frame, where nobody says.
    pub members: u32,
    /// Most members of a frame.
    pub max_members: u32,
}

/// A stream at which engines are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// The layer's name, or [`ENSEMBLE`].
    pub name: String,
    /// Type of the elements.
    pub element: Element,
    /// Elements of a frame.
    pub elements: usize,
    /// Elements of a beat.
    pub lanes: usize,
    /// Whether a frame passes once for each member.
    pub looped: bool,
}

impl Boundary {
    /// How often a frame of `members` members passes.
    pub fn passes(&self, members: u32) -> usize {
        if self.looped { members as usize } else { 1 }
    }
}

/// Something that beats pass.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Instance name without its `u_`.
    pub name: String,
    /// The layer that it is, where it is one.
    pub layer: Option<usize>,
    /// What beats it passes.
    pub part: Part,
    /// When a frame's beats pass it.
    pub schedule: Schedule,
}

/// Which part of the way a stage belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Frames as they come in, or sums as they go out.
    Once,
    /// The replay buffer, for frames of so many beats.
    Replay(u64),
    /// A frame comes once for each member.
    Loop,
    /// The sum over the members, of frames of so many beats.
    Sum(u64),
}

/// Edges from a FIFO's accepting a beat to its offering it.
const FIFO_LATENCY: u64 = 2;

/// Builds the hardware of a network.
///
/// Between two layers stand, in this order, a widener, a FIFO of one frame, and a narrower (where input and output beats differ).
/// The FIFO lets the layer before go on while the layer behind works through its frame, so the slowest layer never idles.
///
/// # Panics
/// Where a module breaks a rule of [`check`]: a fault of ours, not of the user.
pub fn lower(network: &Network, folds: &[Folding]) -> Hardware {
    let input = &network.input;
    let lanes = |index: usize| network.nodes[index].layer.lanes().input_lanes(folds[index]);
    let input_lanes = lanes(0);
    let input_bits = input_lanes as u32 * input.element.bits();
    let ensemble = network.ensemble.as_ref();
    let user = ensemble.map_or(0, |e| replay_user(e.max_members));
    let mut chain = Chain {
        b: Builder::new(format!("{}_top", network.name)),
        stages: Vec::new(),
        taps: Vec::new(),
        part: Part::Once,
        user,
    };
    chain.b.doc(format!("Top of {}: {} layers in a chain.", network.name, network.nodes.len()));
    chain.b.doc(format!(
        "Input beats of {} {} elements, output beats of {} {} elements; element 0 in the least significant bits.",
        input_lanes,
        input.element,
        folds[folds.len() - 1].pe,
        network.exits[0].port.element
    ));
    if let Some(Ensemble { first, max_members, .. }) = ensemble {
        let name = &network.nodes[*first].name;
        chain.b.doc(format!("An ensemble of up to {max_members} members: from {name} on a frame passes once for each, and the results are added."));
        if user > 0 {
            chain.b.doc(format!(
                "s_user is the number of members of the frame, taken at its first beat: 1 to {max_members}, else {max_members}."
            ));
        }
    }
    let s = chain.b.stream_input("s", input_bits, user);
    let s_ready = chain.b.wire("s_ready", 1);
    chain.b.output("s_ready", s_ready, Role::Control);
    let mut at = Position { stream: s, ready: s_ready, lanes: input_lanes, bits: input.element.bits() };
    let mut boundaries = Vec::new();
    for (index, node) in network.nodes.iter().enumerate() {
        let fold = folds[index];
        let elements = network.inputs(index)[0].elements();
        let bursts = index > 0 && network.nodes[index - 1].layer.lanes().positions > 1;
        let replays = ensemble.filter(|e| e.first == index).map(|e| e.max_members);
        at = chain.adapt(at, &node.name, elements, lanes(index), (index > 0, bursts), replays);
        let module = node.layer.hardware(&node.name, &network.inputs(index), fold, chain.user);
        let bits = node.output.element.bits();
        let schedule = node.layer.schedule(&network.inputs(index), fold);
        let stage = Stage { name: node.name.clone(), layer: Some(index), part: chain.part, schedule };
        at = chain.tapped(at, stage, &module, fold.pe, bits);
        boundaries.push(Boundary {
            name: node.name.clone(),
            element: node.output.element,
            elements: node.output.elements(),
            lanes: fold.pe,
            looped: chain.part == Part::Loop,
        });
    }
    if let (Some(_), Some(last)) = (ensemble, boundaries.last()) {
        let sum = Boundary {
            name: ENSEMBLE.to_owned(),
            element: network.exits[0].port.element,
            looped: false,
            ..last.clone()
        };
        at = chain.sum(at, last.element, &sum);
        boundaries.push(sum);
    }
    let m_ready = chain.b.stream_output("m", at.stream);
    chain.b.drive(at.ready, m_ready);
    let members = ensemble.map(|e| Built { members: e.members, max_members: e.max_members });
    let input_beats = (input.elements() / input_lanes) as u64;
    let passes = members.map_or(1, |m| m.members);
    let latency = path(&chain.stages, input_beats, passes).latency();
    let interval = interval(&chain.stages, passes);
    let at_members = if members.is_some() { format!(" at {passes} members") } else { String::new() };
    chain.b.doc(format!("Timing{at_members}: the last output beat {latency} cycles after the first input beat; a frame every {interval} cycles."));
    let top = chain.b.finish();
    let issues = check::check(&top);
    assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
    Hardware {
        design: Design {
            top,
            input: StreamShape { name: "s".to_owned(), width: input_bits, user },
            taps: chain.taps,
        },
        folds: folds.to_vec(),
        stages: chain.stages,
        input_lanes,
        input_beats,
        boundaries,
        members,
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
    /// Where the end is.
    part: Part,
    /// User bits there.
    user: u32,
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

    /// [`place`](Self::place) of a module whose output is watched under the stage's name.
    fn tapped(
        &mut self,
        at: Position,
        stage: Stage,
        module: &Arc<Module>,
        lanes: usize,
        bits: u32,
    ) -> Position {
        let tap = format!("{}_m", stage.name);
        let at = self.place(at, stage, module, Some(&tap), lanes, bits);
        self.taps.push(StreamShape { name: tap, width: lanes as u32 * bits, user: self.user });
        at
    }

    /// Brings beats to `lanes` elements in front of layer `name`, and buffers a frame of `elements` there if `buffered` says so; or
    /// `replays` it, so often at most. `bursts` says that they come position by position and not evenly.
    fn adapt(
        &mut self,
        mut at: Position,
        name: &str,
        elements: usize,
        lanes: usize,
        (buffered, bursts): (bool, bool),
        replays: Option<u32>,
    ) -> Position {
        let joint = lcm(at.lanes, lanes);
        let (bits, user) = (at.bits, self.user);
        let stage = |part, what: &str, schedule| Stage {
            name: format!("{name}_{what}"),
            layer: None,
            part,
            schedule,
        };
        let part = self.part;
        if joint > at.lanes {
            let ratio = joint / at.lanes;
            let module = widener(ratio as u32, at.lanes as u32 * bits, user);
            let schedule = Schedule::widener((elements / at.lanes) as u64, ratio as u64);
            at = self.place(at, stage(part, "widener", schedule), &module, None, joint, bits);
        }
        // In front of a narrower, which takes its time for a beat: what comes in bursts must not wait for it.
        let narrows = joint > lanes;
        if buffered && (replays.is_none() || narrows && bursts) {
            let beats = elements / joint;
            let module = fifo((beats as u32).max(2), joint as u32 * bits, user);
            let schedule = Schedule::buffer(beats as u64, FIFO_LATENCY);
            at = self.place(at, stage(part, "fifo", schedule), &module, None, joint, bits);
        }
        if narrows {
            let ratio = joint / lanes;
            let module = narrower(ratio as u32, lanes as u32 * bits, user);
            let schedule = Schedule::narrower((elements / joint) as u64, ratio as u64);
            at = self.place(at, stage(part, "narrower", schedule), &module, None, lanes, bits);
        }
        let Some(most) = replays else { return at };
        let beats = elements / lanes;
        let module = replay(beats as u32, lanes as u32 * bits, most);
        let part = Part::Replay(beats as u64);
        (self.part, self.user) = (Part::Loop, 1);
        let schedule = Schedule::replay(beats as u64, 1);
        self.place(at, stage(part, "replay", schedule), &module, None, lanes, bits)
    }

    /// Adds the frames of all members.
    fn sum(&mut self, at: Position, element: Element, sum: &Boundary) -> Position {
        let beats = (sum.elements / sum.lanes) as u64;
        let bits = sum.element.bits();
        let module = frame_sum(beats as u32, sum.lanes as u32, summand(element), bits, 0);
        let schedule = Schedule::frame_sum(beats, 1, SUM_LATENCY);
        let stage = Stage { name: sum.name.clone(), layer: None, part: Part::Sum(beats), schedule };
        (self.part, self.user) = (Part::Once, 0);
        self.tapped(at, stage, &module, sum.lanes, bits)
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

/// The edges of the first frame, of `members` members, its input offered from cycle 0 on: the closed form of the whole chain.
fn path(stages: &[Stage], input_beats: u64, members: u32) -> Path {
    let mut offered: Vec<u64> = vec![0; input_beats as usize];
    let mut accepted = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let beats = match stage.part {
            Part::Replay(beats) => Schedule::replay(beats, members.into()).beats(&offered),
            Part::Sum(beats) => Schedule::frame_sum(beats, members.into(), SUM_LATENCY).beats(&offered),
            Part::Once | Part::Loop => stage.schedule.beats(&offered),
        };
        if index > 0 {
            accepted.push(beats.accepted);
        }
        offered = beats.offered;
    }
    // The sink takes one beat a cycle.
    accepted.push(Schedule::buffer(offered.len() as u64, 0).beats(&offered).accepted);
    Path { accepted }
}

/// Cycles between frames of `members` members: those of the slowest stage, the replayed ones once for each member.
fn interval(stages: &[Stage], members: u32) -> u64 {
    let cycles = |s: &Stage| match s.part {
        Part::Once => s.schedule.interval,
        Part::Replay(_) | Part::Loop | Part::Sum(_) => s.schedule.interval * u64::from(members),
    };
    stages.iter().map(cycles).max().unwrap_or(1)
}

impl Hardware {
    /// Members of a frame where nobody says; 1 without an ensemble.
    pub fn default_members(&self) -> u32 {
        self.members.map_or(1, |m| m.members)
    }

    /// The edges of the first frame at every stage, from the schedules.
    pub fn path(&self, members: u32) -> Path {
        path(&self.stages, self.input_beats, members)
    }

    /// Cycles from the first frame's first input beat to its last output beat, from the schedules.
    pub fn latency(&self, members: u32) -> u64 {
        self.path(members).latency()
    }

    /// Cycles between frames, from the schedules: those of the slowest stage.
    pub fn interval(&self, members: u32) -> u64 {
        interval(&self.stages, members)
    }
}
