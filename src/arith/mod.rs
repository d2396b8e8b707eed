//! Integer-exact mathematics. Nothing here, and no reference model built on it, may use the hardware crates.

pub mod bits;
pub mod matrix;
pub mod threshold;
