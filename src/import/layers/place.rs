//! The place of a layer's node: its input, its output, and their shapes and order.

use crate::graph::op::geometry::Image;
use crate::graph::step::Step;
use crate::import::layers::images::{Padded, one_position};
use crate::import::layers::order::Order;

/// The input and output of a layer's node.
pub struct Place<'a> {
    /// The node.
    pub step: &'a Step,
    /// Shape of the input tensor, including padding.
    pub before: &'a [usize],
    /// A Pad in front of it that its window takes.
    pub padded: Option<Padded>,
    /// The image before padding; `None` for a matrix product.
    pub image: Option<Image>,
    /// The channel axis of the output.
    pub axis: usize,
    /// Number of output positions.
    pub positions: usize,
}

impl Place<'_> {
    /// Shape of one output position.
    pub fn one(&self) -> Vec<usize> {
        if self.positions == 1 { self.step.shape.clone() } else { one_position(&self.step.shape, self.axis) }
    }

    /// Channels of the output.
    pub fn channels(&self) -> usize {
        self.step.shape[self.axis]
    }

    /// Stream order of the output.
    pub fn order(&self) -> Order {
        let pixels = [1, self.positions];
        self.image.map_or_else(Order::default, |image| Order::of(&image.with(self.channels(), pixels)))
    }
}
