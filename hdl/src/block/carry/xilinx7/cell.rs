//! The cells of a slice of Xilinx' 7-series, and their models.

use std::sync::Arc;

use crate::block::carry::lut;
use crate::{Builder, Module, Net, Primitive, Role};

/// Inputs of a LUT.
pub(super) const INPUTS: usize = 6;

/// Bits of a carry cell.
pub(super) const BITS: usize = 4;

/// The pins of a LUT.
const LUT: [(&str, u32); 8] =
    [("I0", 1), ("I1", 1), ("I2", 1), ("I3", 1), ("I4", 1), ("I5", 1), ("O6", 1), ("O5", 1)];

/// The pins of a carry cell.
const CARRY: [(&str, u32); 6] = [("CI", 1), ("CYINIT", 1), ("S", 4), ("DI", 4), ("O", 4), ("CO", 4)];

/// A model in construction: the ports that are used, and the pins that are none.
struct Model {
    b: Builder,
    pins: Vec<(String, Option<bool>)>,
}

impl Model {
    fn new(name: String) -> Self {
        Self { b: Builder::new(name), pins: vec![] }
    }

    /// An input: a port, or `value` if it is the same in every cycle.
    fn input(&mut self, pin: &str, value: Option<bool>) -> Net {
        let Some(value) = value else { return self.b.input(pin, 1, Role::Data) };
        self.pins.push((pin.to_owned(), Some(value)));
        self.b.constant(1, value.into())
    }

    /// An output: a port if it is used.
    fn output(&mut self, pin: &str, net: Net, used: bool) {
        if used {
            self.b.output(pin, net, Role::Data);
        } else {
            self.pins.push((pin.to_owned(), None));
        }
    }

    fn finish(
        mut self,
        cell: &'static str,
        parameters: Vec<(String, String)>,
        order: &'static [(&'static str, u32)],
    ) -> Arc<Module> {
        self.b.primitive(Primitive { cell, parameters, order, pins: self.pins, clocks: &[] });
        self.b.finish()
    }
}

/// A part of a module's name: `letter` where `on`, else `-`.
fn letter(on: bool, letter: char) -> char {
    if on { letter } else { '_' }
}

/// A LUT of six inputs, and the same table's lower half as a LUT of the first five.
pub(super) struct Lut {
    pub(super) table: u64,
    /// The values of inputs that are not connected.
    pub(super) inputs: [Option<bool>; INPUTS],
    /// Whether the outputs of six inputs and of five are used.
    pub(super) outputs: [bool; 2],
}

impl Lut {
    /// The model, of the ports that are used.
    pub(super) fn module(&self) -> Arc<Module> {
        let pins: String =
            self.inputs.map(|value| value.map_or('i', |one| if one { '1' } else { '0' })).iter().collect();
        let [six, five] = self.outputs;
        let mut model = Model::new(format!(
            "LUT6_2_{:016x}_{pins}_{}{}",
            self.table,
            letter(six, '6'),
            letter(five, '5')
        ));
        let inputs: Vec<Net> =
            self.inputs.iter().enumerate().map(|(i, value)| model.input(&format!("I{i}"), *value)).collect();
        let (of_six, of_five) =
            (lut(&mut model.b, self.table, &inputs), lut(&mut model.b, self.table, &inputs[..INPUTS - 1]));
        model.output("O6", of_six, six);
        model.output("O5", of_five, five);
        let table = ("INIT".to_owned(), format!("64'h{:016x}", self.table));
        model.finish("LUT6_2", vec![table], &LUT)
    }
}

/// Four bits of an adder. With `p` the input S of a bit and `g` its input DI, the sum is `p` ^ carry, and the carry behind it `p` ?
/// carry : `g`.
pub(super) struct Carry {
    /// Where the first carry comes from.
    pub(super) from: From,
    /// For each bit its S and DI: whether they are connected; else they are 0.
    pub(super) bits: [[bool; 2]; BITS],
    /// For each bit, whether its sum and the carry behind it are used.
    pub(super) outputs: [[bool; 2]; BITS],
}

/// The first carry of a carry cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// 0.
    Nothing,
    /// A net, by way of CYINIT.
    Net,
    /// The carry cell before it.
    Cell,
}

impl Carry {
    /// The model, of the ports that are used.
    pub(super) fn module(&self) -> Arc<Module> {
        let flags = |flags: &[[bool; 2]; BITS], letters: [char; 2]| -> String {
            flags.iter().flat_map(|own| [0, 1].map(|i| letter(own[i], letters[i]))).collect()
        };
        let (inputs, outputs) = (flags(&self.bits, ['s', 'd']), flags(&self.outputs, ['o', 'c']));
        let from = format!("{:?}", self.from).to_lowercase();
        let mut model = Model::new(format!("CARRY4_{from}_{inputs}_{outputs}"));
        let ci = model.input("CI", (self.from != From::Cell).then_some(false));
        let cyinit = model.input("CYINIT", (self.from != From::Net).then_some(false));
        let mut carry = if self.from == From::Net { cyinit } else { ci };
        for (i, [s, d]) in self.bits.iter().enumerate() {
            let s = model.input(&format!("S{i}"), (!s).then_some(false));
            let d = model.input(&format!("DI{i}"), (!d).then_some(false));
            let sum = model.b.xor(s, carry);
            carry = model.b.mux(s, carry, d);
            model.output(&format!("O{i}"), sum, self.outputs[i][0]);
            model.output(&format!("CO{i}"), carry, self.outputs[i][1]);
        }
        model.finish("CARRY4", vec![], &CARRY)
    }
}
