//! Pass: turns operators that read one tensor on several ways, such as `x * Sigmoid(x)` and `Max(x, x / 8)`, into one node, so that
//! no branch begins there.
//!
//! Elementwise operators become one function of a number. Others are fused where only the host can compute them: behind the last
//! matrix product, or before the first.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::attributes::{Applied as Part, Attribute, Attributes, Link};
use crate::graph::op;
use crate::graph::op::fused::PROGRAM;
use crate::graph::operator::{CONFIGURED, OWN, Role};
use crate::import::read::file::Node;
use crate::import::simplify::folded::{Applied, Folded, Input};

/// Maximum number of operators that one node holds.
const MAX_OPERATORS: usize = 256;

/// Maximum number of nodes that are looked at behind one tensor.
const MAX_REACH: usize = 1024;

/// Maximum number of nodes that a graph gets by fusing.
const MAX_FUSED: usize = 1024;

/// Fuses what can be fused. The order of the nodes stays topological.
pub fn fuse(mut folded: Folded) -> Folded {
    let mut start = 0;
    for _ in 0..MAX_FUSED {
        let Some((at, group)) = find(&folded, &mut start) else { break };
        let Some(fused) = fused(&folded, &group) else {
            start += 1;
            continue;
        };
        folded.nodes[at] = fused;
        let mut index = 0;
        folded.nodes.retain(|_| {
            index += 1;
            index - 1 == at || !group.contains(&(index - 1))
        });
    }
    folded
}

/// The tensors that a node reads, each once.
fn reads(applied: &Applied) -> BTreeSet<&str> {
    fn tensor(input: &Input) -> Option<&str> {
        match input {
            Input::Tensor(name) => Some(name),
            Input::Constant(_) => None,
        }
    }
    applied.inputs.iter().filter_map(tensor).collect()
}

/// A group of nodes to fuse and the last of them, from tensor number `start` on: the graph's inputs, then each node's output.
fn find(folded: &Folded, start: &mut usize) -> Option<(usize, BTreeSet<usize>)> {
    let nodes = &folded.nodes;
    let mut readers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (n, applied) in nodes.iter().enumerate() {
        reads(applied).into_iter().for_each(|name| readers.entry(name).or_default().push(n));
    }
    let entries = &folded.inputs;
    while *start < entries.len() + nodes.len() {
        let (tensor, shape) = match start.checked_sub(entries.len()) {
            None => (Some(entries[*start].name.as_str()), Some(&entries[*start].shape)),
            Some(n) => (nodes[n].node.outputs.first().map(String::as_str), nodes[n].shapes.first()),
        };
        if let (Some(tensor), Some(shape)) = (tensor, shape)
            && readers.get(tensor).is_some_and(|r| r.len() > 1)
            && let Some(found) = meeting(folded, &readers, tensor, shape)
        {
            return Some(found);
        }
        *start += 1;
    }
    None
}

/// The first node in which the ways from `tensor` meet again, and all nodes on them.
fn meeting(
    folded: &Folded,
    readers: &BTreeMap<&str, Vec<usize>>,
    tensor: &str,
    shape: &[usize],
) -> Option<(usize, BTreeSet<usize>)> {
    let nodes = &folded.nodes;
    // For each node that depends on the tensor alone, all such nodes that it depends on, itself included.
    let mut inside: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let mut next: BTreeSet<usize> = readers.get(tensor)?.iter().copied().collect();
    for _ in 0..MAX_REACH {
        let Some(n) = next.pop_first() else { break };
        let applied = &nodes[n];
        let inputs = reads(applied);
        let known = |name: &&str| *name == tensor || made.contains_key(*name);
        let single = applied.node.outputs.len() == 1;
        let fusible = !matches!(applied.operator.role, Role::Product)
            && applied.operator.domains != [OWN]
            && !applied.has_running_parameters();
        if !single || !fusible || !inputs.iter().all(known) {
            continue;
        }
        let mut group = BTreeSet::from([n]);
        inputs.iter().filter_map(|name| made.get(*name)).for_each(|m| group.extend(&inside[m]));
        if group.len() > MAX_OPERATORS {
            continue;
        }
        let starts = group.iter().filter(|m| reads(&nodes[**m]).contains(tensor)).count();
        let stays = |m: &usize| {
            let output = &nodes[*m].node.outputs[0];
            *m == n
                || !folded.outputs.contains(output)
                    && readers.get(output.as_str()).is_some_and(|r| r.iter().all(|r| group.contains(r)))
        };
        if starts > 1 && inputs.len() > 1 && group.iter().all(stays) {
            let elementwise = group.iter().all(|m| is_elementwise(&nodes[*m], shape));
            if elementwise || host_only(folded, readers, &group, n) {
                return Some((n, group));
            }
        }
        inside.insert(n, group);
        made.insert(&applied.node.outputs[0], n);
        next.extend(readers.get(applied.node.outputs[0].as_str()).into_iter().flatten());
    }
    None
}

fn is_elementwise(applied: &Applied, shape: &[usize]) -> bool {
    matches!(applied.operator.role, Role::Elementwise { .. } | Role::Quantiser(_))
        && applied.shapes[0] == shape
}

/// Whether only the host can compute the nodes of `group`, the last of which is `last`: no matrix product is behind them, or none
/// before, and one of them isn't an operator that the hardware has.
fn host_only(
    folded: &Folded,
    readers: &BTreeMap<&str, Vec<usize>>,
    group: &BTreeSet<usize>,
    last: usize,
) -> bool {
    let nodes = &folded.nodes;
    let foreign = |m: &usize| {
        let name = nodes[*m].operator.name;
        let joins = reads(&nodes[*m]).len() > 1 && !["Add", "Sub", "Concat"].contains(&name);
        matches!(nodes[*m].operator.role, Role::Host) && name != "Concat" || joins
    };
    if !group.iter().any(foreign) {
        return false;
    }
    let is_product = |n: usize| matches!(nodes[n].operator.role, Role::Product);
    let mut behind = vec![last];
    let mut seen = BTreeSet::new();
    while let Some(n) = behind.pop() {
        if is_product(n) {
            // A product follows, so that none may stand before.
            return !(0..*group.first().unwrap_or(&0)).any(is_product);
        }
        let outputs = nodes[n].node.outputs.iter().filter_map(|o| readers.get(o.as_str()));
        behind.extend(outputs.flatten().filter(|r| seen.insert(**r)));
    }
    true
}

/// One node for the nodes of `group`, in the place of the last one.
fn fused(folded: &Folded, group: &BTreeSet<usize>) -> Option<Applied> {
    let nodes = &folded.nodes;
    let last = &nodes[*group.last()?];
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut inputs: Vec<Input> = Vec::new();
    let mut program = Vec::new();
    for (place, n) in group.iter().enumerate() {
        let Applied { node, operator, inputs: own, .. } = &nodes[*n];
        let mut links = Vec::new();
        for input in own {
            links.push(match input {
                Input::Tensor(name) if places.contains_key(name.as_str()) => {
                    Link::Applied(places[name.as_str()])
                }
                Input::Tensor(name) => {
                    if inputs.is_empty() {
                        inputs.push(Input::Tensor(name.clone()));
                    }
                    Link::Operand(0)
                }
                Input::Constant(tensor) => {
                    // The first operand is the running tensor, which the first node of a group reads.
                    if inputs.is_empty() {
                        let running = own.iter().find(|i| matches!(i, Input::Tensor(_)))?;
                        inputs.push(running.clone());
                    }
                    inputs.push(Input::Constant(tensor.clone()));
                    Link::Operand(inputs.len() - 1)
                }
            });
        }
        program.push(Part {
            domain: operator.domains.first()?,
            operator: operator.name,
            attributes: node.attributes.clone(),
            inputs: links,
            output: 0,
            eval: operator.eval,
        });
        places.insert(node.outputs.first()?, place);
    }
    let Input::Tensor(from) = inputs.first()? else { return None };
    let shape = match folded.inputs.iter().find(|input| input.name == *from) {
        Some(input) => &input.shape,
        None => &nodes.iter().find(|n| n.node.outputs.first() == Some(from))?.shapes[0],
    };
    let elementwise = group.iter().all(|n| is_elementwise(&nodes[*n], shape));
    let operator = op::find(CONFIGURED, if elementwise { "Fused" } else { "FusedHost" })?;
    let attributes = Attributes::new(last.node.attributes.opset).with(PROGRAM, Attribute::Program(program));
    let names = inputs.iter().map(|input| match input {
        Input::Tensor(name) => name.clone(),
        Input::Constant(_) => String::new(),
    });
    let node = Node { inputs: names.collect(), attributes, ..last.node.clone() };
    Some(Applied { node, operator, inputs, shapes: last.shapes.clone(), codes: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tensor::{Data, Tensor};
    use crate::import::simplify::validate::GraphInput;

    fn applied(index: usize, name: &str, inputs: &[&str], output: &str) -> Applied {
        let operator = op::find("", name).unwrap();
        let input = |name: &&str| match name.parse::<f32>() {
            Ok(value) => Input::Constant(Tensor::scalar(value).into()),
            Err(_) => Input::Tensor((*name).to_owned()),
        };
        let node = Node {
            index,
            op: name.into(),
            domain: String::new(),
            name: output.into(),
            inputs: inputs.iter().map(|s| (*s).to_owned()).collect(),
            outputs: vec![output.into()],
            attributes: Attributes::new(18),
        };
        let shapes = vec![if name.starts_with("Reduce") { vec![1, 1] } else { vec![1, 3] }];
        Applied { node, operator, inputs: inputs.iter().map(input).collect(), shapes, codes: None }
    }

    fn fused(nodes: &[(&str, &[&str], &str)], output: &str) -> Vec<Applied> {
        let nodes = nodes.iter().enumerate().map(|(i, (name, inputs, to))| applied(i, name, inputs, to));
        let folded = Folded {
            nodes: nodes.collect(),
            inputs: vec![GraphInput { name: "x".into(), shape: vec![1, 3] }],
            outputs: vec![output.into()],
            ..Folded::default()
        };
        fuse(folded).nodes
    }

    fn names(nodes: &[Applied]) -> Vec<&str> {
        nodes.iter().map(|n| n.operator.name).collect()
    }

    fn eval(applied: &Applied, x: &[f32]) -> Vec<f32> {
        let x = Tensor { shape: vec![1, x.len()], data: Data::Float(x.to_vec()) };
        let tensor = |input: &Input| match input {
            Input::Tensor(_) => x.clone(),
            Input::Constant(t) => (**t).clone(),
        };
        let inputs: Vec<Tensor> = applied.inputs.iter().map(tensor).collect();
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let out = (applied.operator.eval)(&applied.node.attributes, &inputs).unwrap().remove(0);
        out.floats("").unwrap().to_vec()
    }

    #[test]
    fn ways_that_meet_again_become_one_function() {
        // relu(x) - relu(-x) / 4, and twice that.
        let found = fused(
            &[
                ("Relu", &["x"], "a"),
                ("Neg", &["x"], "b"),
                ("Relu", &["b"], "c"),
                ("Mul", &["c", "0.25"], "d"),
                ("Sub", &["a", "d"], "e"),
                ("Mul", &["2", "e"], "y"),
            ],
            "y",
        );
        assert_eq!(names(&found), ["Fused", "Mul"]);
        assert_eq!(eval(&found[0], &[-4.0, 0.0, 3.0]), [-1.0, 0.0, 3.0]);
        // The first operand is a constant; one way is the tensor itself.
        let found = fused(&[("Mul", &["0.5", "x"], "a"), ("Max", &["a", "x"], "y")], "y");
        assert_eq!(names(&found), ["Fused"]);
        assert_eq!(eval(&found[0], &[-4.0, 0.0, 3.0]), [-2.0, 0.0, 3.0]);
        // One within another.
        let found = fused(
            &[
                ("Sigmoid", &["x"], "a"),
                ("Mul", &["x", "a"], "b"),
                ("Abs", &["b"], "c"),
                ("Add", &["b", "c"], "d"),
                ("Min", &["d", "x"], "y"),
            ],
            "y",
        );
        assert_eq!(names(&found), ["Fused"]);
        assert_eq!(eval(&found[0], &[0.0]), [0.0]);
    }

    #[test]
    fn ways_with_other_readers_stay() {
        let leaves: &[(&str, &[&str], &str)] = &[("Relu", &["x"], "a"), ("Add", &["x", "a"], "y")];
        assert_eq!(names(&fused(leaves, "y")), ["Fused"]);
        let mut folded = [leaves, &[("Neg", &["a"], "z")]].concat();
        assert_eq!(names(&fused(&folded, "y")), ["Relu", "Add", "Neg"]);
        folded.pop();
        assert_eq!(names(&fused(&folded, "a")), ["Relu", "Add"], "an output of the graph");
    }

    #[test]
    fn reductions_are_fused_for_the_host_alone() {
        let tail: &[(&str, &[&str], &str)] =
            &[("ReduceMax", &["x"], "a"), ("ReduceMin", &["x"], "b"), ("Sub", &["a", "b"], "y")];
        let found = fused(tail, "y");
        assert_eq!(names(&found), ["FusedHost"]);
        assert_eq!(eval(&found[0], &[-4.0, 0.0, 3.0]), [7.0]);
        let before: &[(&str, &[&str], &str)] = &[("MatMul", &["x", "1"], "h")];
        let of_h: Vec<(&str, &[&str], &str)> =
            vec![("ReduceMax", &["h"], "a"), ("Sub", &["h", "a"], "b"), ("MatMul", &["b", "1"], "y")];
        let found = fused(&[before, &of_h[..]].concat(), "y");
        assert_eq!(names(&found), ["MatMul", "ReduceMax", "Sub", "MatMul"], "between two products");
        let found = fused(&[before, &of_h[..2]].concat(), "b");
        assert_eq!(names(&found), ["MatMul", "FusedHost"]);
    }
}
