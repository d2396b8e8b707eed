//! Pass: rewrites operators on several branches into sums and divisions of two operands.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Result};
use crate::graph::op;
use crate::graph::tensor::{Tensor, broadcast};
use crate::import::simplify::folded::{Applied, Folded, Input};

/// Replaces every Sum and Mean of several tensors by Adds and a Div, in the order of the operands. Nodes that cannot be replaced
/// stay, and their errors are added to `errors`.
pub fn expand(mut folded: Folded, errors: &mut Vec<Diagnostic>) -> Folded {
    let mut shapes: BTreeMap<String, Vec<usize>> =
        folded.inputs.iter().map(|input| (input.name.clone(), input.shape.clone())).collect();
    let mut nodes = Vec::with_capacity(folded.nodes.len());
    for applied in std::mem::take(&mut folded.nodes) {
        for (name, shape) in applied.node.outputs.iter().zip(&applied.shapes) {
            shapes.insert(name.clone(), shape.clone());
        }
        if !["Sum", "Mean"].contains(&applied.operator.name) || applied.inputs.len() < 2 {
            nodes.push(applied);
            continue;
        }
        match added(&applied, &shapes) {
            Ok(made) => nodes.extend(made),
            Err(found) => {
                errors.extend(found.placed(&applied.node.to_string()));
                nodes.push(applied);
            }
        }
    }
    folded.nodes = nodes;
    folded
}

fn added(applied: &Applied, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Vec<Applied>> {
    let shape = |input: &Input| match input {
        Input::Tensor(name) => shapes.get(name).cloned().unwrap_or_default(),
        Input::Constant(tensor) => tensor.shape.clone(),
    };
    let out = &applied.node.outputs[0];
    let mean = applied.operator.name == "Mean";
    let count = applied.inputs.len();
    let mut made: Vec<Applied> = Vec::new();
    let mut sum = applied.inputs[0].clone();
    let mut size = shape(&sum);
    for (index, input) in applied.inputs.iter().enumerate().skip(1) {
        size = broadcast(&size, &shape(input))?;
        let last = index + 1 == count && !mean;
        let name = if last { out.clone() } else { format!("{out} sum {index}") };
        made.push(node(applied, "Add", vec![sum, input.clone()], &name, &size)?);
        sum = Input::Tensor(name);
    }
    if mean {
        let divisor = Input::Constant(Arc::new(Tensor::scalar(count as f32)));
        made.push(node(applied, "Div", vec![sum, divisor], out, &size)?);
    }
    Ok(made)
}

/// A node of ONNX's operator `name` in the place of `of`.
fn node(of: &Applied, name: &str, inputs: Vec<Input>, output: &str, shape: &[usize]) -> Result<Applied> {
    let mut node = of.node.clone();
    node.outputs = vec![output.to_owned()];
    let operator = op::find("", name).ok_or_else(|| op::unknown("", name))?;
    Ok(Applied { node, operator, inputs, shapes: vec![shape.to_vec()], codes: None })
}
