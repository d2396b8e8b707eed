//! Logic: a graph of gates of one bit, equal gates once.

use std::collections::HashMap;
use std::ops::Not;

/// The output of a gate or its complement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Wire(u32);

impl Wire {
    pub const ZERO: Self = Self(0);
    pub const ONE: Self = Self(1);

    /// Index of the gate.
    pub fn gate(self) -> usize {
        (self.0 >> 1) as usize
    }

    pub fn complemented(self) -> bool {
        self.0 & 1 == 1
    }

    /// The value, if it is a constant.
    pub fn constant(self) -> Option<bool> {
        (self.gate() == 0).then(|| self.complemented())
    }

    fn with(self, complement: bool) -> Self {
        Self(self.0 ^ u32::from(complement))
    }
}

impl Not for Wire {
    type Output = Self;

    fn not(self) -> Self {
        Self(self.0 ^ 1)
    }
}

/// A gate; its inputs are gates before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Gate {
    /// Constant zero (gate 0), or what comes from a register, a memory or a carry chain.
    Leaf,
    And(Wire, Wire),
    Xor(Wire, Wire),
    /// The first selects between the second (1) and the third (0).
    Mux(Wire, Wire, Wire),
}

impl Gate {
    /// The gates that it reads.
    pub fn inputs(self) -> impl Iterator<Item = usize> {
        let all = match self {
            Self::Leaf => [None, None, None],
            Self::And(a, b) | Self::Xor(a, b) => [Some(a), Some(b), None],
            Self::Mux(a, b, c) => [Some(a), Some(b), Some(c)],
        };
        all.into_iter().flatten().map(Wire::gate)
    }
}

/// The gates, each after those that it reads, and the owner of each.
#[derive(Debug)]
pub(super) struct Logic {
    pub gates: Vec<Gate>,
    pub owners: Vec<u32>,
    known: HashMap<Gate, Wire>,
    /// The owner of the gates to come.
    pub owner: u32,
}

impl Logic {
    pub fn new() -> Self {
        Self { gates: vec![Gate::Leaf], owners: vec![0], known: HashMap::new(), owner: 0 }
    }

    fn push(&mut self, gate: Gate) -> Wire {
        self.gates.push(gate);
        self.owners.push(self.owner);
        Wire(self.gates.len() as u32 * 2 - 2)
    }

    pub fn leaf(&mut self) -> Wire {
        self.push(Gate::Leaf)
    }

    fn gate(&mut self, gate: Gate) -> Wire {
        if let Some(wire) = self.known.get(&gate) {
            return *wire;
        }
        let wire = self.push(gate);
        self.known.insert(gate, wire);
        wire
    }

    pub fn and(&mut self, a: Wire, b: Wire) -> Wire {
        match (a.constant(), b.constant()) {
            (Some(false), _) | (_, Some(false)) => Wire::ZERO,
            (Some(true), _) => b,
            (_, Some(true)) => a,
            _ if a == b => a,
            _ if a == !b => Wire::ZERO,
            _ => self.gate(Gate::And(a.min(b), a.max(b))),
        }
    }

    pub fn or(&mut self, a: Wire, b: Wire) -> Wire {
        !self.and(!a, !b)
    }

    pub fn xor(&mut self, a: Wire, b: Wire) -> Wire {
        let complement = a.complemented() ^ b.complemented();
        let (a, b) = (a.with(a.complemented()), b.with(b.complemented()));
        let wire = match (a.constant(), b.constant()) {
            (Some(_), _) => b,
            (_, Some(_)) => a,
            _ if a == b => Wire::ZERO,
            _ => self.gate(Gate::Xor(a.min(b), a.max(b))),
        };
        wire.with(complement)
    }

    pub fn mux(&mut self, select: Wire, on: Wire, off: Wire) -> Wire {
        if select.complemented() {
            return self.mux(!select, off, on);
        }
        match (select.constant(), on.constant(), off.constant()) {
            (Some(_), ..) => off,
            _ if on == off => on,
            _ if on == !off => self.xor(select, off),
            (_, Some(true), _) => self.or(select, off),
            (_, Some(false), _) => self.and(!select, off),
            (_, _, Some(true)) => self.or(!select, on),
            (_, _, Some(false)) => self.and(select, on),
            _ if on.gate() == select.gate() => {
                let on = if on.complemented() { Wire::ZERO } else { Wire::ONE };
                self.mux(select, on, off)
            }
            _ if off.gate() == select.gate() => {
                let off = if off.complemented() { Wire::ONE } else { Wire::ZERO };
                self.mux(select, on, off)
            }
            _ => {
                let complement = on.complemented();
                self.gate(Gate::Mux(select, on.with(complement), off.with(complement))).with(complement)
            }
        }
    }

    /// Sum and carry of three bits.
    pub fn full_adder(&mut self, a: Wire, b: Wire, c: Wire) -> (Wire, Wire) {
        let differ = self.xor(a, b);
        let sum = self.xor(differ, c);
        let carry = self.mux(differ, c, a);
        (sum, carry)
    }

    /// `gate` of all wires, as a balanced tree; `empty` where there are none.
    pub fn tree(
        &mut self,
        mut wires: Vec<Wire>,
        empty: Wire,
        gate: fn(&mut Self, Wire, Wire) -> Wire,
    ) -> Wire {
        while wires.len() > 1 {
            let pairs = wires.chunks(2);
            wires = pairs.map(|pair| if let &[a, b] = pair { gate(self, a, b) } else { pair[0] }).collect();
        }
        wires.pop().unwrap_or(empty)
    }

    /// The wire of `words` at the address, by multiplexers; the last ones repeat where words lack.
    pub fn choose(&mut self, address: &[Wire], mut words: Vec<Wire>) -> Wire {
        for select in address {
            let pairs = words.chunks(2);
            words = pairs
                .map(|pair| if let &[off, on] = pair { self.mux(*select, on, off) } else { pair[0] })
                .collect();
        }
        words[0]
    }

    /// For each of `count` addresses, whether it is the given one.
    pub fn decode(&mut self, address: &[Wire], count: usize) -> Vec<Wire> {
        (0..count)
            .map(|at| {
                let bits = address.iter().enumerate();
                let bits = bits.map(|(i, wire)| if at >> i & 1 == 1 { *wire } else { !*wire }).collect();
                self.tree(bits, Wire::ONE, Self::and)
            })
            .collect()
    }
}
