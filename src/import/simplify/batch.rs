//! Pass: reads a graph for a fixed batch of several frames as the graph for one frame, where the frames don't depend on each
//! other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, OPERATOR_UNSUPPORTED, Result};
use crate::graph::attributes::Attributes;
use crate::graph::op;
use crate::graph::operator::Role;
use crate::graph::tensor::{Data, Tensor};
use crate::import::read::file::Node;
use crate::import::simplify::folded::{Applied, Folded, Input};
use crate::import::simplify::validate::GraphInput;

/// Turns the batch of `folded` into a batch of 1. A graph that mixes the entries of axis 0, but gives one result, takes the whole
/// tensor as one frame.
///
/// # Errors
/// If the frames of the batch are mixed, and there is a result for each.
pub fn single(folded: &mut Folded) -> Result<()> {
    let batch = folded.inputs[0].shape[0];
    if let Some(other) = folded.inputs.iter().find(|input| input.shape[0] != batch) {
        let first = &folded.inputs[0].name;
        let message =
            format!("the inputs {first} and {} have batches of {batch} and {}", other.name, other.shape[0]);
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .help(
                "export the model with a batch of 1 at every input, or with a symbolic batch (dynamic_axes)",
            )
            .into());
    }
    if batch == 1 {
        return Ok(());
    }
    match per_frame(folded, batch) {
        Ok(nodes) => {
            for (applied, (inputs, shapes)) in folded.nodes.iter_mut().zip(nodes) {
                applied.inputs = inputs;
                applied.shapes = shapes;
            }
            folded.inputs.iter_mut().for_each(|input| input.shape[0] = 1);
            Ok(())
        }
        Err(_) if gives_one(folded) && folded.inputs.len() == 1 => whole(folded),
        Err(found) => Err(found),
    }
}

/// The operands and output shapes of a node.
type OneFrame = (Vec<Input>, Vec<Vec<usize>>);

/// The graph for one frame.
///
/// Axis 0 must be the batch of every tensor, and every operator must compute each frame of a batch as it computes that frame
/// alone: that is tried with numbers that differ from element to element.
fn per_frame(folded: &Folded, batch: usize) -> Result<Vec<OneFrame>> {
    let mut shapes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    shapes.extend(folded.inputs.iter().map(|input| (&*input.name, with_batch(&input.shape, 1))));
    let mut integer: BTreeMap<&str, bool> = folded.inputs.iter().map(|input| (&*input.name, false)).collect();
    let mut nodes = Vec::with_capacity(folded.nodes.len());
    let mut work: usize = 0;
    for applied in &folded.nodes {
        let mixed = |fact: String| refuse(applied, batch, &fact);
        let inputs: Vec<Input> =
            applied.inputs.iter().enumerate().map(|(at, i)| resized(applied, at, i, batch)).collect();
        let operands = |frame: Option<usize>| -> Result<Vec<Tensor>> {
            inputs
                .iter()
                .zip(&applied.inputs)
                .enumerate()
                .map(|(at, (one, all))| match (one, all) {
                    (Input::Tensor(name), _) => {
                        let shape =
                            shapes.get(&**name).ok_or_else(|| mixed(format!("{name} has no shape")))?;
                        numbers(shape, integer.get(&**name) == Some(&true), batch, frame, at)
                    }
                    (Input::Constant(one), Input::Constant(all)) => {
                        Ok((**if frame.is_some() { one } else { all }).clone())
                    }
                    (Input::Constant(one), Input::Tensor(_)) => Ok((**one).clone()),
                })
                .collect()
        };
        let attributes = &applied.node.attributes;
        let first = operands(Some(0))?;
        let first: Vec<&Tensor> = first.iter().collect();
        // The shapes of a convolution's operands say all. Its products would take long.
        let product = matches!(applied.operator.role, Role::Product);
        let one = if applied.operator.name == "Conv" {
            op::conv::zeros(attributes, &first).map(|t| vec![t])
        } else {
            (applied.operator.eval)(attributes, &first)
        };
        let one = one.map_err(|found| mixed(found.list()[0].message.clone()))?;
        for (tensor, all) in one.iter().zip(&applied.shapes) {
            if tensor.shape.first() != Some(&1) || with_batch(&tensor.shape, batch) != *all {
                return Err(mixed(format!("it gives shape {all:?}, and {:?} for one frame", tensor.shape)));
            }
        }
        // Neither mixes frames.
        if !product && applied.operator.name != "IntegerInput" {
            let elements = first.iter().map(|t| t.len()).chain(one.iter().map(Tensor::len)).sum::<usize>();
            work = work.saturating_add(batch.saturating_mul(elements + 16));
            if work > MAX_WORK {
                return Err(mixed(format!("trying that takes more than {MAX_WORK} steps")));
            }
            let together = operands(None)?;
            let together: Vec<&Tensor> = together.iter().collect();
            let together = (applied.operator.eval)(attributes, &together)?;
            for frame in 0..batch {
                let alone = operands(Some(frame))?;
                let alone: Vec<&Tensor> = alone.iter().collect();
                let alone = (applied.operator.eval)(attributes, &alone)?;
                let same = alone.iter().zip(&together).all(|(one, all)| {
                    let size = one.len();
                    bits(one)
                        == bits(&Tensor {
                            shape: one.shape.clone(),
                            data: all.data.pick(frame * size..(frame + 1) * size),
                        })
                });
                if !same {
                    return Err(mixed(format!("its result for frame {frame} depends on other frames")));
                }
            }
        }
        for (name, tensor) in applied.node.outputs.iter().zip(&one) {
            shapes.insert(name, tensor.shape.clone());
            integer.insert(name, matches!(tensor.data, Data::Int(_)));
        }
        nodes.push((inputs, one.into_iter().map(|t| t.shape).take(applied.shapes.len()).collect()));
    }
    Ok(nodes)
}

/// The diagnostic for a node that mixes frames.
fn refuse(applied: &Applied, batch: usize, fact: &str) -> Diagnostics {
    Diagnostic::new(
        &OPERATOR_UNSUPPORTED,
        format!("the graph's input is a batch of {batch} frames, and this node may mix them: {fact}"),
    )
    .at(applied.node.to_string())
    .help("export the model with a batch of 1, or with a symbolic batch (dynamic_axes)")
    .into()
}

fn with_batch(shape: &[usize], batch: usize) -> Vec<usize> {
    std::iter::once(batch).chain(shape.iter().skip(1).copied()).collect()
}

/// Operand `at` of `applied` for one frame: a shape that begins with the batch begins with 1.
fn resized(applied: &Applied, at: usize, input: &Input, batch: usize) -> Input {
    let shape_at = match applied.operator.name {
        "Reshape" | "Expand" => Some(1),
        "Resize" | "Interpolate" => Some(3),
        _ => None,
    };
    match input {
        Input::Constant(tensor) if shape_at == Some(at) => match &tensor.data {
            Data::Int(v) if v.first() == Some(&(batch as i64)) => {
                let data = std::iter::once(1).chain(v[1..].iter().copied()).collect();
                Input::Constant(Arc::new(Tensor { shape: tensor.shape.clone(), data: Data::Int(data) }))
            }
            _ => input.clone(),
        },
        _ => input.clone(),
    }
}

/// Upper bound on elements that operators are tried with: 2^28.
const MAX_WORK: usize = 1 << 28;

/// How many numbers the operators are tried with. All fit int8.
const SPREAD: u64 = 97;

/// Small whole numbers for operand `operand` of shape `shape`: those of one frame, or of the whole batch.
fn numbers(
    shape: &[usize],
    integer: bool,
    batch: usize,
    frame: Option<usize>,
    operand: usize,
) -> Result<Tensor> {
    let size: usize = shape.iter().product();
    let (shape, from, count) = match frame {
        Some(frame) => (shape.to_vec(), frame * size, size),
        None => (with_batch(shape, batch), 0, size * batch),
    };
    // Few elements get numbers that all differ, many those of a multiplicative hash.
    let few = size * batch <= SPREAD as usize;
    let number = |e: usize| {
        let e = e as u64 + operand as u64 * 13;
        let mixed = if few { e * 31 } else { e.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 };
        (mixed % SPREAD) as i64
    };
    let values = (from..from + count).map(number);
    let data =
        if integer { Data::Int(values.collect()) } else { Data::Float(values.map(|v| v as f32).collect()) };
    Tensor::new(shape, data)
}

/// The elements as bits, so that NaN equals itself.
fn bits(tensor: &Tensor) -> Vec<i64> {
    match &tensor.data {
        Data::Float(v) => v.iter().map(|f| f.to_bits().into()).collect(),
        Data::Int(v) => v.clone(),
    }
}

/// Whether every output of the graph is one result, and none is the input.
fn gives_one(folded: &Folded) -> bool {
    let made = |output: &String| {
        folded.nodes.iter().find_map(|n| {
            let at = n.node.outputs.iter().position(|o| o == output)?;
            n.shapes.get(at)
        })
    };
    folded.outputs.iter().all(|output| made(output).is_some_and(|shape| shape.first() == Some(&1)))
}

/// Takes the whole input as one frame: a `Reshape` removes the batch of 1 in front of it.
fn whole(folded: &mut Folded) -> Result<()> {
    let Some(operator) = op::find("", "Reshape") else { return Ok(()) };
    let GraphInput { name: input, shape } = folded.inputs[0].clone();
    let used = |name: &String| folded.nodes.iter().any(|n| n.node.outputs.contains(name));
    let mut name = format!("{input}_whole");
    while used(&name) {
        name.push('_');
    }
    for operand in folded.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
        if matches!(operand, Input::Tensor(t) if *t == input) {
            *operand = Input::Tensor(name.clone());
        }
    }
    let target = Tensor::integers(shape.iter().map(|&d| d as i64).collect());
    let node = Node {
        index: 0,
        op: operator.name.to_owned(),
        domain: String::new(),
        name: format!("{input} as one frame"),
        inputs: vec![input.clone(), String::new()],
        outputs: vec![name],
        attributes: Attributes::new(13),
    };
    let inputs = vec![Input::Tensor(input), Input::Constant(Arc::new(target))];
    folded.nodes.insert(0, Applied { node, operator, inputs, shapes: vec![shape.clone()], codes: None });
    folded.inputs[0].shape = std::iter::once(1).chain(shape).collect();
    Ok(())
}
