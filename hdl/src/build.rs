//! The builder of modules.

use std::panic::Location;
use std::sync::Arc;

use crate::module::{
    Binding, Cell, Driver, Image, Instance, Memory, Module, Net, NetInfo, Parameter, ParameterId, Port,
    Primitive, ReadPort, Register, Role, WritePort,
};
use crate::{Bits, bits_for};

/// An instance inside the module being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceId(usize);

/// A memory inside the module being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryId(usize);

/// The forward signals of a stream. `ready` travels backward and is handled separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The elements of a beat, element 0 in the least significant bits.
    pub data: Net,
    /// Whether a beat is offered. It never waits for `ready`.
    pub valid: Net,
    /// Whether the beat is the last of its frame.
    pub last: Net,
    /// User bits, which every block passes on; `None` if there are none.
    pub user: Option<Net>,
}

/// Builds one [`Module`].
///
/// Methods that add a cell return its net. [`check`](crate::check) checks widths and reports the place of the call.
#[derive(Debug)]
pub struct Builder {
    module: Module,
    /// Names of the streams, whose ports are grouped.
    streams: Vec<String>,
}

impl Builder {
    /// An empty module.
    pub fn new(name: impl Into<String>) -> Self {
        let module = Module {
            name: name.into(),
            doc: vec![],
            parameters: vec![],
            ports: vec![],
            nets: vec![],
            registers: vec![],
            memories: vec![],
            instances: vec![],
            primitive: None,
            realised: None,
            twice: vec![],
        };
        Self { module, streams: vec![] }
    }

    /// Adds a line to the module's header.
    pub fn doc(&mut self, line: impl Into<String>) {
        self.module.doc.push(line.into());
    }

    /// Makes the module the model of a vendor's cell.
    pub fn primitive(&mut self, primitive: Primitive) {
        self.module.primitive = Some(primitive);
    }

    /// Finishes the module, which is printed as what `realise` makes of it: a module of the same ports and values.
    pub fn finish_realised(self, realise: impl FnOnce(&Module) -> Arc<Module>) -> Arc<Module> {
        let model = self.finish();
        let realised = Some(realise(&model));
        Arc::new(Module { realised, ..Arc::unwrap_or_clone(model) })
    }

    /// Finishes the module. Call [`check`](crate::check::check) on the result.
    ///
    /// The ports of a stream are grouped as data, valid, ready, last, user, at the position of the first one that was declared.
    pub fn finish(mut self) -> Arc<Module> {
        let ports = std::mem::take(&mut self.module.ports);
        let place = |port| stream_part(&self.streams, port);
        let mut order: Vec<usize> = (0..ports.len()).collect();
        order.sort_by_key(|&index| match place(&ports[index]) {
            None => (index, 0),
            Some((stream, part)) => {
                let first = ports.iter().position(|p| place(p).is_some_and(|(s, _)| s == stream));
                (first.unwrap_or(index), part)
            }
        });
        self.module.ports = order.into_iter().map(|index| ports[index].clone()).collect();
        Arc::new(self.module)
    }

    /// Width of a net.
    pub fn width(&self, net: Net) -> u32 {
        self.module.width(net)
    }

    #[track_caller]
    fn net(&mut self, width: u32, name: Option<String>, driver: Driver) -> Net {
        let net = Net(u32::try_from(self.module.nets.len()).expect("fewer than 2^32 nets"));
        self.module.nets.push(NetInfo { width, name, driver, at: Location::caller() });
        net
    }

    #[track_caller]
    fn cell(&mut self, width: u32, cell: Cell) -> Net {
        self.net(width, None, Driver::Cell(cell))
    }

    // Ports

    /// Adds an input port.
    #[track_caller]
    pub fn input(&mut self, name: impl Into<String>, width: u32, role: Role) -> Net {
        let name = name.into();
        let net = self.net(width, Some(name.clone()), Driver::Input);
        self.module.ports.push(Port { name, net, output: false, role, at: Location::caller() });
        net
    }

    /// Adds an output port with the value of `net`.
    #[track_caller]
    pub fn output(&mut self, name: impl Into<String>, net: Net, role: Role) {
        self.module.ports.push(Port { name: name.into(), net, output: true, role, at: Location::caller() });
    }

    /// Adds the input side of a stream: ports `<name>_data`, `_valid`, `_last` and, if `user` is not 0, `_user`.
    #[track_caller]
    pub fn stream_input(&mut self, name: &str, width: u32, user: u32) -> Stream {
        self.streams.push(name.to_owned());
        Stream {
            data: self.input(format!("{name}_data"), width, Role::Data),
            valid: self.input(format!("{name}_valid"), 1, Role::Control),
            last: self.input(format!("{name}_last"), 1, Role::Control),
            user: if user > 0 { Some(self.input(format!("{name}_user"), user, Role::Control)) } else { None },
        }
    }

    /// Adds the output side of a stream and returns its `<name>_ready`.
    #[track_caller]
    pub fn stream_output(&mut self, name: &str, stream: Stream) -> Net {
        let ready = self.input(format!("{name}_ready"), 1, Role::Control);
        self.stream_output_forward(name, stream);
        ready
    }

    /// Adds the forward half of [`stream_output`](Self::stream_output), if `<name>_ready` was declared before.
    #[track_caller]
    pub fn stream_output_forward(&mut self, name: &str, stream: Stream) {
        self.streams.push(name.to_owned());
        self.output(format!("{name}_data"), stream.data, Role::Data);
        self.output(format!("{name}_valid"), stream.valid, Role::Control);
        self.output(format!("{name}_last"), stream.last, Role::Control);
        if let Some(user) = stream.user {
            self.output(format!("{name}_user"), user, Role::Control);
        }
    }

    // Names and forward references

    /// Gives `net` a name. If it has one already, returns a new wire with the name.
    #[track_caller]
    pub fn named(&mut self, name: impl Into<String>, net: Net) -> Net {
        let width = self.width(net);
        let info = &mut self.module.nets[net.index()];
        if info.name.is_none() && !matches!(info.driver, Driver::Cell(Cell::Const(_))) {
            info.name = Some(name.into());
            return net;
        }
        self.net(width, Some(name.into()), Driver::Cell(Cell::Wire(Some(net))))
    }

    /// A wire that is driven later by [`drive`](Self::drive).
    #[track_caller]
    pub fn wire(&mut self, name: impl Into<String>, width: u32) -> Net {
        self.net(width, Some(name.into()), Driver::Cell(Cell::Wire(None)))
    }

    /// Drives a [`wire`](Self::wire).
    #[track_caller]
    pub fn drive(&mut self, wire: Net, net: Net) {
        match &mut self.module.nets[wire.index()].driver {
            Driver::Cell(Cell::Wire(source @ None)) => *source = Some(net),
            _ => self.twice(self.module.describe(wire)),
        }
    }

    #[track_caller]
    fn twice(&mut self, what: String) {
        self.module.twice.push((what, Location::caller()));
    }

    // Combinational cells

    /// `value` in `width` bits.
    #[track_caller]
    pub fn constant(&mut self, width: u32, value: u64) -> Net {
        self.cell(width, Cell::Const(Bits::new(width, value)))
    }

    /// Bitwise complement.
    #[track_caller]
    pub fn not(&mut self, a: Net) -> Net {
        self.cell(self.width(a), Cell::Not(a))
    }

    /// Bitwise and.
    #[track_caller]
    pub fn and(&mut self, a: Net, b: Net) -> Net {
        self.cell(self.width(a), Cell::And(a, b))
    }

    /// Bitwise or.
    #[track_caller]
    pub fn or(&mut self, a: Net, b: Net) -> Net {
        self.cell(self.width(a), Cell::Or(a, b))
    }

    /// Bitwise exclusive or.
    #[track_caller]
    pub fn xor(&mut self, a: Net, b: Net) -> Net {
        self.cell(self.width(a), Cell::Xor(a, b))
    }

    /// Bitwise equality.
    #[track_caller]
    pub fn xnor(&mut self, a: Net, b: Net) -> Net {
        self.cell(self.width(a), Cell::Xnor(a, b))
    }

    /// Sum modulo 2^width.
    #[track_caller]
    pub fn add(&mut self, a: Net, b: Net) -> Net {
        self.cell(self.width(a), Cell::Add(a, b))
    }

    /// Difference modulo 2^width.
    #[track_caller]
    pub fn sub(&mut self, a: Net, b: Net) -> Net {
        self.cell(self.width(a), Cell::Sub(a, b))
    }

    /// Equality, 1 bit.
    #[track_caller]
    pub fn eq(&mut self, a: Net, b: Net) -> Net {
        self.cell(1, Cell::Eq(a, b))
    }

    /// Equality with a number, 1 bit.
    #[track_caller]
    pub fn is(&mut self, a: Net, value: u64) -> Net {
        let value = self.constant(self.width(a), value);
        self.eq(a, value)
    }

    /// Unsigned `a < b`, 1 bit.
    #[track_caller]
    pub fn less(&mut self, a: Net, b: Net) -> Net {
        self.cell(1, Cell::Less(a, b))
    }

    /// `select ? on : off`.
    #[track_caller]
    pub fn mux(&mut self, select: Net, on: Net, off: Net) -> Net {
        self.cell(self.width(on), Cell::Mux { select, on, off })
    }

    /// The `width` bits from `low` upwards; the net itself if that is all of it.
    #[track_caller]
    pub fn slice(&mut self, a: Net, low: u32, width: u32) -> Net {
        if low == 0 && width == self.width(a) { a } else { self.cell(width, Cell::Slice(a, low)) }
    }

    /// The concatenation of nets, the first in the least significant bits.
    #[track_caller]
    pub fn concat(&mut self, parts: &[Net]) -> Net {
        match parts {
            [one] => *one,
            _ => {
                let width = parts.iter().map(|p| self.width(*p)).sum();
                self.cell(width, Cell::Concat(parts.to_vec()))
            }
        }
    }

    /// Extends `a` with zeros; `a` itself if it has that width already.
    #[track_caller]
    pub fn zero_extend(&mut self, a: Net, width: u32) -> Net {
        if self.width(a) == width { a } else { self.cell(width, Cell::ZeroExtend(a)) }
    }

    /// Extends `a` with copies of its top bit; `a` itself if it has that width already.
    #[track_caller]
    pub fn sign_extend(&mut self, a: Net, width: u32) -> Net {
        if self.width(a) == width { a } else { self.cell(width, Cell::SignExtend(a)) }
    }

    /// 1 if all bits are 1.
    #[track_caller]
    pub fn reduce_and(&mut self, a: Net) -> Net {
        self.cell(1, Cell::ReduceAnd(a))
    }

    /// 1 if any bit is 1.
    #[track_caller]
    pub fn reduce_or(&mut self, a: Net) -> Net {
        self.cell(1, Cell::ReduceOr(a))
    }

    /// 1 if the number of ones is odd.
    #[track_caller]
    pub fn reduce_xor(&mut self, a: Net) -> Net {
        self.cell(1, Cell::ReduceXor(a))
    }

    /// The number of ones, with the bits that the width of `a` needs.
    #[track_caller]
    pub fn popcount(&mut self, a: Net) -> Net {
        self.cell(bits_for(self.width(a).into()), Cell::Popcount(a))
    }

    /// The low `width` bits of the number of ones.
    #[track_caller]
    pub fn popcount_low(&mut self, a: Net, width: u32) -> Net {
        self.cell(width.min(bits_for(self.width(a).into())), Cell::Popcount(a))
    }

    // State

    /// Adds a register `<name>_q`; [`next`](Self::next) or [`next_if`](Self::next_if) sets its next value.
    ///
    /// With `reset` it gets that value at a reset. Without, it keeps its value (data needs no reset).
    #[track_caller]
    pub fn register(&mut self, name: &str, width: u32, reset: Option<u64>) -> Net {
        let index = self.module.registers.len();
        let q = self.net(width, Some(format!("{name}_q")), Driver::Register(index));
        let reset = reset.map(|value| Bits::new(width, value));
        self.module.registers.push(Register { q, next: None, enable: None, reset });
        q
    }

    /// Sets the register's next value, loaded at every edge.
    #[track_caller]
    pub fn next(&mut self, q: Net, next: Net) {
        self.set_next(q, None, next);
    }

    /// Sets the register's next value, loaded at the edges where `enable` is 1.
    #[track_caller]
    pub fn next_if(&mut self, q: Net, enable: Net, next: Net) {
        self.set_next(q, Some(enable), next);
    }

    #[track_caller]
    fn set_next(&mut self, q: Net, enable: Option<Net>, next: Net) {
        let Driver::Register(index) = self.module.nets[q.index()].driver else {
            return self.twice(self.module.describe(q));
        };
        let register = &mut self.module.registers[index];
        if register.next.is_some() {
            return self.twice(self.module.describe(q));
        }
        register.next = Some(next);
        register.enable = enable;
    }

    /// Adds a register together with its next value, loaded where `enable` is 1.
    #[track_caller]
    pub fn registered(&mut self, name: &str, reset: Option<u64>, enable: Net, next: Net) -> Net {
        let q = self.register(name, self.width(next), reset);
        self.next_if(q, enable, next);
        q
    }

    /// Adds a memory. Reading a word while it is written gives an undefined value, which must not be used.
    #[track_caller]
    pub fn memory(&mut self, name: &str, width: u32, depth: u32, init: Option<ParameterId>) -> MemoryId {
        self.module.memories.push(Memory {
            name: name.to_owned(),
            width,
            depth,
            init,
            contents: None,
            reads: vec![],
            writes: vec![],
            block: false,
            at: Location::caller(),
        });
        MemoryId(self.module.memories.len() - 1)
    }

    /// Adds a memory with the words of `image`, which are in the module's text.
    #[track_caller]
    pub fn memory_of(&mut self, name: &str, image: &Arc<Image>) -> MemoryId {
        let memory = self.memory(name, image.words[0].width(), image.words.len() as u32, None);
        self.module.memories[memory.0].contents = Some(Arc::clone(image));
        memory
    }

    /// Adds a registered read port and returns its output register `<name>_q`.
    #[track_caller]
    pub fn read(&mut self, memory: MemoryId, name: &str, address: Net, enable: Net) -> Net {
        let port = self.module.memories[memory.0].reads.len();
        let width = self.module.memories[memory.0].width;
        let data = self.net(width, Some(format!("{name}_q")), Driver::Memory(memory.0, port));
        self.module.memories[memory.0].reads.push(ReadPort { address, enable, data });
        data
    }

    /// Adds a write port.
    pub fn write(&mut self, memory: MemoryId, address: Net, enable: Net, data: Net) {
        self.module.memories[memory.0].writes.push(WritePort { address, enable, data });
    }

    // Hierarchy

    /// Adds a string parameter that names a memory image.
    #[track_caller]
    pub fn parameter(&mut self, name: impl Into<String>, image: Option<Arc<Image>>) -> ParameterId {
        self.module.parameters.push(Parameter { name: name.into(), image, at: Location::caller() });
        ParameterId(self.module.parameters.len() as u32 - 1)
    }

    /// Passes the parameter `from` of this module to the parameter `to` of `instance`.
    ///
    /// # Panics
    /// If the instance's module has no such parameter.
    #[track_caller]
    pub fn bind(&mut self, instance: InstanceId, to: &str, from: ParameterId) {
        let child = &mut self.module.instances[instance.0];
        let to = child.module.parameters.iter().position(|p| p.name == to);
        let to = to.unwrap_or_else(|| panic!("{} has no such parameter", child.module.name));
        child.bindings.push(Binding { to: ParameterId(to as u32), from });
    }

    /// Adds an instance called `name`. Its outputs are nets `<name without u_>_<port>`.
    #[track_caller]
    pub fn instance(&mut self, name: &str, module: &Arc<Module>) -> InstanceId {
        let index = self.module.instances.len();
        let prefix = name.strip_prefix("u_").unwrap_or(name);
        let mut connections = Vec::with_capacity(module.ports.len());
        for (at, port) in module.ports.iter().enumerate() {
            connections.push(if port.output {
                let name = format!("{prefix}_{}", port.name);
                Some(self.net(module.width(port.net), Some(name), Driver::Instance(index, at)))
            } else {
                None
            });
        }
        self.module.instances.push(Instance {
            name: name.to_owned(),
            module: Arc::clone(module),
            connections,
            bindings: vec![],
            at: Location::caller(),
        });
        InstanceId(index)
    }

    /// Connects input port `port` of an instance to `net`.
    ///
    /// # Panics
    /// If there is no such port.
    #[track_caller]
    pub fn connect(&mut self, instance: InstanceId, port: &str, net: Net) {
        let at = self.port_of(instance, port);
        let slot = &mut self.module.instances[instance.0].connections[at];
        if slot.is_some() {
            let name = &self.module.instances[instance.0].name;
            return self.twice(format!("{name}.{port}"));
        }
        *slot = Some(net);
    }

    /// The net of output port `port` of an instance.
    ///
    /// # Panics
    /// If there is no such port, or it is an unconnected input.
    #[track_caller]
    pub fn out(&self, instance: InstanceId, port: &str) -> Net {
        let at = self.port_of(instance, port);
        self.module.instances[instance.0].connections[at].expect("an output")
    }

    /// The output stream `name` of an instance.
    #[track_caller]
    pub fn out_stream(&self, instance: InstanceId, name: &str) -> Stream {
        let user = format!("{name}_user");
        let has_user = self.module.instances[instance.0].module.port(&user).is_some();
        Stream {
            data: self.out(instance, &format!("{name}_data")),
            valid: self.out(instance, &format!("{name}_valid")),
            last: self.out(instance, &format!("{name}_last")),
            user: has_user.then(|| self.out(instance, &user)),
        }
    }

    /// Connects the input stream `name` of an instance to `stream`, and returns the instance's `<name>_ready`.
    #[track_caller]
    pub fn connect_stream(&mut self, instance: InstanceId, name: &str, stream: Stream) -> Net {
        self.connect(instance, &format!("{name}_data"), stream.data);
        self.connect(instance, &format!("{name}_valid"), stream.valid);
        self.connect(instance, &format!("{name}_last"), stream.last);
        if let Some(user) = stream.user {
            self.connect(instance, &format!("{name}_user"), user);
        }
        self.out(instance, &format!("{name}_ready"))
    }

    #[track_caller]
    fn port_of(&self, instance: InstanceId, port: &str) -> usize {
        let module = &self.module.instances[instance.0].module;
        let at = module.ports.iter().position(|p| p.name == port);
        at.unwrap_or_else(|| panic!("{} has no port {port}", module.name))
    }
}

/// The stream that a port belongs to, and its index among the stream's ports.
fn stream_part<'a>(streams: &[String], port: &'a Port) -> Option<(&'a str, usize)> {
    let (stream, part) = port.name.rsplit_once('_')?;
    let part = ["data", "valid", "ready", "last", "user"].iter().position(|p| *p == part)?;
    streams.iter().any(|s| s == stream).then_some((stream, part))
}
