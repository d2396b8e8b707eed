//! Pass: the graph becomes one chain of steps on one running tensor, from its input to its output.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fold::{Applied, Folded, Input};
use super::op::product::transposed;
use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result};
use crate::host::{Operand, Step};
use crate::network::Element;
use crate::tensor::Tensor;

/// A graph without branches.
#[derive(Debug, Default)]
pub struct Chain {
    /// Shape of the graph's input.
    pub input: Vec<usize>,
    /// The integer type that the file annotates the input with.
    pub annotation: Option<Element>,
    /// What is applied to it, one after the other.
    pub steps: Vec<Step>,
}

impl Chain {
    /// Shape of what step `index` takes.
    pub fn shape_before(&self, index: usize) -> &[usize] {
        index.checked_sub(1).map_or(&self.input, |i| &self.steps[i].shape)
    }
}

/// Follows the running tensor from the output back to the input; every join of branches is an error.
pub fn chain(folded: Folded) -> Result<Chain> {
    let mut errors = joins(&folded);
    let (input, shape) = folded.input;
    let annotation = folded.annotation;
    let mut makers: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (n, applied) in folded.nodes.iter().enumerate() {
        for (o, name) in applied.node.outputs.iter().enumerate() {
            makers.insert(name.clone(), (n, o));
        }
    }
    let mut nodes: Vec<Option<Applied>> = folded.nodes.into_iter().map(Some).collect();
    let mut steps = Vec::new();
    let mut at = folded.output;
    while at != input && errors.is_empty() {
        let Some((applied, output)) = makers.get(&at).and_then(|&(n, o)| Some((nodes[n].take()?, o))) else {
            errors.push(Diagnostic::new(
                &MODEL_INVALID,
                format!("tensor {at} is not reached from the graph's input"),
            ));
            break;
        };
        let running = applied.inputs.iter().find_map(|i| match i {
            Input::Tensor(name) => Some(name.clone()),
            Input::Constant(_) => None,
        });
        steps.push(step(applied, output));
        let Some(running) = running else { break };
        at = running;
    }
    Diagnostics::collected(errors)?;
    steps.reverse();
    Ok(Chain { input: shape, annotation, steps })
}

/// What is wrong with a graph that is no chain: the nodes that join branches.
pub fn joins(folded: &Folded) -> Vec<Diagnostic> {
    folded.nodes.iter().filter_map(join).collect()
}

/// A node that reads two different tensors.
fn join(applied: &Applied) -> Option<Diagnostic> {
    let tensors = applied.inputs.iter().filter_map(|input| match input {
        Input::Tensor(name) => Some(name.as_str()),
        Input::Constant(_) => None,
    });
    let names: BTreeSet<&str> = tensors.collect();
    let first: Vec<&str> = names.iter().copied().take(4).collect();
    (names.len() > 1).then(|| {
        let message =
            format!("it joins {} branches that depend on the input: {}", names.len(), first.join(", "));
        Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .at(applied.node.to_string())
            .help("chains of layers are supported; remove skip connections and learned scales of the input")
    })
}

/// A product with its constant as a matrix on the right, on its own: for graphs that make no chain.
pub fn product(applied: &Applied) -> Option<Step> {
    let constant = |i: usize| match applied.inputs.get(i) {
        Some(Input::Constant(tensor)) => Some(tensor.clone()),
        _ => None,
    };
    let (weights, turned) = match applied.operator.name {
        "Gemm" => (constant(1)?, applied.node.attributes.int("transB", 0).ok()? != 0),
        "MatMul" => (constant(1)?, false),
        // [outputs, channels of a group, taps..]
        "Conv" => (constant(1)?, true),
        _ => return None,
    };
    let matrix = |t: &Tensor| {
        let outputs = t.shape.first().copied().filter(|_| t.rank() > 2 && !t.is_empty());
        let shape = outputs.map_or_else(|| t.shape.clone(), |n| vec![n, t.len() / n]);
        Tensor { shape, data: t.data.clone() }
    };
    let turn = |t: &Tensor| if turned { transposed(&matrix(t)) } else { Ok(t.clone()) };
    let codes = applied.codes.as_ref().map(|c| c.moved(turn)).transpose().ok()?.map(Arc::new);
    Some(Step {
        operator: applied.operator,
        place: applied.node.to_string(),
        node: applied.node.name.clone(),
        attributes: applied.node.attributes.clone(),
        operands: vec![Operand::Running, Operand::Constant(Arc::new(turn(&weights).ok()?))],
        output: 0,
        shape: Vec::new(),
        codes,
    })
}

fn step(mut applied: Applied, output: usize) -> Step {
    let operand = |input| match input {
        Input::Tensor(_) => Operand::Running,
        Input::Constant(tensor) => Operand::Constant(tensor),
    };
    Step {
        operator: applied.operator,
        place: applied.node.to_string(),
        node: applied.node.name,
        attributes: applied.node.attributes,
        operands: applied.inputs.into_iter().map(operand).collect(),
        output,
        shape: applied.shapes.swap_remove(output),
        codes: applied.codes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::Attributes;
    use super::super::file::Node;
    use super::super::op;
    use super::*;

    fn applied(index: usize, inputs: &[&str], outputs: &[&str]) -> Applied {
        let operator = op::find("", if outputs.len() == 2 { "TopK" } else { "Add" }).unwrap();
        Applied {
            node: Node {
                index,
                op: operator.name.into(),
                domain: String::new(),
                name: format!("n{index}"),
                inputs: Vec::new(),
                outputs: outputs.iter().map(|s| (*s).to_owned()).collect(),
                attributes: Attributes::default(),
            },
            operator,
            inputs: inputs.iter().map(|s| Input::Tensor((*s).to_owned())).collect(),
            shapes: vec![vec![1]; outputs.len()],
            codes: None,
        }
    }

    fn folded(nodes: Vec<Applied>) -> Folded {
        Folded { nodes, input: ("x".into(), vec![1, 4]), output: "y".into(), ..Folded::default() }
    }

    #[test]
    fn the_second_output_may_go_on() {
        let chain = chain(folded(vec![applied(0, &["x"], &["a"]), applied(1, &["a"], &["b", "y"])])).unwrap();
        assert_eq!(
            chain.steps.iter().map(|s| (s.node.as_str(), s.output)).collect::<Vec<_>>(),
            [("n0", 0), ("n1", 1)]
        );
        assert_eq!((chain.shape_before(0), chain.shape_before(1)), (&[1, 4][..], &[1][..]));
    }

    #[test]
    fn one_tensor_read_twice_by_one_node_is_no_branch() {
        let chain = chain(folded(vec![applied(0, &["x", "x"], &["y"])])).unwrap();
        assert_eq!(chain.steps[0].position(), None);
    }

    #[test]
    fn joins_are_refused() {
        let nodes =
            vec![applied(0, &["x"], &["a"]), applied(1, &["x"], &["b"]), applied(2, &["a", "b"], &["y"])];
        let text = chain(folded(nodes)).unwrap_err().to_string();
        assert!(text.contains("n2") && text.contains("a, b"), "{text}");
    }

    #[test]
    fn the_input_may_be_the_output() {
        let mut none = folded(vec![]);
        none.output = "x".into();
        assert!(chain(none).unwrap().steps.is_empty());
    }
}
