//! Layers before they are built.

use std::sync::Arc;

use crate::arith::activation::Activation;
use crate::arith::kernel::Sliding;
use crate::arith::pooled::Zones;
use crate::arith::product::{Product, Stochastic};
use crate::arith::sampling::Realisation;
use crate::graph::step::Step;
use crate::import::layers::weights::Matrix;
use crate::layer::add::Add;
use crate::layer::avgpool::AveragePool;
use crate::layer::conv::Conv;
use crate::layer::dense::Dense;
use crate::layer::globalpool::GlobalPool;
use crate::layer::mul::Mul;
use crate::network::layer::Layer;
use crate::network::{Doubt, Entry, Output, Source, UnnamedLayer};

/// A layer before it is built.
#[derive(Debug)]
pub struct Draft {
    /// The model file's node that the layer comes from.
    pub origin: String,
    /// Sources of the inputs.
    pub inputs: Vec<Source>,
    /// The computation before the activation.
    pub core: Core,
    /// One activation per imported member; empty if the layer outputs its sums.
    pub activations: Vec<Activation>,
    /// The graph's operators after the layer's sums.
    pub outgoing: Postprocessing,
    /// The sums whose level another executor may see otherwise; `None` if there are none.
    pub doubt: Option<Doubt>,
}

/// The graph's operators between a layer's sums and the next layer or output.
#[derive(Debug, Clone)]
pub struct Postprocessing {
    /// Shape of the sums of one position; for the last layer, of all positions.
    pub shape: Vec<usize>,
    /// The operators.
    pub steps: Vec<Step>,
    /// Whether the operators' input in the graph differs from the layer's sums: a maximum or an average lies between, or the
    /// order differs.
    pub moved: bool,
}

/// The computation of a layer before its activation.
#[derive(Debug)]
pub enum Core {
    /// Sums of products.
    Product {
        /// The weights.
        weights: Matrix,
        /// How the hardware realises sampled weights.
        realisation: Realisation,
        /// The sliding kernel of a convolution; `None` for a fully connected layer.
        kernel: Option<Sliding>,
    },
    /// Average pooling: the sums of each channel over a kernel. `None` if all positions have the same activation.
    Average(Sliding, Option<Zones>),
    /// Elementwise sum of several streams, each times a factor.
    Sum {
        /// Shape of the streams, channels last.
        shape: Vec<usize>,
        /// The factor of each stream.
        factors: Vec<i32>,
    },
    /// Elementwise product of two streams, with the shape of the streams, channels last.
    Gate(Vec<usize>),
    /// A layer without weights and without activation.
    Fixed(Arc<dyn Layer>),
}

impl PartialEq for Core {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Product { weights, kernel, .. }, Self::Product { weights: w, kernel: k, .. }) => {
                weights == w && kernel == k
            }
            (Self::Average(kernel, zones), Self::Average(k, z)) => kernel == k && zones == z,
            (Self::Sum { shape, factors }, Self::Sum { shape: s, factors: f }) => shape == s && factors == f,
            (Self::Gate(shape), Self::Gate(other)) => shape == other,
            (Self::Fixed(layer), Self::Fixed(other)) => format!("{layer:?}") == format!("{other:?}"),
            _ => false,
        }
    }
}

impl Draft {
    /// The number of sampled weights of one member; 0 if the weights are deterministic.
    pub fn sampled(&self) -> u64 {
        match &self.core {
            Core::Product { weights: Matrix::Real(matrix), .. } => (matrix.rows() * matrix.columns()) as u64,
            _ => 0,
        }
    }

    /// The number of a sampled layer in the order of seeds.
    pub fn number(&self) -> Option<u64> {
        match &self.core {
            Core::Product { weights: Matrix::Real(matrix), .. } => Some(matrix.layer()),
            _ => None,
        }
    }

    /// Builds the layer. A layer with sampled weights gets `members` members.
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
            Core::Average(kernel, _) if kernel.window.positions() == 1 && kernel.is_whole() => {
                Arc::new(GlobalPool::new(kernel.shape(), activations))
            }
            Core::Average(kernel, Some(zones)) => Arc::new(AveragePool::zoned(kernel, zones, activations)),
            Core::Average(kernel, None) => Arc::new(AveragePool::new(kernel, activations)),
            Core::Sum { shape, factors } => Arc::new(Add::new(shape, factors, activations)),
            Core::Gate(shape) => Arc::new(Mul::new(shape, activations)),
            Core::Fixed(layer) => layer,
        };
        UnnamedLayer { origin: self.origin, inputs: self.inputs, layer }
    }
}

/// The layers, host graphs and outputs of a network, for one member.
#[derive(Debug)]
pub struct NetworkDraft {
    /// The graph's inputs: for each, the host's computation before the hardware and the input of the hardware.
    pub entries: Vec<Entry>,
    /// The layers.
    pub layers: Vec<Draft>,
    /// The graph's outputs: for each, its layer and the host's computation after it.
    pub outputs: Vec<Output>,
}
