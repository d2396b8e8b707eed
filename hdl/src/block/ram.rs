//! A memory with one write port and one registered read port.

use std::sync::Arc;

use crate::{Builder, Module, Role, index_bits};

/// A data memory of `depth` words of `width` bits. Ports `write_address`, `write_enable`, `write_data`, `read_address`,
/// `read_enable`, `read_data`. Reading a word while it is written gives an undefined value.
pub fn ram(depth: u32, width: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("ram_{depth}x{width}"));
    b.doc(format!("RAM: {depth} words of {width} bits, one write port, one registered read port."));
    b.doc(
        "Timing: where read_enable is 1 at an edge, read_data is the addressed word after it; else it stays.",
    );
    let address_bits = index_bits(depth.into());
    let write_address = b.input("write_address", address_bits, Role::Control);
    let write_enable = b.input("write_enable", 1, Role::Control);
    let write_data = b.input("write_data", width, Role::Data);
    let read_address = b.input("read_address", address_bits, Role::Control);
    let read_enable = b.input("read_enable", 1, Role::Control);
    let words = b.memory("words", width, depth, None);
    b.write(words, write_address, write_enable, write_data);
    let data = b.read(words, "read_data", read_address, read_enable);
    b.output("read_data", data, Role::Data);
    b.finish()
}
