//! A read-only memory with a registered read.

use std::sync::Arc;

use crate::{Builder, Module, Role, index_bits};

/// A read-only memory of `depth` words of `width` bits, initialised from the file that parameter `INIT_FILE` names. Block RAM can
/// be inferred.
///
/// What it gives is data, so its address may depend on data. Ports `address`, `enable`, `data`.
pub fn rom(depth: u32, width: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("rom_{depth}x{width}"));
    b.doc(format!("ROM: {depth} words of {width} bits, read from INIT_FILE."));
    b.doc("Timing: where enable is 1 at an edge, data is the addressed word after it; else data stays.");
    let init = b.parameter("INIT_FILE", None);
    let address = b.input("address", index_bits(depth.into()), Role::Data);
    let enable = b.input("enable", 1, Role::Control);
    let words = b.memory("words", width, depth, Some(init));
    let data = b.read(words, "data", address, enable);
    b.output("data", data, Role::Data);
    b.finish()
}
