//! Pass: turns the quantiser of the graph's input into a layer of thresholds, so that the input of the hardware is raw pixels.

use std::sync::Arc;

use crate::arith::threshold::Lattice;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::frame::element::Element;
use crate::graph::operator::Role;
use crate::graph::step::{Operand, Step};
use crate::graph::tensor::Tensor;
use crate::import::layers::activation::activation;
use crate::import::layers::doubt::doubt;
use crate::import::layers::grid::Grid;
use crate::import::layers::images::{at_one_position, image_of, one_position};
use crate::import::layers::sums::falling;
use crate::import::options::OnChip;
use crate::import::runs::chain::Chain;
use crate::import::runs::steps::{made, with};
use crate::layer::threshold::Threshold;
use crate::network::Doubt;
use crate::network::layer::Layer;

/// The threshold layer of the input.
pub struct Pixels {
    /// Type of the input: the file's annotation, else 8 bits unsigned.
    pub element: Element,
    /// The layer.
    pub layer: Arc<dyn Layer>,
    /// The levels of the layer's output.
    pub level: Grid,
    /// The host's remaining steps: they undo the scale.
    pub front: Vec<Step>,
    /// The doubt of the layer's thresholds.
    pub doubt: Option<Doubt>,
}

/// The threshold layer for the steps of `chain` up to `end`, whose results are levels of `grid`.
///
/// # Errors
/// If no step is a quantiser, a step is neither elementwise nor a layout, or no exact thresholds exist.
pub fn pixels(chain: &Chain, end: usize, on_chip: OnChip, grid: &Grid) -> Result<Pixels> {
    let steps = &chain.steps[..end];
    let refuse = |message: &str, help: &str| {
        Diagnostic::new(&CONFIG_VALUE, message).at("input.quantise").help(help.to_owned())
    };
    if !steps.iter().any(|s| matches!(s.operator.role, Role::Quantiser(_))) {
        return Err(refuse(
            "the graph does not quantise its input, so there is nothing to compute in hardware",
            "leave quantise = \"hardware\" out",
        )
        .into());
    }
    let local = |s: &Step| matches!(s.operator.role, Role::Quantiser(_) | Role::Elementwise { .. });
    let moves = |s: &Step| matches!(s.operator.role, Role::Layout);
    if !steps.iter().all(|s| local(s) || moves(s)) {
        return Err(refuse(
            "what the graph does to its input is not element by element",
            "leave quantise = \"hardware\" out: the host computes it",
        )
        .into());
    }
    let element = chain.annotation.unwrap_or(Element::Unsigned(8));
    let first = &chain.steps[end..][0];
    let shape = chain.shape_before(end);
    let image = image_of(first, shape)?;
    // Thresholds per channel if no step moves elements, else the same thresholds for all channels.
    let stays = steps.iter().all(local);
    let (channels, one) = match &image {
        Some(image) if stays => {
            let axis = if image.channels_last { shape.len() - 1 } else { 1 };
            (image.channels, one_position(&chain.input, axis))
        }
        Some(image) => (image.channels, vec![1; chain.input.len()]),
        None => (shape.iter().product(), chain.input.clone()),
    };
    let mut all = Vec::new();
    let mut front = Vec::new();
    if let Some((p, q)) = on_chip.scale {
        all.push(with(first, "Mul", Tensor::scalar(p), &chain.input)?);
        all.push(with(first, "Div", Tensor::scalar(q), &chain.input)?);
        front.push(with(first, "Mul", Tensor::scalar(q), &chain.input)?);
        front.push(with(first, "Div", Tensor::scalar(p), &chain.input)?);
        let round = first.attributes.clone();
        front.push(made(first, "Round", vec![Operand::Running], round, &chain.input)?);
    }
    // Layouts move the integers on the host.
    front.extend(steps.iter().filter(|s| moves(s)).cloned());
    all.extend_from_slice(steps);
    let all = if image.is_some() { at_one_position(&all, &chain.input, &one)? } else { all };
    let (min, max) = element.range();
    let step = if element == Element::Bipolar { 2 } else { 1 };
    let row = Lattice { low: min, step, points: (max - min) / step + 1 };
    let rows = vec![row; one.iter().product()];
    let (mut found, negated) = activation(&rows, &one, &all, grid)?.monotone(&all)?;
    found = falling(found, negated);
    let doubt = doubt(&rows, &one, &all, grid);
    if found.thresholds.len() < channels {
        found.thresholds = vec![found.thresholds[0].clone(); channels];
        found.falls = found.falls.first().map_or_else(Vec::new, |falls| vec![*falls; channels]);
    }
    let mut level = *grid;
    level.narrow(&found);
    let stream = match &image {
        Some(image) => vec![image.size[0], image.size[1], channels],
        None => vec![channels],
    };
    Ok(Pixels { element, layer: Arc::new(Threshold::new(stream, vec![found])), level, front, doubt })
}
