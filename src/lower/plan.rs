//! The plan of a network: its stages (layers, FIFOs, converters), the streams between them, and their schedules.

use std::ops::Range;
use std::sync::Arc;

use stoxnor_hdl::block::replay_user;
use stoxnor_sim::stall::{Stall, sink, source};

use crate::frame::element::Element;
use crate::network::{ENSEMBLE, Entry, Network, Source};
use crate::schedule::{
    Beats, Fifo, Fork, Ideal, Narrower, Pattern, Replay, Schedule, Sum, Timing, Widener, Wire,
};
use crate::unit::folding::Folding;

/// The stages between the ports of the top module, in topological order.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stages.
    pub stages: Vec<Stage>,
    /// The streams between stages. The first ones are the inputs.
    pub links: Vec<Link>,
    /// The number of inputs.
    pub entries: usize,
    /// The output streams, one per exit of the network.
    pub exits: Vec<usize>,
}

/// A stream between two stages, or between a stage and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Element type.
    pub element: Element,
    /// Elements per frame.
    pub elements: usize,
    /// Elements per beat.
    pub lanes: usize,
    /// Whether a frame passes once for each member.
    pub looped: bool,
    /// User bits.
    pub user: u32,
}

impl Link {
    /// Beats per frame, in one member.
    pub fn beats(&self) -> u64 {
        (self.elements / self.lanes) as u64
    }

    /// Bits per beat.
    pub fn width(&self) -> u32 {
        self.lanes as u32 * self.element.bits()
    }
}

/// One stage of the plan.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Instance name without the prefix `u_`.
    pub name: String,
    /// The kind of stage.
    pub part: Part,
    /// Indices of the input streams.
    pub inputs: Vec<usize>,
    /// Indices of the output streams.
    pub outputs: Vec<usize>,
}

/// The kind of a stage.
#[derive(Debug, Clone)]
pub enum Part {
    /// A layer (by index) and its schedule.
    Layer(usize, Schedule),
    /// Copies one stream to several.
    Fork,
    /// Joins this number of beats into one.
    Widener(u64),
    /// A FIFO of this depth; depth 0 means no FIFO.
    Fifo(u64),
    /// Splits one beat into this number of beats.
    Narrower(u64),
    /// Repeats frames once per member; the number is max_members.
    Replay(u32),
    /// The sum over the members, at the exit with this index.
    Sum(usize),
}

/// The depth that stands for an ideal FIFO, which is never full and takes no time.
pub const IDEAL: u64 = u64::MAX;

/// The numbers of members of the frames, used cyclically.
pub type Members = Arc<[u32]>;

/// The conditions of a timing computation.
#[derive(Debug, Clone)]
pub struct Run {
    /// Members of each frame.
    pub members: Members,
    /// Number of frames.
    pub frames: usize,
    /// Seed of the stall patterns; `None` means that sources and sinks never stall.
    pub stall: Option<u64>,
}

impl Plan {
    /// The plan of a network. All FIFOs have depth 0.
    pub fn new(network: &Network, folds: &[Folding]) -> Self {
        Planner::new(network, folds).plan()
    }

    /// Whether every stage has one input and one output.
    pub fn is_chain(&self) -> bool {
        self.stages.iter().all(|stage| stage.inputs.len() == 1 && stage.outputs.len() == 1)
    }

    /// Initiation interval for frames of `members` members: that of the slowest stage.
    pub fn interval(&self, members: u32) -> u64 {
        let [once, looped] = self.slowest();
        once.max(looped * u64::from(members)).max(1)
    }

    /// Cycles of the slowest stage that runs once per frame, and of the slowest that runs once per member.
    pub fn slowest(&self) -> [u64; 2] {
        let mut slowest = [0; 2];
        for stage in &self.stages {
            let [input, output] = [stage.inputs[0], stage.outputs[0]].map(|link| self.links[link]);
            let (looped, cycles) = match &stage.part {
                Part::Layer(_, schedule) => (output.looped, schedule.interval),
                Part::Narrower(_) | Part::Replay(_) => (output.looped, output.beats()),
                Part::Fork | Part::Widener(_) | Part::Fifo(_) | Part::Sum(_) => (input.looped, input.beats()),
            };
            let slowest = &mut slowest[usize::from(looped)];
            *slowest = cycles.max(*slowest);
        }
        slowest
    }

    /// The beats of each stream for the first frame, with `members` members. Its inputs are offered from cycle 0 on.
    pub fn first_frame(&self, members: u32) -> Vec<Beats> {
        self.times(&Run { members: [members].into(), frames: 1, stall: None })
    }

    /// Latency: cycles from the first frame's first beat on any input to its last output beat.
    pub fn latency(&self, members: u32) -> u64 {
        let beats = self.first_frame(members);
        let first = beats[..self.entries].iter().filter_map(|entry| entry.accepted.first()).min();
        let last = self.exits.iter().filter_map(|exit| beats[*exit].accepted.last()).max();
        last.zip(first).map_or(0, |(last, first)| last - first)
    }

    /// The beats of each stream in a run.
    pub fn times(&self, run: &Run) -> Vec<Beats> {
        let pattern =
            |port| run.stall.map_or_else(Pattern::always, |seed| Pattern::stalling(Stall::new(seed, port)));
        let mut timing = Timing::default();
        let mut wires = vec![None; self.links.len()];
        for (k, link) in self.links[..self.entries].iter().enumerate() {
            let given = vec![0; run.frames * link.beats() as usize];
            wires[k] = Some(timing.source(given, pattern(source(k))));
        }
        self.add(&mut timing, 0..self.stages.len(), &run.members, &mut wires);
        for (k, exit) in self.exits.iter().enumerate() {
            timing.sink(wires[*exit].expect("it is given"), pattern(sink(k)));
        }
        timing.run();
        wires.into_iter().map(|wire| timing.beats(wire.expect("all stages are there")).clone()).collect()
    }

    /// Adds stages to `timing`. Their input streams are in `wires`; their output streams are added there.
    pub fn add(
        &self,
        timing: &mut Timing,
        stages: Range<usize>,
        members: &Members,
        wires: &mut [Option<Wire>],
    ) {
        for stage in &self.stages[stages] {
            let inputs: Vec<Wire> =
                stage.inputs.iter().map(|link| wires[*link].expect("a stage before it gives it")).collect();
            let outputs = self.process(timing, stage, &inputs, members);
            for (link, wire) in stage.outputs.iter().zip(outputs) {
                wires[*link] = Some(wire);
            }
        }
    }

    fn process(&self, timing: &mut Timing, stage: &Stage, inputs: &[Wire], members: &Members) -> Vec<Wire> {
        let taken = self.links[stage.inputs[0]];
        let [input, ..] = *inputs else { unreachable!("a stage takes a stream") };
        if let Part::Fork = stage.part {
            let outputs: Vec<Wire> = stage.outputs.iter().map(|_| timing.wire()).collect();
            timing.add(Fork::new(input, outputs.clone()), inputs, &outputs);
            return outputs;
        }
        if let Part::Layer(_, schedule) = &stage.part {
            return vec![schedule.add(timing, inputs)];
        }
        if let Part::Fifo(0) = stage.part {
            return vec![input];
        }
        let output = timing.wire();
        let (takes, gives) = (&[input], &[output]);
        match stage.part {
            Part::Widener(ratio) => timing.add(Widener::new(ratio, input, output), takes, gives),
            Part::Narrower(ratio) => timing.add(Narrower::new(ratio, input, output), takes, gives),
            Part::Fifo(IDEAL) => timing.add(Ideal::new(input, output), takes, gives),
            Part::Fifo(depth) => timing.add(Fifo::new(depth, input, output), takes, gives),
            Part::Replay(_) => {
                timing.add(Replay::new(taken.beats(), Arc::clone(members), input, output), takes, gives);
            }
            Part::Sum(_) => {
                timing.add(Sum::new(taken.beats(), Arc::clone(members), input, output), takes, gives);
            }
            Part::Fork | Part::Layer(..) => unreachable!("above"),
        }
        vec![output]
    }
}

/// The consumer of a stream.
#[derive(Debug, Clone, Copy)]
enum Consumer {
    /// Input of a layer: (layer, input).
    Layer(usize, usize),
    /// An exit, by index.
    Exit(usize),
}

struct Planner<'a> {
    network: &'a Network,
    folds: &'a [Folding],
    plan: Plan,
    /// The streams of each layer's inputs.
    inputs: Vec<Vec<usize>>,
}

impl<'a> Planner<'a> {
    fn new(network: &'a Network, folds: &'a [Folding]) -> Self {
        let inputs = network.nodes.iter().map(|n| vec![usize::MAX; n.inputs.len()]).collect();
        let plan = Plan {
            stages: Vec::new(),
            links: Vec::new(),
            entries: network.entries.len(),
            exits: vec![usize::MAX; network.exits.len()],
        };
        Self { network, folds, plan, inputs }
    }

    fn plan(mut self) -> Plan {
        let Network { nodes, entries, ensemble, .. } = self.network;
        let user = ensemble.as_ref().map_or(0, |e| replay_user(e.max_members));
        for (k, Entry { port, .. }) in entries.iter().enumerate() {
            let first = nodes.iter().position(|n| n.inputs.contains(&Source::Input(k))).unwrap_or(0);
            self.plan.links.push(Link {
                element: port.element,
                elements: port.elements(),
                lanes: self.lanes(first),
                looped: false,
                user,
            });
        }
        (0..entries.len()).for_each(|k| self.deliver(k, Source::Input(k)));
        for (index, node) in nodes.iter().enumerate() {
            let inputs = self.inputs[index].clone();
            let link = Link {
                element: node.output.element,
                elements: node.output.elements(),
                lanes: self.folds[index].pe,
                ..self.plan.links[inputs[0]]
            };
            let schedule = node.layer.schedule(&self.network.inputs(index), self.folds[index]);
            let output = self.stage(node.name.clone(), Part::Layer(index, schedule), inputs, link);
            self.deliver(output, Source::Layer(index));
        }
        self.plan
    }

    /// Elements per input beat of a layer.
    fn lanes(&self, layer: usize) -> usize {
        self.network.nodes[layer].layer.lanes().input_lanes(self.folds[layer])
    }

    /// Adds a stage with one output stream, and returns that stream.
    fn stage(&mut self, name: String, part: Part, inputs: Vec<usize>, output: Link) -> usize {
        self.plan.links.push(output);
        let link = self.plan.links.len() - 1;
        self.plan.stages.push(Stage { name, part, inputs, outputs: vec![link] });
        link
    }

    fn consumers(&self, source: Source) -> Vec<Consumer> {
        let inputs = self.network.nodes.iter().enumerate().flat_map(|(layer, node)| {
            let here = node.inputs.iter().enumerate().filter(|(_, from)| **from == source);
            here.map(move |(port, _)| Consumer::Layer(layer, port)).collect::<Vec<_>>()
        });
        let exits = self.network.exits.iter().enumerate();
        let exits =
            exits.filter(|(_, exit)| Source::Layer(exit.layer) == source).map(|(k, _)| Consumer::Exit(k));
        inputs.chain(exits).collect()
    }

    /// Connects a source's stream to all its consumers.
    fn deliver(&mut self, link: usize, source: Source) {
        let name = match source {
            Source::Input(0) => "input".to_owned(),
            Source::Input(k) => format!("input{k}"),
            Source::Layer(index) => self.network.nodes[index].name.clone(),
        };
        let (looped, once): (Vec<Consumer>, Vec<Consumer>) =
            self.consumers(source).into_iter().partition(|consumer| self.replays(link, *consumer));
        let links = self.fork(format!("{name}_fork"), link, once.len() + usize::from(!looped.is_empty()));
        for (link, consumer) in links.iter().zip(once) {
            self.hand(*link, consumer);
        }
        if let (Some(link), [Consumer::Layer(first, port), ..]) = (links.last(), &looped[..]) {
            let to = self.name_of(*first, *port);
            let link = self.adapt(*link, &to, self.lanes(*first));
            let max_members = self.network.ensemble.as_ref().map_or(1, |e| e.max_members);
            let again = Link { looped: true, user: 1, ..self.plan.links[link] };
            let link = self.stage(format!("{to}_replay"), Part::Replay(max_members), vec![link], again);
            let links = self.fork(format!("{name}_loop_fork"), link, looped.len());
            for (link, consumer) in links.into_iter().zip(looped) {
                let Consumer::Layer(layer, port) = consumer else { unreachable!("an exit comes once") };
                let name = format!("{}_loop", self.name_of(layer, port));
                self.inputs[layer][port] = self.adapt(link, &name, self.lanes(layer));
            }
        }
    }

    /// Whether a consumer needs the stream's frames once per member, while the stream has them once.
    fn replays(&self, link: usize, consumer: Consumer) -> bool {
        let Some(ensemble) = &self.network.ensemble else { return false };
        !self.plan.links[link].looped && matches!(consumer, Consumer::Layer(to, _) if to >= ensemble.first)
    }

    fn fork(&mut self, name: String, link: usize, ways: usize) -> Vec<usize> {
        if ways < 2 {
            return vec![link; ways];
        }
        let from = self.plan.links.len();
        let outputs: Vec<usize> = (from..from + ways).collect();
        self.plan.links.extend(std::iter::repeat_n(self.plan.links[link], ways));
        self.plan.stages.push(Stage { name, part: Part::Fork, inputs: vec![link], outputs: outputs.clone() });
        outputs
    }

    fn name_of(&self, layer: usize, port: usize) -> String {
        let node = &self.network.nodes[layer];
        if node.inputs.len() == 1 { node.name.clone() } else { format!("{}_s{port}", node.name) }
    }

    fn hand(&mut self, link: usize, consumer: Consumer) {
        match consumer {
            Consumer::Layer(layer, port) => {
                let name = self.name_of(layer, port);
                self.inputs[layer][port] = self.adapt(link, &name, self.lanes(layer));
            }
            Consumer::Exit(exit) if self.network.exits[exit].summed => {
                let before = self.network.exits[..exit].iter().filter(|e| e.summed).count();
                let name = if before == 0 { ENSEMBLE.to_owned() } else { format!("{ENSEMBLE}{before}") };
                let element = self.network.exits[exit].port.element;
                let sum = Link { element, looped: false, user: 0, ..self.plan.links[link] };
                self.plan.exits[exit] = self.stage(name, Part::Sum(exit), vec![link], sum);
            }
            Consumer::Exit(exit) => self.plan.exits[exit] = link,
        }
    }

    /// Converts a stream to beats of `lanes` elements. The FIFO is placed where beats are widest, before a narrower, which needs
    /// several cycles per beat. A network input has no FIFO if it has a single consumer: its source can wait as well.
    fn adapt(&mut self, mut link: usize, name: &str, lanes: usize) -> usize {
        let from = self.plan.links[link].lanes;
        let joint = lcm(from, lanes);
        let to = |planner: &Self, lanes, link: usize| Link { lanes, ..planner.plan.links[link] };
        let is_input = link < self.plan.entries;
        if joint > from {
            let part = Part::Widener((joint / from) as u64);
            link = self.stage(format!("{name}_widener"), part, vec![link], to(self, joint, link));
        }
        if !is_input {
            link = self.stage(format!("{name}_fifo"), Part::Fifo(0), vec![link], to(self, joint, link));
        }
        if joint > lanes {
            let part = Part::Narrower((joint / lanes) as u64);
            link = self.stage(format!("{name}_narrower"), part, vec![link], to(self, lanes, link));
        }
        link
    }
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}
