//! Pass: moves what stands between a concatenation of channels and the next quantiser into the branches.
//!
//! A quantiser acts on every element alone, so quantising a concatenation is concatenating quantised branches. Each branch then
//! ends in the quantiser, whatever its own scale, and the quantiser becomes part of the branch's thresholds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::operator::Role;
use crate::graph::tensor::Tensor;
use crate::import::simplify::folded::{Applied, Folded, Input};

/// Moves quantisers in front of concatenations whose inputs are not known to have one scale.
pub fn distribute(mut folded: Folded) -> Folded {
    // A quantiser may be moved through several concatenations, one after the other.
    for at in (0..folded.nodes.len()).rev() {
        if let Some(chains) = chains(&folded, at) {
            apply(&mut folded, at, &chains);
        }
    }
    folded
}

/// The only operand of a node that depends on the input; `None` if there are several or none.
fn operand(applied: &Applied) -> Option<&str> {
    let mut names = applied.inputs.iter().filter_map(|input| match input {
        Input::Tensor(name) => Some(name.as_str()),
        Input::Constant(_) => None,
    });
    names.next().filter(|_| names.next().is_none())
}

/// For each reader of the concatenation number `at`, the nodes up to the last quantiser before anything else. `None` if a reader has
/// no such nodes, or if nothing is to be moved.
fn chains(folded: &Folded, at: usize) -> Option<Vec<Vec<usize>>> {
    let nodes = &folded.nodes;
    let join = &nodes[at];
    let tensors = join.inputs.iter().all(|input| matches!(input, Input::Tensor(_)));
    if join.operator.name != "Concat" || join.inputs.len() < 2 || !tensors || one_scale(folded, join) {
        return None;
    }
    let axis = axis(join)?;
    let readers = |tensor: &str| -> Option<Vec<usize>> {
        let reads =
            |applied: &Applied| applied.inputs.iter().any(|i| matches!(i, Input::Tensor(n) if n == tensor));
        (!folded.outputs.iter().any(|o| o == tensor))
            .then(|| (0..nodes.len()).filter(|n| reads(&nodes[*n])).collect())
    };
    let first = readers(&join.node.outputs[0])?;
    let chain = |start: usize| -> Option<Vec<usize>> {
        let mut chain = Vec::new();
        let mut next = Some(start);
        while let Some(n) = next {
            let applied = &nodes[n];
            let local = matches!(applied.operator.role, Role::Elementwise { .. } | Role::Quantiser(_));
            if !local || operand(applied).is_none() || parts(folded, join, applied, axis).is_none() {
                break;
            }
            chain.push(n);
            next = readers(&applied.node.outputs[0]).filter(|r| r.len() == 1).map(|r| r[0]);
        }
        let last = chain.iter().rposition(|n| matches!(nodes[*n].operator.role, Role::Quantiser(_)))?;
        chain.truncate(last + 1);
        Some(chain)
    };
    first.into_iter().map(chain).collect::<Option<Vec<_>>>().filter(|chains| !chains.is_empty())
}

/// Whether all inputs of a concatenation are known to be quantised with one scale, so that it needs no help.
fn one_scale(folded: &Folded, join: &Applied) -> bool {
    let scale = |input: &Input| -> Option<f32> {
        let Input::Tensor(name) = input else { return None };
        let mut name = name.as_str();
        loop {
            let made = folded.nodes.iter().find(|n| n.node.outputs.iter().any(|o| o == name))?;
            if let Role::Quantiser(quantiser) = made.operator.role {
                let constants: Vec<Option<&Tensor>> = made
                    .inputs
                    .iter()
                    .map(|input| match input {
                        Input::Tensor(_) => None,
                        Input::Constant(tensor) => Some(&**tensor),
                    })
                    .collect();
                let levels = (quantiser.levels)(&made.node.attributes, &constants).ok()??;
                let scales = levels.scale.as_ref()?.floats("the scale").ok()?.to_vec();
                return scales.first().copied().filter(|s| scales.iter().all(|other| other == s));
            }
            let keeps =
                matches!(made.operator.role, Role::Layout | Role::Select) && made.operator.name != "Pad";
            if !keeps && made.operator.name != "Relu" {
                return None;
            }
            name = operand(made)?;
        }
    };
    let mut scales = join.inputs.iter().map(scale);
    let first = scales.next().flatten();
    first.is_some() && scales.all(|other| other == first)
}

/// The axis of a concatenation.
fn axis(join: &Applied) -> Option<usize> {
    let rank = join.shapes.first()?.len() as i64;
    let axis = join.node.attributes.int("axis", 0).ok()?;
    usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|a| (*a as i64) < rank)
}

/// The extents of a concatenation's inputs along its axis.
fn extents(folded: &Folded, join: &Applied, axis: usize) -> Option<Vec<usize>> {
    let shape = |name: &str| {
        let made = folded.nodes.iter().find_map(|n| {
            let output = n.node.outputs.iter().position(|o| o == name)?;
            n.shapes.get(output)
        });
        made.or_else(|| folded.inputs.iter().find(|input| input.name == name).map(|input| &input.shape))
    };
    let extent = |input: &Input| match input {
        Input::Tensor(name) => shape(name)?.get(axis).copied(),
        Input::Constant(_) => None,
    };
    join.inputs.iter().map(extent).collect()
}

/// The inputs of `applied` for each branch: constants that differ along `axis` are cut. `None` if that is not possible.
fn parts(folded: &Folded, join: &Applied, applied: &Applied, axis: usize) -> Option<Vec<Vec<Input>>> {
    let extents = extents(folded, join, axis)?;
    let whole = &join.shapes[0];
    if applied.shapes.first() != Some(whole) {
        return None;
    }
    let mut start = 0;
    let mut all = Vec::new();
    for extent in extents {
        let range = start..start + extent;
        start = range.end;
        let cut = |input: &Input| match input {
            Input::Tensor(name) => Some(Input::Tensor(name.clone())),
            Input::Constant(tensor) if tensor.len() <= 1 => Some(Input::Constant(tensor.clone())),
            Input::Constant(tensor) => {
                let at = match applied.operator.name {
                    "BatchNormalization" if axis == 1 => Some(0),
                    "MultiThreshold"
                        if axis == 1
                            && applied.node.attributes.text("data_layout", "NCHW").ok()? == "NCHW" =>
                    {
                        Some(0)
                    }
                    "Add" | "Sub" | "Mul" | "Div" | "Quant" | "IntQuant" | "BipolarQuant" | "PRelu"
                    | "Min" | "Max" => {
                        if tensor.rank() > whole.len() {
                            return None;
                        }
                        (axis + tensor.rank()).checked_sub(whole.len())
                    }
                    _ => return None,
                };
                match at.map(|at| (at, tensor.shape[at])) {
                    None | Some((_, 1)) => Some(Input::Constant(tensor.clone())),
                    Some((at, n)) if n == whole[axis] => {
                        Some(Input::Constant(Arc::new(slice(tensor, at, range.clone()))))
                    }
                    Some(_) => None,
                }
            }
        };
        all.push(applied.inputs.iter().map(cut).collect::<Option<Vec<_>>>()?);
    }
    Some(all)
}

/// The elements of `tensor` whose index along `axis` lies in `range`.
fn slice(tensor: &Tensor, axis: usize, range: std::ops::Range<usize>) -> Tensor {
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let extent = tensor.shape[axis];
    let keep = (0..tensor.len()).filter(|i| range.contains(&(i / inner % extent)));
    let mut shape = tensor.shape.clone();
    shape[axis] = range.len();
    Tensor { shape, data: tensor.data.pick(keep) }
}

/// Replaces the concatenation number `at` by one for each chain, behind the chain's nodes for each branch.
fn apply(folded: &mut Folded, at: usize, chains: &[Vec<usize>]) {
    let mut made = Vec::new();
    {
        let folded = &*folded;
        let join = &folded.nodes[at];
        let Some((axis, extents)) = axis(join).and_then(|axis| Some((axis, extents(folded, join, axis)?)))
        else {
            return;
        };
        for chain in chains {
            let mut heads: Vec<Input> = join.inputs.clone();
            for n in chain {
                let applied = &folded.nodes[*n];
                let Some(inputs) = parts(folded, join, applied, axis) else { return };
                for (k, (mut inputs, head)) in inputs.into_iter().zip(&mut heads).enumerate() {
                    for input in inputs.iter_mut().filter(|input| matches!(input, Input::Tensor(_))) {
                        *input = head.clone();
                    }
                    let mut node = applied.node.clone();
                    let name = format!("{} of {} part {k}", node.outputs[0], join.node.outputs[0]);
                    node.outputs = vec![name.clone()];
                    let mut shape = applied.shapes[0].clone();
                    shape[axis] = extents[k];
                    made.push(Applied {
                        node,
                        operator: applied.operator,
                        inputs,
                        shapes: vec![shape],
                        codes: None,
                    });
                    *head = Input::Tensor(name);
                }
            }
            let mut node = join.node.clone();
            let last = chain.last().map_or(at, |n| *n);
            node.outputs.clone_from(&folded.nodes[last].node.outputs);
            made.push(Applied {
                node,
                operator: join.operator,
                inputs: heads,
                shapes: folded.nodes[last].shapes.clone(),
                codes: None,
            });
        }
    }
    let moved: BTreeMap<usize, ()> = chains.iter().flatten().map(|n| (*n, ())).collect();
    let mut nodes = Vec::with_capacity(folded.nodes.len() + made.len());
    for (n, applied) in std::mem::take(&mut folded.nodes).into_iter().enumerate() {
        if n == at {
            nodes.append(&mut made);
        } else if !moved.contains_key(&n) {
            nodes.push(applied);
        }
    }
    folded.nodes = nodes;
}
