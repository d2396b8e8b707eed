//! Boards: a core behind a serial line, and what a host says on it.
//!
//! May use: `emit`, `engine`, `lower`, `network`, `synth`, the serial blocks of `stoxnor-hdl`. Used by: the commands.

pub mod boards;
pub mod build;
pub mod host;
pub mod protocol;

use std::sync::Arc;

use stoxnor_hdl::block::serial::SerialLink;
use stoxnor_hdl::rename::prefixed;
use stoxnor_hdl::{Builder, Module, Role, check};

use crate::lower::Hardware;
use crate::network::Network;

/// How fast a serial line is, in cycles of the board's clock.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Cycles a bit, 4 or more.
    pub period: u32,
    /// After so many cycles without a byte, a power of two, a request has ended early.
    pub patience: u32,
}

/// A core with one input and one output behind a serial line: the module `<core>_serial` with the ports `rx` and `tx`.
///
/// # Panics
/// If the core has several inputs or outputs, or a module breaks a rule of [`check`].
pub fn serial(network: &Network, hardware: &Hardware, line: Line) -> Arc<Module> {
    let design = &hardware.design;
    assert!(design.inputs.len() == 1 && design.exits.len() == 1, "one input and one output");
    let (input, output) = (&design.inputs[0], &design.taps[design.exits[0]]);
    let beats = network.entries[0].port.elements() / hardware.input_lanes(0);
    let link = SerialLink {
        period: line.period,
        patience: line.patience,
        input: (input.width, beats as u32),
        user: input.user,
        output: output.width,
    };
    let link = prefixed(&link.module(), &network.name);
    let mut b = Builder::new(format!("{}_serial", network.name));
    b.doc(format!("{} behind a serial line of {} cycles a bit.", design.top.name, line.period));
    let rx = b.input("rx", 1, Role::Control);
    let (link, core) = (b.instance("u_link", &link), b.instance("u_core", &design.top));
    b.connect(link, "rx", rx);
    let (frames, results) = (b.out_stream(link, "m"), b.out_stream(core, "m"));
    let ready = b.connect_stream(core, "s", frames);
    b.connect(link, "m_ready", ready);
    let ready = b.connect_stream(link, "s", results);
    b.connect(core, "m_ready", ready);
    for parameter in &design.top.parameters {
        let own = b.parameter(parameter.name.clone(), parameter.image.clone());
        b.bind(core, &parameter.name, own);
    }
    let tx = b.out(link, "tx");
    b.output("tx", tx, Role::Data);
    let module = b.finish();
    let issues = check::check(&module);
    assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
    module
}
