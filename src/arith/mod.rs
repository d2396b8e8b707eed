//! Integer arithmetic of every layer: products, kernels, thresholds, sampling laws, the LFSR, and the fast engine's kernels.
//!
//! Neither this room nor any `reference` built on it may use the hardware crates or the graph.
//!
//! May use: `diagnostic`, `frame`. Used by: hardware units, layers, the importer.

pub mod activation;
pub mod bits;
pub mod kernel;
pub mod kernels;
pub mod lfsr;
pub mod matrix;
pub mod packed;
pub mod planes;
pub mod pooled;
pub mod product;
pub mod sampling;
pub mod stairs;
pub mod stochastic;
pub mod threshold;
pub mod window;
