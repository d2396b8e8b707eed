//! Layers that select or repeat elements: maxima and nearest-neighbour upsampling.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, OPERATOR_UNSUPPORTED, Result};
use crate::graph::op::geometry::Image;
use crate::graph::operator::Role;
use crate::graph::step::Step;
use crate::import::layers::activation::falls;
use crate::import::layers::images;
use crate::import::layers::images::{Padded, at_one_position};
use crate::import::layers::order::Order;
use crate::import::layers::walk::{Values, Walk};
use crate::layer::maxpool::MaxPool;
use crate::layer::upsample::Upsample;
use crate::network::layer::Layer;

impl Walk<'_> {
    /// Adds the layer of the step number `at`, which selects or repeats elements. `range` are all steps between two layers, the
    /// first of which gets a tensor of shape `front`.
    pub(crate) fn select(&mut self, front: &[usize], range: Range<usize>, at: usize) -> Result<()> {
        let Range { start, end } = range;
        let chain = self.chain;
        let step = &chain.steps[at];
        let pad = at.checked_sub(1).filter(|i| *i >= start && chain.steps[*i].operator.name == "Pad");
        let (inner, before) = (chain.shape_before(pad.unwrap_or(at)), chain.shape_before(at));
        let padded = pad.map(|i| Padded::of(&chain.steps[i], inner, step)).transpose()?;
        let Some(level) = self.level else {
            self.number += 1;
            self.seed_number += 1;
            self.order = Order::default();
            return Ok(());
        };
        let enlarges = matches!(step.operator.name, "Upsample" | "Resize");
        let image = if enlarges { images::plain(inner)? } else { images::image(step, inner)? };
        self.reorder(step, Order::of(&image), inner)?;
        let layer: Arc<dyn Layer> = if enlarges {
            let shape = [image.size[0], image.size[1], image.channels];
            Arc::new(Upsample::new(shape, images::repeats(step, before)?))
        } else {
            let kernel = images::maximum(step, before, padded, &level)?;
            let changes = |s: &Step| !matches!(s.operator.role, Role::Layout | Role::Select);
            let minimum = match &self.made {
                None => Vec::new(),
                Some(_) if !chain.steps[at..end].iter().any(changes) => Vec::new(),
                Some(Values { rows, one, scaling, all }) => {
                    let graph = at_one_position(&chain.steps[start..at], front)?;
                    let before: Vec<Step> = scaling.iter().cloned().chain(graph).collect();
                    falls(rows, one, &before, all)?
                }
            };
            // Without a decreasing channel the choice of channels does not matter.
            let minimum = if minimum.contains(&true) { minimum } else { Vec::new() };
            if !minimum.is_empty() && minimum.len() != image.channels {
                let message = format!(
                    "its {} channels are not the {} outputs of the layer before it, some of which decrease",
                    image.channels,
                    minimum.len()
                );
                return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                    .help("quantise before the maximum, or keep channels as an axis of their own")
                    .into());
            }
            if padded.is_some() && minimum.contains(&true) {
                let message = "a maximum whose channels fall afterwards is padded by a node of its own";
                return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                    .help("let the maximum pad itself")
                    .into());
            }
            Arc::new(MaxPool::new(kernel, minimum))
        };
        let out = Image { size: layer_size(&layer, &image)?, ..image };
        self.fixed(step, layer);
        self.order = Order::of(&out);
        Ok(())
    }
}

/// Height and width of a layer's output image.
fn layer_size(layer: &Arc<dyn Layer>, image: &Image) -> Result<[usize; 2]> {
    let shape = vec![image.size[0], image.size[1], image.channels];
    let port = crate::frame::port::Port { shape, element: crate::frame::element::Element::Bipolar };
    let out = layer.output(&[port])?;
    Ok([out.shape[0], out.shape[1]])
}
