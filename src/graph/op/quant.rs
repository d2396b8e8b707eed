//! QONNX's uniform quantisers: `Quant` (also named `IntQuant`) and `Trunc`.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::rounding::Rounding;
use crate::graph::operator::{
    Codes, Levels, Operator, QUANTISED, Quantiser, Role, constant, invalid, number, numbers, unfit,
    unsupported,
};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

/// Maximum bit width of a quantiser's range, which is computed in float32.
const MAX_BITS: f32 = 64.0;
/// Maximum bit width of levels that are listed.
const MAX_LEVEL_BITS: i32 = 16;

const QUANT: Operator = Operator {
    name: "Quant",
    domains: QUANTISED,
    inputs: (4, 4),
    attributes: &["signed", "narrow", "rounding_mode"],
    role: Role::Quantiser(Quantiser { levels: quant_levels, codes: Some(quant_codes) }),
    eval: |attributes, x| Ok(vec![product(quant_codes(attributes, x)?)?]),
};

pub(crate) const OPERATORS: &[Operator] = &[
    QUANT,
    Operator { name: "IntQuant", ..QUANT },
    Operator {
        name: "Trunc",
        domains: QUANTISED,
        // x, scale, zero point, bits; then bits (version 1) or scale and bits (version 2) of the output.
        inputs: (5, 6),
        attributes: &["rounding_mode", "signed", "narrow"],
        role: Role::Quantiser(Quantiser { levels: trunc_levels, codes: Some(trunc_codes) }),
        eval: |attributes, x| Ok(vec![product(trunc_codes(attributes, x)?)?]),
    },
];

/// The integer range of a bit width: minimum and maximum, in float32.
struct Range {
    bits: i32,
    signed: bool,
    low: f32,
    high: f32,
}

impl Range {
    fn new(attributes: &Attributes, narrow: i64, bits: &Tensor) -> Result<Self> {
        let width = number(bits, "bit width")?;
        if width.fract() != 0.0 || !(1.0..=MAX_BITS).contains(&width) {
            return Err(unsupported(format!(
                "a bit width of {width}; whole numbers from 1 to {MAX_BITS} are known"
            )));
        }
        let bits = width as i32;
        let flag = |name: &str, default| match attributes.int(name, default)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(invalid(format!("{name} = {other}, neither 0 nor 1"))),
        };
        let (signed, narrow) = (flag("signed", 1)?, flag("narrow", narrow)?);
        let less = if narrow { 1.0 } else { 0.0 };
        let half = 2f32.powi(bits - 1);
        let (low, high) = if signed { (-half + less, half - 1.0) } else { (0.0, half * 2.0 - 1.0 - less) };
        Ok(Self { bits, signed, low, high })
    }

    fn clamp(&self, y: f32) -> f32 {
        let y = if y > self.high { self.high } else { y };
        if y < self.low { self.low } else { y }
    }

    fn is_bipolar(&self) -> bool {
        self.bits == 1 && self.signed
    }

    /// The levels, `(code - zero) * scale`.
    fn levels(&self, scale: &Tensor, zero: &Tensor) -> Result<Option<Levels>> {
        if self.bits > MAX_LEVEL_BITS {
            return Err(unfit(format!("an activation of {} bits", self.bits)));
        }
        let (first, step, count) = if self.is_bipolar() {
            (-1, 2, 2)
        } else {
            (self.low as i64, 1, (self.high - self.low).max(0.0) as usize + 1)
        };
        let (scale, zero) = (numbers(scale).into_owned(), numbers(zero).into_owned());
        let parts = (scale.clone(), zero);
        let value = move |code: f32| {
            let (scale, zero) = &parts;
            let (shape, v) = tensor::zip(
                (&zero.shape, zero.floats("the zero point")?),
                (&scale.shape, scale.floats("the scale")?),
                |z, s| (code - z) * s,
            )?;
            Ok(Tensor { shape, data: Data::Float(v) })
        };
        Ok(Some(Levels { first, step, count, scale: Some(scale), value: Box::new(value) }))
    }
}

fn quant_levels(attributes: &Attributes, x: &[Option<&Tensor>]) -> Result<Option<Levels>> {
    let range = Range::new(attributes, 1, constant(x, 3, "bit width")?)?;
    range.levels(constant(x, 1, "scale")?, constant(x, 2, "zero point")?)
}

/// y = x / scale + zero, clamped, then rounded; the integer is y - zero.
fn quant_codes(attributes: &Attributes, x: &[&Tensor]) -> Result<Codes> {
    let range = Range::new(attributes, 1, x[3])?;
    let rounding = Rounding::find(attributes.text("rounding_mode", "ROUND")?)?;
    let (scale, zero) = (numbers(x[1]), numbers(x[2]));
    let y = zip(&zip(x[0], &scale, |x, s| x / s)?, &zero, |x, z| x + z)?;
    let rounded = |y: f32| {
        if range.is_bipolar() { sign(y) } else { rounding.apply(range.clamp(y)) }
    };
    spread(zip(&y, &zero, |y, z| rounded(y) - z)?, &scale)
}

/// The sign, with 0 counted as positive; NaN stays NaN.
fn sign(y: f32) -> f32 {
    match y {
        y if y >= 0.0 => 1.0,
        y if y < 0.0 => -1.0,
        y => y,
    }
}

/// Version 2 of Trunc clamps to levels of its own; version 1 only coarsens the levels of its input.
fn trunc_levels(attributes: &Attributes, x: &[Option<&Tensor>]) -> Result<Option<Levels>> {
    if x.len() < 6 {
        return Ok(None);
    }
    let range = Range::new(attributes, 0, constant(x, 5, "output bit width")?)?;
    let (scale, out) = (constant(x, 1, "scale")?, constant(x, 4, "output scale")?);
    let zero = zip(&numbers(constant(x, 2, "zero point")?), &divisor(scale, out)?, |z, d| z / d)?;
    if range.is_bipolar() {
        return Err(unfit("Trunc to one signed bit".to_owned()));
    }
    range.levels(out, &zero)
}

fn trunc_codes(attributes: &Attributes, x: &[&Tensor]) -> Result<Codes> {
    let rounding = Rounding::find(attributes.text("rounding_mode", "FLOOR")?)?;
    let (scale, zero) = (numbers(x[1]), numbers(x[2]));
    let y = zip(&zip(x[0], &scale, |x, s| x / s)?, &zero, |x, z| (x + z).round_ties_even())?;
    if let [_, _, _, bits, out_bits] = x {
        let (bits, out_bits) = (number(bits, "bit width")?, number(out_bits, "output bit width")?);
        let less = bits - out_bits;
        if less.fract() != 0.0 || less.abs() > MAX_BITS {
            return Err(unsupported(format!("Trunc from {bits} to {out_bits} bits")));
        }
        let by = 2f32.powi(less as i32);
        let integers = zip(&y, &zero, |y, z| rounding.apply(y / by) - z)?;
        return spread(integers, &scale);
    }
    let range = Range::new(attributes, 0, x[5])?;
    let divisor = divisor(&scale, x[4])?;
    let y = zip(&y, &divisor, |y, d| rounding.apply(range.clamp(y / d)))?;
    let zero = zip(&zero, &divisor, |z, d| z / d)?;
    spread(zip(&y, &zero, |y, z| y - z)?, &numbers(x[4]))
}

/// The power of two whose exponent is nearest to log2(`out` / `scale`).
fn divisor(scale: &Tensor, out: &Tensor) -> Result<Tensor> {
    let divisor = zip(&numbers(out), &numbers(scale), |o, s| {
        let ratio = o / s;
        // log2 rounds up from the square root of 2 on; no float is a tie.
        let below = f32::from_bits(ratio.to_bits() & 0x7f80_0000);
        if ratio / below >= std::f32::consts::SQRT_2 { below * 2.0 } else { below }
    })?;
    match divisor.floats("the scales")?.iter().find(|d| !d.is_normal()) {
        Some(_) => Err(unsupported("the scales of Trunc have no normal ratio")),
        None => Ok(divisor),
    }
}

fn zip(a: &Tensor, b: &Tensor, f: impl FnMut(f32, f32) -> f32) -> Result<Tensor> {
    let (shape, out) =
        tensor::zip((&a.shape, a.floats("the input")?), (&b.shape, b.floats("a parameter")?), f)?;
    Ok(Tensor { shape, data: Data::Float(out) })
}

/// The integers and scales, broadcast to one shape.
fn spread(integers: Tensor, scale: &Tensor) -> Result<Codes> {
    // Either tensor may be the larger one.
    let scales = zip(&integers, scale, |_, s| s)?;
    let integers = zip(&integers, scale, |i, _| i)?;
    Ok(Codes { integers, scales, rounding: None })
}

fn product(codes: Codes) -> Result<Tensor> {
    zip(&codes.integers, &codes.scales, |i, s| i * s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn run(name: &str, attributes: &Attributes, x: &[f32], parameters: &[f32]) -> Result<Vec<f32>> {
        let x = Tensor::vector(x.to_vec());
        let parameters: Vec<Tensor> = parameters.iter().map(|p| Tensor::scalar(*p)).collect();
        let inputs: Vec<&Tensor> = std::iter::once(&x).chain(&parameters).collect();
        let out = (find("qonnx.custom_op.general", name).unwrap().eval)(attributes, &inputs)?.remove(0);
        Ok(out.floats("")?.to_vec())
    }

    fn with(signed: i64, narrow: i64, rounding: &str) -> Attributes {
        Attributes::new(1)
            .with("signed", Attribute::Int(signed))
            .with("narrow", Attribute::Int(narrow))
            .with("rounding_mode", Attribute::String(rounding.into()))
    }

    #[test]
    fn quant_clamps_then_rounds() {
        let x = [-9.0, -1.25, -0.25, 0.25, 0.75, 1.25, 9.0];
        let at =
            |signed, narrow, mode| run("Quant", &with(signed, narrow, mode), &x, &[0.5, 0.0, 3.0]).unwrap();
        assert_eq!(at(1, 0, "ROUND"), [-2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1.5]);
        assert_eq!(at(1, 1, "FLOOR"), [-1.5, -1.5, -0.5, 0.0, 0.5, 1.0, 1.5]);
        assert_eq!(at(0, 0, "CEIL"), [0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 3.5]);
        assert_eq!(at(0, 1, "HALF_UP"), [0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 3.0]);
        let shifted = run("IntQuant", &with(0, 0, "ROUND"), &[-1.0, 0.0, 1.0], &[0.5, 2.0, 2.0]).unwrap();
        assert_eq!(shifted, [-1.0, 0.0, 0.5]);
    }

    #[test]
    fn one_signed_bit_is_bipolar() {
        let y = run("Quant", &with(1, 0, "ROUND"), &[-0.0, 0.1, -0.1], &[0.5, 0.0, 1.0]).unwrap();
        assert_eq!(y, [0.5, 0.5, -0.5]);
    }

    #[test]
    fn odd_bit_widths_are_refused() {
        for bits in [0.0, 2.5, 1e9, f32::NAN, f32::INFINITY, -3.0] {
            assert!(run("Quant", &with(1, 0, "ROUND"), &[1.0], &[1.0, 0.0, bits]).is_err(), "{bits}");
        }
        assert!(run("Quant", &with(2, 0, "ROUND"), &[1.0], &[1.0, 0.0, 4.0]).is_err());
    }

    #[test]
    fn trunc_drops_bits_in_both_versions() {
        let mode = Attributes::new(1).with("rounding_mode", Attribute::String("FLOOR".into()));
        let x = [-1.25, -0.5, 0.75, 1.75];
        // Integers -5 -2 3 7, by 4 and down, times the scale of before.
        assert_eq!(run("Trunc", &mode, &x, &[0.25, 0.0, 4.0, 2.0]).unwrap(), [-0.5, -0.25, 0.0, 0.25]);
        // Times the scale of its own, and clamped to 2 bits.
        assert_eq!(run("Trunc", &mode, &x, &[0.25, 0.0, 4.0, 0.5, 2.0]).unwrap(), [-1.0, -0.5, 0.5, 0.5]);
        assert!(run("Trunc", &mode, &x, &[0.25, 0.0, 4.0, f32::INFINITY, 2.0]).is_err());
    }
}
