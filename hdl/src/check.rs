//! What must hold for every module: widths, drivers, no combinational loop, nothing unused, no data in the control cone.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::module::{Cell, Driver, Module, Net, Role};
use crate::{bits_for, index_bits};

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Operands of different widths, or a result of the wrong one.
    Width,
    /// A wire, a register or an input of an instance that nothing drives.
    Undriven,
    /// A net that is driven twice.
    DrivenTwice,
    /// A net that depends on itself without a register between.
    Loop,
    /// A net that nothing reads.
    Unused,
    /// A control net that depends on data.
    DataInControl,
    /// Two things of one name.
    Name,
    /// A value that Verilog needs a name for: used in several places, or of which bits are taken.
    Unnamed,
}

/// One broken rule.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Which rule.
    pub rule: Rule,
    /// In which module.
    pub module: String,
    /// What is wrong.
    pub message: String,
    /// The builder call that made the net.
    pub at: Option<&'static Location<'static>>,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.module, self.rule, self.message)?;
        self.at.map_or(Ok(()), |at| write!(f, " (made at {at})"))
    }
}

/// Checks a module and everything inside it; an empty list means that all rules hold.
pub fn check(top: &Arc<Module>) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut paths = HashMap::new();
    for module in top.hierarchy() {
        let mut checker = Checker { module: &module, issues: Vec::new() };
        checker.names(top);
        checker.drivers();
        checker.widths();
        checker.uses();
        if checker.issues.is_empty() {
            // The rest follows nets and may rely on each being driven once, by operands of the right width.
            let through = checker.combinational_paths(&paths);
            checker.control_cone();
            paths.insert(module.name.clone(), through);
        }
        issues.append(&mut checker.issues);
    }
    issues
}

/// For each output port (by position), the input ports that reach it without a register between.
type Paths = HashMap<usize, Vec<usize>>;

struct Checker<'a> {
    module: &'a Arc<Module>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn issue(&mut self, rule: Rule, net: Option<Net>, message: String) {
        let at = net.map(|n| self.module.nets[n.index()].at);
        self.issues.push(Issue { rule, module: self.module.name.clone(), message, at });
    }

    fn names(&mut self, top: &Arc<Module>) {
        let module = self.module;
        let inputs = module.ports.iter().filter(|p| p.output).map(|p| (p.name.as_str(), None));
        let nets = module
            .nets
            .iter()
            .enumerate()
            .filter_map(|(i, n)| Some((n.name.as_deref()?, Some(Net(i as u32)))));
        let memories = module.memories.iter().map(|m| (m.name.as_str(), None));
        let instances = module.instances.iter().map(|i| (i.name.as_str(), None));
        let parameters = module.parameters.iter().map(|p| (p.name.as_str(), None));
        let mut seen: HashMap<&str, Option<Net>> = HashMap::new();
        let all: Vec<_> = inputs.chain(nets).chain(memories).chain(instances).chain(parameters).collect();
        for (name, net) in all {
            if let Some(first) = seen.insert(name, net) {
                // An output port may have the name of the very net that it shows.
                let own_net =
                    module.port(name).is_some_and(|p| p.output && Some(p.net) == net) && first.is_none();
                if !own_net {
                    self.issue(Rule::Name, net, format!("{name} is the name of two things"));
                }
            }
        }
        let mut stack = vec![top];
        while let Some(at) = stack.pop() {
            for instance in &at.instances {
                let same_name = instance.module.name == module.name;
                if same_name && !Arc::ptr_eq(&instance.module, module) && !same(&instance.module, module) {
                    self.issue(Rule::Name, None, format!("two different modules are called {}", module.name));
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
                self.issue(Rule::Undriven, Some(net), format!("nothing drives {}", module.describe(net)));
            }
        }
        for instance in &module.instances {
            for (port, net) in instance.module.ports.iter().zip(&instance.connections) {
                if net.is_none() {
                    let message = format!("nothing drives {}.{}", instance.name, port.name);
                    self.issue(Rule::Undriven, None, message);
                }
            }
        }
        for net in &module.twice {
            let message = format!("{} is driven twice", module.describe(*net));
            self.issue(Rule::DrivenTwice, Some(*net), message);
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
                        Cell::Concat(_) => of.iter().map(|w| u64::from(*w)).sum::<u64>() == width.into(),
                        Cell::ZeroExtend(_) | Cell::SignExtend(_) => of[0] < width,
                        Cell::ReduceAnd(_) | Cell::ReduceOr(_) | Cell::ReduceXor(_) => width == 1,
                        Cell::Popcount(_) => width <= bits_for(of[0].into()),
                    }
                }
                _ => true,
            };
            if !ok || width == 0 {
                let message = format!("{} of {width} bits: {:?}", module.describe(net), info.driver);
                self.issue(Rule::Width, Some(net), message);
            }
        }
        let mut wrong = Vec::new();
        let mut expect = |net: Net, width: u32, what: &str| {
            if module.width(net) != width {
                let found = module.width(net);
                wrong.push((net, format!("{what} has {found} bits, not {width}")));
            }
        };
        for register in &module.registers {
            let name = module.describe(register.q);
            register
                .next
                .iter()
                .for_each(|n| expect(*n, module.width(register.q), &format!("next value of {name}")));
            register.enable.iter().for_each(|n| expect(*n, 1, &format!("enable of {name}")));
        }
        for memory in &module.memories {
            let address = index_bits(memory.depth.into());
            for read in &memory.reads {
                expect(read.address, address, &format!("read address of {}", memory.name));
                expect(read.enable, 1, &format!("read enable of {}", memory.name));
            }
            for write in &memory.writes {
                expect(write.address, address, &format!("write address of {}", memory.name));
                expect(write.enable, 1, &format!("write enable of {}", memory.name));
                expect(write.data, memory.width, &format!("write data of {}", memory.name));
            }
        }
        for instance in &module.instances {
            for (port, net) in instance.module.ports.iter().zip(&instance.connections) {
                if let Some(net) = net {
                    expect(
                        *net,
                        instance.module.width(port.net),
                        &format!("{}.{}", instance.name, port.name),
                    );
                }
            }
        }
        for (net, message) in wrong {
            self.issue(Rule::Width, Some(net), message);
        }
    }

    fn uses(&mut self) {
        let module = self.module;
        let mut uses = vec![0usize; module.nets.len()];
        let mut sliced = vec![false; module.nets.len()];
        for info in &module.nets {
            if let Driver::Cell(cell) = &info.driver {
                for operand in cell.operands() {
                    uses[operand.index()] += 1;
                }
                match cell {
                    Cell::Slice(a, _) | Cell::SignExtend(a) => sliced[a.index()] = true,
                    _ => {}
                }
            }
        }
        for net in state_operands(module) {
            uses[net.index()] += 1;
        }
        for port in module.ports.iter().filter(|p| p.output) {
            uses[port.net.index()] += 1;
        }
        for (index, info) in module.nets.iter().enumerate() {
            let net = Net(index as u32);
            let constant = matches!(info.driver, Driver::Cell(Cell::Const(_)));
            if uses[index] == 0 && !constant {
                self.issue(Rule::Unused, Some(net), format!("nothing reads {}", module.describe(net)));
            }
            let simple = constant || matches!(&info.driver, Driver::Cell(Cell::Slice(..)));
            if info.name.is_none() && (uses[index] > 1 && !simple || sliced[index] && info.width > 1) {
                self.issue(
                    Rule::Unnamed,
                    Some(net),
                    format!("a shared value needs a name: {:?}", info.driver),
                );
            }
        }
    }

    /// Finds loops and tells, for each output, the inputs that reach it combinationally.
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
                                self.issue(Rule::Loop, Some(operand), message);
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

    /// Marks what depends on data; control outputs, enables and addresses must stay unmarked.
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
                guarded.push((address, format!("an address of {}", memory.name)));
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
                self.issue(Rule::DataInControl, Some(net), format!("{what} depends on data"));
            }
        }
    }
}

/// For each net of `module`, whether it depends on data: on a data input, on a data output of an instance, or
/// on a memory with initial contents or one that data was written to.
pub fn data_nets(module: &Module) -> Vec<bool> {
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
                        memory.init.is_some() || memory.writes.iter().any(|w| data[w.data.index()])
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

/// The nets that registers, memories and instances read.
pub(crate) fn state_operands(module: &Module) -> impl Iterator<Item = Net> + '_ {
    let registers = module.registers.iter().flat_map(|r| r.next.into_iter().chain(r.enable));
    let memories = module.memories.iter().flat_map(|m| {
        let reads = m.reads.iter().flat_map(|r| [r.address, r.enable]);
        reads.chain(m.writes.iter().flat_map(|w| [w.address, w.enable, w.data]))
    });
    let instances = module.instances.iter().flat_map(|i| {
        i.module.ports.iter().zip(&i.connections).filter(|(p, _)| !p.output).filter_map(|(_, net)| *net)
    });
    registers.chain(memories).chain(instances)
}

/// Whether two modules of one name are the same, by their text.
fn same(a: &Arc<Module>, b: &Arc<Module>) -> bool {
    crate::verilog::print(a, &[]) == crate::verilog::print(b, &[])
}
