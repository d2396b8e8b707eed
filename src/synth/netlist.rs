//! Counting the cells of a netlist by kind and by layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Result, TOOL_FAILED};
use crate::synth::harness::{CORE, TOP};
use crate::synth::part::{Part, Room};
use crate::unit::family::Family;

/// Numbers of cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cells {
    /// LUTs: of 4 inputs, of 6 on Xilinx. A CCU2C counts as two, a Gowin ALU and a Xilinx shift register as one; memories in LUTs
    /// are not counted.
    pub lut: u64,
    /// Flip-flops.
    pub ff: u64,
    /// Carry cells.
    pub carry: u64,
    /// Memories in LUTs, of four LUTs each.
    pub lut_ram: u64,
    /// Block RAMs: of 4 kbit on iCE40, 18 kbit elsewhere.
    pub ram: u64,
    /// Multipliers.
    pub dsp: u64,
}

/// What belongs to no layer.
pub(crate) const OUTSIDE: &str = "-";

/// yosys' JSON, as far as it is read.
#[derive(Debug, Deserialize)]
struct Json {
    modules: BTreeMap<String, Module>,
}

#[derive(Debug, Deserialize)]
struct Module {
    cells: BTreeMap<String, Cell>,
}

#[derive(Debug, Deserialize)]
struct Cell {
    #[serde(rename = "type")]
    kind: String,
}

/// Names of block RAMs, as others in [`Cells::add`], in yosys' techlibs/{ice40,ecp5,gowin,xilinx}/cells_sim.v.
const BLOCK_RAMS: &[&str] =
    &["DP16KD", "PDPW16KD", "SB_RAM40", "SPX9", "SDPX9", "SDPB", "SP", "DPB", "DPX9", "pROM", "RAMB18"];
/// LUTs that a memory in LUTs takes.
const LUTS_OF_RAM: u64 = 4;

impl Cells {
    /// Whether a part has room for them.
    pub fn fit(&self, room: Room) -> bool {
        self.lut + LUTS_OF_RAM * self.lut_ram <= room.lut && self.ram <= room.ram
    }

    fn add(&mut self, kind: &str, family: Family) {
        let begins = |with: &[&str]| with.iter().any(|with| kind.starts_with(with));
        if begins(BLOCK_RAMS) {
            self.ram += 1;
        } else if begins(&["RAMB36"]) {
            self.ram += 2;
        } else if begins(&["TRELLIS_DPR16X4", "RAM16S", "RAM32", "RAM64"]) {
            self.lut_ram += 1;
        } else if begins(&["LUT", "SB_LUT4", "INV", "SRL"]) {
            self.lut += 1;
        } else if begins(&["CCU2C", "ALU", "CARRY4", "SB_CARRY"]) {
            self.carry += 1;
            self.lut += match family {
                Family::Ecp5 => 2,
                Family::Gowin => 1,
                Family::Generic | Family::Ice40 | Family::Xilinx7 => 0,
            };
        } else if begins(&["SB_DFF", "TRELLIS_FF", "DFF", "FDRE", "FDSE", "FDCE", "FDPE"]) {
            self.ff += 1;
        } else if begins(&["MULT", "SB_MAC16", "DSP48"]) {
            self.dsp += 1;
        }
    }
}

/// The layer that a flattened cell belongs to, by its name: the instances of a layer and of its converters and FIFOs are
/// `u_LAYER` and `u_LAYER_*`. `None` for cells of the harness.
pub(crate) fn layer_of<'a>(cell: &str, nodes: &[&'a str]) -> Option<&'a str> {
    let inside = cell.strip_prefix(CORE)?.strip_prefix('.')?;
    let instance = inside.split_once('.').map_or("", |(instance, _)| instance);
    let own = |node: &&'a str| {
        let rest = instance.strip_prefix("u_").and_then(|name| name.strip_prefix(*node));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    Some(nodes.iter().copied().filter(own).max_by_key(|node| node.len()).unwrap_or(OUTSIDE))
}

/// The cells of the core in a netlist, and those of each layer.
///
/// # Errors
/// If the netlist is not one of yosys.
pub(crate) fn count<'a>(
    json: &str,
    nodes: &[&'a str],
    part: &Part,
) -> Result<(Cells, Vec<(&'a str, Cells)>)> {
    let unreadable = |reason: String| {
        Diagnostic::new(&TOOL_FAILED, format!("its netlist cannot be read: {reason}"))
            .at("yosys")
            .help("try another version of yosys")
    };
    let netlist: Json = serde_json::from_str(json).map_err(|e| unreadable(e.to_string()))?;
    let top = netlist.modules.get(TOP).ok_or_else(|| unreadable(format!("it has no module {TOP}")))?;
    let names = || nodes.iter().copied().chain([OUTSIDE]);
    let mut layers: BTreeMap<&str, Cells> = names().map(|name| (name, Cells::default())).collect();
    let mut all = Cells::default();
    for (name, cell) in &top.cells {
        if let Some(layer) = layer_of(name, nodes) {
            all.add(&cell.kind, part.family);
            layers.entry(layer).or_default().add(&cell.kind, part.family);
        }
    }
    let layers = names().map(|name| (name, layers[name]));
    Ok((all, layers.filter(|(name, cells)| *name != OUTSIDE || *cells != Cells::default()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_belong_to_the_layer_with_the_longest_name() {
        let nodes = ["l1", "l1_dense", "l10_conv"];
        let of = |cell| layer_of(cell, &nodes);
        assert_eq!(of("u_core.u_l1_dense.u_matrix.sum_q_TRELLIS_FF_Q_3"), Some("l1_dense"));
        assert_eq!(of("u_core.u_l1_dense_fifo.count_q_TRELLIS_FF_Q"), Some("l1_dense"));
        assert_eq!(of("u_core.u_l1.u_matrix"), Some("l1"));
        assert_eq!(of("u_core.u_l1_dens.x"), Some("l1"));
        assert_eq!(of("u_core.u_l10_conv.x"), Some("l10_conv"));
        assert_eq!(of("u_core.u_l10.x"), Some(OUTSIDE));
        assert_eq!(of("u_core.m_data_TRELLIS_FF_Q"), Some(OUTSIDE));
        assert_eq!(of("given_TRELLIS_FF_Q_3"), None);
    }

    #[test]
    fn counts_of_layers_add_up_to_the_whole() {
        let cell = |name: &str, kind: &str| format!("\"{name}\": {{\"type\": \"{kind}\"}}");
        let cells = [
            cell("u_core.u_l1.a", "LUT4"),
            cell("u_core.u_l1.b", "CCU2C"),
            cell("u_core.u_l2.c", "DP16KD"),
            cell("u_core.d", "TRELLIS_FF"),
            cell("given", "TRELLIS_FF"),
            cell("u_core.u_l1", "$scopeinfo"),
        ];
        let json = format!("{{\"modules\": {{\"{TOP}\": {{\"cells\": {{{}}}}}}}}}", cells.join(","));
        let part = "ecp5-25k".parse::<&Part>().unwrap();
        let (all, layers) = count(&json, &["l1", "l2"], part).unwrap();
        assert_eq!(all, Cells { lut: 3, ff: 1, carry: 1, ram: 1, ..Cells::default() });
        let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["l1", "l2", OUTSIDE]);
        assert_eq!(layers.iter().map(|(_, cells)| cells.lut).sum::<u64>(), all.lut);
        assert_eq!(layers[2].1.ff, 1);
        assert!(count("{}", &[], part).is_err());
    }

    #[test]
    fn memories_in_luts_take_room_too() {
        let cells = Cells { lut: 5000, lut_ram: 70, ram: 30, ..Cells::default() };
        let room = |lut, ram| Room { lut, ram };
        assert!(cells.fit(room(5280, 30)));
        assert!(!cells.fit(room(5279, 30)) && !cells.fit(room(5280, 29)));
    }

    /// What the tools' netlists call their cells, and what each counts.
    #[test]
    fn every_family_counts_its_cells() {
        let of = |family: Family, kinds: &[&str]| {
            let mut cells = Cells::default();
            kinds.iter().for_each(|kind| cells.add(kind, family));
            let Cells { lut, ff, carry, lut_ram, ram, dsp } = cells;
            [lut, ff, carry, lut_ram, ram, dsp]
        };
        let ice40 = ["SB_LUT4", "SB_DFFESR", "SB_CARRY", "SB_RAM40_4K", "SB_MAC16", "SB_GB"];
        assert_eq!(of(Family::Ice40, &ice40), [1, 1, 1, 0, 1, 1]);
        let ecp5 = ["LUT4", "TRELLIS_FF", "CCU2C", "TRELLIS_DPR16X4", "DP16KD", "MULT18X18D"];
        assert_eq!(of(Family::Ecp5, &ecp5), [3, 1, 1, 1, 1, 1]);
        let gowin = ["LUT3", "DFFRE", "ALU", "RAM16SDP4", "SDPX9B", "MULT18X18"];
        assert_eq!(of(Family::Gowin, &gowin), [2, 1, 1, 1, 1, 1]);
        let xilinx = ["LUT6_2", "FDRE", "CARRY4", "RAM32M", "RAMB36E1", "DSP48E1", "SRL16E", "MUXF7"];
        assert_eq!(of(Family::Xilinx7, &xilinx), [2, 1, 1, 1, 2, 1]);
    }
}
