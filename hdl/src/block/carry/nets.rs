//! The nets of a layout, and the registers between them.

use std::collections::{HashMap, HashSet};

use crate::block::lane::Lane;
use crate::{Builder, Net};

/// A bit that is added: a function of at most three nets.
#[derive(Debug, Clone)]
pub(super) struct Addend {
    /// The nets.
    pub(super) of: Vec<Node>,
    /// Bit i is the value where the nets are the bits of i, the first net the least significant.
    pub(super) table: u8,
}

/// A net of the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// The same in every cycle.
    Constant(bool),
    /// A bit of an operand: port, and bit or lane.
    Operand(usize, u32),
    /// The value of a lane, in a LUT of its own, by its operands.
    Lane(Vec<Node>),
    /// An output of a cell, by its number.
    Sum(usize),
    /// The same, this many registers later.
    Later(Box<Node>, u32),
}

impl Addend {
    pub(super) fn zero() -> Self {
        Self { of: vec![], table: 0 }
    }

    pub(super) fn net(node: Node) -> Self {
        Self { of: vec![node], table: 0b10 }
    }

    /// Its value where its first net is bit 0 of `inputs`, and so on.
    pub(super) fn value(&self, inputs: u16) -> bool {
        self.table >> (inputs & ((1 << self.of.len()) - 1)) & 1 == 1
    }
}

/// A lane's addend.
impl Lane {
    /// The addend of lane `lane` in input plane `plane` of `planes`, whose ports come before those of the weights.
    pub(super) fn addend(self, plane: usize, planes: usize, lane: u32) -> Addend {
        let inputs = self.operands().len();
        let is_one = |i: &u8| self.of(&(0..inputs).map(|input| i >> input & 1 == 1).collect::<Vec<_>>());
        let table = (0..1 << inputs).filter(is_one).map(|i| 1 << i).sum();
        let port = |input: usize| if input == 0 { plane } else { planes + input - 1 };
        Addend { of: (0..inputs).map(|input| Node::Operand(port(input), lane)).collect(), table }
    }
}

/// The outputs of cells that `nodes` need.
pub(super) fn used<'a>(nodes: impl Iterator<Item = &'a Node>) -> HashSet<usize> {
    let output = |mut node: &'a Node| {
        while let Node::Later(of, _) = node {
            node = of;
        }
        if let Node::Sum(output) = node { Some(*output) } else { None }
    };
    nodes.filter_map(output).collect()
}

/// An addend, so many registers later.
pub(super) fn delayed(addend: Addend, registers: u32) -> Addend {
    let later = |node: Node| if registers == 0 { node } else { Node::Later(Box::new(node), registers) };
    Addend { of: addend.of.into_iter().map(later).collect(), ..addend }
}

/// The nets of a module in construction.
pub(super) struct Nets {
    lane: Lane,
    /// The ports of operands, and their nets.
    names: Vec<String>,
    operands: Vec<Net>,
    run: Option<Net>,
    known: HashMap<Node, Net>,
}

impl Nets {
    /// No nets but those of the operands' ports, and the port that moves registers.
    pub(super) fn new(lane: Lane, names: &[&str], operands: Vec<Net>, run: Option<Net>) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { lane, names, operands, run, known: HashMap::new() }
    }

    /// Makes `net` the output `output` of a cell.
    pub(super) fn set(&mut self, output: usize, net: Net) {
        self.known.insert(Node::Sum(output), net);
    }

    /// A name for a net of the module.
    fn name(&self, node: &Node) -> String {
        match node {
            Node::Constant(one) => format!("always_{}", u8::from(*one)),
            Node::Operand(port, bit) => format!("{}_of_{bit}", self.names[*port]),
            Node::Lane(of) => format!("lane_{}", self.name(&of[0])),
            Node::Sum(output) => format!("sum_{output}"),
            Node::Later(of, registers) => format!("{}_later_{registers}", self.name(of)),
        }
    }

    /// The net of a node.
    pub(super) fn get(&mut self, b: &mut Builder, node: &Node) -> Net {
        if let Some(net) = self.known.get(node) {
            return *net;
        }
        let net = match node {
            Node::Operand(port, bit) => b.slice(self.operands[*port], *bit, 1),
            Node::Constant(one) => b.constant(1, (*one).into()),
            Node::Lane(of) => {
                let of: Vec<Net> = of.iter().map(|operand| self.get(b, operand)).collect();
                let value = self.lane.value(b, &of);
                b.named(self.name(node), value)
            }
            Node::Sum(output) => unreachable!("the cell of output {output} is placed before it is used"),
            Node::Later(of, registers) => {
                let run = self.run.expect("a module with registers");
                let before = match registers {
                    1 => (**of).clone(),
                    _ => Node::Later(of.clone(), registers - 1),
                };
                let before = self.get(b, &before);
                b.registered(&self.name(node), None, run, before)
            }
        };
        self.known.insert(node.clone(), net);
        net
    }
}
