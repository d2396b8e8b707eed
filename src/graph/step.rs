//! The host's computation before and after the hardware: a chain of operators on one running tensor, in float32.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::diagnostic::{Diagnostic, INPUT_SHAPE, Result};
use crate::graph::attributes::Attributes;
use crate::graph::operator::{Codes, Operator};
use crate::graph::tensor::Tensor;

/// One input of a [`Step`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operand {
    /// The running tensor.
    Running,
    /// A constant.
    Constant(#[serde(serialize_with = "whole")] Arc<Tensor>),
}

/// One operator application.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The operator.
    #[serde(serialize_with = "name_of")]
    pub operator: &'static Operator,
    /// Name of the node in the model file.
    pub node: String,
    /// The node as diagnostics name it.
    #[serde(skip)]
    pub place: String,
    /// The node's attributes.
    pub attributes: Attributes,
    /// The node's inputs.
    pub operands: Vec<Operand>,
    /// The index of the operator's output that the next step uses.
    pub output: usize,
    /// Shape of that output, including the leading batch of 1.
    pub shape: Vec<usize>,
    /// For a matrix product, the integers and scales of its constant operand, if it is quantised.
    #[serde(skip)]
    pub codes: Option<Arc<Codes>>,
}

fn name_of<S: Serializer>(operator: &&'static Operator, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(operator.name)
}

fn whole<S: Serializer>(tensor: &Arc<Tensor>, to: S) -> std::result::Result<S::Ok, S::Error> {
    (**tensor).serialize(to)
}

impl Step {
    /// Applies the operator to `running`. Errors name the node.
    pub fn eval(&self, running: &Tensor) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = self
            .operands
            .iter()
            .map(|operand| match operand {
                Operand::Running => running,
                Operand::Constant(tensor) => tensor,
            })
            .collect();
        let mut outputs =
            (self.operator.eval)(&self.attributes, &inputs).map_err(|e| e.placed(&self.place))?;
        // The index was checked at shape inference.
        Ok(outputs.swap_remove(self.output))
    }

    /// The node's operands; `None` for the running tensor.
    pub fn constants(&self) -> Vec<Option<&Tensor>> {
        self.operands
            .iter()
            .map(|operand| match operand {
                Operand::Running => None,
                Operand::Constant(tensor) => Some(&**tensor),
            })
            .collect()
    }

    /// Whether the parameters of an activation are those with which it is monotone.
    pub(crate) fn keeps_direction(&self) -> bool {
        let float = |name: &str, default: f32| self.attributes.float(name, default).unwrap_or(f32::NAN);
        match self.operator.name {
            "LeakyRelu" | "Elu" | "Celu" | "Selu" | "ThresholdedRelu" => {
                float("alpha", 1.0) >= 0.0 && float("gamma", 1.0) >= 0.0
            }
            // Whether a number is not 0.
            "Cast" => self.attributes.int("to", 1).is_ok_and(|to| to != 9),
            "Shrink" => (0.0..=float("lambd", 0.5)).contains(&float("bias", 0.0)),
            "PRelu" => {
                let slopes = self.constants().get(1).copied().flatten();
                slopes.and_then(|t| t.floats("the slope").ok()).is_some_and(|v| v.iter().all(|s| *s >= 0.0))
            }
            _ => true,
        }
    }

    /// The index of the running operand; `None` unless there is exactly one.
    pub fn position(&self) -> Option<usize> {
        let mut running = self.operands.iter().enumerate().filter(|(_, o)| matches!(o, Operand::Running));
        match (running.next(), running.next()) {
            (Some((position, _)), None) => Some(position),
            _ => None,
        }
    }
}

/// A chain of operators on one running tensor, with constant operands.
#[derive(Debug, Clone, Serialize)]
pub struct HostGraph {
    #[serde(rename = "input_shape")]
    input: Vec<usize>,
    #[serde(rename = "output_shape")]
    output: Vec<usize>,
    steps: Vec<Step>,
}

impl HostGraph {
    /// The identity of a tensor of `shape` (including the leading batch of 1).
    pub fn identity(shape: Vec<usize>) -> Self {
        Self::new(shape, Vec::new())
    }

    /// A chain of `steps`, with an input tensor of shape `input`.
    pub fn new(input: Vec<usize>, steps: Vec<Step>) -> Self {
        let output = steps.last().map_or(&input, |s| &s.shape).clone();
        Self { input, output, steps }
    }

    /// Shape of the input, including the leading batch of 1.
    pub fn input_shape(&self) -> &[usize] {
        &self.input
    }

    /// Shape of the output, including the leading batch of 1.
    pub fn output_shape(&self) -> &[usize] {
        &self.output
    }

    /// The operators, in the order in which they are applied.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Applies all steps to `x` in float32, one operation at a time.
    ///
    /// # Errors
    /// If `x` does not have shape [`input_shape`](Self::input_shape), or an operator rejects its operands.
    pub fn eval(&self, x: &Tensor) -> Result<Tensor> {
        if x.shape != self.input {
            return Err(wrong_shape(&format!("{:?}", x.shape), &self.input).into());
        }
        let mut running = Cow::Borrowed(x);
        for step in &self.steps {
            running = Cow::Owned(step.eval(&running)?);
        }
        Ok(running.into_owned())
    }
}

pub(crate) fn wrong_shape(found: &str, wanted: &[usize]) -> Diagnostic {
    let elements: usize = wanted.iter().product();
    Diagnostic::new(
        &INPUT_SHAPE,
        format!("{found} given where shape {wanted:?} ({elements} elements) is wanted"),
    )
    .help("give frames with as many elements as the model's input has")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op;
    use crate::graph::tensor::Data;

    fn step(name: &str, operands: Vec<Operand>, shape: &[usize]) -> Step {
        let (node, place) = (format!("{name}_0"), format!("node {name}_0"));
        let operator = op::find("", name).unwrap();
        Step {
            operator,
            node,
            place,
            attributes: Attributes::new(9),
            operands,
            output: 0,
            shape: shape.to_vec(),
            codes: None,
        }
    }

    fn scalar(value: f32) -> Operand {
        Operand::Constant(Arc::new(Tensor::scalar(value)))
    }

    #[test]
    fn steps_run_in_order_on_their_operand() {
        let graph = HostGraph::new(
            vec![1, 2],
            vec![
                step("Mul", vec![Operand::Running, scalar(2.0)], &[1, 2]),
                step("Sub", vec![scalar(1.0), Operand::Running], &[1, 2]),
            ],
        );
        let x = Tensor::new(vec![1, 2], Data::Float(vec![0.0, 1.0])).unwrap();
        assert_eq!(graph.eval(&x).unwrap().data, Data::Float(vec![1.0, -1.0]));
        assert!(graph.eval(&Tensor::vector(vec![0.0, 1.0])).is_err());
        assert_eq!(HostGraph::identity(vec![1, 2]).eval(&x).unwrap(), x);
    }

    #[test]
    fn the_manifest_prints_operators_and_constants() {
        let graph = HostGraph::new(vec![1], vec![step("Div", vec![Operand::Running, scalar(255.0)], &[1])]);
        let json = serde_json::to_value(&graph).unwrap();
        assert_eq!(json["steps"][0]["operator"], "Div");
        assert_eq!(json["steps"][0]["operands"][0], "running");
        assert_eq!(json["steps"][0]["operands"][1]["constant"]["data"]["float"][0], 255.0);
    }
}
