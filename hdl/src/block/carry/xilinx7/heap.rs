//! Bits of equal weight in columns, and the LUTs and carry cells that add them.

use super::cell::{BITS, Carry, From, INPUTS, Lut};
use crate::Builder;
use crate::block::carry::Placing;
use crate::block::carry::nets::{Addend, Nets, Node, delayed, used};

/// Pairs of lanes whose full adders are one behind the other.
const SEGMENT: usize = 5;

/// Levels of cells between two registers.
const LEVELS: u32 = 2;

/// Bits that a column may have before the last adder. Three operands and one bit to begin with: [`Heap::add`].
const ROWS: usize = 3;

/// Inputs of a LUT with two outputs of the same inputs.
const SHARED: usize = INPUTS - 1;

/// A function of so many bits, the first the least significant.
type Function<'a> = &'a dyn Fn(u32) -> bool;

/// A bit of a carry chain: the inputs S and DI of its cell; without DI that is 0.
type Bit = (Node, Option<Node>);

/// A cell, and the number of its first output.
enum Cell {
    /// Outputs of six inputs and of five.
    Lut { inputs: Vec<Node>, table: u64, first: usize },
    /// For each bit the sum and the carry behind it. The first carry, if it is not 0, is that of the cell before or another net.
    Carry { carry: Option<Node>, from: From, bits: Vec<Bit>, first: usize },
}

/// Cells in construction. Column i has bits of weight 2^i; the sum of all is what is computed, modulo 2^columns.
pub(super) struct Heap {
    columns: Vec<Vec<Node>>,
    stages: u32,
    /// The last level of cells.
    level: u32,
    cells: Vec<Cell>,
    /// The level of each output.
    levels: Vec<u32>,
}

/// Whether an odd number of bits is 1.
fn odd(bits: u32) -> bool {
    bits.count_ones() % 2 == 1
}

/// Whether two bits or more are 1.
fn several(bits: u32) -> bool {
    bits.count_ones() > 1
}

impl Heap {
    /// No bits, a sum of `bits` bits, and so many registers between the operands and the sum.
    pub(super) fn new(bits: u32, stages: u32) -> Self {
        let columns = vec![vec![]; bits as usize];
        Self { columns, stages, level: 0, cells: vec![], levels: vec![] }
    }

    /// The registers that its levels need.
    pub(super) fn registers_needed(mut self) -> u32 {
        self.sum();
        self.level / LEVELS
    }

    /// Adds a bit of weight 2^`column`.
    pub(super) fn push(&mut self, column: usize, bit: Node) {
        if let Some(column) = self.columns.get_mut(column) {
            column.push(bit);
        }
    }

    /// Adds lanes of weight 2^`column`: full adders of two lanes and of the sum of the one before, whose carries have twice the
    /// weight. Lanes of one operand are bits already.
    pub(super) fn count(&mut self, lanes: &[Addend], column: usize) {
        if lanes.iter().all(|lane| lane.of.len() < 2) {
            lanes.iter().for_each(|lane| self.push(column, lane.of[0].clone()));
            return;
        }
        self.level = 1;
        let pairs: Vec<&[Addend]> = lanes.chunks(2).collect();
        let segments = pairs.len().div_ceil(SEGMENT);
        for segment in pairs.chunks(pairs.len().div_ceil(segments)) {
            let mut parity = None;
            for pair in segment {
                let (sum, carry) = self.full_adder(parity, pair);
                carry.into_iter().for_each(|carry| self.push(column + 1, carry));
                parity = Some(sum);
            }
            parity.into_iter().for_each(|parity| self.push(column, parity));
        }
    }

    /// The sum and the carry of one lane or two, and of a bit `before` them.
    fn full_adder(&mut self, before: Option<Node>, lanes: &[Addend]) -> (Node, Option<Node>) {
        let mut inputs: Vec<Node> = lanes.iter().flat_map(|lane| lane.of.clone()).collect();
        let operands = inputs.len();
        // How many lanes are 1, by their operands.
        let ones = |bits: u32| {
            let (x, rest) = lanes.split_first().expect("a lane");
            let of = |lane: &Addend, low: usize| u32::from(lane.value((bits >> low) as u16));
            of(x, 0) + rest.iter().map(|y| of(y, x.of.len())).sum::<u32>()
        };
        let shared = operands + usize::from(before.is_some()) <= SHARED;
        if shared {
            inputs.extend(before.clone());
            let counted = |bits: u32| ones(bits) + (bits >> operands & 1);
            let carries = lanes.len() + usize::from(before.is_some()) > 1;
            let (sum, carry) =
                self.lut(&inputs, &|bits| counted(bits) % 2 == 1, Some(&|bits| counted(bits) > 1));
            return (sum, carries.then_some(carry));
        }
        let [x, y] = lanes else { unreachable!("one lane fits a LUT") };
        // The lower half of the table is x, if y is 0 where its last operand is.
        let falls = operands == INPUTS && (0..1 << (y.of.len() - 1)).all(|bits| !y.value(bits));
        if !falls {
            let (own, _) = self.lut(&x.of, &|bits| x.value(bits as u16), None);
            return self.full_adder(before, &[Addend::net(own), y.clone()]);
        }
        let (differs, x) = self.lut(&inputs, &|bits| ones(bits) == 1, None);
        let begins = before.is_some();
        let (sums, carry) = self.chain(before, &[(differs.clone(), Some(x))]);
        (if begins { sums[0].clone() } else { differs }, Some(carry))
    }

    /// Whether a column has too many bits for the last adder.
    fn crowded(&self) -> bool {
        let lowest = self.columns.iter().position(|column| column.len() > 1);
        let rows = |(at, column): (usize, &Vec<Node>)| column.len() > ROWS + usize::from(Some(at) == lowest);
        self.columns.iter().enumerate().any(rows)
    }

    /// Adds the bits of each column until there is one in each. Returns the sum, behind all registers.
    pub(super) fn sum(&mut self) -> Vec<Node> {
        while self.crowded() {
            self.compress();
        }
        if let Some(lowest) = self.columns.iter().position(|column| column.len() > 1) {
            self.level += 1;
            let alone = self.columns[lowest + 1..].iter().all(Vec::is_empty);
            if alone && self.columns[lowest].len() <= ROWS {
                let column = std::mem::take(&mut self.columns[lowest]);
                let (sum, carry) = self.lut(&column, &odd, Some(&several));
                self.push(lowest, sum);
                self.push(lowest + 1, carry);
            } else {
                self.add(lowest);
            }
        }
        let level = LEVELS * self.stages;
        let bit =
            |column: &Vec<Node>| column.first().map_or(Node::Constant(false), |bit| self.at(bit, level));
        self.columns.iter().map(bit).collect()
    }

    /// One level of counters: six bits of a column become one bit of it and one of each of the next two. Counters of a column and of
    /// the next but one share a chain. Of bits that are left over, three become two where the column would have too many.
    fn compress(&mut self) {
        self.level += 1;
        let width = self.columns.len();
        let columns = std::mem::replace(&mut self.columns, vec![vec![]; width]);
        let mut chains: Vec<(usize, Vec<Bit>)> = Vec::new();
        // Bits that a column gets, those of chains among them.
        let mut coming = vec![0; width + 3];
        for (at, mut column) in columns.into_iter().enumerate() {
            while column.len() >= INPUTS {
                let six: Vec<Node> = column.drain(..INPUTS).collect();
                let bits = self.counter(&six, at);
                let below = chains.iter().position(|(low, bits)| low + bits.len() == at);
                match below {
                    Some(chain) => {
                        chains[chain].1.extend(bits);
                        coming[at] -= 1;
                    }
                    None => chains.push((at, bits)),
                }
                (0..=2).for_each(|i| coming[at + i] += 1);
            }
            let rows = ROWS + usize::from(coming[..at].iter().all(|bits| *bits <= 1));
            while column.len() >= 3 && coming[at] + column.len() > rows {
                let three: Vec<Node> = column.drain(..3).collect();
                let (sum, carry) = self.lut(&three, &odd, Some(&several));
                self.push(at, sum);
                self.push(at + 1, carry);
                coming[at] += 1;
                coming[at + 1] += 1;
            }
            coming[at] += column.len();
            column.into_iter().for_each(|bit| self.push(at, bit));
        }
        for (low, bits) in chains {
            if let [(alone, _)] = bits.as_slice() {
                self.push(low, alone.clone());
                continue;
            }
            let (sums, carry) = self.chain(None, &bits);
            let sums = sums.into_iter().chain([carry]);
            sums.enumerate().for_each(|(i, bit)| self.push(low + i, bit));
        }
    }

    /// The two bits of a chain that count six bits, of which the second is needed only if there is a column for it.
    fn counter(&mut self, six: &[Node], column: usize) -> Vec<Bit> {
        let (parity, _) = self.lut(six, &odd, None);
        let mut bits = vec![(parity, Some(self.at(&six[SHARED], self.level)))];
        if column + 1 < self.columns.len() {
            let two = |bits: u32| matches!(bits.count_ones(), 2 | 3);
            let (two, four) = self.lut(&six[..SHARED], &two, Some(&|bits| bits.count_ones() > 3));
            bits.push((two, Some(four)));
        }
        bits
    }

    /// The last adder, from column `lowest` on: of three operands, whose carries of one column are added in the next one. The lowest
    /// column has room for a fourth bit in their place.
    fn add(&mut self, lowest: usize) {
        let columns = self.columns.split_off(lowest);
        let highest = columns.iter().rposition(|column| !column.is_empty()).unwrap_or(0);
        let mut saved: Option<Node> = None;
        let mut bits: Vec<Bit> = Vec::new();
        let last = columns.len() - 1;
        for (at, mut column) in columns.into_iter().enumerate() {
            if saved.is_none() && column.len() > ROWS {
                saved = column.pop();
            }
            if at > highest && saved.is_none() {
                break;
            }
            let (own, before) = (column.len() as u32, saved.take());
            column.extend(before.clone());
            let carries = move |bits: u32| several(bits & ((1 << own) - 1));
            // What is added to the sum of the column's own bits, which are two or more where they have a carry.
            let added = match (own, before) {
                (2, None) => {
                    let (sum, one) = self.lut(&column, &odd, Some(&|bits| bits & 1 == 1));
                    bits.push((sum, Some(one)));
                    continue;
                }
                (0, _) => None,
                (_, before) => before.map(|before| self.at(&before, self.level)),
            };
            let has_carry = own > 1 && at < last;
            let (sum, carry) = self.lut(&column, &odd, has_carry.then_some(&carries));
            saved = has_carry.then_some(carry);
            bits.push((sum, added));
        }
        let (sums, carry) = self.chain(None, &bits);
        self.columns.extend(sums.into_iter().chain([carry]).map(|bit| vec![bit]));
        self.columns.resize(lowest + last + 1, vec![]);
    }

    /// A LUT in the last level. Its outputs: of all inputs, and of the first five. With five inputs or fewer, `five` is a function of
    /// its own; with six, the second output is the first function where the sixth input is 0.
    pub(super) fn lut(&mut self, of: &[Node], six: Function<'_>, five: Option<Function<'_>>) -> (Node, Node) {
        // Inputs that never change are part of the functions.
        let is_constant = |node: &Node| matches!(node, Node::Constant(_));
        if of.iter().any(is_constant) {
            let kept: Vec<Node> = of.iter().filter(|node| !is_constant(node)).cloned().collect();
            let all = |bits: u32| {
                let mut next = 0;
                let value = |node: &Node| match node {
                    Node::Constant(one) => *one,
                    _ => {
                        next += 1;
                        bits >> (next - 1) & 1 == 1
                    }
                };
                of.iter().map(value).enumerate().map(|(i, one)| u32::from(one) << i).sum()
            };
            let own_five = |bits: u32| five.is_some_and(|five| five(all(bits)));
            return self.lut(&kept, &|bits| six(all(bits)), five.is_some().then_some(&own_five));
        }
        let own = (1 << of.len()) - 1;
        let value = |index: &u64| {
            let bits = *index as u32;
            match five {
                _ if of.len() == INPUTS => six(bits),
                Some(five) if bits >> SHARED == 0 => five(bits & own),
                _ => six(bits & own),
            }
        };
        let table = (0..1 << INPUTS).filter(value).map(|index| 1 << index).sum();
        let inputs = of.iter().map(|node| self.at(node, self.level)).collect();
        let first = self.outputs(2);
        self.cells.push(Cell::Lut { inputs, table, first });
        (Node::Sum(first), Node::Sum(first + 1))
    }

    /// A carry chain in the last level, which begins with a carry. Returns its sums, and the carry behind them.
    pub(super) fn chain(&mut self, begins: Option<Node>, bits: &[Bit]) -> (Vec<Node>, Node) {
        let (mut sums, mut carry) = (Vec::new(), Node::Constant(false));
        let from = if begins.is_some() { From::Net } else { From::Nothing };
        let mut before = (begins.map(|node| self.at(&node, self.level)), from);
        for own in bits.chunks(BITS) {
            let first = self.outputs(2 * BITS);
            let (begins, from) = before;
            self.cells.push(Cell::Carry { carry: begins, from, bits: own.to_vec(), first });
            sums.extend((0..own.len()).map(|i| Node::Sum(first + 2 * i)));
            carry = Node::Sum(first + 2 * own.len() - 1);
            before = (Some(carry.clone()), From::Cell);
        }
        (sums, carry)
    }

    /// The numbers of so many outputs of a cell in the last level. Returns the first.
    fn outputs(&mut self, count: usize) -> usize {
        self.levels.resize(self.levels.len() + count, self.level);
        self.levels.len() - count
    }

    /// Registers before a level.
    fn registers(&self, level: u32) -> u32 {
        (level / LEVELS).min(self.stages)
    }

    /// A net as cells of a level take it: behind the registers between.
    fn at(&self, node: &Node, level: u32) -> Node {
        let before = match node {
            Node::Sum(output) => self.registers(self.levels[*output]),
            Node::Constant(_) | Node::Later(..) => return node.clone(),
            _ => 0,
        };
        delayed(Addend::net(node.clone()), self.registers(level) - before).of.remove(0)
    }
}

impl Placing for Heap {
    fn place(&self, b: &mut Builder, nets: &mut Nets, outputs: &[Node]) {
        let inputs = self.cells.iter().flat_map(|cell| -> Vec<&Node> {
            match cell {
                Cell::Lut { inputs, .. } => inputs.iter().collect(),
                Cell::Carry { carry, bits, .. } => {
                    let bits = bits.iter().flat_map(|(s, d)| [Some(s), d.as_ref()]);
                    bits.chain([carry.as_ref()]).flatten().collect()
                }
            }
        });
        let used = used(inputs.chain(outputs));
        let is_used = |output: usize| used.contains(&output);
        for (index, cell) in self.cells.iter().enumerate() {
            let (name, kind, inputs, outputs) = match cell {
                Cell::Lut { inputs, table, first } => {
                    // The sixth input is 1 where the functions are of five.
                    let open = |i: usize| (i >= inputs.len()).then_some(i == SHARED);
                    let outputs = [is_used(*first), is_used(first + 1)];
                    let kind = Lut { table: *table, inputs: std::array::from_fn(open), outputs };
                    let inputs = inputs.iter().enumerate().map(|(i, node)| (format!("I{i}"), node)).collect();
                    let outputs = [(*first, "O6".to_owned()), (first + 1, "O5".to_owned())];
                    ("lut", kind.module(), inputs, outputs.to_vec())
                }
                Cell::Carry { carry, from, bits, first } => {
                    let connected = |i: usize| bits.get(i).map_or([false; 2], |(_, d)| [true, d.is_some()]);
                    let outputs = |i: usize| [2 * i, 2 * i + 1].map(|output| is_used(first + output));
                    let kind = Carry {
                        from: *from,
                        bits: std::array::from_fn(connected),
                        outputs: std::array::from_fn(outputs),
                    };
                    let pin = if *from == From::Cell { "CI" } else { "CYINIT" };
                    let mut inputs: Vec<(String, &Node)> =
                        carry.iter().map(|carry| (pin.to_owned(), carry)).collect();
                    for (i, (s, d)) in bits.iter().enumerate() {
                        inputs.push((format!("S{i}"), s));
                        inputs.extend(d.iter().map(|d| (format!("DI{i}"), d)));
                    }
                    let output =
                        |i: usize| [(first + 2 * i, format!("O{i}")), (first + 2 * i + 1, format!("CO{i}"))];
                    ("carry", kind.module(), inputs, (0..BITS).flat_map(output).collect())
                }
            };
            let unit = b.instance(&format!("u_{name}_{index}"), &kind);
            for (port, node) in inputs {
                let net = nets.get(b, node);
                b.connect(unit, &port, net);
            }
            for (output, port) in outputs.into_iter().filter(|(output, _)| is_used(*output)) {
                nets.set(output, b.out(unit, &port));
            }
        }
    }
}
