//! What a module is made of: nets, and for each net the one thing that drives it.

use std::panic::Location;
use std::sync::Arc;

use crate::Bits;

/// A net of one module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net(pub(crate) u32);

impl Net {
    /// Position in [`Module::nets`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether a port belongs to the control cone (valid, ready, last, user, counters) or carries data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Never depends on data.
    Control,
    /// May depend on anything.
    Data,
}

/// A combinational cell. Unless said otherwise its operands and its result have the same width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A constant.
    Const(Bits),
    /// Another name for a net; `None` until it is driven.
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
    /// 1 where both are equal; the result has 1 bit.
    Eq(Net, Net),
    /// 1 where the first is less, both unsigned; the result has 1 bit.
    Less(Net, Net),
    /// `select ? on : off`; `select` has 1 bit.
    Mux {
        /// Chooses.
        select: Net,
        /// The value where `select` is 1.
        on: Net,
        /// The value where `select` is 0.
        off: Net,
    },
    /// As many bits as the result is wide, from bit `low` of the operand upwards.
    Slice(Net, u32),
    /// The operands side by side, the first in the least significant bits.
    Concat(Vec<Net>),
    /// Zeros above the operand.
    ZeroExtend(Net),
    /// Copies of the operand's top bit above it.
    SignExtend(Net),
    /// 1 where all bits are 1; the result has 1 bit.
    ReduceAnd(Net),
    /// 1 where any bit is 1; the result has 1 bit.
    ReduceOr(Net),
    /// 1 where the number of ones is odd; the result has 1 bit.
    ReduceXor(Net),
    /// Number of ones, modulo 2^width; the result has at most the bits that the operand's width needs.
    Popcount(Net),
}

impl Cell {
    /// The nets that the cell reads, in order.
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

/// What drives a net.
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
    /// Name, where it has one: a Verilog identifier.
    pub name: Option<String>,
    /// What drives it.
    pub driver: Driver,
    /// Where it was made.
    pub at: &'static Location<'static>,
}

/// A port of a module.
#[derive(Debug, Clone)]
pub struct Port {
    /// Name.
    pub name: String,
    /// The net that it brings in or takes out.
    pub net: Net,
    /// Whether it is an output.
    pub output: bool,
    /// Control or data.
    pub role: Role,
    /// Where it was made.
    pub at: &'static Location<'static>,
}

/// A register: takes `next` at a rising edge where `enable` (if any) is 1; `reset` (if any) where the reset is 1.
#[derive(Debug, Clone)]
pub struct Register {
    /// Its value.
    pub q: Net,
    /// What it takes; `None` until it is said.
    pub next: Option<Net>,
    /// When it takes it; always, if `None`.
    pub enable: Option<Net>,
    /// The value after a reset; a register without one keeps what it has.
    pub reset: Option<Bits>,
}

/// A registered read: at a rising edge where `enable` is 1, `data` takes the word at `address`, as it was before the edge.
#[derive(Debug, Clone)]
pub struct ReadPort {
    /// Which word.
    pub address: Net,
    /// When.
    pub enable: Net,
    /// The word read last.
    pub data: Net,
}

/// A write: at a rising edge where `enable` is 1, the word at `address` takes `data`.
#[derive(Debug, Clone)]
pub struct WritePort {
    /// Which word.
    pub address: Net,
    /// When.
    pub enable: Net,
    /// The new word.
    pub data: Net,
}

/// A memory of `depth` words of `width` bits.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Name.
    pub name: String,
    /// Bits a word.
    pub width: u32,
    /// Number of words.
    pub depth: u32,
    /// The parameter that names its initial contents.
    pub init: Option<ParameterId>,
    /// Registered reads.
    pub reads: Vec<ReadPort>,
    /// Writes.
    pub writes: Vec<WritePort>,
    /// Where it was made.
    pub at: &'static Location<'static>,
}

/// Contents of a memory, and the file that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// File name, with its `.mem`.
    pub file: String,
    /// One word an address, all of one width.
    pub words: Vec<Bits>,
}

impl Image {
    /// The text of the file: a hexadecimal word a line, address 0 first, for `$readmemh`.
    pub fn text(&self) -> String {
        self.words.iter().map(|w| format!("{w}\n")).collect()
    }
}

/// A parameter of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParameterId(pub(crate) u32);

impl ParameterId {
    /// Position in [`Module::parameters`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A string parameter that names a memory image.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name, in capitals.
    pub name: String,
    /// The image that is used where nobody says otherwise; `None` where every instance says one.
    pub image: Option<Arc<Image>>,
    /// Where it was made.
    pub at: &'static Location<'static>,
}

/// What an instance gives to a parameter of its module: a parameter of the module around it.
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
    /// What it is an instance of.
    pub module: Arc<Module>,
    /// For each port of the child, the net of this module on it; `None` until it is said.
    pub connections: Vec<Option<Net>>,
    /// The parameters that it sets.
    pub bindings: Vec<Binding>,
    /// Where it was made.
    pub at: &'static Location<'static>,
}

/// A module: made by a [`Builder`](crate::Builder), looked at by everything else.
#[derive(Debug, Clone)]
pub struct Module {
    /// Name, also of its file.
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
    /// What was driven a second time, and by which call, for [`check`](crate::check).
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

    /// The net called `name`.
    pub fn net(&self, name: &str) -> Option<Net> {
        self.nets.iter().position(|n| n.name.as_deref() == Some(name)).map(|i| Net(i as u32))
    }

    /// Whether it has a clocked element anywhere inside.
    pub fn clocked(&self) -> bool {
        !self.registers.is_empty()
            || !self.memories.is_empty()
            || self.instances.iter().any(|i| i.module.clocked())
    }

    /// Whether a register anywhere inside is reset.
    pub fn resettable(&self) -> bool {
        self.registers.iter().any(|r| r.reset.is_some())
            || self.instances.iter().any(|i| i.module.resettable())
    }

    /// A net's name, or a description for messages.
    pub fn describe(&self, net: Net) -> String {
        self.nets[net.index()].name.clone().unwrap_or_else(|| format!("unnamed net {}", net.index()))
    }

    /// The module and all that it contains, each once, children before parents.
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
}
