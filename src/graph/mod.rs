//! Computation graphs: tensors, attributes, operators in float32, and chains of operators that the host evaluates.
//!
//! May use: `diagnostic`, `frame`, `arith`. Used by: `network` (what the host computes), the importer.

pub mod attributes;
pub mod dtype;
pub mod op;
pub mod operator;
pub mod step;
pub mod tensor;
