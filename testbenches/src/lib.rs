//! What the tests share: self-made networks and models, data, faults, and the conformance kit that runs them on every engine.

pub mod conformance;
pub mod data;
pub mod fault;
pub mod formal;
pub mod graph;
pub mod making;
pub mod onnx;
pub mod qcdq;
pub mod random;
