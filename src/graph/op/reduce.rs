//! Reductions over any axes, on constants or on the host. Sums are float32 in row-major order, one addition at a time; logarithms,
//! exponentials and square roots of them are rounded to float32 once.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::exact::{exp, log};
use crate::graph::operator::{CONFIGURED, Eval, ONNX, Operator, Role, axis, invalid, list};
use crate::graph::tensor::{Data, Tensor};

pub(crate) const OPERATORS: &[Operator] = &[
    reduction("ReduceMax", |a, x| {
        reduce(a, x, |v| v.iter().copied().fold(f32::NEG_INFINITY, larger), i64::max)
    }),
    reduction("ReduceMin", |a, x| {
        reduce(a, x, |v| -v.iter().map(|v| -v).fold(f32::NEG_INFINITY, larger), i64::min)
    }),
    reduction("ReduceSum", |a, x| reduce(a, x, sum, i64::saturating_add)),
    reduction("ReduceProd", |a, x| reduce(a, x, |v| v.iter().product(), i64::saturating_mul)),
    reduction("ReduceL1", |a, x| floats(a, x, |v| v.iter().fold(0.0, |s, v| s + v.abs()))),
    reduction("ReduceL2", |a, x| floats(a, x, |v| v.iter().fold(0.0f32, |s, v| s + v * v).sqrt())),
    reduction("ReduceSumSquare", |a, x| floats(a, x, |v| v.iter().fold(0.0, |s, v| s + v * v))),
    reduction("ReduceLogSum", |a, x| floats(a, x, |v| log(f64::from(sum(v))) as f32)),
    reduction("ReduceLogSumExp", |a, x| {
        floats(a, x, |v| {
            let largest = f64::from(v.iter().copied().fold(f32::NEG_INFINITY, larger));
            if !largest.is_finite() {
                return largest as f32;
            }
            let powers: f64 = v.iter().map(|v| exp(f64::from(*v) - largest)).sum();
            (largest + log(powers)) as f32
        })
    }),
    // ReduceMean over other axes than all spatial ones: the importer calls it so.
    Operator {
        domains: &[CONFIGURED],
        ..reduction("ReduceMean", |a, x| floats(a, x, |v| sum(v) / v.len() as f32))
    },
];

const fn reduction(name: &'static str, eval: Eval) -> Operator {
    let attributes = &["axes", "keepdims", "noop_with_empty_axes"];
    Operator { name, domains: ONNX, inputs: (1, 2), attributes, role: Role::Host, eval }
}

/// The larger number; NaN if one is NaN.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

fn sum(v: &[f32]) -> f32 {
    v.iter().fold(0.0, |s, v| s + v)
}

/// The axes that a node reduces: all, if none is given.
pub(crate) fn axes(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<usize>> {
    let rank = x[0].rank();
    let given = match x.get(1) {
        Some(axes) if axes.is_empty() => &[],
        _ => list(attributes, "axes", x, 1)?.unwrap_or_default(),
    };
    if given.is_empty() {
        let none = attributes.int("noop_with_empty_axes", 0)? != 0;
        return Ok(if none { Vec::new() } else { (0..rank).collect() });
    }
    let mut axes = given.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// The shape of the result, and for each of its elements the elements that it reduces, in row-major order.
fn groups(attributes: &Attributes, x: &[&Tensor]) -> Result<(Vec<usize>, Vec<Vec<usize>>)> {
    let axes = axes(attributes, x)?;
    let shape = &x[0].shape;
    let mut steps = vec![0; shape.len()];
    let mut count = 1;
    for at in (0..shape.len()).rev().filter(|at| !axes.contains(at)) {
        steps[at] = count;
        count *= shape[at];
    }
    if axes.iter().any(|a| shape[*a] == 0) {
        return Err(invalid(format!("an axis of shape {shape:?} that is reduced is empty")));
    }
    let mut groups = vec![Vec::new(); count];
    for (from, to) in crate::graph::tensor::indices(shape.clone(), steps).enumerate() {
        groups[to].push(from);
    }
    let keep = attributes.int("keepdims", 1)? != 0;
    let extent = |(at, &extent): (usize, &usize)| match axes.contains(&at) {
        true => keep.then_some(1),
        false => Some(extent),
    };
    Ok((shape.iter().enumerate().filter_map(extent).collect(), groups))
}

fn floats(attributes: &Attributes, x: &[&Tensor], f: impl Fn(&[f32]) -> f32) -> Result<Vec<Tensor>> {
    x[0].floats("the input")?;
    reduce(attributes, x, f, |a, _| a)
}

fn reduce(
    attributes: &Attributes,
    x: &[&Tensor],
    float: impl Fn(&[f32]) -> f32,
    int: fn(i64, i64) -> i64,
) -> Result<Vec<Tensor>> {
    let (shape, groups) = groups(attributes, x)?;
    let data = match &x[0].data {
        Data::Float(v) => {
            let one = |group: &Vec<usize>| float(&group.iter().map(|i| v[*i]).collect::<Vec<_>>());
            Data::Float(groups.iter().map(one).collect())
        }
        Data::Int(v) => {
            let one = |group: &Vec<usize>| group.iter().map(|i| v[*i]).reduce(int).unwrap_or(0);
            Data::Int(groups.iter().map(one).collect())
        }
    };
    Ok(vec![Tensor { shape, data }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn run(domain: &str, name: &str, attributes: &Attributes, x: &[&Tensor]) -> Result<Tensor> {
        Ok((find(domain, name).unwrap().eval)(attributes, x)?.remove(0))
    }

    #[test]
    fn axes_are_attributes_or_inputs_and_may_be_kept() {
        let x = Tensor::new(vec![2, 3], Data::Float(vec![1.0, 2.0, 3.0, -4.0, 5.0, -6.0])).unwrap();
        let last = Attributes::new(11).with("axes", Attribute::Ints(vec![-1]));
        let tensor =
            |shape: &[usize], v: &[f32]| Tensor { shape: shape.into(), data: Data::Float(v.to_vec()) };
        assert_eq!(run("", "ReduceMax", &last, &[&x]).unwrap(), tensor(&[2, 1], &[3.0, 5.0]));
        assert_eq!(run("", "ReduceMin", &last, &[&x]).unwrap(), tensor(&[2, 1], &[1.0, -6.0]));
        let flat = Attributes::new(18).with("keepdims", Attribute::Int(0));
        let first = Tensor::integers(vec![0]);
        assert_eq!(run("", "ReduceSum", &flat, &[&x, &first]).unwrap(), tensor(&[3], &[-3.0, 7.0, -3.0]));
        assert_eq!(run("", "ReduceL1", &flat, &[&x]).unwrap(), Tensor::scalar(21.0));
        assert_eq!(run("", "ReduceProd", &flat, &[&x]).unwrap(), Tensor::scalar(720.0));
        assert_eq!(run("", "ReduceSumSquare", &flat, &[&x]).unwrap(), Tensor::scalar(91.0));
        assert_eq!(run("", "ReduceL2", &flat, &[&x]).unwrap(), Tensor::scalar(91f32.sqrt()));
        assert_eq!(run(CONFIGURED, "ReduceMean", &last, &[&x]).unwrap(), tensor(&[2, 1], &[2.0, -5.0 / 3.0]));
        let none = Attributes::new(18).with("noop_with_empty_axes", Attribute::Int(1));
        assert_eq!(run("", "ReduceSum", &none, &[&x]).unwrap(), x);
        let big = tensor(&[2], &[1000.0, 1000.0]);
        assert_eq!(run("", "ReduceLogSumExp", &flat, &[&big]).unwrap(), Tensor::scalar(1_000.693_2));
        assert_eq!(run("", "ReduceLogSum", &flat, &[&big]).unwrap(), Tensor::scalar(7.600_902_6));
        let whole = Tensor::integers(vec![3, -5, 4]);
        assert_eq!(run("", "ReduceMin", &flat, &[&whole]).unwrap().data, Data::Int(vec![-5]));
        assert!(run("", "ReduceMax", &last, &[&Tensor::scalar(1.0)]).is_err());
        assert!(run("", "ReduceMax", &flat, &[&Tensor::vector(vec![])]).is_err());
    }
}
