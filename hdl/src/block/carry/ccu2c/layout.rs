//! The layout of adders in chains of carry cells.

use std::collections::HashMap;

use super::cell::{Cell, PINS};
use crate::block::carry::Placing;
use crate::block::carry::nets::{Addend, Nets, Node, delayed, used};
use crate::{Builder, bits_for};

impl Addend {
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
pub(super) struct Half {
    /// Inputs A to D.
    pins: [Option<Node>; 4],
    /// Inputs that are 1.
    ones: u8,
    /// The table of the LUT: bit i is its value where A to D are the bits of i.
    table: u16,
}

impl Half {
    /// Loads the carry. Its sum is the carry before it.
    pub(super) fn load(addend: &Addend) -> Self {
        let mut half = Self { ones: 0b100, ..Self::default() };
        half.set(0, addend);
        half.table = (0..4).filter(|i| addend.value(*i)).map(|i| 1 << i).sum();
        half
    }

    /// Adds two bits and the carry.
    pub(super) fn add(first: &Addend, second: &Addend) -> Self {
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

/// A number: its bits, its range, and the levels of adders that it comes from. It is two's complement if the range has negative
/// numbers.
pub(super) struct Number {
    pub(super) bits: Vec<Addend>,
    pub(super) range: (i64, i64),
    pub(super) level: u32,
}

impl Number {
    /// Bits that numbers of a range need.
    fn width((low, high): (i64, i64)) -> u32 {
        if low < 0 {
            1 + bits_for(high.max(0).unsigned_abs()).max(bits_for((low + 1).unsigned_abs()))
        } else {
            bits_for(high.unsigned_abs())
        }
    }
}

/// An adder whose cells are laid out later, in the order of levels.
struct Adder {
    level: u32,
    carry: Addend,
    operands: [Vec<Addend>; 2],
    /// Number of its sum bits, the carry among them.
    bits: usize,
    /// Whether it is a chain of its own, which extends its operands to all its bits, by sign if they are `signed`.
    alone: bool,
    signed: bool,
}

/// The half of each sum bit, and how many registers are before it.
type Place = HashMap<Node, (usize, u32)>;

/// The sum bit `bit` of adder `adder`, in place of the half that it will be.
fn sum_of(adder: usize, bit: usize) -> Node {
    Node::Sum(adder << 8 | bit)
}

/// Adders and their cells, in construction.
pub(super) struct Layout {
    bits: u32,
    stages: u32,
    adders: Vec<Adder>,
    halves: Vec<Half>,
    /// The cells behind which a chain ends.
    ends: Vec<usize>,
}

impl Layout {
    /// Sums modulo 2^`bits`, with `stages` registers between operands and the last one.
    pub(super) fn new(bits: u32, stages: u32) -> Self {
        Self { bits, stages, adders: vec![], halves: vec![], ends: vec![] }
    }

    /// One chain of these halves.
    pub(super) fn of(halves: Vec<Half>) -> Self {
        let mut layout = Self { halves, ..Self::new(0, 0) };
        layout.end(None, 0, &mut Place::new());
        layout
    }

    /// The number of ones among `lanes` lanes from `low` on.
    pub(super) fn count(&mut self, of: &dyn Fn(u32) -> Addend, low: u32, lanes: u32) -> Number {
        match lanes {
            0 => return Number { bits: vec![], range: (0, 0), level: 0 },
            1 => return Number { bits: vec![of(low)], range: (0, 1), level: 0 },
            _ => {}
        }
        let carried = u32::from(lanes > 2);
        let upper = (lanes - carried) / 2;
        let lower = lanes - carried - upper;
        let carry = if carried == 1 { of(low) } else { Addend::zero() };
        let numbers = [self.count(of, low + carried, lower), self.count(of, low + carried + lower, upper)];
        self.adder(carry, numbers, (0, lanes.into()), false)
    }

    /// The sum of two numbers, in a chain of its own.
    pub(super) fn add(&mut self, a: Number, b: Number) -> Number {
        let range = (a.range.0 + b.range.0, a.range.1 + b.range.1);
        self.adder(Addend::zero(), [a, b], range, true)
    }

    fn adder(&mut self, carry: Addend, numbers: [Number; 2], range: (i64, i64), alone: bool) -> Number {
        let level = 1 + numbers.iter().map(|n| n.level).max().unwrap_or(0);
        let bits = Number::width(range).min(self.bits) as usize;
        let operands = numbers.map(|n| n.bits);
        self.adders.push(Adder { level, carry, operands, bits, alone, signed: range.0 < 0 });
        let adder = self.adders.len() - 1;
        Number { bits: (0..bits).map(|bit| Addend::net(sum_of(adder, bit))).collect(), range, level }
    }

    /// The number of registers between the operands and the adders of `level`, of `levels`.
    fn registers(&self, level: u32, levels: u32) -> u32 {
        let cut = |stage: u32| (stage * levels).div_ceil(self.stages + 1);
        (1..=self.stages).filter(|stage| cut(*stage) < level).count() as u32
    }

    /// Lays out the chains. Returns the bits of `sum`, which must come from an adder of the last level.
    pub(super) fn chains(&mut self, sum: &Number) -> Vec<Node> {
        let levels = sum.level;
        let mut order: Vec<usize> = (0..self.adders.len()).collect();
        order.sort_by_key(|adder| self.adders[*adder].level);
        let mut place = Place::new();
        let mut carries: Option<usize> = None;
        let mut stage = 0;
        for adder in order {
            let registers = self.registers(self.adders[adder].level, levels);
            if registers > stage {
                self.end(carries.take(), stage, &mut place);
                stage = registers;
            }
            let first = self.halves.len();
            let Adder { operands, bits, alone, signed, .. } = &self.adders[adder];
            let (bits, alone) = (*bits, *alone);
            let mut halves = Vec::new();
            // A chain begins without a carry.
            let carry = later(Some(&self.adders[adder].carry), registers, &place);
            let begins = first == 2 * self.ends.last().copied().unwrap_or(0);
            let needless = alone || begins && carry.of.is_empty();
            if !needless {
                halves.push(Half::load(&if carry.of.len() > 2 { raw(&carry) } else { carry }));
            }
            if let Some(before) = carries.take() {
                let own = self.adders[before].bits - 1;
                place.insert(sum_of(before, own), (first, self.registers(self.adders[before].level, levels)));
            }
            let width = operands.iter().map(Vec::len).max().unwrap_or(0);
            for bit in 0..if alone { bits } else { width.min(bits) } {
                let [x, y] = [0, 1].map(|of: usize| {
                    let top = if *signed { operands[of].last() } else { None };
                    later(operands[of].get(bit).or(top), registers, &place)
                });
                let half = match (y.follows(&x), x.follows(&y)) {
                    (true, _) => Half::add(&x, &y),
                    (_, true) => Half::add(&y, &x),
                    _ if y.follows(&raw(&x)) => Half::add(&raw(&x), &y),
                    _ => Half::add(&raw(&x), &raw(&y)),
                };
                place.insert(sum_of(adder, bit), (first + halves.len(), registers));
                halves.push(half);
            }
            self.halves.append(&mut halves);
            if alone {
                self.end(None, stage, &mut place);
            } else {
                carries = (width < bits).then_some(adder);
            }
        }
        self.end(carries, stage, &mut place);
        sum.bits.iter().map(|bit| Node::Sum(place[&bit.of[0]].0)).collect()
    }

    /// Ends a chain: carries that go on between two stages would be paths through both.
    fn end(&mut self, carries: Option<usize>, stage: u32, place: &mut Place) {
        if let Some(last) = carries {
            place.insert(sum_of(last, self.adders[last].bits - 1), (self.halves.len(), stage));
            self.halves.push(Half::load(&Addend::zero()));
        }
        if !self.halves.len().is_multiple_of(2) {
            self.halves.push(Half::default());
        }
        self.ends.push(self.halves.len() / 2);
    }
}

/// An operand of an adder that has `registers` registers before it.
fn later(addend: Option<&Addend>, registers: u32, place: &Place) -> Addend {
    match addend.and_then(|addend| Some((addend, addend.of.first()?))) {
        None => Addend::zero(),
        Some((_, sum @ Node::Sum(_))) => {
            let (half, before) = place[sum];
            delayed(Addend::net(Node::Sum(half)), registers - before)
        }
        Some((lane, _)) => delayed(lane.clone(), registers),
    }
}

/// The addend in a LUT of its own, if it is a lane.
fn raw(addend: &Addend) -> Addend {
    match addend.of.first() {
        Some(Node::Operand(..)) => Addend::net(Node::Lane(addend.of.clone())),
        Some(Node::Later(of, registers)) if matches!(**of, Node::Operand(..)) => {
            let own = addend.of.iter().map(|node| match node {
                Node::Later(of, _) => (**of).clone(),
                other => other.clone(),
            });
            delayed(Addend::net(Node::Lane(own.collect())), *registers)
        }
        _ => addend.clone(),
    }
}

impl Placing for Layout {
    /// Two halves in a cell.
    fn place(&self, b: &mut Builder, nets: &mut Nets, outputs: &[Node]) {
        let pins = self.halves.iter().flat_map(|half| half.pins.iter().flatten());
        let used = used(pins.chain(outputs));
        let mut carry = None;
        for cell in 0..self.halves.len() / 2 {
            let pair = &self.halves[2 * cell..2 * cell + 2];
            let kind = Cell {
                halves: [0, 1].map(|h| {
                    (pair[h].table, [0, 1, 2, 3].map(|pin| pair[h].pins[pin].is_some()), pair[h].ones)
                }),
                sums: [2 * cell, 2 * cell + 1].map(|half| used.contains(&half)),
                carried: carry.is_some(),
                carries: !self.ends.contains(&(cell + 1)),
            };
            let unit = b.instance(&format!("u_carry_{cell}"), &kind.module());
            for half in 0..2 {
                if kind.sums[half] {
                    nets.set(2 * cell + half, b.out(unit, &format!("S{half}")));
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
