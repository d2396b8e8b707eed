//! Lowers a legalised module to the syntax tree: declarations of nets, and processes of registers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::ast::{Assignment, Expression, Item, Module as Ast, Port};
use crate::legalize::{constant, inlined};
use crate::module::{Cell, Driver, Image, Memory, Module, Net, Primitive};

pub fn lower(module: &Module) -> Ast {
    let mut ports = Vec::new();
    let single_bit = |name: &str| Port { output: false, width: 1, name: name.to_owned() };
    if module.clocked() {
        ports.push(single_bit("clk"));
    }
    if module.resettable() {
        ports.push(single_bit("rst"));
    }
    ports.extend(module.ports.iter().map(|p| Port {
        output: p.output,
        width: module.width(p.net),
        name: p.name.clone(),
    }));
    Ast {
        name: module.name.clone(),
        doc: module.doc.clone(),
        parameters: module
            .parameters
            .iter()
            .map(|p| (p.name.clone(), p.image.as_ref().map_or(String::new(), |i| i.file.clone())))
            .collect(),
        ports,
        groups: [
            declarations(module),
            combinational(module),
            memories(module),
            processes(module),
            instances(module),
            outputs(module),
        ]
        .into_iter()
        .filter(|g| !g.is_empty())
        .collect(),
    }
}

/// Declarations of registers, memories, outputs of instances, and wires that are driven later.
fn declarations(module: &Module) -> Vec<Item> {
    let mut items = Vec::new();
    for (index, info) in module.nets.iter().enumerate() {
        let Some(name) = info.name.clone() else { continue };
        if is_port(module, Net(index as u32)) {
            continue;
        }
        let width = info.width;
        match &info.driver {
            Driver::Register(_) | Driver::Memory(..) => items.push(Item::Reg { width, name }),
            Driver::Instance(..) => items.push(Item::Wire { width, name, value: None }),
            Driver::Cell(cell) if is_forward(Net(index as u32), cell) => {
                items.push(Item::Wire { width, name, value: None });
            }
            _ => {}
        }
    }
    for instance in &module.instances {
        let pins = instance.module.primitive.iter().flat_map(|primitive| &primitive.pins);
        items.extend(pins.filter(|(_, value)| value.is_none()).map(|(pin, _)| Item::Wire {
            width: 1,
            name: unused(&instance.name, pin),
            value: None,
        }));
    }
    items.extend(module.memories.iter().map(|m| Item::Memory {
        width: m.width,
        depth: m.depth,
        name: m.name.clone(),
        attribute: attribute(m),
    }));
    items
}

/// A written memory is never read where it is written. A read-only memory of some size belongs into block RAM: left to
/// themselves, tools make logic of wide shallow ones.
fn attribute(memory: &Memory) -> Option<&'static str> {
    match (memory.writes.is_empty(), memory.asks_for_block()) {
        (false, true) => Some("no_rw_check, ram_style = \"block\""),
        (false, false) => Some("no_rw_check"),
        (true, true) => Some("rom_style = \"block\""),
        (true, false) => None,
    }
}

/// Named combinational nets in the order in which they were made, but each after its operands. Wires that are declared at the top
/// are assigned last, when all nets are declared.
fn combinational(module: &Module) -> Vec<Item> {
    let (mut items, mut forward) = (Vec::new(), Vec::new());
    for net in order(module) {
        let info = &module.nets[net.index()];
        let (Some(name), Driver::Cell(cell)) = (info.name.clone(), &info.driver) else { continue };
        let value = expression(module, cell, info.width);
        if is_forward(net, cell) {
            forward.push(Item::Assign(Assignment { to: name, value }));
        } else if is_port(module, net) {
            items.push(Item::Assign(Assignment { to: name, value }));
        } else {
            items.push(Item::Wire { width: info.width, name, value: Some(value) });
        }
    }
    items.append(&mut forward);
    items
}

/// Whether a wire is driven by a net that was made later.
fn is_forward(net: Net, cell: &Cell) -> bool {
    matches!(cell, Cell::Wire(Some(source)) if source.index() > net.index())
}

/// All nets in topological order, the earliest first among those whose operands precede.
fn order(module: &Module) -> Vec<Net> {
    let mut missing = vec![0usize; module.nets.len()];
    let mut readers = vec![Vec::new(); module.nets.len()];
    for (index, info) in module.nets.iter().enumerate() {
        let net = Net(index as u32);
        if let Driver::Cell(cell) = &info.driver
            && !is_forward(net, cell)
        {
            let operands = cell.operands();
            missing[index] = operands.len();
            operands.into_iter().for_each(|operand| readers[operand.index()].push(net));
        }
    }
    let ready = (0..missing.len()).filter(|index| missing[*index] == 0);
    let mut ready: BinaryHeap<Reverse<Net>> = ready.map(|index| Reverse(Net(index as u32))).collect();
    let mut order = Vec::with_capacity(missing.len());
    while let Some(Reverse(net)) = ready.pop() {
        order.push(net);
        for reader in &readers[net.index()] {
            missing[reader.index()] -= 1;
            if missing[reader.index()] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    order
}

fn memories(module: &Module) -> Vec<Item> {
    let mut items = Vec::new();
    for memory in &module.memories {
        if let Some(parameter) = memory.init {
            let parameter = module.parameters[parameter.index()].name.clone();
            let bytes = Image::bytes(memory.width, memory.depth);
            items.push(Item::ReadMem { parameter, memory: memory.name.clone(), bytes });
        }
        if let Some(image) = &memory.contents {
            let words = image.words.iter().map(ToString::to_string).collect();
            items.push(Item::Contents { memory: memory.name.clone(), width: memory.width, words });
        }
        for (index, write) in memory.writes.iter().enumerate() {
            items.push(Item::Write {
                name: numbered(&format!("p_{}_write", memory.name), index),
                enable: reference(module, write.enable),
                memory: memory.name.clone(),
                address: reference(module, write.address),
                value: reference(module, write.data),
            });
        }
        for read in &memory.reads {
            let to = module.describe(read.data);
            items.push(Item::Read {
                name: format!("p_{}", to.strip_suffix("_q").unwrap_or(&to)),
                enable: reference(module, read.enable),
                to,
                memory: memory.name.clone(),
                address: reference(module, read.address),
            });
        }
    }
    items
}

fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}{index}") }
}

/// One process per combination of enable and presence of a reset.
fn processes(module: &Module) -> Vec<Item> {
    let mut groups: Vec<(Option<Net>, bool, Vec<usize>)> = Vec::new();
    for (index, register) in module.registers.iter().enumerate() {
        let key = (register.enable, register.reset.is_some());
        match groups.iter_mut().find(|g| (g.0, g.1) == key) {
            Some(group) => group.2.push(index),
            None => groups.push((key.0, key.1, vec![index])),
        }
    }
    groups
        .into_iter()
        .map(|(enable, _, members)| {
            let name = |index: usize| module.describe(module.registers[index].q);
            let reset = members.iter().filter_map(|&i| {
                let bits = module.registers[i].reset.as_ref()?;
                Some(Assignment { to: name(i), value: literal(bits) })
            });
            let body = members.iter().filter_map(|&i| {
                let next = module.registers[i].next?;
                Some(Assignment { to: name(i), value: reference(module, next) })
            });
            Item::Clocked {
                name: format!("p_{}", name(members[0]).trim_end_matches("_q")),
                reset: reset.collect(),
                enable: enable.map(|e| reference(module, e)),
                body: body.collect(),
            }
        })
        .collect()
}

fn instances(module: &Module) -> Vec<Item> {
    module
        .instances
        .iter()
        .map(|instance| {
            let child = &instance.module;
            let implicit = [("clk", child.clocked()), ("rst", child.resettable())];
            let mut connections: Vec<(String, Expression)> = implicit
                .into_iter()
                .filter(|(_, used)| *used)
                .map(|(name, _)| (name.to_owned(), Expression::Name(name.to_owned())))
                .collect();
            connections.extend(
                child
                    .ports
                    .iter()
                    .zip(&instance.connections)
                    .filter_map(|(port, net)| Some((port.name.clone(), reference(module, (*net)?)))),
            );
            if let Some(primitive) = &child.primitive {
                return primitive_item(primitive, &instance.name, connections);
            }
            Item::Instance {
                module: child.name.clone(),
                name: instance.name.clone(),
                parameters: instance
                    .bindings
                    .iter()
                    .map(|b| {
                        let to = &child.parameters[b.to.index()];
                        (to.name.clone(), module.parameters[b.from.index()].name.clone())
                    })
                    .collect(),
                connections,
            }
        })
        .collect()
}

/// An instance of a vendor's cell. Outputs that nothing uses go to wires that say so.
fn primitive_item(primitive: &Primitive, name: &str, mut connections: Vec<(String, Expression)>) -> Item {
    connections.extend(primitive.pins.iter().map(|(pin, value)| {
        let open = || Expression::Name(unused(name, pin));
        (pin.clone(), value.map_or_else(open, |one| literal(&crate::Bits::new(1, one.into()))))
    }));
    connections.retain(|(pin, _)| pin != "clk");
    let clock = || Expression::Name("clk".to_owned());
    connections.extend(primitive.clocks.iter().map(|pin| ((*pin).to_owned(), clock())));
    if !primitive.order.is_empty() {
        connections = in_order(primitive.order, connections);
    }
    Item::Cell {
        cell: primitive.cell,
        name: name.to_owned(),
        parameters: primitive.parameters.clone(),
        connections,
    }
}

/// The connections of a cell's pins in their order, pins of several bits from those of their bits.
fn in_order(order: &[(&str, u32)], connections: Vec<(String, Expression)>) -> Vec<(String, Expression)> {
    let mut given: HashMap<String, Expression> = connections.into_iter().collect();
    let mut bit = |name: String| given.remove(&name).expect("every pin of a cell");
    let pin = |(pin, width): &(&str, u32)| {
        let value = match width {
            1 => bit((*pin).to_owned()),
            _ => Expression::Concat((0..*width).rev().map(|i| bit(format!("{pin}{i}"))).collect()),
        };
        ((*pin).to_owned(), value)
    };
    order.iter().map(pin).collect()
}

/// The wire at output `pin` of a vendor's cell that nothing uses.
fn unused(instance: &str, pin: &str) -> String {
    format!("{}_{pin}_unused", instance.strip_prefix("u_").unwrap_or(instance))
}

fn outputs(module: &Module) -> Vec<Item> {
    module
        .ports
        .iter()
        .filter(|p| p.output && module.nets[p.net.index()].name.as_deref() != Some(&p.name))
        .map(|p| Item::Assign(Assignment { to: p.name.clone(), value: reference(module, p.net) }))
        .collect()
}

/// Whether the net is declared by a port with its name.
fn is_port(module: &Module, net: Net) -> bool {
    let name = module.nets[net.index()].name.as_deref();
    module.ports.iter().any(|p| Some(p.name.as_str()) == name)
}

/// The net as an operand: its name, or its expression if it is inlined.
fn reference(module: &Module, net: Net) -> Expression {
    let info = &module.nets[net.index()];
    match &info.driver {
        Driver::Cell(cell) if inlined(module, net) => expression(module, cell, info.width),
        _ => Expression::Name(module.describe(net)),
    }
}

fn expression(module: &Module, cell: &Cell, width: u32) -> Expression {
    let operand = |net: &Net| Box::new(reference(module, *net));
    let binary = |op, a, b| Expression::Binary(op, operand(a), operand(b));
    match cell {
        Cell::Const(bits) => literal(bits),
        Cell::Wire(source) => reference(module, source.expect("checked: wires are driven")),
        Cell::Not(a) => match &module.nets[a.index()].driver {
            // The intended comparison, instead of the complement of its opposite.
            Driver::Cell(Cell::Eq(x, y)) if inlined(module, *a) && truth(module, *x, *y).is_none() => {
                binary("!=", x, y)
            }
            Driver::Cell(Cell::Less(x, y)) if inlined(module, *a) => binary(">=", x, y),
            _ => Expression::Unary("~", operand(a)),
        },
        Cell::And(a, b) => binary("&", a, b),
        Cell::Or(a, b) => binary("|", a, b),
        Cell::Xor(a, b) => binary("^", a, b),
        Cell::Xnor(a, b) => Expression::Unary("~", Box::new(binary("^", a, b))),
        Cell::Add(a, b) => binary("+", a, b),
        Cell::Sub(a, b) => binary("-", a, b),
        Cell::Eq(a, b) => match truth(module, *a, *b) {
            Some(true) => reference(module, *a),
            Some(false) => Expression::Unary("~", operand(a)),
            None => binary("==", a, b),
        },
        Cell::Less(a, b) => binary("<", a, b),
        Cell::Mux { select, on, off } => Expression::Ternary(operand(select), operand(on), operand(off)),
        Cell::Slice(a, low) => match (constant(module, *a), module.width(*a)) {
            (Some(bits), _) => {
                let words =
                    (0..width.div_ceil(64)).map(|w| bits.extract(low + 64 * w, 64.min(width - 64 * w)));
                literal(&crate::Bits::from_words(width, words))
            }
            (None, 1) => reference(module, *a),
            _ if width == 1 => Expression::Bit(module.describe(*a), *low),
            _ => Expression::Range(module.describe(*a), low + width - 1, *low),
        },
        Cell::Concat(parts) => {
            Expression::Concat(parts.iter().rev().map(|p| reference(module, *p)).collect())
        }
        Cell::ZeroExtend(a) => {
            let zeros = width - module.width(*a);
            Expression::Concat(vec![literal(&crate::Bits::zero(zeros)), reference(module, *a)])
        }
        Cell::SignExtend(a) => {
            let from = module.width(*a);
            let top = if from == 1 {
                reference(module, *a)
            } else {
                Expression::Bit(module.describe(*a), from - 1)
            };
            let copies = Expression::Repeat(width - from, Box::new(top));
            Expression::Concat(vec![copies, reference(module, *a)])
        }
        Cell::ReduceAnd(a) => Expression::Unary("&", operand(a)),
        Cell::ReduceOr(a) => Expression::Unary("|", operand(a)),
        Cell::ReduceXor(a) => Expression::Unary("^", operand(a)),
        Cell::Popcount(_) => unreachable!("legalised away"),
    }
}

/// The constant that a single bit is compared with; `None` if it is no constant.
fn truth(module: &Module, bit: Net, with: Net) -> Option<bool> {
    constant(module, with).filter(|_| inlined(module, with) && module.width(bit) == 1).map(|bits| bits.bit(0))
}

fn literal(bits: &crate::Bits) -> Expression {
    let decimal = bits.to_u64().filter(|_| bits.width() <= 32);
    Expression::Literal { width: bits.width(), hex: bits.to_string(), decimal }
}
