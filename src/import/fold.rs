//! Pass: operators are looked up, constants are folded, and every other node gets its static shape.
//!
//! A node whose inputs are constant is evaluated here and gone. Any other node is evaluated on zeros, which gives the
//! shape of its outputs; `Shape` of such a tensor is a constant again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::Node;
use super::op::{self, Operator, Role};
use super::validate::Graph;
use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, MODEL_TOO_LARGE, Result, SAVE_AGAIN};
use crate::tensor::{Data, Tensor};

/// Most elementary steps that folding and shape inference may take together: 2^28.
const MAX_WORK: usize = 1 << 28;

/// An input of a node that is left.
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
}

/// A graph in which everything constant is folded.
#[derive(Debug)]
pub struct Folded {
    /// The nodes left, in topological order.
    pub nodes: Vec<Applied>,
    /// Name and shape of the input.
    pub input: (String, Vec<usize>),
    /// Name of the output.
    pub output: String,
}

/// An [`Applied`] without its node.
struct Kept {
    operator: &'static Operator,
    inputs: Vec<Input>,
    shapes: Vec<Vec<usize>>,
}

/// What is known of a tensor while the nodes are walked.
enum Known {
    Constant(Arc<Tensor>),
    /// Zeros of its shape and type.
    Running(Arc<Tensor>),
    /// Behind a node with an error: nothing more is said about it.
    Nothing,
}

/// Folds `graph`. All nodes without a translation are reported together.
pub fn fold(graph: Graph) -> Result<Folded> {
    let mut known: BTreeMap<String, Known> =
        graph.constants.into_iter().map(|(name, tensor)| (name, Known::Constant(tensor))).collect();
    known.insert(graph.input.clone(), Known::Running(Arc::new(Tensor::zeros(&graph.shape)?)));
    let mut nodes = Vec::new();
    let mut errors = Vec::new();
    let mut work = 0;
    for node in graph.nodes {
        match apply(&node, &known, &mut work) {
            Ok(Outcome { kept, outputs }) => {
                for (name, tensor) in node.outputs.iter().zip(outputs) {
                    known.insert(name.clone(), tensor);
                }
                if let Some(Kept { operator, inputs, shapes }) = kept {
                    nodes.push(Applied { node, operator, inputs, shapes });
                }
            }
            Err(found) => {
                let nothing = node.outputs.iter().map(|name| (name.clone(), Known::Nothing));
                known.extend(nothing);
                errors.extend(found.placed(&node.to_string()));
            }
        }
        if work > MAX_WORK {
            let message = format!("the graph needs more than {MAX_WORK} steps of constant arithmetic");
            errors.push(
                Diagnostic::new(&MODEL_TOO_LARGE, message)
                    .help("simplify the graph before the import (onnxsim), or export a smaller one"),
            );
            break;
        }
    }
    if let Some(Known::Constant(_)) = known.get(&graph.output) {
        errors.push(
            Diagnostic::new(
                &MODEL_INVALID,
                format!("the output {} does not depend on the input", graph.output),
            )
            .help("export the model with the output that its layers make"),
        );
    }
    Diagnostics::collected(errors)?;
    Ok(Folded { nodes, input: (graph.input, graph.shape), output: graph.output })
}

#[derive(Default)]
struct Outcome {
    /// Nothing where the node is folded.
    kept: Option<Kept>,
    outputs: Vec<Known>,
}

fn apply(node: &Node, known: &BTreeMap<String, Known>, work: &mut usize) -> Result<Outcome> {
    let operator = op::find(&node.domain, &node.op).ok_or_else(|| op::unknown(&node.domain, &node.op))?;
    operator.accepts(&node.attributes, node.inputs.len())?;
    let mut tensors: Vec<&Tensor> = Vec::with_capacity(node.inputs.len());
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for name in &node.inputs {
        match known.get(name) {
            Some(Known::Constant(tensor)) => {
                tensors.push(tensor);
                inputs.push(Input::Constant(tensor.clone()));
            }
            Some(Known::Running(zeros)) => {
                tensors.push(zeros);
                inputs.push(Input::Tensor(name.clone()));
            }
            Some(Known::Nothing) => {
                return Ok(Outcome {
                    kept: None,
                    outputs: node.outputs.iter().map(|_| Known::Nothing).collect(),
                });
            }
            None => {
                return Err(Diagnostic::new(&MODEL_INVALID, "an input in the middle is left out")
                    .help(SAVE_AGAIN)
                    .into());
            }
        }
    }
    let constant = operator.is_constant() || inputs.iter().all(|i| matches!(i, Input::Constant(_)));
    *work += tensors.iter().map(|t| t.len()).sum::<usize>() + 1;
    let outputs = (operator.eval)(&node.attributes, &tensors)?;
    let per_element = match operator.role {
        Role::Product => tensors[0].shape.last().copied().unwrap_or(1),
        _ => 1,
    };
    *work += outputs.iter().map(|t| t.len().saturating_mul(per_element)).sum::<usize>();
    if outputs.len() < node.outputs.len() {
        let message =
            format!("{} outputs where {} gives {}", node.outputs.len(), operator.name, outputs.len());
        return Err(Diagnostic::new(&MODEL_INVALID, message).help(SAVE_AGAIN).into());
    }
    if constant {
        let outputs = outputs.into_iter().map(|t| Known::Constant(Arc::new(t))).collect();
        return Ok(Outcome { kept: None, outputs });
    }
    let shapes = outputs.iter().map(|t| t.shape.clone()).collect();
    let outputs = outputs.into_iter().map(|t| Known::Running(Arc::new(zeroed(t)))).collect();
    Ok(Outcome { kept: Some(Kept { operator, inputs, shapes }), outputs })
}

/// Zeros again, so that what later nodes are shown does not depend on the constants before them.
fn zeroed(mut tensor: Tensor) -> Tensor {
    match &mut tensor.data {
        Data::Float(v) => v.fill(0.0),
        Data::Int(v) => v.fill(0),
    }
    tensor
}

#[cfg(test)]
mod tests {
    use super::super::attributes::{Attribute, Attributes};
    use super::*;

    fn node(index: usize, op: &str, inputs: &[&str], output: &str, attributes: Attributes) -> Node {
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let (name, outputs) = (format!("{op}_{index}"), vec![output.to_owned()]);
        Node { index, op: op.into(), domain: String::new(), name, inputs: names(inputs), outputs, attributes }
    }

    fn graph(nodes: Vec<Node>) -> Graph {
        let constants = [
            ("zero", Tensor { shape: vec![], data: Data::Int(vec![0]) }),
            ("rest", Tensor::integers(vec![-1])),
            ("two", Tensor::scalar(2.0)),
        ];
        Graph {
            nodes,
            constants: constants.map(|(n, t)| (n.to_owned(), Arc::new(t))).into(),
            input: "x".into(),
            shape: vec![1, 2, 3],
            output: "y".into(),
        }
    }

    #[test]
    fn shape_chains_become_constants() {
        let none = || Attributes::new(9);
        let axis = || none().with("axis", Attribute::Int(0));
        let folded = fold(graph(vec![
            node(0, "Shape", &["x"], "s", none()),
            node(1, "Gather", &["s", "zero"], "b", axis()),
            node(2, "Unsqueeze", &["b"], "u", none().with("axes", Attribute::Ints(vec![0]))),
            node(3, "Concat", &["u", "rest"], "t", axis()),
            node(4, "Reshape", &["x", "t"], "r", none()),
            node(5, "Mul", &["two", "two"], "four", none()),
            node(6, "Mul", &["r", "four"], "y", none()),
        ]));
        let folded = folded.unwrap();
        assert_eq!(folded.nodes.iter().map(|n| n.node.op.as_str()).collect::<Vec<_>>(), ["Reshape", "Mul"]);
        assert_eq!(folded.nodes[0].shapes, [[1, 6]]);
        let Input::Constant(four) = &folded.nodes[1].inputs[1] else { panic!("folded") };
        assert_eq!(**four, Tensor::scalar(4.0));
    }

    #[test]
    fn every_unknown_operator_is_reported_and_nothing_twice() {
        let none = || Attributes::new(9);
        let found = fold(graph(vec![
            node(0, "Warp", &["x"], "a", none()),
            node(1, "Mul", &["a", "two"], "b", none()),
            node(2, "Weft", &["b"], "c", none()),
            node(3, "Reshape", &["x", "zero"], "d", none()),
            node(4, "Add", &["c", "d"], "y", none()),
        ]));
        let text = found.unwrap_err().to_string();
        assert!(text.contains("Warp_0") && text.contains("Weft_2") && text.contains("Reshape_3"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("number 3 of the graph"), "{text}");
    }
}
