//! Images in a graph: kernels of convolutions and pools, padding, and steps that are equal at every position.

use crate::arith::kernel::{Fill, Sliding};
use crate::arith::window::Window;
use crate::diagnostic::{Diagnostic, Diagnostics, OPERATOR_UNSUPPORTED, Result};
use crate::graph::op::conv::Convolution;
use crate::graph::op::geometry::Image;
use crate::graph::op::{geometry, pool};
use crate::graph::operator::Role;
use crate::graph::step::{HostGraph, Step};
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::grid::Grid;
use crate::import::layers::order::Order;
use crate::import::runs::levels::written_out;
use crate::import::runs::steps::transposed;

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
        let (inner, outer) = (image(next, before)?, image(next, &pad.shape)?);
        if inner.channels != outer.channels {
            return Err(refuse("channels are padded", "pad height and width only"));
        }
        let [zeros, ones] = of_zeros_and_ones(pad, before)?;
        let (zeros, ones) = (zeros.floats("the image")?, ones.floats("the image")?);
        let at = |pixel: usize| outer.element(0, 0, pixel);
        let wide = outer.size[1];
        let pixels = 0..outer.size[0] * wide;
        let Some(first) = pixels.clone().find(|p| zeros[at(*p)] != ones[at(*p)]) else {
            return Err(refuse("nothing of the image is left", "give an image with pixels"));
        };
        let (top, left) = (first / wide, first % wide);
        let value = pixels.map(at).find(|i| zeros[*i] == ones[*i]).map_or(0.0, |i| zeros[i]);
        let behind = |a: usize, before: usize| outer.size[a] - inner.size[a] - before;
        Ok(Self { before: [top, left], after: [behind(0, top), behind(1, left)], value })
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

/// An average's kernel and divisor.
pub fn average(
    step: &Step,
    before: &[usize],
    padded: Option<Padded>,
    level: &Grid,
) -> Result<(Sliding, usize)> {
    let image = image(step, before)?;
    let (window, divisors) = pool::divisors(step.operator.name, &step.attributes, before)?;
    let Some(divisor) = divisors.first().copied().filter(|d| divisors.iter().all(|o| o == d)) else {
        return Err(refuse(
            "at the border it averages fewer pixels than inside",
            "set count_include_pad, or average without padding",
        ));
    };
    let (window, fill) = filled(window, padded, level)?;
    Ok((Sliding { window, channels: image.channels, groups: image.channels, fill }, divisor))
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

/// The factors of a nearest-neighbour upsampling, [height, width].
pub fn repeats(step: &Step, before: &[usize]) -> Result<[usize; 2]> {
    let (from, to) = (plain(before)?, plain(&step.shape)?);
    let elements: usize = before.iter().product();
    let ramp =
        Tensor { shape: before.to_vec(), data: Data::Float((0..elements).map(|i| i as f32).collect()) };
    let found = step.eval(&ramp)?;
    let factor = [0, 1].map(|a| (to.size[a] / from.size[a].max(1)).max(1));
    let nearest = |i: &usize| {
        let (pixels, wide) = (to.size[0] * to.size[1], to.size[1]);
        let (channel, y, x) = (i / pixels, i % pixels / wide, i % wide);
        let source = [y / factor[0], x / factor[1]];
        (source[0] < from.size[0] && source[1] < from.size[1])
            .then(|| from.element(0, channel, source[0] * from.size[1] + source[1]))
    };
    let values = found.floats("the image")?;
    let whole = from.channels == to.channels && elements < 1 << 24;
    if whole && (0..values.len()).all(|i| nearest(&i).is_some_and(|n| n as f32 == values[i])) {
        return Ok(factor);
    }
    Err(refuse(
        format!("shape {before:?} becomes {:?}, and not by repeating every pixel equally often", step.shape),
        "enlarge by whole factors to the nearest neighbour (asymmetric coordinates, floor)",
    ))
}

/// The shape of one position of a tensor of `shape` whose channels are on `axis`.
pub fn one_position(shape: &[usize], axis: usize) -> Vec<usize> {
    shape.iter().enumerate().map(|(a, extent)| if a == axis { *extent } else { 1 }).collect()
}

/// The steps of `steps` that change values, applied to a tensor of shape `one`, a single position.
///
/// # Errors
/// If a step is not equal at all positions.
pub fn at_one_position(steps: &[Step], one: &[usize]) -> Result<Vec<Step>> {
    let mut now = Tensor::zeros(one)?;
    let elements = now.len();
    let mut local = Vec::new();
    let differs = |step: &Step| {
        let message = "it does not do the same at every position of an image";
        refuse(message, "use constants with one number for each channel, or one for all").placed(&step.place)
    };
    for (at, step) in steps.iter().enumerate() {
        if matches!(step.operator.role, Role::Select) {
            continue;
        }
        let next = step.eval(&now).ok().filter(|t| t.len() == elements);
        match (next, step.operator.role) {
            (Some(next), _) => {
                let mut step = step.clone();
                step.shape.clone_from(&next.shape);
                local.push(step);
                now = next;
            }
            // Moving elements is irrelevant if all later steps treat all elements alike.
            (None, Role::Layout) if steps[at + 1..].iter().all(is_uniform) => {}
            (None, _) => return Err(differs(step)),
        }
    }
    Ok(local)
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
    // The stream has channels last; they are moved to the graph's axis.
    let rank = leaving.len();
    let stream: Vec<usize> = [&leaving[..1], &leaving[2..], &leaving[1..2]].concat();
    let perm: Vec<i64> = [0, rank as i64 - 1].into_iter().chain(1..rank as i64 - 1).collect();
    let turn = transposed(node, perm, leaving)?;
    Ok(HostGraph::new(stream, written_out(std::iter::once(turn).chain(tail).collect())))
}
