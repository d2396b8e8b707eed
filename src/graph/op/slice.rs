//! Operators that cut tensors into parts.

use crate::diagnostic::Result;
use crate::graph::attributes::Attributes;
use crate::graph::op::index::along;
use crate::graph::operator::{ONNX, Operator, Role, axis, invalid, list, unsupported};
use crate::graph::tensor::Tensor;

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Slice",
        domains: ONNX,
        inputs: (1, 5),
        attributes: &["axes", "ends", "starts"],
        role: Role::Select,
        eval: slice,
    },
    Operator {
        name: "Split",
        domains: ONNX,
        inputs: (1, 2),
        attributes: &["axis", "num_outputs", "split"],
        role: Role::Select,
        eval: split,
    },
];

/// The places that a slice from `start` to `end` by `step` takes of an axis of extent `extent`. Negative numbers count from the end.
fn places(extent: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>> {
    let extent = extent as i64;
    let from_end = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
    let (start, end) = (from_end(start), from_end(end));
    match step {
        0 => Err(invalid("a slice of step 0")),
        1.. => {
            let (start, end) = (start.clamp(0, extent), end.clamp(0, extent));
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            Ok((start as usize..(end.max(start)) as usize).step_by(step).collect())
        }
        _ => {
            let (start, end) = (start.clamp(-1, extent - 1), end.clamp(-1, extent - 1));
            let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            Ok((end + 1..start + 1).rev().map(|at| at as usize).step_by(step).collect())
        }
    }
}

/// Parts of a tensor: `starts`, `ends`, `axes` and `steps`, as attributes in old operator sets and as inputs in newer ones.
fn slice(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let (data, rank) = (x[0], x[0].rank());
    let given: Vec<&Tensor> = x.to_vec();
    let list = |name: &str, input: usize| {
        let there = given.get(input).is_some_and(|t| !t.is_empty());
        if there || input < 3 && given.len() > 1 {
            list(attributes, name, &given, input)
        } else {
            attributes.ints(name)
        }
    };
    let starts = list("starts", 1)?.ok_or_else(|| invalid("no starts are given"))?;
    let ends = list("ends", 2)?.ok_or_else(|| invalid("no ends are given"))?;
    let all: Vec<i64> = (0..starts.len() as i64).collect();
    let ones = vec![1; starts.len()];
    let axes = list("axes", 3)?.unwrap_or(&all);
    let steps = match given.get(4).filter(|t| !t.is_empty()) {
        Some(steps) => steps.ints("the steps")?,
        None => &ones[..],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(invalid("starts, ends, axes and steps differ in length"));
    }
    let mut out = data.clone();
    let mut seen = vec![false; rank];
    for (i, &a) in axes.iter().enumerate() {
        let at = axis(a, rank)?;
        if std::mem::replace(&mut seen[at], true) {
            return Err(invalid(format!("axis {a} is given twice")));
        }
        out = picked(&out, at, &places(data.shape[at], starts[i], ends[i], steps[i])?);
    }
    Ok(vec![out])
}

/// The places `picks` of `x` along `axis`.
fn picked(x: &Tensor, axis: usize, picks: &[usize]) -> Tensor {
    let mut shape = x.shape.clone();
    shape[axis] = picks.len();
    Tensor { shape, data: along(x, axis, picks) }
}

/// The parts of a tensor along one axis, one after another: of the given extents, or of equal ones.
fn split(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let at = axis(attributes.int("axis", 0)?, x[0].rank())?;
    let extent = x[0].shape[at];
    let parts: Vec<usize> = match list(attributes, "split", x, 1)? {
        Some(parts) => parts
            .iter()
            .map(|&p| usize::try_from(p).map_err(|_| invalid(format!("a part of extent {p}"))))
            .collect::<Result<_>>()?,
        None => {
            let count = usize::try_from(attributes.int("num_outputs", 0)?).unwrap_or(0);
            if !(1..=extent.max(1)).contains(&count) {
                return Err(unsupported("Split without the extents of its parts; give split or num_outputs"));
            }
            // The last part may be smaller.
            let each = extent.div_ceil(count);
            (0..count).map(|i| each.min(extent.saturating_sub(i * each))).collect()
        }
    };
    if parts.len() > 1024 || parts.iter().fold(0usize, |sum, p| sum.saturating_add(*p)) != extent {
        return Err(invalid(format!("parts of {parts:?} do not make up axis {at} of extent {extent}")));
    }
    let mut start = 0;
    let mut part = |extent: &usize| {
        let picks: Vec<usize> = (start..start + extent).collect();
        start += extent;
        picked(x[0], at, &picks)
    };
    Ok(parts.iter().map(&mut part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;
    use crate::graph::tensor::Data;

    fn run(name: &str, attributes: &Attributes, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        (find("", name).unwrap().eval)(attributes, inputs)
    }

    fn ints(values: &[i64]) -> Tensor {
        Tensor::integers(values.to_vec())
    }

    #[test]
    fn slices_are_cut_in_every_direction() {
        let x = Tensor::new(vec![2, 5], Data::Int((0..10).collect())).unwrap();
        let of = |start: i64, end: i64, step: i64| {
            let inputs = [&x, &ints(&[start]), &ints(&[end]), &ints(&[-1]), &ints(&[step])];
            run("Slice", &Attributes::new(13), &inputs).map(|mut t| t.remove(0).data)
        };
        assert_eq!(of(1, 3, 1).unwrap(), Data::Int(vec![1, 2, 6, 7]));
        assert_eq!(of(0, i64::MAX, 2).unwrap(), Data::Int(vec![0, 2, 4, 5, 7, 9]));
        assert_eq!(of(-1, i64::MIN, -2).unwrap(), Data::Int(vec![4, 2, 0, 9, 7, 5]));
        assert_eq!(of(4, 2, 1).unwrap(), Data::Int(vec![]));
        assert!(of(0, 1, 0).is_err());
        let old = Attributes::new(9)
            .with("starts", Attribute::Ints(vec![1, -2]))
            .with("ends", Attribute::Ints(vec![2, 100]));
        assert_eq!(run("Slice", &old, &[&x]).unwrap()[0].data, Data::Int(vec![8, 9]));
        let twice = [&x, &ints(&[0, 0]), &ints(&[1, 1]), &ints(&[1, -1])];
        assert!(run("Slice", &Attributes::new(13), &twice).is_err());
        assert!(run("Slice", &Attributes::new(13), &[&x]).is_err());
    }

    #[test]
    fn splits_give_their_parts_in_order() {
        let x = Tensor::new(vec![1, 5], Data::Int((0..5).collect())).unwrap();
        let axis = Attributes::new(18).with("axis", Attribute::Int(1));
        let parts = run("Split", &axis, &[&x, &ints(&[2, 3])]).unwrap();
        assert_eq!(parts[1], Tensor::new(vec![1, 3], Data::Int(vec![2, 3, 4])).unwrap());
        let parts = run("Split", &axis.clone().with("num_outputs", Attribute::Int(2)), &[&x]).unwrap();
        assert_eq!((parts[0].len(), parts[1].len()), (3, 2));
        assert!(run("Split", &axis, &[&x, &ints(&[2, 2])]).is_err() && run("Split", &axis, &[&x]).is_err());
    }
}
