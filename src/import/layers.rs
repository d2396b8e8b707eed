//! Pass: segments of runs become layers, and the host's graphs.

use std::collections::BTreeMap;

use super::chain::{Chain, Run};
use super::draft::Draft;
use super::grid::{Grid, grid};
use super::images::{self, at_one_position, one_position};
use super::op::geometry::Image;
use super::op::{self, Role};
use super::order::Order;
use super::pixels::{self, OnChip};
use super::rewrite::{made, with};
use super::sampling::SamplingOptions;
use super::segment::{Segments, segment};
use super::survey::Sketch;
use super::walk::{Stream, Walk};
use super::weights::{Matrix, Weights};
use crate::activation::Activation;
use crate::arith::stochastic::Law;
use crate::arith::threshold::Lattice;
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, CONFIG_VALUE, Diagnostic, Result};
use crate::host::{HostGraph, Operand, Step};
use crate::import::attributes::{Attribute, Attributes};
use crate::network::{Output, Port};
use crate::sliding::{Fill, Sliding};
use crate::tensor::{Data, Tensor};

/// Most bits of the network's input.
const MAX_INPUT_BITS: u32 = 16;

/// A network's parts, in one member.
#[derive(Debug)]
pub struct Parts {
    /// What the host computes first.
    pub front: HostGraph,
    /// What the hardware takes.
    pub input: Port,
    /// The layers.
    pub layers: Vec<Draft>,
    /// The graph's outputs: each one's layer, and what the host computes last.
    pub outputs: Vec<Output>,
}

/// What is asked of the layers beside what the graph says.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Stochastic weights.
    pub sampling: &'a SamplingOptions,
    /// The file holds constants for each member.
    pub calibrated: bool,
    /// Rows whose activation falls keep their weights.
    pub keep_signs: bool,
    /// The input's quantiser is a layer.
    pub on_chip: Option<OnChip>,
}

/// What enters the hardware.
struct Front {
    host: HostGraph,
    input: Port,
}

/// Builds the layers; the errors of all of them are collected, and what is known of each is added to `sketches`.
pub fn layers(
    runs: &[Run],
    outputs: &[String],
    wanted: Wanted<'_>,
    sketches: &mut Vec<Sketch>,
    errors: &mut Vec<Diagnostic>,
) -> Option<Parts> {
    let cut = |(index, run)| segment(run, index == 0, errors);
    let segments: Vec<Segments> = runs.iter().enumerate().map(cut).collect::<Option<_>>()?;
    let (chain, first) = (&runs[0].chain, &segments[0]);
    let anchor = first.layers.first().map(|layer| &chain.steps[layer.anchor]);
    // Padding in front of the first layer's window is the window's own.
    let is_pad = |i: &usize| {
        chain.steps[*i].operator.name == "Pad"
            && anchor.is_some_and(|anchor| anchor.operator.name != "MatMul")
    };
    let end = first.front.end.checked_sub(1).filter(is_pad).unwrap_or(first.front.end);
    let place = anchor.map_or_else(|| format!("tensor {}", runs[0].to), |step| step.place.clone());
    let input = keep(levels(chain, &chain.steps[..end], anchor, chain.shape_before(end)), errors).flatten();
    let input = input.filter(|grid| {
        let bits = grid.element().bits();
        if bits > MAX_INPUT_BITS {
            let message = format!("the input has {bits} bits ({} to {})", grid.least, grid.most);
            errors.push(
                Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                    .at(place.clone())
                    .help(format!("quantise the input to {MAX_INPUT_BITS} bits or fewer")),
            );
        }
        bits <= MAX_INPUT_BITS
    });
    let pixels = match (wanted.on_chip, input, anchor) {
        (Some(on_chip), Some(grid), Some(_)) => keep(pixels::pixels(chain, end, on_chip, &grid), errors),
        (Some(_), Some(_), None) => {
            let message = "the input goes to several branches before the first layer";
            errors.push(
                Diagnostic::new(&CONFIG_VALUE, message)
                    .at("input.quantise")
                    .help("leave quantise = \"hardware\" out: the host computes it"),
            );
            None
        }
        _ => None,
    };
    let first_level = pixels.as_ref().map_or(input, |p| Some(p.level));
    let mut walk = Walk::new(chain, wanted, first_level, sketches, errors);
    if let (Some(pixels), Some(anchor)) = (&pixels, anchor) {
        walk.threshold(anchor, pixels.layer.clone());
    }
    if anchor.is_none() {
        walk.order = whole_order(chain.shape());
        walk.free = false;
    }
    let mut found = follow(&mut walk, runs, &segments);
    let drafts = walk.end();
    let level = input?;
    if !errors.is_empty() {
        return None;
    }
    let front = match pixels {
        Some(pixels) => {
            let (own, turn) = keep(streamed(anchor, chain.shape_before(end)), errors)?;
            let steps = pixels.front.into_iter().chain(turn).collect();
            Front {
                host: HostGraph::new(chain.input.clone(), steps),
                input: Port { shape: own, element: pixels.element },
            }
        }
        None => keep(front(chain, end, anchor, &level), errors)?,
    };
    let outputs = outputs.iter().filter_map(|name| found.remove(name)).collect();
    Some(Parts { front: front.host, input: front.input, layers: drafts, outputs })
}

/// Goes through all runs, the first of which the walk is in front of; gives the graph's outputs by name.
fn follow<'a>(walk: &mut Walk<'a>, runs: &'a [Run], segments: &[Segments]) -> BTreeMap<String, Output> {
    let mut streams: BTreeMap<&str, Stream> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (index, (run, segments)) in runs.iter().zip(segments).enumerate() {
        let tail = &run.chain.steps[segments.tail.clone()];
        if index > 0 {
            let from: Vec<Stream> =
                run.from.iter().filter_map(|name| streams.get(&name[..])).cloned().collect();
            let alone = segments.layers.is_empty() && run.leaves;
            let behind = (!alone).then(|| segments.front.clone());
            walk.begin(run, &from, behind, tail);
        }
        for (index, segment) in segments.layers.iter().enumerate() {
            let feeds_pool =
                segments.layers.get(index + 1).is_some_and(|next| is_pool(&run.chain.steps[next.anchor]));
            walk.layer(segment, feeds_pool, tail);
        }
        if run.leaves {
            let leaving = segments
                .layers
                .last()
                .map_or(run.chain.input.clone(), |last| run.chain.steps[last.anchor].shape.clone());
            if let Some(output) = walk.leave(&run.to, &leaving, tail) {
                found.insert(run.to.clone(), output);
            }
        } else {
            streams.insert(&run.to, walk.stream());
        }
    }
    found
}

/// The host's steps up to the hardware, and the integers of their values.
fn front(chain: &Chain, end: usize, anchor: Option<&Step>, level: &Grid) -> Result<Front> {
    let shape = chain.shape_before(end);
    let mut steps = chain.steps[..end].to_vec();
    let (own, turn) = streamed(anchor, shape)?;
    if level.scale != 1.0 {
        steps.extend(integers(anchor.unwrap_or(&identity("input")?), shape, level.scale)?);
    }
    steps.extend(turn);
    Ok(Front {
        host: HostGraph::new(chain.input.clone(), steps),
        input: Port { shape: own, element: level.element() },
    })
}

/// The order of a tensor that several branches take: images stream channels last.
pub fn whole_order(shape: &[usize]) -> Order {
    images::plain(shape).map_or_else(|_| Order::default(), |image| Order::of(&image))
}

/// The integers that the host's steps give: told at one pixel where all are alike.
fn levels(chain: &Chain, front: &[Step], first: Option<&Step>, shape: &[usize]) -> Result<Option<Grid>> {
    let image = match first {
        Some(first) => image_of(first, shape),
        None => images::plain(shape).map(Some),
    };
    let axis = image.ok().flatten().map(|i| if i.channels_last { shape.len() - 1 } else { 1 });
    let one = axis.filter(|_| chain.input.len() == shape.len()).map(|axis| one_position(&chain.input, axis));
    if let Some(one) = one
        && let Ok(steps) = at_one_position(front, &one)
    {
        return grid(chain.annotation, &one, &steps);
    }
    grid(chain.annotation, &chain.input, front)
}

/// Whether a step averages.
pub fn is_pool(step: &Step) -> bool {
    matches!(step.operator.role, Role::Pool)
}

/// The image that a layer's node takes; nothing for a matrix product.
pub fn image_of(step: &Step, shape: &[usize]) -> Result<Option<Image>> {
    if step.operator.name == "MatMul" { Ok(None) } else { images::image(step, shape).map(Some) }
}

/// The stream's shape for the first layer, or for several branches, and what the host does to a tensor of `shape` for it: channels last.
fn streamed(first: Option<&Step>, shape: &[usize]) -> Result<(Vec<usize>, Option<Step>)> {
    let image = match first {
        Some(first) => image_of(first, shape)?,
        None => images::plain(shape).ok(),
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

/// A step that does nothing, in whose place others are made.
pub fn identity(node: &str) -> Result<Step> {
    Ok(Step {
        operator: op::find("", "Identity").ok_or_else(|| op::unknown("", "Identity"))?,
        node: node.to_owned(),
        place: format!("tensor {node}"),
        attributes: Attributes::new(1),
        operands: vec![Operand::Running],
        output: 0,
        shape: Vec::new(),
        codes: None,
    })
}

/// A transposition that the host makes.
fn transposed(node: &str, perm: Vec<i64>, shape: &[usize]) -> Result<Step> {
    let attributes = Attributes::new(1).with("perm", Attribute::Ints(perm));
    made(&identity(node)?, "Transpose", vec![Operand::Running], attributes, shape)
}

/// The tail of the host, which takes a layer's stream of this order, a tensor of shape `leaving`.
pub fn collected(node: &str, leaving: &[usize], order: &Order, tail: Vec<Step>) -> Result<HostGraph> {
    if order.is_same() {
        return Ok(HostGraph::new(leaving.to_vec(), tail));
    }
    // Channels come last, and go to where the graph has them.
    let rank = leaving.len();
    let stream: Vec<usize> = [&leaving[..1], &leaving[2..], &leaving[1..2]].concat();
    let perm: Vec<i64> = [0, rank as i64 - 1].into_iter().chain(1..rank as i64 - 1).collect();
    let turn = transposed(node, perm, leaving)?;
    Ok(HostGraph::new(stream, std::iter::once(turn).chain(tail).collect()))
}

pub fn keep<T>(result: Result<T>, errors: &mut Vec<Diagnostic>) -> Option<T> {
    result.map_err(|found| errors.extend(found)).ok()
}

/// What a layer's real numbers go to: another layer, or where branches begin or meet.
pub fn unquantised(from: &Step, to: Option<&Step>) -> Diagnostic {
    let help = "put an activation of 1 to 8 bits between the two (Quant, QuantizeLinear, BipolarQuant, MultiThreshold or Sign)";
    match to {
        Some(to) => {
            let message =
                format!("it is fed with the real numbers of {} without a quantiser between", from.node);
            Diagnostic::new(&ACTIVATION_UNSUPPORTED, message).at(to.place.clone()).help(help)
        }
        None => {
            let message = "its real numbers go to where branches begin or meet without a quantiser between";
            Diagnostic::new(&ACTIVATION_UNSUPPORTED, message).at(from.place.clone()).help(
                "quantise every branch before it is added or concatenated, and what several branches take, to 1 to 8 bits",
            )
        }
    }
}

/// What makes integers of the host's multiples of `scale`: a division and a rounding, or nothing where that is 1.
fn integers(product: &Step, shape: &[usize], scale: f32) -> Result<Vec<Step>> {
    if scale == 1.0 {
        return Ok(Vec::new());
    }
    let round = made(product, "Round", vec![Operand::Running], product.attributes.clone(), shape)?;
    Ok(vec![with(product, "Div", Tensor::scalar(scale), shape)?, round])
}

/// The multiplication that makes the graph's number of an integer sum: the scale of the inputs times that of the weights,
/// which differs along `axis`. Nothing where that is 1.
pub fn scaling(product: &Step, weights: &Weights, input: f32, axis: usize) -> Result<Option<Step>> {
    let scales: Vec<f32> = weights.scales.iter().map(|s| input * s).collect();
    if let Some(s) = scales.iter().find(|s| !s.is_normal()) {
        let message = format!("the scale of the inputs, {input}, times that of the weights is {s}");
        return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
            .at(product.place.clone())
            .help("use scales whose product float32 holds")
            .into());
    }
    if scales.iter().all(|&s| s == 1.0) {
        return Ok(None);
    }
    let constant = if scales.iter().all(|&s| s == scales[0]) {
        Tensor::scalar(scales[0])
    } else {
        let mut shape = vec![1; product.shape.len() - axis];
        shape[0] = scales.len();
        Tensor { shape, data: Data::Float(scales) }
    };
    let mut step = with(product, "Mul", constant, &product.shape)?;
    step.node = format!("{}_scale", product.node);
    Ok(Some(step))
}

/// An activation of the sums, where the thresholds of some rows are those of the negated sums.
pub fn falling(mut activation: Activation, negated: Vec<bool>) -> Activation {
    for (thresholds, _) in activation.thresholds.iter_mut().zip(&negated).filter(|(_, negated)| **negated) {
        // -y >= t is not y >= 1 - t.
        thresholds.reverse();
        thresholds.iter_mut().for_each(|t| *t = 1 - *t);
    }
    if negated.contains(&true) {
        activation.falls = negated;
    }
    activation
}

/// The integers among which a kernel's operands are: those of the input, and what stands outside of the image.
pub fn operands(input: &Grid, kernel: Option<&Sliding>) -> Grid {
    let mut grid = *input;
    let Some(kernel) = kernel.filter(|k| k.window.pads()) else { return grid };
    let outside = match kernel.fill {
        Fill::Value(value) => value.into(),
        Fill::Mask | Fill::Nothing => 0,
    };
    (grid.least, grid.most) = (grid.least.min(outside), grid.most.max(outside));
    grid.bipolar &= outside != 0;
    grid
}

/// The sums of every row, in any member.
pub fn lattices(matrix: &Matrix, input: &Grid) -> Vec<Lattice> {
    // What the stream's type holds is what the hardware computes with.
    let range = (input.least, input.most);
    match matrix {
        Matrix::Integers(matrix) => {
            (0..matrix.rows()).map(|r| Lattice::of(matrix.row(r), range, input.grain())).collect()
        }
        Matrix::Real(matrix) => {
            // Any row of -1 and +1, or with 0 too. Weights that are never 0 keep the parity of a sum of odd inputs.
            let most = range.0.abs().max(range.1.abs()) * matrix.columns() as i64;
            let step = if input.bipolar && matrix.rounding().law == Law::Binary { 2 } else { 1 };
            vec![Lattice { low: -most, step, points: 2 * most / step + 1 }; matrix.rows()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::activation::tests::step;
    use super::*;
    use crate::arith::matrix::IntMatrix;

    #[test]
    fn the_scale_is_one_multiplication_or_none() {
        let product = step("", "MatMul", &[], &[1, 2]);
        let weights = |scales: [f32; 2]| Weights {
            matrix: Matrix::Integers(IntMatrix::from_fn(2, 1, |row, _| row as i16)),
            scales: scales.to_vec(),
        };
        let constant = |scales, level| {
            let step = scaling(&product, &weights(scales), level, 1).unwrap();
            step.map(|s| s.constants()[1].unwrap().clone())
        };
        assert_eq!(constant([2.0, 2.0], 0.5), None);
        assert_eq!(constant([2.0, 2.0], 1.0), Some(Tensor::scalar(2.0)));
        assert_eq!(constant([0.5, 3.0], 2.0), Some(Tensor::vector(vec![1.0, 6.0])));
        assert!(scaling(&product, &weights([1e-30, 1.0]), 1e-20, 1).is_err());
    }
}
