//! stoxnor's own `FixedPoint`: the quantiser of a real-valued input that the graph does not quantise.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::operator::{CONFIGURED, Levels, Operator, Quantiser, Role, invalid};
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[Operator {
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
}];

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
