//! Registers: which of them are constant or equal to others, and what of the logic before them their cells do.

use std::collections::{HashMap, HashSet};

use super::flat::{Access, Bit, Flat, Kind, ONE, RESET, Ram, Source, Span, ZERO};
use super::logic::Wire;
use super::netlist::Netlist;
use super::ram::{Made, made};
use crate::unit::family::Family;

/// The registers in a row that become a shift register of LUTs, and the most in one LUT.
const LEAST_SHIFT: usize = 3;
const MOST_SHIFT: usize = 32;

fn constant(value: bool) -> Bit {
    if value { ONE } else { ZERO }
}

/// Makes constants of the columns of read-only memories that are the same in all words, and one of columns that are equal where the
/// memory becomes logic.
pub(super) fn join_columns(flat: &mut Flat, family: Family) {
    let mut joins = Vec::new();
    for ram in flat.rams.iter().filter(|ram| ram.writes.is_empty()) {
        let Some(image) = &ram.contents else { continue };
        let column = |at: u32| -> Vec<bool> { image.words.iter().map(|word| word.bit(at)).collect() };
        let mut known: HashMap<Vec<bool>, u32> = HashMap::new();
        let (mut constants, mut equal) = (Vec::new(), Vec::new());
        for at in 0..ram.width {
            let bits = column(at);
            if bits.iter().all(|bit| *bit == bits[0]) {
                constants.push((at, bits[0]));
            } else {
                equal.push((at, *known.entry(bits).or_insert(at)));
            }
        }
        let sizes = [ram.width - constants.len() as u32, ram.depth, 0, ram.reads.len() as u32];
        let logic = made(family, sizes, ram.block) == Made::Logic;
        for port in &ram.reads {
            joins.extend(constants.iter().map(|(at, value)| (port.data.bit(*at), constant(*value))));
            let equal = equal.iter().filter(|(at, first)| logic && at != first);
            joins.extend(equal.map(|(at, first)| (port.data.bit(*at), port.data.bit(*first))));
        }
    }
    for (bit, other) in joins {
        flat.join_when(bit, other, true);
    }
}

/// Finds bits that are constant or that a constant selects, registers that never change, and registers that are equal to others. Whether
/// there were any.
pub(super) fn simplify(netlist: &mut Netlist) -> bool {
    let selected = selected(netlist);
    registers(netlist) || selected
}

/// Makes another name of each bit of an operation that is constant, or that a constant selects.
fn selected(netlist: &mut Netlist) -> bool {
    let mut joins = Vec::new();
    for op in netlist.flat.ops.iter().filter(|op| op.kind.bitwise()) {
        for (at, bit) in op.out.bits().enumerate() {
            let Some(wire) = netlist.made_of(bit) else { continue };
            let of = |number: usize| op.operands[number].bit((at as u32).min(op.operands[number].width - 1));
            let select =
                (op.kind == Kind::Mux).then(|| netlist.flat.find(of(0))).filter(|select| *select <= ONE);
            let other =
                wire.constant().map(constant).or(select.map(|select| of(if select == ONE { 1 } else { 2 })));
            if let Some(other) = other {
                let flat = &netlist.flat;
                let late =
                    (0..op.operands.len()).map(of).any(|bit| flat.early(bit) > ONE && flat.find(bit) <= ONE);
                joins.push((bit, other, late));
            }
        }
    }
    let some = !joins.is_empty();
    joins.into_iter().for_each(|(bit, other, late)| netlist.flat.join_when(bit, other, late));
    some
}

/// What a register loads, when, and its value after a reset.
type Loading = (Wire, Option<Wire>, Option<bool>);

/// Makes another name of each register that never changes, or is equal to another.
fn registers(netlist: &mut Netlist) -> bool {
    let mut known: HashMap<Loading, (Bit, Bit)> = HashMap::new();
    let mut joins: Vec<(Bit, Bit, bool)> = Vec::new();
    for index in 0..netlist.flat.flops.len() {
        let flop = &netlist.flat.flops[index];
        let (q, next, enable, reset) = (flop.q, flop.next, flop.enable, flop.reset.clone());
        for (i, q) in q.bits().enumerate() {
            if !netlist.live[q as usize] || netlist.flat.find(q) != q {
                continue;
            }
            let reset = reset.as_ref().map(|bits| bits.bit(i as u32));
            let d = netlist.wire(next.bit(i as u32));
            let early = netlist.flat.early(next.bit(i as u32));
            let enable = enable.map(|bit| netlist.wire(bit)).filter(|wire| *wire != Wire::ONE);
            let stays = d == netlist.wire(q) || enable == Some(Wire::ZERO);
            match d.constant() {
                _ if stays => joins.push((q, constant(reset.unwrap_or(false)), false)),
                Some(value) if reset.is_none_or(|reset| reset == value) => {
                    joins.push((q, constant(value), early > ONE));
                }
                _ => {
                    let (first, its) = *known.entry((d, enable, reset)).or_insert((q, early));
                    if first != q {
                        joins.push((q, first, its != early));
                    }
                }
            }
        }
    }
    let some = !joins.is_empty();
    joins.into_iter().for_each(|(bit, other, late)| netlist.flat.join_when(bit, other, late));
    some
}

/// Counts the registers, and makes what LUTs must give to them.
pub(super) fn place(netlist: &mut Netlist) {
    let shifting = if netlist.family == Family::Xilinx7 { shifting(netlist) } else { HashSet::new() };
    for index in 0..netlist.flat.flops.len() {
        let flop = &netlist.flat.flops[index];
        let (q, next, enable, reset, owner) =
            (flop.q, flop.next, flop.enable, flop.reset.clone(), flop.owner);
        netlist.logic.owner = owner;
        for (i, q) in q.bits().enumerate() {
            if netlist.live[q as usize] && netlist.flat.find(q) == q {
                netlist.cells[owner as usize].ff += u64::from(!shifting.contains(&q));
                let reset = reset.as_ref().map(|bits| bits.bit(i as u32));
                register(netlist, q, next.bit(i as u32), enable, reset);
            }
        }
    }
}

/// The registers that are in shift registers of LUTs: three or more in a row with one enable and no reset, of which only the last is
/// read elsewhere. Counts the LUTs.
fn shifting(netlist: &mut Netlist) -> HashSet<Bit> {
    let flat = &netlist.flat;
    let mut before: HashMap<Bit, (Bit, Option<Bit>)> = HashMap::new();
    for flop in flat.flops.iter().filter(|flop| flop.reset.is_none()) {
        for (q, next) in flop.q.bits().zip(flop.next.bits()).filter(|(q, _)| netlist.live[*q as usize]) {
            before.insert(q, (flat.find(next), flop.enable.map(|bit| flat.find(bit))));
        }
    }
    let row = |q: Bit| {
        let mut row = vec![q];
        let mut at = q;
        while let Some((next, enable)) = before.get(&at)
            && before.get(next).is_some_and(|(_, other)| other == enable)
            && netlist.uses[*next as usize] == 1
        {
            row.push(*next);
            at = *next;
        }
        row
    };
    let inner: HashSet<Bit> = before.keys().flat_map(|q| row(*q).split_off(1)).collect();
    let ends = before.keys().filter(|q| !inner.contains(q) && flat.find(**q) == **q);
    let rows: Vec<Vec<Bit>> = ends.map(|q| row(*q)).filter(|row| row.len() >= LEAST_SHIFT).collect();
    for row in &rows {
        if let Source::Flop(flop) = netlist.flat.sources[row[0] as usize] {
            let owner = netlist.flat.flops[flop as usize].owner as usize;
            netlist.cells[owner].lut += row.len().div_ceil(MOST_SHIFT) as u64;
        }
    }
    rows.into_iter().flatten().collect()
}

/// A register of one bit. Multiplexers before it that keep its value, or clear it, become its enable and its reset.
fn register(netlist: &mut Netlist, q: Bit, next: Bit, enable: Option<Bit>, reset: Option<bool>) {
    let both = enable.is_some() && reset.is_some();
    let (mut value, mut resets, mut enables) = (reset, Vec::new(), Vec::new());
    let mut d = netlist.flat.find(next);
    while let Source::Op(op) = netlist.flat.sources[d as usize] {
        let op = &netlist.flat.ops[op as usize];
        if op.kind != Kind::Mux {
            break;
        }
        let at = d - op.out.bit(0);
        let of = |bit| netlist.flat.find(bit);
        let (select, on, off) =
            (of(op.operands[0].bit(0)), of(op.operands[1].bit(at)), of(op.operands[2].bit(at)));
        let clears = |bit: Bit| !both && bit <= ONE && value.is_none_or(|value| constant(value) == bit);
        if clears(on) && off > ONE {
            (value, d) = (Some(on == ONE), off);
            resets.push((select, true));
        } else if clears(off) && on > ONE {
            (value, d) = (Some(off == ONE), on);
            resets.push((select, false));
        } else if on == q {
            d = off;
            enables.push((select, false));
        } else if off == q {
            d = on;
            enables.push((select, true));
        } else {
            break;
        }
    }
    let mut signal = |(bit, on): (Bit, bool)| {
        let wire = netlist.wire(bit);
        if on { wire } else { !wire }
    };
    let own = enable.map(|bit| signal((bit, true)));
    let enables: Vec<Wire> = enables.into_iter().map(&mut signal).collect();
    let resets: Vec<Wire> = resets.into_iter().map(&mut signal).collect();
    let own_reset = reset.map(|_| signal((RESET, true)));
    let inferred = !resets.is_empty();
    let mut clear =
        netlist.logic.tree(resets.into_iter().chain(own_reset).collect(), Wire::ZERO, |l, a, b| l.or(a, b));
    let mut load =
        netlist.logic.tree(own.into_iter().chain(enables).collect(), Wire::ONE, |l, a, b| l.and(a, b));
    // On iCE40 the enable goes before the reset; elsewhere the reset does.
    let gated = inferred && own.is_some();
    if clear != Wire::ZERO && load != Wire::ONE {
        match netlist.family {
            Family::Ice40 if !gated => load = netlist.logic.or(load, clear),
            Family::Ice40 => {}
            _ if gated => clear = netlist.logic.and(load, clear),
            _ => {}
        }
    }
    let d = netlist.wire(d);
    // Enables of ECP5 are of either polarity.
    if netlist.family == Family::Ecp5 && netlist.roots.contains(&!load) {
        load = !load;
    }
    for wire in [d, load, clear] {
        netlist.root(wire);
    }
}

/// Makes what surrounds memories: decoders of addresses, multiplexers, registers.
pub(super) fn around_memories(netlist: &mut Netlist) {
    for index in 0..netlist.made.len() {
        if let Some((columns, made)) = netlist.made[index].clone() {
            netlist.logic.owner = netlist.flat.rams[index].owner;
            read(netlist, index, &columns, made);
            write(netlist, index, &columns, made);
        }
    }
}

/// The words that a read port without a clock chooses from: constants, or what cells and flip-flops give.
fn words(netlist: &mut Netlist, index: usize, column: u32, ranges: u32) -> Vec<Wire> {
    let ram = &netlist.flat.rams[index];
    match &ram.contents {
        Some(image) if ram.writes.is_empty() => {
            let bits = image.words.iter().map(|word| word.bit(column));
            bits.map(|bit| if bit { Wire::ONE } else { Wire::ZERO }).collect()
        }
        _ => (0..ranges).map(|_| netlist.logic.leaf()).collect(),
    }
}

/// The number of ranges of addresses, and the address bits that choose between them.
fn ranges(address: &[Wire], depth: u32, made: Made) -> (u32, Vec<Wire>) {
    match made {
        Made::Block(shape) | Made::Distributed(shape) => {
            let inside = shape.words.trailing_zeros() as usize;
            (shape.ranges, address.get(inside..).unwrap_or(&[]).to_vec())
        }
        Made::Logic => (depth, address.to_vec()),
    }
}

fn accesses(ports: &[Access]) -> Vec<(Span, Bit, Span)> {
    ports.iter().map(|port| (port.address, port.enable, port.data)).collect()
}

fn read(netlist: &mut Netlist, index: usize, columns: &[u32], made: Made) {
    let Ram { depth, owner, .. } = netlist.flat.rams[index];
    for (address, enable, _) in accesses(&netlist.flat.rams[index].reads) {
        let address = netlist.wires(address.bits());
        let enable = netlist.wire(enable);
        netlist.root(enable);
        if made != Made::Logic {
            address.iter().for_each(|wire| netlist.root(*wire));
        }
        if matches!(made, Made::Block(_)) {
            continue;
        }
        let (ranges, select) = ranges(&address, depth, made);
        netlist.cells[owner as usize].ff += columns.len() as u64;
        for column in columns {
            let words = words(netlist, index, *column, ranges);
            let word = netlist.logic.choose(&select, words);
            netlist.root(word);
        }
    }
}

fn write(netlist: &mut Netlist, index: usize, columns: &[u32], made: Made) {
    let Ram { depth, owner, .. } = netlist.flat.rams[index];
    for (address, enable, data) in accesses(&netlist.flat.rams[index].writes) {
        let address = netlist.wires(address.bits());
        let enable = netlist.wire(enable);
        let data = netlist.wires(columns.iter().map(|column| data.bit(*column)));
        let (ranges, select) = ranges(&address, depth, made);
        let cells = &mut netlist.cells[owner as usize];
        match made {
            Made::Block(_) => {}
            Made::Distributed(shape) => cells.lut_ram += shape.cells,
            Made::Logic => cells.ff += u64::from(depth) * columns.len() as u64,
        }
        if made != Made::Logic {
            address.iter().for_each(|wire| netlist.root(*wire));
        }
        data.iter().for_each(|wire| netlist.root(*wire));
        for chosen in netlist.logic.decode(&select, ranges as usize) {
            let wire = netlist.logic.and(chosen, enable);
            netlist.root(wire);
        }
    }
}
