//! Popcounts and accumulators in carry cells of a vendor: the operation of most lanes sits in the cell that adds them.
//!
//! A half of a cell adds two bits and the carry, and its LUT computes each of the two from the operands of a lane. So a lane costs
//! no LUT of its own. The cells between two registers of a popcount are one chain. Between two adders, a half loads the carry of the next one with a lane
//! and gives the carry of the last one as its sum.
//!
//! The same cells select what an accumulator begins with or goes on with, where it adds.
//!
//! An adder counts one lane by its incoming carry and splits the others between its operands, down to single lanes: n levels of
//! adders count 2^(n+1) - 1 lanes.

use std::collections::HashMap;
use std::sync::Arc;

use super::lane::Lane;
use crate::{Builder, Module, Net, Primitive, Role};

/// A bit that a half of a cell adds: a function of at most three nets.
#[derive(Debug, Clone)]
struct Addend {
    /// The nets.
    of: Vec<Node>,
    /// Bit i is the value where the nets are the bits of i, the first net the least significant.
    table: u8,
}

/// A net of the popcount.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Node {
    /// A bit of an operand: port, and bit or lane.
    Operand(usize, u32),
    /// The value of a lane, in a LUT of its own.
    Lane(u32),
    /// The sum of a half.
    Sum(usize),
    /// The same, this many registers later.
    Later(Box<Node>, u32),
}

impl Addend {
    fn zero() -> Self {
        Self { of: vec![], table: 0 }
    }

    fn net(node: Node) -> Self {
        Self { of: vec![node], table: 0b10 }
    }

    /// Its value where its first net is bit 0 of `inputs`, and so on.
    fn value(&self, inputs: u16) -> bool {
        self.table >> (inputs & ((1 << self.of.len()) - 1)) & 1 == 1
    }

    /// Whether it can be added to `first`: with inputs C and D at 0, the LUT must be `first` alone, and `first` has A and B.
    fn follows(&self, first: &Self) -> bool {
        let places = first.of.len() <= 1 && self.of.len() <= 3 || first.of.len() <= 2 && self.of.len() <= 2;
        let with_b = self.of.len() == 3;
        places && !self.value(0) && (!with_b || !self.value(1))
    }

    /// The input pin of its first net, if it is added second.
    fn pin(&self) -> usize {
        if self.of.len() == 3 { 1 } else { 2 }
    }
}

/// Half of a cell.
#[derive(Debug, Clone, Default)]
struct Half {
    /// Inputs A to D.
    pins: [Option<Node>; 4],
    /// Inputs that are 1.
    ones: u8,
    /// The table of the LUT: bit i is its value where A to D are the bits of i.
    table: u16,
}

impl Half {
    /// Loads the carry. Its sum is the carry before it.
    fn load(addend: &Addend) -> Self {
        let mut half = Self { ones: 0b100, ..Self::default() };
        half.set(0, addend);
        half.table = (0..4).filter(|i| addend.value(*i)).map(|i| 1 << i).sum();
        half
    }

    /// Adds two bits and the carry.
    fn add(first: &Addend, second: &Addend) -> Self {
        let mut half = Self::default();
        half.set(0, first);
        half.set(second.pin(), second);
        let sum = |i: &u16| first.value(*i) ^ second.value(i >> second.pin());
        half.table = (0..16).filter(sum).map(|i| 1 << i).sum();
        half
    }

    fn set(&mut self, pin: usize, addend: &Addend) {
        for (pin, node) in self.pins[pin..].iter_mut().zip(&addend.of) {
            *pin = Some(node.clone());
        }
    }
}

/// A number: its bits, its maximum, and the levels of adders that it comes from.
struct Number {
    bits: Vec<Addend>,
    most: u64,
    level: u32,
}

/// An adder whose chain is laid out later, in the order of levels.
struct Adder {
    level: u32,
    carry: Addend,
    operands: [Vec<Addend>; 2],
    /// Number of its sum bits, the carry among them.
    bits: usize,
}

/// The sum bit `bit` of adder `adder`, in place of the half that it will be.
fn sum_of(adder: usize, bit: usize) -> Node {
    Node::Sum(adder << 8 | bit)
}

/// Levels of adders between two registers of a popcount in stages.
pub(super) const LEVELS: u32 = 2;

/// Levels of adders of a popcount of `lanes` lanes.
pub(super) fn levels(lanes: u32) -> u32 {
    match lanes {
        0 | 1 => 0,
        2 | 3 => 1,
        more => 1 + levels(more / 2),
    }
}

/// The popcount `model` in cells: of `lanes` lanes modulo 2^`bits`, with `stages` registers between operands and count.
pub(super) fn popcount(lane: Lane, (lanes, bits): (u32, u32), stages: u32, model: &Module) -> Arc<Module> {
    let mut layout = Layout { lane, bits, stages, adders: vec![], halves: vec![], ends: vec![] };
    let count = layout.number(0, lanes);
    let place = layout.chain(count.level);
    let mut b = Builder::new(model.name.clone());
    model.doc.iter().for_each(|line| b.doc(line.clone()));
    b.doc("Chains of carry cells, level by level: adders of two numbers and of one lane, the carry that they begin with.");
    let input = |b: &mut Builder, name: &str| {
        let port = model.port(name).expect("a port of the model");
        b.input(name, model.width(port.net), port.role)
    };
    let run = (stages > 0).then(|| input(&mut b, "run"));
    let operands = lane.operands().iter().map(|port| input(&mut b, port)).collect();
    let mut nets = Nets { lane, operands, run, known: HashMap::new() };
    let outputs: Vec<Node> = count.bits.iter().map(|bit| placed(&bit.of[0], &place)).collect();
    layout.cells(&mut b, &mut nets, &outputs);
    let bits: Vec<Net> = outputs.iter().map(|node| nets.get(&mut b, node)).collect();
    let count = b.concat(&bits);
    let count = b.named("count", count);
    b.output("count", count, Role::Data);
    b.finish()
}

/// The next value of an accumulator of `bits` bits, in cells: `(first ? start : sum) + addend`, where `start` is 0 unless `starts`.
/// Combinational; ports `first`, `start`, `sum`, `addend` of `addend` bits, and `next`.
pub fn next_sum(bits: u32, addend: u32, starts: bool) -> Arc<Module> {
    let kind = if starts { "_start" } else { "" };
    let mut b = Builder::new(format!("next_sum_b{bits}_a{addend}{kind}_ccu2c"));
    let start = if starts { "start" } else { "0" };
    b.doc(format!("next = (first ? {start} : sum) + addend, modulo 2^{bits}. Combinational."));
    let ports = |b: &mut Builder| {
        let mut ports = vec![b.input("first", 1, Role::Control)];
        ports.extend(starts.then(|| b.input("start", bits, Role::Data)));
        ports.extend([b.input("sum", bits, Role::Data), b.input("addend", addend, Role::Data)]);
        ports
    };
    let own = ports(&mut b);
    let start = if starts { own[1] } else { b.constant(bits, 0) };
    let before = b.mux(own[0], start, own[own.len() - 2]);
    let wide = b.zero_extend(own[own.len() - 1], bits);
    let next = b.add(before, wide);
    let next = b.named("next", next);
    b.output("next", next, Role::Data);
    b.finish_realised(|model| {
        let mut b = Builder::new(model.name.clone());
        model.doc.iter().for_each(|line| b.doc(line.clone()));
        b.doc("A chain of carry cells, each of which selects and adds.");
        let operands = ports(&mut b);
        let (sum, last) = (operands.len() - 2, operands.len() - 1);
        let operand = |port: usize, bit: u32| Node::Operand(port, bit);
        let half = |bit: u32| {
            let added = if bit < addend { Addend::net(operand(last, bit)) } else { Addend::zero() };
            let kept = match starts {
                // start, sum, first: first ? start : sum.
                true => Addend { of: vec![operand(1, bit), operand(sum, bit), operand(0, 0)], table: 0xac },
                // sum, first: sum & ~first.
                false => Addend { of: vec![operand(sum, bit), operand(0, 0)], table: 0b0010 },
            };
            Half::add(&added, &kept)
        };
        let halves = (0..bits).map(half).chain((bits % 2 == 1).then(Half::default)).collect();
        let ends = vec![bits.div_ceil(2) as usize];
        let mut layout = Layout { lane: Lane::One, bits, stages: 0, adders: vec![], halves, ends };
        let mut nets = Nets { lane: Lane::One, operands, run: None, known: HashMap::new() };
        let outputs: Vec<Node> = (0..bits as usize).map(Node::Sum).collect();
        layout.cells(&mut b, &mut nets, &outputs);
        let bits: Vec<Net> = outputs.iter().map(|node| nets.get(&mut b, node)).collect();
        let next = b.concat(&bits);
        let next = b.named("next", next);
        b.output("next", next, Role::Data);
        b.finish()
    })
}

/// The popcount of some lanes, in construction.
struct Layout {
    lane: Lane,
    bits: u32,
    stages: u32,
    adders: Vec<Adder>,
    halves: Vec<Half>,
    /// The cells behind which a chain ends.
    ends: Vec<usize>,
}

impl Layout {
    /// The number of ones among `lanes` lanes from `low` on.
    fn number(&mut self, low: u32, lanes: u32) -> Number {
        match lanes {
            0 => return Number { bits: vec![], most: 0, level: 0 },
            1 => return Number { bits: vec![self.lane_at(low)], most: 1, level: 0 },
            _ => {}
        }
        let carried = u32::from(lanes > 2);
        let upper = (lanes - carried) / 2;
        let lower = lanes - carried - upper;
        let carry = if carried == 1 { self.lane_at(low) } else { Addend::zero() };
        let numbers = [self.number(low + carried, lower), self.number(low + carried + lower, upper)];
        let most = u64::from(lanes);
        let level = 1 + numbers.iter().map(|n| n.level).max().unwrap_or(0);
        let bits = crate::bits_for(most).min(self.bits) as usize;
        debug_assert_eq!(most, numbers.iter().map(|n| n.most).sum::<u64>() + u64::from(carried));
        self.adders.push(Adder { level, carry, operands: numbers.map(|n| n.bits), bits });
        let adder = self.adders.len() - 1;
        Number { bits: (0..bits).map(|bit| Addend::net(sum_of(adder, bit))).collect(), most, level }
    }

    fn lane_at(&self, lane: u32) -> Addend {
        let inputs = self.lane.operands().len();
        let is_one = |i: &u8| self.lane.of(&(0..inputs).map(|input| i >> input & 1 == 1).collect::<Vec<_>>());
        let table = (0..1 << inputs).filter(is_one).map(|i| 1 << i).sum();
        Addend { of: (0..inputs).map(|input| Node::Operand(input, lane)).collect(), table }
    }

    /// The number of registers between the operands and the adders of `level`, of `levels`.
    fn registers(&self, level: u32, levels: u32) -> u32 {
        let cut = |stage: u32| (stage * levels).div_ceil(self.stages + 1);
        (1..=self.stages).filter(|stage| cut(*stage) < level).count() as u32
    }

    /// Lays out the chain. Returns the half of each sum bit, and how many registers are before it.
    fn chain(&mut self, levels: u32) -> HashMap<Node, (usize, u32)> {
        let mut order: Vec<usize> = (0..self.adders.len()).collect();
        order.sort_by_key(|adder| self.adders[*adder].level);
        let mut place = HashMap::new();
        let mut carries: Option<usize> = None;
        let mut stage = 0;
        for adder in order {
            let registers = self.registers(self.adders[adder].level, levels);
            if registers > stage {
                self.end(carries.take(), stage, &mut place);
                stage = registers;
            }
            let Adder { carry, operands, bits, .. } = &self.adders[adder];
            let at = |place: &HashMap<_, _>, addend: Option<&Addend>| self.later(addend, registers, place);
            let mut halves = Vec::new();
            let carry = at(&place, Some(carry));
            let first = self.halves.len();
            // A chain begins without a carry.
            if !(carry.of.is_empty() && self.ends.last().copied().unwrap_or(0) == first / 2 && first % 2 == 0)
            {
                halves.push(Half::load(&if carry.of.len() > 2 { raw(&carry) } else { carry }));
            }
            if let Some(before) = carries.take() {
                let own = self.adders[before].bits - 1;
                place.insert(sum_of(before, own), (first, self.registers(self.adders[before].level, levels)));
            }
            let width = operands.iter().map(Vec::len).max().unwrap_or(0);
            for bit in 0..width.min(*bits) {
                let [x, y] = [0, 1].map(|of| at(&place, operands[of].get(bit)));
                let half = match (y.follows(&x), x.follows(&y)) {
                    (true, _) => Half::add(&x, &y),
                    (_, true) => Half::add(&y, &x),
                    _ if y.follows(&raw(&x)) => Half::add(&raw(&x), &y),
                    _ => Half::add(&raw(&x), &raw(&y)),
                };
                place.insert(sum_of(adder, bit), (first + halves.len(), registers));
                halves.push(half);
            }
            carries = (width < *bits).then_some(adder);
            self.halves.append(&mut halves);
        }
        self.end(carries, stage, &mut place);
        place
    }

    /// Ends a chain: carries that go on between two stages would be paths through both.
    fn end(&mut self, carries: Option<usize>, stage: u32, place: &mut HashMap<Node, (usize, u32)>) {
        if let Some(last) = carries {
            place.insert(sum_of(last, self.adders[last].bits - 1), (self.halves.len(), stage));
            self.halves.push(Half::load(&Addend::zero()));
        }
        if !self.halves.len().is_multiple_of(2) {
            self.halves.push(Half::default());
        }
        self.ends.push(self.halves.len() / 2);
    }

    /// An operand of an adder that has `registers` registers before it.
    fn later(&self, addend: Option<&Addend>, registers: u32, place: &HashMap<Node, (usize, u32)>) -> Addend {
        let Some(addend) = addend.filter(|addend| !addend.of.is_empty()) else { return Addend::zero() };
        let Node::Sum(_) = addend.of[0] else {
            return if registers == 0 { addend.clone() } else { delayed(raw(addend), registers) };
        };
        let (half, before) = place[&addend.of[0]];
        delayed(Addend::net(Node::Sum(half)), registers - before)
    }
}

/// The addend in a LUT of its own, if it is a lane.
fn raw(addend: &Addend) -> Addend {
    match addend.of.first() {
        Some(Node::Operand(_, lane)) => Addend::net(Node::Lane(*lane)),
        _ => addend.clone(),
    }
}

fn delayed(addend: Addend, registers: u32) -> Addend {
    let later = |node: Node| if registers == 0 { node } else { Node::Later(Box::new(node), registers) };
    Addend { of: addend.of.into_iter().map(later).collect(), ..addend }
}

/// A sum bit of the last adder, by its place.
fn placed(node: &Node, place: &HashMap<Node, (usize, u32)>) -> Node {
    match node {
        Node::Sum(_) => Node::Sum(place[node].0),
        lane => lane.clone(),
    }
}

/// The nets of a module in construction.
struct Nets {
    lane: Lane,
    operands: Vec<Net>,
    run: Option<Net>,
    known: HashMap<Node, Net>,
}

impl Nets {
    fn get(&mut self, b: &mut Builder, node: &Node) -> Net {
        if let Some(net) = self.known.get(node) {
            return *net;
        }
        let net = match node {
            Node::Operand(port, bit) => b.slice(self.operands[*port], *bit, 1),
            Node::Lane(lane) => {
                let of: Vec<Net> = self.operands.iter().map(|port| b.slice(*port, *lane, 1)).collect();
                let value = self.lane.value(b, &of);
                b.named(format!("lane_{lane}"), value)
            }
            Node::Sum(half) => unreachable!("half {half} is placed before its sum is used"),
            Node::Later(of, registers) => {
                let run = self.run.expect("a popcount with registers");
                let name = match &**of {
                    Node::Sum(half) => format!("sum_{half}_later_{registers}"),
                    Node::Lane(lane) => format!("lane_{lane}_later_{registers}"),
                    other => unreachable!("{other:?} has no registers"),
                };
                let before = match registers {
                    1 => (**of).clone(),
                    _ => Node::Later(of.clone(), registers - 1),
                };
                let before = self.get(b, &before);
                b.registered(&name, None, run, before)
            }
        };
        self.known.insert(node.clone(), net);
        net
    }
}

impl Layout {
    /// Places the halves, two in a cell.
    fn cells(&mut self, b: &mut Builder, nets: &mut Nets, outputs: &[Node]) {
        let mut used = vec![false; self.halves.len()];
        let mut reach = |node: &Node| {
            let (Node::Sum(_) | Node::Later(..)) = node else { return };
            let mut node = node;
            while let Node::Later(of, _) = node {
                node = of;
            }
            if let Node::Sum(half) = node {
                used[*half] = true;
            }
        };
        self.halves.iter().flat_map(|half| half.pins.iter().flatten()).for_each(&mut reach);
        outputs.iter().for_each(reach);
        let mut carry = None;
        for cell in 0..self.halves.len() / 2 {
            let pair = &self.halves[2 * cell..2 * cell + 2];
            let kind = Ccu2c {
                halves: [0, 1].map(|h| {
                    (pair[h].table, [0, 1, 2, 3].map(|pin| pair[h].pins[pin].is_some()), pair[h].ones)
                }),
                sums: [used[2 * cell], used[2 * cell + 1]],
                carried: carry.is_some(),
                carries: !self.ends.contains(&(cell + 1)),
            };
            let unit = b.instance(&format!("u_carry_{cell}"), &kind.module());
            for half in 0..2 {
                if kind.sums[half] {
                    nets.known.insert(Node::Sum(2 * cell + half), b.out(unit, &format!("S{half}")));
                }
            }
            if let Some(carry) = carry {
                b.connect(unit, "CIN", carry);
            }
            for (half, own) in pair.iter().enumerate() {
                for (pin, node) in own.pins.iter().enumerate() {
                    let Some(node) = node else { continue };
                    let net = nets.get(b, node);
                    b.connect(unit, &format!("{}{half}", PINS[pin]), net);
                }
            }
            carry = kind.carries.then(|| b.out(unit, "COUT"));
        }
    }
}

/// The inputs of a half.
const PINS: [char; 4] = ['A', 'B', 'C', 'D'];

/// The pins of a cell.
const ORDER: [&str; 12] = ["CIN", "A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1", "S0", "S1", "COUT"];

/// A carry cell of ECP5: two LUTs of four inputs, and a carry through both. With `p` the value of a half's LUT and `g` its value
/// where C and D are 0, the sum is `p` ^ carry, and the carry behind it `p` ? carry : `g`.
struct Ccu2c {
    /// For each half its table, which inputs are connected, and which of the others are 1.
    halves: [(u16, [bool; 4], u8); 2],
    /// Whether the sums are used.
    sums: [bool; 2],
    /// Whether the carry comes from another cell.
    carried: bool,
    /// Whether the carry goes to another cell.
    carries: bool,
}

impl Ccu2c {
    /// The model, of the ports that are used.
    fn module(&self) -> Arc<Module> {
        let flag = |on: bool, letter: &str| if on { letter.to_owned() } else { String::new() };
        let half = |h: usize| {
            let (table, pins, ones) = self.halves[h];
            let pins: String = (0..4).map(|pin| flag(pins[pin], &PINS[pin].to_string())).collect();
            format!("{table:04x}{pins}{ones}{}", flag(self.sums[h], "s"))
        };
        let ends = format!("{}{}", flag(self.carried, "i"), flag(self.carries, "o"));
        let mut b = Builder::new(format!("CCU2C_{}_{}_{ends}", half(0), half(1)));
        let mut pins = Vec::new();
        let mut carry = if self.carried {
            b.input("CIN", 1, Role::Data)
        } else {
            pins.push(("CIN".to_owned(), Some(false)));
            b.constant(1, 0)
        };
        for h in 0..2 {
            let (table, connected, ones) = self.halves[h];
            let mut input = |pin: usize| {
                let name = format!("{}{h}", PINS[pin]);
                if connected[pin] {
                    return b.input(name, 1, Role::Data);
                }
                let one = ones >> pin & 1 == 1;
                pins.push((name, Some(one)));
                b.constant(1, one.into())
            };
            let inputs = [0, 1, 2, 3].map(&mut input);
            let propagates = lut(&mut b, table, &inputs);
            let generates = lut(&mut b, table, &inputs[..2]);
            let sum = b.xor(propagates, carry);
            if self.sums[h] {
                b.output(format!("S{h}"), sum, Role::Data);
            } else {
                pins.push((format!("S{h}"), None));
            }
            carry = b.mux(propagates, carry, generates);
        }
        if self.carries {
            b.output("COUT", carry, Role::Data);
        } else {
            pins.push(("COUT".to_owned(), None));
        }
        let table = |h: usize| (format!("INIT{h}"), format!("16'h{:04x}", self.halves[h].0));
        let plain = |h: usize| (format!("INJECT1_{h}"), "\"NO\"".to_owned());
        let parameters = vec![table(0), table(1), plain(0), plain(1)];
        b.primitive(Primitive { cell: "CCU2C", parameters, order: &ORDER, pins });
        b.finish()
    }
}

/// The bit of `table` whose index is `inputs`, the first the least significant.
fn lut(b: &mut Builder, table: u16, inputs: &[Net]) -> Net {
    let Some((last, before)) = inputs.split_last() else { return b.constant(1, (table & 1).into()) };
    let off = lut(b, table, before);
    let on = lut(b, table >> (1 << before.len()), before);
    b.mux(*last, on, off)
}
