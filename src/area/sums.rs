//! Sums: which additions yosys joins into one, and what it makes of them.
//!
//! The rules are those of its passes `alumacc` and `maccmap`: a sum that only one other sum reads becomes a part of it; two operands and
//! a carry are one adder, more are compressed by full adders first.

use std::collections::BTreeSet;

use super::flat::{Bit, Flat, Kind, ONE, Op, Source, ZERO};
use super::logic::{Logic, Wire};

/// Bits that are added or subtracted, the least significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub bits: Vec<Bit>,
    pub subtracted: bool,
}

/// The terms of every sum, by the index of its operation; none where it is a part of another, or nothing reads it.
#[derive(Debug)]
pub(super) struct Sums {
    pub terms: Vec<Vec<Term>>,
    /// Bits of the sum that something reads, up to the highest.
    pub widths: Vec<usize>,
}

fn output(flat: &Flat, op: &Op, width: usize) -> Vec<Bit> {
    op.out.bits().take(width).map(|bit| flat.early(bit)).collect()
}

/// The bits without zeros on top.
pub(super) fn trimmed(flat: &Flat, bits: impl Iterator<Item = Bit>) -> Vec<Bit> {
    let mut bits: Vec<Bit> = bits.map(|bit| flat.early(bit)).collect();
    while bits.last() == Some(&ZERO) {
        bits.pop();
    }
    bits
}

/// Whether the sum of terms of these widths may need more than `width` bits.
fn may_overflow(terms: &[Term], width: usize) -> bool {
    if terms.iter().any(|term| term.subtracted) {
        return true;
    }
    let most: f64 = terms.iter().map(|term| (term.bits.len() as f64).exp2() - 1.0).sum();
    most >= (width as f64).exp2()
}

impl Sums {
    /// `uses` says how often each bit is read, and `live` whether it is.
    pub fn new(flat: &Flat, live: &[bool], uses: &[u32]) -> Self {
        let width = |op: &Op| op.out.bits().rposition(|bit| live[bit as usize]).map_or(0, |top| top + 1);
        let widths: Vec<usize> =
            flat.ops.iter().map(|op| if op.kind.sum() { width(op) } else { 0 }).collect();
        let term = |(index, bits): (usize, _), op: &Op, width: usize| Term {
            bits: trimmed(flat, Iterator::take(bits, width)),
            subtracted: op.kind == Kind::Sub && index == 1,
        };
        let mut terms: Vec<Vec<Term>> = Vec::new();
        for (op, width) in flat.ops.iter().zip(&widths) {
            let operands = op.operands.iter().map(|operand| operand.bits()).enumerate();
            terms.push(if *width > 0 {
                operands.map(|operand| term(operand, op, *width)).collect()
            } else {
                vec![]
            });
        }
        let mut sums = Self { terms, widths };
        // An operation comes after the operations that it reads only within a module: until nothing changes.
        while (0..flat.ops.len()).filter(|op| sums.absorb(flat, uses, *op)).count() > 0 {}
        sums
    }

    /// The sum that the term is all of, if the sum with index `reader` may have it as a part.
    fn part(&self, flat: &Flat, uses: &[u32], reader: usize, term: &Term) -> Option<usize> {
        let Source::Op(index) = flat.sources[*term.bits.first()? as usize] else { return None };
        let index = index as usize;
        let (op, width) = (&flat.ops[index], self.widths[index]);
        let whole = || output(flat, op, width) == term.bits;
        if self.terms[index].is_empty() || index == reader || width != term.bits.len() || !whole() {
            return None;
        }
        let once = term.bits.iter().all(|bit| uses[*bit as usize] <= 1);
        let exact = width == self.widths[reader] || !may_overflow(&self.terms[index], width);
        (once && exact).then_some(index)
    }

    fn absorb(&mut self, flat: &Flat, uses: &[u32], reader: usize) -> bool {
        let mut changed = false;
        let mut at = 0;
        while let Some(term) = self.terms[reader].get(at) {
            let Some(part) = self.part(flat, uses, reader, term) else {
                at += 1;
                continue;
            };
            let subtracted = term.subtracted;
            let mut terms = std::mem::take(&mut self.terms[part]);
            terms.iter_mut().for_each(|term| term.subtracted ^= subtracted);
            self.terms[reader].swap_remove(at);
            self.terms[reader].append(&mut terms);
            changed = true;
        }
        changed
    }
}

/// An adder of two operands and a carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Adder {
    pub a: Vec<Wire>,
    pub b: Vec<Wire>,
    pub carry: Wire,
    /// Whether the second operand is complemented.
    pub inverted: bool,
}

impl Adder {
    /// The adder of terms, if two operands and a carry are enough. Operands are extended to `width` bits.
    pub fn of(terms: &[(Vec<(Wire, Bit)>, bool)], width: usize) -> Option<Self> {
        let (mut a, mut b, mut bits, mut inverted) = (None, None, Vec::new(), false);
        for (wires, subtracted) in terms {
            let wires: Vec<Wire> = wires.iter().map(|(wire, _)| *wire).collect();
            if wires.len() == 1 && !subtracted {
                bits.push(wires[0]);
            } else if a.is_some() || *subtracted {
                if b.is_some() {
                    return None;
                }
                (b, inverted) = (Some(wires), *subtracted);
            } else {
                a = Some(wires);
            }
        }
        bits.reverse();
        let a = a.or_else(|| Some(vec![bits.pop()?]));
        let b = b.or_else(|| Some(vec![bits.pop()?]));
        if inverted {
            bits.push(Wire::ONE);
        }
        if bits.len() > 1 {
            return None;
        }
        let extended = |wires: Option<Vec<Wire>>| {
            let mut wires = wires.unwrap_or_default();
            wires.resize(width, Wire::ZERO);
            wires
        };
        Some(Self { a: extended(a), b: extended(b), carry: bits.pop().unwrap_or(Wire::ZERO), inverted })
    }

    /// Full adders that leave two operands of the terms, and the adder of these. A bit goes with each wire: it tells wires apart that are
    /// found to be equal only later.
    pub fn compressed(logic: &mut Logic, terms: &[(Vec<(Wire, Bit)>, bool)], width: usize) -> Self {
        let mut columns: Vec<BTreeSet<(Wire, Bit, bool)>> = vec![BTreeSet::new(); width];
        let mut add = |wire: (Wire, Bit, bool), column: usize| {
            let equal = |column: &usize| columns[*column].contains(&wire);
            let end = (column..width).find(|column| !equal(column));
            (column..end.unwrap_or(width)).for_each(|column| {
                columns[column].remove(&wire);
            });
            if let Some(end) = end {
                columns[end].insert(wire);
            }
        };
        for (wires, subtracted) in terms {
            for column in 0..width {
                let (wire, bit) = wires.get(column).copied().unwrap_or((Wire::ZERO, ZERO));
                let wire = if *subtracted { !wire } else { wire };
                if wire != Wire::ZERO || bit > ONE {
                    add((wire, bit, *subtracted), column);
                }
            }
            if *subtracted {
                add((Wire::ONE, ONE, false), 0);
            }
        }
        let (mut words, mut carries): (Vec<Vec<Wire>>, Vec<Wire>) = (Vec::new(), Vec::new());
        while columns.iter().any(|column| !column.is_empty()) {
            let word =
                columns.iter_mut().map(|column| column.pop_first().map_or(Wire::ZERO, |first| first.0));
            words.push(word.collect());
            // A wire of weight 2^i goes into 2^i carries of full adders and of the last adder, where there is room.
            loop {
                let deepest = columns.iter().map(BTreeSet::len).max().unwrap_or(0);
                let last = columns.iter().rposition(|column| column.len() == deepest).unwrap_or(0);
                let room = (words.len() - 1).saturating_sub(carries.len());
                let chosen = || (0..=last).filter(|column| columns[*column].len() == deepest);
                if deepest == 0 || last > 4 || chosen().map(|column| 1 << column).sum::<usize>() > room {
                    break;
                }
                for column in chosen().collect::<Vec<_>>() {
                    let (wire, ..) = columns[column].pop_first().expect("deepest");
                    carries.extend(std::iter::repeat_n(wire, 1 << column));
                }
            }
        }
        while words.len() > 2 {
            let mut next = Vec::new();
            let mut groups = words.chunks_exact(3);
            for group in groups.by_ref() {
                let full = (0..width).map(|i| logic.full_adder(group[0][i], group[1][i], group[2][i]));
                let (sums, mut up): (Vec<Wire>, Vec<Wire>) = full.unzip();
                up.pop();
                up.insert(0, carries.pop().unwrap_or(Wire::ZERO));
                next.extend([sums, up]);
            }
            next.extend(groups.remainder().iter().cloned());
            words = next;
        }
        words.resize(2, vec![Wire::ZERO; width]);
        let b = words.pop().expect("two words");
        let a = words.pop().expect("two words");
        Self { a, b, carry: carries.pop().unwrap_or(Wire::ZERO), inverted: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of gates, given those of the leaves in order.
    fn values(logic: &Logic, leaves: &[bool]) -> Vec<bool> {
        use super::super::logic::Gate;
        let mut leaves = [false].iter().chain(leaves);
        let mut values: Vec<bool> = Vec::new();
        for gate in &logic.gates {
            let of = |wire: Wire| values[wire.gate()] ^ wire.complemented();
            let value = match *gate {
                Gate::Leaf => *leaves.next().expect("a leaf"),
                Gate::And(a, b) => of(a) & of(b),
                Gate::Xor(a, b) => of(a) ^ of(b),
                Gate::Mux(select, on, off) => {
                    if of(select) {
                        of(on)
                    } else {
                        of(off)
                    }
                }
            };
            values.push(value);
        }
        values
    }

    fn number(wires: &[Wire], values: &[bool]) -> u64 {
        let bit = |wire: &Wire| u64::from(values[wire.gate()] ^ wire.complemented());
        wires.iter().enumerate().map(|(i, wire)| bit(wire) << i).sum()
    }

    /// Four terms, one of them subtracted, in 6 bits: full adders leave two operands with the same sum.
    #[test]
    fn compressed_terms_keep_their_sum() {
        let mut logic = Logic::new();
        let sizes = [3, 1, 2, 3];
        let terms: Vec<(Vec<(Wire, Bit)>, bool)> = sizes
            .iter()
            .enumerate()
            .map(|(index, size)| ((0..*size).map(|_| (logic.leaf(), 3)).collect(), index == 3))
            .collect();
        let adder = Adder::compressed(&mut logic, &terms, 6);
        for case in 0..1_u32 << 9 {
            let leaves: Vec<bool> = (0..9).map(|bit| case >> bit & 1 == 1).collect();
            let values = values(&logic, &leaves);
            let of = |wires: &[(Wire, Bit)]| {
                number(&wires.iter().map(|(wire, _)| *wire).collect::<Vec<_>>(), &values)
            };
            let sum = of(&terms[0].0) + of(&terms[1].0) + of(&terms[2].0) + 64 - of(&terms[3].0);
            let found =
                number(&adder.a, &values) + number(&adder.b, &values) + number(&[adder.carry], &values);
            assert_eq!(found % 64, sum % 64, "case {case}");
        }
    }

    #[test]
    fn two_operands_and_a_carry_are_an_adder() {
        let mut logic = Logic::new();
        let mut term = |size: usize, subtracted| -> (Vec<(Wire, Bit)>, bool) {
            ((0..size).map(|_| (logic.leaf(), 3)).collect(), subtracted)
        };
        let terms = [term(3, false), term(4, false), term(1, false), term(3, true)];
        assert!(
            Adder::of(&terms[..3], 5).is_some_and(|adder| adder.carry == terms[2].0[0].0 && !adder.inverted)
        );
        assert!(Adder::of(&terms[2..], 5).is_some_and(|adder| adder.carry == Wire::ONE && adder.inverted));
        assert_eq!(Adder::of(&terms[1..], 5), None, "two operands, a carry and the carry of the subtraction");
    }
}
