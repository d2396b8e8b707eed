//! The structure of a module: nets, each with a single driver.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

use crate::Bits;

/// A net of one module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net(pub(crate) u32);

impl Net {
    /// Index in [`Module::nets`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The role of a port: control (valid, ready, last, user, counters) or data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It never depends on data.
    Control,
    /// It may depend on anything.
    Data,
}

/// A combinational cell. Unless stated otherwise, operands and result have the same width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A constant.
    Const(Bits),
    /// A second name of a net; `None` until it is driven.
    Wire(Option<Net>),
    /// Bitwise complement.
    Not(Net),
    /// Bitwise and.
    And(Net, Net),
    /// Bitwise or.
    Or(Net, Net),
    /// Bitwise exclusive or.
    Xor(Net, Net),
    /// Bitwise equality.
    Xnor(Net, Net),
    /// Sum modulo 2^width.
    Add(Net, Net),
    /// Difference modulo 2^width.
    Sub(Net, Net),
    /// 1 if both are equal; the result has 1 bit.
    Eq(Net, Net),
    /// 1 if the first is less, unsigned; the result has 1 bit.
    Less(Net, Net),
    /// `select ? on : off`; `select` has 1 bit.
    Mux {
        /// The selector.
        select: Net,
        /// The value if `select` is 1.
        on: Net,
        /// The value if `select` is 0.
        off: Net,
    },
    /// The bits of the operand from bit `low` upwards, as many as the result is wide.
    Slice(Net, u32),
    /// The concatenation of the operands, the first in the least significant bits.
    Concat(Vec<Net>),
    /// The operand, extended with zeros.
    ZeroExtend(Net),
    /// The operand, extended with copies of its top bit.
    SignExtend(Net),
    /// 1 if all bits are 1; the result has 1 bit.
    ReduceAnd(Net),
    /// 1 if any bit is 1; the result has 1 bit.
    ReduceOr(Net),
    /// 1 if the number of ones is odd; the result has 1 bit.
    ReduceXor(Net),
    /// The number of ones, modulo 2^width. The result has at most the bits that the operand's width needs.
    Popcount(Net),
}

impl Cell {
    /// The operands of the cell, in order.
    pub fn operands(&self) -> Vec<Net> {
        match self {
            Self::Const(_) | Self::Wire(None) => vec![],
            Self::Wire(Some(a))
            | Self::Not(a)
            | Self::Slice(a, _)
            | Self::ZeroExtend(a)
            | Self::SignExtend(a)
            | Self::ReduceAnd(a)
            | Self::ReduceOr(a)
            | Self::ReduceXor(a)
            | Self::Popcount(a) => vec![*a],
            Self::And(a, b)
            | Self::Or(a, b)
            | Self::Xor(a, b)
            | Self::Xnor(a, b)
            | Self::Add(a, b)
            | Self::Sub(a, b)
            | Self::Eq(a, b)
            | Self::Less(a, b) => vec![*a, *b],
            Self::Mux { select, on, off } => vec![*select, *on, *off],
            Self::Concat(parts) => parts.clone(),
        }
    }
}

/// The driver of a net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// An input port of the module.
    Input,
    /// A combinational cell.
    Cell(Cell),
    /// The register with this index.
    Register(usize),
    /// Read port `.1` of the memory with index `.0`.
    Memory(usize, usize),
    /// Output port `.1` (position in the child's ports) of the instance with index `.0`.
    Instance(usize, usize),
}

/// One net.
#[derive(Debug, Clone)]
pub struct NetInfo {
    /// Number of bits, at least 1.
    pub width: u32,
    /// Name, a Verilog identifier; `None` for an unnamed net.
    pub name: Option<String>,
    /// The driver.
    pub driver: Driver,
    /// The builder call that made it.
    pub at: &'static Location<'static>,
}

/// A port of a module.
#[derive(Debug, Clone)]
pub struct Port {
    /// Name.
    pub name: String,
    /// The net of the port.
    pub net: Net,
    /// Whether it is an output.
    pub output: bool,
    /// Control or data.
    pub role: Role,
    /// The builder call that made it.
    pub at: &'static Location<'static>,
}

/// A register. At a rising edge it loads `reset` if the reset is 1, else `next` if `enable` is 1. Both `reset` and `enable` are
/// optional.
#[derive(Debug, Clone)]
pub struct Register {
    /// Its value.
    pub q: Net,
    /// The next value; `None` until it is set.
    pub next: Option<Net>,
    /// The enable; `None` means always enabled.
    pub enable: Option<Net>,
    /// The value after a reset; `None` for a register that keeps its value.
    pub reset: Option<Bits>,
}

/// A registered read port. At a rising edge where `enable` is 1, `data` loads the word at `address`, as it was before the edge.
#[derive(Debug, Clone)]
pub struct ReadPort {
    /// The address.
    pub address: Net,
    /// The enable.
    pub enable: Net,
    /// The register with the word that was read.
    pub data: Net,
}

/// A write port. At a rising edge where `enable` is 1, the word at `address` is replaced by `data`.
#[derive(Debug, Clone)]
pub struct WritePort {
    /// The address.
    pub address: Net,
    /// The enable.
    pub enable: Net,
    /// The new word.
    pub data: Net,
}

/// A memory of `depth` words of `width` bits.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Name.
    pub name: String,
    /// Bits per word.
    pub width: u32,
    /// Number of words.
    pub depth: u32,
    /// The parameter that names its initial contents.
    pub init: Option<ParameterId>,
    /// The initial contents, if the module itself has them ([`inline`](crate::inline)).
    pub contents: Option<Arc<Image>>,
    /// Registered read ports.
    pub reads: Vec<ReadPort>,
    /// Write ports.
    pub writes: Vec<WritePort>,
    /// Whether a written memory asks for block RAM.
    pub block: bool,
    /// The builder call that made it.
    pub at: &'static Location<'static>,
}

impl Memory {
    /// Whether it asks synthesis for block RAM.
    pub fn asks_for_block(&self) -> bool {
        if self.writes.is_empty() { is_block_rom(self.width, self.depth) } else { self.block }
    }
}

/// The contents of a memory, and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// File name, including `.mem`.
    pub file: String,
    /// One word per address, all of the same width.
    pub words: Vec<Bits>,
}

impl Image {
    /// Bytes of the file: the hexadecimal digits and the line end of each word.
    pub fn bytes(width: u32, depth: u32) -> u64 {
        u64::from(depth) * (u64::from(width.div_ceil(4)) + 1)
    }

    /// The text of the file for `$readmemh`: one hexadecimal word per line, address 0 first.
    pub fn text(&self) -> String {
        self.words.iter().map(|w| format!("{w}\n")).collect()
    }
}

/// Whether a read-only memory belongs into block RAM. Logic is as cheap in some family for fewer words or bits, and as fast for fewer
/// words.
pub(crate) fn is_block_rom(width: u32, depth: u32) -> bool {
    depth >= 512 || depth >= 64 && u64::from(depth) * u64::from(width) >= 4096
}

/// A parameter of a module, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParameterId(pub(crate) u32);

impl ParameterId {
    /// Index in [`Module::parameters`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A string parameter that names a memory image.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name, in upper case.
    pub name: String,
    /// The default image; `None` if every instance must bind the parameter.
    pub image: Option<Arc<Image>>,
    /// The builder call that made it.
    pub at: &'static Location<'static>,
}

/// The binding of an instance's parameter to a parameter of the surrounding module.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The child's parameter.
    pub to: ParameterId,
    /// The parent's parameter.
    pub from: ParameterId,
}

/// A module inside a module.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Name: `u_fifo`.
    pub name: String,
    /// The module that is instantiated.
    pub module: Arc<Module>,
    /// For each port of the child, the connected net of this module; `None` until it is connected.
    pub connections: Vec<Option<Net>>,
    /// The bindings of its parameters.
    pub bindings: Vec<Binding>,
    /// The builder call that made it.
    pub at: &'static Location<'static>,
}

/// A cell of a vendor. The module that has it is its model, with the ports that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primitive {
    /// The cell's name in the vendor's library.
    pub cell: &'static str,
    /// Its parameters, each a name and a value in Verilog.
    pub parameters: Vec<(String, String)>,
    /// The names of all its pins, in order, and their widths; the pins as they come if it is empty. Bit i of a pin of several bits is a
    /// port of its own in the model: its name with i behind it.
    pub order: &'static [(&'static str, u32)],
    /// The names of its clock pins.
    pub clocks: &'static [&'static str],
    /// Pins, or their bits, that are no ports of the model: inputs with their values, and outputs (`None`) that nothing uses.
    pub pins: Vec<(String, Option<bool>)>,
}

/// A hardware module, made by a [`Builder`](crate::Builder).
#[derive(Debug, Clone)]
pub struct Module {
    /// Name of the module and of its file.
    pub name: String,
    /// Lines for its header: what it computes and its timing contract.
    pub doc: Vec<String>,
    /// Parameters.
    pub parameters: Vec<Parameter>,
    /// Ports, in order. Clock and reset are not among them.
    pub ports: Vec<Port>,
    /// Nets.
    pub nets: Vec<NetInfo>,
    /// Registers.
    pub registers: Vec<Register>,
    /// Memories.
    pub memories: Vec<Memory>,
    /// Instances.
    pub instances: Vec<Instance>,
    /// The vendor's cell that this is a model of.
    pub primitive: Option<Primitive>,
    /// What is printed in place of this module: a structure of a vendor's cells, with the same ports and values. Simulation executes
    /// this module itself.
    pub realised: Option<Arc<Module>>,
    /// Objects that were driven twice, with the place of the second call, for [`check`](crate::check).
    pub(crate) twice: Vec<(String, &'static Location<'static>)>,
}

impl Module {
    /// Width of a net.
    pub fn width(&self, net: Net) -> u32 {
        self.nets[net.index()].width
    }

    /// The port called `name`.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|p| p.name == name)
    }

    /// Its parameters with memory images: names and images.
    pub fn images(&self) -> impl Iterator<Item = (&str, &Arc<Image>)> {
        self.parameters.iter().filter_map(|p| Some((p.name.as_str(), p.image.as_ref()?)))
    }

    /// The net called `name`.
    pub fn net(&self, name: &str) -> Option<Net> {
        self.nets.iter().position(|n| n.name.as_deref() == Some(name)).map(|i| Net(i as u32))
    }

    /// Whether it contains a clocked element, at any depth.
    pub fn clocked(&self) -> bool {
        !self.registers.is_empty()
            || !self.memories.is_empty()
            || self.instances.iter().any(|i| i.module.clocked())
    }

    /// Whether it contains a register with reset, at any depth.
    pub fn resettable(&self) -> bool {
        self.registers.iter().any(|r| r.reset.is_some())
            || self.instances.iter().any(|i| i.module.resettable())
    }

    /// A net's name, or a description of an unnamed net for messages.
    pub fn describe(&self, net: Net) -> String {
        self.nets[net.index()].name.clone().unwrap_or_else(|| format!("unnamed net {}", net.index()))
    }

    /// The module and all modules inside it, each once, children before parents.
    pub fn hierarchy(self: &Arc<Self>) -> Vec<Arc<Self>> {
        fn visit(module: &Arc<Module>, out: &mut Vec<Arc<Module>>) {
            if out.iter().any(|m| m.name == module.name) {
                return;
            }
            for instance in &module.instances {
                visit(&instance.module, out);
            }
            out.push(Arc::clone(module));
        }
        let mut out = Vec::new();
        visit(self, &mut out);
        out
    }

    /// The hierarchy with `change` made to every module of it, once each.
    pub fn changed(self: &Arc<Self>, mut change: impl FnMut(&mut Self)) -> Arc<Self> {
        let mut done: HashMap<String, Arc<Self>> = HashMap::new();
        for module in self.hierarchy() {
            let mut new = (*module).clone();
            for instance in &mut new.instances {
                instance.module = Arc::clone(&done[&instance.module.name]);
            }
            change(&mut new);
            done.insert(module.name.clone(), Arc::new(new));
        }
        Arc::clone(&done[&self.name])
    }
}
