//! Integer-exact mathematics. Nothing here, and no reference model built on it, may use the hardware crates.

pub mod bits;
pub mod lfsr;
pub mod matrix;
pub mod planes;
pub mod stochastic;
pub mod threshold;
pub mod window;
