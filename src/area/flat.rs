//! A design without hierarchy: bits, and the operations, registers, memories and cells between them.

use std::ops::Range;
use std::sync::Arc;

use stoxnor_hdl::{Bits, Cell, Driver, Image, Module, Net, Primitive};

/// A bit of the design.
pub(super) type Bit = u32;

/// The constants, and the reset.
pub(super) const ZERO: Bit = 0;
pub(super) const ONE: Bit = 1;
pub(super) const RESET: Bit = 2;

/// Consecutive bits, the least significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Span {
    at: Bit,
    /// Number of bits.
    pub width: u32,
}

impl Span {
    pub fn bits(self) -> Range<Bit> {
        self.at..self.at + self.width
    }

    /// Bit `index`.
    pub fn bit(self, index: u32) -> Bit {
        debug_assert!(index < self.width);
        self.at + index
    }
}

/// What an operation computes; see [`Cell`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Not,
    And,
    Or,
    Xor,
    Xnor,
    Add,
    Sub,
    Eq,
    Less,
    /// The operands are selector, value if on, value if off.
    Mux,
    ReduceAnd,
    ReduceOr,
    ReduceXor,
}

impl Kind {
    /// Whether bit i of the result depends on bits i of the operands (of a selector on bit 0) alone.
    pub fn bitwise(self) -> bool {
        matches!(self, Self::Not | Self::And | Self::Or | Self::Xor | Self::Xnor | Self::Mux)
    }

    /// Whether bit i of the result depends on bits up to i of the operands.
    pub fn sum(self) -> bool {
        matches!(self, Self::Add | Self::Sub)
    }
}

/// An operation.
#[derive(Debug)]
pub(super) struct Op {
    pub kind: Kind,
    pub out: Span,
    pub operands: Vec<Span>,
    pub owner: u32,
}

/// A register.
#[derive(Debug)]
pub(super) struct Flops {
    pub q: Span,
    pub next: Span,
    pub enable: Option<Bit>,
    pub reset: Option<Bits>,
    pub owner: u32,
}

/// Address, enable and data of a port of a memory.
#[derive(Debug)]
pub(super) struct Access {
    pub address: Span,
    pub enable: Bit,
    pub data: Span,
}

/// A memory.
#[derive(Debug)]
pub(super) struct Ram {
    pub width: u32,
    pub depth: u32,
    pub contents: Option<Arc<Image>>,
    /// Whether it asks for block RAM.
    pub block: bool,
    pub reads: Vec<Access>,
    pub writes: Vec<Access>,
    pub owner: u32,
}

/// A vendor's cell.
#[derive(Debug)]
pub(super) struct Placed {
    pub cell: &'static str,
    pub inputs: Vec<Bit>,
    pub outputs: Vec<Bit>,
    pub owner: u32,
}

/// What drives a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A constant, the reset, or an input of the design.
    Free,
    /// The operation with this index.
    Op(u32),
    /// The register with this index.
    Flop(u32),
    /// A read port of the memory with this index.
    Ram(u32),
    /// The vendor's cell with this index.
    Placed(u32),
}

/// The design.
#[derive(Debug, Default)]
pub(super) struct Flat {
    /// The bit that each bit is another name of; itself if it is none.
    same: Vec<Bit>,
    /// Whether that shows only when memories are made, after sums and comparisons are.
    late: Vec<bool>,
    pub sources: Vec<Source>,
    pub ops: Vec<Op>,
    pub flops: Vec<Flops>,
    pub rams: Vec<Ram>,
    pub placed: Vec<Placed>,
    pub outputs: Vec<Bit>,
    /// The instances of the top, by name; an owner is an index into it, or its length for what belongs to none.
    pub owners: Vec<String>,
}

/// The images that a module's parameters name.
type Images = Vec<Option<Arc<Image>>>;

impl Flat {
    /// The bits of a design as it is printed.
    pub fn new(top: &Arc<Module>) -> Self {
        let top = stoxnor_hdl::legalize(top);
        let mut flat = Self::default();
        flat.fresh(3);
        flat.owners = top.instances.iter().map(|instance| instance.name.clone()).collect();
        let images = top.parameters.iter().map(|parameter| parameter.image.clone()).collect();
        let nets = flat.add(&top, &images, None);
        for port in top.ports.iter().filter(|port| port.output) {
            flat.outputs.extend(nets[port.net.index()].bits());
        }
        flat
    }

    /// New bits.
    pub fn fresh(&mut self, width: u32) -> Span {
        let at = self.same.len() as Bit;
        self.same.extend(at..at + width);
        self.late.resize(self.same.len(), false);
        self.sources.extend((0..width).map(|_| Source::Free));
        Span { at, width }
    }

    /// The bit that has the value of `bit` and is no other name of another.
    pub fn find(&self, mut bit: Bit) -> Bit {
        while self.same[bit as usize] != bit {
            bit = self.same[bit as usize];
        }
        bit
    }

    /// Makes `bit` another name of `other`.
    fn join(&mut self, bit: Bit, other: Bit) {
        let other = self.find(other);
        if bit != other {
            self.same[bit as usize] = other;
        }
    }

    /// The same, as far as it shows before memories are made.
    pub fn early(&self, mut bit: Bit) -> Bit {
        while self.same[bit as usize] != bit && !self.late[bit as usize] {
            bit = self.same[bit as usize];
        }
        bit
    }

    /// Makes `bit` another name of `other`; `late` says whether that shows only when memories are made.
    pub fn join_when(&mut self, bit: Bit, other: Bit, late: bool) {
        self.join(bit, other);
        self.late[bit as usize] = late;
    }

    /// Shortens the way from every bit to the one that it is a name of.
    pub fn settle(&mut self) {
        for bit in 0..self.same.len() as Bit {
            if !self.late[bit as usize] {
                self.same[bit as usize] = self.early(bit);
            }
        }
    }

    fn join_all(&mut self, to: Span, from: Range<Bit>) {
        for (to, from) in to.bits().zip(from) {
            self.join(to, from);
        }
    }

    fn drive(&mut self, span: Span, source: Source) {
        for bit in span.bits() {
            self.sources[bit as usize] = source;
        }
    }

    /// Adds a module, and returns the bits of its nets.
    fn add(&mut self, module: &Module, images: &Images, owner: Option<u32>) -> Vec<Span> {
        let nets: Vec<Span> = module.nets.iter().map(|net| self.fresh(net.width)).collect();
        let of = |net: Net| nets[net.index()];
        let own = owner.unwrap_or(self.owners.len() as u32);
        for (net, out) in module.nets.iter().zip(&nets) {
            if let Driver::Cell(cell) = &net.driver {
                self.cell(cell, *out, &nets, own);
            }
        }
        for register in &module.registers {
            let (q, next) = (of(register.q), of(register.next.expect("checked: registers are driven")));
            self.drive(q, Source::Flop(self.flops.len() as u32));
            let enable = register.enable.map(|net| of(net).bit(0));
            self.flops.push(Flops { q, next, enable, reset: register.reset.clone(), owner: own });
        }
        for memory in &module.memories {
            let index = self.rams.len() as u32;
            let reads = memory.reads.iter().map(|port| (port.address, port.enable, port.data));
            let writes = memory.writes.iter().map(|port| (port.address, port.enable, port.data));
            let access = |(address, enable, data)| Access {
                address: of(address),
                enable: of(enable).bit(0),
                data: of(data),
            };
            let image = memory.init.and_then(|parameter| images[parameter.index()].clone());
            self.rams.push(Ram {
                width: memory.width,
                depth: memory.depth,
                contents: memory.contents.clone().or(image),
                block: memory.asks_for_block(),
                reads: reads.map(access).collect(),
                writes: writes.map(access).collect(),
                owner: own,
            });
            for read in &memory.reads {
                self.drive(of(read.data), Source::Ram(index));
            }
        }
        for (index, instance) in module.instances.iter().enumerate() {
            let child = &instance.module;
            let owner = owner.or(Some(index as u32));
            let ports = || child.ports.iter().zip(&instance.connections);
            let connected = |output: bool| {
                ports()
                    .filter(move |(port, _)| port.output == output)
                    .filter_map(|(port, net)| Some((port, (*net)?)))
            };
            if let Some(primitive) = &child.primitive {
                let bits = |output| connected(output).flat_map(|(_, net)| of(net).bits()).collect();
                self.place(primitive, bits(false), bits(true), owner.expect("an owner"));
                continue;
            }
            let mut bound: Images =
                child.parameters.iter().map(|parameter| parameter.image.clone()).collect();
            for binding in &instance.bindings {
                bound[binding.to.index()] = images[binding.from.index()].clone();
            }
            let inside = self.add(child, &bound, owner);
            for (port, net) in connected(false) {
                self.join_all(inside[port.net.index()], of(net).bits());
            }
            for (port, net) in connected(true) {
                self.join_all(of(net), inside[port.net.index()].bits());
            }
        }
        nets
    }

    fn place(&mut self, primitive: &Primitive, inputs: Vec<Bit>, outputs: Vec<Bit>, owner: u32) {
        let source = Source::Placed(self.placed.len() as u32);
        for bit in &outputs {
            self.sources[*bit as usize] = source;
        }
        self.placed.push(Placed { cell: primitive.cell, inputs, outputs, owner });
    }

    fn cell(&mut self, cell: &Cell, out: Span, nets: &[Span], owner: u32) {
        let of = |net: &Net| nets[net.index()];
        let kind = match cell {
            Cell::Const(bits) => {
                for (index, bit) in out.bits().enumerate() {
                    self.join(bit, if bits.bit(index as u32) { ONE } else { ZERO });
                }
                return;
            }
            Cell::Wire(from) => {
                return self.join_all(out, of(&from.expect("checked: wires are driven")).bits());
            }
            Cell::Slice(from, low) => {
                let from = of(from);
                return self.join_all(out, from.bit(*low)..from.bits().end);
            }
            Cell::Concat(parts) => {
                let mut to = out.bits();
                for bit in parts.iter().flat_map(|part| of(part).bits()) {
                    self.join(to.next().expect("as wide as its parts"), bit);
                }
                return;
            }
            Cell::ZeroExtend(from) | Cell::SignExtend(from) => {
                let from = of(from);
                let signed = matches!(cell, Cell::SignExtend(_));
                let fill = if signed { from.bit(from.width - 1) } else { ZERO };
                for (index, bit) in out.bits().enumerate() {
                    let index = index as u32;
                    self.join(bit, if index < from.width { from.bit(index) } else { fill });
                }
                return;
            }
            Cell::Not(_) => Kind::Not,
            Cell::And(..) => Kind::And,
            Cell::Or(..) => Kind::Or,
            Cell::Xor(..) => Kind::Xor,
            Cell::Xnor(..) => Kind::Xnor,
            Cell::Add(..) => Kind::Add,
            Cell::Sub(..) => Kind::Sub,
            Cell::Eq(..) => Kind::Eq,
            Cell::Less(..) => Kind::Less,
            Cell::Mux { .. } => Kind::Mux,
            Cell::ReduceAnd(_) => Kind::ReduceAnd,
            Cell::ReduceOr(_) => Kind::ReduceOr,
            Cell::ReduceXor(_) => Kind::ReduceXor,
            Cell::Popcount(_) => unreachable!("legalised away"),
        };
        self.drive(out, Source::Op(self.ops.len() as u32));
        self.ops.push(Op { kind, out, operands: cell.operands().iter().map(of).collect(), owner });
    }
}
