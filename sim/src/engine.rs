//! The rtl engine: a flat netlist compiled to operations on 64-bit words.

use std::sync::Arc;

use stoxnor_hdl::{Bits, Cell, Module, Role};

use crate::netlist::{Flat, flatten};

/// The storage of a net in the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    at: usize,
    width: u32,
}

impl Slot {
    /// Number of bits.
    pub fn width(self) -> u32 {
        self.width
    }

    fn words(self) -> usize {
        self.width.div_ceil(64) as usize
    }

    fn range(self) -> std::ops::Range<usize> {
        self.at..self.at + self.words()
    }
}

/// Operations on single words. Every operand and result has at most 64 bits; bits above the width are 0.
#[derive(Debug, Clone, Copy)]
enum Narrow {
    Not {
        a: u32,
        mask: u64,
    },
    And {
        a: u32,
        b: u32,
    },
    Or {
        a: u32,
        b: u32,
    },
    Xor {
        a: u32,
        b: u32,
    },
    Xnor {
        a: u32,
        b: u32,
        mask: u64,
    },
    Add {
        a: u32,
        b: u32,
        mask: u64,
    },
    Sub {
        a: u32,
        b: u32,
        mask: u64,
    },
    Eq {
        a: u32,
        b: u32,
    },
    Less {
        a: u32,
        b: u32,
    },
    Mux {
        select: u32,
        on: u32,
        off: u32,
    },
    Slice {
        a: u32,
        low: u32,
        mask: u64,
    },
    /// A slice across the boundary of two words.
    Straddle {
        a: u32,
        low: u32,
        mask: u64,
    },
    Join {
        low: u32,
        high: u32,
        shift: u32,
    },
    Copy {
        a: u32,
    },
    Sign {
        a: u32,
        from: u32,
        mask: u64,
    },
    All {
        a: u32,
        mask: u64,
    },
    Any {
        a: u32,
    },
    Odd {
        a: u32,
    },
    Count {
        a: u32,
        mask: u64,
    },
}

#[derive(Debug, Clone)]
enum Operation {
    Narrow(u32, Narrow),
    Wide(Slot, Wide),
}

/// Operations on several words.
#[derive(Debug, Clone)]
enum Wide {
    Bitwise(fn(u64, u64) -> u64, Slot, Slot),
    Not(Slot),
    Add(Slot, Slot),
    Sub(Slot, Slot),
    Eq(Slot, Slot),
    Less(Slot, Slot),
    Mux(Slot, Slot, Slot),
    Slice(Slot, u32),
    Concat(Vec<Slot>),
    ZeroExtend(Slot),
    SignExtend(Slot),
    ReduceAnd(Slot),
    ReduceOr(Slot),
    ReduceXor(Slot),
    Popcount(Slot),
}

#[derive(Debug)]
struct Register {
    q: Slot,
    next: Slot,
    enable: Option<Slot>,
    reset: Option<Bits>,
    /// Index of the pending value, which is loaded at the edge.
    pending: usize,
}

#[derive(Debug)]
struct Memory {
    words_each: usize,
    depth: usize,
    words: Vec<u64>,
    reads: Vec<(Slot, Slot, Slot, usize)>,
    writes: Vec<(Slot, Slot, Slot)>,
}

/// Simulates a module cycle by cycle: [`set`](Self::set) inputs, [`settle`](Self::settle), read values, [`edge`](Self::edge).
#[derive(Debug)]
pub struct Simulator {
    flat: Flat,
    slots: Vec<Slot>,
    state: Vec<u64>,
    pending: Vec<u64>,
    operations: Vec<Operation>,
    registers: Vec<Register>,
    memories: Vec<Memory>,
    /// The nets of the registers that determine when beats move; only for a simulation of control.
    pacing: Vec<usize>,
}

impl Simulator {
    /// Compiles a module. Registers, and memories without initial contents, start at 0.
    ///
    /// # Panics
    /// If the module violates a rule of [`stoxnor_hdl::check`].
    pub fn new(top: &Arc<Module>) -> Self {
        Self::compiled(flatten(top))
    }

    /// Compiles only the logic that the control outputs of a module depend on. It simulates when beats move, not their data; all
    /// other nets are meaningless.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn of_control(top: &Arc<Module>) -> Self {
        let outputs = top.ports.iter().filter(|p| p.output && p.role == Role::Control);
        let names: Vec<&str> = outputs.map(|p| p.name.as_str()).collect();
        let mut flat = flatten(top);
        let pace = flat.causes_of(&names, false);
        let live = flat.causes_of(&names, true);
        flat.retain(&live);
        let pacing = flat.registers.iter().map(|r| r.q).filter(|q| pace[*q]).collect();
        Self { pacing, ..Self::compiled(flat) }
    }

    fn compiled(flat: Flat) -> Self {
        let mut slots = Vec::with_capacity(flat.nets.len());
        let mut at = 0;
        for net in &flat.nets {
            let slot = Slot { at, width: net.width };
            at += slot.words();
            slots.push(slot);
        }
        let mut state = vec![0; at];
        let mut operations = Vec::new();
        for cell in &flat.cells {
            let output = slots[cell.output];
            if let Cell::Const(bits) = &cell.cell {
                state[output.range()].copy_from_slice(bits.words());
                continue;
            }
            let operands: Vec<Slot> = cell.operands.iter().map(|o| slots[*o]).collect();
            compile(&cell.cell, output, &operands, &mut operations, &mut state);
        }
        let mut pending = 0;
        let mut wait = |slot: Slot| {
            let at = pending;
            pending += slot.words();
            at
        };
        let registers = flat
            .registers
            .iter()
            .map(|r| Register {
                q: slots[r.q],
                next: slots[r.next],
                enable: r.enable.map(|e| slots[e]),
                reset: r.reset.clone(),
                pending: wait(slots[r.q]),
            })
            .collect();
        let memories = flat
            .memories
            .iter()
            .map(|m| {
                let words_each = m.width.div_ceil(64) as usize;
                let mut words = vec![0; words_each * m.depth as usize];
                for (to, from) in words.chunks_mut(words_each).zip(m.init.iter().flat_map(|i| &i.words)) {
                    to.copy_from_slice(from.words());
                }
                let reads = m.reads.iter().map(|&(a, e, d)| (slots[a], slots[e], slots[d], wait(slots[d])));
                Memory {
                    words_each,
                    depth: m.depth as usize,
                    words,
                    reads: reads.collect(),
                    writes: m.writes.iter().map(|&(a, e, d)| (slots[a], slots[e], slots[d])).collect(),
                }
            })
            .collect();
        let pacing = Vec::new();
        Self { flat, slots, state, pending: vec![0; pending], operations, registers, memories, pacing }
    }

    /// The slot of a port of the top module.
    pub fn port(&self, name: &str) -> Option<Slot> {
        self.flat.ports.get(name).map(|net| self.slots[*net])
    }

    /// The slot of a named net. The path consists of instance names from the top down and the net's name, joined by dots.
    pub fn named(&self, path: &str) -> Option<Slot> {
        let (scope, name) = path.rsplit_once('.').unwrap_or(("", path));
        let found = self.flat.names.iter().find(|n| n.name == name && n.scope.join(".") == scope)?;
        Some(self.slots[found.net])
    }

    /// All named nets: scope, name and slot.
    pub fn names(&self) -> impl Iterator<Item = (&[String], &str, Slot)> {
        self.flat.names.iter().map(|n| (n.scope.as_slice(), n.name.as_str(), self.slots[n.net]))
    }

    /// Number of operations per cycle.
    pub fn operations(&self) -> usize {
        self.operations.len()
    }

    /// Sets an input.
    pub fn set(&mut self, slot: Slot, value: &Bits) {
        assert_eq!(slot.width, value.width());
        self.state[slot.range()].copy_from_slice(value.words());
    }

    /// Sets a 1-bit input.
    pub fn set_bit(&mut self, slot: Slot, value: bool) {
        self.state[slot.at] = value.into();
    }

    /// The value of a net, as of the last [`settle`](Self::settle).
    pub fn get(&self, slot: Slot) -> Bits {
        Bits::from_words(slot.width, self.state[slot.range()].iter().copied())
    }

    /// The value of a 1-bit net.
    pub fn bit(&self, slot: Slot) -> bool {
        self.state[slot.at] & 1 == 1
    }

    /// The words of a net.
    pub fn words(&self, slot: Slot) -> &[u64] {
        &self.state[slot.range()]
    }

    /// Computes every combinational net from inputs, registers and memories.
    pub fn settle(&mut self) {
        let state = &mut self.state;
        for operation in &self.operations {
            match operation {
                Operation::Narrow(to, narrow) => state[*to as usize] = narrow.evaluate(state),
                Operation::Wide(to, wide) => wide.evaluate(*to, state),
            }
        }
    }

    /// Simulates a rising edge with the reset at `reset`. Inputs must be settled.
    pub fn edge(&mut self, reset: bool) {
        for register in &self.registers {
            let to = register.pending..register.pending + register.q.words();
            let enabled = register.enable.is_none_or(|e| self.state[e.at] & 1 == 1);
            match &register.reset {
                Some(value) if reset => self.pending[to].copy_from_slice(value.words()),
                _ => {
                    let from = if enabled { register.next } else { register.q };
                    self.pending[to].copy_from_slice(&self.state[from.range()]);
                }
            }
        }
        for memory in &mut self.memories {
            for &(address, enable, data, pending) in &memory.reads {
                let to = &mut self.pending[pending..pending + memory.words_each];
                let address = self.state[address.at] as usize;
                if self.state[enable.at] & 1 == 1 && address < memory.depth {
                    to.copy_from_slice(&memory.words[address * memory.words_each..][..memory.words_each]);
                } else {
                    to.copy_from_slice(&self.state[data.range()]);
                }
            }
            for &(address, enable, data) in &memory.writes {
                let address = self.state[address.at] as usize;
                if self.state[enable.at] & 1 == 1 && address < memory.depth {
                    let word = &mut memory.words[address * memory.words_each..][..memory.words_each];
                    // Reading a word while it is written is undefined in hardware: every bit is inverted here, to expose such
                    // reads.
                    for &(read, enable, _, pending) in &memory.reads {
                        if self.state[enable.at] & 1 == 1 && self.state[read.at] as usize == address {
                            let to = &mut self.pending[pending..pending + memory.words_each];
                            to.iter_mut().zip(&*word).for_each(|(to, old)| *to = !old);
                            let top = data.width % 64;
                            if top > 0 {
                                to[memory.words_each - 1] &= (1 << top) - 1;
                            }
                        }
                    }
                    word.copy_from_slice(&self.state[data.range()]);
                }
            }
        }
        for register in &self.registers {
            let from = register.pending..register.pending + register.q.words();
            self.state[register.q.range()].copy_from_slice(&self.pending[from]);
        }
        for memory in &self.memories {
            for &(_, _, data, pending) in &memory.reads {
                self.state[data.range()].copy_from_slice(&self.pending[pending..pending + memory.words_each]);
            }
        }
    }

    /// The state that determines when beats move, for a simulator from [`of_control`](Self::of_control) after an edge. It
    /// consists of all registers except those that act only through a memory. If two states are equal, and the same number of
    /// beats of each stream's frame has passed, beats move identically from there on: the only control in memories is whether a
    /// beat is its frame's last, which follows from its number.
    pub fn pacing_state(&self) -> Vec<u64> {
        self.pacing.iter().flat_map(|net| &self.state[self.slots[*net].range()]).copied().collect()
    }
}

fn mask(width: u32) -> u64 {
    if width >= 64 { u64::MAX } else { !(u64::MAX << width) }
}

/// Appends the operations of one cell. A concatenation of narrow parts becomes a chain of joins in its own word.
fn compile(cell: &Cell, output: Slot, of: &[Slot], operations: &mut Vec<Operation>, state: &mut Vec<u64>) {
    let narrow = output.width <= 64 && of.iter().all(|o| o.width <= 64);
    let at = |i: usize| of[i].at as u32;
    let mask_out = mask(output.width);
    let operation = match cell {
        Cell::Const(_) | Cell::Wire(_) => unreachable!("not an operation"),
        Cell::Slice(_, low) if output.width <= 64 => {
            let (a, low_in_word) = (at(0) + low / 64, low % 64);
            if low_in_word + output.width <= 64 {
                Narrow::Slice { a, low: low_in_word, mask: mask_out }
            } else {
                Narrow::Straddle { a, low: low_in_word, mask: mask_out }
            }
        }
        _ if !narrow => {
            operations.push(Operation::Wide(output, wide(cell, of)));
            return;
        }
        Cell::Not(_) => Narrow::Not { a: at(0), mask: mask_out },
        Cell::And(..) => Narrow::And { a: at(0), b: at(1) },
        Cell::Or(..) => Narrow::Or { a: at(0), b: at(1) },
        Cell::Xor(..) => Narrow::Xor { a: at(0), b: at(1) },
        Cell::Xnor(..) => Narrow::Xnor { a: at(0), b: at(1), mask: mask_out },
        Cell::Add(..) => Narrow::Add { a: at(0), b: at(1), mask: mask_out },
        Cell::Sub(..) => Narrow::Sub { a: at(0), b: at(1), mask: mask_out },
        Cell::Eq(..) => Narrow::Eq { a: at(0), b: at(1) },
        Cell::Less(..) => Narrow::Less { a: at(0), b: at(1) },
        Cell::Mux { .. } => Narrow::Mux { select: at(0), on: at(1), off: at(2) },
        Cell::Slice(..) => unreachable!("a narrow slice is above"),
        Cell::Concat(_) => {
            let mut low = at(0);
            let mut shift = of[0].width;
            for (i, part) in of.iter().enumerate().skip(1) {
                let to = if i + 1 == of.len() {
                    output.at
                } else {
                    state.push(0);
                    state.len() - 1
                };
                operations.push(Operation::Narrow(to as u32, Narrow::Join { low, high: at(i), shift }));
                low = to as u32;
                shift += part.width;
            }
            return;
        }
        Cell::ZeroExtend(_) => Narrow::Copy { a: at(0) },
        Cell::SignExtend(_) => Narrow::Sign { a: at(0), from: of[0].width, mask: mask_out },
        Cell::ReduceAnd(_) => Narrow::All { a: at(0), mask: mask(of[0].width) },
        Cell::ReduceOr(_) => Narrow::Any { a: at(0) },
        Cell::ReduceXor(_) => Narrow::Odd { a: at(0) },
        Cell::Popcount(_) => Narrow::Count { a: at(0), mask: mask_out },
    };
    operations.push(Operation::Narrow(output.at as u32, operation));
}

fn wide(cell: &Cell, of: &[Slot]) -> Wide {
    match cell {
        Cell::Not(_) => Wide::Not(of[0]),
        Cell::And(..) => Wide::Bitwise(|a, b| a & b, of[0], of[1]),
        Cell::Or(..) => Wide::Bitwise(|a, b| a | b, of[0], of[1]),
        Cell::Xor(..) => Wide::Bitwise(|a, b| a ^ b, of[0], of[1]),
        Cell::Xnor(..) => Wide::Bitwise(|a, b| !(a ^ b), of[0], of[1]),
        Cell::Add(..) => Wide::Add(of[0], of[1]),
        Cell::Sub(..) => Wide::Sub(of[0], of[1]),
        Cell::Eq(..) => Wide::Eq(of[0], of[1]),
        Cell::Less(..) => Wide::Less(of[0], of[1]),
        Cell::Mux { .. } => Wide::Mux(of[0], of[1], of[2]),
        Cell::Slice(_, low) => Wide::Slice(of[0], *low),
        Cell::Concat(_) => Wide::Concat(of.to_vec()),
        Cell::ZeroExtend(_) => Wide::ZeroExtend(of[0]),
        Cell::SignExtend(_) => Wide::SignExtend(of[0]),
        Cell::ReduceAnd(_) => Wide::ReduceAnd(of[0]),
        Cell::ReduceOr(_) => Wide::ReduceOr(of[0]),
        Cell::ReduceXor(_) => Wide::ReduceXor(of[0]),
        Cell::Popcount(_) => Wide::Popcount(of[0]),
        Cell::Const(_) | Cell::Wire(_) => unreachable!("not an operation"),
    }
}

impl Narrow {
    #[inline]
    fn evaluate(self, state: &[u64]) -> u64 {
        let v = |at: u32| state[at as usize];
        match self {
            Self::Not { a, mask } => !v(a) & mask,
            Self::And { a, b } => v(a) & v(b),
            Self::Or { a, b } => v(a) | v(b),
            Self::Xor { a, b } => v(a) ^ v(b),
            Self::Xnor { a, b, mask } => !(v(a) ^ v(b)) & mask,
            Self::Add { a, b, mask } => v(a).wrapping_add(v(b)) & mask,
            Self::Sub { a, b, mask } => v(a).wrapping_sub(v(b)) & mask,
            Self::Eq { a, b } => (v(a) == v(b)).into(),
            Self::Less { a, b } => (v(a) < v(b)).into(),
            Self::Mux { select, on, off } => {
                if v(select) == 1 {
                    v(on)
                } else {
                    v(off)
                }
            }
            Self::Slice { a, low, mask } => v(a) >> low & mask,
            Self::Straddle { a, low, mask } => (v(a) >> low | v(a + 1) << (64 - low)) & mask,
            Self::Join { low, high, shift } => v(low) | v(high) << shift,
            Self::Copy { a } => v(a),
            Self::Sign { a, from, mask } => ((v(a) << (64 - from)) as i64 >> (64 - from)) as u64 & mask,
            Self::All { a, mask } => (v(a) == mask).into(),
            Self::Any { a } => (v(a) != 0).into(),
            Self::Odd { a } => u64::from(v(a).count_ones() & 1),
            Self::Count { a, mask } => u64::from(v(a).count_ones()) & mask,
        }
    }
}

impl Wide {
    fn evaluate(&self, to: Slot, state: &mut [u64]) {
        let last = to.at + to.words() - 1;
        match self {
            Self::Bitwise(f, a, b) => {
                (0..to.words()).for_each(|i| state[to.at + i] = f(state[a.at + i], state[b.at + i]))
            }
            Self::Not(a) => (0..to.words()).for_each(|i| state[to.at + i] = !state[a.at + i]),
            Self::Add(a, b) => carry(to, *a, *b, false, state),
            Self::Sub(a, b) => carry(to, *a, *b, true, state),
            Self::Eq(a, b) => state[to.at] = (state[a.range()] == state[b.range()]).into(),
            Self::Less(a, b) => {
                let (a, b) = (&state[a.range()], &state[b.range()]);
                state[to.at] = a.iter().rev().lt(b.iter().rev()).into();
            }
            Self::Mux(select, on, off) => {
                let from = if state[select.at] == 1 { on } else { off };
                state.copy_within(from.range(), to.at);
            }
            Self::Slice(a, low) => {
                for i in 0..to.words() {
                    state[to.at + i] = bits_at(*a, low + 64 * i as u32, state);
                }
            }
            Self::Concat(parts) => {
                state[to.range()].fill(0);
                let mut low = 0;
                for part in parts {
                    for i in 0..part.words() {
                        let value = state[part.at + i];
                        let at = to.at + low as usize / 64 + i;
                        state[at] |= value << (low % 64);
                        if low % 64 != 0 && at < last {
                            state[at + 1] |= value >> (64 - low % 64);
                        }
                    }
                    low += part.width;
                }
            }
            Self::ZeroExtend(a) => {
                state[to.range()].fill(0);
                state.copy_within(a.range(), to.at);
            }
            Self::SignExtend(a) => {
                let top = bits_at(*a, a.width - 1, state) & 1;
                state[to.range()].fill(if top == 1 { u64::MAX } else { 0 });
                state.copy_within(a.range(), to.at);
                if top == 1 && a.width % 64 != 0 {
                    state[to.at + a.words() - 1] |= u64::MAX << (a.width % 64);
                }
            }
            Self::ReduceAnd(a) => {
                let words = &state[a.range()];
                let (top, rest) = words.split_last().expect("a width is not 0");
                let all = rest.iter().all(|w| *w == u64::MAX) && *top == mask((a.width - 1) % 64 + 1);
                state[to.at] = all.into();
            }
            Self::ReduceOr(a) => state[to.at] = state[a.range()].iter().any(|w| *w != 0).into(),
            Self::ReduceXor(a) => state[to.at] = u64::from(ones(*a, state) & 1),
            Self::Popcount(a) => state[to.at] = ones(*a, state).into(),
        }
        state[last] &= mask((to.width - 1) % 64 + 1);
    }
}

fn ones(a: Slot, state: &[u64]) -> u32 {
    state[a.range()].iter().map(|w| w.count_ones()).sum()
}

/// The 64 bits of `a` from `low` upwards; bits above its width are 0.
fn bits_at(a: Slot, low: u32, state: &[u64]) -> u64 {
    let (word, shift) = (low as usize / 64, low % 64);
    let get = |i: usize| if i < a.words() { state[a.at + i] } else { 0 };
    if shift == 0 { get(word) } else { get(word) >> shift | get(word + 1) << (64 - shift) }
}

fn carry(to: Slot, a: Slot, b: Slot, subtract: bool, state: &mut [u64]) {
    let mut carry = subtract;
    for i in 0..to.words() {
        let b = if subtract { !state[b.at + i] } else { state[b.at + i] };
        let (sum, over) = state[a.at + i].overflowing_add(b);
        let (sum, over_too) = sum.overflowing_add(carry.into());
        state[to.at + i] = sum;
        carry = over || over_too;
    }
}
