//! Simulates [`stoxnor_hdl`] modules cycle by cycle, and their printed Verilog in Verilator and Icarus Verilog.
//!
//! All three simulators have the same input, a [`Stimulus`], and the same output, a [`Trace`]: every accepted beat at every tap,
//! with its cycle.
//!
//! Cycle 0 is the first rising edge with reset low. A beat is accepted at the edge at which valid and ready are 1.

mod bench;
mod engine;
mod external;
pub mod icarus;
mod netlist;
#[cfg(feature = "rust-hdl")]
mod rust_hdl;
pub mod stall;
mod stimulus;
mod tool;
pub mod vcd;
pub mod verilator;
pub mod work;

pub use bench::simulate;
pub use engine::{Simulator, Slot};
pub use netlist::{Flat, FlatNet, flatten};
pub use stimulus::{Beat, DRAIN, Design, Reset, Stimulus, StreamShape, Stuck, Trace, entry_name, exit_name};
pub use tool::{ToolError, run, version};
