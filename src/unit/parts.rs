//! Helpers for composing modules.

use std::sync::Arc;

use stoxnor_hdl::block::Summand;
use stoxnor_hdl::{Builder, InstanceId, Module, Role};

use crate::frame::element::Element;

/// Edges from the acceptance of a beat by a [`frame_sum`](stoxnor_hdl::block::frame_sum) to the offer of its sum, for
/// documentation.
pub const SUM_LATENCY: u64 = 2;

/// The summand type of an element for adder blocks.
pub fn summand(element: Element) -> Summand {
    match element {
        Element::Bipolar => Summand::Bipolar,
        Element::Unsigned(bits) => Summand::Unsigned(bits),
        Element::Signed(bits) => Summand::Signed(bits),
    }
}

/// Declares parameters for the memory images of an instance in the surrounding module, under the same names.
pub fn pass_images(b: &mut Builder, instance: InstanceId, module: &Module) {
    for parameter in module.parameters.iter().filter(|p| p.image.is_some()) {
        let from = b.parameter(parameter.name.clone(), parameter.image.clone());
        b.bind(instance, &parameter.name, from);
    }
}

/// A module called `name` with `parts` in series: the stream `m` of each part is the stream `s` of the next. Memory images keep
/// their parameters.
///
/// # Panics
/// If there are no parts, or one lacks stream `s` or `m`.
pub fn in_a_row(name: &str, doc: &[String], parts: &[(&str, Arc<Module>)]) -> Arc<Module> {
    let mut b = Builder::new(name);
    doc.iter().for_each(|line| b.doc(line.clone()));
    let first = &parts[0].1;
    let width = |port: &str| first.port(port).map_or(0, |p| first.width(p.net));
    let mut stream = b.stream_input("s", width("s_data"), width("s_user"));
    let m_ready = b.input("m_ready", 1, Role::Control);
    let mut ready = None;
    for (what, module) in parts {
        let instance = b.instance(&format!("u_{what}"), module);
        pass_images(&mut b, instance, module);
        let own = b.connect_stream(instance, "s", stream);
        match ready {
            None => b.output("s_ready", own, Role::Control),
            Some(wire) => b.drive(wire, own),
        }
        let next = b.wire(format!("{what}_ready"), 1);
        b.connect(instance, "m_ready", next);
        stream = b.out_stream(instance, "m");
        ready = Some(next);
    }
    b.stream_output_forward("m", stream);
    b.drive(ready.expect("parts"), m_ready);
    b.finish()
}
