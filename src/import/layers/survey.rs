//! How far the import of a model got.

use crate::arith::matrix::WeightKind;
use crate::diagnostic::Diagnostic;
use crate::frame::element::Element;
use crate::graph::step::Step;
use serde::Serialize;

/// A layer as far as it was understood.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartialLayer {
    /// The node of the model file.
    pub origin: String,
    /// The node as diagnostics name it.
    pub place: String,
    /// Number of inputs of an output, if the weights are constant.
    pub inputs: Option<usize>,
    /// Number of outputs, if the weights are constant.
    pub outputs: Option<usize>,
    /// Kind of the weights, if they are supported.
    pub weights: Option<WeightKind>,
    /// Element type of the input, if it is known.
    pub input: Option<Element>,
    /// Element type of the activation, if it is known; `None` for the last layer.
    pub output: Option<Element>,
}

impl PartialLayer {
    /// A layer of which only the product's node is known.
    pub(crate) fn new(product: &Step) -> Self {
        let shape = product.constants().into_iter().flatten().next().map(|t| t.shape.clone());
        let (inputs, outputs) = match shape.as_deref() {
            Some(&[inputs, outputs]) => (Some(inputs), Some(outputs)),
            // Inputs per output: channels of a group times taps.
            Some([outputs, seen @ ..]) if product.operator.name == "Conv" => {
                (Some(seen.iter().product()), Some(*outputs))
            }
            _ => (None, None),
        };
        Self {
            origin: product.node.clone(),
            place: product.place.clone(),
            inputs,
            outputs,
            weights: None,
            input: None,
            output: None,
        }
    }
}

/// What is known of a model, whether it can be built or not.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Names of the graph's inputs, and their shapes including the leading batch of 1; empty if the file could not be parsed.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// The number of nodes that an output depends on, and how many of them have a known operator.
    pub operators: (usize, usize),
    /// The layers, in file order.
    pub layers: Vec<PartialLayer>,
    /// Every reason why the model cannot be built; empty if it can.
    pub reasons: Vec<Diagnostic>,
}
