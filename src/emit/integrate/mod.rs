//! Integration of a core into other tools: AXI4-Stream ports, a FuseSoC core file, a list of files, a class for LiteX, a test for cocotb.
//!
//! May use: `engine`, `lower`, `network`, `emit::bench`. Used by: `emit`.

pub mod axis;
pub mod axis_bench;
pub mod cocotb;
pub mod fusesoc;
pub mod litex;
