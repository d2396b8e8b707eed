//! Elementwise operators that clamp, round or convert.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::dtype::{to_brain, to_half, type_name};
use crate::graph::operator::Spacing::{Kept, Lost};
use crate::graph::operator::{ONNX, Operator, Role, Spacing, invalid, number, unsupported};
use crate::graph::tensor::{Data, Tensor};

const fn role(spacing: Spacing) -> Role {
    Role::Elementwise { monotone: &[0], spacing }
}

pub(crate) const OPERATORS: &[Operator] = &[
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

/// Old operator sets have the bounds as attributes, newer ones as optional inputs.
fn clip(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    if let Data::Int(values) = &x[0].data {
        return clip_integers(attributes, x, values);
    }
    let bound = |input: usize, name: &str, none: f32| match x.get(input).filter(|t| !t.is_empty()) {
        Some(t) => number(t, name),
        None => attributes.float(name, none),
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    if low.is_nan() || high.is_nan() {
        return Err(unsupported(format!("Clip between {low} and {high}")));
    }
    // If min exceeds max, every element becomes max.
    each(x[0], |v| {
        let v = if v < low { low } else { v };
        if v > high { high } else { v }
    })
}

/// Integers have integer bounds, given as inputs.
fn clip_integers(attributes: &Attributes, x: &[&Tensor], values: &[i64]) -> Result<Vec<Tensor>> {
    if let Some(name) = attributes.names().next() {
        return Err(unsupported(format!("attribute {name}, a float32, of a Clip of integers")));
    }
    let bound = |input: usize, name: &str, none: i64| match x.get(input).filter(|t| !t.is_empty()) {
        None => Ok(none),
        Some(t) => match t.ints(name)? {
            [one] => Ok(*one),
            more => Err(invalid(format!("{name} has {} elements, not one", more.len()))),
        },
    };
    let (low, high) = (bound(1, "min", i64::MIN)?, bound(2, "max", i64::MAX)?);
    let data = Data::Int(values.iter().map(|v| (*v).max(low).min(high)).collect());
    Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
}

/// Converts to float32, or truncates towards 0 to an integer type (held in 64 bits).
fn cast(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let to = attributes.int("to", 0)?;
    let data = match (to, &x[0].data) {
        // float64 is computed in float32.
        (1 | 11, Data::Float(v)) => Data::Float(v.clone()),
        (1 | 11, Data::Int(v)) => Data::Float(v.iter().map(|&i| i as f32).collect()),
        (10, Data::Float(v)) => Data::Float(v.iter().map(|&f| to_half(f)).collect()),
        (10, Data::Int(v)) => Data::Float(v.iter().map(|&i| to_half(i as f32)).collect()),
        (16, Data::Float(v)) => Data::Float(v.iter().map(|&f| to_brain(f)).collect()),
        (16, Data::Int(v)) => Data::Float(v.iter().map(|&i| to_brain(i as f32)).collect()),
        (9, Data::Float(v)) => Data::Int(v.iter().map(|&f| i64::from(f != 0.0)).collect()),
        (9, Data::Int(v)) => Data::Int(v.iter().map(|&i| i64::from(i != 0)).collect()),
        (2..=7, Data::Float(v)) => Data::Int(v.iter().map(|&f| f as i64).collect()),
        (2..=7, Data::Int(v)) => Data::Int(v.clone()),
        _ => {
            return Err(unsupported(format!(
                "a Cast to {}; float16 to float64, bool, int64 and integers to 32 bits are known",
                type_name(to)
            )));
        }
    };
    // Out-of-range conversions to a narrow type wrap on some machines and saturate on others, so they are rejected.
    let (low, high) = match to {
        2 => (0, u8::MAX.into()),
        3 => (i8::MIN.into(), i8::MAX.into()),
        4 => (0, u16::MAX.into()),
        5 => (i16::MIN.into(), i16::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    if let Data::Int(v) = &data
        && let Some(v) = v.iter().find(|v| !(low..=high).contains(*v))
    {
        return Err(unsupported(format!("a Cast of {v} to {}, which does not hold it", type_name(to))));
    }
    Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

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
    fn integers_are_clipped_as_integers() {
        let none = Attributes::new(13);
        let x = Tensor::integers(vec![i64::MIN, -3, 0, i64::MAX]);
        let [low, high] = [-2, 1].map(|v| Tensor { shape: vec![], data: Data::Int(vec![v]) });
        let skipped = Tensor::vector(Vec::new());
        assert_eq!(run("Clip", &none, &[&x, &low, &high]).unwrap(), Tensor::integers(vec![-2, -2, 0, 1]));
        assert_eq!(
            run("Clip", &none, &[&x, &skipped, &high]).unwrap(),
            Tensor::integers(vec![i64::MIN, -3, 0, 1])
        );
        assert_eq!(run("Clip", &none, &[&x]).unwrap(), x);
        // Where min is above max, all become max.
        assert_eq!(run("Clip", &none, &[&x, &high, &low]).unwrap(), Tensor::integers(vec![-2; 4]));
        assert!(run("Clip", &none, &[&x, &Tensor::scalar(0.0)]).is_err());
        assert!(run("Clip", &none, &[&x, &Tensor::integers(vec![0, 0])]).is_err());
        assert!(run("Clip", &none.with("max", Attribute::Float(1.0)), &[&x]).is_err());
    }

    #[test]
    fn casts_change_the_type() {
        let to = |kind| Attributes::new(9).with("to", Attribute::Int(kind));
        let x = Tensor::vector(vec![-1.5, 2.0]);
        let whole = run("Cast", &to(7), &[&x]).unwrap();
        assert_eq!(whole, Tensor::integers(vec![-1, 2]));
        assert_eq!(run("Cast", &to(1), &[&whole]).unwrap(), Tensor::vector(vec![-1.0, 2.0]));
        assert_eq!(
            run("Cast", &to(9), &[&Tensor::vector(vec![0.0, -0.5])]).unwrap(),
            Tensor::integers(vec![0, 1])
        );
        for (kind, value) in [(1, 0.1), (11, 0.1), (10, 0.099_975_586), (16, 0.100_097_656)] {
            assert_eq!(run("Cast", &to(kind), &[&Tensor::scalar(0.1)]).unwrap(), Tensor::scalar(value));
        }
        assert!(run("Cast", &to(14), &[&x]).unwrap_err().to_string().contains("complex64"));
        for (kind, low, high) in [(2, 0, 255), (3, -128, 127), (4, 0, 65535), (5, -32768, 32767)] {
            let ends = Tensor::integers(vec![low, high]);
            assert_eq!(run("Cast", &to(kind), &[&ends]).unwrap(), ends);
            for beyond in [low - 1, high + 1] {
                let text =
                    run("Cast", &to(kind), &[&Tensor::integers(vec![beyond])]).unwrap_err().to_string();
                assert!(text.contains("does not hold it"), "{text}");
            }
        }
    }
}
