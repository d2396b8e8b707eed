//! What the tests share: self-made networks and models, data, faults, and the conformance kit that runs them on every engine.

pub mod conformance;
pub mod cores;
pub mod data;
pub mod estimates;
pub mod fault;
pub mod formal;
pub mod graph;
pub mod making;
pub mod onnx;
pub mod qcdq;
pub mod random;
pub mod serial;

/// The environment variable with which `cargo xtask test --full` asks for all that a test can run.
pub const FULL: &str = "STOXNOR_FULL";

/// How many runs of a kind a test does: `all` where all are asked for, else the share that every change waits for.
pub fn runs<T>(share: T, all: T) -> T {
    if std::env::var_os(FULL).is_some() { all } else { share }
}
