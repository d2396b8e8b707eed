//! A class for LiteX: the core's streams as endpoints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::emit::integrate::axis::{Side, sides};
use crate::lower::Hardware;
use crate::network::Network;

/// Name of the Python module.
pub fn module(network: &Network) -> String {
    format!("{}_litex", network.name)
}

/// The name of an endpoint: `sink` or `source`, with the stream's number.
fn endpoint(kind: &str, side: &Side) -> String {
    format!("{kind}{}", &side.stream[1..])
}

/// The Python module. `files` are those of the compilation so far.
pub fn class(network: &Network, hardware: &Hardware, files: &BTreeMap<String, String>) -> String {
    let (inputs, outputs) = sides(network, hardware);
    let sides: Vec<(&str, &Side)> =
        inputs.iter().map(|side| ("sink", side)).chain(outputs.iter().map(|side| ("source", side))).collect();
    let (mut streams, mut endpoints, mut connections) = (Vec::new(), String::new(), String::new());
    for (kind, side) in sides {
        let (name, stream) = (endpoint(kind, side), &side.stream);
        let (forth, back) = if kind == "sink" { ("i", "o") } else { ("o", "i") };
        streams.push(format!(
            "{name}: {} beats of {} elements of {} bits",
            side.beats,
            side.lanes,
            side.element.bits()
        ));
        let layout = format!("[(\"data\", {})]", side.bits());
        let layout = match side.user {
            0 => layout,
            user => format!("stream.EndpointDescription({layout}, [(\"user\", {user})])"),
        };
        let _ = writeln!(endpoints, "        self.{name} = {name} = stream.Endpoint({layout})");
        let mut connect = |way: &str, port: &str, field: &str| {
            let _ = writeln!(connections, "            {way}_{stream}_{port}={name}.{field},");
        };
        connect(forth, "data", "data");
        connect(forth, "valid", "valid");
        connect(back, "ready", "ready");
        connect(forth, "last", "last");
        if side.user > 0 {
            connect(forth, "user", "param.user");
        }
    }
    let sources =
        files.keys().filter_map(|file| file.strip_prefix("rtl/").filter(|file| file.ends_with(".v")));
    let sources: String = sources.map(|file| format!("    \"{file}\",\n")).collect();
    let images = hardware.design.top.images();
    let images: String =
        images.map(|(name, image)| format!("    \"{name}\": \"{}\",\n", image.file)).collect();
    include_str!("litex.py")
        .replace("@TOP@", &hardware.design.top.name)
        .replace("@MODULE@", &module(network))
        .replace("@SOURCES@\n", &sources)
        .replace("@IMAGES@\n", &images)
        .replace("@STREAMS@", &streams.join("; "))
        .replace("@ENDPOINTS@\n", &endpoints)
        .replace("@CONNECTIONS@\n", &connections)
}
