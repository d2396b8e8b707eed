//! Area: the cells of a design on a family, estimated without a tool.
//!
//! May use: `unit`. Used by: `synth`, the commands.

mod cells;
mod cover;
mod flat;
mod logic;
mod netlist;
mod ram;
mod registers;
mod sums;

use std::sync::Arc;

use stoxnor_hdl::Module;

pub use self::cells::Cells;
use self::cover::cover;
use self::flat::Flat;
use self::netlist::{Netlist, lut_costs};
use crate::unit::family::Family;

/// What belongs to no layer.
pub const OUTSIDE: &str = "-";

/// Cells of a design.
#[derive(Debug, Clone)]
pub struct Area {
    /// All of them.
    pub cells: Cells,
    /// Those of each layer, with the FIFOs and converters in front of it; [`OUTSIDE`] stands for what belongs to none.
    pub layers: Vec<(String, Cells)>,
}

/// The layer that an instance of the top belongs to: the instances of a layer and of its converters and FIFOs are `u_LAYER` and
/// `u_LAYER_*`.
pub fn layer_of<'a>(instance: &str, nodes: &[&'a str]) -> &'a str {
    let own = |node: &&'a str| {
        let rest = instance.strip_prefix("u_").and_then(|name| name.strip_prefix(*node));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    nodes.iter().copied().filter(own).max_by_key(|node| node.len()).unwrap_or(OUTSIDE)
}

impl Area {
    /// The sum of cells, each with the layer among `nodes` that they belong to, or [`OUTSIDE`].
    pub fn of<'a>(cells: impl IntoIterator<Item = (&'a str, Cells)>, nodes: &[&'a str]) -> Self {
        let names = || nodes.iter().copied().chain([OUTSIDE]);
        let mut layers: Vec<(String, Cells)> =
            names().map(|name| (name.to_owned(), Cells::default())).collect();
        let mut all = Cells::default();
        for (layer, cells) in cells {
            all += cells;
            if let Some((_, own)) = layers.iter_mut().find(|(name, _)| name == layer) {
                *own += cells;
            }
        }
        layers.retain(|(name, cells)| name != OUTSIDE || *cells != Cells::default());
        Self { cells: all, layers }
    }

    /// The estimate for a design: what yosys would make of it, by the same steps in short.
    pub fn estimate(top: &Arc<Module>, nodes: &[&str], family: Family) -> Self {
        let cells = cells_of(top, family);
        Self::of(cells.iter().map(|(instance, cells)| (layer_of(instance, nodes), *cells)), nodes)
    }
}

/// Rounds of finding registers that are constant or equal to others.
const ROUNDS: usize = 6;

/// The cells of each instance in `top`, and of what lies between them.
fn cells_of(top: &Arc<Module>, family: Family) -> Vec<(String, Cells)> {
    let mut flat = Flat::new(top);
    registers::join_columns(&mut flat, family);
    let mut netlist = Netlist::new(flat, family);
    for _ in 0..ROUNDS {
        netlist.evaluate();
        if !registers::simplify(&mut netlist) {
            break;
        }
        netlist = Netlist::new(netlist.flat, family);
    }
    netlist.evaluate();
    registers::place(&mut netlist);
    registers::around_memories(&mut netlist);
    netlist.placed();
    let luts = cover(&netlist.logic, &netlist.roots, lut_costs(family), netlist.cells.len());
    for (cells, luts) in netlist.cells.iter_mut().zip(luts) {
        cells.lut += luts;
    }
    let names = netlist.flat.owners.into_iter().chain([String::new()]);
    names.zip(netlist.cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_belong_to_the_layer_with_the_longest_name() {
        let of = |instance| layer_of(instance, &["l1", "l1_dense", "l10_conv"]);
        assert_eq!(of("u_l1_dense"), "l1_dense");
        assert_eq!(of("u_l1_dense_fifo"), "l1_dense");
        assert_eq!(["u_l1", "u_l1_dens"].map(of), ["l1"; 2]);
        assert_eq!(of("u_l10_conv"), "l10_conv");
        assert_eq!(["u_l10", ""].map(of), [OUTSIDE; 2]);
    }
}
