//! Lowering: turns a network into modules, using a plan of stages and exact FIFO depths.
//!
//! May use: `network`, `unit`, `schedule`, the blocks of `stoxnor-hdl`. Used by: `engine`, `emit`, the commands.

pub mod fifos;
pub mod plan;

use std::sync::Arc;

use stoxnor_hdl::block::{fifo, fork, frame_sum, narrower, replay, widener};
use stoxnor_hdl::rename::prefixed;
use stoxnor_hdl::{Builder, InstanceId, Module, Net, Role, Stream, check};
use stoxnor_sim::{Design, StreamShape, entry_name, exit_name};

use crate::frame::element::Element;
use crate::lower::plan::{Link, Part, Plan, Stage};
use crate::network::{Ensemble, Network};
use crate::unit::folding::Folding;
use crate::unit::parts::summand;

/// The hardware of a network.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// The top module and the streams at layer boundaries, in the order of the layers.
    pub design: Design,
    /// The folding of each layer.
    pub folds: Vec<Folding>,
    /// The stages and streams, with their schedules.
    pub plan: Plan,
    /// The observed streams, in order: the output of each layer, then the sums over the members.
    pub boundaries: Vec<Boundary>,
    /// Default members and max_members; `None` without an ensemble.
    pub members: Option<Built>,
}

/// The numbers of members of an ensemble in hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Built {
    /// Default members per frame.
    pub members: u32,
    /// max_members, the maximum number of members per frame.
    pub max_members: u32,
}

/// A stream at which engines are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// The name of the layer, or of the sum over the members.
    pub name: String,
    /// Element type.
    pub element: Element,
    /// Elements per frame.
    pub elements: usize,
    /// Elements per beat.
    pub lanes: usize,
    /// Whether a frame passes once for each member.
    pub looped: bool,
    /// Index of the stream in the plan.
    pub link: usize,
}

impl Boundary {
    /// Number of passes of a frame of `members` members.
    pub fn passes(&self, members: u32) -> usize {
        if self.looped { members as usize } else { 1 }
    }

    /// Beats per frame, in one member.
    pub fn beats(&self) -> usize {
        self.elements / self.lanes
    }
}

/// Builds the hardware of a network.
///
/// Between two layers there are, in this order, a widener, a FIFO and a narrower, as far as input and output beats differ. FIFOs
/// have the minimum depth with which the slowest layer never idles ([`fifos`]).
///
/// # Panics
/// If a module breaks a rule of [`check`]: an internal error, not a user error.
pub fn lower(network: &Network, folds: &[Folding]) -> Hardware {
    let mut plan = Plan::new(network, folds);
    fifos::size(&mut plan, network.ensemble.as_ref().map_or(1, |e| e.max_members));
    build(network, folds, plan)
}

/// [`lower`] with a given plan, including its FIFO depths.
///
/// # Panics
/// As [`lower`].
pub fn build(network: &Network, folds: &[Folding], plan: Plan) -> Hardware {
    let mut top = Top {
        network,
        folds,
        plan: &plan,
        b: Builder::new(format!("{}_top", network.name)),
        ends: vec![None; plan.links.len()],
    };
    top.document();
    for (k, link) in plan.links[..plan.entries].iter().enumerate() {
        let name = entry_name(k);
        let stream = top.b.stream_input(&name, link.width(), link.user);
        let ready = top.b.wire(format!("{name}_ready"), 1);
        top.b.output(format!("{name}_ready"), ready, Role::Control);
        top.ends[k] = Some(End { stream, ready });
    }
    plan.stages.iter().for_each(|stage| top.place(stage));
    for (k, exit) in plan.exits.iter().enumerate() {
        let End { stream, ready } = top.end(*exit);
        let m_ready = top.b.stream_output(&exit_name(k), stream);
        top.b.drive(ready, m_ready);
    }
    let members = network.ensemble.as_ref().map(|e| Built { members: e.members, max_members: e.max_members });
    let passes = members.map_or(1, |m| m.members);
    let at_members = if members.is_some() { format!(" at {passes} members") } else { String::new() };
    top.b.doc(format!("Timing{at_members}: the last output beat {} cycles after the first input beat; a frame every {} cycles.", plan.latency(passes), plan.interval(passes)));
    let module = top.b.finish();
    let issues = check::check(&module);
    assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
    let module = prefixed(&module, &network.name);

    let boundaries = boundaries(&plan);
    let shape = |name: String, link: usize| {
        let link = &plan.links[link];
        StreamShape { name, width: link.width(), user: link.user }
    };
    let exits = plan.exits.iter().map(|exit| boundaries.iter().position(|b| gives(&plan, b.link, *exit)));
    let design = Design {
        top: module,
        inputs: (0..plan.entries).map(|k| shape(entry_name(k), k)).collect(),
        taps: boundaries.iter().map(|b| shape(format!("{}_m", b.name), b.link)).collect(),
        exits: exits.map(|exit| exit.expect("a layer or a sum gives it")).collect(),
    };
    Hardware { design, folds: folds.to_vec(), plan, boundaries, members }
}

/// The outputs of all layers, then the sums over the members.
fn boundaries(plan: &Plan) -> Vec<Boundary> {
    let of = |stage: &Stage| {
        let Link { element, elements, lanes, looped, .. } = plan.links[stage.outputs[0]];
        Boundary { name: stage.name.clone(), element, elements, lanes, looped, link: stage.outputs[0] }
    };
    let layers = plan.stages.iter().filter(|stage| matches!(stage.part, Part::Layer(..)));
    // Sums have the order of the exits, not that of their layers.
    let sums = plan.exits.iter().filter_map(|exit| {
        plan.stages.iter().find(|stage| matches!(stage.part, Part::Sum(_)) && stage.outputs[0] == *exit)
    });
    layers.chain(sums).map(of).collect()
}

/// Whether stream `exit` is stream `link`, or a branch of it.
fn gives(plan: &Plan, link: usize, exit: usize) -> bool {
    let is_fork = |stage: &&Stage| matches!(stage.part, Part::Fork) && stage.outputs.contains(&exit);
    link == exit || plan.stages.iter().find(is_fork).is_some_and(|fork| fork.inputs[0] == link)
}

/// A stream that is not connected to a consumer yet.
#[derive(Clone, Copy)]
struct End {
    stream: Stream,
    /// The wire to be driven by the consumer's ready.
    ready: Net,
}

struct Top<'a> {
    network: &'a Network,
    folds: &'a [Folding],
    plan: &'a Plan,
    b: Builder,
    ends: Vec<Option<End>>,
}

impl Top<'_> {
    fn document(&mut self) {
        let Network { name, nodes, entries, ensemble, .. } = self.network;
        let form = if self.plan.is_chain() { " in a chain" } else { "" };
        self.b.doc(format!("Top of {name}: {} layers{form}.", nodes.len()));
        let outputs: Vec<String> = self
            .plan
            .exits
            .iter()
            .map(|exit| self.plan.links[*exit])
            .map(|link| format!("output beats of {} {} elements", link.lanes, link.element))
            .collect();
        let inputs: Vec<String> = entries
            .iter()
            .zip(&self.plan.links)
            .enumerate()
            .map(|(k, (entry, link))| {
                let on = if k == 0 { String::new() } else { format!("on {} ", entry_name(k)) };
                format!("{on}of {} {} elements", link.lanes, entry.port.element)
            })
            .collect();
        self.b.doc(format!(
            "Input beats {}, {}; element 0 in the least significant bits.",
            inputs.join(", "),
            outputs.join(", ")
        ));
        if let Some(Ensemble { first, max_members, .. }) = ensemble {
            let name = &nodes[*first].name;
            self.b.doc(format!("An ensemble of up to {max_members} members: from {name} on a frame passes once for each, and the results are added."));
            if self.plan.links[0].user > 0 {
                self.b.doc(format!(
                    "s_user is the number of members of the frame, taken at its first beat: 1 to {max_members}, else {max_members}."
                ));
                if entries.len() > 1 {
                    self.b.doc("It is the same number on the frame's other input streams.");
                }
            }
        }
    }

    fn end(&self, link: usize) -> End {
        self.ends[link].expect("a stage before gives it")
    }

    /// Instantiates a stage and connects its inputs. The ready of its output becomes a wire called `<name>_m_ready`.
    fn place(&mut self, stage: &Stage) {
        if let Part::Fifo(0) = stage.part {
            self.ends[stage.outputs[0]] = self.ends[stage.inputs[0]];
            return;
        }
        let module = self.module(stage);
        let instance = self.b.instance(&format!("u_{}", stage.name), &module);
        self.pass_parameters(instance, &module, &stage.name);
        let port = |letter: &str, all: &[usize], k: usize| {
            if all.len() == 1 { letter.to_owned() } else { format!("{letter}{k}") }
        };
        for (k, link) in stage.inputs.iter().enumerate() {
            let End { stream, ready } = self.end(*link);
            let own = self.b.connect_stream(instance, &port("s", &stage.inputs, k), stream);
            self.b.drive(ready, own);
        }
        for (k, link) in stage.outputs.iter().enumerate() {
            let m = port("m", &stage.outputs, k);
            let ready = self.b.wire(format!("{}_{m}_ready", stage.name), 1);
            self.b.connect(instance, &format!("{m}_ready"), ready);
            self.ends[*link] = Some(End { stream: self.b.out_stream(instance, &m), ready });
        }
    }

    fn module(&self, stage: &Stage) -> Arc<Module> {
        let [input, output] = [stage.inputs[0], stage.outputs[0]].map(|link| self.plan.links[link]);
        let (width, user) = (output.width(), output.user);
        match stage.part {
            Part::Layer(index, _) => {
                let layer = &self.network.nodes[index].layer;
                layer.hardware(&stage.name, &self.network.inputs(index), self.folds[index], user)
            }
            Part::Fork => fork(stage.outputs.len() as u32, width, user),
            Part::Widener(ratio) => widener(ratio as u32, input.width(), user),
            Part::Fifo(depth) => fifo(depth as u32, width, user),
            Part::Narrower(ratio) => narrower(ratio as u32, width, user),
            Part::Replay(max_members) => replay(input.beats() as u32, width, max_members),
            Part::Sum(_) => {
                let (beats, lanes) = (input.beats() as u32, input.lanes as u32);
                frame_sum(beats, lanes, summand(input.element), output.element.bits(), 0)
            }
        }
    }

    /// Makes every memory image a parameter of the top module: `<INSTANCE>_<PARAMETER>`.
    fn pass_parameters(&mut self, instance: InstanceId, module: &Module, name: &str) {
        for parameter in module.parameters.iter().filter(|p| p.image.is_some()) {
            let own = format!("{name}_{}", parameter.name).to_uppercase();
            let from = self.b.parameter(own, parameter.image.clone());
            self.b.bind(instance, &parameter.name, from);
        }
    }
}

impl Hardware {
    /// Elements per beat of input `index`.
    pub fn input_lanes(&self, index: usize) -> usize {
        self.plan.links[index].lanes
    }

    /// For each input, the beats per frame.
    pub fn input_beats(&self) -> Vec<u64> {
        self.plan.links[..self.plan.entries].iter().map(Link::beats).collect()
    }

    /// Default members per frame; 1 without an ensemble.
    pub fn default_members(&self) -> u32 {
        self.members.map_or(1, |m| m.members)
    }

    /// Latency in cycles, from the schedules: from the first frame's first input beat to its last output beat.
    pub fn latency(&self, members: u32) -> u64 {
        self.plan.latency(members)
    }

    /// Initiation interval in cycles, from the schedules: that of the slowest stage.
    pub fn interval(&self, members: u32) -> u64 {
        self.plan.interval(members)
    }
}
