//! How far a model got, for those that cannot be built.

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
    /// Where that node is, as diagnostics name it.
    pub place: String,
    /// Inputs of an output, where the weights are constant.
    pub inputs: Option<usize>,
    /// Outputs, likewise.
    pub outputs: Option<usize>,
    /// What the weights are, where they can be held.
    pub weights: Option<WeightKind>,
    /// Type of what comes in, where that is known.
    pub input: Option<Element>,
    /// Type of what an activation gives, where that is known; nothing behind the last layer.
    pub output: Option<Element>,
}

impl PartialLayer {
    /// A layer of which only the product is known.
    pub(crate) fn new(product: &Step) -> Self {
        let shape = product.constants().into_iter().flatten().next().map(|t| t.shape.clone());
        let (inputs, outputs) = match shape.as_deref() {
            Some(&[inputs, outputs]) => (Some(inputs), Some(outputs)),
            // Of each output the channels of its group and the taps.
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
    /// Shape of the graph's input, with the leading batch of 1, where the file got as far.
    pub input: Option<Vec<usize>>,
    /// Operators that the output depends on, and how many of them the importer has a translation for.
    pub operators: (usize, usize),
    /// The layers, in file order.
    pub layers: Vec<PartialLayer>,
    /// Every reason why the model cannot be built; none where it can.
    pub reasons: Vec<Diagnostic>,
}
