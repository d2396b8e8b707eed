//! A computation graph as the model file means it: tensors, attributes, operators in float32, and chains of them that the host computes.
//!
//! May use: `diagnostic`, `frame`, `arith`. Used by: `network` (what the host computes), the importer.

pub mod attributes;
pub mod dtype;
pub mod op;
pub mod operator;
pub mod step;
pub mod tensor;
