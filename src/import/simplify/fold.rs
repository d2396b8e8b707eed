//! Pass: looks operators up, folds constants, and infers the static shape of every other node.
//!
//! A node with constant inputs is evaluated and removed. Every other node is evaluated on zeros to infer its output shapes.
//! `Shape` of any tensor is a constant.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{
    Diagnostic, Diagnostics, MODEL_INVALID, MODEL_TOO_LARGE, OPERATOR_UNSUPPORTED, Result,
};
use crate::graph::op;
use crate::graph::op::stochastic::picks;
use crate::graph::operator::{Codes, Operator, Role};
use crate::graph::tensor::{Data, Tensor};
use crate::import::options::MAX_MEMBERS;
use crate::import::read::file::Node;
use crate::import::simplify::folded::{Applied, Folded, Input};
use crate::import::simplify::validate::{Graph, GraphInput};
use crate::import::simplify::{batch, codes};

/// Upper bound on elementary operations of constant folding and shape inference together: 2^28.
const MAX_WORK: usize = 1 << 28;

/// An [`Applied`] before its node is attached.
struct Kept {
    operator: &'static Operator,
    inputs: Vec<Input>,
    shapes: Vec<Vec<usize>>,
    codes: Option<Arc<Codes>>,
}

/// The state of a tensor during the pass.
enum Known {
    Constant(Arc<Tensor>, Option<Arc<Codes>>),
    /// Zeros of the tensor's shape and type.
    Running(Arc<Tensor>),
    /// Downstream of a node with an error; no further errors are reported for it.
    Nothing,
}

/// Folds `graph`. Nodes that cannot be translated are collected in `errors`; nodes that do not depend on them are still folded.
pub fn fold(graph: Graph, errors: &mut Vec<Diagnostic>) -> Folded {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for (name, tensor) in graph.constants {
        let codes = graph.annotations.get(&name).and_then(|t| codes::annotated(&tensor, *t)).map(Arc::new);
        known.insert(name, Known::Constant(tensor, codes));
    }
    let mut inputs = graph.annotations;
    inputs.retain(|name, _| graph.inputs.iter().any(|input| input.name == *name));
    let mut folded = Folded {
        nodes: Vec::new(),
        annotations: inputs,
        inputs: graph.inputs,
        outputs: graph.outputs,
        members: None,
        loose: Vec::new(),
    };
    for GraphInput { name, shape } in &folded.inputs {
        match Tensor::zeros(shape) {
            Ok(zeros) => known.insert(name.clone(), Known::Running(Arc::new(zeros))),
            Err(found) => {
                errors.extend(found);
                return folded;
            }
        };
    }
    let mut work = 0;
    for node in graph.nodes {
        if picks(&node.domain, &node.op)
            && let Some(Known::Constant(all, _)) = node.inputs.first().and_then(|name| known.get(name))
            && let Err(found) = count(&mut folded.members, all)
        {
            errors.push(found.at(node.to_string()));
        }
        match apply(&node, &known, &mut work) {
            Ok(Outcome { kept, loose, outputs }) => {
                // An empty name is an omitted output; as an input it is an omitted operand.
                for (name, tensor) in node.outputs.iter().zip(outputs).filter(|(name, _)| !name.is_empty()) {
                    known.insert(name.clone(), tensor);
                }
                if let Some(Kept { operator, inputs, shapes, codes }) = kept {
                    let applied = Applied { node, operator, inputs, shapes, codes };
                    (if loose { &mut folded.loose } else { &mut folded.nodes }).push(applied);
                }
            }
            Err(found) => {
                let named = node.outputs.iter().filter(|name| !name.is_empty());
                let nothing = named.map(|name| (name.clone(), Known::Nothing));
                known.extend(nothing);
                errors.extend(found.placed(&node.to_string()));
            }
        }
        if work > MAX_WORK {
            let message = format!("the graph needs more than {MAX_WORK} steps of constant arithmetic");
            errors.push(
                Diagnostic::new(&MODEL_TOO_LARGE, message)
                    .help("fold the constants before the import (onnxsim), or split the model"),
            );
            break;
        }
    }
    let constant = |name: &&String| matches!(known.get(*name), Some(Known::Constant(..)));
    for output in folded.outputs.iter().filter(constant) {
        errors.push(
            Diagnostic::new(&MODEL_INVALID, format!("the output {output} does not depend on the input"))
                .help("name the tensor that the network computes as the graph's output"),
        );
    }
    if errors.is_empty()
        && let Err(found) = batch::single(&mut folded)
    {
        errors.extend(found);
    }
    folded
}

/// Records the number of members of a `Member` node's constant. All such constants must agree.
fn count(members: &mut Option<u32>, constant: &Tensor) -> std::result::Result<(), Diagnostic> {
    let here = constant.shape.first().copied().unwrap_or(0);
    let legal = u32::try_from(here).ok().filter(|m| (1..=MAX_MEMBERS).contains(m));
    let Some(here) = legal else {
        let message =
            format!("a constant of shape {:?}; 1 to {MAX_MEMBERS} members are supported", constant.shape);
        return Err(Diagnostic::new(&MODEL_INVALID, message));
    };
    match *members.get_or_insert(here) {
        before if before == here => Ok(()),
        before => Err(Diagnostic::new(
            &MODEL_INVALID,
            format!("{here} members, where constants before have {before}"),
        )),
    }
}

#[derive(Default)]
struct Outcome {
    /// The node; `None` if it is folded.
    kept: Option<Kept>,
    /// Whether an input is downstream of a node with an error.
    loose: bool,
    outputs: Vec<Known>,
}

fn apply(node: &Node, known: &BTreeMap<String, Known>, work: &mut usize) -> Result<Outcome> {
    let operator = op::find(&node.domain, &node.op).ok_or_else(|| op::unknown(&node.domain, &node.op))?;
    operator.accepts(&node.attributes, node.inputs.len())?;
    let mut tensors: Vec<&Tensor> = Vec::with_capacity(node.inputs.len());
    let mut inputs = Vec::with_capacity(node.inputs.len());
    let mut integers: Vec<Option<&Codes>> = Vec::with_capacity(node.inputs.len());
    let mut kept_codes = None;
    let mut loose = false;
    let none = Tensor::vector(Vec::new());
    for name in &node.inputs {
        integers.push(None);
        match known.get(name) {
            Some(Known::Constant(tensor, codes)) => {
                tensors.push(tensor);
                inputs.push(Input::Constant(tensor.clone()));
                integers.pop();
                integers.push(codes.as_deref());
                // The codes of an operand of the product. A third input is the bias, which may be quantised too.
                if integers.len() <= 2 {
                    kept_codes = kept_codes.or_else(|| codes.clone());
                }
            }
            Some(Known::Running(zeros)) => {
                tensors.push(zeros);
                inputs.push(Input::Tensor(name.clone()));
            }
            Some(Known::Nothing) => {
                loose = true;
                inputs.push(Input::Tensor(name.clone()));
            }
            None if name.is_empty() => {
                tensors.push(&none);
                inputs.push(Input::Constant(Arc::new(none.clone())));
            }
            None => return Err(Diagnostic::new(&MODEL_INVALID, format!("input {name} is not there")).into()),
        }
    }
    let operator = op::other_mean(operator, &node.attributes, &tensors).unwrap_or(operator);
    let operator = op::resize::interpolating(operator, &node.attributes);
    let sampled = integers.iter().flatten().any(|c| c.rounding.is_some());
    let codes = kept_codes.filter(|_| matches!(operator.role, Role::Product));
    if loose {
        let outputs = node.outputs.iter().map(|_| Known::Nothing).collect();
        let product = matches!(operator.role, Role::Product);
        let kept = product.then(|| Kept { operator, inputs, shapes: vec![Vec::new()], codes });
        return Ok(Outcome { kept, loose, outputs });
    }
    let constant = operator.is_constant() || inputs.iter().all(|i| matches!(i, Input::Constant(_)));
    *work += tensors.iter().map(|t| t.len()).sum::<usize>() + 1;
    // For a convolution only the output shape is computed, not its products.
    let (outputs, per_element) = if operator.name == "Conv" && !constant {
        (vec![op::conv::zeros(&node.attributes, &tensors)?], 1)
    } else {
        let outputs = (operator.eval)(&node.attributes, &tensors)?;
        (outputs, operator.steps(&node.attributes, &tensors))
    };
    *work += outputs.iter().map(|t| t.len().saturating_mul(per_element)).sum::<usize>();
    if outputs.len() < node.outputs.len() {
        let message =
            format!("{} outputs where {} gives {}", node.outputs.len(), operator.name, outputs.len());
        return Err(Diagnostic::new(&MODEL_INVALID, message).into());
    }
    if constant {
        let codes = codes::through(operator, &node.attributes, &tensors, &integers).map(Arc::new);
        if sampled && !operator.is_constant() && codes.as_ref().is_none_or(|c| c.rounding.is_none()) {
            return Err(no_longer_sampled(operator.name));
        }
        let outputs = outputs.into_iter().enumerate();
        let outputs =
            outputs.map(|(i, t)| Known::Constant(Arc::new(t), codes.clone().filter(|_| i == 0))).collect();
        return Ok(Outcome { outputs, ..Outcome::default() });
    }
    if sampled && !matches!(operator.role, Role::Product) {
        return Err(no_longer_sampled(operator.name));
    }
    if ["Where", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Min", "Max"].contains(&operator.name) {
        let running: Vec<&[usize]> = inputs
            .iter()
            .zip(&tensors)
            .filter_map(|(input, t)| matches!(input, Input::Tensor(_)).then_some(&t.shape[..]))
            .collect();
        if running.contains(&&outputs[0].shape[..]) {
            inputs.iter_mut().for_each(one_number);
        }
    }
    let shapes = outputs.iter().map(|t| t.shape.clone()).collect();
    let outputs = outputs.into_iter().map(|t| Known::Running(Arc::new(zeroed(t)))).collect();
    Ok(Outcome { kept: Some(Kept { operator, inputs, shapes, codes }), loose, outputs })
}

/// Makes a constant of equal elements, such as `ones_like(x)`, a scalar.
fn one_number(input: &mut Input) {
    if let Input::Constant(tensor) = input
        && tensor.len() > 1
        && match &tensor.data {
            Data::Float(v) => v.iter().all(|x| x.to_bits() == v[0].to_bits()),
            Data::Int(v) => v.iter().all(|x| *x == v[0]),
        }
    {
        *tensor = Arc::new(Tensor { shape: Vec::new(), data: tensor.data.pick(std::iter::once(0)) });
    }
}

/// The diagnostic for stochastic weights whose sampling an operator would lose.
fn no_longer_sampled(operator: &str) -> Diagnostics {
    let message = format!("{operator} takes weights that StochasticQuant marks, and does not leave them so");
    Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
        .help("behind StochasticQuant there may be Transpose, Reshape and the like, factors, and the matrix product")
        .into()
}

/// The tensor with all elements 0, so that shape inference of later nodes does not depend on earlier constants.
fn zeroed(mut tensor: Tensor) -> Tensor {
    match &mut tensor.data {
        Data::Float(v) => v.fill(0.0),
        Data::Int(v) => v.fill(0),
    }
    tensor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::{Attribute, Attributes};

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
            annotations: BTreeMap::new(),
            inputs: vec![GraphInput { name: "x".into(), shape: vec![1, 2, 3] }],
            outputs: vec!["y".into()],
        }
    }

    #[test]
    fn shape_chains_become_constants() {
        let none = || Attributes::new(9);
        let axis = || none().with("axis", Attribute::Int(0));
        let mut errors = Vec::new();
        let nodes = vec![
            node(0, "Shape", &["x"], "s", none()),
            node(1, "Gather", &["s", "zero"], "b", axis()),
            node(2, "Unsqueeze", &["b"], "u", none().with("axes", Attribute::Ints(vec![0]))),
            node(3, "Concat", &["u", "rest"], "t", axis()),
            node(4, "Reshape", &["x", "t"], "r", none()),
            node(5, "Mul", &["two", "two"], "four", none()),
            node(6, "Mul", &["r", "four"], "y", none()),
        ];
        let folded = fold(graph(nodes), &mut errors);
        assert!(errors.is_empty());
        assert_eq!(folded.nodes.iter().map(|n| n.node.op.as_str()).collect::<Vec<_>>(), ["Reshape", "Mul"]);
        assert_eq!(folded.nodes[0].shapes, [[1, 6]]);
        let Input::Constant(four) = &folded.nodes[1].inputs[1] else { panic!("folded") };
        assert_eq!(**four, Tensor::scalar(4.0));
    }

    #[test]
    fn every_unknown_operator_is_reported_and_nothing_twice() {
        let none = || Attributes::new(9);
        let nodes = vec![
            node(0, "Warp", &["x"], "a", none()),
            node(1, "Mul", &["a", "two"], "b", none()),
            node(2, "Weft", &["b"], "c", none()),
            node(3, "Reshape", &["x", "zero"], "d", none()),
            node(4, "Add", &["c", "d"], "y", none()),
        ];
        let mut errors = Vec::new();
        fold(graph(nodes), &mut errors);
        let text = Diagnostics::collected(errors).unwrap_err().to_string();
        assert!(text.contains("Warp_0") && text.contains("Weft_2") && text.contains("Reshape_3"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("number 3 of the graph"), "{text}");
    }
}
