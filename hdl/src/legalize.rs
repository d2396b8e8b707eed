//! Legalisation of modules for printing: popcounts become adders, and long expressions get names.
//!
//! The simulator runs modules as they were built; the printer prints legalised ones.

use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;

use crate::module::{Cell, Driver, Module, Net, NetInfo};
use crate::{Bits, bits_for};

/// Maximum number of operators in an expression before a part of it gets a name.
const EXPRESSION_OPERATORS: usize = 8;
/// Maximum number of operators in the next value of a register inside its clocked process.
const NEXT_OPERATORS: usize = 3;

/// Legalises a module and everything inside it: vendors' cells where a module is realised in them. The values are the same in every
/// cycle.
pub fn legalize(top: &Arc<Module>) -> Arc<Module> {
    let mut done: HashMap<String, Arc<Module>> = HashMap::new();
    for module in top.hierarchy() {
        let mut new = Module::clone(module.realised.as_ref().unwrap_or(&module));
        for instance in new.instances.iter_mut().filter(|instance| instance.module.primitive.is_none()) {
            instance.module = Arc::clone(&done[&instance.module.name]);
        }
        expand_popcounts(&mut new);
        name_long_expressions(&mut new);
        done.insert(module.name.clone(), Arc::new(new));
    }
    Arc::clone(&done[&top.name])
}

/// Replaces every popcount by a balanced tree of adders, each as wide as its sum needs.
///
/// Each level adds pairs of neighbours: bits first (2-bit sums), then sums. An unpaired operand moves to the next level. Sums
/// wider than the count wrap around, as the count does.
fn expand_popcounts(module: &mut Module) {
    let mut names = names(module);
    for index in 0..module.nets.len() {
        let Driver::Cell(Cell::Popcount(operand)) = module.nets[index].driver else { continue };
        let at = module.nets[index].at;
        let base = module.nets[index].name.clone().unwrap_or_else(|| "count".to_owned());
        if module.nets[operand.index()].name.is_none() {
            module.nets[operand.index()].name = Some(fresh(&mut names, format!("{base}_bits")));
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
                    let name = fresh(&mut names, format!("{base}_l{depth}_{i}"));
                    push(module, width, Some(name), cell, at)
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

/// Gives names to the next values of registers and to parts of long expressions.
fn name_long_expressions(module: &mut Module) {
    let (order, owners) = (bottom_up(module), owners(module));
    let sizes = operators(module, &order);
    let mut names: HashSet<String> = names(module);
    for index in 0..module.registers.len() {
        let register = &module.registers[index];
        let (q, Some(next)) = (register.q, register.next) else { continue };
        if inlined(module, next) && sizes[next.index()] > NEXT_OPERATORS {
            let base = module.describe(q);
            let name = format!("{}_d", base.strip_suffix("_q").unwrap_or(&base));
            module.nets[next.index()].name = Some(fresh(&mut names, name));
        }
    }
    // From the leaves up: the reader of a long expression gets it in parts, the longest part first.
    let mut sizes = vec![0; module.nets.len()];
    for net in order {
        sizes[net.index()] = own_operators(module, net);
        let Driver::Cell(cell) = &module.nets[net.index()].driver else { continue };
        let mut parts = cell.operands();
        parts.retain(|part| inlined(module, *part));
        parts.sort_by_key(|part| sizes[part.index()]);
        let mut size = sizes[net.index()] + parts.iter().map(|part| sizes[part.index()]).sum::<usize>();
        while size > EXPRESSION_OPERATORS {
            let Some(part) = parts.pop().filter(|part| sizes[part.index()] > 0) else { break };
            size -= sizes[part.index()];
            let owner = owners[net.index()].as_deref().unwrap_or("value");
            module.nets[part.index()].name = Some(fresh(&mut names, format!("{owner}_part")));
        }
        sizes[net.index()] = size;
    }
}

/// `name`, with a number appended if it is taken.
fn fresh(names: &mut HashSet<String>, name: String) -> String {
    let numbered = (0..).map(|n| if n == 0 { name.clone() } else { format!("{name}{n}") });
    let free = numbered.into_iter().find(|n| !names.contains(n)).expect("numbers don't end");
    names.insert(free.clone());
    free
}

/// All names in the module.
fn names(module: &Module) -> HashSet<String> {
    let nets = module.nets.iter().filter_map(|n| n.name.clone());
    let ports = module.ports.iter().map(|p| p.name.clone());
    let memories = module.memories.iter().map(|m| m.name.clone());
    let instances = module.instances.iter().map(|i| i.name.clone());
    let parameters = module.parameters.iter().map(|p| p.name.clone());
    nets.chain(ports).chain(memories).chain(instances).chain(parameters).collect()
}

/// For each net that is printed inside another expression, a name that describes where.
fn owners(module: &Module) -> Vec<Option<String>> {
    let mut roots: Vec<(Net, String)> = Vec::new();
    for (index, info) in module.nets.iter().enumerate() {
        roots.extend(info.name.clone().map(|name| (Net(index as u32), name)));
    }
    for register in &module.registers {
        let base = module.describe(register.q);
        let base = base.strip_suffix("_q").unwrap_or(&base).to_owned();
        roots.extend(register.enable.map(|n| (n, format!("{base}_enable"))));
        roots.extend(register.next.map(|n| (n, format!("{base}_d"))));
    }
    for memory in &module.memories {
        let accesses =
            memory.reads.iter().flat_map(|r| [(r.address, "read_address"), (r.enable, "read_enable")]);
        let writes = memory.writes.iter();
        let writes = writes
            .flat_map(|w| [(w.address, "write_address"), (w.enable, "write_enable"), (w.data, "write_data")]);
        roots.extend(accesses.chain(writes).map(|(net, what)| (net, format!("{}_{what}", memory.name))));
    }
    for instance in &module.instances {
        let prefix = instance.name.strip_prefix("u_").unwrap_or(&instance.name);
        for (port, net) in instance.module.ports.iter().zip(&instance.connections) {
            roots.extend(net.map(|n| (n, format!("{prefix}_{}", port.name))));
        }
    }
    roots.extend(module.ports.iter().filter(|p| p.output).map(|p| (p.net, p.name.clone())));
    let mut owners = vec![None; module.nets.len()];
    while let Some((net, name)) = roots.pop() {
        owners[net.index()] = Some(name.clone());
        let Driver::Cell(cell) = &module.nets[net.index()].driver else { continue };
        let inside = cell.operands().into_iter().filter(|operand| inlined(module, *operand));
        roots.extend(inside.map(|operand| (operand, name.clone())));
    }
    owners
}

/// All nets, each after the operands of its cell.
fn bottom_up(module: &Module) -> Vec<Net> {
    let mut order = Vec::with_capacity(module.nets.len());
    let mut visited = vec![false; module.nets.len()];
    for root in 0..module.nets.len() as u32 {
        let mut stack = vec![(Net(root), false)];
        while let Some((net, done)) = stack.pop() {
            if done {
                order.push(net);
            } else if !std::mem::replace(&mut visited[net.index()], true) {
                stack.push((net, true));
                if let Driver::Cell(cell) = &module.nets[net.index()].driver {
                    stack.extend(cell.operands().into_iter().map(|operand| (operand, false)));
                }
            }
        }
    }
    order
}

/// Whether the net is printed inside the expressions that use it.
pub(crate) fn inlined(module: &Module, net: Net) -> bool {
    let info = &module.nets[net.index()];
    info.name.is_none() && matches!(info.driver, Driver::Cell(_))
}

/// For each net, the number of operators in its expression, down to the nearest named nets.
fn operators(module: &Module, order: &[Net]) -> Vec<usize> {
    let mut sizes = vec![0; module.nets.len()];
    for net in order {
        let mut size = own_operators(module, *net);
        if let Driver::Cell(cell) = &module.nets[net.index()].driver {
            let inside = cell.operands().into_iter().filter(|operand| inlined(module, *operand));
            size += inside.map(|operand| sizes[operand.index()]).sum::<usize>();
        }
        sizes[net.index()] = size;
    }
    sizes
}

fn own_operators(module: &Module, net: Net) -> usize {
    let Driver::Cell(cell) = &module.nets[net.index()].driver else { return 0 };
    usize::from(!matches!(cell, Cell::Const(_) | Cell::Slice(..) | Cell::ZeroExtend(_)))
}

/// The value of a net that is a constant.
pub(crate) fn constant(module: &Module, net: Net) -> Option<&Bits> {
    match &module.nets[net.index()].driver {
        Driver::Cell(Cell::Const(bits)) => Some(bits),
        _ => None,
    }
}
