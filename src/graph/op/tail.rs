//! Operators at the end of a classifier, which the host computes after the last layer.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::exact::{exp, log};
use crate::graph::operator::{ONNX, Operator, Role, axis};
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Softmax",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &["axis"],
        role: Role::Host,
        eval: |attributes, x| normalise(attributes, x, |distance, sum| exp(distance) / sum),
    },
    Operator {
        name: "LogSoftmax",
        domains: ONNX,
        inputs: (1, 1),
        attributes: &["axis"],
        role: Role::Host,
        eval: |attributes, x| normalise(attributes, x, |distance, sum| distance - log(sum)),
    },
];

/// Along one axis (before operator set 13, over all axes from that one on), the result of `f` for each value's distance from the
/// largest, and the sum of the exponentials of all distances.
fn normalise(attributes: &Attributes, x: &[&Tensor], f: fn(f64, f64) -> f64) -> Result<Vec<Tensor>> {
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
            let distance = |k: usize| f64::from(values[place(k)]) - f64::from(largest);
            let sum: f64 = (0..extent).map(|k| exp(distance(k))).sum();
            (0..extent).for_each(|k| out[place(k)] = f(distance(k), sum) as f32);
        }
    }
    Ok(vec![Tensor { shape: shape.clone(), data: Data::Float(out) }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

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
        let log = (find("", "LogSoftmax").unwrap().eval)(&Attributes::new(13), &[&x]).unwrap().remove(0);
        let log: Vec<f32> = log.floats("").unwrap().to_vec();
        assert!(log.iter().zip(row).all(|(a, b)| (a - b.ln()).abs() < 1e-6), "{log:?}");
    }
}
