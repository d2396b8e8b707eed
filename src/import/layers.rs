//! Pass: segments of the chain become layers, and the host's two graphs.

use std::ops::Range;
use std::sync::Arc;

use super::activation::activation;
use super::chain::Chain;
use super::grid::{Grid, grid};
use super::rewrite::{made, with};
use super::sampling::SamplingOptions;
use super::segment::{Segment, Segments, is_local};
use super::survey::Sketch;
use super::weights::{self, Matrix, Weights};
use crate::activation::Activation;
use crate::arith::matrix::IntMatrix;
use crate::arith::stochastic::Law;
use crate::arith::threshold::Lattice;
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, Result, SUM_TOO_WIDE};
use crate::host::{HostGraph, Operand, Step};
use crate::layer::dense::{Dense, Stochastic};
use crate::matrix::Realisation;
use crate::network::{Found, Port, Source};
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
    /// What the host computes last.
    pub tail: HostGraph,
}

/// A layer before it is built.
#[derive(Debug)]
pub struct Draft {
    /// The node of the matrix product.
    pub origin: String,
    /// Where the input comes from.
    pub inputs: Vec<Source>,
    /// The weights.
    pub weights: Matrix,
    /// How hardware holds them, where they are sampled.
    pub realisation: Realisation,
    /// The activation in each member that was looked at; none behind the last layer.
    pub activations: Vec<Activation>,
    /// Shape of the sums, and what the graph makes of them up to the next layer or its output.
    pub behind: (Vec<usize>, Vec<Step>),
}

impl Draft {
    /// The layer, with so many members built where its weights are sampled.
    pub fn build(self, members: u32) -> Found {
        let members = members as usize;
        let mut activations = self.activations;
        if activations.len() > 1 {
            activations.truncate(members);
        }
        let layer = match self.weights {
            Matrix::Integers(weights) => Dense::with(weights, activations),
            Matrix::Real(matrix) => {
                Dense::stochastic(Stochastic { matrix, realisation: self.realisation, members }, activations)
            }
        };
        Found { origin: self.origin, inputs: self.inputs, layer: Arc::new(layer) }
    }
}

/// Builds the layers; the errors of all of them are collected, and what is known of each is added to `sketches`.
pub fn layers(
    chain: &Chain,
    segments: &Segments,
    (options, (calibrated, keep_signs)): (&SamplingOptions, (bool, bool)),
    sketches: &mut Vec<Sketch>,
    errors: &mut Vec<Diagnostic>,
) -> Option<Parts> {
    let mut found = Vec::new();
    let mut tail = Vec::new();
    let front = &chain.steps[segments.front.clone()];
    let input = keep(grid(chain.annotation, &chain.input, front), errors).flatten();
    let input = input.filter(|grid| {
        let bits = grid.element().bits();
        if bits > MAX_INPUT_BITS {
            let message = format!("the input has {bits} bits ({} to {})", grid.least, grid.most);
            errors.push(
                Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                    .at(chain.steps[segments.front.end].place.clone())
                    .help(format!("quantise the input to {MAX_INPUT_BITS} bits or fewer")),
            );
        }
        bits <= MAX_INPUT_BITS
    });
    let mut level = input;
    for (index, segment) in segments.layers.iter().enumerate() {
        let product = &chain.steps[segment.product];
        let told = product.codes.as_ref().and_then(|c| c.rounding);
        let sampling = options.of(&format!("l{}_dense", index + 1), told, calibrated);
        let read = sampling.and_then(|sampling| {
            let rounding = (index as u64 + 1, sampling.map(|(rounding, _)| rounding));
            let read = weights::weights(product, chain.shape_before(segment.product), rounding)?;
            Ok((read, sampling.map_or_else(Realisation::default, |(_, realisation)| realisation)))
        });
        let read = keep(read.map_err(|e| e.placed(&product.place)), errors);
        // What may not stand there was reported, and its levels are anybody's guess.
        let local = |range: &Range<usize>| chain.steps[range.clone()].iter().all(is_local);
        let mut next = segment.activation.clone().filter(local).and_then(|range| {
            let told = grid(None, &product.shape, &chain.steps[range.clone()]);
            let told = keep(told, errors)?;
            if told.is_none() {
                errors.push(unquantised(product, &chain.steps[range.end]));
            }
            told
        });
        let mut sketch = Sketch::new(product);
        sketch.weights = read.as_ref().map(|(r, _)| r.matrix.kind());
        sketch.input = level.map(|l| l.element());
        sketch.output = next.map(|n| n.element());
        if let (Some((read, realisation)), Some(level)) = (read, level) {
            let layer = match (&segment.activation, next) {
                (None, _) => keep(last(product, read, &level, &mut tail), errors),
                (Some(_), Some(next)) => {
                    keep(activated(chain, segment, read, &level, &next, calibrated || keep_signs), errors)
                }
                _ => None,
            };
            if let (Some((_, Some(activation), _)), Some(next)) = (&layer, &mut next) {
                // Where fewer levels occur, the next layer takes those.
                next.narrow(activation);
                sketch.output = Some(activation.element);
            }
            let inputs = vec![index.checked_sub(1).map_or(Source::Input, Source::Layer)];
            let behind = |mut steps: Vec<Step>| {
                if segment.activation.is_none() {
                    steps.extend_from_slice(&chain.steps[segments.tail.clone()]);
                }
                (product.shape.clone(), steps)
            };
            found.extend(layer.map(|(weights, activation, steps)| Draft {
                origin: product.node.clone(),
                behind: behind(steps),
                inputs,
                weights,
                realisation,
                activations: activation.into_iter().collect(),
            }));
        }
        sketches.push(sketch);
        level = next;
    }
    let level = input?;
    if !errors.is_empty() {
        return None;
    }
    tail.extend_from_slice(&chain.steps[segments.tail.clone()]);
    let first = segments.layers[0].product;
    let last = &chain.steps[segments.layers[segments.layers.len() - 1].product];
    let mut front = front.to_vec();
    let integers = keep(integers(&chain.steps[first], chain.shape_before(first), level.scale), errors)?;
    front.extend(integers);
    Some(Parts {
        front: HostGraph::new(chain.input.clone(), front),
        input: Port { shape: vec![chain.shape_before(first).iter().product()], element: level.element() },
        layers: found,
        tail: HostGraph::new(last.shape.clone(), tail),
    })
}

fn keep<T>(result: Result<T>, errors: &mut Vec<Diagnostic>) -> Option<T> {
    result.map_err(|found| errors.extend(found)).ok()
}

fn unquantised(from: &Step, to: &Step) -> Diagnostic {
    let message = format!("it is fed with the real numbers of {} without a quantiser between", from.node);
    Diagnostic::new(&ACTIVATION_UNSUPPORTED, message).at(to.place.clone()).help(
        "put an activation of 1 to 8 bits between the two (Quant, QuantizeLinear, BipolarQuant, MultiThreshold or Sign)",
    )
}

/// What makes integers of the host's multiples of `scale`: a division and a rounding, or nothing where that is 1.
fn integers(product: &Step, shape: &[usize], scale: f32) -> Result<Vec<Step>> {
    if scale == 1.0 {
        return Ok(Vec::new());
    }
    let round = made(product, "Round", vec![Operand::Running], product.attributes.clone(), shape)?;
    Ok(vec![with(product, "Div", Tensor::scalar(scale), shape)?, round])
}

/// The multiplication that makes the graph's number of an integer sum: the scale of the inputs times that of the weights.
/// Nothing where that is 1.
fn scaling(product: &Step, weights: &Weights, input: f32) -> Result<Option<Step>> {
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
        // The outputs lie on the last axis of the product.
        Tensor { shape: vec![scales.len()], data: Data::Float(scales) }
    };
    let mut step = with(product, "Mul", constant, &product.shape)?;
    step.node = format!("{}_scale", product.node);
    Ok(Some(step))
}

/// Weights of a layer, its activation, and the steps that it was made of.
type Layer = (Matrix, Option<Activation>, Vec<Step>);

fn last(product: &Step, read: Weights, level: &Grid, tail: &mut Vec<Step>) -> Result<Layer> {
    tail.extend(scaling(product, &read, level.scale)?);
    Ok((read.matrix, None, tail.clone()))
}

/// A layer with an activation. Where that falls in a row, the row's weights are negated, unless they are sampled or `keep_signs` says
/// otherwise, as where the direction may differ between members: then the activation itself falls.
fn activated(
    chain: &Chain,
    segment: &Segment,
    read: Weights,
    level: &Grid,
    next: &Grid,
    keep_signs: bool,
) -> Result<Layer> {
    let product = &chain.steps[segment.product];
    let range = segment.activation.clone().unwrap_or_default();
    let rows = lattices(&read.matrix, level);
    let reach = |f: fn(&Lattice) -> i64| rows.iter().map(f);
    let (low, high) = (reach(|r| r.low).min().unwrap_or(0), reach(|r| r.high()).max().unwrap_or(0));
    if low < -(1 << 30) || high >= 1 << 30 {
        return Err(Diagnostic::new(&SUM_TOO_WIDE, format!("sums reach from {low} to {high}"))
            .at(product.place.clone())
            .help("use fewer bits for the weights or the inputs, or a smaller fan-in")
            .into());
    }
    let scaling = scaling(product, &read, level.scale)?;
    let steps: Vec<Step> = scaling.into_iter().chain(chain.steps[range].iter().cloned()).collect();
    let (activation, negate) = activation(&rows, &product.shape, &steps, next)?;
    Ok(match read.matrix {
        Matrix::Integers(matrix) if !keep_signs => {
            let sign = |row: usize| if negate[row] { -1 } else { 1 };
            let value = |row: usize, column| sign(row) * matrix.at(row, column);
            let negated = IntMatrix::from_fn(matrix.rows(), matrix.columns(), value);
            (Matrix::Integers(negated), Some(activation), steps)
        }
        matrix => (matrix, Some(falling(activation, negate)), steps),
    })
}

/// An activation of the sums, where the thresholds of some rows are those of the negated sums.
fn falling(mut activation: Activation, negated: Vec<bool>) -> Activation {
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

/// The sums of every row, in any member.
fn lattices(matrix: &Matrix, input: &Grid) -> Vec<Lattice> {
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

    #[test]
    fn the_scale_is_one_multiplication_or_none() {
        let product = step("", "MatMul", &[], &[1, 2]);
        let weights = |scales: [f32; 2]| Weights {
            matrix: Matrix::Integers(IntMatrix::from_fn(2, 1, |row, _| row as i16)),
            scales: scales.to_vec(),
        };
        let constant = |scales, level| {
            let step = scaling(&product, &weights(scales), level).unwrap();
            step.map(|s| s.constants()[1].unwrap().clone())
        };
        assert_eq!(constant([2.0, 2.0], 0.5), None);
        assert_eq!(constant([2.0, 2.0], 1.0), Some(Tensor::scalar(2.0)));
        assert_eq!(constant([0.5, 3.0], 2.0), Some(Tensor::vector(vec![1.0, 6.0])));
        assert!(scaling(&product, &weights([1e-30, 1.0]), 1e-20).is_err());
    }
}
