//! Counting the cells of a netlist by kind and by layer.

use std::collections::BTreeMap;

use serde::Deserialize;
use stoxnor_hdl::{Driver, Module, Port};

use crate::area::{Area, Cells, OUTSIDE, layer_of};
use crate::diagnostic::{Diagnostic, Result, TOOL_FAILED};
use crate::synth::harness::{CORE, FILE, TOP};
use crate::synth::part::Part;

/// yosys' JSON, as far as it is read.
#[derive(Debug, Deserialize)]
struct Json {
    modules: BTreeMap<String, Content>,
}

#[derive(Debug, Deserialize)]
struct Content {
    cells: BTreeMap<String, Cell>,
}

#[derive(Debug, Deserialize)]
struct Cell {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    attributes: Attributes,
}

impl Cell {
    /// Whether it is a register of the harness; some of them are called after ports of the core. `src` has all places that a cell is
    /// made of: in versions of yosys also those of the instances around it, and those of yosys' libraries, which have paths.
    fn of_harness(&self) -> bool {
        let mut own = self.attributes.src.split('|').filter(|place| !place.contains('/')).peekable();
        own.peek().is_some() && own.all(|place| place.starts_with(FILE))
    }
}

#[derive(Debug, Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    src: String,
}

/// What the cells of a netlist belong to, by their names.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    /// The layers.
    nodes: Vec<&'a str>,
    /// The layer of each output port of the core.
    ports: Vec<(&'a str, &'a str)>,
}

impl<'a> Names<'a> {
    /// Names of the cells of a core with layers called `nodes`.
    pub fn new(nodes: Vec<&'a str>, core: &'a Module) -> Self {
        let driver = |port: &Port| match core.nets[port.net.index()].driver {
            Driver::Instance(index, _) => layer_of(&core.instances[index].name, &nodes),
            _ => OUTSIDE,
        };
        let outputs = core.ports.iter().filter(|port| port.output);
        let ports = outputs.map(|port| (port.name.as_str(), driver(port))).collect();
        Self { nodes, ports }
    }

    /// The layer of a cell. yosys calls a cell after a net that it drives: one inside an instance of the core, one between its instances
    /// (these are called after layers too), or one at a port of the core. `None` for what belongs to no net of the core.
    pub fn layer(&self, cell: &str) -> Option<&'a str> {
        let Some(inside) = cell.strip_prefix(CORE).and_then(|rest| rest.strip_prefix('.')) else {
            let of = |port: &&(&'a str, &'a str)| {
                cell.strip_prefix(port.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            };
            return self.ports.iter().filter(of).max_by_key(|port| port.0.len()).map(|port| port.1);
        };
        Some(match inside.split_once('.') {
            Some((instance, _)) => layer_of(instance, &self.nodes),
            None => layer_of(&format!("u_{inside}"), &self.nodes),
        })
    }
}

/// The cells of the core in a netlist.
///
/// # Errors
/// If the netlist is not one of yosys.
pub(crate) fn count(json: &str, names: &Names<'_>, part: &Part) -> Result<Area> {
    let unreadable = |reason: String| {
        Diagnostic::new(&TOOL_FAILED, format!("its netlist cannot be read: {reason}"))
            .at("yosys")
            .help("try another version of yosys")
    };
    let netlist: Json = serde_json::from_str(json).map_err(|e| unreadable(e.to_string()))?;
    let top = netlist.modules.get(TOP).ok_or_else(|| unreadable(format!("it has no module {TOP}")))?;
    let own = top.cells.iter().filter(|(_, cell)| !cell.of_harness());
    let cells = own.map(|(name, cell)| {
        let mut cells = Cells::default();
        cells.add(&cell.kind, part.family);
        (names.layer(name).unwrap_or(OUTSIDE), cells)
    });
    Ok(Area::of(cells, &names.nodes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::OUTSIDE;

    impl<'a> Names<'a> {
        pub fn of(nodes: &[&'a str], ports: &[(&'a str, &'a str)]) -> Self {
            Self { nodes: nodes.to_vec(), ports: ports.to_vec() }
        }
    }

    #[test]
    fn cells_are_called_after_nets_of_layers() {
        let names =
            Names::of(&["l1_dense", "l2"], &[("s_ready", "l1_dense"), ("m", OUTSIDE), ("m_data", "l2")]);
        let of = |cell| names.layer(cell);
        assert_eq!(of("u_core.u_l1_dense.u_matrix.sum_q_TRELLIS_FF_Q_3"), Some("l1_dense"));
        assert_eq!(of("u_core.l2_m_valid_LUT4_Z"), Some("l2"));
        assert_eq!(of("u_core.rst_LUT4_Z"), Some(OUTSIDE));
        assert_eq!(of("m_data_TRELLIS_FF_Q_1_D_LUT4_Z"), Some("l2"));
        assert_eq!(of("$abc$1"), None);
    }

    #[test]
    fn counts_of_layers_add_up_to_the_whole() {
        let cell = |name: &str, kind: &str| format!("\"{name}\": {{\"type\": \"{kind}\"}}");
        let register = |name: &str, places: &str| {
            format!(
                "\"{name}\": {{\"type\": \"TRELLIS_FF\", \"attributes\": {{\"src\": \"{FILE}:1.1{places}\"}}}}"
            )
        };
        let cells = [
            cell("u_core.u_l1.a", "LUT4"),
            cell("u_core.u_l1.b", "CCU2C"),
            cell("u_core.u_l2.c", "DP16KD"),
            cell("m_data_TRELLIS_FF_Q", "TRELLIS_FF"),
            cell("u_core.d", "TRELLIS_FF"),
            cell("u_core.u_l1", "$scopeinfo"),
            register("u_core.s_valid_TRELLIS_FF_Q", "|/share/ecp5/cells_map.v:2.1"),
            register("u_core.u_l1.e", "|top.v:3.1|l1.v:1.1|/share/ecp5/cells_map.v:2.1"),
        ];
        let json = format!("{{\"modules\": {{\"{TOP}\": {{\"cells\": {{{}}}}}}}}}", cells.join(","));
        let part = "ecp5-25k".parse::<&Part>().unwrap();
        let names = Names::of(&["l1", "l2"], &[("m_data", "l2")]);
        let Area { cells, layers } = count(&json, &names, part).unwrap();
        assert_eq!(cells, Cells { lut: 3, ff: 3, carry: 1, ram: 1, ..Cells::default() });
        let found: Vec<(&str, u64, u64)> =
            layers.iter().map(|(name, of)| (name.as_str(), of.lut, of.ff)).collect();
        assert_eq!(found, [("l1", 3, 1), ("l2", 0, 1), (OUTSIDE, 0, 1)]);
        assert!(count("{}", &names, part).is_err());
    }
}
