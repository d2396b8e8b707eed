//! Pass: segments of the chain become layers, and the host's two graphs.

use std::sync::Arc;

use super::activation;
use super::attributes::Attributes;
use super::chain::Chain;
use super::op;
use super::segment::{Segment, Segments};
use super::weights::{self, Weights};
use crate::arith::bits::BitMatrix;
use crate::arith::matrix::IntMatrix;
use crate::diagnostic::{Diagnostic, Diagnostics, Result};
use crate::host::{HostGraph, Operand, Step};
use crate::layer::dense::{Activation, Dense};
use crate::network::{Element, Found, Port, Source};
use crate::tensor::{Data, Tensor};

/// A network's parts.
#[derive(Debug)]
pub struct Parts {
    /// What the host computes first.
    pub front: HostGraph,
    /// What the hardware takes.
    pub input: Port,
    /// The layers.
    pub layers: Vec<Found>,
    /// What the host computes last.
    pub tail: HostGraph,
}

/// Builds the layers; the errors of all of them are collected.
pub fn layers(chain: &Chain, segments: &Segments) -> Result<Parts> {
    let mut errors = Vec::new();
    let mut found = Vec::new();
    let mut tail = Vec::new();
    let mut level = keep(activation::scale(&chain.steps[segments.front.clone()]), &mut errors);
    for (index, segment) in segments.layers.iter().enumerate() {
        let product = &chain.steps[segment.product];
        let read = weights::weights(product, chain.shape_before(segment.product))
            .map_err(|e| e.placed(&product.place));
        let read = keep(read, &mut errors);
        let next =
            segment.activation.clone().map(|range| keep(activation::scale(&chain.steps[range]), &mut errors));
        if let (Some(read), Some(level)) = (read, level) {
            let scaling = scaling(product, &read, level);
            let layer = match next {
                None => {
                    tail.extend(scaling);
                    Some(Dense::new(signs(&read.bits, |_| false), None))
                }
                Some(None) => None,
                Some(Some(next)) => keep(activated(chain, segment, read, scaling, next), &mut errors),
            };
            let inputs = vec![index.checked_sub(1).map_or(Source::Input, Source::Layer)];
            found.extend(layer.map(|l| Found { origin: product.node.clone(), inputs, layer: Arc::new(l) }));
        }
        level = next.flatten();
    }
    Diagnostics::collected(errors)?;
    tail.extend_from_slice(&chain.steps[segments.tail.clone()]);
    let first = segments.layers[0].product;
    let last = &chain.steps[segments.layers[segments.layers.len() - 1].product];
    Ok(Parts {
        front: HostGraph::new(chain.input.clone(), chain.steps[segments.front.clone()].to_vec()),
        input: Port { shape: vec![chain.shape_before(first).iter().product()], element: Element::Bipolar },
        layers: found,
        tail: HostGraph::new(last.shape.clone(), tail),
    })
}

fn keep<T>(result: Result<T>, errors: &mut Vec<Diagnostic>) -> Option<T> {
    result.map_err(|found| errors.extend(found)).ok()
}

/// The multiplication that makes the graph's number of an integer dot product: the scale of the inputs times that of
/// the weights. Nothing where that is 1.
fn scaling(product: &Step, weights: &Weights, level: f32) -> Option<Step> {
    let scales: Vec<f32> = weights.scales.iter().map(|s| level * s).collect();
    if scales.iter().all(|&s| s == 1.0) {
        return None;
    }
    let constant = if scales.iter().all(|&s| s == scales[0]) {
        Tensor::scalar(scales[0])
    } else {
        // The outputs lie on the last axis of the product.
        Tensor { shape: vec![scales.len()], data: Data::Float(scales) }
    };
    Some(Step {
        operator: op::find("", "Mul")?,
        node: format!("{}_scale", product.node),
        place: product.place.clone(),
        attributes: Attributes::new(product.attributes.opset),
        operands: vec![Operand::Running, Operand::Constant(Arc::new(constant))],
        output: 0,
        shape: product.shape.clone(),
    })
}

fn activated(
    chain: &Chain,
    segment: &Segment,
    read: Weights,
    scaling: Option<Step>,
    next: f32,
) -> Result<Dense> {
    let product = &chain.steps[segment.product];
    let range = segment.activation.clone().unwrap_or_default();
    let steps: Vec<Step> = scaling.into_iter().chain(chain.steps[range].iter().cloned()).collect();
    let found = activation::thresholds(read.bits.columns(), &product.shape, &steps, next)?;
    let activation = Activation::bipolar(found.iter().map(|t| t.least));
    Ok(Dense::new(signs(&read.bits, |row| found[row].negate), Some(activation)))
}

fn signs(bits: &BitMatrix, negate: impl Fn(usize) -> bool) -> IntMatrix {
    let sign = |row, column| if bits.plus(row, column) != negate(row) { 1 } else { -1 };
    IntMatrix::from_fn(bits.rows(), bits.columns(), sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_one_multiplication_or_none() {
        let product = Step {
            operator: op::find("", "MatMul").unwrap(),
            node: "fc".into(),
            place: "node fc".into(),
            attributes: Attributes::new(9),
            operands: Vec::new(),
            output: 0,
            shape: vec![1, 2],
        };
        let weights = |scales: [f32; 2]| Weights {
            bits: BitMatrix::from_fn(2, 1, |row, _| row == 0),
            scales: scales.to_vec(),
        };
        let constant = |scales, level| {
            scaling(&product, &weights(scales), level).map(|s| s.constants()[1].unwrap().clone())
        };
        assert_eq!(constant([2.0, 2.0], 0.5), None);
        assert_eq!(constant([2.0, 2.0], 1.0), Some(Tensor::scalar(2.0)));
        assert_eq!(constant([0.5, 3.0], 2.0), Some(Tensor::vector(vec![1.0, 6.0])));
    }
}
