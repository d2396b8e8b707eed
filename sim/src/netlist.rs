//! The flat netlist of a module and everything inside it.

use std::collections::HashMap;
use std::sync::Arc;

use stoxnor_hdl::{Bits, Cell, Driver, Image, Module, Net};

/// Index into [`Flat::nets`].
pub type Index = usize;

/// A net of the flat netlist. Connected nets of different modules are a single flat net.
#[derive(Debug, Clone)]
pub struct FlatNet {
    /// Number of bits.
    pub width: u32,
}

/// A cell with its operands as flat indices.
#[derive(Debug, Clone)]
pub struct FlatCell {
    /// The cell. Its own operands are indices of its module; use `operands` instead.
    pub cell: Cell,
    /// The operands, in the order of [`Cell::operands`].
    pub operands: Vec<Index>,
    /// The net that it drives.
    pub output: Index,
}

/// A register of the flat netlist.
#[derive(Debug, Clone)]
pub struct FlatRegister {
    pub q: Index,
    pub next: Index,
    pub enable: Option<Index>,
    pub reset: Option<Bits>,
}

/// A memory of the flat netlist.
#[derive(Debug, Clone)]
pub struct FlatMemory {
    pub width: u32,
    pub depth: u32,
    pub init: Option<Arc<Image>>,
    /// Address, enable and data of each registered read port.
    pub reads: Vec<(Index, Index, Index)>,
    /// Address, enable and data of each write port.
    pub writes: Vec<(Index, Index, Index)>,
}

/// A named net, with its position in the hierarchy.
#[derive(Debug, Clone)]
pub struct Named {
    /// Instance names from the top down, without the top module itself.
    pub scope: Vec<String>,
    /// Name inside its module.
    pub name: String,
    /// The net.
    pub net: Index,
}

/// A flat netlist.
#[derive(Debug)]
pub struct Flat {
    /// Nets.
    pub nets: Vec<FlatNet>,
    /// Ports of the top module, by name.
    pub ports: HashMap<String, Index>,
    /// Combinational cells in topological order.
    pub cells: Vec<FlatCell>,
    /// Registers.
    pub registers: Vec<FlatRegister>,
    /// Memories.
    pub memories: Vec<FlatMemory>,
    /// Every named net and output port, parents before children, in order of declaration.
    pub names: Vec<Named>,
}

/// Flattens a module.
///
/// # Panics
/// If the module violates a rule of [`stoxnor_hdl::check`].
pub fn flatten(top: &Arc<Module>) -> Flat {
    let mut flat = Flattener {
        flat: Flat {
            nets: vec![],
            ports: HashMap::new(),
            cells: vec![],
            registers: vec![],
            memories: vec![],
            names: vec![],
        },
        alias: vec![],
    };
    let images: Vec<_> = top.parameters.iter().map(|p| p.image.clone()).collect();
    let inputs = vec![None; top.ports.len()];
    let nets = flat.module(top, &[], &inputs, &images);
    for port in &top.ports {
        flat.flat.ports.insert(port.name.clone(), nets[port.net.index()]);
    }
    flat.finish()
}

impl Flat {
    /// For each net, whether one of `ports` depends on it; with `through_memories` also through memories.
    pub fn causes_of(&self, ports: &[&str], through_memories: bool) -> Vec<bool> {
        enum Driver {
            Cell(usize),
            Register(usize),
            Memory(usize),
        }
        let mut drivers: HashMap<Index, Driver> = HashMap::new();
        drivers.extend(self.cells.iter().enumerate().map(|(i, c)| (c.output, Driver::Cell(i))));
        drivers.extend(self.registers.iter().enumerate().map(|(i, r)| (r.q, Driver::Register(i))));
        for (i, memory) in self.memories.iter().enumerate() {
            drivers.extend(memory.reads.iter().map(|(_, _, data)| (*data, Driver::Memory(i))));
        }
        let mut live = vec![false; self.nets.len()];
        let mut stack: Vec<Index> = ports.iter().map(|name| self.ports[*name]).collect();
        while let Some(net) = stack.pop() {
            if std::mem::replace(&mut live[net], true) {
                continue;
            }
            match drivers.get(&net) {
                Some(Driver::Cell(i)) => stack.extend(&self.cells[*i].operands),
                Some(Driver::Register(i)) => {
                    let register = &self.registers[*i];
                    stack.extend([register.next].into_iter().chain(register.enable));
                }
                Some(Driver::Memory(_)) if !through_memories => {}
                Some(Driver::Memory(i)) => {
                    let memory = &self.memories[*i];
                    // A memory is kept with all its ports.
                    stack.extend(memory.reads.iter().flat_map(|(a, e, d)| [*a, *e, *d]));
                    stack.extend(memory.writes.iter().flat_map(|(a, e, d)| [*a, *e, *d]));
                }
                None => {}
            }
        }
        live
    }

    /// Removes every cell, register and memory that drives no `live` net.
    pub fn retain(&mut self, live: &[bool]) {
        self.cells.retain(|c| live[c.output]);
        self.registers.retain(|r| live[r.q]);
        self.memories.retain(|m| m.reads.iter().any(|(_, _, data)| live[*data]));
    }
}

struct Flattener {
    flat: Flat,
    /// For each net, the net that it is an alias of.
    alias: Vec<Option<Index>>,
}

impl Flattener {
    fn net(&mut self, width: u32) -> Index {
        self.flat.nets.push(FlatNet { width });
        self.alias.push(None);
        self.flat.nets.len() - 1
    }

    /// Flattens one instance. `inputs` are the flat nets of its input ports. Returns the flat net of each of its nets.
    fn module(
        &mut self,
        module: &Arc<Module>,
        scope: &[String],
        inputs: &[Option<Index>],
        images: &[Option<Arc<Image>>],
    ) -> Vec<Index> {
        let map: Vec<Index> = module.nets.iter().map(|info| self.net(info.width)).collect();
        let at = |net: Net| map[net.index()];
        for (port, input) in module.ports.iter().zip(inputs) {
            if let (false, Some(input)) = (port.output, input) {
                self.alias[at(port.net)] = Some(*input);
            }
        }
        for (index, info) in module.nets.iter().enumerate() {
            if let Some(name) = &info.name {
                let named = Named { scope: scope.to_vec(), name: name.clone(), net: map[index] };
                self.flat.names.push(named);
            }
            if let Driver::Cell(cell) = &info.driver {
                match cell {
                    Cell::Wire(source) => self.alias[map[index]] = source.map(at),
                    _ => self.flat.cells.push(FlatCell {
                        cell: cell.clone(),
                        operands: cell.operands().into_iter().map(at).collect(),
                        output: map[index],
                    }),
                }
            }
        }
        // The driver of an output port often has another name; waveforms show both.
        for port in module.ports.iter().filter(|p| p.output) {
            if module.net(&port.name).is_none() {
                let named = Named { scope: scope.to_vec(), name: port.name.clone(), net: at(port.net) };
                self.flat.names.push(named);
            }
        }
        for register in &module.registers {
            self.flat.registers.push(FlatRegister {
                q: at(register.q),
                next: at(register.next.expect("checked: registers are driven")),
                enable: register.enable.map(at),
                reset: register.reset.clone(),
            });
        }
        for memory in &module.memories {
            let reads: Vec<_> =
                memory.reads.iter().map(|r| (at(r.address), at(r.enable), at(r.data))).collect();
            self.flat.memories.push(FlatMemory {
                width: memory.width,
                depth: memory.depth,
                init: memory.contents.clone().or_else(|| images[memory.init?.index()].clone()),
                reads,
                writes: memory.writes.iter().map(|w| (at(w.address), at(w.enable), at(w.data))).collect(),
            });
        }
        for (index, instance) in module.instances.iter().enumerate() {
            let child = &instance.module;
            let mut child_images: Vec<_> = child.parameters.iter().map(|p| p.image.clone()).collect();
            for binding in &instance.bindings {
                child_images[binding.to.index()] = images[binding.from.index()].clone();
            }
            let child_inputs: Vec<_> = child
                .ports
                .iter()
                .zip(&instance.connections)
                .map(|(port, net)| if port.output { None } else { net.map(at) })
                .collect();
            let mut child_scope = scope.to_vec();
            child_scope.push(instance.name.clone());
            let inside = self.module(child, &child_scope, &child_inputs, &child_images);
            for (info, flat) in module.nets.iter().zip(&map) {
                if let Driver::Instance(i, port) = info.driver
                    && i == index
                {
                    self.alias[*flat] = Some(inside[child.ports[port].net.index()]);
                }
            }
        }
        map
    }

    /// Resolves aliases and sorts the cells topologically.
    fn finish(mut self) -> Flat {
        let root: Vec<Index> = (0..self.alias.len())
            .map(|mut net| {
                while let Some(next) = self.alias[net] {
                    net = next;
                }
                net
            })
            .collect();
        let fix = |net: &mut Index| *net = root[*net];
        self.flat.ports.values_mut().for_each(fix);
        self.flat.names.iter_mut().for_each(|n| fix(&mut n.net));
        for cell in &mut self.flat.cells {
            cell.operands.iter_mut().for_each(fix);
        }
        for register in &mut self.flat.registers {
            fix(&mut register.next);
            register.enable.iter_mut().for_each(fix);
        }
        for memory in &mut self.flat.memories {
            memory.reads.iter_mut().for_each(|r| [&mut r.0, &mut r.1].into_iter().for_each(fix));
            memory.writes.iter_mut().for_each(|w| [&mut w.0, &mut w.1, &mut w.2].into_iter().for_each(fix));
        }
        self.flat.cells = levelize(std::mem::take(&mut self.flat.cells), self.flat.nets.len());
        self.flat
    }
}

/// Sorts cells topologically.
fn levelize(cells: Vec<FlatCell>, nets: usize) -> Vec<FlatCell> {
    let mut driver = vec![None; nets];
    for (index, cell) in cells.iter().enumerate() {
        driver[cell.output] = Some(index);
    }
    let mut visited = vec![false; cells.len()];
    let mut order = Vec::with_capacity(cells.len());
    for root in 0..cells.len() {
        let mut stack = vec![(root, false)];
        while let Some((index, done)) = stack.pop() {
            if done {
                order.push(index);
            } else if !std::mem::replace(&mut visited[index], true) {
                stack.push((index, true));
                stack.extend(cells[index].operands.iter().filter_map(|o| driver[*o]).map(|d| (d, false)));
            }
        }
    }
    let mut cells: Vec<Option<FlatCell>> = cells.into_iter().map(Some).collect();
    order.into_iter().map(|i| cells[i].take().expect("each cell once")).collect()
}
