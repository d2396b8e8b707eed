//! Passes: rewrite every product into elementwise steps and either a Conv without bias or a MatMul with its constant on the
//! right.
//!
//! A rewrite keeps the order of the operations, so the float32 results are the same.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, OPERATOR_UNSUPPORTED, Result};
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::op;
use crate::graph::op::conv::Convolution;
use crate::graph::op::linear::Enlargement;
use crate::graph::op::product::transposed;
use crate::graph::op::transposed::Plan;
use crate::graph::op::{geometry, pool, reduce, resize};
use crate::graph::operator::{CONFIGURED, Role};
use crate::graph::step::{Operand, Step};
use crate::graph::tensor::{Data, Tensor};
use crate::import::runs::chain::Chain;
use crate::import::runs::steps::{made, with};

/// The forms of a step of one operator.
type Form = fn(&Step, &[usize]) -> Result<Vec<Step>>;

/// All rewrites, in their order: an earlier one may make steps of the operator of a later one.
const FORMS: [(&str, Form); 9] = [
    ("Interpolate", interpolation),
    ("XnorPopcountMatMul", xnor_popcount),
    ("Gemm", gemm),
    ("ConvTranspose", transposed_convolution),
    ("Conv", biased),
    ("QuantAvgPool2d", quantised_average),
    ("ReduceMean", reduction),
    ("ReduceSum", reduction),
    ("MatMul", constant_on_the_left),
];

/// Applies all rewrites. A step that cannot be rewritten stays, and its errors are added to `errors`. `first` says whether the chain
/// begins with an input of the graph, `leaves` whether it ends in an output.
pub fn rewrite(chain: Chain, (first, leaves): (bool, bool), errors: &mut Vec<Diagnostic>) -> Chain {
    // The host interpolates in front of the first quantiser and behind the last product.
    let decides = |s: &Step| matches!(s.operator.role, Role::Quantiser(_) | Role::Product);
    let begin = if first { chain.steps.iter().position(decides).unwrap_or(usize::MAX) } else { 0 };
    let end = if leaves { chain.steps.iter().rposition(decides).unwrap_or(0) } else { usize::MAX };
    FORMS.iter().fold(chain, |chain, (name, form)| {
        let within = if *name == "Interpolate" { begin..end } else { 0..usize::MAX };
        each(chain, (name, within), *form, errors)
    })
}

/// Replaces every step of operator `name` in the range by the steps that `form` returns for it and its input shape.
fn each(
    mut chain: Chain,
    (name, within): (&str, Range<usize>),
    form: Form,
    errors: &mut Vec<Diagnostic>,
) -> Chain {
    let is_form = |step: &Step| FORMS.iter().any(|(name, _)| *name == step.operator.name);
    let mut steps = Vec::with_capacity(chain.steps.len());
    let mut before = chain.input.clone();
    // Behind a step that only the host computes, no form has to suit hardware.
    let mut on_host = false;
    for (at, step) in std::mem::take(&mut chain.steps).into_iter().enumerate() {
        let after = step.shape.clone();
        on_host |= matches!(step.operator.role, Role::Host) && !is_form(&step);
        if on_host || step.operator.name != name || !within.contains(&at) {
            steps.push(step);
        } else {
            match form(&step, &before) {
                Ok(made) => steps.extend(made),
                Err(found) => {
                    errors.extend(found.placed(&step.place));
                    steps.push(step);
                }
            }
        }
        before = after;
    }
    chain.steps = steps;
    chain
}

/// A Transpose of the last two axes.
fn exchange(of: &Step, before: &[usize]) -> Result<Step> {
    let mut perm: Vec<i64> = (0..before.len() as i64).collect();
    let mut shape = before.to_vec();
    let last = before.len().checked_sub(2).ok_or_else(|| unfit("an operand has one axis".to_owned()))?;
    perm.swap(last, last + 1);
    shape.swap(last, last + 1);
    let attributes = Attributes::new(of.attributes.opset).with("perm", Attribute::Ints(perm));
    made(of, "Transpose", vec![Operand::Running], attributes, &shape)
}

/// XnorPopcountMatMul: P = (dot(2 x - 1, 2 w - 1) + K) / 2.
fn xnor_popcount(step: &Step, before: &[usize]) -> Result<Vec<Step>> {
    let constants = step.constants();
    let (Some(at), Some(w)) = (step.position(), constants.iter().flatten().next()) else {
        return Err(two_running());
    };
    let signs = w.floats("the weights")?.iter().map(|v| 2.0 * v - 1.0).collect();
    let signs = Operand::Constant(Arc::new(Tensor { shape: w.shape.clone(), data: Data::Float(signs) }));
    let k = if at == 0 { before.last() } else { w.shape.last() }.copied().unwrap_or(0);
    let operands = if at == 0 { vec![Operand::Running, signs] } else { vec![signs, Operand::Running] };
    Ok(vec![
        with(step, "Mul", Tensor::scalar(2.0), before)?,
        with(step, "Sub", Tensor::scalar(1.0), before)?,
        made(step, "MatMul", operands, Attributes::new(step.attributes.opset), &step.shape)?,
        with(step, "Add", Tensor::scalar(k as f32), &step.shape)?,
        with(step, "Mul", Tensor::scalar(0.5), &step.shape)?,
    ])
}

/// Gemm, alpha * A B + beta * C: a MatMul, a Mul unless alpha is 1, and an Add if C is given.
fn gemm(step: &Step, before: &[usize]) -> Result<Vec<Step>> {
    let constants = step.constants();
    let (at, w) = match (step.position(), &constants[..2]) {
        (Some(0), [None, Some(w)]) => (0, *w),
        (Some(1), [Some(w), None]) => (1, *w),
        (Some(_), _) => return Err(unfit("the running tensor is the summand C of Gemm".to_owned())),
        (None, _) => return Err(two_running()),
    };
    let flag = |name: &str| step.attributes.int(name, 0).map(|v| v != 0);
    let (turn_x, turn_w) =
        if at == 0 { (flag("transA")?, flag("transB")?) } else { (flag("transB")?, flag("transA")?) };
    let mut steps = Vec::new();
    if turn_x {
        steps.push(exchange(step, before)?);
    }
    let (w, codes) = if turn_w {
        let codes = step.codes.as_deref().map(|c| c.moved(transposed)).transpose()?.map(Arc::new);
        (transposed(w)?, codes)
    } else {
        (w.clone(), step.codes.clone())
    };
    let w = Operand::Constant(Arc::new(w));
    let operands = if at == 0 { vec![Operand::Running, w] } else { vec![w, Operand::Running] };
    let mut product = made(step, "MatMul", operands, Attributes::new(step.attributes.opset), &step.shape)?;
    product.codes = codes;
    steps.push(product);
    let alpha = step.attributes.float("alpha", 1.0)?;
    if alpha != 1.0 {
        steps.push(with(step, "Mul", Tensor::scalar(alpha), &step.shape)?);
    }
    if let Some(Some(c)) = constants.get(2) {
        let beta = step.attributes.float("beta", 1.0)?;
        let scaled = c.floats("C")?.iter().map(|v| if beta == 1.0 { *v } else { v * beta }).collect();
        steps.push(with(
            step,
            "Add",
            Tensor { shape: c.shape.clone(), data: Data::Float(scaled) },
            &step.shape,
        )?);
    }
    Ok(steps)
}

/// Conv with a bias: a Conv without bias, and an Add along the channels.
fn biased(step: &Step, _: &[usize]) -> Result<Vec<Step>> {
    let constants = step.constants();
    let Some(bias) = constants.get(2).copied().flatten().filter(|b| !b.is_empty()) else {
        return Ok(vec![step.clone()]);
    };
    let mut product = step.clone();
    product.operands.truncate(2);
    let mut shape = vec![1; step.shape.len() - 1];
    shape[0] = bias.len();
    let bias = Tensor { shape, data: bias.data.clone() };
    Ok(vec![product, with(step, "Add", bias, &step.shape)?])
}

/// ConvTranspose: a Conv with an output for each place of a block of pixels, whose channels are interleaved, a Slice that cuts the padding
/// away, and an Add of the bias.
fn transposed_convolution(step: &Step, before: &[usize]) -> Result<Vec<Step>> {
    let constants = step.constants();
    let (Some(0), Some(Some(weights))) = (step.position(), constants.get(1)) else {
        return Err(two_running());
    };
    let plan = Plan::of(&step.attributes, before, &weights.shape)?;
    let (block, crop) = (plan.block(), plan.crop());
    let weights = plan.weights(weights)?;
    let attributes = plan.attributes();
    let shape = Convolution::of(&attributes, before, &weights.shape)?.output().shape();
    let operands = vec![Operand::Running, Operand::Constant(Arc::new(weights))];
    let mut product = made(step, "Conv", operands, attributes, &shape)?;
    product.codes = step.codes.as_deref().map(|codes| plan.codes(codes)).transpose()?.map(Arc::new);
    let mut steps = vec![product];
    let places: usize = block.iter().product();
    let mut now = shape;
    now[1] /= places;
    now[2..].iter_mut().zip(&block).for_each(|(extent, b)| *extent *= b);
    let ints = |values: Vec<i64>| Attribute::Ints(values);
    if places > 1 {
        let domain =
            if plan.groups == 1 && block.len() == 2 && block[0] == block[1] { "" } else { CONFIGURED };
        let (name, attributes) = match domain {
            "" => ("DepthToSpace", Attributes::new(13).with("blocksize", Attribute::Int(block[0] as i64))),
            _ => (
                "Interleave",
                Attributes::new(13)
                    .with("block", ints(block.iter().map(|b| *b as i64).collect()))
                    .with("groups", Attribute::Int(plan.groups as i64)),
            ),
        };
        let mut moved = made(step, "DepthToSpace", vec![Operand::Running], attributes, &now)?;
        moved.operator = op::find(domain, name).ok_or_else(|| op::unknown(domain, name))?;
        steps.push(moved);
    }
    if now != step.shape {
        let list = |values: Vec<i64>| Operand::Constant(Arc::new(Tensor::integers(values)));
        let side = |end: usize| list(crop.iter().map(|c| c[end] as i64).collect());
        let axes = list((2..now.len() as i64).collect());
        let operands = vec![Operand::Running, side(0), side(1), axes];
        steps.push(made(step, "Slice", operands, Attributes::new(13), &step.shape)?);
    }
    if let Some(bias) = constants.get(2).copied().flatten().filter(|b| !b.is_empty()) {
        let mut shape = vec![1; step.shape.len() - 1];
        shape[0] = bias.len();
        steps.push(with(step, "Add", Tensor { shape, data: bias.data.clone() }, &step.shape)?);
    }
    Ok(steps)
}

/// Linear interpolation: a Pad that repeats the edges, a ConvTranspose with whole weights, and a Mul by their common divisor.
fn interpolation(step: &Step, before: &[usize]) -> Result<Vec<Step>> {
    let helped = |found: Diagnostics| -> Diagnostics {
        let help = "use nearest pixels (mode=\"nearest\"), factors of 2, 4 or 8 with align_corners=False, or interpolate behind the last layer, which the host does";
        Diagnostics::from(found.list()[0].clone().help(help))
    };
    let plan = Enlargement::of(before, &step.shape, resize::transformation(&step.attributes)?);
    let plan = plan.map_err(helped)?;
    let (channels, list) = (before[1], |v: Vec<i64>| Operand::Constant(Arc::new(Tensor::integers(v))));
    let mut edges = before.to_vec();
    edges[2..].iter_mut().zip(&plan.edges).for_each(|(extent, [first, last])| *extent += first + last);
    let side = |end: usize| [0, 0].into_iter().chain(plan.edges.iter().map(move |e| e[end] as i64));
    let pads = list(side(0).chain(side(1)).collect());
    let edge = Attributes::new(13).with("mode", Attribute::String("edge".into()));
    let weights = Operand::Constant(Arc::new(plan.weights(channels)));
    Ok(vec![
        made(step, "Pad", vec![Operand::Running, pads], edge, &edges)?,
        made(step, "ConvTranspose", vec![Operand::Running, weights], plan.attributes(channels), &step.shape)?,
        with(step, "Mul", Tensor::scalar(1.0 / plan.divisor as f32), &step.shape)?,
    ])
}

/// QuantAvgPool2d: an AveragePool, a Mul by the number of pixels, and a Trunc that drops bits. Channels-last inputs are
/// transposed before and back after.
fn quantised_average(step: &Step, before: &[usize]) -> Result<Vec<Step>> {
    let (values, shift) = pool::shift(&step.attributes, before)?;
    let turned = |perm: [usize; 4], shape: &[usize]| -> Result<Step> {
        let to: Vec<usize> = perm.iter().map(|a| shape[*a]).collect();
        let perm = perm.map(|a| a as i64).to_vec();
        let attributes = Attributes::new(step.attributes.opset).with("perm", Attribute::Ints(perm));
        made(step, "Transpose", vec![Operand::Running], attributes, &to)
    };
    let last = geometry::Image::of("QuantAvgPool2d", &step.attributes, before)?.channels_last;
    let mut steps = Vec::new();
    let mut shape = step.shape.clone();
    if last {
        steps.push(turned([0, 3, 1, 2], before)?);
        shape = [0, 3, 1, 2].map(|a: usize| step.shape[a]).to_vec();
    }
    let of =
        |name: &str, otherwise| step.attributes.int(name, otherwise).map(|v| Attribute::Ints(vec![v; 2]));
    let attributes = Attributes::new(step.attributes.opset)
        .with("kernel_shape", of("kernel", 0)?)
        .with("strides", of("stride", 1)?);
    steps.push(made(step, "AveragePool", vec![Operand::Running], attributes, &shape)?);
    steps.push(with(step, "Mul", Tensor::scalar(values as f32), &shape)?);
    let bits = [1.0, 0.0, shift as f32 + 1.0, 1.0].map(|v| Operand::Constant(Arc::new(Tensor::scalar(v))));
    let trunc = op::find(QONNX, "Trunc").ok_or_else(|| op::unknown(QONNX, "Trunc"))?;
    let mut dropped = with(step, "Mul", Tensor::scalar(1.0), &shape)?;
    dropped.operator = trunc;
    dropped.attributes = Attributes::new(1).with("rounding_mode", Attribute::String("FLOOR".into()));
    dropped.operands = std::iter::once(Operand::Running).chain(bits).collect();
    steps.push(dropped);
    if last {
        steps.push(turned([0, 2, 3, 1], &shape)?);
    }
    Ok(steps)
}

/// A mean or a sum over the pixels of images: over all axes behind [N, C]. Images with channels last are transposed before. Other axes
/// stay for the host.
fn reduction(step: &Step, before: &[usize]) -> Result<Vec<Step>> {
    let rank = before.len();
    let constants = step.constants();
    let axes = constants.get(1).copied().flatten().filter(|axes| !axes.is_empty());
    let mut inputs = vec![Tensor::zeros(before)?];
    inputs.extend(axes.cloned());
    let axes = reduce::axes(&step.attributes, &inputs.iter().collect::<Vec<_>>())?;
    let behind = |first: usize| rank > 2 && axes.iter().copied().eq(first..first + rank - 2);
    let keep = step.attributes.int("keepdims", 1)? != 0;
    let channels = match (behind(2), behind(1)) {
        (true, _) => 1,
        (_, true) => rank - 1,
        // Not over the pixels of an image: only the host can compute it.
        _ => return Ok(vec![step.clone()]),
    };
    let mut steps = Vec::new();
    if channels != 1 {
        let perm: Vec<i64> = [0, rank as i64 - 1].into_iter().chain(1..rank as i64 - 1).collect();
        let to: Vec<usize> = perm.iter().map(|a| before[*a as usize]).collect();
        let attributes = Attributes::new(step.attributes.opset).with("perm", Attribute::Ints(perm));
        steps.push(made(step, "Transpose", vec![Operand::Running], attributes, &to)?);
    }
    let mut whole = vec![1; rank];
    (whole[0], whole[1]) = (before[0], before[channels]);
    let (domain, name) = if step.operator.name == "ReduceMean" {
        ("", "GlobalAveragePool")
    } else {
        (CONFIGURED, "GlobalSumPool")
    };
    let attributes = Attributes::new(step.attributes.opset);
    let mut pooled = made(step, "GlobalAveragePool", vec![Operand::Running], attributes.clone(), &whole)?;
    pooled.operator = op::find(domain, name).ok_or_else(|| op::unknown(domain, name))?;
    steps.push(pooled);
    if !keep {
        steps.push(made(step, "Flatten", vec![Operand::Running], attributes.clone(), &whole[..2])?);
    }
    if channels != 1 && keep {
        let perm: Vec<i64> = [0].into_iter().chain(2..rank as i64).chain([1]).collect();
        let attributes = Attributes::new(step.attributes.opset).with("perm", Attribute::Ints(perm));
        steps.push(made(step, "Transpose", vec![Operand::Running], attributes, &step.shape)?);
    }
    Ok(steps)
}

/// QONNX's domain.
const QONNX: &str = "qonnx.custom_op.general";

/// MatMul with its constant on the left: W X = (X^T W^T)^T.
fn constant_on_the_left(step: &Step, before: &[usize]) -> Result<Vec<Step>> {
    let constants = step.constants();
    let (Some(1), Some(Some(w))) = (step.position(), constants.first()) else {
        return Ok(vec![step.clone()]);
    };
    let turned = exchange(step, before)?;
    let back = exchange(step, &exchange(step, &step.shape)?.shape)?;
    let codes = step.codes.as_deref().map(|c| c.moved(transposed)).transpose()?.map(Arc::new);
    let mut product = with(step, "MatMul", transposed(w)?, &exchange(step, &step.shape)?.shape)?;
    product.codes = codes;
    Ok(vec![turned, product, back])
}

fn unfit(fact: String) -> Diagnostics {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, fact)
        .help("write the layer as x * W with a constant W of shape [inputs, outputs]")
        .into()
}

fn two_running() -> Diagnostics {
    unfit("both operands depend on the graph's input".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::layers::activation::tests::step;

    fn matrix(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::Float(values.to_vec())).unwrap()
    }

    /// Runs `one` and what the rewrites make of it on `x`, and gives the operators' names.
    fn same(one: Step, x: &Tensor) -> Vec<&'static str> {
        let wanted = one.eval(x).unwrap();
        let mut errors = Vec::new();
        let chain = Chain { input: x.shape.clone(), annotation: None, steps: vec![one] };
        let steps = rewrite(chain, (false, false), &mut errors).steps;
        assert!(errors.is_empty(), "{errors:?}");
        let mut running = x.clone();
        for step in &steps {
            running = step.eval(&running).unwrap();
            assert_eq!(running.shape, step.shape, "{}", step.operator.name);
        }
        assert_eq!(running, wanted);
        steps.iter().map(|s| s.operator.name).collect()
    }

    fn left(mut step: Step) -> Step {
        step.operands.swap(0, 1);
        step
    }

    #[test]
    fn popcounts_become_dot_products() {
        let x = matrix(&[1, 3], &[1.0, 0.0, 1.0]);
        let w = matrix(&[3, 2], &[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let names = same(step("finn.custom_op.general", "XnorPopcountMatMul", &[w], &[1, 2]), &x);
        assert_eq!(names, ["Mul", "Sub", "MatMul", "Add", "Mul"]);
    }

    #[test]
    fn gemm_in_every_transposition_and_on_either_side() {
        let (row, column) = (matrix(&[1, 2], &[1.0, -3.0]), matrix(&[2, 1], &[1.0, -3.0]));
        let wide = matrix(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let tall = transposed(&wide).unwrap();
        for (turn_a, turn_b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let attributes = Attributes::new(11)
                .with("transA", Attribute::Int(turn_a))
                .with("transB", Attribute::Int(turn_b))
                .with("alpha", Attribute::Float(0.5))
                .with("beta", Attribute::Float(2.0));
            let c = |n| Tensor::vector(vec![0.25; n]);
            let w = if turn_b == 1 { &tall } else { &wide };
            let mut right = step("", "Gemm", &[w.clone(), c(3)], &[1, 3]);
            right.attributes = attributes.clone();
            same(right, if turn_a == 1 { &column } else { &row });
            let w = if turn_a == 1 { &wide } else { &tall };
            let mut other = left(step("", "Gemm", &[w.clone(), c(1)], &[3, 1]));
            other.attributes = attributes;
            same(other, if turn_b == 1 { &row } else { &column });
        }
    }

    #[test]
    fn constants_on_the_left_change_sides() {
        let w = matrix(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let x = matrix(&[1, 2, 1], &[1.0, -3.0]);
        assert_eq!(
            same(left(step("", "MatMul", &[w], &[1, 3, 1])), &x),
            ["Transpose", "MatMul", "Transpose"]
        );
    }

    #[test]
    fn products_of_two_running_tensors_are_refused() {
        for name in ["Gemm", "XnorPopcountMatMul"] {
            let mut both = step(if name == "Gemm" { "" } else { "onnx.brevitas" }, name, &[], &[1, 1]);
            both.operands.push(Operand::Running);
            let mut errors = Vec::new();
            let chain = Chain { input: vec![1, 1], annotation: None, steps: vec![both] };
            rewrite(chain, (false, false), &mut errors);
            assert!(errors[0].message.contains("both operands"), "{errors:?}");
        }
    }
}
