//! The rtl engine as the engine of a rust-hdl block.

use stoxnor_hdl::Bits;
use stoxnor_hdl::rust_hdl::Engine;

use crate::{Simulator, Slot};

impl Simulator {
    fn port_of_block(&self, name: &str) -> Slot {
        self.port(name).unwrap_or_else(|| panic!("the module has no port {name}"))
    }
}

/// Panics if there is no such port; blocks use the ports of the module.
impl Engine for Simulator {
    fn set(&mut self, port: &str, value: &Bits) {
        let slot = self.port_of_block(port);
        Simulator::set(self, slot, value);
    }

    fn settle(&mut self) {
        Simulator::settle(self);
    }

    fn edge(&mut self, reset: bool) {
        Simulator::edge(self, reset);
    }

    fn get(&self, port: &str) -> Bits {
        Simulator::get(self, self.port_of_block(port))
    }
}
