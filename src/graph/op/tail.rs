//! Operators at the end of a classifier, which the host computes after the last layer.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::operator::{ONNX, Operator, Role, axis};
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Softmax",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &["axis"],
        role: Role::Host,
        eval: softmax,
    },
    Operator {
        name: "Sigmoid",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &[],
        role: Role::Host,
        eval: |_, x| {
            let sigmoid = |v: &f32| (1.0 / (1.0 + exp(-f64::from(*v)))) as f32;
            let data = Data::Float(x[0].floats("the input")?.iter().map(sigmoid).collect());
            Ok(vec![Tensor { shape: x[0].shape.clone(), data }])
        },
    },
];

/// Softmax along one axis; before operator set 13, over all axes from that one on.
fn softmax(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let old = attributes.opset < 13;
    let shape = &x[0].shape;
    let at = axis(attributes.int("axis", if old { 1 } else { -1 })?, shape.len())?;
    let outer: usize = shape[..at].iter().product();
    let (extent, inner) = if old {
        (shape[at..].iter().product::<usize>(), 1)
    } else {
        (shape[at], shape[at + 1..].iter().product())
    };
    let values = x[0].floats("the input")?;
    let mut out = vec![0.0; values.len()];
    for o in 0..outer {
        for i in 0..inner {
            let place = |k: usize| (o * extent + k) * inner + i;
            let largest = (0..extent).fold(f32::NEG_INFINITY, |m, k| m.max(values[place(k)]));
            let powers: Vec<f64> =
                (0..extent).map(|k| exp(f64::from(values[place(k)]) - f64::from(largest))).collect();
            let sum: f64 = powers.iter().sum();
            (0..extent).for_each(|k| out[place(k)] = (powers[k] / sum) as f32);
        }
    }
    Ok(vec![Tensor { shape: shape.clone(), data: Data::Float(out) }])
}

/// The exponential function from additions, multiplications and divisions only, so that it is equal on every machine: 2^n times a
/// Taylor polynomial of the remainder, with a relative error of about 2^-52.
fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let x = x.clamp(-745.0, 709.0);
    let n = (x / std::f64::consts::LN_2).round_ties_even();
    // ln 2 in two parts: the first has trailing zeros, so that its product with n is exact.
    let rest = (x - n * 6.931_471_803_691_238e-1) - n * 1.908_214_929_270_587_7e-10;
    let sum = (1..=14).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    let half = n as i32 / 2;
    sum * 2f64.powi(half) * 2f64.powi(n as i32 - half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    #[test]
    fn the_exponential_is_right() {
        for x in [-700.0, -20.5, -1.0, -1e-9, 0.0, 0.3, 1.0, 2.5, 88.0, 700.0f64] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "{x}");
        }
        assert_eq!(exp(f64::NEG_INFINITY), exp(-745.0));
        assert!(exp(f64::NAN).is_nan());
    }

    #[test]
    fn softmax_sums_to_one_along_its_axis() {
        let x = Tensor::new(vec![2, 2], Data::Float(vec![0.0, 1.0, 1000.0, 1000.0])).unwrap();
        let run = |opset, axis: i64| {
            let a = Attributes::new(opset).with("axis", Attribute::Int(axis));
            (find("", "Softmax").unwrap().eval)(&a, &[&x]).unwrap().remove(0).floats("").unwrap().to_vec()
        };
        let e = std::f32::consts::E;
        let row = [1.0 / (1.0 + e), e / (1.0 + e), 0.5, 0.5];
        assert!(run(13, 1).iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-7));
        assert_eq!(run(13, 0), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(run(11, 0), [0.0, 0.0, 0.5, 0.5]);
        let y = (find("", "Sigmoid").unwrap().eval)(&Attributes::new(9), &[&Tensor::scalar(0.0)]).unwrap();
        assert_eq!(y[0], Tensor::scalar(0.5));
    }
}
