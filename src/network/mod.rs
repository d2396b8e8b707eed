//! The checked network: the layer trait, edges, exits, the ensemble, and the host's computation around the hardware.
//!
//! May use: `frame`, `arith`, `graph`, and the folding and resources of `unit`. Used by: every room above.

pub mod host;
pub mod layer;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use stoxnor_hdl::rename::cut;

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, Result, SUM_TOO_WIDE};
use crate::frame::element::Element;
use crate::frame::port::Port;
use crate::graph::step::HostGraph;
use crate::network::layer::Layer;

/// The source of a layer's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The network's input with this index.
    Input(usize),
    /// The output of the layer with this index.
    Layer(usize),
}

/// A layer of a network, with its name and its connections.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name in configuration, Verilog and reports: `l1_dense`.
    pub name: String,
    /// The model file's node that the layer comes from.
    pub origin: String,
    /// Sources of the inputs; all of them earlier in the list.
    pub inputs: Vec<Source>,
    /// The layer.
    pub layer: Arc<dyn Layer>,
    /// Shape and element type of the output.
    pub output: Port,
}

/// A checked network, the input of every engine.
#[derive(Debug, Clone)]
pub struct Network {
    /// The model's name, a valid Verilog identifier.
    pub name: String,
    /// SHA-256 of the model file, in hexadecimal.
    pub sha256: String,
    /// The graph's inputs, in its order; at least one.
    pub entries: Vec<Entry>,
    /// The layers, in topological order.
    pub nodes: Vec<Node>,
    /// By layer, the sums whose level another executor may see otherwise; what the importer knows of them.
    pub doubts: BTreeMap<usize, Doubt>,
    /// The ensemble of sampled members; `None` if no weights are stochastic.
    pub ensemble: Option<Ensemble>,
    /// The outputs of the hardware, in the order of the graph outputs that need them first.
    pub exits: Vec<Exit>,
    /// The graph's outputs, in its order.
    pub outputs: Vec<Output>,
}

/// The sums of a layer at which a function whose last bits differ between executors, such as `Sigmoid`, is beside a threshold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// The functions.
    pub operators: Vec<&'static str>,
    /// The number of these sums, over all outputs; of a join, of the combinations of its inputs' integers.
    pub sums: u64,
    /// The number of all sums or combinations that the outputs can have.
    pub of: u64,
}

/// One input of the graph.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name in the model file.
    pub name: String,
    /// From the graph's input to the integers that the hardware takes.
    pub front: HostGraph,
    /// What the hardware takes.
    pub port: Port,
}

/// One output of the graph.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name in the model file.
    pub name: String,
    /// The layer whose integers the output is computed from.
    pub layer: usize,
    /// The host's computation from those integers, or their mean over the members, to the graph's output.
    pub tail: HostGraph,
}

/// An output of the hardware: a layer's integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The layer.
    pub layer: usize,
    /// Whether the integers are summed over the members.
    pub summed: bool,
    /// Shape and element type of the integers or their sums.
    pub port: Port,
}

/// An ensemble of networks that are sampled from one set of weights. Layers before [`first`](Self::first) are the same in all
/// members and run once per frame. The other layers run once per member, and their outputs are summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensemble {
    /// The first layer that differs between members.
    pub first: usize,
    /// Default members per frame.
    pub members: u32,
    /// max_members, the number of members that the hardware supports.
    pub max_members: u32,
}

/// Name of the boundary of the sums over the members; with several sums, that of the first.
pub const ENSEMBLE: &str = "ensemble";

/// A layer from the importer, before it has a name and an output shape.
#[derive(Debug, Clone)]
pub struct UnnamedLayer {
    /// The model file's node that the layer comes from.
    pub origin: String,
    /// Sources of the inputs.
    pub inputs: Vec<Source>,
    /// The layer.
    pub layer: Arc<dyn Layer>,
}

impl Network {
    /// Names the layers and infers all shapes. `members` is the default number of members per frame; it is ignored if no layer is
    /// stochastic.
    ///
    /// # Errors
    /// If a layer does not fit its inputs, sums exceed 31 bits, there is no output, or an input or a layer leads to no output.
    pub fn new(
        name: &str,
        sha256: String,
        entries: Vec<Entry>,
        found: Vec<UnnamedLayer>,
        members: u32,
        outputs: Vec<Output>,
    ) -> Result<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut errors = Vec::new();
        for (index, UnnamedLayer { origin, inputs, layer }) in found.into_iter().enumerate() {
            let ports: Vec<Port> = inputs.iter().map(|source| source.of(&entries, &nodes).clone()).collect();
            match layer.output(&ports) {
                Ok(output) => {
                    let name = format!("l{}_{}", index + 1, layer.kind());
                    nodes.push(Node { name, origin, inputs, layer, output });
                }
                Err(found) => {
                    errors.extend(found.into_iter().map(|d| d.at(origin.clone())));
                    break;
                }
            }
        }
        Diagnostics::collected(errors)?;
        used(&entries, &nodes, &outputs)?;
        let ensemble = Ensemble::of(&nodes, members);
        let mut exits: Vec<Exit> = Vec::new();
        for output in &outputs {
            if exits.iter().all(|exit| exit.layer != output.layer) {
                exits.push(Exit::of(&nodes, ensemble.as_ref(), output.layer)?);
            }
        }
        let (name, doubts) = (identifier(name), BTreeMap::new());
        Ok(Self { name, sha256, entries, nodes, doubts, ensemble, exits, outputs })
    }

    /// The input ports of layer `index`.
    pub fn inputs(&self, index: usize) -> Vec<Port> {
        self.nodes[index].inputs.iter().map(|source| source.of(&self.entries, &self.nodes).clone()).collect()
    }

    /// Elements of a frame that goes in: those of all inputs, one after another.
    pub fn entry_elements(&self) -> usize {
        self.entries.iter().map(|entry| entry.port.elements()).sum()
    }

    /// The integers of input `index` in a frame of all inputs.
    pub fn entry_of<'a>(&self, frame: &'a [i32], index: usize) -> &'a [i32] {
        let start: usize = self.entries[..index].iter().map(|entry| entry.port.elements()).sum();
        &frame[start..start + self.entries[index].port.elements()]
    }

    /// Number of integers per frame of all exits together.
    pub fn exit_elements(&self) -> usize {
        self.exits.iter().map(|exit| exit.port.elements()).sum()
    }

    /// The range of output `index` in the concatenated integers of all exits.
    pub fn place_of(&self, index: usize) -> std::ops::Range<usize> {
        let mut start = 0;
        for exit in &self.exits {
            let end = start + exit.port.elements();
            if exit.layer == self.outputs[index].layer {
                return start..end;
            }
            start = end;
        }
        unreachable!("every output has its exit")
    }

    /// Default members per frame; 1 without an ensemble.
    pub fn members(&self) -> u32 {
        self.ensemble.as_ref().map_or(1, |e| e.members)
    }

    /// Number of passes of a frame of `members` members through layer `index`.
    pub fn passes(&self, index: usize, members: u32) -> u32 {
        match &self.ensemble {
            Some(ensemble) if index >= ensemble.first => members,
            _ => 1,
        }
    }
}

impl Source {
    /// The port of the source.
    fn of<'a>(self, entries: &'a [Entry], nodes: &'a [Node]) -> &'a Port {
        match self {
            Self::Input(i) => &entries[i].port,
            Self::Layer(i) => &nodes[i].output,
        }
    }
}

/// Checks that there is an output, and that every input and every layer leads to one.
fn used(entries: &[Entry], nodes: &[Node], outputs: &[Output]) -> Result<()> {
    let taken = |index: &usize| nodes.iter().any(|n| n.inputs.contains(&Source::Input(*index)));
    if let Some(index) = (0..entries.len()).find(|index| !taken(index)) {
        return Err(Diagnostic::new(&MODEL_INVALID, "no layer takes it")
            .at(format!("graph input {}", entries[index].name))
            .into());
    }
    if outputs.is_empty() {
        return Err(Diagnostic::new(&MODEL_INVALID, "nothing leaves the network").into());
    }
    let leads = |index: &usize| {
        outputs.iter().any(|o| o.layer == *index)
            || nodes.iter().any(|n| n.inputs.contains(&Source::Layer(*index)))
    };
    match (0..nodes.len()).find(|index| !leads(index)) {
        None => Ok(()),
        Some(index) => {
            let message = "what it computes leads to no output";
            Err(Diagnostic::new(&MODEL_INVALID, message).at(nodes[index].origin.clone()).into())
        }
    }
}

impl Ensemble {
    /// The ensemble of a network's layers; `None` if members do not differ.
    fn of(nodes: &[Node], members: u32) -> Option<Self> {
        let differs = |n: &Node| n.layer.sampling().is_some() || n.layer.members() > 1;
        let first = nodes.iter().position(differs)?;
        let built = nodes.iter().map(|n| n.layer.members()).max().unwrap_or(1) as u32;
        Some(Self { first, members: members.clamp(1, built), max_members: built })
    }
}

impl Exit {
    /// The exit of the integers of `layer`.
    fn of(nodes: &[Node], ensemble: Option<&Ensemble>, layer: usize) -> Result<Self> {
        let node = &nodes[layer];
        let Some(built) = ensemble.filter(|e| layer >= e.first).map(|e| e.max_members) else {
            return Ok(Self { layer, summed: false, port: node.output.clone() });
        };
        let (least, most) = node.output.element.range();
        let (least, most) = (least * i64::from(built), most * i64::from(built));
        if least < -(1 << 30) || most >= 1 << 30 {
            let message = format!("the sums over {built} members reach from {least} to {most}");
            return Err(Diagnostic::new(&SUM_TOO_WIDE, message)
                .at(node.name.clone())
                .help("build fewer members")
                .into());
        }
        let port = Port { shape: node.output.shape.clone(), element: Element::signed(least, most) };
        Ok(Self { layer, summed: true, port })
    }
}

/// Maximum length of a core's name: its modules' names add to it.
pub const LONGEST: usize = 60;

/// `name` as a Verilog identifier: lower case, other characters replaced by `_`, cut with a hash beyond 60 characters.
pub fn identifier(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, 'm');
    }
    cut(&out, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_survive_their_encoding() {
        for (element, values) in
            [(Element::Bipolar, -1..=1), (Element::Unsigned(3), 0..=7), (Element::Signed(5), -16..=15)]
        {
            for v in values.filter(|v| element != Element::Bipolar || *v != 0) {
                assert_eq!(element.decode(element.encode(v)), v, "{element} {v}");
            }
        }
    }

    #[test]
    fn a_value_is_the_weighted_sum_of_its_planes() {
        for element in [Element::Unsigned(4), Element::Signed(1), Element::Signed(6)] {
            let (least, most) = element.range();
            for v in least..=most {
                let code = element.encode(v as i32);
                let sum: i64 =
                    element.planes().iter().enumerate().map(|(k, d)| d * (code >> k & 1) as i64).sum();
                assert_eq!(sum, v, "{element}");
            }
            assert!(element != Element::Signed(6) || Element::signed(least, most) == element);
        }
    }

    #[test]
    fn names_become_identifiers() {
        assert_eq!(identifier("TFC_1W1A"), "tfc_1w1a");
        assert_eq!(identifier("2-bit net"), "m2_bit_net");
        assert_eq!(identifier(&"x".repeat(200)).len(), LONGEST);
    }
}
