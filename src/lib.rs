//! Turns trained bitwise neural networks into streaming XNOR-popcount FPGA hardware in plain Verilog.
//!
//! A [`Model`] is loaded from an ONNX or QONNX file. It can be inspected, run on any [`Engine`], checked layer by layer and clock
//! cycle by clock cycle, and compiled to Verilog:
//!
//! ```
//! use stoxnor::{Engine, Frames, Model};
//!
//! fn main() -> stoxnor::Result<()> {
//!     let model = Model::load("models/dense_784_64_64_64_10.onnx")?;
//!     for layer in model.layers() {
//!         println!("{}: PE {}, SIMD {}, {} cycles", layer.name, layer.pe, layer.simd, layer.cycles);
//!     }
//!     let frames = Frames::new(784, vec![0.5; 2 * 784]);
//!     let outputs = model.run(&frames, Engine::Fast)?;
//!     println!("{}: {:?}", outputs[0].name, outputs[0].values);
//!     assert!(model.check(&frames, &[Engine::Reference, Engine::Rtl])?.equal);
//! #   let folder = tempfile::tempdir().unwrap();
//! #   std::env::set_current_dir(folder.path()).unwrap();
//!     model.compile("build")
//! }
//! ```
//!
//! The command line offers the same. [`guide`] explains models, hardware, streams, configuration, and how to extend stoxnor.

pub mod guide;

#[doc(hidden)]
pub mod area;
#[doc(hidden)]
pub mod arith;
#[doc(hidden)]
pub mod board;
#[doc(hidden)]
pub mod calibrate;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod data;
#[doc(hidden)]
pub mod diagnostic;
#[doc(hidden)]
pub mod emit;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod frame;
#[doc(hidden)]
pub mod graph;
#[doc(hidden)]
pub mod import;
#[doc(hidden)]
pub mod layer;
#[doc(hidden)]
pub mod lower;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod network;
#[doc(hidden)]
pub mod schedule;
#[doc(hidden)]
pub mod synth;
#[doc(hidden)]
pub mod unit;

pub use arith::matrix::WeightKind;
pub use arith::sampling::{Realisation, Sampling};
pub use config::Config;
pub use data::arrays::Frames;
pub use diagnostic::{Code, Diagnostic, Diagnostics, Result};
pub use engine::compare::{Difference, DifferenceKind, LayerReport, Report};
pub use engine::{Engine, Figures};

pub use frame::element::Element;
pub use frame::port::Port;
pub use model::{InputInfo, LayerInfo, Model, Output};
pub use unit::resources::Resources;
