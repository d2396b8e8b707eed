//! The whole graph in float32: the reference that networks are compared with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, Result};
use crate::graph::tensor::Tensor;
use crate::import::read::external::External;
use crate::import::read::file;
use crate::import::simplify::fold::fold;
use crate::import::simplify::folded::{Applied, Folded, Input};
use crate::import::simplify::member;
use crate::import::simplify::validate::GraphInput;
use crate::import::simplify::{prune, validate};

/// The operators that depend on the graph's inputs, in topological order.
#[derive(Debug)]
pub struct FloatGraph {
    nodes: Vec<Applied>,
    inputs: Vec<GraphInput>,
    outputs: Vec<String>,
}

impl FloatGraph {
    /// Reads a model file's bytes. Constants are those of member 0.
    ///
    /// # Errors
    /// If the file is invalid, or an operator is unknown.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let graph = prune::prune(validate::validate(file::parse(bytes, &External::none())?)?);
        let mut errors = Vec::new();
        let Folded { nodes, inputs, outputs, .. } = fold(member::in_member(&graph, 0), &mut errors);
        Diagnostics::collected(errors)?;
        Ok(Self { nodes, inputs, outputs })
    }

    /// Shape of the first input, including the leading batch of 1.
    pub fn input_shape(&self) -> &[usize] {
        &self.inputs[0].shape
    }

    /// The inputs.
    pub fn inputs(&self) -> &[GraphInput] {
        &self.inputs
    }

    /// Names of the outputs.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// [`eval_all`](Self::eval_all) of a graph with one input.
    ///
    /// # Errors
    /// If the graph has other inputs too, or an operator rejects its operands.
    pub fn eval(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        self.eval_all(std::slice::from_ref(x))
    }

    /// Evaluates one frame, a tensor for each input, and returns all outputs. The arithmetic is float32, one operation at a time.
    ///
    /// # Errors
    /// If an input has no tensor, or an operator rejects its operands.
    pub fn eval_all(&self, frame: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut known: BTreeMap<&str, Cow<'_, Tensor>> = BTreeMap::new();
        for (input, tensor) in self.inputs.iter().zip(frame) {
            known.insert(&input.name, Cow::Borrowed(tensor));
        }
        for applied in &self.nodes {
            let operand = |input: &'_ Input| -> Result<Tensor> {
                match input {
                    Input::Constant(tensor) => Ok((**tensor).clone()),
                    Input::Tensor(name) => {
                        known.get(&name[..]).map(|t| (**t).clone()).ok_or_else(|| missing(name))
                    }
                }
            };
            let operands: Vec<Tensor> = applied.inputs.iter().map(operand).collect::<Result<_>>()?;
            let operands: Vec<&Tensor> = operands.iter().collect();
            let made = (applied.operator.eval)(&applied.node.attributes, &operands)
                .map_err(|e| e.placed(&applied.node.to_string()))?;
            for (name, tensor) in applied.node.outputs.iter().zip(made) {
                known.insert(name, Cow::Owned(tensor));
            }
        }
        self.outputs
            .iter()
            .map(|name| known.get(&name[..]).map(|t| (**t).clone()).ok_or_else(|| missing(name)))
            .collect()
    }
}

fn missing(tensor: &str) -> Diagnostics {
    Diagnostic::new(&MODEL_INVALID, format!("tensor {tensor} is made by no node")).into()
}
