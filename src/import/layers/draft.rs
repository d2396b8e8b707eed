//! Layers before they are built.

use std::sync::Arc;

use crate::arith::activation::Activation;
use crate::arith::kernel::Sliding;
use crate::arith::product::{Product, Stochastic};
use crate::arith::sampling::Realisation;
use crate::frame::port::Port;
use crate::graph::step::{HostGraph, Step};
use crate::import::layers::weights::Matrix;
use crate::layer::add::Add;
use crate::layer::avgpool::AveragePool;
use crate::layer::conv::Conv;
use crate::layer::dense::Dense;
use crate::layer::globalpool::GlobalPool;
use crate::network::layer::Layer;
use crate::network::{Output, Source, UnnamedLayer};

/// A layer before it is built.
#[derive(Debug)]
pub struct Draft {
    /// The node that it is made of.
    pub origin: String,
    /// Where the input comes from.
    pub inputs: Vec<Source>,
    /// What it computes before its activation.
    pub core: Core,
    /// The activation in each member that was looked at; none where sums leave as they are.
    pub activations: Vec<Activation>,
    /// What the graph makes of its sums.
    pub outgoing: Postprocessing,
}

/// What the graph makes of a layer's sums, up to the next layer or its output.
#[derive(Debug, Clone)]
pub struct Postprocessing {
    /// Shape of the sums of one position; of all behind the last layer.
    pub shape: Vec<usize>,
    /// The operators.
    pub steps: Vec<Step>,
    /// In the graph they see something else than these sums: what a maximum or an average makes of them, or another order.
    pub moved: bool,
}

/// What a layer computes before its activation.
#[derive(Debug)]
pub enum Core {
    /// Sums of products.
    Product {
        /// The weights.
        weights: Matrix,
        /// How hardware holds them, where they are sampled.
        realisation: Realisation,
        /// The kernel at whose positions they are computed; nothing where the frame is one operand.
        kernel: Option<Sliding>,
    },
    /// Sums of each channel over a kernel.
    Average(Sliding),
    /// Multiples of several streams, element by element.
    Sum {
        /// Shape of the streams, channels last.
        shape: Vec<usize>,
        /// What each of them is multiplied by.
        factors: Vec<i32>,
    },
    /// A layer without weights and activation.
    Fixed(Arc<dyn Layer>),
}

impl PartialEq for Core {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Product { weights, kernel, .. }, Self::Product { weights: w, kernel: k, .. }) => {
                weights == w && kernel == k
            }
            (Self::Average(kernel), Self::Average(other)) => kernel == other,
            (Self::Sum { shape, factors }, Self::Sum { shape: s, factors: f }) => shape == s && factors == f,
            (Self::Fixed(layer), Self::Fixed(other)) => format!("{layer:?}") == format!("{other:?}"),
            _ => false,
        }
    }
}

impl Draft {
    /// Weights that are drawn, of each member.
    pub fn sampled(&self) -> u64 {
        match &self.core {
            Core::Product { weights: Matrix::Real(matrix), .. } => (matrix.rows() * matrix.columns()) as u64,
            _ => 0,
        }
    }

    /// The layer, with so many members built where its weights are sampled.
    pub fn build(self, members: u32) -> UnnamedLayer {
        let members = members as usize;
        let mut activations = self.activations;
        if activations.len() > 1 {
            activations.truncate(members);
        }
        let layer: Arc<dyn Layer> = match self.core {
            Core::Product { weights, realisation, kernel } => {
                let product = match weights {
                    Matrix::Integers(weights) => Product::new(weights, activations),
                    Matrix::Real(matrix) => {
                        Product::stochastic(Stochastic { matrix, realisation, members }, activations)
                    }
                };
                match kernel {
                    None => Arc::new(Dense::from(product)),
                    Some(kernel) => Arc::new(Conv::new(kernel, product)),
                }
            }
            Core::Average(kernel) if kernel.window.positions() == 1 && kernel.is_whole() => {
                Arc::new(GlobalPool::new(kernel.shape(), activations))
            }
            Core::Average(kernel) => Arc::new(AveragePool::new(kernel, activations)),
            Core::Sum { shape, factors } => Arc::new(Add::new(shape, factors, activations)),
            Core::Fixed(layer) => layer,
        };
        UnnamedLayer { origin: self.origin, inputs: self.inputs, layer }
    }
}

/// A network's parts, in one member.
#[derive(Debug)]
pub struct NetworkDraft {
    /// What the host computes first.
    pub front: HostGraph,
    /// What the hardware takes.
    pub input: Port,
    /// The layers.
    pub layers: Vec<Draft>,
    /// The graph's outputs: each one's layer, and what the host computes last.
    pub outputs: Vec<Output>,
}
