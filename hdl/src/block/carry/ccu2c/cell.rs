//! The carry cell of ECP5, and its model.

use std::sync::Arc;

use crate::block::carry::lut;
use crate::{Builder, Module, Primitive, Role};

/// The inputs of a half.
pub(super) const PINS: [char; 4] = ['A', 'B', 'C', 'D'];

/// The pins of a cell.
const ORDER: [(&str, u32); 12] = [
    ("CIN", 1),
    ("A0", 1),
    ("B0", 1),
    ("C0", 1),
    ("D0", 1),
    ("A1", 1),
    ("B1", 1),
    ("C1", 1),
    ("D1", 1),
    ("S0", 1),
    ("S1", 1),
    ("COUT", 1),
];

/// A carry cell of ECP5: two LUTs of four inputs, and a carry through both. With `p` the value of a half's LUT and `g` its value
/// where C and D are 0, the sum is `p` ^ carry, and the carry behind it `p` ? carry : `g`.
pub(super) struct Cell {
    /// For each half its table, which inputs are connected, and which of the others are 1.
    pub(super) halves: [(u16, [bool; 4], u8); 2],
    /// Whether the sums are used.
    pub(super) sums: [bool; 2],
    /// Whether the carry comes from another cell.
    pub(super) carried: bool,
    /// Whether the carry goes to another cell.
    pub(super) carries: bool,
}

impl Cell {
    /// The model, of the ports that are used.
    pub(super) fn module(&self) -> Arc<Module> {
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
            let propagates = lut(&mut b, table.into(), &inputs);
            let generates = lut(&mut b, table.into(), &inputs[..2]);
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
        b.primitive(Primitive { cell: "CCU2C", parameters, order: &ORDER, pins, clocks: &[] });
        b.finish()
    }
}
