//! A graph whose constants are folded: the nodes that depend on its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::frame::element::Element;
use crate::graph::operator::{Codes, Operator, Role};
use crate::graph::tensor::Tensor;
use crate::import::read::file::Node;
use crate::import::simplify::validate::GraphInput;

/// An input of a node that remains after folding.
#[derive(Debug, Clone)]
pub enum Input {
    /// A tensor that depends on the graph's input, by name.
    Tensor(String),
    /// A constant.
    Constant(Arc<Tensor>),
}

/// A node that depends on the graph's input.
#[derive(Debug)]
pub struct Applied {
    /// The node.
    pub node: Node,
    /// Its operator.
    pub operator: &'static Operator,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// Shapes of its outputs.
    pub shapes: Vec<Vec<usize>>,
    /// For a matrix product, the integers and scales of its constant operand.
    pub codes: Option<Arc<Codes>>,
}

impl Applied {
    /// Whether numbers that have to be the same for all frames (bounds, scales, statistics) depend on the graph's input.
    pub fn has_running_parameters(&self) -> bool {
        let has_parameters = matches!(self.operator.role, Role::Quantiser(_))
            || ["Clip", "BatchNormalization"].contains(&self.operator.name);
        has_parameters && self.inputs.iter().skip(1).any(|input| matches!(input, Input::Tensor(_)))
    }
}

/// A graph with all constants folded.
#[derive(Debug, Default)]
pub struct Folded {
    /// The remaining nodes, in topological order.
    pub nodes: Vec<Applied>,
    /// The inputs.
    pub inputs: Vec<GraphInput>,
    /// The inputs' integer types that the file annotates, by name.
    pub annotations: BTreeMap<String, Element>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// The number of members that constants are given for; `None` if the graph has no `Member` node.
    pub members: Option<u32>,
    /// Matrix products downstream of a node with an error: their constants are known, their shapes are not.
    pub loose: Vec<Applied>,
}
