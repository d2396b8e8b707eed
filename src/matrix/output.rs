//! What leaves a matrix unit: activations, or the sums themselves.

use stoxnor_hdl::block::{threshold, threshold_count};
use stoxnor_hdl::{Builder, Net};

use super::{Form, MatrixUnit, width};
use crate::arith::matrix::IntMatrix;
use crate::layer::dense::Activation;
use crate::network::Element;

impl Table {
    /// Where the numbers of a row stand in the memory, for the module's header.
    pub fn layout(&self, pe: usize) -> String {
        let bits = self.bits * self.rows[0].len() as u32;
        let each = if self.rows[0].len() == 1 { String::new() } else { format!(", {} bits each", self.bits) };
        let name = format!("{}{}", self.name[..1].to_uppercase(), &self.name[1..]);
        format!(
            "{name}: the {bits} bits from p * {bits} upwards of word f are those of row f * {pe} + p{each}."
        )
    }
}

/// What leaves a matrix unit.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// An activation of each row's sum.
    Activation(&'a Activation),
    /// The sums of products, in elements of this type.
    Sums(Element),
}

/// Numbers that each row needs, to be held in a memory.
pub(super) struct Table {
    /// What they are, for names.
    pub name: &'static str,
    /// Bits of each.
    pub bits: u32,
    /// For each row its numbers, of which the low bits are stored.
    pub rows: Vec<Vec<i64>>,
}

impl Output<'_> {
    /// Type of the elements that leave.
    pub fn element(&self) -> Element {
        match self {
            Self::Activation(activation) => activation.element,
            Self::Sums(element) => *element,
        }
    }

    /// What element r of an output frame is, for the module's header.
    pub(super) fn formula(&self) -> String {
        let sum = "y[r] = sum of w[r][c] * x[c]";
        match self {
            Self::Activation(a) if a.element == Element::Bipolar => {
                format!("{sum}; element r of a frame is 1 (+1) where y[r] >= threshold[r], else 0 (-1).")
            }
            Self::Activation(a) => {
                let least = if a.least == 0 { String::new() } else { format!("{} + ", a.least) };
                format!("{sum}; element r of a frame is {least}number of thresholds t of r with y[r] >= t.")
            }
            Self::Sums(_) => format!("{sum}; element r of a frame is y[r]."),
        }
    }

    /// The numbers that each row needs.
    pub(super) fn table(&self, unit: &MatrixUnit<'_>) -> Option<Table> {
        let constant = |row: usize| unit.form.constant(unit.weights.row(row));
        match self {
            Self::Activation(activation) => {
                let gain = unit.form.gain();
                let (least, most) = unit.form.range(unit.weights);
                let bits = threshold_bits(unit.form, unit.weights);
                // A negative range is compared as unsigned, with 2^(bits-1) added on both sides.
                let offset = if least < 0 { 1 << (bits - 1) } else { 0 };
                let rows = activation.thresholds.iter().enumerate().map(|(row, thresholds)| {
                    // y >= t is raw >= ceil((t - constant) / gain), cut to what decides nothing else.
                    let raw = |t: &i32| (i64::from(*t) - constant(row) + gain - 1).div_euclid(gain);
                    thresholds.iter().map(|t| raw(t).clamp(least, most + 1) + offset).collect()
                });
                Some(Table { name: "thresholds", bits, rows: rows.collect() })
            }
            Self::Sums(_) => {
                let rows: Vec<Vec<i64>> = (0..unit.weights.rows()).map(|row| vec![constant(row)]).collect();
                let uniform = rows.iter().all(|r| *r == rows[0]);
                (!uniform).then(|| Table { name: "constants", bits: self.element().bits(), rows })
            }
        }
    }

    /// The output beat of the processing elements' raw sums and their rows' numbers.
    pub(super) fn hardware(
        &self,
        b: &mut Builder,
        unit: &MatrixUnit<'_>,
        sums: &[Net],
        constants: Vec<Net>,
    ) -> Net {
        let beat: Vec<Net> = match self {
            Self::Activation(activation) => sums
                .iter()
                .zip(constants)
                .enumerate()
                .map(|(p, (sum, thresholds))| activate(b, unit, activation, p, *sum, thresholds))
                .collect(),
            Self::Sums(_) => {
                let bits = self.element().bits();
                let constant = unit.form.constant(unit.weights.row(0));
                sums.iter()
                    .enumerate()
                    .map(|(p, sum)| {
                        let scaled = extend(b, unit, p, *sum, bits, unit.form.gain() == 2);
                        match constants.get(p) {
                            Some(constant) => b.add(scaled, *constant),
                            None if constant == 0 => scaled,
                            None => {
                                let magnitude =
                                    b.constant(bits, constant.unsigned_abs() & (u64::MAX >> (64 - bits)));
                                if constant < 0 { b.sub(scaled, magnitude) } else { b.add(scaled, magnitude) }
                            }
                        }
                    })
                    .collect()
            }
        };
        let beat: Vec<Net> =
            beat.into_iter().enumerate().map(|(p, e)| b.named(format!("element_{p}"), e)).collect();
        b.concat(&beat)
    }
}

/// The type of sums of products from `least` to `most`: as wide as they need, and as the gain times a raw sum, so that no bit
/// of a raw sum is without use.
pub fn sums_element((least, most): (i64, i64), form: &dyn Form, weights: &IntMatrix) -> Element {
    let raw = form.bits(weights) + u32::from(form.gain() == 2);
    Element::Signed(Element::signed(least, most).bits().max(raw))
}

/// Bits of a threshold of raw sums: it reaches one beyond their range.
pub fn threshold_bits(form: &dyn Form, weights: &IntMatrix) -> u32 {
    let (least, most) = form.range(weights);
    width((least, most + 1)).max(form.bits(weights))
}

fn activate(
    b: &mut Builder,
    unit: &MatrixUnit<'_>,
    activation: &Activation,
    p: usize,
    sum: Net,
    thresholds: Net,
) -> Net {
    let signed = unit.form.range(unit.weights).0 < 0;
    let bits = threshold_bits(unit.form, unit.weights);
    let mut sum = extend(b, unit, p, sum, bits, false);
    if signed {
        // Adding 2^(bits-1) turns the top bit over.
        let top = 1 << (bits - 1);
        let top = b.constant(bits, top);
        let offset = b.xor(sum, top);
        sum = b.named(format!("offset_sum_{p}"), offset);
    }
    if activation.element == Element::Bipolar {
        return threshold(b, sum, thresholds);
    }
    let steps = activation.steps() as u32;
    let count = b.instance(&format!("u_activation_{p}"), &threshold_count(steps, bits));
    b.connect(count, "sum", sum);
    b.connect(count, "thresholds", thresholds);
    let element = activation.element.bits();
    let count = b.out(count, "count");
    let value = b.zero_extend(count, element);
    match activation.element.encode(activation.least) {
        0 => value,
        least => {
            let least = b.constant(element, least);
            b.add(value, least)
        }
    }
}

/// A raw sum (of PE `p`) in more bits, by its sign where it has one, and doubled if asked.
fn extend(b: &mut Builder, unit: &MatrixUnit<'_>, p: usize, sum: Net, bits: u32, double: bool) -> Net {
    let signed = unit.form.range(unit.weights).0 < 0;
    let sum = if double {
        let zero = b.constant(1, 0);
        let twice = b.concat(&[zero, sum]);
        if signed && b.width(twice) < bits { b.named(format!("twice_{p}"), twice) } else { twice }
    } else {
        sum
    };
    if signed { b.sign_extend(sum, bits) } else { b.zero_extend(sum, bits) }
}
