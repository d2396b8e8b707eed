//! A small hardware description library: modules of width-exact cells, design rule checks, hardware blocks, and Verilog output.
//!
//! ```
//! use stoxnor_hdl::{Builder, Role, check, verilog};
//!
//! let mut b = Builder::new("counter");
//! let enable = b.input("enable", 1, Role::Control);
//! let count = b.register("count", 4, Some(0));
//! let one = b.constant(4, 1);
//! let next = b.add(count, one);
//! b.next_if(count, enable, next);
//! b.output("count", count, Role::Control);
//! let module = b.finish();
//! assert!(check::check(&module).is_empty());
//! assert!(verilog::print(&module, &[]).contains("count_q <= count_q + 4'd1;"));
//! ```
//!
//! Conventions:
//!
//! - Two-state values of any width; no implicit extension or truncation: both operands of a cell have the same width.
//! - One clock, one synchronous active-high reset; both are implicit and appear in the Verilog where needed.
//! - Bit 0 is the least significant; element 0 of a bundle sits in the least significant bits.
//! - A net is *control* or *data*; no control net depends on a data net ([`check`] verifies this).

pub mod block;
mod build;
pub mod check;
pub mod inline;
mod legalize;
mod module;
pub mod placing;
mod query;
pub mod rename;
#[cfg(feature = "rust-hdl")]
pub mod rust_hdl;
mod value;
pub mod verilog;

pub use build::{Builder, InstanceId, Stream};
pub use legalize::legalize;
pub use module::{
    Binding, Cell, Driver, Image, Instance, Memory, Module, Net, NetInfo, Parameter, ParameterId, Port,
    Primitive, ReadPort, Register, Role, WritePort,
};
pub use value::{Bits, bits_for, index_bits};
