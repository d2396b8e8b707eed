//! The layers of an activation that rises and falls: two threshold layers and their difference.

use std::sync::Arc;

use crate::arith::activation::Activation;
use crate::graph::step::Step;
use crate::import::layers::activation::Bumps;
use crate::import::layers::draft::{Core, Postprocessing};
use crate::import::layers::walk::Walk;
use crate::layer::threshold::Threshold;

impl Walk<'_> {
    /// Adds the layers for the current stream, integers of the shape `stream`, channels last. `behind` belongs to the last one.
    pub(crate) fn bumps(&mut self, step: &Step, stream: &[usize], bumps: Bumps, behind: Postprocessing) {
        let input = self.source;
        let side = |walk: &mut Self, activation: Activation| {
            walk.source = input;
            walk.inserted(step, Arc::new(Threshold::new(stream.to_vec(), vec![activation])));
            walk.source
        };
        let sides = vec![side(self, bumps.up), side(self, bumps.down)];
        let core = Core::Sum { shape: stream.to_vec(), factors: vec![1, -1] };
        self.inserted_join(step, sides, core, Some(bumps.difference), behind);
    }
}
