//! A test for cocotb of the core with AXI4-Stream ports.

use crate::emit::bench::stimulus_file;
use crate::emit::integrate::axis::{self, Side, sides};
use crate::engine::cycle_limit;
use crate::frame::element::Element;
use crate::lower::Hardware;
use crate::network::Network;

/// The Python module and the makefile: names and texts.
pub fn files(network: &Network, hardware: &Hardware, members: &[u32]) -> [(String, String); 2] {
    let (inputs, outputs) = sides(network, hardware);
    let name = axis::name(network);
    let stream = |side: &Side, file: &str| {
        let kind = match side.element {
            Element::Bipolar => "bipolar",
            Element::Unsigned(_) => "unsigned",
            Element::Signed(_) => "signed",
        };
        let Side { stream, lanes, beats, user, .. } = side;
        let bits = side.element.bits();
        format!("    \"{stream}_axis\": (\"{file}\", \"{kind}\", {bits}, {lanes}, {beats}, {user}),\n")
    };
    let inputs: String = inputs.iter().enumerate().map(|(k, side)| stream(side, &stimulus_file(k))).collect();
    let outputs = outputs
        .iter()
        .zip(&hardware.design.exits)
        .map(|(side, exit)| stream(side, &format!("{}_expected.mem", hardware.boundaries[*exit].name)));
    let test = include_str!("cocotb.py")
        .replace("@NAME@", &name)
        .replace("@TIMEOUT@", &(10 * cycle_limit(hardware, members, true)).to_string())
        .replace("@INPUTS@\n", &inputs)
        .replace("@OUTPUTS@\n", &outputs.collect::<String>());
    let images = hardware.design.top.images();
    let images: String = images
        .map(|(name, image)| {
            format!("COMPILE_ARGS += -P$(COCOTB_TOPLEVEL).{name}='\"../rtl/{}\"'\n", image.file)
        })
        .collect();
    let makefile = include_str!("cocotb.mk").replace("@NAME@", &name).replace("@IMAGES@\n", &images);
    [(format!("tb/test_{name}.py"), test), ("tb/cocotb.mk".to_owned(), makefile)]
}
