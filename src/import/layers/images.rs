//! Images in a graph: kernels of convolutions and pools, padding, and steps that are equal at every position.

use std::sync::Arc;

use crate::arith::kernel::{Fill, Sliding};
use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, Diagnostics, OPERATOR_UNSUPPORTED, Result};
use crate::graph::attributes::Attributes;
use crate::graph::op::conv::Convolution;
use crate::graph::op::geometry::Image;
use crate::graph::op::{geometry, pool};
use crate::graph::operator::Role;
use crate::graph::step::{HostGraph, Operand, Step};
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::grid::Grid;
use crate::import::layers::order::Order;
use crate::import::layers::zones::Divisors;
use crate::import::runs::levels::written_out;
use crate::import::runs::picks::Picks;
use crate::import::runs::steps::{made, transposed};

fn refuse(fact: impl Into<String>, help: &str) -> Diagnostics {
    Diagnostic::new(&OPERATOR_UNSUPPORTED, fact.into()).help(help).into()
}

/// The image that is the input of a node, with a batch of 1.
pub fn image(step: &Step, before: &[usize]) -> Result<Image> {
    let image = Image::of(step.operator.name, &step.attributes, before)?;
    if image.batch == 1 {
        return Ok(image);
    }
    Err(refuse(format!("a batch of {} images", image.batch), "export the model with a batch of 1"))
}

/// A Pad node's padding: pixels above and left, pixels below and right, and their value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Padded {
    before: [usize; 2],
    after: [usize; 2],
    value: f32,
}

impl Padded {
    /// The padding of a Pad node before node `next`. `before` is the shape of the Pad node's input.
    pub fn of(pad: &Step, before: &[usize], next: &Step) -> Result<Self> {
        let inner = image(next, before)?;
        let axes = match (inner.channels_last, inner.line) {
            (true, _) => [Some(1), Some(2)],
            (false, false) => [Some(2), Some(3)],
            (false, true) => [None, Some(2)],
        };
        let picks = Picks::of(pad, before);
        let pads = picks.as_ref().and_then(|picks| picks.pads(before)).unwrap_or_default();
        let others = (0..pads.len()).all(|a| axes.contains(&Some(a)) || pads[a] == [0, 0]);
        let (Some(picks), true, false) = (picks, others, pads.is_empty()) else {
            return Err(refuse(
                "it is no padding of height and width with a constant",
                "pad height and width only",
            ));
        };
        let sides = axes.map(|a| a.map_or([0, 0], |a| pads[a]).map(usize::try_from));
        let [[Ok(top), Ok(bottom)], [Ok(left), Ok(right)]] = sides else {
            return Err(refuse("it cuts pixels away", "crop in front of the quantiser"));
        };
        Ok(Self { before: [top, left], after: [bottom, right], value: picks.value })
    }
}

/// A Pad node's results for tensors of zeros and of ones: they are equal where elements are padding.
fn of_zeros_and_ones(pad: &Step, before: &[usize]) -> Result<[Tensor; 2]> {
    let of = |v: f32| {
        let elements = before.iter().product();
        pad.eval(&Tensor { shape: before.to_vec(), data: Data::Float(vec![v; elements]) })
    };
    Ok([of(0.0)?, of(1.0)?])
}

/// The value that a Pad node gives to elements of its own; `None` if it adds none.
pub fn padding(pad: &Step, before: &[usize]) -> Result<Option<f32>> {
    let [zeros, ones] = of_zeros_and_ones(pad, before)?;
    let mut pairs = zeros.floats("padding")?.iter().zip(ones.floats("padding")?);
    Ok(pairs.find(|(zero, one)| zero == one).map(|(zero, _)| *zero))
}

/// The window over the image before the padding `padded`.
fn around(mut window: Window, padded: Option<Padded>) -> Result<Window> {
    if let Some(Padded { before, after, .. }) = padded {
        for axis in 0..2 {
            window.input[axis] -= before[axis] + after[axis];
            window.before[axis] += before[axis];
            window.after[axis] += after[axis];
        }
    }
    match window.fault() {
        Some(fault) => Err(refuse(fault, "pad less than the kernel is large")),
        None => Ok(window),
    }
}

/// The window over the image before the padding `padded`, and the fill value outside of it. The node's own padding is 0.
fn filled(window: Window, padded: Option<Padded>, level: &Grid) -> Result<(Window, Fill)> {
    let own = window.pads();
    let value = padded.map_or(0.0, |p| p.value);
    if own && value != 0.0 {
        return Err(refuse(format!("padding with 0 around padding with {value}"), "pad with one value"));
    }
    let window = around(window, padded)?;
    let element = level.element();
    let (min, max) = element.range();
    let fill = match level.decode(value) {
        Some(0) if level.bipolar => Fill::Mask,
        Some(v) if (min..=max).contains(&v) => Fill::Value(v as i32),
        _ => {
            let message = format!("padding with {value}, which is no {element} number times {}", level.scale);
            return Err(refuse(message, "pad with a level of the quantiser before, or with 0"));
        }
    };
    Ok((window, fill))
}

/// A convolution's kernel, and a function that reorders its constant to [taps times channels of a group, outputs].
pub fn convolution(
    step: &Step,
    before: &[usize],
    padded: Option<Padded>,
    level: &Grid,
) -> Result<(Sliding, impl Fn(&Tensor) -> Result<Tensor> + use<>)> {
    let (Some(0), [None, Some(weights)]) = (step.position(), &step.constants()[..]) else {
        return Err(refuse(
            "its weights or its bias depend on the graph's input",
            "give a Conv with constant weights",
        ));
    };
    image(step, before)?;
    let form = Convolution::of(&step.attributes, before, &weights.shape)?;
    let (window, fill) = filled(form.window, padded, level)?;
    let (taps, depth, outputs) = (window.taps(), form.depth(), form.outputs);
    let turn = move |t: &Tensor| {
        let index = move |i: usize| {
            let (column, row) = (i / outputs, i % outputs);
            (row * depth + column % depth) * taps + column / depth
        };
        let data = t.data.pick((0..taps * depth * outputs).map(index));
        Ok(Tensor { shape: vec![taps * depth, outputs], data })
    };
    Ok((Sliding { window, channels: form.image.channels, groups: form.groups, fill }, turn))
}

/// An average's kernel and divisors.
pub fn average(
    step: &Step,
    before: &[usize],
    padded: Option<Padded>,
    level: &Grid,
) -> Result<(Sliding, Divisors)> {
    let image = image(step, before)?;
    let (window, each) = pool::divisors(step.operator.name, &step.attributes, before)?;
    let divisors = Divisors { size: window.output(), each };
    let (window, fill) = filled(window, padded, level)?;
    Ok((Sliding { window, channels: image.channels, groups: image.channels, fill }, divisors))
}

/// A MaxPool's kernel. The node's own padding is never the maximum.
///
/// # Errors
/// If a Pad node before it pads with more than the minimum level.
pub fn maximum(step: &Step, before: &[usize], padded: Option<Padded>, level: &Grid) -> Result<Sliding> {
    let least = level.scale * level.least as f32;
    if let Some(value) = padded.map(|p| p.value).filter(|v| *v > least) {
        let message = format!("a maximum of values from {least} on is padded with {value}");
        return Err(refuse(message, "let the maximum pad itself, or pad with the least value"));
    }
    let image = image(step, before)?;
    let name = step.operator.name;
    let window = match name {
        "GlobalMaxPool" => Window::whole(image.size),
        _ => {
            let kernel = geometry::kernel(name, &step.attributes, before)?;
            geometry::window(name, &step.attributes, before, kernel)?
        }
    };
    let window = around(window, padded)?;
    Ok(Sliding { window, channels: image.channels, groups: image.channels, fill: Fill::Nothing })
}

/// A tensor of `shape` as an image: [1, C, H, W] or [1, C, L].
pub fn plain(shape: &[usize]) -> Result<Image> {
    match *shape {
        [1, channels, h, w] => {
            Ok(Image { batch: 1, channels, size: [h, w], channels_last: false, line: false })
        }
        [1, channels, l] => Ok(Image { batch: 1, channels, size: [1, l], channels_last: false, line: true }),
        _ => Err(refuse(format!("it enlarges a tensor of shape {shape:?}"), "give an image [1, C, H, W]")),
    }
}

/// The shape of one position of a tensor of `shape` whose channels are on `axis`.
pub fn one_position(shape: &[usize], axis: usize) -> Vec<usize> {
    shape.iter().enumerate().map(|(a, extent)| if a == axis { *extent } else { 1 }).collect()
}

/// The steps of `steps` that change values, applied to a tensor of shape `one`, a single position of a tensor of shape `before`.
///
/// # Errors
/// If a step is not equal at all positions.
pub fn at_one_position(steps: &[Step], before: &[usize], one: &[usize]) -> Result<Vec<Step>> {
    let mut now = Tensor::zeros(one)?;
    let elements = now.len();
    let mut local: Vec<Step> = Vec::new();
    let mut moved = false;
    let differs = |step: &Step| {
        let message = "it does not do the same at every position of an image";
        refuse(message, "use constants with one number for each channel, or one for all").placed(&step.place)
    };
    for (at, step) in steps.iter().enumerate() {
        if matches!(step.operator.role, Role::Select) {
            let before = at.checked_sub(1).map_or(before, |i| &steps[i].shape);
            // Channels that were interleaved are pixels now, which later constants do not tell apart.
            let own: Vec<usize> = if moved { one_position(&now.shape, 1) } else { now.shape.clone() };
            if selects_channels(step, before, &own) && !steps[at + 1..].iter().all(is_uniform) {
                let message = "it selects channels before constants with a number for each channel";
                return Err(refuse(message, "quantise before the selection").placed(&step.place));
            }
            continue;
        }
        let next = step.eval(&now).ok().filter(|t| t.len() == elements);
        let uniform = || steps[at + 1..].iter().all(is_uniform);
        match (next, step.operator.role) {
            (Some(next), Role::Layout) if !keeps_order(step, &now.shape) => {
                // Moving elements is irrelevant if all later steps treat all elements alike.
                if !uniform() {
                    moved = true;
                    let mut step = step.clone();
                    step.shape.clone_from(&next.shape);
                    local.push(step);
                    now = next;
                }
            }
            (Some(next), _) => {
                let mut step = step.clone();
                step.shape.clone_from(&next.shape);
                local.push(step);
                now = next;
            }
            (None, Role::Layout) if uniform() => {}
            (None, _) => return Err(differs(step)),
        }
    }
    if let (true, Some(of)) = (moved, local.last().cloned()) {
        local.extend(restored(&of, &local, one)?);
    }
    Ok(local)
}

/// Whether a layout leaves the elements of a tensor of `shape` in their order.
fn keeps_order(step: &Step, shape: &[usize]) -> bool {
    let ramp = Data::Int((0..shape.iter().product::<usize>() as i64).collect());
    step.eval(&Tensor { shape: shape.to_vec(), data: ramp.clone() }).is_ok_and(|moved| moved.data == ramp)
}

/// The steps that bring the elements of the results of `steps` back to their places in the input, a tensor of shape `one`.
fn restored(of: &Step, steps: &[Step], one: &[usize]) -> Result<Vec<Step>> {
    let elements: usize = one.iter().product();
    let mut now = Tensor { shape: one.to_vec(), data: Data::Int((0..elements as i64).collect()) };
    for step in steps.iter().filter(|s| matches!(s.operator.role, Role::Layout)) {
        now = step.eval(&now)?;
    }
    let mut places = vec![0; elements];
    for (at, from) in now.ints("places")?.iter().enumerate() {
        places[*from as usize] = at as i64;
    }
    let reshaped = |shape: &[usize]| {
        let to = Tensor::integers(shape.iter().map(|e| *e as i64).collect());
        let operands = vec![Operand::Running, Operand::Constant(Arc::new(to))];
        made(of, "Reshape", operands, Attributes::new(13), shape)
    };
    let picks = vec![Operand::Running, Operand::Constant(Arc::new(Tensor::integers(places)))];
    Ok(vec![
        reshaped(&[elements])?,
        made(of, "Gather", picks, Attributes::new(13), &[elements])?,
        reshaped(one)?,
    ])
}

/// Whether a step of a tensor of shape `before` selects channels: places along an axis that a position, of shape `one`, has several of.
fn selects_channels(step: &Step, before: &[usize], one: &[usize]) -> bool {
    const NAMES: [&str; 5] = ["Pad", "Slice", "Split", "Gather", "Expand"];
    NAMES.contains(&step.operator.name)
        && (before.len() != one.len()
            || Picks::of(step, before).is_none_or(|picks| {
                (0..one.len()).any(|axis| one[axis] > 1 && !picks.keeps(axis, before[axis]))
            }))
}

/// Whether every constant of the step is a single number.
fn is_uniform(step: &Step) -> bool {
    !matches!(step.operator.role, Role::Elementwise { .. } | Role::Quantiser(_))
        || step.constants().iter().flatten().all(|t| t.len() <= 1)
}

/// The stream order of a tensor that feeds several branches: channels last for images.
pub fn whole_order(shape: &[usize]) -> Order {
    plain(shape).map_or_else(|_| Order::default(), |image| Order::of(&image))
}

/// Whether a step is an average pooling.
pub fn is_pool(step: &Step) -> bool {
    matches!(step.operator.role, Role::Pool)
}

/// The image that is the input of a layer's node; `None` for a matrix product.
pub fn image_of(step: &Step, shape: &[usize]) -> Result<Option<Image>> {
    if step.operator.name == "MatMul" { Ok(None) } else { image(step, shape).map(Some) }
}

/// The stream's shape and the host's transposition for an input tensor of `shape`: images stream channels last. `first` is the
/// first layer's node, `None` if the input feeds several branches.
pub fn streamed(first: Option<&Step>, shape: &[usize]) -> Result<(Vec<usize>, Option<Step>)> {
    let image = match first {
        Some(first) => image_of(first, shape)?,
        None => plain(shape).ok(),
    };
    let Some(image) = image else { return Ok((vec![shape.iter().product()], None)) };
    let own = vec![image.size[0], image.size[1], image.channels];
    if Order::of(&image).is_same() {
        return Ok((own, None));
    }
    let perm: Vec<i64> = std::iter::once(0).chain(2..shape.len() as i64).chain([1]).collect();
    let turned: Vec<usize> = perm.iter().map(|a| shape[*a as usize]).collect();
    Ok((own, Some(transposed("input", perm, &turned)?)))
}

/// The host graph after the hardware. Its input is a stream of order `order`, which is a tensor of shape `leaving` in the graph.
pub fn collected(node: &str, leaving: &[usize], order: &Order, tail: Vec<Step>) -> Result<HostGraph> {
    if order.is_same() {
        return Ok(HostGraph::new(leaving.to_vec(), written_out(tail)));
    }
    if *order != whole_order(leaving) {
        let message =
            format!("its elements come in an order that is not that of an image of shape {leaving:?}");
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .at(format!("tensor {node}"))
            .help("keep channels, rows and columns as axes of their own, and the batch as the first one")
            .into());
    }
    // The stream has channels last; they are moved to the graph's axis.
    let rank = leaving.len();
    let stream: Vec<usize> = [&leaving[..1], &leaving[2..], &leaving[1..2]].concat();
    let perm: Vec<i64> = [0, rank as i64 - 1].into_iter().chain(1..rank as i64 - 1).collect();
    let turn = transposed(node, perm, leaving)?;
    Ok(HostGraph::new(stream, written_out(std::iter::once(turn).chain(tail).collect())))
}
