//! Trained bitwise neural networks to streaming XNOR-popcount FPGA hardware in plain Verilog.
//!
//! [`guide`] explains the house, the streams, the Verilog, the configuration and how to add to all of it.

pub mod arith;
pub mod calibrate;
pub mod cli;
pub mod config;
pub mod data;
pub mod diagnostic;
pub mod emit;
pub mod engine;
pub mod frame;
pub mod graph;
pub mod guide;
pub mod import;
pub mod layer;
pub mod lower;
pub mod network;
pub mod schedule;
pub mod unit;
