//! Pass: gives every branch its own part. A Split becomes a Slice for each part, and every window its own padding.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::attributes::Attributes;
use crate::graph::op;
use crate::graph::operator::{Role, axis};
use crate::graph::tensor::Tensor;
use crate::import::read::file::Node;
use crate::import::simplify::folded::{Applied, Folded, Input};

/// Splits the nodes of a graph.
pub fn split(mut folded: Folded) -> Folded {
    let nodes = std::mem::take(&mut folded.nodes);
    folded.nodes = nodes.into_iter().flat_map(slices).collect();
    padded(&mut folded);
    folded
}

/// The parts of a Split as Slices; any other node as it is.
fn slices(applied: Applied) -> Vec<Applied> {
    let slice = op::find("", "Slice");
    let rank = applied.shapes.first().map_or(0, Vec::len);
    let at = applied.node.attributes.int("axis", 0).ok().and_then(|a| axis(a, rank).ok());
    let (Some(operator), Some(at), "Split") = (slice, at, applied.operator.name) else {
        return vec![applied];
    };
    let mut start = 0;
    let mut part = |(output, shape): (&String, &Vec<usize>)| {
        let ends = [start, start + shape[at] as i64, at as i64];
        start = ends[1];
        let constants = ends.map(|v| Input::Constant(Arc::new(Tensor::integers(vec![v]))));
        let node = Node {
            op: "Slice".to_owned(),
            outputs: vec![output.clone()],
            attributes: Attributes::new(13),
            name: applied.node.name.clone(),
            domain: applied.node.domain.clone(),
            inputs: applied.node.inputs.clone(),
            index: applied.node.index,
        };
        Applied {
            node,
            operator,
            inputs: applied.inputs[..1].iter().cloned().chain(constants).collect(),
            shapes: vec![shape.clone()],
            codes: None,
        }
    };
    applied.node.outputs.iter().zip(&applied.shapes).map(&mut part).collect()
}

/// Gives every reader of a Pad its own one, if all of them are windows: each can then take the padding as its own.
fn padded(folded: &mut Folded) {
    let mut readers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (n, applied) in folded.nodes.iter().enumerate() {
        for input in &applied.inputs {
            if let Input::Tensor(name) = input {
                readers.entry(name.clone()).or_default().push(n);
            }
        }
    }
    let is_window = |n: &usize| {
        let operator = folded.nodes[*n].operator;
        operator.name == "Conv" || operator.name == "MaxPool" || matches!(operator.role, Role::Pool)
    };
    let several = |applied: &Applied| {
        let name = applied.node.outputs.first()?;
        let found = readers.get(name).filter(|readers| readers.len() > 1 && readers.iter().all(is_window))?;
        (applied.operator.name == "Pad" && !folded.outputs.contains(name)).then(|| found.clone())
    };
    let copied: Vec<Option<Vec<usize>>> = folded.nodes.iter().map(several).collect();
    let mut renamed: BTreeMap<usize, (String, String)> = BTreeMap::new();
    let mut made = Vec::with_capacity(folded.nodes.len());
    for (n, (mut applied, readers)) in std::mem::take(&mut folded.nodes).into_iter().zip(copied).enumerate() {
        if let Some((from, to)) = renamed.remove(&n) {
            for input in &mut applied.inputs {
                if matches!(input, Input::Tensor(name) if *name == from) {
                    *input = Input::Tensor(to.clone());
                }
            }
        }
        // The first reader keeps the Pad that there is.
        for (copy, reader) in readers.into_iter().flatten().enumerate().skip(1) {
            let from = applied.node.outputs[0].clone();
            let to = format!("{from}/{copy}");
            let mut node = applied.node.clone();
            node.outputs[0].clone_from(&to);
            renamed.insert(reader, (from, to));
            made.push(Applied {
                node,
                operator: applied.operator,
                inputs: applied.inputs.clone(),
                shapes: applied.shapes.clone(),
                codes: None,
            });
        }
        made.push(applied);
    }
    folded.nodes = made;
}
