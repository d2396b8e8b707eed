//! Operators that bound, round or convert, element by element.

use super::Spacing::{Kept, Lost};
use super::{ONNX, Operator, Role, Spacing, number, unsupported};
use crate::diagnostic::Result;
use crate::import::attributes::Attributes;
use crate::import::constant::type_name;
use crate::tensor::{Data, Tensor};

const fn role(spacing: Spacing) -> Role {
    Role::Elementwise { monotone: &[0], spacing }
}

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Relu",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &[],
        role: role(Kept),
        eval: |_, x| each(x[0], |v| if v < 0.0 { 0.0 } else { v }),
    },
    Operator {
        name: "Clip",
        domains: ONNX,
        inputs: (1, 3),
        attributes: &["min", "max"],
        role: role(Kept),
        eval: clip,
    },
    Operator {
        name: "Round",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &[],
        role: role(Lost),
        eval: |_, x| each(x[0], f32::round_ties_even),
    },
    Operator {
        name: "Cast",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &["to", "saturate"],
        role: role(Kept),
        eval: cast,
    },
];

fn each(x: &Tensor, f: impl Fn(f32) -> f32) -> Result<Vec<Tensor>> {
    let data = Data::Float(x.floats("the input")?.iter().map(|&v| f(v)).collect());
    Ok(vec![Tensor { shape: x.shape.clone(), data }])
}

/// Old operator sets give the bounds as attributes, new ones as inputs, either of which may be left out.
fn clip(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let bound = |input: usize, name: &str, none: f32| match x.get(input).filter(|t| !t.is_empty()) {
        Some(t) => number(t, name),
        None => attributes.float(name, none),
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    if low.is_nan() || high.is_nan() {
        return Err(unsupported(format!("Clip between {low} and {high}")));
    }
    // Where min is above max, all become max.
    each(x[0], |v| {
        let v = if v < low { low } else { v };
        if v > high { high } else { v }
    })
}

/// To float32, or towards 0 to an integer of any type (which is held in 64 bits).
fn cast(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let to = attributes.int("to", 0)?;
    let data = match (to, &x[0].data) {
        (1, Data::Float(v)) => Data::Float(v.clone()),
        (1, Data::Int(v)) => Data::Float(v.iter().map(|&i| i as f32).collect()),
        (6 | 7, Data::Float(v)) => Data::Int(v.iter().map(|&f| f as i64).collect()),
        (6 | 7, Data::Int(v)) => Data::Int(v.clone()),
        _ => {
            return Err(unsupported(format!(
                "a Cast to {}; float32, int32 and int64 are known",
                type_name(to)
            )));
        }
    };
    Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;
    use crate::import::attributes::Attribute;

    fn run(name: &str, attributes: &Attributes, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok((find("", name).unwrap().eval)(attributes, inputs)?.remove(0))
    }

    #[test]
    fn bounds_are_attributes_or_inputs() {
        let x = Tensor::vector(vec![-3.0, -0.5, 0.5, 3.0]);
        let none = Attributes::new(13);
        let old = Attributes::new(6).with("min", Attribute::Float(-1.0)).with("max", Attribute::Float(1.0));
        let both = Tensor::vector(vec![-1.0, -0.5, 0.5, 1.0]);
        assert_eq!(run("Clip", &old, &[&x]).unwrap(), both);
        let (low, high) = (Tensor::scalar(-1.0), Tensor::scalar(1.0));
        assert_eq!(run("Clip", &none, &[&x, &low, &high]).unwrap(), both);
        let nothing = Tensor::vector(Vec::new());
        let top = Tensor::vector(vec![-3.0, -0.5, 0.5, 1.0]);
        assert_eq!(run("Clip", &none, &[&x, &nothing, &high]).unwrap(), top);
        assert_eq!(run("Clip", &none, &[&x]).unwrap(), x);
        assert_eq!(run("Relu", &none, &[&x]).unwrap(), Tensor::vector(vec![0.0, 0.0, 0.5, 3.0]));
        assert!(run("Clip", &none, &[&x, &Tensor::scalar(f32::NAN)]).is_err());
    }

    #[test]
    fn casts_change_the_type() {
        let to = |kind| Attributes::new(9).with("to", Attribute::Int(kind));
        let x = Tensor::vector(vec![-1.5, 2.0]);
        let whole = run("Cast", &to(7), &[&x]).unwrap();
        assert_eq!(whole, Tensor::integers(vec![-1, 2]));
        assert_eq!(run("Cast", &to(1), &[&whole]).unwrap(), Tensor::vector(vec![-1.0, 2.0]));
        assert!(run("Cast", &to(11), &[&x]).unwrap_err().to_string().contains("float64"));
    }
}
