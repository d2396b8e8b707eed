//! Trained bitwise neural networks to streaming XNOR-popcount FPGA hardware in plain Verilog.
//!
//! [`guide`] explains the house, the streams, the Verilog, the configuration and how to add to all of it.

pub mod activation;
pub mod arith;
pub mod buffers;
pub mod calibrate;
pub mod channelwise;
pub mod cli;
pub mod compare;
pub mod config;
pub mod data;
pub mod diagnostic;
pub mod emit;
pub mod engine;
pub mod evaluate;
pub mod fold;
pub mod guide;
pub mod host;
pub mod idx;
pub mod import;
pub mod kernel;
pub mod layer;
pub mod lower;
pub mod matrix;
pub mod network;
pub mod parts;
pub mod plan;
pub mod product;
pub mod schedule;
pub mod sliding;
pub mod summed;
pub mod tensor;
pub mod testbench;
pub mod wave;
