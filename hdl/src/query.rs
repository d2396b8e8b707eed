//! Queries about a module that several passes share.

use crate::module::{Driver, Memory, Module, Net};

/// For each net, whether an output port or an instance depends on it, directly or through state.
pub(crate) fn live_nets(module: &Module) -> Vec<bool> {
    let mut live = vec![false; module.nets.len()];
    let mut stack: Vec<Net> = module.ports.iter().filter(|p| p.output).map(|p| p.net).collect();
    stack.extend(instance_operands(module));
    while let Some(net) = stack.pop() {
        if std::mem::replace(&mut live[net.index()], true) {
            continue;
        }
        match &module.nets[net.index()].driver {
            Driver::Cell(cell) => stack.extend(cell.operands()),
            Driver::Register(r) => {
                let register = &module.registers[*r];
                stack.extend(register.next.into_iter().chain(register.enable));
            }
            Driver::Memory(m, port) => {
                let memory = &module.memories[*m];
                stack.extend([memory.reads[*port].address, memory.reads[*port].enable]);
                stack.extend(memory.writes.iter().flat_map(|w| [w.address, w.enable, w.data]));
            }
            Driver::Input | Driver::Instance(..) => {}
        }
    }
    live
}

/// Name, depth and width of each memory that parameter `index` of `module` initialises, at any depth.
pub(crate) fn memories_of(module: &Module, index: usize) -> Vec<(String, u32, u32)> {
    let own = module.memories.iter().filter(|m| m.init.is_some_and(|p| p.index() == index));
    let mut found: Vec<_> = own.map(|m| (m.name.clone(), m.depth, m.width)).collect();
    for instance in &module.instances {
        for binding in instance.bindings.iter().filter(|b| b.from.index() == index) {
            let inside = memories_of(&instance.module, binding.to.index()).into_iter();
            found.extend(
                inside.map(|(name, depth, width)| (format!("{}.{name}", instance.name), depth, width)),
            );
        }
    }
    found
}

fn instance_operands(module: &Module) -> impl Iterator<Item = Net> + '_ {
    module.instances.iter().flat_map(|i| {
        i.module.ports.iter().zip(&i.connections).filter(|(p, _)| !p.output).filter_map(|(_, net)| *net)
    })
}

/// The operands of registers, memories and instances.
pub(crate) fn state_operands(module: &Module) -> impl Iterator<Item = Net> + '_ {
    let registers = module.registers.iter().flat_map(|r| r.next.into_iter().chain(r.enable));
    let memories = module.memories.iter().flat_map(|m| {
        let reads = m.reads.iter().flat_map(|r| [r.address, r.enable]);
        reads.chain(m.writes.iter().flat_map(|w| [w.address, w.enable, w.data]))
    });
    registers.chain(memories).chain(instance_operands(module))
}

/// Whether two modules have the same structure.
pub(crate) fn same(a: &Module, b: &Module) -> bool {
    let nets =
        |m: &Module| m.nets.iter().map(|n| (n.width, n.name.clone(), n.driver.clone())).collect::<Vec<_>>();
    let ports =
        |m: &Module| m.ports.iter().map(|p| (p.name.clone(), p.net, p.output, p.role)).collect::<Vec<_>>();
    let memory = |m: &Memory| {
        (
            format!("{} {} {} {:?} {:?} {:?}", m.name, m.width, m.depth, m.init, m.reads, m.writes),
            m.contents.clone(),
        )
    };
    let memories = |m: &Module| m.memories.iter().map(memory).collect::<Vec<_>>();
    let parameters =
        |m: &Module| m.parameters.iter().map(|p| (p.name.clone(), p.image.clone())).collect::<Vec<_>>();
    let registers = |m: &Module| format!("{:?}", m.registers);
    nets(a) == nets(b)
        && ports(a) == ports(b)
        && memories(a) == memories(b)
        && parameters(a) == parameters(b)
        && registers(a) == registers(b)
        && a.instances.len() == b.instances.len()
        && a.instances.iter().zip(&b.instances).all(|(a, b)| {
            a.name == b.name
                && a.connections == b.connections
                && format!("{:?}", a.bindings) == format!("{:?}", b.bindings)
                && (std::sync::Arc::ptr_eq(&a.module, &b.module) || same(&a.module, &b.module))
        })
}
