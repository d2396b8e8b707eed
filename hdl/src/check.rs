//! Design rule checks of modules: widths, drivers, no combinational loop, nothing unused, no data in the control cone.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::module::{Cell, Driver, Module, Net, Role};
use crate::query::{live_nets, memories_of, same, state_operands};
use crate::verilog::is_identifier;
use crate::{Bits, bits_for, index_bits};

/// Ports that the printer adds.
const RESERVED: &[&str] = &["clk", "rst"];
/// Prefixes of the names of processes and generate blocks.
const LABELS: &[&str] = &["p_", "g_"];

/// A design rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Operands have different widths, or the result has a wrong width.
    Width,
    /// A wire, register or memory, or an input or image of an instance, has no driver.
    Undriven,
    /// A wire or register, or an input or image of an instance, has two drivers.
    DrivenTwice,
    /// A net depends on itself without a register in between.
    Loop,
    /// No output depends on a net, a bit of a net, a memory or a parameter.
    Unused,
    /// A control net depends on data.
    DataInControl,
    /// Two objects have the same name, or the name is reserved by Verilog or the printer.
    Name,
    /// A value needs a name in Verilog, because it is used several times or sliced, but has none.
    Unnamed,
}

/// A violation of a design rule.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The violated rule.
    pub rule: Rule,
    /// The module.
    pub module: String,
    /// The description.
    pub message: String,
    /// The builder call that made the object.
    pub at: Option<&'static Location<'static>>,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.module, self.rule, self.message)?;
        self.at.map_or(Ok(()), |at| write!(f, " (made at {at})"))
    }
}

/// Checks a module and everything inside it. An empty list means that all rules hold.
pub fn check(top: &Arc<Module>) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut paths = HashMap::new();
    for module in top.hierarchy() {
        if let Some(realised) = &module.realised {
            issues.append(&mut check(realised));
            if !same_ports(&module, realised) {
                let message = "the cells have other ports than their model".to_owned();
                let module = module.name.clone();
                issues.push(Issue { rule: Rule::Width, module, message, at: None });
            }
        }
        let mut checker = Checker { module: &module, issues: Vec::new() };
        checker.names(top);
        checker.drivers();
        checker.widths();
        if module.primitive.is_none() {
            checker.uses();
        }
        if checker.issues.is_empty() {
            // The remaining checks follow nets and rely on single drivers and matching widths.
            let through = checker.combinational_paths(&paths);
            checker.control_cone();
            paths.insert(module.name.clone(), through);
        }
        issues.append(&mut checker.issues);
    }
    issues
}

/// Whether two modules have the same ports in the same order.
fn same_ports(a: &Module, b: &Module) -> bool {
    let ports = |m: &Module| -> Vec<_> {
        m.ports.iter().map(|p| (p.name.clone(), p.output, m.width(p.net))).collect()
    };
    ports(a) == ports(b)
}

type Place = &'static Location<'static>;

/// For each output port (by position), the input ports that reach it combinationally.
type Paths = HashMap<usize, Vec<usize>>;

struct Checker<'a> {
    module: &'a Arc<Module>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn issue(&mut self, rule: Rule, net: Net, message: String) {
        self.issue_at(rule, Some(self.module.nets[net.index()].at), message);
    }

    fn issue_at(&mut self, rule: Rule, at: Option<Place>, message: String) {
        self.issues.push(Issue { rule, module: self.module.name.clone(), message, at });
    }

    fn names(&mut self, top: &Arc<Module>) {
        let module = self.module;
        if !is_identifier(&module.name) {
            self.issue_at(Rule::Name, None, format!("\"{}\" cannot name a module", module.name));
        }
        let outputs = module.ports.iter().filter(|p| p.output).map(|p| (p.name.as_str(), None, p.at));
        let nets = module
            .nets
            .iter()
            .enumerate()
            .filter_map(|(i, n)| Some((n.name.as_deref()?, Some(Net(i as u32)), n.at)));
        let memories = module.memories.iter().map(|m| (m.name.as_str(), None, m.at));
        let instances = module.instances.iter().map(|i| (i.name.as_str(), None, i.at));
        let parameters = module.parameters.iter().map(|p| (p.name.as_str(), None, p.at));
        let all: Vec<_> = outputs.chain(nets).chain(memories).chain(instances).chain(parameters).collect();
        let mut seen: HashMap<&str, Option<Net>> = HashMap::new();
        for (name, net, at) in all {
            if !is_identifier(name) {
                self.issue_at(Rule::Name, Some(at), format!("\"{name}\" is no name in Verilog"));
            } else if RESERVED.contains(&name) || LABELS.iter().any(|l| name.starts_with(l)) {
                self.issue_at(Rule::Name, Some(at), format!("{name} is a name that the printer gives"));
            }
            if let Some(first) = seen.insert(name, net) {
                // An output port may have the name of the net whose value it has.
                let own_net =
                    module.port(name).is_some_and(|p| p.output && Some(p.net) == net) && first.is_none();
                if !own_net {
                    self.issue_at(Rule::Name, Some(at), format!("{name} is the name of two things"));
                }
            }
        }
        let mut stack = vec![top];
        while let Some(at) = stack.pop() {
            for instance in &at.instances {
                let same_name = instance.module.name == module.name;
                if same_name && !Arc::ptr_eq(&instance.module, module) && !same(&instance.module, module) {
                    let message = format!("two different modules are called {}", module.name);
                    self.issue_at(Rule::Name, Some(instance.at), message);
                    return;
                }
                stack.push(&instance.module);
            }
        }
    }

    fn drivers(&mut self) {
        let module = self.module;
        for (index, info) in module.nets.iter().enumerate() {
            let net = Net(index as u32);
            let undriven = match &info.driver {
                Driver::Cell(Cell::Wire(None)) => true,
                Driver::Register(r) => module.registers[*r].next.is_none(),
                _ => false,
            };
            if undriven {
                self.issue(Rule::Undriven, net, format!("nothing drives {}", module.describe(net)));
            }
        }
        for memory in
            module.memories.iter().filter(|m| m.init.is_none() && m.contents.is_none() && m.writes.is_empty())
        {
            let message = format!("nothing writes to {}, and it has no image", memory.name);
            self.issue_at(Rule::Undriven, Some(memory.at), message);
        }
        for instance in &module.instances {
            for (port, net) in instance.module.ports.iter().zip(&instance.connections) {
                if net.is_none() {
                    let message = format!("nothing drives {}.{}", instance.name, port.name);
                    self.issue_at(Rule::Undriven, Some(instance.at), message);
                }
            }
            for (index, parameter) in instance.module.parameters.iter().enumerate() {
                let name = format!("{}.{}", instance.name, parameter.name);
                let bound = instance.bindings.iter().filter(|b| b.to.index() == index).count();
                if bound == 0 && parameter.image.is_none() {
                    self.issue_at(Rule::Undriven, Some(instance.at), format!("{name} names no image"));
                }
                if bound > 1 {
                    self.issue_at(Rule::DrivenTwice, Some(instance.at), format!("{name} is bound twice"));
                }
            }
        }
        for (what, at) in &module.twice {
            self.issue_at(Rule::DrivenTwice, Some(at), format!("{what} is driven twice"));
        }
    }

    fn widths(&mut self) {
        let module = self.module;
        for (index, info) in module.nets.iter().enumerate() {
            let net = Net(index as u32);
            let width = info.width;
            let ok = match &info.driver {
                Driver::Cell(cell) => {
                    let of: Vec<u32> = cell.operands().iter().map(|n| module.width(*n)).collect();
                    match cell {
                        Cell::Const(bits) => bits.width() == width,
                        Cell::Wire(_) | Cell::Not(_) => of.iter().all(|w| *w == width),
                        Cell::And(..) | Cell::Or(..) | Cell::Xor(..) | Cell::Xnor(..) => of == [width, width],
                        Cell::Add(..) | Cell::Sub(..) => of == [width, width],
                        Cell::Eq(..) | Cell::Less(..) => width == 1 && of[0] == of[1],
                        Cell::Mux { .. } => of == [1, width, width],
                        Cell::Slice(_, low) => u64::from(*low) + u64::from(width) <= u64::from(of[0]),
                        Cell::Concat(_) => of.iter().map(|w| u64::from(*w)).sum::<u64>() == u64::from(width),
                        Cell::ZeroExtend(_) | Cell::SignExtend(_) => of[0] < width,
                        Cell::ReduceAnd(_) | Cell::ReduceOr(_) | Cell::ReduceXor(_) => width == 1,
                        Cell::Popcount(_) => width <= bits_for(of[0].into()),
                    }
                }
                _ => true,
            };
            if !ok || width == 0 {
                let message = format!("{} of {width} bits: {:?}", module.describe(net), info.driver);
                self.issue(Rule::Width, net, message);
            }
        }
        let mut wrong = Vec::new();
        let expect = |wrong: &mut Vec<_>, net: Net, width: u32, what: &str| {
            if module.width(net) != width {
                let found = module.width(net);
                wrong.push((net, format!("{what} has {found} bits, not {width}")));
            }
        };
        for register in &module.registers {
            let name = module.describe(register.q);
            register.next.iter().for_each(|n| {
                expect(&mut wrong, *n, module.width(register.q), &format!("next value of {name}"))
            });
            register.enable.iter().for_each(|n| expect(&mut wrong, *n, 1, &format!("enable of {name}")));
            if let Some(bits) =
                register.reset.as_ref().map(Bits::width).filter(|b| *b != module.width(register.q))
            {
                wrong.push((register.q, format!("the reset value of {name} has {bits} bits")));
            }
        }
        for memory in &module.memories {
            let address = index_bits(memory.depth.into());
            for read in &memory.reads {
                expect(&mut wrong, read.address, address, &format!("read address of {}", memory.name));
                expect(&mut wrong, read.enable, 1, &format!("read enable of {}", memory.name));
            }
            for write in &memory.writes {
                expect(&mut wrong, write.address, address, &format!("write address of {}", memory.name));
                expect(&mut wrong, write.enable, 1, &format!("write enable of {}", memory.name));
                expect(&mut wrong, write.data, memory.width, &format!("write data of {}", memory.name));
            }
        }
        for instance in &module.instances {
            for (port, net) in instance.module.ports.iter().zip(&instance.connections) {
                if let Some(net) = net {
                    expect(
                        &mut wrong,
                        *net,
                        instance.module.width(port.net),
                        &format!("{}.{}", instance.name, port.name),
                    );
                }
            }
        }
        for memory in &module.memories {
            if memory.width == 0 || memory.depth == 0 {
                let message =
                    format!("{} holds {} words of {} bits", memory.name, memory.depth, memory.width);
                self.issue_at(Rule::Width, Some(memory.at), message);
            }
        }
        for (index, parameter) in module.parameters.iter().enumerate() {
            let Some(image) = &parameter.image else { continue };
            for (name, depth, width) in memories_of(module, index) {
                let fits =
                    image.words.len() == depth as usize && image.words.iter().all(|w| w.width() == width);
                if !fits {
                    let message =
                        format!("{} does not fill the {depth} words of {width} bits of {name}", image.file);
                    self.issue_at(Rule::Width, Some(parameter.at), message);
                }
            }
        }
        for (net, message) in wrong {
            self.issue(Rule::Width, net, message);
        }
    }

    fn uses(&mut self) {
        let module = self.module;
        let mut uses = vec![0usize; module.nets.len()];
        let mut sliced = vec![false; module.nets.len()];
        // The bits that are read, for nets that are only sliced.
        let mut read: Vec<Bits> = module.nets.iter().map(|n| Bits::zero(n.width)).collect();
        let mut whole = vec![false; module.nets.len()];
        for info in &module.nets {
            if let Driver::Cell(cell) = &info.driver {
                for operand in cell.operands() {
                    uses[operand.index()] += 1;
                    whole[operand.index()] |= !matches!(cell, Cell::Slice(..));
                }
                match cell {
                    Cell::Slice(a, low) => {
                        sliced[a.index()] = true;
                        let seen = &mut read[a.index()];
                        (*low..low.saturating_add(info.width).min(seen.width()))
                            .for_each(|bit| seen.set(bit, true));
                    }
                    Cell::SignExtend(a) => sliced[a.index()] = true,
                    _ => {}
                }
            }
        }
        let ports = module.ports.iter().filter(|p| p.output).map(|p| p.net);
        for net in state_operands(module).chain(ports) {
            uses[net.index()] += 1;
            whole[net.index()] = true;
        }
        let live = live_nets(module);
        for (index, info) in module.nets.iter().enumerate() {
            let net = Net(index as u32);
            let constant = matches!(info.driver, Driver::Cell(Cell::Const(_)));
            let unread = (0..info.width).find(|bit| !read[index].bit(*bit));
            if uses[index] == 0 && !constant {
                self.issue(Rule::Unused, net, format!("nothing reads {}", module.describe(net)));
            } else if !live[index] && !constant {
                self.issue(Rule::Unused, net, format!("no output depends on {}", module.describe(net)));
            } else if let Some(bit) = unread.filter(|_| !whole[index] && !constant) {
                self.issue(Rule::Unused, net, format!("nothing reads bit {bit} of {}", module.describe(net)));
            }
            let simple = constant || matches!(&info.driver, Driver::Cell(Cell::Slice(..)));
            if info.name.is_none() && (uses[index] > 1 && !simple || sliced[index] && info.width > 1) {
                self.issue(Rule::Unnamed, net, format!("a shared value needs a name: {:?}", info.driver));
            }
        }
        for memory in module.memories.iter().filter(|m| m.reads.is_empty()) {
            self.issue_at(Rule::Unused, Some(memory.at), format!("nothing reads {}", memory.name));
        }
        for (index, parameter) in module.parameters.iter().enumerate() {
            if memories_of(module, index).is_empty() {
                let message = format!("no memory takes the image that {} names", parameter.name);
                self.issue_at(Rule::Unused, Some(parameter.at), message);
            }
        }
    }

    /// Finds combinational loops. Returns for each output the inputs that reach it combinationally.
    fn combinational_paths(&mut self, children: &HashMap<String, Paths>) -> Paths {
        let module = self.module;
        let mut state = vec![0u8; module.nets.len()];
        let mut reach: Vec<HashSet<usize>> = vec![HashSet::new(); module.nets.len()];
        let input_of: HashMap<Net, usize> =
            module.ports.iter().enumerate().filter(|(_, p)| !p.output).map(|(i, p)| (p.net, i)).collect();
        let before = |net: Net| -> Vec<Net> {
            match &module.nets[net.index()].driver {
                Driver::Cell(cell) => cell.operands(),
                Driver::Instance(instance, port) => {
                    let instance = &module.instances[*instance];
                    let inputs = children.get(&instance.module.name).and_then(|p| p.get(port));
                    inputs.into_iter().flatten().filter_map(|i| instance.connections[*i]).collect()
                }
                _ => vec![],
            }
        };
        for root in 0..module.nets.len() as u32 {
            let mut stack = vec![(Net(root), false)];
            while let Some((net, done)) = stack.pop() {
                if done {
                    let mut inputs: HashSet<usize> = input_of.get(&net).copied().into_iter().collect();
                    for operand in before(net) {
                        inputs.extend(&reach[operand.index()]);
                    }
                    reach[net.index()] = inputs;
                    state[net.index()] = 2;
                } else if state[net.index()] == 0 {
                    state[net.index()] = 1;
                    stack.push((net, true));
                    for operand in before(net) {
                        match state[operand.index()] {
                            0 => stack.push((operand, false)),
                            1 => {
                                let message = format!("{} depends on itself", module.describe(operand));
                                self.issue(Rule::Loop, operand, message);
                                return Paths::new();
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        let outputs = module.ports.iter().enumerate().filter(|(_, p)| p.output);
        outputs
            .map(|(i, p)| {
                (i, {
                    let mut v: Vec<_> = reach[p.net.index()].iter().copied().collect();
                    v.sort_unstable();
                    v
                })
            })
            .collect()
    }

    /// Checks that control outputs, enables and addresses do not depend on data.
    fn control_cone(&mut self) {
        let data = data_nets(self.module);
        let module = self.module;
        let mut guarded: Vec<(Net, String)> = Vec::new();
        for port in module.ports.iter().filter(|p| p.output && p.role == Role::Control) {
            guarded.push((port.net, format!("output {}", port.name)));
        }
        for register in &module.registers {
            let name = module.describe(register.q);
            guarded.extend(register.enable.map(|n| (n, format!("the enable of {name}"))));
        }
        for memory in &module.memories {
            for (address, enable) in memory
                .reads
                .iter()
                .map(|r| (r.address, r.enable))
                .chain(memory.writes.iter().map(|w| (w.address, w.enable)))
            {
                // What a read-only memory gives is data whatever its address is.
                if !memory.writes.is_empty() {
                    guarded.push((address, format!("an address of {}", memory.name)));
                }
                guarded.push((enable, format!("an enable of {}", memory.name)));
            }
        }
        for instance in &module.instances {
            for (port, net) in instance.module.ports.iter().zip(&instance.connections) {
                if let (false, Role::Control, Some(net)) = (port.output, port.role, net) {
                    guarded.push((*net, format!("{}.{}", instance.name, port.name)));
                }
            }
        }
        for (net, what) in guarded {
            if data[net.index()] {
                self.issue(Rule::DataInControl, net, format!("{what} depends on data"));
            }
        }
    }
}

/// For each net of `module`, whether it depends on data: a data input, a data output of an instance, or a memory with initial
/// contents or written data.
fn data_nets(module: &Module) -> Vec<bool> {
    let mut data = vec![false; module.nets.len()];
    for port in module.ports.iter().filter(|p| !p.output && p.role == Role::Data) {
        data[port.net.index()] = true;
    }
    loop {
        let mut changed = false;
        for index in 0..module.nets.len() {
            let tainted = data[index]
                || match &module.nets[index].driver {
                    Driver::Input => false,
                    Driver::Cell(cell) => cell.operands().iter().any(|n| data[n.index()]),
                    Driver::Register(r) => module.registers[*r].next.is_some_and(|n| data[n.index()]),
                    Driver::Memory(m, _) => {
                        let memory = &module.memories[*m];
                        memory.init.is_some()
                            || memory.contents.is_some()
                            || memory.writes.iter().any(|w| data[w.data.index()])
                    }
                    Driver::Instance(i, port) => module.instances[*i].module.ports[*port].role == Role::Data,
                };
            changed |= tainted != data[index];
            data[index] = tainted;
        }
        if !changed {
            return data;
        }
    }
}
