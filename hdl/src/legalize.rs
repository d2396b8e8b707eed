//! From what blocks write to what Verilog prints well: popcounts become adders, long expressions get names.
//!
//! The simulator runs modules as they were written; the printer prints legalised ones.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

use crate::check::state_operands;
use crate::module::{Cell, Driver, Module, Net, NetInfo};
use crate::{Bits, bits_for};

/// Operators that one expression may hold before a part of it gets a name of its own.
const EXPRESSION_OPERATORS: usize = 8;
/// Operators that the next value of a register may hold inside its clocked process.
const NEXT_OPERATORS: usize = 3;

/// The module with everything inside it legalised. It computes the same values at the same cycles.
pub fn legalize(top: &Arc<Module>) -> Arc<Module> {
    let mut done: HashMap<String, Arc<Module>> = HashMap::new();
    for module in top.hierarchy() {
        let mut new = (*module).clone();
        for instance in &mut new.instances {
            instance.module = Arc::clone(&done[&instance.module.name]);
        }
        expand_popcounts(&mut new);
        name_long_expressions(&mut new);
        done.insert(module.name.clone(), Arc::new(new));
    }
    Arc::clone(&done[&top.name])
}

/// Replaces every popcount by a balanced tree of adders, each just as wide as its sum needs.
///
/// Two neighbours are added at each level: bits first (2-bit sums), then sums. An odd one out waits for the next level. Sums
/// that would get wider than the count wrap, as the count does.
fn expand_popcounts(module: &mut Module) {
    for index in 0..module.nets.len() {
        let Driver::Cell(Cell::Popcount(operand)) = module.nets[index].driver else { continue };
        let at = module.nets[index].at;
        let base = module.nets[index].name.clone().unwrap_or_else(|| "count".to_owned());
        if module.nets[operand.index()].name.is_none() {
            module.nets[operand.index()].name = Some(format!("{base}_bits"));
        }
        let bits = module.width(operand);
        let count_bits = module.nets[index].width;
        if bits == 1 {
            module.nets[index].driver = Driver::Cell(Cell::Wire(Some(operand)));
            continue;
        }
        let mut level: Vec<(Net, u64)> =
            (0..bits).map(|low| (push(module, 1, None, Cell::Slice(operand, low), at), 1)).collect();
        let mut depth = 1;
        while level.len() > 1 {
            let last = level.len() == 2;
            let mut sums = Vec::with_capacity(level.len().div_ceil(2));
            for (i, pair) in level.chunks(2).enumerate() {
                let &[(a, most_a), (b, most_b)] = pair else {
                    sums.push(pair[0]);
                    continue;
                };
                let width = bits_for(most_a + most_b).min(count_bits);
                let cell = Cell::Add(widened(module, a, width, at), widened(module, b, width, at));
                let sum = if last {
                    module.nets[index].driver = Driver::Cell(cell);
                    Net(index as u32)
                } else {
                    push(module, width, Some(format!("{base}_l{depth}_{i}")), cell, at)
                };
                sums.push((sum, most_a + most_b));
            }
            level = sums;
            depth += 1;
        }
    }
}

fn push(
    module: &mut Module,
    width: u32,
    name: Option<String>,
    cell: Cell,
    at: &'static Location<'static>,
) -> Net {
    module.nets.push(NetInfo { width, name, driver: Driver::Cell(cell), at });
    Net(module.nets.len() as u32 - 1)
}

fn widened(module: &mut Module, net: Net, width: u32, at: &'static Location<'static>) -> Net {
    if module.width(net) == width { net } else { push(module, width, None, Cell::ZeroExtend(net), at) }
}

/// Gives names to the next values of registers and to parts of expressions that would get long.
fn name_long_expressions(module: &mut Module) {
    for index in 0..module.registers.len() {
        let register = &module.registers[index];
        let (q, Some(next)) = (register.q, register.next) else { continue };
        if inlined(module, next) && operators(module, next) > NEXT_OPERATORS {
            let base = module.describe(q);
            module.nets[next.index()].name = Some(format!("{}_d", base.strip_suffix("_q").unwrap_or(&base)));
        }
    }
    let mut roots: Vec<(Net, String)> = state_operands(module).map(|n| (n, module.describe(n))).collect();
    roots.extend(module.ports.iter().filter(|p| p.output).map(|p| (p.net, p.name.clone())));
    roots.extend(
        (0..module.nets.len() as u32)
            .map(Net)
            .filter_map(|n| module.nets[n.index()].name.clone().map(|name| (n, name))),
    );
    for (root, name) in roots {
        let mut parts = 0;
        let mut stack = vec![root];
        while let Some(net) = stack.pop() {
            let Driver::Cell(cell) = &module.nets[net.index()].driver else { continue };
            for operand in cell.operands() {
                if !inlined(module, operand) {
                    continue;
                }
                if operators(module, operand) > EXPRESSION_OPERATORS {
                    module.nets[operand.index()].name = Some(format!("{name}_part{parts}"));
                    parts += 1;
                } else {
                    stack.push(operand);
                }
            }
        }
    }
}

/// Whether the net is printed inside the expressions that use it.
pub(crate) fn inlined(module: &Module, net: Net) -> bool {
    let info = &module.nets[net.index()];
    info.name.is_none() && matches!(info.driver, Driver::Cell(_))
}

/// Operators in the expression that drives `net`, down to the nearest names.
fn operators(module: &Module, net: Net) -> usize {
    match &module.nets[net.index()].driver {
        Driver::Cell(cell) => {
            let own = usize::from(!matches!(cell, Cell::Const(_) | Cell::Slice(..) | Cell::ZeroExtend(_)));
            own + cell
                .operands()
                .into_iter()
                .filter(|operand| inlined(module, *operand))
                .map(|operand| operators(module, operand))
                .sum::<usize>()
        }
        _ => 0,
    }
}

/// The value of a net that is a constant.
pub(crate) fn constant(module: &Module, net: Net) -> Option<&Bits> {
    match &module.nets[net.index()].driver {
        Driver::Cell(Cell::Const(bits)) => Some(bits),
        _ => None,
    }
}
