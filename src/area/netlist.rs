//! From bits to gates, carry chains and memories.

use std::collections::{HashMap, HashSet};

use super::cells::Cells;
use super::flat::{Bit, Flat, Kind, ONE, Op, RESET, Source, Span, ZERO};
use super::logic::{Logic, Wire};
use super::ram::{Made, made};
use super::sums::{Adder, Sums, Term, trimmed};
use crate::unit::family::Family;

/// A design as gates and cells.
pub(super) struct Netlist {
    pub family: Family,
    pub flat: Flat,
    /// Whether something reads a bit.
    pub live: Vec<bool>,
    /// How often what is live reads a bit.
    pub uses: Vec<u32>,
    sums: Sums,
    wires: Vec<Option<Wire>>,
    /// Whether the gates of an operation are made.
    done: Vec<bool>,
    pub logic: Logic,
    /// What LUTs must give.
    pub roots: HashSet<Wire>,
    /// By owner.
    pub cells: Vec<Cells>,
    adders: HashMap<(Adder, bool), Vec<Wire>>,
    /// The columns that are stored of each memory and what it is made of; `None` for what nothing reads.
    pub made: Vec<Option<(Vec<u32>, Made)>>,
}

/// The inputs of a LUT.
fn lut_inputs(family: Family) -> usize {
    lut_costs(family).len()
}

/// What a LUT costs, by its inputs less 1. On Xilinx two small ones share a large one; the costs are those that yosys takes.
pub(super) fn lut_costs(family: Family) -> &'static [u32] {
    if family == Family::Xilinx7 { &[1, 2, 3, 3, 3, 5] } else { &[1; 4] }
}

/// The widest adder that is made of LUTs alone.
fn narrow(family: Family) -> usize {
    match family {
        Family::Ecp5 | Family::Generic => 4,
        Family::Ice40 | Family::Gowin | Family::Xilinx7 => 2,
    }
}

impl Netlist {
    pub fn new(mut flat: Flat, family: Family) -> Self {
        flat.settle();
        let live = live(&flat);
        let uses = uses(&flat, &live);
        let sums = Sums::new(&flat, &live, &uses);
        let mut wires = vec![None; live.len()];
        wires[ZERO as usize] = Some(Wire::ZERO);
        wires[ONE as usize] = Some(Wire::ONE);
        let done = vec![false; flat.ops.len()];
        let cells = vec![Cells::default(); flat.owners.len() + 1];
        let (logic, roots, adders) = (Logic::new(), HashSet::new(), HashMap::new());
        let made = Vec::new();
        let mut netlist =
            Self { family, flat, live, uses, sums, wires, done, logic, roots, cells, adders, made };
        netlist.decide();
        netlist
    }

    /// The gate that gives a bit.
    pub fn wire(&mut self, bit: Bit) -> Wire {
        let bit = self.flat.find(bit);
        if let Source::Op(op) = self.flat.sources[bit as usize] {
            self.make(op as usize);
        }
        self.known(bit)
    }

    /// The gate that gives a bit, or a new leaf where none is made.
    fn known(&mut self, bit: Bit) -> Wire {
        let bit = self.flat.find(bit);
        *self.wires[bit as usize].get_or_insert_with(|| self.logic.leaf())
    }

    /// The gate that was made for a bit that something reads and that is no other name of another.
    pub fn made_of(&self, bit: Bit) -> Option<Wire> {
        let own = self.live[bit as usize] && self.flat.find(bit) == bit;
        self.wires[bit as usize].filter(|_| own)
    }

    pub fn wires(&mut self, bits: impl IntoIterator<Item = Bit>) -> Vec<Wire> {
        bits.into_iter().map(|bit| self.wire(bit)).collect()
    }

    /// Makes the gates of everything that is read.
    pub fn evaluate(&mut self) {
        for op in 0..self.flat.ops.len() {
            if self.flat.ops[op].out.bits().any(|bit| self.live[bit as usize]) {
                self.make(op);
            }
        }
    }

    /// The bits that the operation reads.
    fn reads(&self, op: usize) -> Vec<Bit> {
        let of = &self.flat.ops[op];
        if of.kind.sum() {
            let bits = self.sums.terms[op].iter().flat_map(|term| &term.bits);
            return bits.map(|bit| self.flat.find(*bit)).collect();
        }
        let used = |index: usize| {
            !of.kind.bitwise() || index >= of.out.width as usize || {
                self.live[of.out.bit(index as u32) as usize]
            }
        };
        let bits = of.operands.iter().flat_map(|span| span.bits().enumerate());
        let select = (of.kind == Kind::Mux).then(|| of.operands[0].bit(0));
        let bits = bits.filter(|(index, _)| used(*index)).map(|(_, bit)| bit).chain(select);
        bits.map(|bit| self.flat.find(bit)).collect()
    }

    /// Makes the gates of an operation and of those that it reads.
    fn make(&mut self, op: usize) {
        let mut stack = vec![(op, false)];
        while let Some((op, ready)) = stack.pop() {
            if ready {
                self.gates(op);
            } else if !std::mem::replace(&mut self.done[op], true) {
                stack.push((op, true));
                for bit in self.reads(op) {
                    if let Source::Op(before) = self.flat.sources[bit as usize] {
                        stack.push((before as usize, false));
                    }
                }
            }
        }
    }

    /// Makes the gates of one operation.
    fn gates(&mut self, index: usize) {
        let Op { kind, out, owner, .. } = self.flat.ops[index];
        self.logic.owner = owner;
        if kind.sum() {
            return self.sum(index);
        }
        let operands = self.flat.ops[index].operands.clone();
        if kind.bitwise() {
            for (at, bit) in
                out.bits().enumerate().filter(|(_, bit)| self.live[*bit as usize]).collect::<Vec<_>>()
            {
                let of = |operand: &Span| operand.bit((at as u32).min(operand.width - 1));
                let inputs: Vec<Wire> = operands.iter().map(|operand| self.known(of(operand))).collect();
                let logic = &mut self.logic;
                let wire = match (kind, &inputs[..]) {
                    (Kind::Not, &[a]) => !a,
                    (Kind::And, &[a, b]) => logic.and(a, b),
                    (Kind::Or, &[a, b]) => logic.or(a, b),
                    (Kind::Xor, &[a, b]) => logic.xor(a, b),
                    (Kind::Xnor, &[a, b]) => !logic.xor(a, b),
                    (Kind::Mux, &[select, on, off]) => logic.mux(select, on, off),
                    _ => unreachable!("bitwise"),
                };
                self.wires[bit as usize] = Some(wire);
            }
            return;
        }
        if kind == Kind::Less {
            let less = self.less(operands[0], operands[1]);
            self.wires[out.bit(0) as usize] = Some(less);
            return;
        }
        let mut all: Vec<Vec<Wire>> = Vec::new();
        for span in operands {
            all.push(span.bits().map(|bit| self.known(bit)).collect());
        }
        let wire = match kind {
            Kind::Eq => {
                let same = all[0].iter().zip(&all[1]).map(|(a, b)| !self.logic.xor(*a, *b)).collect();
                self.logic.tree(same, Wire::ONE, Logic::and)
            }
            Kind::ReduceAnd => self.logic.tree(all.remove(0), Wire::ONE, Logic::and),
            Kind::ReduceOr => self.logic.tree(all.remove(0), Wire::ZERO, Logic::or),
            Kind::ReduceXor => self.logic.tree(all.remove(0), Wire::ZERO, Logic::xor),
            _ => unreachable!("a sum, a comparison or bitwise"),
        };
        self.wires[out.bit(0) as usize] = Some(wire);
    }

    /// Whether the first is less. Constants that show only when memories are made count as any other bit.
    fn less(&mut self, a: Span, b: Span) -> Wire {
        let constant = |bit: Bit| self.flat.early(bit) <= ONE;
        let zero = |bit: Bit| self.flat.early(bit) == ZERO;
        let width = a.bits().zip(b.bits()).rposition(|(a, b)| !zero(a) || !zero(b)).map_or(0, |top| top + 1);
        let low = |span: Span| span.bits().take(width);
        let fixed = [low(a).all(constant), low(b).all(constant)];
        let costs: Vec<usize> = low(a)
            .zip(low(b))
            .map(|(a, b)| [a, b].into_iter().filter(|bit| !constant(*bit)).count())
            .collect();
        let [a, b] = [a, b].map(|span| low(span).map(|bit| self.known(bit)).collect::<Vec<_>>());
        if fixed.contains(&true) && width <= lut_inputs(self.family) {
            return self.borrow(a, b);
        }
        if self.family == Family::Xilinx7 {
            return self.less_by_lookahead(&a, &b, &costs);
        }
        !self.add(&Adder { a, b, carry: Wire::ONE, inverted: true }, true)[width]
    }

    /// Whether the first is less, in logic.
    fn borrow(&mut self, a: Vec<Wire>, b: Vec<Wire>) -> Wire {
        a.into_iter().zip(b).fold(Wire::ZERO, |less, (a, b)| {
            let differ = self.logic.xor(a, b);
            self.logic.mux(differ, b, less)
        })
    }

    /// Whether the first is less: LUTs tell of some bits each whether they are equal and whether they are less, and a carry chain what
    /// follows. The rules are those of yosys' `cmp2lcu.v`.
    fn less_by_lookahead(&mut self, a: &[Wire], b: &[Wire], costs: &[usize]) -> Wire {
        let mut chunks: Vec<Vec<usize>> = vec![Vec::new()];
        let mut room = lut_inputs(self.family);
        for bit in (0..a.len()).rev() {
            if costs[bit] > room {
                chunks.push(Vec::new());
                room = lut_inputs(self.family);
            }
            room -= costs[bit];
            chunks.last_mut().expect("one").insert(0, bit);
        }
        chunks.reverse();
        let chained = chunks.len() > narrow(self.family);
        let owner = self.logic.owner as usize;
        if chained {
            self.cells[owner].carry += chunks.len().div_ceil(4) as u64;
        }
        let mut less = Wire::ZERO;
        for chunk in chunks {
            let of = |wires: &[Wire]| chunk.iter().map(|bit| wires[*bit]).collect::<Vec<_>>();
            let own = self.borrow(of(a), of(b));
            let same = of(a).into_iter().zip(of(b)).map(|(a, b)| !self.logic.xor(a, b)).collect();
            let same = self.logic.tree(same, Wire::ONE, Logic::and);
            if chained {
                let passes = self.logic.and(same, !own);
                self.root(own);
                self.root(passes);
                less = self.logic.leaf();
            } else {
                let before = self.logic.and(same, less);
                less = self.logic.or(own, before);
            }
        }
        less
    }

    /// Makes the gates of a sum.
    fn sum(&mut self, index: usize) {
        let (terms, width) = (self.sums.terms[index].clone(), self.sums.widths[index]);
        if terms.is_empty() || width == 0 {
            return;
        }
        let mut wired: Vec<(Vec<(Wire, Bit)>, bool)> = Vec::new();
        for Term { bits, subtracted } in terms {
            wired.push((bits.into_iter().map(|bit| (self.known(bit), bit)).collect(), subtracted));
        }
        let sums = match Adder::of(&wired, width) {
            Some(adder) => self.add(&adder, false),
            None => {
                let adder = Adder::compressed(&mut self.logic, &wired, width);
                self.segment(adder, false)
            }
        };
        let out = self.flat.ops[index].out;
        for (bit, wire) in out.bits().zip(sums) {
            self.wires[bit as usize] = Some(wire);
        }
    }

    /// The sums of an adder and its carry; the carry counts alone if `compare` is set. Where the carry is a constant, bits to which
    /// nothing is added pass, and a chain ends.
    fn add(&mut self, adder: &Adder, compare: bool) -> Vec<Wire> {
        let second = |wire: Wire| if adder.inverted { !wire } else { wire };
        let width = adder.a.len();
        let (mut out, mut carry, mut at) = (Vec::new(), adder.carry, 0);
        while at < width {
            let (a, b) = (adder.a[at], second(adder.b[at]));
            if carry.constant().is_some() && (a == carry || b == carry) {
                out.push(if b == carry { a } else { b });
                at += 1;
                continue;
            }
            let known = |i: &usize| adder.a[*i].constant().is_some() && adder.a[*i] == second(adder.b[*i]);
            let known = (at..width).find(known);
            let end = known.map_or(width, |last| last + 1);
            if !compare || end == width {
                let of = |wires: &[Wire]| wires[at..end].to_vec();
                let part = Adder { a: of(&adder.a), b: of(&adder.b), carry, inverted: adder.inverted };
                out.extend(self.segment(part, compare));
                carry = out.pop().expect("the carry");
            } else {
                out.resize(end, Wire::ZERO);
            }
            carry = known.map_or(carry, |last| adder.a[last]);
            at = end;
        }
        out.push(carry);
        out
    }

    /// The sums and the carry of an adder, in LUTs or in a carry chain.
    fn segment(&mut self, adder: Adder, compare: bool) -> Vec<Wire> {
        if adder.a.len() > narrow(self.family) {
            return self.chain(adder, compare);
        }
        let (mut out, mut carry) = (Vec::new(), adder.carry);
        for (a, b) in adder.a.into_iter().zip(adder.b) {
            let (sum, up) = self.logic.full_adder(a, if adder.inverted { !b } else { b }, carry);
            out.push(sum);
            carry = up;
        }
        out.push(carry);
        out
    }

    /// The sums and the carry of a carry chain.
    fn chain(&mut self, adder: Adder, compare: bool) -> Vec<Wire> {
        let key = (adder, compare);
        if let Some(known) = self.adders.get(&key) {
            return known.clone();
        }
        let adder = &key.0;
        let width = adder.a.len();
        let owner = self.logic.owner as usize;
        let second = |wire: Wire| if adder.inverted { !wire } else { wire };
        let mut out = Vec::new();
        let mut carry = adder.carry;
        let mut roots: Vec<Wire> = Vec::new();
        match self.family {
            Family::Ecp5 | Family::Generic | Family::Gowin => {
                let lattice = self.family != Family::Gowin;
                // The carry of every second bit comes out of a cell of ECP5 in LUTs.
                let chained = if compare && lattice { width - width % 2 } else { width };
                let cells = &mut self.cells[owner];
                if lattice {
                    cells.carry += chained.div_ceil(2) as u64;
                    cells.lut += 2 * chained.div_ceil(2) as u64;
                } else {
                    cells.carry += width as u64;
                    cells.lut += width as u64;
                }
                roots.extend(adder.a[..chained].iter().chain(&adder.b[..chained]).chain([&carry]));
                out.extend((0..width).map(|_| self.logic.leaf()));
                carry = self.logic.leaf();
                if chained < width {
                    carry = self.logic.full_adder(adder.a[chained], second(adder.b[chained]), carry).1;
                }
            }
            Family::Ice40 => {
                // A sum is a LUT, which may do more; only the carry has a cell of its own.
                for (i, (a, b)) in adder.a.iter().zip(&adder.b).enumerate() {
                    let b = second(*b);
                    let constants = [*a, b, carry].iter().filter_map(|wire| wire.constant()).count();
                    let (sum, up) = self.logic.full_adder(*a, b, carry);
                    out.push(sum);
                    if constants >= 2 {
                        carry = up;
                        continue;
                    }
                    if compare || i + 1 < width {
                        roots.extend([*a, b, carry]);
                        self.cells[owner].carry += 1;
                    }
                    carry = self.logic.leaf();
                }
            }
            Family::Xilinx7 => {
                self.cells[owner].carry += width.div_ceil(4) as u64;
                for (a, b) in adder.a.iter().zip(&adder.b) {
                    let differ = self.logic.xor(*a, second(*b));
                    roots.extend([*a, differ]);
                    out.push(self.logic.leaf());
                }
                carry = self.logic.leaf();
            }
        }
        out.push(carry);
        roots.into_iter().for_each(|wire| self.root(wire));
        self.adders.insert(key, out.clone());
        out
    }

    /// Notes that LUTs must give a wire.
    pub fn root(&mut self, wire: Wire) {
        if wire.constant().is_none() {
            self.roots.insert(wire);
        }
    }

    /// Decides what each memory is made of, and makes what it gives.
    fn decide(&mut self) {
        for (index, ram) in self.flat.rams.iter().enumerate() {
            let of = |bit: &Bit| {
                self.live[*bit as usize] && self.flat.sources[*bit as usize] == Source::Ram(index as u32)
            };
            let column = |column: &u32| {
                let data = ram.reads[0].data.bit(*column);
                self.flat.find(data) == data
            };
            let read = ram.reads.iter().any(|port| port.data.bits().any(|bit| of(&bit)));
            self.made.push(read.then(|| {
                let columns: Vec<u32> = (0..ram.width).filter(column).collect();
                let (width, writes, reads) = (columns.len(), ram.writes.len(), ram.reads.len());
                let made = made(
                    self.family,
                    [width, ram.depth as usize, writes, reads].map(|n| n as u32),
                    ram.block,
                );
                (columns, made)
            }));
        }
        for index in 0..self.made.len() {
            let Some((columns, Made::Block(shape))) = self.made[index].clone() else { continue };
            let ram = &self.flat.rams[index];
            self.logic.owner = ram.owner;
            self.cells[ram.owner as usize].ram += shape.cells;
            if shape.ranges > 1 {
                let choosing = ram.reads[0].address.width - shape.words.trailing_zeros();
                self.cells[ram.owner as usize].ff += u64::from(choosing) * ram.reads.len() as u64;
                for data in ram.reads.iter().map(|port| port.data).collect::<Vec<_>>() {
                    let select: Vec<Wire> = (0..choosing).map(|_| self.logic.leaf()).collect();
                    for column in &columns {
                        let words = (0..shape.ranges).map(|_| self.logic.leaf()).collect();
                        self.wires[data.bit(*column) as usize] = Some(self.logic.choose(&select, words));
                    }
                }
            }
        }
    }

    /// Counts the vendors' cells, and makes what LUTs must give to them and to the outputs.
    pub fn placed(&mut self) {
        for index in 0..self.flat.placed.len() {
            let placed = &self.flat.placed[index];
            if !placed.outputs.iter().any(|bit| self.live[*bit as usize]) {
                continue;
            }
            self.cells[placed.owner as usize].add(placed.cell, self.family);
            for bit in placed.inputs.clone() {
                let wire = self.wire(bit);
                self.root(wire);
            }
        }
        for bit in self.flat.outputs.clone() {
            let wire = self.wire(bit);
            self.root(wire);
        }
    }
}

/// Which bits something reads that leads to an output.
fn live(flat: &Flat) -> Vec<bool> {
    let mut live = vec![false; flat.sources.len()];
    let mut todo: Vec<Bit> = flat.outputs.clone();
    let mut met = [vec![false; flat.rams.len()], vec![false; flat.placed.len()]];
    while let Some(bit) = todo.pop() {
        let bit = flat.find(bit);
        if std::mem::replace(&mut live[bit as usize], true) {
            continue;
        }
        match flat.sources[bit as usize] {
            Source::Free => {}
            Source::Op(op) => {
                let Op { kind, out, operands, .. } = &flat.ops[op as usize];
                let at = bit - out.bit(0);
                for (number, operand) in operands.iter().enumerate() {
                    match (kind, number) {
                        (Kind::Mux, 0) => todo.push(operand.bit(0)),
                        _ if kind.bitwise() => todo.push(operand.bit(at)),
                        _ if kind.sum() => todo.extend(operand.bits().take(at as usize + 1)),
                        _ => todo.extend(operand.bits()),
                    }
                }
            }
            Source::Flop(flop) => {
                let flop = &flat.flops[flop as usize];
                todo.push(flop.next.bit(bit - flop.q.bit(0)));
                todo.extend(flop.enable);
                todo.extend(flop.reset.as_ref().map(|_| RESET));
            }
            Source::Ram(ram) => {
                if !std::mem::replace(&mut met[0][ram as usize], true) {
                    let ram = &flat.rams[ram as usize];
                    for port in &ram.reads {
                        todo.extend(port.address.bits().chain([port.enable]));
                    }
                    for port in &ram.writes {
                        todo.extend(port.address.bits().chain(port.data.bits()).chain([port.enable]));
                    }
                }
            }
            Source::Placed(placed) => {
                if !std::mem::replace(&mut met[1][placed as usize], true) {
                    todo.extend(&flat.placed[placed as usize].inputs);
                }
            }
        }
    }
    live
}

/// How often each bit is read by what is live.
fn uses(flat: &Flat, live: &[bool]) -> Vec<u32> {
    let mut uses = vec![0; live.len()];
    let mut used = |bit: Bit| uses[flat.early(bit) as usize] += 1;
    for op in &flat.ops {
        let Some(top) = op.out.bits().rposition(|bit| live[bit as usize]) else { continue };
        let width = top + 1;
        for operand in &op.operands {
            let most = if op.kind.sum() { width } else { usize::MAX };
            trimmed(flat, operand.bits().take(most)).into_iter().for_each(&mut used);
        }
    }
    for flop in &flat.flops {
        for (_, next) in flop.q.bits().zip(flop.next.bits()).filter(|(q, _)| live[*q as usize]) {
            used(next);
        }
        flop.enable.into_iter().for_each(&mut used);
    }
    for ram in &flat.rams {
        for port in ram.reads.iter().chain(&ram.writes) {
            port.address.bits().chain([port.enable]).for_each(&mut used);
        }
        ram.writes.iter().flat_map(|port| port.data.bits()).for_each(&mut used);
    }
    flat.placed.iter().flat_map(|placed| &placed.inputs).copied().for_each(&mut used);
    flat.outputs.iter().copied().for_each(&mut used);
    uses
}
