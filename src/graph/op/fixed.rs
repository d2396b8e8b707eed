//! stoxnor's own operators on the graph's input: `FixedPoint`, the quantiser of a real-valued input that the graph does not
//! quantise, and `IntegerInput`, which turns frames of numbers into the integers that a graph with an integer input takes.

use crate::diagnostic::{Diagnostic, INPUT_VALUE, Result};
use crate::frame::element::Element;
use crate::graph::attributes::Attributes;
use crate::graph::dtype::type_name;
use crate::graph::operator::{CONFIGURED, Levels, Operator, Quantiser, Role, Spacing, invalid};
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "FixedPoint",
        domains: &[CONFIGURED],
        inputs: (1, 1),
        attributes: &["bits", "fraction_bits"],
        role: Role::Quantiser(Quantiser { levels: |a, _| levels(a).map(Some), codes: None }),
        eval: |attributes, x| {
            let (bits, step) = form(attributes)?;
            let half = 2f32.powi(bits - 1);
            let round = |v: &f32| (v / step).round_ties_even().clamp(-half, half - 1.0) * step;
            let data = Data::Float(x[0].floats("the input")?.iter().map(round).collect());
            Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
        },
    },
    Operator {
        name: "IntegerInput",
        domains: &[CONFIGURED],
        inputs: (1, 1),
        attributes: &["type"],
        role: Role::Elementwise { monotone: &[0], spacing: Spacing::Kept },
        eval: integers,
    },
];

/// The element type of a graph input with ONNX code `kind`: `None` if it is no integer type, `Some(None)` if it has more than 16
/// bits, so that the graph has to quantise it.
pub(crate) fn input_type(kind: i64) -> Option<Option<Element>> {
    Some(match kind {
        2 => Some(Element::Unsigned(8)),
        3 => Some(Element::Signed(8)),
        4 => Some(Element::Unsigned(16)),
        5 => Some(Element::Signed(16)),
        6 | 7 | 12 => None,
        9 => Some(Element::Unsigned(1)),
        21 => Some(Element::Unsigned(4)),
        22 => Some(Element::Signed(4)),
        _ => return None,
    })
}

/// The frame's numbers as integers of the type. Other numbers are rejected.
fn integers(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let kind = attributes.int("type", 0)?;
    let Some(element) = input_type(kind) else {
        return Err(invalid(format!("an input of {}", type_name(kind))));
    };
    // float32 holds integers up to 2^24 exactly.
    let (low, high) = element.map_or((if kind == 12 { 0 } else { -(1 << 24) }, 1 << 24), |e| e.range());
    let integer = |(at, v): (usize, &f32)| {
        if v.fract() == 0.0 && (low as f32..=high as f32).contains(v) {
            return Ok(*v as i64);
        }
        let message =
            format!("element {at} is {v}, which {} from {low} to {high} doesn't hold", type_name(kind));
        Err(Diagnostic::new(&INPUT_VALUE, message)
            .help("give frames of the integers that the model's input takes")
            .into())
    };
    let data = match &x[0].data {
        Data::Float(v) => Data::Int(v.iter().enumerate().map(integer).collect::<Result<_>>()?),
        Data::Int(v) => Data::Int(v.clone()),
    };
    Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
}

/// The number of bits, and the value of the least significant bit.
fn form(attributes: &Attributes) -> Result<(i32, f32)> {
    let (bits, fraction) = (attributes.int("bits", 0)?, attributes.int("fraction_bits", 0)?);
    if !(1..=16).contains(&bits) || !(-64..=64).contains(&fraction) {
        return Err(invalid(format!(
            "a fixed-point type of {bits} bits, {fraction} of them behind the point"
        )));
    }
    Ok((bits as i32, 2f32.powi(-fraction as i32)))
}

fn levels(attributes: &Attributes) -> Result<Levels> {
    let (bits, step) = form(attributes)?;
    Ok(Levels {
        first: -(1 << (bits - 1)),
        step: 1,
        count: 1 << bits,
        scale: Some(Tensor::scalar(step)),
        value: Box::new(move |code| Ok(Tensor::scalar(code * step))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;

    #[test]
    fn it_rounds_half_to_even_and_saturates() {
        let form =
            Attributes::new(1).with("bits", Attribute::Int(4)).with("fraction_bits", Attribute::Int(1));
        let x = Tensor::vector(vec![-9.0, 0.25, 0.75, 1.2, 9.0]);
        let y = (OPERATORS[0].eval)(&form, &[&x]).unwrap().remove(0);
        assert_eq!(y, Tensor::vector(vec![-4.0, 0.0, 1.0, 1.0, 3.5]));
        let levels = levels(&form).unwrap();
        assert_eq!((levels.codes().min(), levels.codes().max()), (Some(-8), Some(7)));
    }
}
